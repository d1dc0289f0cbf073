// The program of the README: a page of a product sends people to the account pages to sign in, and gets them back. Starts a
// server and the page, on two origins of one site.
//
// VESTIBULE   the binary (by default target/debug/vestibule of this repository)

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import { createVestibule } from "../../openapi/typescript/dist/index.js";
import { PASSWORD, startServer } from "../../openapi/typescript/test/server.mjs";
import { TIMEOUT, browser, freePort, step } from "./chromium.mjs";

const PORT = await freePort();
const product = `http://localhost:${PORT}`;
const server = await startServer({ CORS__ORIGINS: product, ACCOUNT_PAGES__RETURN_TO: product });
const service = server.url.replace("127.0.0.1", "localhost");
const serve = fileURLToPath(new URL("../../openapi/typescript/example/serve.mjs", import.meta.url));
const pages = spawn(process.execPath, [serve], { env: { ...process.env, PORT, VESTIBULE: service }, stdio: ["ignore", "pipe", "inherit"] });
await once(pages.stdout, "data");
after(() => Promise.all([server.stop(), pages.kill()]));
await createVestibule({ baseUrl: server.url }).register({ email: "ada@example.org", username: "ada", password: PASSWORD });

const context = await browser.newContext({ locale: "en-GB" });
context.setDefaultTimeout(TIMEOUT);

/** The errors that no page shows, and the origins that were opened. */
const faults = [];
const opened = new Set();
context.on("weberror", (error) => faults.push(error.error().message));
context.on("console", (message) => {
  const { url } = message.location();
  // The page for the sign-in asks whether the browser has a session: the answer may be 401.
  const isExpected = url.endsWith("/favicon.ico") || url === `${service}/v1/sessions/refresh` && /status of 401/.test(message.text());
  if (message.type() === "error" && !isExpected) faults.push(message.text());
});
context.on("request", (request) => request.isNavigationRequest() && opened.add(new URL(request.url()).origin));

const page = await context.newPage();
const says = (text) => page.getByRole("status").filter({ hasText: text }).waitFor();
const address = () => page.url().replace(product, "");

async function signIn() {
  await page.getByLabel("Email address or username", { exact: true }).fill("ada");
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
}

step("a visitor goes from the product to the page for the sign-in, and back", async () => {
  await page.goto(`${product}/product.html?order=17`);
  await says("Nobody is signed in.");
  await page.getByRole("link", { name: "Sign in" }).click();
  await page.waitForURL(`${service}/account/sign-in?**`);
  await signIn();
  await says("Hello, ada!");
  await page.waitForURL(`${product}/product.html?order=17`); // the client has removed the fragment
});

step("the person stays signed in after a reload, and on the account pages", async () => {
  await page.reload();
  await says("Hello, ada!");
  await page.getByRole("link", { name: "Your account" }).click();
  await page.waitForURL(`${service}/account/?**`);
  await page.getByRole("heading", { level: 1 }).waitFor();
  assert.equal(await page.getByLabel("Password", { exact: true }).count(), 0, "no second sign-in");
});

step("a sign-out on the product ends the session everywhere", async () => {
  await page.goto(`${product}/product.html`);
  await says("Hello, ada!");
  await page.getByRole("button", { name: "Sign out" }).click();
  await says("Nobody is signed in.");
  assert.equal(address(), "/product.html");
});

step("an address of another origin is not opened", async () => {
  for (const target of ["https://evil.example/", `${product}.evil.example/`, `http://127.0.0.1:${PORT}/`, "//evil.example", "javascript:alert(1)", "\\\\evil.example"]) {
    await page.goto(`${service}/account/sign-in?return_to=${encodeURIComponent(target)}`);
    await signIn();
    await page.waitForURL(`${service}/account/`);
    await context.clearCookies();
  }
  assert.deepEqual([...opened].sort(), [product, service].sort());
});

step("there were no errors", () => assert.deepEqual(faults, []));
