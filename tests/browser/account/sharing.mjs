// Several people at one computer: nobody sees or keeps what belongs to another.

import assert from "node:assert/strict";
import { step } from "../chromium.mjs";
import { PASSWORD, link } from "../service.mjs";
import { visit } from "../visitor.mjs";
import { PRODUCT, open } from "./services.mjs";
import { enter, signIn, visitAs } from "./steps.mjs";

await Promise.all(["hans", "hilde", "heidi", "horst", "hugo", "hanna"].map((name) => open.createUser(name, { name: `${name} H` })));

/** Returns the link of a mail with which this user can set a new password. */
async function resetLink(username) {
  await open.call("POST", "/v1/password-resets", { identifier: username });
  return link(await open.mail(`${username}@example.org`, /\/account\/reset#t=/));
}

step("a link that somebody has opened and not used is of no use to the next person at the computer", async () => {
  const shared = await visit(open);
  await shared.open(await resetLink("hans"));
  await shared.arrives("Choose a new password");
  await shared.follow("Vestibule");
  await enter(shared, "hilde");
  await shared.arrives("Profile");
  await shared.press("Sign out");
  await shared.follow("Forgotten your password?");
  await shared.arrives("Forgotten your password?");
});

step("the page for signing in does not show who has signed out", async () => {
  const shared = await visitAs(open, "hilde");
  await shared.press("Sign out");
  await shared.arrives("Sign in");
  assert.equal(await shared.field("Email address or username").inputValue(), "");
  await shared.follow("Forgotten your password?");
  assert.equal(await shared.field("Email address or username").inputValue(), "");
});

step("the way back to a page does not show an account whose session has ended meanwhile", async () => {
  const shared = await visitAs(open, "heidi");
  await shared.page.evaluate(() => (window.isKept = true));
  await shared.page.goto(PRODUCT);
  const { items: [{ id }] } = await open.administer("GET", "/v1/users?search=heidi");
  await open.administer("DELETE", `/v1/users/${id}/sessions`);
  await shared.page.goBack({ waitUntil: "commit" });
  await shared.arrives("Sign in");
  assert.ok(await shared.page.evaluate(() => window.isKept), "the browser has kept the page");
});

step("all tabs show the account of the person who has signed in last, also if nobody has signed out", async () => {
  await open.logIn("horst"); // elsewhere
  const shared = await visitAs(open, "horst");
  const [address, sessions] = [await shared.openTab("email"), await shared.openTab("sessions")];
  await address.sees("horst@example.org");
  await sessions.button("End all other sessions").waitFor();
  const tab = await shared.openTab(await resetLink("hugo"));
  await tab.fill({ "New password": "a lamp beside the harbour" });
  await tab.press("Set new password");
  await tab.arrives("Your password is changed");

  await sessions.sees("You are not signed in anywhere else.");
  await address.sees("hugo@example.org");
  await shared.page.waitForFunction(() => [...document.querySelectorAll("main input")].some(({ value }) => value === "hugo H"));
});

step("a link for another account than the one that is signed in says so, and leads there", async () => {
  const { access_token: hannas } = await open.logIn("hanna");
  await open.call("PATCH", "/v1/me", { email: "hanna@example.com", current_password: PASSWORD }, hannas);
  const url = link(await open.mail("hanna@example.com", /\/account\/email#t=/));
  const shared = await visit(open);
  await signIn(shared, "hilde");
  await shared.open(url);
  await shared.press("Use this address");
  await shared.arrives("This link does not work");
  await shared.press("Sign in to another account");
  await enter(shared, "hanna");
  await shared.press("Use this address");
  await shared.arrives("Your address is changed");
});
