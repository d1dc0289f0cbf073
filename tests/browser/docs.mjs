// The first five minutes at /docs, in a real browser, against a running server with an empty database.
//
// VESTIBULE_URL              the server, such as http://127.0.0.1:8080
// VESTIBULE_ADMIN_PASSWORD   the first administrator's password

import assert from "node:assert/strict";
import { TIMEOUT, browser, screenshot, step } from "./chromium.mjs";

const { VESTIBULE_URL, VESTIBULE_ADMIN_PASSWORD } = process.env;
assert.ok(VESTIBULE_URL && VESTIBULE_ADMIN_PASSWORD, "VESTIBULE_URL and VESTIBULE_ADMIN_PASSWORD must be set");
const { origin } = new URL(VESTIBULE_URL);

const page = await browser.newPage({ viewport: { width: 1280, height: 1000 } });
page.setDefaultTimeout(TIMEOUT);

// Errors that the user of the page does not see. The last test checks that there are none.
const faults = [];
page.on("pageerror", (error) => faults.push(`uncaught: ${error.message}`));
page.on("console", (message) => {
  const refused = message.location().url.startsWith(`${origin}/v1/`) && /status of 4\d\d/.test(message.text());
  if (message.type() === "error" && !refused) faults.push(`console: ${message.text()}`);
});
page.on("request", (request) => {
  const { protocol, origin: target } = new URL(request.url());
  if (protocol.startsWith("http") && target !== origin) faults.push(`request to ${target}`);
});
await page.exposeFunction("reportViolation", (violation) => faults.push(`policy: ${violation}`));
await page.addInitScript(() => document.addEventListener("securitypolicyviolation", (event) =>
  window.reportViolation(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`)));

const caller = page.locator(".caller");
const operation = (id) => page.locator(`.opblock[id$="-${id}"]`);

/** Presses Execute. Returns the status and the text of the response, and the text that the page shows for it. */
async function execute(id, body) {
  const block = operation(id);
  if (!(await block.getAttribute("class")).includes("is-open")) await block.locator(".opblock-summary-control").click();
  if (body) await block.locator("textarea.body-param__text").fill(JSON.stringify(body));
  const path = await block.locator("[data-path]").getAttribute("data-path");
  const answering = page.waitForResponse((answer) => new URL(answer.url()).pathname === path);
  await block.locator("button.execute").click();
  const answer = await answering;
  const shown = block.locator(".live-responses-table .response").first();
  await shown.locator(".response-col_status", { hasText: String(answer.status()) }).waitFor();
  return { status: answer.status(), text: await answer.text(), shown: await shown.innerText() };
}

/** Waits until the line beside Authorize contains this text. */
const callerShows = (text) => caller.filter({ hasText: text }).waitFor();

const storedToken = () =>
  page.evaluate(() => JSON.parse(localStorage.getItem("authorized") ?? "{}").BearerAuth?.value);

step("the page opens and shows that nobody is logged in", async () => {
  const answer = await page.goto(`${origin}/docs`);
  assert.equal(answer.status(), 200);
  assert.doesNotMatch(answer.headers()["content-security-policy"], /unsafe|\*|http/);
  await operation("logIn").waitFor();
  assert.equal(await page.title(), "Vestibule API");
  await callerShows("Not signed in");
  assert.equal(await page.locator(".topbar, .errors-wrapper").count(), 0);
});

step("each operation shows who may call it, as in the contract", async () => {
  const contract = await (await fetch(`${origin}/openapi.json`)).json();
  assert.match(contract.openapi, /^3\.1\./);
  const operations = Object.values(contract.paths).flatMap((path) => Object.values(path)).filter((member) => member.operationId);
  assert.ok(operations.length >= 5);
  for (const { operationId, security, "x-fresh": fresh } of operations) {
    const permissions = security.flatMap((requirement) => Object.values(requirement).flat());
    const expected = permissions.join(", ") || (security.length ? "signed in" : "public");
    assert.equal(await operation(operationId).locator(".demand").innerText(), expected, operationId);
    assert.equal(await operation(operationId).locator(".fresh").count(), fresh ? 1 : 0, operationId);
    assert.equal(await operation(operationId).locator(".authorization__btn").count(), Math.min(security.length, 1), operationId);
  }
  assert.equal(await operation("listUsers").locator(".demand").innerText(), "users:read");
});

step("registering takes one click, and so does logging in", async () => {
  const registered = await execute("registerAccount");
  const before = registered.status === 409 && registered.text.includes("_taken"); // these tests have run on this server before
  assert.ok(registered.status === 201 || before, registered.text);

  const loggedIn = await execute("logIn");
  assert.equal(loggedIn.status, 201, loggedIn.text);
  await callerShows(/Signed in as \S+ until \d/);
  await page.locator(".btn.authorize.locked").waitFor();
  assert.equal(await storedToken(), JSON.parse(loggedIn.text).access_token);
});

step("the token gives access to the user's own account, and to nothing else", async () => {
  assert.equal((await execute("readMe")).status, 200);

  const refused = await execute("listUsers");
  assert.equal(refused.status, 403);
  assert.match(refused.shown, /insufficient_permission/);
  assert.match(refused.shown, /users:read/);
});

step("the page uses the new token after a refresh", async () => {
  const { refresh_token } = JSON.parse((await execute("logIn")).text);
  const before = await storedToken();
  const refreshed = await execute("refreshSession", { refresh_token });
  assert.equal(refreshed.status, 200, refreshed.text);
  assert.notEqual(await storedToken(), before);
  assert.equal(await storedToken(), JSON.parse(refreshed.text).access_token);
  assert.equal((await execute("readMe")).status, 200);
  await callerShows(/Signed in as \S+ until \d/);
});

step("the page keeps the token after a reload", async () => {
  const token = await storedToken();
  await page.reload();
  await callerShows(/Signed in as \S+ until \d/);
  assert.equal(await storedToken(), token);
  assert.equal((await execute("readMe")).status, 200);
});

step("the page shows that a token is stale", async () => {
  const stale = { status: 401, contentType: "application/problem+json", body: JSON.stringify({ status: 401, code: "stale_token" }) };
  await page.route("**/v1/users*", (route) => route.fulfill(stale));
  assert.equal((await execute("listUsers")).status, 401);
  await page.unroute("**/v1/users*");
  await callerShows("Your roles have changed");
});

step("an administrator logs in with typed credentials and may list users", async () => {
  await caller.getByRole("button", { name: "Log in again" }).click();
  const loggedIn = await execute("logIn", { identifier: "admin", password: VESTIBULE_ADMIN_PASSWORD });
  assert.equal(loggedIn.status, 201, loggedIn.text);
  await callerShows("Signed in as admin until");

  const listed = await execute("listUsers");
  assert.equal(listed.status, 200, listed.text);
  assert.match(listed.shown, /"items"/);
});

step("the user can delete the token", async () => {
  await page.goto(`${origin}/docs`); // reload, so that the screenshot shows no password
  await callerShows("Signed in as admin until");
  await screenshot(page, "docs");
  await caller.getByRole("button", { name: "Forget token" }).click();
  await callerShows("Not signed in");
  assert.equal(await storedToken(), undefined);
  assert.equal((await execute("readMe")).status, 401);
});

step("there were no errors and no requests to other servers", () => assert.deepEqual(faults, []));
