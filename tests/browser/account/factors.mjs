// What people have beside a password: an app that shows codes, recovery codes, and a device with passkeys. And what time brings about.

import { totp } from "../../../openapi/typescript/test/totp.mjs";
import { PASSWORD, code, link } from "../service.mjs";

/** Adds an authenticator app to somebody's account, elsewhere. Returns its id and secret, the recovery codes, and a token of that session. */
export async function addApp(service, username) {
  const { access_token } = await service.logIn(username);
  const { id, secret } = await service.call("POST", "/v1/me/factors/totp", {}, access_token);
  const { recovery_codes, tokens } = await service.call("POST", `/v1/me/factors/totp/${id}/confirm`, { code: totp(secret) }, access_token);
  letCodesPass(service);
  return { id, secret, codes: recovery_codes, token: tokens.access_token };
}

/** Changes somebody's address to `<username>@example.com`, and returns the link of the mail that undoes it. */
export async function changeAddress(service, username, token) {
  const email = `${username}@example.com`;
  await service.call("PATCH", "/v1/me", { email, current_password: PASSWORD }, token);
  const mail = await service.mail(email, /\/account\/email#t=/);
  await service.call("POST", "/v1/me/pending-email/complete", { code: code(mail).replace(" ", "") }, token);
  return link(await service.mail(`${username}@example.org`, /\/account\/revert#t=/));
}

/** Lets the time pass for which a code is shown, so that the code that is shown now has not been used. */
export function letCodesPass(service) {
  service.change("UPDATE factors SET last_step = 0 WHERE kind = 'totp'");
}

/** Lets the weeks pass after which nobody doubts that a factor is its owner's. */
export function letFactorsAge(service) {
  service.change("UPDATE factors SET created_at = '2020-01-01T00:00:00.000000+00:00'");
}

/** Lets the time pass after which somebody has to prove anew who they are, and opens the page again. */
export async function letProofPass(visitor, username) {
  visitor.service.change(`UPDATE sessions SET auth_time = '2020-01-01T00:00:00.000000+00:00' WHERE user_id = (SELECT id FROM users WHERE username = '${username}')`);
  await visitor.page.reload(); // the access token states the time
}

/** A device in the browser of this visitor that stores passkeys. It confirms at once that its owner is there. */
export async function addDevice(visitor) {
  const devtools = await visitor.context.newCDPSession(visitor.page);
  await devtools.send("WebAuthn.enable");
  const { authenticatorId } = await devtools.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  return {
    /** Returns the passkeys that the device stores. */
    passkeys: async () => (await devtools.send("WebAuthn.getCredentials", { authenticatorId })).credentials,
    /** The owner goes away, or comes back. */
    leave: () => devtools.send("WebAuthn.setAutomaticPresenceSimulation", { authenticatorId, enabled: false }),
    comeBack: () => devtools.send("WebAuthn.setAutomaticPresenceSimulation", { authenticatorId, enabled: true }),
  };
}

/** Opens a browser that cannot suggest passkeys in a field. */
export const suggestNothing = (visitor) =>
  visitor.context.addInitScript(() => (PublicKeyCredential.isConditionalMediationAvailable = async () => false));
