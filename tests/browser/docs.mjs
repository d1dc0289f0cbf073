// The first five minutes at /docs, told in a real browser against a running server with an empty database.
//
// VESTIBULE_URL              the server, like http://127.0.0.1:8080
// VESTIBULE_ADMIN_PASSWORD   the first administrator's password

import assert from "node:assert/strict";
import { browser, photograph, story } from "./chromium.mjs";

const { VESTIBULE_URL, VESTIBULE_ADMIN_PASSWORD } = process.env;
assert.ok(VESTIBULE_URL && VESTIBULE_ADMIN_PASSWORD, "VESTIBULE_URL and VESTIBULE_ADMIN_PASSWORD have to be set");
const { origin } = new URL(VESTIBULE_URL);

const page = await browser.newPage({ viewport: { width: 1280, height: 1000 } });
page.setDefaultTimeout(10_000);

// Whatever goes wrong without a caller noticing: read at the end.
const faults = [];
page.on("pageerror", (error) => faults.push(`uncaught: ${error.message}`));
page.on("console", (message) => {
  const refused = message.location().url.startsWith(`${origin}/v1/`) && /status of 4\d\d/.test(message.text());
  if (message.type() === "error" && !refused) faults.push(`console: ${message.text()}`);
});
page.on("request", (request) => {
  const { protocol, origin: asked } = new URL(request.url());
  if (protocol.startsWith("http") && asked !== origin) faults.push(`request to ${asked}`);
});
await page.exposeFunction("reportViolation", (violation) => faults.push(`policy: ${violation}`));
await page.addInitScript(() => document.addEventListener("securitypolicyviolation", (event) =>
  window.reportViolation(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`)));

const caller = page.locator(".caller");
const operation = (id) => page.locator(`.opblock[id$="-${id}"]`);

/** Presses Execute, and gives what the page then shows as the answer, with the answer's own status and text. */
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

/** Waits until the line beside Authorize says this. */
const callerSays = (text) => caller.filter({ hasText: text }).waitFor();

const heldToken = () =>
  page.evaluate(() => JSON.parse(localStorage.getItem("authorized") ?? "{}").BearerAuth?.value);

story("the page opens, and says that nobody is signed in", async () => {
  const answer = await page.goto(`${origin}/docs`);
  assert.equal(answer.status(), 200);
  assert.doesNotMatch(answer.headers()["content-security-policy"], /unsafe|\*|http/);
  await operation("logIn").waitFor();
  assert.equal(await page.title(), "Vestibule API");
  await callerSays("Not signed in");
  assert.equal(await page.locator(".topbar, .errors-wrapper").count(), 0);
});

story("each operation shows who may call it, as the contract has it", async () => {
  const contract = await (await fetch(`${origin}/openapi.json`)).json();
  assert.match(contract.openapi, /^3\.1\./);
  const operations = Object.values(contract.paths).flatMap((path) => Object.values(path)).filter((it) => it.operationId);
  assert.ok(operations.length >= 5);
  for (const { operationId, security } of operations) {
    const permissions = security.flatMap((way) => Object.values(way).flat());
    const expected = permissions.join(", ") || (security.length ? "signed in" : "public");
    assert.equal(await operation(operationId).locator(".demand").innerText(), expected, operationId);
    assert.equal(await operation(operationId).locator(".authorization__btn").count(), Math.min(security.length, 1), operationId);
  }
  assert.equal(await operation("listUsers").locator(".demand").innerText(), "users:read");
});

story("registering takes one click, and so does logging in", async () => {
  const registered = await execute("registerAccount");
  const before = registered.status === 409 && registered.text.includes("_taken"); // this tale was told here already
  assert.ok(registered.status === 201 || before, registered.text);

  const loggedIn = await execute("logIn");
  assert.equal(loggedIn.status, 201, loggedIn.text);
  await callerSays(/Signed in as \S+ until \d/);
  await page.locator(".btn.authorize.locked").waitFor();
  assert.equal(await heldToken(), JSON.parse(loggedIn.text).access_token);
});

story("the token then opens what is the caller's own, and nothing more", async () => {
  assert.equal((await execute("readMe")).status, 200);

  const refused = await execute("listUsers");
  assert.equal(refused.status, 403);
  assert.match(refused.shown, /insufficient_permission/);
  assert.match(refused.shown, /users:read/);
});

story("the session goes on with a refresh, and the page takes its token over", async () => {
  const { refresh_token } = JSON.parse((await execute("logIn")).text);
  const before = await heldToken();
  const refreshed = await execute("refreshSession", { refresh_token });
  assert.equal(refreshed.status, 200, refreshed.text);
  assert.notEqual(await heldToken(), before);
  assert.equal(await heldToken(), JSON.parse(refreshed.text).access_token);
  assert.equal((await execute("readMe")).status, 200);
  await callerSays(/Signed in as \S+ until \d/);
});

story("the token is kept over a reload", async () => {
  const token = await heldToken();
  await page.reload();
  await callerSays(/Signed in as \S+ until \d/);
  assert.equal(await heldToken(), token);
  assert.equal((await execute("readMe")).status, 200);
});

story("a token that is no good any more is said to be so", async () => {
  const stale = { status: 401, contentType: "application/problem+json", body: JSON.stringify({ status: 401, code: "stale_token" }) };
  await page.route("**/v1/users*", (route) => route.fulfill(stale));
  assert.equal((await execute("listUsers")).status, 401);
  await page.unroute("**/v1/users*");
  await callerSays("Your roles have changed");
});

story("an administrator logs in by hand, and is let in", async () => {
  await caller.getByRole("button", { name: "Log in again" }).click();
  const loggedIn = await execute("logIn", { identifier: "admin", password: VESTIBULE_ADMIN_PASSWORD });
  assert.equal(loggedIn.status, 201, loggedIn.text);
  await callerSays("Signed in as admin until");

  const listed = await execute("listUsers");
  assert.equal(listed.status, 200, listed.text);
  assert.match(listed.shown, /"items"/);
});

story("a token can be forgotten", async () => {
  await page.goto(`${origin}/docs`); // anew: the last picture shall show no password
  await callerSays("Signed in as admin until");
  await photograph(page, "docs");
  await caller.getByRole("button", { name: "Forget token" }).click();
  await callerSays("Not signed in");
  assert.equal(await heldToken(), undefined);
  assert.equal((await execute("readMe")).status, 401);
});

story("nothing broke on the way, and nobody else was asked", () => assert.deepEqual(faults, []));
