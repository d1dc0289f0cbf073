// People add second factors to their account, and remove them.

import assert from "node:assert/strict";
import { totp } from "../../../openapi/typescript/test/totp.mjs";
import { step } from "../chromium.mjs";
import { PASSWORD, code } from "../service.mjs";
import { visit } from "../visitor.mjs";
import { addApp } from "./factors.mjs";
import { open } from "./services.mjs";
import { beginApp, enter, keepCodes, prove, visitAs } from "./steps.mjs";

await Promise.all(["fay", "finn", "flora", "fritz", "frida", "felix"].map((name) => open.createUser(name)));

/** Adds an app to somebody's account, and signs in with it. */
async function visitWithApp(username) {
  const { secret } = await addApp(open, username);
  const visitor = await visit(open);
  await visitor.open("sign-in");
  await enter(visitor, username);
  await prove(visitor, "Code from the app", totp(secret));
  await visitor.arrives("Profile");
  return visitor;
}

/** Goes to the page of the second factors, and begins to add an authenticator app there. */
async function goAndBeginApp(visitor) {
  await visitor.follow("Second factor");
  return beginApp(visitor);
}

/** Returns the recovery codes that the page shows. */
async function codesOf(visitor) {
  await visitor.arrives("Keep these codes");
  return visitor.page.locator("main ol").getByRole("listitem").allInnerTexts();
}

/** Whether the browser asks before it leaves the page. */
const asksBeforeLeaving = ({ page }) => page.evaluate(() => !dispatchEvent(new Event("beforeunload", { cancelable: true })));

step("somebody adds an authenticator app, keeps the recovery codes, and signs in with both", async () => {
  const fay = await visitAs(open, "fay");
  const secret = await goAndBeginApp(fay);
  await prove(fay, "Code from the app", "12345");
  assert.equal(await fay.faultOf("Code from the app"), "6 digits The code has 6 digits.");
  await prove(fay, "Code from the app", totp(secret, 20));
  assert.match(await fay.faultOf("Code from the app"), /This code is not right\./);
  await prove(fay, "Code from the app", totp(secret).replace(/.../, "$& "));

  const codes = await codesOf(fay);
  assert.equal(new Set(codes).size, 10);
  await fay.press("Continue");
  await fay.sees("Keep the codes first.");
  await fay.follow("Profile");
  await fay.arrives("Profile");
  assert.ok(await asksBeforeLeaving(fay));
  await fay.follow("Second factor");
  assert.deepEqual(await codesOf(fay), codes, "they are here until they are kept");
  await keepCodes(fay);
  await fay.page.getByRole("heading", { level: 3, name: "Authenticator app" }).waitFor();
  assert.ok(!(await asksBeforeLeaving(fay)));

  await fay.press("Sign out");
  await enter(fay, "fay");
  await fay.arrives("One more step");
  await prove(fay, "Code from the app", totp(secret, 1));
  await fay.arrives("Profile");
  await fay.press("Sign out");
  await enter(fay, "fay");
  await fay.press("Use a recovery code");
  await prove(fay, "Recovery code", codes[0].toLowerCase().replaceAll("-", " "));
  await fay.arrives("Profile");
});

step("recovery codes are copied, and printed without what belongs to the screen", async () => {
  const finn = await visitAs(open, "finn");
  await finn.context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const secret = await goAndBeginApp(finn);
  await finn.press("Copy");
  assert.equal(await finn.page.evaluate(() => navigator.clipboard.readText()), secret);
  await prove(finn, "Code from the app", totp(secret));
  const codes = await codesOf(finn);
  await finn.press("Copy");
  await finn.button("Copied").waitFor();
  assert.equal(await finn.page.evaluate(() => navigator.clipboard.readText()), codes.join("\n"));
  await finn.page.evaluate(() => (window.print = () => (window.isPrinted = true)));
  await finn.press("Print");
  assert.ok(await finn.page.evaluate(() => window.isPrinted));
  await finn.page.emulateMedia({ media: "print" });
  const paper = await finn.page.locator("body").innerText();
  for (const text of [...codes, "finn@example.org", "Vestibule"]) assert.ok(paper.includes(text), text);
  for (const text of ["Sign out", "Deutsch", "Print", "Continue", "I have kept"]) assert.ok(!paper.includes(text), text);
});

step("an app that is not confirmed in time has to be added again", async () => {
  const flora = await visitAs(open, "flora");
  const secret = await goAndBeginApp(flora);
  open.change("UPDATE pending_totps SET expires_at = created_at");
  await prove(flora, "Code from the app", totp(secret));
  await flora.sees("The app was not confirmed in time.");
  await flora.press("Add an authenticator app");
  await flora.press("Cancel");
  await flora.arrives("Second factor");
  assert.equal(await flora.page.getByRole("heading", { level: 3 }).count(), 0);
});

step("a second app has a name of its own, which its owner changes, and it can be removed", async () => {
  const fritz = await visitWithApp("fritz");
  await prove(fritz, "Code from the app", totp(await goAndBeginApp(fritz)));
  await fritz.sees("Added: Authenticator app 2.");
  await fritz.press("Rename Authenticator app 2");
  const dialog = fritz.page.getByRole("dialog");
  await dialog.getByLabel("Name").fill("");
  await dialog.getByRole("button", { name: "Save changes" }).click();
  await dialog.getByText("Fill in this field.").waitFor();
  await dialog.getByLabel("Name").fill("Tablet");
  await dialog.getByRole("button", { name: "Save changes" }).click();
  await fritz.page.getByRole("heading", { level: 3, name: "Tablet" }).waitFor();

  open.change("UPDATE sessions SET factors = ''"); // as if this session had begun with another factor
  await fritz.press("Remove Tablet");
  await dialog.getByText("You can no longer sign in with it.").waitFor();
  await dialog.getByRole("button", { name: "Remove" }).click();
  await fritz.sees("Removed: Tablet.");
  assert.ok(await fritz.page.evaluate(() => document.activeElement.matches("h1")), "the focus is where the page begins");
});

step("the last factor is removed with a warning, the session that used it ends, and the password suffices again", async () => {
  const frida = await visitWithApp("frida");
  await frida.follow("Second factor");
  await frida.press("Remove Authenticator app");
  const dialog = frida.page.getByRole("dialog");
  await dialog.getByText("It is your last one").waitFor();
  await dialog.getByRole("button", { name: "Remove" }).click();
  await frida.arrives("Sign in");
  await enter(frida, "frida");
  await frida.arrives("Second factor");
  await frida.button("Add an authenticator app").waitFor();
});

step("new recovery codes replace the previous ones", async () => {
  const { codes } = await addApp(open, "felix");
  const felix = await visit(open);
  await felix.open("sign-in");
  await enter(felix, "felix");
  await felix.press("Use a recovery code");
  await prove(felix, "Recovery code", codes[1]);
  await felix.follow("Second factor");
  await felix.press("Create new codes");
  await felix.page.getByRole("dialog").getByRole("button", { name: "Create new codes" }).click();
  const newer = await codesOf(felix);
  await keepCodes(felix);
  await felix.press("Sign out");
  await enter(felix, "felix");
  await felix.press("Use a recovery code");
  await prove(felix, "Recovery code", codes[0]);
  assert.match(await felix.faultOf("Recovery code"), /Try another one\./);
  await prove(felix, "Recovery code", newer[0]);
  await felix.arrives("Profile");
});

step("an address has to be confirmed before a factor protects the account", async () => {
  await open.call("POST", "/v1/accounts", { email: "fanny@example.org", username: "fanny", password: PASSWORD });
  const fanny = await visitAs(open, "fanny");
  await fanny.follow("Second factor");
  await fanny.sees("Please confirm your address first.");
  assert.equal(await fanny.button("Add an authenticator app").count(), 0);
  await fanny.follow("Confirm address");
  await fanny.press("Send email");
  const mail = await open.mail("fanny@example.org", /\/account\/verify#t=/);
  await fanny.fill({ "Code from the email": code(mail) });
  await fanny.press("Confirm");
  await fanny.arrives("Your address is confirmed");
  await fanny.press("Continue");
  await fanny.arrives("Second factor");
  await fanny.button("Add an authenticator app").waitFor();
});
