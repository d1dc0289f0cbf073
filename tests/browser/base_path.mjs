// The account pages and the docs of a server with `server.base_path`, in Chromium: people find everything below that path.
//
// VESTIBULE   the binary (by default target/debug/vestibule of this repository)

import assert from "node:assert/strict";
import { after } from "node:test";
import { step } from "./chromium.mjs";
import { link, startService } from "./service.mjs";
import { signIn } from "./account/steps.mjs";
import { faults, visit } from "./visitor.mjs";

const BASE = "/auth";
const NEW_PASSWORD = "a lamp beside the harbour";
const service = await startService({ SERVER__BASE_PATH: BASE });
after(service.stop);
await service.createUser("ada");

step("H12 somebody follows the link of a mail, signs in, and stays signed in", async () => {
  const ada = await visit(service);
  await ada.page.goto(service.origin);
  await ada.arrives("Sign in");
  assert.equal(new URL(ada.page.url()).pathname, `${BASE}/account/sign-in`);
  await ada.follow("Forgotten your password?");
  await ada.fill({ "Email address or username": "ada" });
  await ada.press("Send code");
  await ada.field("Code from the email").waitFor();

  await ada.open(link(await service.mail("ada@example.org", /\/account\/reset#t=/)));
  assert.equal(new URL(ada.page.url()).pathname, `${BASE}/account/reset`);
  await ada.fill({ "New password": NEW_PASSWORD });
  await ada.press("Set new password");
  await ada.arrives("Your password is changed");

  const phone = await visit(service);
  await signIn(phone, "ada", NEW_PASSWORD);
  await phone.page.reload();
  await phone.arrives("Profile");
  assert.equal(new URL(phone.page.url()).pathname, `${BASE}/account/`);
  const [cookie] = (await phone.context.cookies()).filter(({ name }) => name.endsWith("vestibule_refresh"));
  assert.equal(cookie.path, "/");
});

step("H12 the docs call the operations, also the one at the root of the host", async () => {
  const { page } = await visit(service);
  await page.goto(`${service.origin}/docs`);
  const execute = async (id, path, fill = async () => {}) => {
    const operation = page.locator(`.opblock[id$="-${id}"]`);
    await operation.locator(".opblock-summary-control").click();
    await fill(operation);
    const answering = page.waitForResponse((answer) => new URL(answer.url()).pathname === path);
    await operation.locator("button.execute").click();
    return (await answering).status();
  };
  const credentials = JSON.stringify({ identifier: "ada", password: NEW_PASSWORD });
  const fill = (operation) => operation.locator("textarea.body-param__text").fill(credentials);
  assert.equal(await execute("logIn", `${BASE}/v1/sessions`, fill), 201);
  await page.locator(".caller").filter({ hasText: /Signed in as ada/ }).waitFor();
  assert.equal(await execute("readMe", `${BASE}/v1/me`), 200);
  assert.equal(await execute("readJwks", "/.well-known/jwks.json"), 200);
});

step("H12 no page has caused a report of the Content-Security-Policy, or an error", () => assert.deepEqual(faults, []));
