// Passkeys in a real browser, with Chromium's virtual authenticator. A page of the server's own origin makes one and logs in with it.
//
// VESTIBULE   the binary (by default target/debug/vestibule of this repository)

import assert from "node:assert/strict";
import { after } from "node:test";
import { PASSWORD, startServer } from "../../openapi/typescript/test/server.mjs";
import { TIMEOUT, browser, freePort, step } from "./chromium.mjs";

const PORT = await freePort();
const origin = `http://localhost:${PORT}`; // browsers accept passkeys without TLS on localhost only
const server = await startServer({ SERVER__LISTEN: `127.0.0.1:${PORT}`, SERVER__PUBLIC_URL: origin });
after(() => server.stop());

const context = await browser.newContext();
context.setDefaultTimeout(TIMEOUT);
const page = await context.newPage();
await page.goto(`${origin}/docs`);
const devtools = await context.newCDPSession(page);
await devtools.send("WebAuthn.enable");
const { authenticatorId } = await devtools.send("WebAuthn.addVirtualAuthenticator", {
  options: {
    protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true,
    automaticPresenceSimulation: true,
  },
});

/** Calls the API from the page, as its scripts do. */
const call = (path, body, token) =>
  page.evaluate(async ([path, body, token]) => {
    const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
    const answer = await fetch(path, { method: "POST", headers, body: body && JSON.stringify(body) });
    return { status: answer.status, body: await answer.json() };
  }, [path, body, token]);

/** Asks the browser to make a passkey. */
const make = (options) =>
  page.evaluate(async (options) => {
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
    return (await navigator.credentials.create({ publicKey })).toJSON();
  }, options);

/** Asks the browser to use a passkey. */
const use = (options, mediation) =>
  page.evaluate(async ([options, mediation]) => {
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
    return (await navigator.credentials.get({ publicKey, mediation })).toJSON();
  }, [options, mediation]);

const me = async (token) => (await fetch(`${server.url}/v1/me`, { headers: { authorization: `Bearer ${token}` } })).json();

/** Logs in with a passkey, and returns the response. */
async function logIn(mediation) {
  const { body: { ceremony, options } } = await call("/v1/passkeys/options", {});
  return call("/v1/sessions/passkey", { ceremony, credential: await use(options, mediation) });
}

let token;

step("a page adds a passkey to an account", async () => {
  await call("/v1/accounts", { email: "ada@example.org", username: "ada", password: PASSWORD });
  const session = await call("/v1/sessions", { identifier: "ada", password: PASSWORD });
  const { body: { ceremony, options } } = await call("/v1/me/factors/passkey/options", undefined, session.body.access_token);
  const credential = await make(options);
  const added = await call("/v1/me/factors/passkey", { ceremony, credential, name: "Laptop" }, session.body.access_token);
  assert.equal(added.status, 201, JSON.stringify(added.body));
  assert.equal(added.body.factor.name, "Laptop");
  token = added.body.tokens.access_token;
  const { credentials } = await devtools.send("WebAuthn.getCredentials", { authenticatorId });
  assert.equal(credentials.length, 1);
  assert.ok(credentials[0].isResidentCredential, "the authenticator stores the passkey, so that nobody types a name");
});

step("a person logs in with a button and types nothing", async () => {
  const { status, body } = await logIn();
  assert.equal(status, 201, JSON.stringify(body));
  assert.equal((await me(body.access_token)).username, "ada");
});

step("a person logs in with a suggestion of the browser", async () => {
  assert.ok(await page.evaluate(() => PublicKeyCredential.isConditionalMediationAvailable()));
  const { status, body } = await logIn("conditional");
  assert.equal(status, 201, JSON.stringify(body));
});

step("a browser makes no second passkey of an account with the same authenticator", async () => {
  const { body: { options } } = await call("/v1/me/factors/passkey/options", undefined, token);
  await assert.rejects(make(options), /InvalidStateError/);
});

step("a passkey is refused if the browser could not verify its user", async () => {
  await devtools.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: false });
  const { body: { ceremony, options } } = await call("/v1/passkeys/options", {});
  const credential = await use({ ...options, userVerification: "discouraged" });
  const { status, body } = await call("/v1/sessions/passkey", { ceremony, credential });
  assert.deepEqual([status, body.code], [401, "invalid_passkey"]);
  await devtools.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: true });
});

step("a passkey whose account has gone is reported as unknown, so that the browser forgets it", async () => {
  const body = JSON.stringify({ current_password: PASSWORD });
  const headers = { "content-type": "application/json", authorization: `Bearer ${token}` };
  assert.equal((await fetch(`${server.url}/v1/me`, { method: "DELETE", headers, body })).status, 204);
  const { status, body: { code } } = await logIn();
  assert.deepEqual([status, code], [401, "unknown_passkey"]);
});
