// People sign in, or cannot.

import assert from "node:assert/strict";
import { step } from "../chromium.mjs";
import { PASSWORD, code, link } from "../service.mjs";
import { visit } from "../visitor.mjs";
import { open } from "./services.mjs";
import { enter, signIn, visitAs } from "./steps.mjs";

const RESET = /\/account\/reset#t=/;
const NEW_PASSWORD = "a lamp beside the harbour";

await Promise.all(["nora", "nils", "nina", "noel", "nana", "nuri", "noor"].map((name) => open.createUser(name)));

/** Requests a mail on the page for forgotten passwords. */
async function forgets(visitor, identifier) {
  await visitor.open("sign-in");
  await visitor.follow("Forgotten your password?");
  await visitor.fill({ "Email address or username": identifier });
  await visitor.press("Send code");
  await visitor.field("Code from the email").waitFor();
}

step("a wrong password is refused with the same words as an unknown account, and what was typed stays", async () => {
  const nora = await visit(open);
  await nora.open("sign-in");
  const said = [];
  for (const identifier of ["nora", "nobody"]) {
    await enter(nora, identifier, "not the password");
    await nora.sees("is wrong");
    said.push(await nora.page.getByRole("alert").innerText());
    assert.equal(await nora.field("Email address or username").inputValue(), identifier);
  }
  assert.equal(said[0], said[1]);
  await enter(nora, "nora");
  await nora.arrives("Profile");
});

step("a disabled account is refused with the reason", async () => {
  const { id } = await open.createUser("nero");
  await open.administer("PATCH", `/v1/users/${id}`, { status: "disabled" });
  const nero = await visit(open);
  await nero.open("sign-in");
  await enter(nero, "nero");
  await nero.sees("This account is disabled.");
});

step("a forgotten password is replaced with the code, on the same page", async () => {
  const nils = await visit(open);
  await forgets(nils, "nils");
  const mailed = code(await open.mail("nils@example.org", RESET));
  await nils.fill({ "Code from the email": "1234 5678", "New password": NEW_PASSWORD });
  await nils.press("Set new password");
  assert.match(await nils.faultOf("Code from the email"), /code is not right/);
  assert.equal(await nils.field("New password").inputValue(), NEW_PASSWORD);
  await nils.fill({ "Code from the email": mailed });
  await nils.press("Set new password");
  await nils.arrives("Your password is changed");
  await nils.press("Continue");
  await nils.arrives("Profile");
});

step("a forgotten password is replaced with the link in another browser, and all sessions end", async () => {
  const [laptop, phone] = [await visitAs(open, "nina"), await visit(open, { width: 360 })];
  const other = await visit(open);
  await forgets(other, "nina@example.org");
  await phone.open(link(await open.mail("nina@example.org", RESET)));
  await phone.sees("nina@example.org");
  await phone.fill({ "New password": NEW_PASSWORD });
  await phone.press("Set new password");
  await phone.arrives("Your password is changed");
  await laptop.follow("Sessions");
  await laptop.arrives("Sign in");
  await enter(laptop, "nina", NEW_PASSWORD);
});

step("a link that was used says so, and offers another mail", async () => {
  const noel = await visit(open);
  await forgets(noel, "noel");
  const url = link(await open.mail("noel@example.org", RESET));
  await noel.open(url);
  await noel.fill({ "New password": NEW_PASSWORD });
  await noel.press("Set new password");
  await noel.arrives("Your password is changed");
  await noel.open(url);
  await noel.arrives("This link has already been used");
  await noel.press("Send a new email");
  await noel.arrives("Forgotten your password?");
});

step("a link that has expired says so, and offers another mail", async () => {
  const nana = await visit(open);
  await forgets(nana, "nana");
  const url = link(await open.mail("nana@example.org", RESET));
  open.change("UPDATE tickets SET expires_at = created_at WHERE address = 'nana@example.org'");
  const tab = await nana.openTab(url);
  await tab.arrives("This link has expired");
  await tab.press("Send a new email");
  await tab.arrives("Forgotten your password?");
});

step("a link from which a filter has removed the end leads to the code in the same mail", async () => {
  const nuri = await visit(open);
  await forgets(nuri, "nuri");
  const mail = await open.mail("nuri@example.org", RESET);
  const phone = await visit(open, { width: 360 });
  await phone.open(link(mail).split("#")[0]);
  await phone.fill({ "Email address or username": "nuri" });
  await phone.press("Send code");
  await phone.fill({ "Code from the email": code(mail), "New password": NEW_PASSWORD });
  await phone.press("Set new password");
  await phone.arrives("Your password is changed");
});

step("a link whose end a filter has changed works, and one that is no link says so", async () => {
  const nora = await visit(open);
  await forgets(nora, "nora");
  const tab = await nora.openTab(link(await open.mail("nora@example.org", RESET)).replace("#t=", "%23t="));
  await tab.arrives("Choose a new password");
  assert.doesNotMatch(tab.page.url(), /vt1/);
  await tab.open("reset#t=vt1.nonsense.nonsense");
  await tab.arrives("This link does not work");
});

step("a mail that does not arrive can be sent again after a minute", async () => {
  const nemo = await visit(open);
  await nemo.page.clock.install();
  await forgets(nemo, "nemo");
  await nemo.sees("You can ask for it again in a minute.");
  await nemo.page.clock.fastForward("01:00");
  await nemo.press("Send the email again");
  await nemo.sees("You can ask for it again in a minute.");
});

step("the page for a reset shows nobody whether an account exists", async () => {
  const [stranger, owner] = [await visit(open), await visit(open)];
  await forgets(stranger, "nobody");
  await forgets(owner, "noor");
  const [unknown, known] = await Promise.all([stranger, owner].map(({ page }) => page.getByRole("main").innerText()));
  assert.equal(known.replaceAll("noor", "nobody"), unknown);
});

step("a reload of the page that waits for a code goes on waiting", async () => {
  const noor = await visit(open);
  await forgets(noor, "noor");
  await noor.page.reload();
  await noor.field("Code from the email").waitFor();
  assert.equal(await noor.page.evaluate(() => JSON.stringify({ ...localStorage })), "{}", "the handle is not kept for other tabs");
});

step("the mail and the page behind its link are in the language of the account, whatever the browser's is", async () => {
  await open.createUser("nele", { language: "de" });
  const nele = await visit(open, { language: "en" });
  await forgets(nele, "nele");
  const mail = await open.mail("nele@example.org", RESET);
  assert.match(mail.text, /neues Passwort/);
  const tab = await nele.openTab(link(mail));
  await tab.arrives("Neues Passwort wählen");
});

step("a language that somebody chooses stays chosen", async () => {
  const nora = await visit(open);
  await nora.open("sign-in");
  await nora.press("Deutsch");
  await nora.arrives("Anmelden");
  await nora.page.reload();
  await nora.arrives("Anmelden");
});

step("password managers find what they need on every form", async () => {
  const nora = await visit(open);
  const tokens = () => nora.page.locator("input").evaluateAll((fields) => fields.map(({ autocomplete }) => autocomplete));
  await nora.open("sign-in");
  assert.deepEqual(await tokens(), ["username webauthn", "current-password"]);
  await nora.open("sign-up");
  assert.deepEqual((await tokens()).filter((token) => /password|username|email/.test(token)), ["username", "new-password"]);
  await forgets(nora, "nora");
  assert.deepEqual((await tokens()).sort(), ["new-password", "one-time-code", "username"]);
  await signIn(nora, "nora");
  await nora.follow("Password");
  await nora.arrives("Password");
  assert.deepEqual(await tokens(), ["username", "current-password", "new-password"]);
});
