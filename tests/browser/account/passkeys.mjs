// People with passkeys: instead of a password, beside one, and what their browser learns about them.

import assert from "node:assert/strict";
import { totp } from "../../../openapi/typescript/test/totp.mjs";
import { step } from "../chromium.mjs";
import { PASSWORD, link } from "../service.mjs";
import { visit } from "../visitor.mjs";
import { addApp, addDevice, letCodesPass, letFactorsAge, suggestNothing } from "./factors.mjs";
import { open, verified } from "./services.mjs";
import { enter, keepCodes, prove, signIn, visitAs } from "./steps.mjs";

const NEW_PASSWORD = "a lamp beside the harbour";

await Promise.all(["kim", "karl", "kurt", "kai", "kelly", "knut"].map((name) => open.createUser(name)));

/** Signs somebody in who has a device, and adds a passkey on it. */
async function visitWithPasskey(username, prepare = async () => {}) {
  const visitor = await visit(open);
  await prepare(visitor);
  const device = await addDevice(visitor);
  await signIn(visitor, username);
  await visitor.follow("Second factor");
  await visitor.press("Add a passkey");
  await keepCodes(visitor);
  await visitor.page.getByRole("heading", { level: 3, name: /^\w+ on Linux$/ }).waitFor();
  return { visitor, device };
}

/** Waits until a device stores passkeys that are as they should be. */
async function stores(device, isRight) {
  for (let attempt = 0; ; attempt++) {
    const passkeys = await device.passkeys();
    if (isRight(passkeys)) return;
    if (attempt === 100) assert.fail(JSON.stringify(passkeys));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

step("somebody adds a passkey, and signs in with the browser's suggestion, without typing anything", async () => {
  const { visitor: kim, device } = await visitWithPasskey("kim");
  await kim.press("Add a passkey");
  await kim.sees("This device already has a passkey for your account.");
  await device.leave();
  await kim.press("Sign out");
  await kim.arrives("Sign in");
  assert.equal(await kim.field("Email address or username").getAttribute("autocomplete"), "username webauthn");
  await device.comeBack();
  await kim.page.reload();
  await kim.arrives("Profile");
});

step("where the browser suggests nothing, there is a button, also after a passkey was declined", async () => {
  const { visitor: karl } = await visitWithPasskey("karl", suggestNothing);
  await karl.press("Sign out");
  await karl.arrives("Sign in");
  await karl.page.evaluate(() => {
    const { get } = navigator.credentials;
    navigator.credentials.get = async () => {
      navigator.credentials.get = get;
      throw new DOMException("declined", "NotAllowedError");
    };
  });
  await karl.press("Use a passkey");
  await karl.sees("No passkey was used.");
  await karl.press("Use a passkey");
  await karl.arrives("Profile");
});

step("after the password, a passkey is one of the ways to go on", async () => {
  const { visitor: kurt } = await visitWithPasskey("kurt", suggestNothing);
  await kurt.press("Sign out");
  await enter(kurt, "kurt");
  await kurt.arrives("One more step");
  await kurt.button("Use a recovery code").waitFor();
  assert.equal(await kurt.button("Use your authenticator app").count(), 0, "there is none");
  await kurt.press("Use a passkey");
  await kurt.arrives("Profile");
});

step("F02 a passkey is the second factor of a reset, and of undoing the change of an address", async () => {
  const { visitor: kai } = await visitWithPasskey("kai", suggestNothing);
  await open.call("POST", "/v1/password-resets", { identifier: "kai" });
  await kai.open(link(await open.mail("kai@example.org", /\/account\/reset#t=/)));
  await kai.fill({ "New password": NEW_PASSWORD });
  await kai.press("Set new password");
  await kai.press("Use a passkey");
  await kai.arrives("Your password is changed");
  await kai.press("Sign in");
  await enter(kai, "kai", NEW_PASSWORD);
  await kai.press("Use a passkey");
  await kai.arrives("Profile");

  await kai.follow("Email address");
  await kai.fill({ "New email address": "kai@example.com", "Current password": NEW_PASSWORD });
  await kai.press("Change address");
  await kai.open(link(await open.mail("kai@example.com", /\/account\/email#t=/)));
  await kai.press("Use this address");
  await kai.arrives("Your address is changed");
  letFactorsAge(open);
  await kai.open(link(await open.mail("kai@example.org", /\/account\/revert#t=/)));
  await kai.fill({ "New password": PASSWORD });
  await kai.press("Restore my address");
  await kai.press("Use a passkey");
  await kai.arrives("Your address is restored");
});

step("a passkey that the service does not know any more is refused, and only then the browser is told to forget it", async () => {
  const { visitor: kelly, device } = await visitWithPasskey("kelly", suggestNothing);
  const { items: [{ id }] } = await open.administer("GET", "/v1/users?search=kelly");
  await kelly.press("Sign out");
  await kelly.arrives("Sign in");
  await kelly.page.route("**/v1/sessions/passkey", (route) => route.fulfill({
    status: 401, contentType: "application/problem+json",
    body: JSON.stringify({ type: "about:blank", title: "Invalid passkey", status: 401, code: "invalid_passkey" }),
  }));
  await kelly.press("Use a passkey");
  await kelly.sees("This passkey could not be checked.");
  await kelly.page.unroute("**/v1/sessions/passkey");
  assert.equal((await device.passkeys()).length, 1);
  await open.administer("DELETE", `/v1/users/${id}/factors`);
  await kelly.press("Use a passkey");
  await kelly.sees("This passkey belongs to no account here.");
  await stores(device, (passkeys) => passkeys.length === 0);
});

step("the browser learns the new name of an account, and that a passkey was removed", async () => {
  const { secret } = await addApp(open, "knut");
  const knut = await visit(open);
  await suggestNothing(knut);
  const device = await addDevice(knut);
  await knut.open("sign-in");
  await enter(knut, "knut");
  await prove(knut, "Code from the app", totp(secret));
  await knut.follow("Second factor");
  await knut.press("Add a passkey");
  await knut.sees(/^Added: /);
  await knut.follow("Profile");
  await knut.fill({ Name: "Knut the Great", Username: "knut-the-great" });
  await knut.press("Save changes");
  await stores(device, ([{ userName }]) => userName === "knut-the-great");

  await knut.press("Sign out");
  await enter(knut, "knut-the-great");
  await knut.press("Use your authenticator app");
  letCodesPass(open);
  await prove(knut, "Code from the app", totp(secret));
  await knut.follow("Second factor");
  await knut.page.getByRole("button", { name: /^Remove \w+ on Linux$/ }).click();
  await knut.page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
  await knut.sees(/^Removed: /);
  await stores(device, (passkeys) => passkeys.length === 0);
});

step("a service that has no host name offers no passkeys", async () => {
  await verified.createUser("klaus");
  const klaus = await visitAs(verified, "klaus");
  await klaus.follow("Second factor");
  await klaus.button("Add an authenticator app").waitFor();
  assert.equal(await klaus.page.getByText("Passkeys", { exact: true }).count(), 0);
  await klaus.press("Sign out");
  await klaus.arrives("Sign in");
  assert.equal(await klaus.button("Use a passkey").count(), 0);
  assert.equal(await klaus.field("Email address or username").getAttribute("autocomplete"), "username");
});
