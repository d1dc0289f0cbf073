// People who signed in a while ago prove anew who they are, before something that protects the account changes.

import assert from "node:assert/strict";
import { totp } from "../../../openapi/typescript/test/totp.mjs";
import { step } from "../chromium.mjs";
import { PASSWORD } from "../service.mjs";
import { visit } from "../visitor.mjs";
import { addApp, addDevice, letProofPass } from "./factors.mjs";
import { open } from "./services.mjs";
import { enter, keepCodes, prove, signIn, visitAs } from "./steps.mjs";

await Promise.all(["lena", "levi", "lisa", "luca", "lotte"].map((name) => open.createUser(name)));

const question = ({ page }) => page.getByRole("dialog", { name: "Confirm that it is you" });

/** Answers the question in the dialog. */
async function answer(visitor, label, value) {
  const dialog = question(visitor);
  await dialog.getByLabel(label, { exact: true }).fill(value);
  await dialog.getByRole("button", { name: "Confirm" }).click();
}

/** Signs somebody in who has an app, and opens the page of the second factors when the proof has become old. */
async function visitLater(username, secret) {
  const visitor = await visit(open);
  await visitor.open("sign-in");
  await enter(visitor, username);
  await prove(visitor, "Code from the app", totp(secret));
  await visitor.follow("Second factor");
  await visitor.arrives("Second factor");
  await letProofPass(visitor, username);
  return visitor;
}

step("somebody without a second factor confirms with the password, with the keyboard alone", async () => {
  const lena = await visitAs(open, "lena");
  await lena.follow("Second factor");
  await lena.arrives("Second factor");
  await letProofPass(lena, "lena");
  await lena.button("Add an authenticator app").focus();
  await lena.page.keyboard.press("Enter");
  await question(lena).waitFor();
  await lena.page.waitForFunction(() => document.activeElement.matches("dialog input"));
  await lena.page.keyboard.press("Escape");
  await lena.sees("Please confirm first that it is you.");
  assert.ok(await lena.button("Add an authenticator app").evaluate((button) => button === document.activeElement), "the focus is back");

  await lena.page.keyboard.press("Enter");
  await lena.page.waitForFunction(() => document.activeElement.matches("dialog input"));
  await lena.page.keyboard.type("not the password");
  await lena.page.keyboard.press("Enter");
  await question(lena).getByText("This is not your current password.").waitFor();
  await lena.page.keyboard.press("Control+A");
  await lena.page.keyboard.type(PASSWORD);
  await lena.page.keyboard.press("Enter");
  await lena.page.getByRole("img", { name: "QR code for the authenticator app" }).waitFor();
});

step("the question stands above another one, takes its time, and the call goes on afterwards", async () => {
  const { secret, codes } = await addApp(open, "levi");
  const levi = await visitLater("levi", secret);
  await levi.page.clock.install();
  await levi.press("Remove Authenticator app");
  await levi.page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
  await question(levi).waitFor();
  await levi.page.clock.fastForward("05:00");
  await answer(levi, "Code from the app", totp(secret, 20));
  await question(levi).getByText("Wait for the next one.").waitFor();
  await question(levi).getByRole("button", { name: "Use a recovery code" }).click();
  await levi.page.waitForFunction(() => document.activeElement.matches("dialog input"));
  await answer(levi, "Recovery code", codes[0]);
  await levi.arrives("Sign in"); // this session had used the app
  await enter(levi, "levi");
  await levi.button("Add an authenticator app").waitFor();
});

step("somebody confirms with a passkey", async () => {
  const lisa = await visit(open);
  await addDevice(lisa);
  await signIn(lisa, "lisa");
  await lisa.follow("Second factor");
  await lisa.press("Add a passkey");
  await keepCodes(lisa);
  await letProofPass(lisa, "lisa");
  await lisa.press("Create new codes");
  await lisa.page.getByRole("dialog").getByRole("button", { name: "Create new codes" }).click();
  await question(lisa).getByRole("button", { name: "Use a passkey" }).click();
  await lisa.arrives("Keep these codes");
});

step("each of two tabs asks by itself, and neither forgets what it was doing", async () => {
  const { secret, codes } = await addApp(open, "luca");
  const luca = await visitLater("luca", secret);
  const tab = await luca.openTab("factors");
  for (const visitor of [luca, tab]) {
    await visitor.press("Create new codes");
    await visitor.page.getByRole("dialog").getByRole("button", { name: "Create new codes" }).click();
    await question(visitor).waitFor();
  }
  await question(luca).getByRole("button", { name: "Use a recovery code" }).click();
  await answer(luca, "Recovery code", codes[0]);
  await luca.arrives("Keep these codes");
  await answer(tab, "Code from the app", totp(secret, 1));
  await tab.arrives("Keep these codes");
});

step("the question ends when somebody signs out in another tab, or leaves the page", async () => {
  const lotte = await visitAs(open, "lotte");
  await lotte.follow("Second factor");
  await lotte.arrives("Second factor");
  await letProofPass(lotte, "lotte");
  await lotte.press("Add an authenticator app");
  await question(lotte).waitFor();
  await lotte.page.goBack();
  await lotte.arrives("Profile");
  assert.equal(await question(lotte).count(), 0);
  await lotte.page.goForward();
  await lotte.press("Add an authenticator app");
  await question(lotte).waitFor();
  const tab = await lotte.openTab("");
  await tab.press("Sign out");
  await tab.arrives("Sign in");
  await lotte.arrives("Sign in");
  assert.equal(await question(lotte).count(), 0);
});
