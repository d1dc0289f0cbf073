// People get an account: by themselves, with a proof of their address first, or by an invitation.

import assert from "node:assert/strict";
import { step } from "../chromium.mjs";
import { PASSWORD, code, link } from "../service.mjs";
import { visit } from "../visitor.mjs";
import { open, verified } from "./services.mjs";

const SIGN_UP = /\/account\/sign-up#t=/;
const INVITE = /\/account\/accept#t=/;

step("somebody creates an account, is signed in at once and confirms the address with the code", async () => {
  const ulla = await visit(open);
  await ulla.open("sign-in");
  await ulla.follow("Create an account");
  await ulla.fill({ "Email address": "ulla@example.org", Name: "Ulla", Password: PASSWORD });
  await ulla.press("Create account");
  await ulla.arrives("Confirm your address");
  await ulla.press("Send email");
  await ulla.fill({ "Code from the email": code(await open.mail("ulla@example.org", /\/account\/verify#t=/)) });
  await ulla.press("Confirm");
  await ulla.arrives("Your address is confirmed");
  await ulla.press("Continue");
  await ulla.arrives("Profile");
  assert.equal(await ulla.field("Name").inputValue(), "Ulla");
});

step("somebody who creates an account may confirm the address later", async () => {
  const uli = await visit(open);
  await uli.open("sign-up");
  await uli.fill({ "Email address": "uli@example.org", Password: PASSWORD });
  await uli.press("Create account");
  await uli.press("Later");
  await uli.arrives("Profile");
});

step("a taken address, a common password and a bad address are explained at their fields, and nothing that was typed is lost", async () => {
  await open.createUser("urs");
  const urs = await visit(open);
  await urs.open("sign-up");
  await urs.press("Create account");
  await urs.faultOf("Email address");
  await urs.faultOf("Password");
  await urs.fill({ "Email address": "urs@example", Password: "password1" });
  await urs.press("Create account");
  await urs.faultOf("Email address");
  assert.match(await urs.faultOf("Password"), /easy to guess/);
  await urs.fill({ "Email address": "urs@example.org", Password: PASSWORD });
  await urs.press("Create account");
  assert.match(await urs.faultOf("Email address"), /already exists/);
  assert.equal(await urs.field("Password").inputValue(), PASSWORD);
});

step("where an address must be proven first, the code from the mail leads to a password and an account", async () => {
  const uwe = await visit(verified);
  await uwe.open("sign-up");
  await uwe.fill({ "Email address": "uwe@example.org" });
  await uwe.press("Send code");
  await uwe.arrives("Check your email");
  await uwe.sees("uwe@example.org");
  await uwe.fill({ "Code from the email": code(await verified.mail("uwe@example.org", SIGN_UP)), Password: PASSWORD });
  await uwe.press("Create account");
  await uwe.arrives("Profile");
});

step("the link of a sign-up works in another browser, and only once", async () => {
  const laptop = await visit(verified);
  await laptop.open("sign-up");
  await laptop.fill({ "Email address": "una@example.org" });
  await laptop.press("Send code");
  await laptop.sees("una@example.org");
  const url = link(await verified.mail("una@example.org", SIGN_UP));
  const phone = await visit(verified, { width: 360 });
  await phone.open(url);
  await phone.sees("una@example.org");
  await phone.fill({ Password: PASSWORD });
  await phone.press("Create account");
  await phone.arrives("Profile");
  await laptop.open(url);
  await laptop.arrives("This link has already been used");
});

step("somebody who has an account already gets a mail that says so, and the page does not give it away", async () => {
  await verified.createUser("bruno");
  const bruno = await visit(verified);
  await bruno.open("sign-up");
  await bruno.fill({ "Email address": "bruno@example.org" });
  await bruno.press("Send code");
  await bruno.field("Code from the email").waitFor();
  await verified.mail("bruno@example.org", /sign-in/);
});

step("somebody who was invited chooses a password and is signed in, with a name and roles", async () => {
  await open.administer("POST", "/v1/invitations", { email: "clara@example.org", name: "Clara" });
  const clara = await visit(open);
  await clara.open(link(await open.mail("clara@example.org", INVITE)));
  await clara.sees("clara@example.org");
  assert.equal(await clara.field("Name").inputValue(), "Clara");
  await clara.fill({ Password: PASSWORD });
  await clara.press("Create account");
  await clara.arrives("Profile");
  assert.equal(await clara.field("Name").inputValue(), "Clara");
});

step("an invitation whose end a filter has removed works with the link that is pasted", async () => {
  await open.administer("POST", "/v1/invitations", { email: "ivan@example.org" });
  const url = link(await open.mail("ivan@example.org", INVITE));
  const ivan = await visit(open);
  await ivan.open("accept");
  await ivan.fill({ "Link from the email": url });
  await ivan.press("Continue");
  await ivan.fill({ Password: PASSWORD });
  await ivan.press("Create account");
  await ivan.arrives("Profile");
});

step("what somebody types stays when it becomes known only later who is signed in", async () => {
  await open.administer("POST", "/v1/invitations", { email: "irma@example.org" });
  const url = link(await open.mail("irma@example.org", INVITE));
  const irma = await visit(open);
  let release;
  const released = new Promise((resolve) => (release = resolve));
  await irma.page.route("**/v1/sessions/refresh", (route) => released.then(() => route.continue()));
  await irma.open(url);
  await irma.fill({ Password: PASSWORD });
  const answered = irma.page.waitForResponse("**/v1/sessions/refresh");
  release();
  await answered;
  await irma.page.waitForLoadState("networkidle");
  await irma.press("Create account");
  await irma.arrives("Profile");
});

step("an invitation that was revoked says that it is no longer valid", async () => {
  const { id } = await open.administer("POST", "/v1/invitations", { email: "igor@example.org" });
  const url = link(await open.mail("igor@example.org", INVITE));
  await open.administer("DELETE", `/v1/invitations/${id}`);
  const igor = await visit(open);
  await igor.open(url);
  await igor.arrives("This link has already been used");
});
