// A product sends people to the account pages, and gets them back.

import assert from "node:assert/strict";
import { totp } from "../../../openapi/typescript/test/totp.mjs";
import { step } from "../chromium.mjs";
import { code } from "../service.mjs";
import { visit } from "../visitor.mjs";
import { PRODUCT, open } from "./services.mjs";
import { beginApp, enter, keepCodes, prove, signIn } from "./steps.mjs";

await open.createUser("rosa");

step("a product sends somebody to the sign-in page, and gets them back with the message that they are signed in", async () => {
  const rosa = await visit(open);
  await rosa.page.goto(`${PRODUCT}/basket?step=2`);
  await rosa.open(`sign-in?return_to=${encodeURIComponent(`${PRODUCT}/basket?step=2`)}`);
  await enter(rosa, "rosa");
  await rosa.arrives("The product");
  assert.equal(rosa.page.url(), `${PRODUCT}/basket?step=2#signed_in`);
});

step("somebody who is signed in already goes back at once", async () => {
  const rosa = await visit(open);
  await signIn(rosa, "rosa");
  await rosa.page.goto(`${open.origin}/account/sign-in?return_to=${encodeURIComponent(PRODUCT)}`);
  await rosa.arrives("The product");
  assert.equal(rosa.page.url(), `${PRODUCT}/#signed_in`);
});

step("a password that is forgotten on the way does not lose the way back", async () => {
  await open.createUser("ruth");
  const ruth = await visit(open);
  await ruth.open(`sign-in?return_to=${encodeURIComponent(PRODUCT)}`);
  await ruth.follow("Forgotten your password?");
  await ruth.fill({ "Email address or username": "ruth" });
  await ruth.press("Send code");
  const mailed = code(await open.mail("ruth@example.org", /\/account\/reset#t=/));
  await ruth.fill({ "Code from the email": mailed, "New password": "a lamp beside the harbour" });
  await ruth.press("Set new password");
  await ruth.arrives("Your password is changed");
  await ruth.press("Continue");
  await ruth.arrives("The product");
  assert.equal(ruth.page.url(), `${PRODUCT}/#signed_in`);
});

step("a product whose calls demand a second factor sends somebody to add one, and gets them back", async () => {
  await open.createUser("romy");
  const romy = await visit(open);
  await romy.open(`factors?required&return_to=${encodeURIComponent(PRODUCT)}`);
  await enter(romy, "romy");
  await romy.sees("This service demands a second factor.");
  await prove(romy, "Code from the app", totp(await beginApp(romy)));
  await keepCodes(romy);
  await romy.arrives("The product");
  assert.equal(romy.page.url(), `${PRODUCT}/#signed_in`);

  await romy.open(`factors?required&return_to=${encodeURIComponent(PRODUCT)}`);
  await romy.sees("This service demands a second factor, and you have one.");
  await romy.press("Continue");
  await romy.arrives("The product");
});

/** What attackers put into links, so that people who have just signed in arrive at a page that looks like the product's. */
const HOSTILE = [
  "https://evil.example/",
  "http://evil.example/",
  "//evil.example/",
  "///evil.example/",
  "/\\evil.example/",
  "\\\\evil.example/",
  "https:evil.example",
  "https:/\\evil.example",
  "javascript:alert(1)",
  "JavaScript:alert(1)",
  " javascript:alert(1)",
  "java\tscript:alert(1)",
  "data:text/html,<script>alert(1)</script>",
  "vbscript:x",
  "blob:https://evil.example/1",
  "file:///etc/passwd",
  "about:blank",
  `blob:${PRODUCT}/1`,
  `filesystem:${PRODUCT}/temporary/1`,
  `javascript:${PRODUCT}`,
  `${PRODUCT}@evil.example/`,
  `${PRODUCT}.evil.example/`,
  `${PRODUCT.replace("localhost", "localhost.evil.example")}/`,
  `${PRODUCT.replace("localhost", "evil.localhost")}/`,
  `${PRODUCT.replace("localhost", "127.0.0.1")}/`,
  `${PRODUCT.replace("localhost", "user:password@localhost")}/`,
  `${PRODUCT.replace("http:", "https:")}/`,
  `${PRODUCT}0/`,
  PRODUCT.replace(/:\d+/, ""),
  `https://evil.example/?${PRODUCT}`,
  `https://evil.example/#${PRODUCT}`,
  `https://evil.example\\${PRODUCT}`,
  "%68%74%74%70s://evil.example",
  "evil.example",
  ".",
  "",
];

step("no other page gets somebody who signs in, whatever the link says", async () => {
  const rosa = await visit(open);
  await signIn(rosa, "rosa");
  for (const target of HOSTILE) {
    await rosa.page.goto(`${open.origin}/account/sign-in?return_to=${encodeURIComponent(target)}`);
    await rosa.arrives("Profile");
    assert.equal(new URL(rosa.page.url()).origin, open.origin, target);
    assert.doesNotMatch(rosa.page.url(), /signed_in/, target);
  }
});
