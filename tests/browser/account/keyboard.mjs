// People who use the keyboard alone, a large type, a small window or their own colours.

import assert from "node:assert/strict";
import { step } from "../chromium.mjs";
import { PASSWORD, code } from "../service.mjs";
import { visit } from "../visitor.mjs";
import { addApp } from "./factors.mjs";
import { open } from "./services.mjs";

await Promise.all(["kara", "kaya"].map((name) => open.createUser(name)));

/** Presses Tab until the control with this role and name has the focus. Fails if it cannot be reached, or does not show its focus. */
async function tabTo({ page }, role, name) {
  const wanted = page.getByRole(role, { name, exact: true });
  for (let pressed = 0; pressed < 40; pressed++) {
    if (await wanted.evaluate((control) => control === document.activeElement)) {
      const { outlineStyle, outlineWidth } = await wanted.evaluate((control) => {
        const { outlineStyle, outlineWidth } = getComputedStyle(control);
        return { outlineStyle, outlineWidth };
      });
      assert.ok(outlineStyle !== "none" && parseFloat(outlineWidth) >= 2, `${name}: the focus is not visible`);
      return;
    }
    await page.keyboard.press("Tab");
  }
  throw new Error(`Tab does not reach ${role} ${name}`);
}

async function type(visitor, name, text) {
  await tabTo(visitor, "textbox", name);
  await visitor.page.keyboard.type(text);
}

step("W01 somebody signs in with the keyboard alone, after a wrong password", async () => {
  const kara = await visit(open);
  await kara.open("sign-in");
  await type(kara, "Email address or username", "kara");
  await type(kara, "Password", "not the password");
  await kara.page.keyboard.press("Enter");
  await kara.sees("is wrong");
  const focused = await kara.page.evaluate(() => document.activeElement.tagName);
  assert.notEqual(focused, "BODY", "the focus is somewhere useful after an error");
  await tabTo(kara, "textbox", "Password");
  await kara.page.keyboard.press("Control+A");
  await kara.page.keyboard.type(PASSWORD);
  await tabTo(kara, "button", "Sign in");
  await kara.page.keyboard.press("Space");
  await kara.arrives("Profile");
  await tabTo(kara, "button", "Sign out");
  await kara.page.keyboard.press("Enter");
  await kara.arrives("Sign in");
});

step("W01 somebody takes the second step of a sign-in with the keyboard alone, in another way than the first that is offered", async () => {
  const { codes } = await addApp(open, "kaya");
  const kaya = await visit(open);
  await kaya.open("sign-in");
  await type(kaya, "Email address or username", "kaya");
  await type(kaya, "Password", PASSWORD);
  await kaya.page.keyboard.press("Enter");
  await kaya.arrives("One more step");
  await kaya.page.waitForFunction(() => document.activeElement.matches("[autocomplete=one-time-code]"));
  await tabTo(kaya, "button", "Use a recovery code");
  await kaya.page.keyboard.press("Enter");
  await kaya.field("Recovery code").waitFor();
  await kaya.page.waitForFunction(() => document.activeElement.matches("main input"));
  await kaya.page.keyboard.type(codes[0]);
  await kaya.page.keyboard.press("Enter");
  await kaya.arrives("Profile");
});

step("W01 somebody resets a password with the keyboard alone", async () => {
  const kara = await visit(open);
  await kara.open("sign-in");
  await tabTo(kara, "link", "Forgotten your password?");
  await kara.page.keyboard.press("Enter");
  await kara.arrives("Forgotten your password?");
  await type(kara, "Email address or username", "kara");
  await kara.page.keyboard.press("Enter");
  await type(kara, "Code from the email", code(await open.mail("kara@example.org", /\/account\/reset#t=/)));
  await type(kara, "New password", "a lamp beside the harbour");
  await kara.page.keyboard.press("Enter");
  await kara.arrives("Your password is changed");
});

step("the focus moves to the heading of the page that a link opens, and the first Tab of a page offers to skip to it", async () => {
  const kara = await visit(open);
  await kara.open("sign-in");
  await kara.follow("Forgotten your password?");
  await kara.arrives("Forgotten your password?");
  await kara.page.waitForFunction(() => document.activeElement?.matches("h1"));
  await kara.page.reload();
  await kara.arrives("Forgotten your password?");
  await kara.page.keyboard.press("Tab");
  assert.equal(await kara.page.evaluate(() => document.activeElement.innerText), "Skip to the content");
  await kara.page.keyboard.press("Enter");
  assert.ok(await kara.page.evaluate(() => document.querySelector("main").contains(document.activeElement)));
});
