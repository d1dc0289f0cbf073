// Accounts with a second factor: a sign-in, a reset and the undoing of an address ask for it.

import assert from "node:assert/strict";
import { totp } from "../../../openapi/typescript/test/totp.mjs";
import { step } from "../chromium.mjs";
import { code, link } from "../service.mjs";
import { visit } from "../visitor.mjs";
import { addApp, changeAddress, letFactorsAge } from "./factors.mjs";
import { PRODUCT, open } from "./services.mjs";
import { enter, prove } from "./steps.mjs";

const NEW_PASSWORD = "a lamp beside the harbour";

await Promise.all(["gina", "gero", "gesa", "gwen", "gaby"].map((name) => open.createUser(name)));

/** Opens the sign-in page and enters the right password of an account that needs more than that. */
async function arriveAtSecondStep(username, path = "sign-in") {
  const visitor = await visit(open);
  await visitor.open(path);
  await enter(visitor, username);
  await visitor.arrives("One more step");
  return visitor;
}

step("F02 before the second step there is no session, a wrong code can be corrected, and the way back to the product is kept", async () => {
  const { secret } = await addApp(open, "gina");
  const gina = await arriveAtSecondStep("gina", `sign-in?return_to=${encodeURIComponent(PRODUCT)}`);
  assert.deepEqual(await gina.context.cookies(), []);
  assert.equal(await gina.field("Code from the app").getAttribute("autocomplete"), "one-time-code");
  await prove(gina, "Code from the app", totp(secret, 20));
  assert.match(await gina.faultOf("Code from the app"), /Wait for the next one\./);
  await prove(gina, "Code from the app", totp(secret));
  await gina.arrives("The product");
  assert.equal(gina.page.url(), `${PRODUCT}/#signed_in`);
});

step("a second step that takes too long, or has too many wrong codes, leads back to the sign-in page, which keeps the address", async () => {
  const { secret } = await addApp(open, "gero");
  const gero = await arriveAtSecondStep("gero");
  open.change("UPDATE challenges SET expires_at = created_at");
  await prove(gero, "Code from the app", totp(secret));
  await gero.arrives("Sign in");
  await gero.sees("This took too long, or was tried too often.");
  assert.equal(await gero.field("Email address or username").inputValue(), "gero");
  await gero.press("Sign in");
  await gero.arrives("One more step");
  open.change("UPDATE challenges SET attempts = 5");
  await prove(gero, "Code from the app", totp(secret));
  await gero.arrives("Sign in");
  await gero.press("Sign in");
  await gero.press("Start again");
  await gero.arrives("Sign in");
  assert.equal(await gero.page.getByRole("alert").count(), 0);
  await gero.press("Sign in");
  await prove(gero, "Code from the app", totp(secret));
  await gero.arrives("Profile");
});

step("F02 a reset asks for the second factor, with the link and with the code of the mail", async () => {
  const { secret, codes } = await addApp(open, "gesa");
  const gesa = await visit(open);
  await gesa.open("reset");
  await gesa.fill({ "Email address or username": "gesa" });
  await gesa.press("Send code");
  const mail = await open.mail("gesa@example.org", /\/account\/reset#t=/);
  const phone = await visit(open, { width: 360 });
  await phone.open(link(mail));
  await phone.fill({ "New password": NEW_PASSWORD });
  await phone.press("Set new password");
  await phone.arrives("One more step");
  await phone.press("Start again");
  await phone.arrives("Choose a new password");

  await gesa.fill({ "Code from the email": code(mail), "New password": NEW_PASSWORD });
  await gesa.press("Set new password");
  await gesa.press("Use a recovery code");
  await prove(gesa, "Recovery code", "not a code");
  assert.equal(await gesa.faultOf("Recovery code"), "A recovery code has 16 letters and digits.");
  await prove(gesa, "Recovery code", codes[0]);
  await gesa.arrives("Your password is changed");
  await gesa.follow("Sign in");
  await enter(gesa, "gesa@example.org", NEW_PASSWORD);
  await prove(gesa, "Code from the app", totp(secret));
  await gesa.arrives("Profile");

  await phone.press("Set new password");
  await phone.arrives("This link has already been used");
});

step("a mail that expires during the second step leads back, and says so", async () => {
  const { secret } = await addApp(open, "gwen");
  await open.call("POST", "/v1/password-resets", { identifier: "gwen" });
  const gwen = await visit(open);
  await gwen.open(link(await open.mail("gwen@example.org", /\/account\/reset#t=/)));
  await gwen.fill({ "New password": NEW_PASSWORD });
  await gwen.press("Set new password");
  await gwen.arrives("One more step");
  open.change("UPDATE tickets SET expires_at = created_at WHERE address = 'gwen@example.org'");
  await prove(gwen, "Code from the app", totp(secret));
  await gwen.arrives("This link has expired");
});

step("F02 undoing the change of an address asks for a factor from long before the change", async () => {
  const { secret, token } = await addApp(open, "gaby");
  const gaby = await visit(open);
  const url = await changeAddress(open, "gaby", token);
  letFactorsAge(open);
  await gaby.open(url);
  await gaby.fill({ "New password": NEW_PASSWORD });
  await gaby.press("Restore my address");
  await gaby.arrives("One more step");
  await prove(gaby, "Code from the app", totp(secret));
  await gaby.arrives("Your address is restored");
});
