// People prove that an address is theirs, change it, and undo a change that was not theirs.

import assert from "node:assert/strict";
import { step } from "../chromium.mjs";
import { PASSWORD, code, link } from "../service.mjs";
import { visit } from "../visitor.mjs";
import { open } from "./services.mjs";
import { visitAs } from "./steps.mjs";

const VERIFY = /\/account\/verify#t=/;
const CHANGE = /\/account\/email#t=/;
const REVERT = /\/account\/revert#t=/;

await Promise.all(["ada", "abel", "alma", "anna", "arno", "axel"].map((name) => open.createUser(name)));
await Promise.all(["vera", "vito"].map((name) => open.call("POST", "/v1/accounts", { email: `${name}@example.org`, username: name, password: PASSWORD })));

async function me(username) {
  const { access_token } = await open.logIn(username);
  return open.call("GET", "/v1/me", undefined, access_token);
}

/** Asks for another address on the page of somebody who is signed in. */
async function wants(visitor, address) {
  await visitor.follow("Email address");
  await visitor.fill({ "New email address": address, "Current password": PASSWORD });
  await visitor.press("Change address");
  await visitor.sees(`We sent an email to ${address}.`);
}

step("an address is confirmed with the code from the mail, as it is written there", async () => {
  const vera = await visitAs(open, "vera");
  await vera.follow("Confirm address");
  await vera.follow("Confirm address");
  await vera.press("Send email");
  await vera.fill({ "Code from the email": "0000 0000" });
  await vera.press("Confirm");
  assert.match(await vera.faultOf("Code from the email"), /code is not right/);
  await vera.fill({ "Code from the email": code(await open.mail("vera@example.org", VERIFY)) });
  await vera.press("Confirm");
  await vera.arrives("Your address is confirmed");
  assert.equal((await me("vera")).email_verified, true);
});

step("an address is confirmed with the link, and only when its owner presses the button", async () => {
  const vito = await visitAs(open, "vito");
  await vito.open("verify");
  await vito.press("Send email");
  const url = link(await open.mail("vito@example.org", VERIFY));
  const tab = await vito.openTab(url);
  assert.doesNotMatch(tab.page.url(), /t=/, "the token has left the address");
  assert.equal((await me("vito")).email_verified, false);
  await tab.arrives("Confirm your address");
  await tab.press("Confirm address");
  await tab.arrives("Your address is confirmed");
  assert.equal((await me("vito")).email_verified, true);

  const again = await vito.openTab(url);
  await again.arrives("Your address is confirmed");
});

step("another address counts when its mailbox was proven, and until then the old one does", async () => {
  const ada = await visitAs(open, "ada");
  await wants(ada, "ada@example.com");
  const mail = await open.mail("ada@example.com", CHANGE);
  assert.equal((await me("ada")).email, "ada@example.org");
  await ada.fill({ "Code from the email": code(mail) });
  await ada.press("Confirm address");
  await ada.sees("Your account has the address ada@example.com now.");
  assert.equal((await me("ada")).email, "ada@example.com");
});

step("another address is confirmed with its link in a browser where somebody is signed in", async () => {
  const abel = await visitAs(open, "abel");
  await wants(abel, "abel@example.com");
  const url = link(await open.mail("abel@example.com", CHANGE));
  const tab = await abel.openTab(url);
  await tab.arrives("Confirm your new address");
  await tab.press("Use this address");
  await tab.arrives("Your address is changed");
  assert.equal((await me("abel")).email, "abel@example.com");
});

step("the link leads somebody who is not signed in to the sign-in page, and then confirms the address", async () => {
  const laptop = await visitAs(open, "axel");
  await wants(laptop, "axel@example.com");
  const phone = await visit(open, { width: 360 });
  await phone.open(link(await open.mail("axel@example.com", CHANGE)));
  await phone.fill({ "Email address or username": "axel", Password: PASSWORD });
  await phone.press("Sign in");
  await phone.press("Use this address");
  await phone.arrives("Your address is changed");
});

step("somebody thinks better of it and keeps the old address", async () => {
  const alma = await visitAs(open, "alma");
  await wants(alma, "alma@example.com");
  await alma.page.reload();
  await alma.sees("We sent an email to alma@example.com.");
  await alma.press("Keep the current address");
  await alma.sees("Your account keeps the address alma@example.org.");
  assert.equal((await me("alma")).pending_email, undefined);
});

step("a thief changes the address, and the owner takes the account back from the old mailbox", async () => {
  const thief = await visitAs(open, "anna");
  await wants(thief, "thief@example.com");
  await thief.fill({ "Code from the email": code(await open.mail("thief@example.com", CHANGE)) });
  await thief.press("Confirm address");
  await thief.sees("Your account has the address thief@example.com now.");

  const anna = await visit(open);
  await anna.open(link(await open.mail("anna@example.org", REVERT)));
  await anna.sees("anna@example.org");
  await anna.fill({ "New password": "a lamp beside the harbour" });
  await anna.press("Restore my address");
  await anna.arrives("Your address is restored");
  await anna.press("Continue");
  await anna.arrives("Profile");
  await open.logIn("anna@example.org", "a lamp beside the harbour");
  await thief.follow("Sessions");
  await thief.arrives("Sign in");
});

step("the undo page asks for the link if a filter has removed its end", async () => {
  const { access_token: arnos } = await open.logIn("arno");
  await open.call("PATCH", "/v1/me", { email: "arno@example.com", current_password: PASSWORD }, arnos);
  const mailed = code(await open.mail("arno@example.com", CHANGE));
  await open.call("POST", "/v1/me/pending-email/complete", { code: mailed }, arnos);
  const url = link(await open.mail("arno@example.org", REVERT));

  const arno = await visit(open);
  await arno.open("revert");
  await arno.fill({ "Link from the email": url });
  await arno.press("Continue");
  await arno.arrives("Undo the change of your address");
});
