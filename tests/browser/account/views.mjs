// The account pages, in every state that they can show. They are found by their structure, because they are looked at in each
// language.

import { totp } from "../../../openapi/typescript/test/totp.mjs";
import { PASSWORD, code, link } from "../service.mjs";
import { addApp, addDevice, letProofPass, suggestNothing } from "./factors.mjs";
import { open, strict, verified } from "./services.mjs";

let people = 0;

/** Creates an account for this visitor. Returns its username. */
async function newcomer({ service, language }) {
  const username = `newcomer-${++people}`;
  await service.createUser(username, { language });
  return username;
}

/** Types into the only field with this autocomplete token. */
const type = ({ page }, token, text) => page.locator(`main [autocomplete~="${token}"]:visible`).fill(text);

/** Sends the form that is shown. */
const send = async (visitor) => {
  await visitor.page.locator("main form:visible button:not([type=button])").first().click();
  await visitor.settled();
};

/** Opens the sign-in page, and enters the right password. */
async function enter(visitor, username) {
  await visitor.open("sign-in");
  await type(visitor, "username", username);
  await type(visitor, "current-password", PASSWORD);
  await send(visitor);
}

async function signIn(visitor, username) {
  await enter(visitor, username);
  await visitor.page.waitForURL((url) => !url.pathname.endsWith("sign-in"));
}

const RESET = /\/account\/reset#t=/;

async function requestReset(visitor, username) {
  await visitor.open("reset");
  await type(visitor, "username", username);
  await send(visitor);
  return visitor.service.mail(`${username}@`, RESET);
}

async function requestSignUp(visitor) {
  const address = `newcomer-${++people}@example.org`;
  await visitor.open("sign-up");
  await type(visitor, "username", address);
  await send(visitor);
  return visitor.service.mail(address, /\/account\/sign-up#t=/);
}

/** Signs a new account in, and opens a page. */
const signedIn = (path, then = async () => {}) => async (visitor) => {
  const username = await newcomer(visitor);
  await signIn(visitor, username);
  await visitor.open(path);
  await visitor.settled();
  await then(visitor, username);
};

/** Signs in somebody who has created the account, so that its address is not proven. */
const unverified = (then = async () => {}) => async (visitor) => {
  const username = `newcomer-${++people}`;
  await open.call("POST", "/v1/accounts", { email: `${username}@example.org`, username, password: PASSWORD, language: visitor.language });
  await signIn(visitor, username);
  await visitor.open("email");
  await visitor.settled();
  await then(visitor, username);
};

async function requestChange(visitor, username) {
  await visitor.page.locator("main [type=email]").fill(`${username}@example.com`);
  await type(visitor, "current-password", PASSWORD);
  await send(visitor);
  return visitor.service.mail(`${username}@example.com`, /\/account\/email#t=/);
}

async function requestRevert(username) {
  const { access_token } = await open.logIn(username);
  await open.call("PATCH", "/v1/me", { email: `${username}@example.com`, current_password: PASSWORD }, access_token);
  const mailed = await open.mail(`${username}@example.com`, /\/account\/email#t=/);
  await open.call("POST", "/v1/me/pending-email/complete", { code: code(mailed).replace(" ", "") }, access_token);
  return open.mail(`${username}@example.org`, /\/account\/revert#t=/);
}

async function invite(members) {
  const email = `newcomer-${++people}@example.org`;
  await open.administer("POST", "/v1/invitations", { email, ...members });
  return open.mail(email, /\/account\/accept#t=/);
}

/** Presses the button in this place, by its order. */
const press = async (visitor, selector, index = 0) => {
  await visitor.page.locator(selector).nth(index).click();
  await visitor.settled();
};

/** Enters the right password of an account that has an authenticator app. */
const asked = (then = async () => {}) => async (visitor) => {
  const username = await newcomer(visitor);
  await addApp(open, username);
  await enter(visitor, username);
  await visitor.page.locator("main [autocomplete=one-time-code]").waitFor();
  await then(visitor, username);
};

/** Begins to add an authenticator app, and shows its secret. */
async function beginApp(visitor) {
  await press(visitor, "main .card .button", 1);
  await visitor.page.locator("svg.qr").waitFor();
  await press(visitor, "main summary");
}

/** Adds an authenticator app, and arrives at the recovery codes or, with another factor, at the list. */
async function finishApp(visitor) {
  await beginApp(visitor);
  const secret = (await visitor.page.locator(".secret").innerText()).replaceAll(" ", "");
  await type(visitor, "one-time-code", totp(secret));
  await send(visitor);
  await visitor.page.locator("main ol, main h3").first().waitFor();
}

/** Adds a passkey. */
const withPasskey = (then = async () => {}) => async (visitor) => {
  await suggestNothing(visitor);
  await addDevice(visitor);
  await signedIn("factors", async (_, username) => {
    await press(visitor, "main .card .button");
    await visitor.page.locator("main [type=checkbox]").check();
    await send(visitor);
    await visitor.page.locator("h3").waitFor();
    await then(visitor, username);
  })(visitor);
};

const offline = async (visitor) => {
  await visitor.page.route("**/v1/**", (route) => route.abort("internetdisconnected"));
};

/** Each view: its name, the server, and how to arrive at it. */
export const views = Object.entries({
  "sign-in": [open, (visitor) => visitor.open("sign-in")],
  "sign-in, nothing typed": [open, async (visitor) => {
    await visitor.open("sign-in");
    await send(visitor);
  }],
  "sign-in, wrong password": [open, async (visitor) => {
    await visitor.open("sign-in");
    await type(visitor, "username", "nobody");
    await type(visitor, "current-password", "not the password");
    await send(visitor);
  }],
  "sign-in, too many attempts": [open, async (visitor) => {
    await visitor.open("sign-in");
    await visitor.page.route("**/v1/sessions", (route) => route.fulfill({
      status: 429, headers: { "Retry-After": "90" }, contentType: "application/problem+json",
      body: JSON.stringify({ type: "about:blank", title: "Too many requests", status: 429, code: "too_many_requests" }),
    }));
    await type(visitor, "username", "ada");
    await type(visitor, "current-password", PASSWORD);
    await send(visitor);
  }],
  "sign-in, offline": [open, async (visitor) => {
    await visitor.open("sign-in");
    await offline(visitor);
    await type(visitor, "username", "ada");
    await type(visitor, "current-password", PASSWORD);
    await send(visitor);
  }],
  "sign-in, session ended": [open, signedIn("", async (visitor, username) => {
    const { items: [{ id }] } = await open.administer("GET", `/v1/users?search=${username}`);
    await open.administer("DELETE", `/v1/users/${id}/sessions`);
    await visitor.page.locator("main [autocomplete=name]").fill("Ada");
    await send(visitor);
  })],
  "sign-up": [open, (visitor) => visitor.open("sign-up")],
  "sign-up, nothing typed": [open, async (visitor) => {
    await visitor.open("sign-up");
    await send(visitor);
  }],
  "sign-up, address first": [verified, (visitor) => visitor.open("sign-up")],
  "sign-up, code": [verified, async (visitor) => void (await requestSignUp(visitor))],
  "sign-up, link": [verified, async (visitor) => visitor.open(link(await requestSignUp(visitor)))],
  "reset": [open, (visitor) => visitor.open("reset")],
  "reset, code": [open, async (visitor) => void (await requestReset(visitor, await newcomer(visitor)))],
  "reset, wrong code": [open, async (visitor) => {
    await requestReset(visitor, await newcomer(visitor));
    await type(visitor, "one-time-code", "1234 5678");
    await type(visitor, "new-password", PASSWORD);
    await send(visitor);
  }],
  "reset, link": [open, async (visitor) => visitor.open(link(await requestReset(visitor, await newcomer(visitor))))],
  "reset, common password": [open, async (visitor) => {
    await visitor.open(link(await requestReset(visitor, await newcomer(visitor))));
    await type(visitor, "new-password", "password1");
    await send(visitor);
  }],
  "reset, link expired": [open, async (visitor) => {
    const username = await newcomer(visitor);
    const url = link(await requestReset(visitor, username));
    open.change(`UPDATE tickets SET expires_at = created_at WHERE address = '${username}@example.org'`);
    await visitor.open(url);
  }],
  "reset, link invalid": [open, (visitor) => visitor.open("reset#t=vt1.AAAAAAAAAAAAAAAAAAAAAA.AAAA")],
  "verify, signed out": [open, (visitor) => visitor.open("verify")],
  "verify, link": [open, unverified(async (visitor, username) => {
    const { access_token } = await open.logIn(username);
    await open.call("POST", "/v1/me/email/verification", undefined, access_token);
    await visitor.open(link(await open.mail(`${username}@`, /\/account\/verify#t=/)));
  })],
  "revert, without link": [open, (visitor) => visitor.open("revert")],
  "revert": [open, async (visitor) => visitor.open(link(await requestRevert(await newcomer(visitor))))],
  "accept, without link": [open, (visitor) => visitor.open("accept")],
  "accept": [open, async (visitor) => visitor.open(link(await invite({ name: "Grace Hopper", language: visitor.language })))],
  "no such page": [open, (visitor) => visitor.open("nowhere")],
  "profile": [open, signedIn("")],
  "profile, saved": [open, signedIn("", async (visitor) => {
    await visitor.page.locator("main [autocomplete=name]").fill("Ada Lovelace");
    await send(visitor);
  })],
  "profile, bad username": [open, signedIn("", async (visitor) => {
    await visitor.page.locator("main [autocomplete=username]:visible").fill("1 2");
    await send(visitor);
  })],
  "email": [open, signedIn("email")],
  "email, wrong password": [open, signedIn("email", async (visitor, username) => {
    await visitor.page.locator("main [type=email]").fill(`${username}@example.com`);
    await type(visitor, "current-password", "not the password");
    await send(visitor);
  })],
  "email, pending": [open, signedIn("email", async (visitor, username) => void (await requestChange(visitor, username)))],
  "email, link": [open, signedIn("email", async (visitor, username) => visitor.open(link(await requestChange(visitor, username))))],
  "email, not confirmed": [open, unverified()],
  "password": [open, signedIn("password")],
  "password, nothing typed": [open, signedIn("password", send)],
  "sessions": [open, signedIn("sessions", async (visitor, username) => {
    await open.logIn(username);
    await visitor.page.reload();
  })],
  "sessions, end all others": [open, signedIn("sessions", async (visitor, username) => {
    await open.logIn(username);
    await visitor.page.reload();
    await visitor.page.getByRole("listitem").nth(1).waitFor();
    await visitor.settled();
    await visitor.page.locator("main .button.danger").click();
  })],
  "sign-in, no passkeys": [verified, (visitor) => visitor.open("sign-in")],
  "second step, app": [open, asked()],
  "second step, wrong code": [open, asked(async (visitor) => {
    await type(visitor, "one-time-code", "000 000");
    await send(visitor);
  })],
  "second step, recovery code": [open, asked(async (visitor) => press(visitor, "main li .link"))],
  "second step, too late": [open, asked(async (visitor) => {
    open.change("UPDATE challenges SET expires_at = created_at");
    await type(visitor, "one-time-code", "000 000");
    await send(visitor);
  })],
  "second step, passkey": [open, withPasskey(async (visitor, username) => {
    await visitor.context.clearCookies();
    await enter(visitor, username);
  })],
  "factors, none": [open, signedIn("factors")],
  "factors": [open, withPasskey(async (visitor) => {
    await finishApp(visitor);
    await visitor.page.locator("h3").nth(1).waitFor();
  })],
  "factors, a passkey is here already": [open, withPasskey(async (visitor) => press(visitor, "main .card .button"))],
  "factors, remove the last": [open, withPasskey(async (visitor) => press(visitor, "main li .link", 1))],
  "factors, new codes": [open, withPasskey(async (visitor) => press(visitor, "main .card .button", 2))],
  "factors, address not confirmed": [open, unverified(async (visitor) => {
    await visitor.open("factors");
    await visitor.settled();
  })],
  "factors, demanded": [strict, async (visitor) => {
    const username = `newcomer-${++people}`;
    await strict.call("POST", "/v1/accounts", { email: `${username}@example.org`, username, password: PASSWORD, language: visitor.language });
    strict.change("UPDATE users SET email_verified = TRUE");
    await signIn(visitor, username);
    await visitor.open("password");
    await type(visitor, "current-password", PASSWORD);
    await type(visitor, "new-password", "a lamp beside the harbour");
    await send(visitor);
    await visitor.page.locator("main .note.caution").waitFor();
  }],
  "app": [open, signedIn("factors", beginApp)],
  "app, wrong code": [open, signedIn("factors", async (visitor) => {
    await beginApp(visitor);
    await type(visitor, "one-time-code", "000 000");
    await send(visitor);
  })],
  "recovery codes": [open, signedIn("factors", finishApp)],
  "recovery codes, not kept": [open, signedIn("factors", async (visitor) => {
    await finishApp(visitor);
    await send(visitor);
  })],
  "fresh proof, password": [open, signedIn("factors", async (visitor, username) => {
    await letProofPass(visitor, username);
    await press(visitor, "main .card .button", 1);
    await visitor.page.locator("dialog").waitFor();
  })],
  "fresh proof, several ways": [open, withPasskey(async (visitor, username) => {
    await letProofPass(visitor, username);
    await press(visitor, "main .card .button", 1);
    await press(visitor, "dialog li .link");
  })],
  "close": [open, signedIn("close")],
  "close, nothing typed": [open, signedIn("close", send)],
}).map(([name, [service, arrive]]) => ({ name, service, arrive }));
