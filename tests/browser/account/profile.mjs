// People look after their account: names, language, password, and its end.

import assert from "node:assert/strict";
import { step } from "../chromium.mjs";
import { PASSWORD } from "../service.mjs";
import { visit } from "../visitor.mjs";
import { open } from "./services.mjs";
import { enter, visitAs } from "./steps.mjs";

await Promise.all(["paul", "pia", "pina", "pola", "petra"].map((name) => open.createUser(name)));

step("a name and a username are changed, and are still there after a reload", async () => {
  const paul = await visitAs(open, "paul");
  await paul.fill({ Name: "Paul Erdős", Username: "erdos" });
  await paul.press("Save changes");
  await paul.sees("Your changes are saved.");
  await paul.page.reload();
  await paul.arrives("Profile");
  assert.equal(await paul.field("Name").inputValue(), "Paul Erdős");
  assert.equal(await paul.field("Username").inputValue(), "erdos");
});

step("a username that somebody has, or that cannot be one, is explained at its field, and nothing that was typed is lost", async () => {
  const paul = await visitAs(open, "paul@example.org");
  await paul.fill({ Name: "Paul", Username: "pia" });
  await paul.press("Save changes");
  assert.match(await paul.faultOf("Username"), /username is taken/);
  assert.equal(await paul.field("Name").inputValue(), "Paul");
  await paul.fill({ Username: "1 2" });
  await paul.press("Save changes");
  assert.match(await paul.faultOf("Username"), /begin with a letter/);
});

step("a change that somebody else made meanwhile is not overwritten", async () => {
  const paul = await visitAs(open, "paul@example.org");
  const tab = await paul.openTab("");
  await paul.fill({ Name: "Paul the First" });
  await paul.press("Save changes");
  await paul.sees("Your changes are saved.");
  await tab.fill({ Name: "Paul the Second" });
  await tab.press("Save changes");
  await tab.sees("Your profile was changed elsewhere");
  assert.equal(await tab.field("Name").inputValue(), "Paul the Second");
  await tab.press("Save changes");
  await tab.sees("Your changes are saved.");
});

step("a language that is chosen changes the page at once, and the account's mails", async () => {
  const pia = await visitAs(open, "pia");
  await pia.field("Language").selectOption("Deutsch");
  await pia.press("Save changes");
  await pia.arrives("Profil");
  assert.equal(await pia.page.locator("html").getAttribute("lang"), "de");
  await pia.page.reload();
  await pia.arrives("Profil");
  const { access_token: pias } = await open.logIn("pia");
  assert.equal((await open.call("GET", "/v1/me", undefined, pias)).language, "de");
});

step("a new password needs the present one, keeps this session and ends all others", async () => {
  const [here, there] = [await visitAs(open, "pina"), await visitAs(open, "pina")];
  await here.follow("Password");
  await here.fill({ "Current password": "not hers at all", "New password": "a lamp beside the harbour" });
  await here.press("Change password");
  assert.match(await here.faultOf("Current password"), /not your current password/);
  assert.equal(await here.field("New password").inputValue(), "a lamp beside the harbour");
  await here.fill({ "Current password": PASSWORD });
  await here.press("Change password");
  await here.arrives("Your password is changed");
  await open.mail("pina@example.org", /password .* was changed/);

  await there.follow("Sessions");
  await there.arrives("Sign in");
  await there.sees("Your session has ended.");
  await here.page.reload();
  await here.arrives("Password");
});

step("common passwords and those made of one's own name are refused with the reason", async () => {
  const pola = await visitAs(open, "pola");
  await pola.follow("Password");
  for (const [password, reason] of [["password", /easy to guess/], ["pola@example.org", /your name, your address/], ["short", /at least 8/]]) {
    await pola.fill({ "Current password": PASSWORD, "New password": password });
    await pola.press("Change password");
    assert.match(await pola.faultOf("New password"), reason);
  }
});

step("an account is closed only by somebody who types its address and its password, and is gone", async () => {
  const petra = await visitAs(open, "petra");
  await petra.follow("Close account");
  await petra.fill({ "To confirm, type your email address": "petra", "Current password": PASSWORD });
  await petra.press("Close account for good");
  await petra.faultOf("To confirm, type your email address");
  await petra.fill({ "To confirm, type your email address": "petra@example.org", "Current password": "wrong" });
  await petra.press("Close account for good");
  assert.match(await petra.faultOf("Current password"), /not your current password/);
  await petra.fill({ "Current password": PASSWORD });
  await petra.press("Close account for good");
  await petra.sees("Your account has been closed.");
  await petra.arrives("Sign in");
  await enter(petra, "petra@example.org");
  await petra.sees("password is wrong");
});

step("the only administrator cannot close the account, and learns what to do first", async () => {
  const admin = await visit(open);
  await admin.open("sign-in");
  await enter(admin, "admin", open.adminPassword);
  await admin.arrives("Profile");
  await admin.follow("Close account");
  await admin.fill({ "To confirm, type your email address": "admin@vestibule.invalid", "Current password": open.adminPassword });
  await admin.press("Close account for good");
  await admin.sees("This is the last account with the rights of an administrator.");
});
