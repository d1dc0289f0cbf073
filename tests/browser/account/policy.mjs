// A service that demands a second factor: people sign in as before, and are led to add one.

import assert from "node:assert/strict";
import { totp } from "../../../openapi/typescript/test/totp.mjs";
import { step } from "../chromium.mjs";
import { PASSWORD, code } from "../service.mjs";
import { visit } from "../visitor.mjs";
import { addDevice, suggestNothing } from "./factors.mjs";
import { strict } from "./services.mjs";
import { beginApp, keepCodes, prove, signIn, visitAs } from "./steps.mjs";

/** Creates an account whose address is confirmed. */
async function register(username) {
  const email = `${username}@example.org`;
  await strict.call("POST", "/v1/accounts", { email, username, password: PASSWORD });
  strict.change(`UPDATE users SET email_verified = TRUE WHERE username = '${username}'`);
}

step("F04 somebody who needs a second factor is led from the page to adding one, told why, and back", async () => {
  await strict.call("POST", "/v1/accounts", { email: "mina@example.org", username: "mina", password: PASSWORD });
  const mina = await visitAs(strict, "mina");
  await mina.follow("Password");
  await mina.fill({ "Current password": PASSWORD, "New password": "a lamp beside the harbour" });
  await mina.press("Change password");
  await mina.arrives("Second factor");
  await mina.sees("This service demands a second factor. Add one here to go on.");
  await mina.follow("Confirm address");
  await mina.press("Send email");
  await mina.fill({ "Code from the email": code(await strict.mail("mina@example.org", /\/account\/verify#t=/)) });
  await mina.press("Confirm");
  await mina.press("Continue");
  await prove(mina, "Code from the app", totp(await beginApp(mina)));
  await keepCodes(mina);
  await mina.arrives("Password");
  await mina.fill({ "Current password": PASSWORD, "New password": "a lamp beside the harbour" });
  await mina.press("Change password");
  await mina.arrives("Your password is changed");

  await mina.follow("Second factor");
  await mina.press("Remove Authenticator app");
  await mina.page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
  await mina.sees("Add another one before you remove this one.");
});

step("F04 a passkey suffices, for every page", async () => {
  await register("milo");
  const milo = await visit(strict);
  await suggestNothing(milo);
  await addDevice(milo);
  await signIn(milo, "milo");
  await milo.follow("Close account");
  await milo.fill({ "To confirm, type your email address": "milo@example.org", "Current password": PASSWORD });
  await milo.press("Close account for good");
  await milo.arrives("Second factor");
  await milo.press("Add a passkey");
  await keepCodes(milo);
  await milo.arrives("Close account");
  await milo.fill({ "To confirm, type your email address": "milo@example.org", "Current password": PASSWORD });
  await milo.press("Close account for good");
  await milo.arrives("Sign in");
  assert.equal(await milo.field("Email address or username").inputValue(), "");
});
