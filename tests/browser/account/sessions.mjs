// Where people are signed in, and how that ends.

import assert from "node:assert/strict";
import { step } from "../chromium.mjs";
import { visit } from "../visitor.mjs";
import { open } from "./services.mjs";
import { signIn, visitAs } from "./steps.mjs";

await Promise.all(["sara", "sven", "svea", "sina"].map((name) => open.createUser(name)));

/** Waits until the page that is looked at again shows that its session has ended. */
async function isSignedOut(visitor, reason) {
  await visitor.page.bringToFront();
  await visitor.arrives("Sign in");
  await visitor.sees(reason);
}

step("a reload stays signed in, and so does another tab", async () => {
  const sara = await visitAs(open, "sara");
  await sara.page.reload();
  await sara.arrives("Profile");
  const tab = await sara.openTab("sessions");
  await tab.arrives("Where you are signed in");
  await tab.sees("This session");
});

step("a sign-out ends the session in all tabs, and a reload does not bring it back", async () => {
  const sara = await visitAs(open, "sara");
  const tab = await sara.openTab("");
  await sara.page.bringToFront();
  await sara.press("Sign out");
  await sara.arrives("Sign in");
  await isSignedOut(tab, "You have signed out in another tab.");
  await tab.page.reload();
  await tab.arrives("Sign in");
});

step("somebody ends the session of another device, which sees it at the next step", async () => {
  const [laptop, phone] = [await visitAs(open, "sven"), await visitAs(open, "sven", { width: 360 })];
  await laptop.follow("Sessions");
  const sessions = laptop.page.getByRole("list", { name: "Your sessions" }).getByRole("listitem");
  await sessions.nth(1).waitFor();
  assert.equal(await sessions.count(), 2);
  await sessions.filter({ hasNotText: "This session" }).getByRole("button", { name: /^End session/ }).click();
  await laptop.sees("The session has ended");
  assert.equal(await sessions.count(), 1);
  await phone.page.reload();
  await isSignedOut(phone, "Sign in");
});

step("somebody ends all other sessions and stays signed in", async () => {
  const [laptop, phone, tablet] = await Promise.all([1, 2, 3].map(() => visitAs(open, "svea")));
  await laptop.follow("Sessions");
  await laptop.press("End all other sessions");
  await laptop.sees("You stay signed in here.");
  await laptop.page.getByRole("dialog").getByRole("button", { name: "End all other sessions" }).click();
  await laptop.sees("All other sessions have ended.");
  for (const other of [phone, tablet]) {
    await other.follow("Sessions");
    await isSignedOut(other, "Your session has ended.");
  }
  await laptop.page.reload();
  await laptop.arrives("Where you are signed in");
});

step("an administrator ends somebody's sessions, which shows at the next step", async () => {
  const sina = await visitAs(open, "sina");
  const { items: [{ id }] } = await open.administer("GET", "/v1/users?search=sina");
  await open.administer("DELETE", `/v1/users/${id}/sessions`);
  await sina.follow("Password");
  await isSignedOut(sina, "Your session has ended.");
  await signIn(sina, "sina");
});

step("a page that needs a session leads to the sign-in page and back", async () => {
  const sara = await visit(open);
  await sara.open("sessions");
  await sara.arrives("Sign in");
  await sara.fill({ "Email address or username": "sara", Password: "seven tall ships at dawn" });
  await sara.press("Sign in");
  await sara.arrives("Where you are signed in");
});
