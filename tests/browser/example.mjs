// The client's example page in a real browser, with the refresh token in a cookie. Starts the server and the page.
//
// VESTIBULE   the binary (by default target/debug/vestibule of this repository)

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createVestibule } from "../../openapi/typescript/dist/index.js";
import { PASSWORD, startServer } from "../../openapi/typescript/test/server.mjs";
import { TIMEOUT, browser, freePort, screenshot, step } from "./chromium.mjs";

/** The lifetime of an access token in seconds: short, but long enough for the calls right after a refresh. */
const LIFETIME = 3;

const PORT = await freePort();
const origin = `http://localhost:${PORT}`; // same site as the API, so the browser sends the cookie
const otherSite = `http://127.0.0.1:${PORT}`; // the same page on another site
const server = await startServer({ CORS__ORIGINS: `${origin},${otherSite}`, TOKENS__ACCESS_TTL: LIFETIME });
const api = server.url.replace("127.0.0.1", "localhost");
const serve = fileURLToPath(new URL("../../openapi/typescript/example/serve.mjs", import.meta.url));
const env = { ...process.env, PORT, VESTIBULE: api };
const example = spawn(process.execPath, [serve], { env, stdio: ["ignore", "pipe", "inherit"] });
await once(example.stdout, "data");
after(() => Promise.all([server.stop(), example.kill()]));

const context = await browser.newContext({ viewport: { width: 800, height: 400 } });
context.setDefaultTimeout(TIMEOUT);

/** The bodies of all responses, which scripts can read; the errors that the page does not show; the calls of the API. */
const bodies = [];
const faults = [];
const calls = [];
context.on("request", (request) => request.url().startsWith(`${api}/`) && calls.push(request.url()));
context.on("response", async (answer) => bodies.push(await answer.text().catch(() => "")));
context.on("weberror", (error) => faults.push(error.error().message));
context.on("console", (message) => {
  const refused = message.location().url.startsWith(`${api}/v1/`) && /status of 401/.test(message.text());
  if (message.type() === "error" && !refused && !message.location().url.endsWith("/favicon.ico")) faults.push(message.text());
});

const administrator = createVestibule({ baseUrl: server.url });
await administrator.logIn({ identifier: "admin", password: server.adminPassword });
const { data: ada } = await administrator.register({ email: "ada@example.org", username: "ada", password: PASSWORD });

async function open() {
  const page = await context.newPage();
  await page.goto(origin);
  return page;
}

const shows = (page, text) => page.locator("[role=status]", { hasText: text }).waitFor();
// `click` would wait until the page is painted, which rarely happens in a background tab.
const press = (page, name) => page.getByRole("button", { name }).dispatchEvent("click");

async function signIn(page, identifier, password) {
  await page.getByLabel("E-mail or username").fill(identifier);
  await page.getByLabel("Password").fill(password);
  await press(page, "Sign in");
  await shows(page, "Signed in.");
}

/** Records the POST requests to a path of the API from now on. */
function record(path) {
  const requests = [];
  context.on("request", (request) => request.method() === "POST" && request.url() === `${api}${path}` && requests.push(request));
  return requests;
}

const one = await open();
let other;

step("a page without a session shows that nobody is logged in, and sends no request", async () => {
  await shows(one, "Nobody is signed in.");
  assert.deepEqual(calls, []);
});

step("a user logs in and sees their own name but nothing for administrators", async () => {
  await signIn(one, "ada", PASSWORD);
  await press(one, "Who am I?");
  await shows(one, "You are ada.");
  assert.equal(await one.getByRole("button", { name: "All accounts" }).isVisible(), false);
});

step("the user stays logged in after a reload", async () => {
  await one.reload();
  await shows(one, "Still signed in as ada.");
  await press(one, "Who am I?");
  await shows(one, "You are ada.");
});

step("no script can read the refresh token", async () => {
  const cookies = await context.cookies(api);
  assert.deepEqual(cookies.map(({ name }) => name).sort(), ["__Host-vestibule_browser", "__Host-vestibule_refresh"]);
  for (const { httpOnly, secure, sameSite, path } of cookies) {
    assert.deepEqual({ httpOnly, secure, sameSite, path }, { httpOnly: true, secure: true, sameSite: "Strict", path: "/" });
  }
  const cookie = cookies.find(({ name }) => name === "__Host-vestibule_refresh");
  const readable = await one.evaluate(async () =>
    JSON.stringify([document.cookie, Object.keys(localStorage), { ...sessionStorage }, await indexedDB.databases(), await caches.keys()]));
  const hint = `vestibule:cookie:${api}`;
  assert.equal(readable, JSON.stringify(["", [hint], {}, [], []]));
  const { data } = await administrator.api.listUserSessions({ path: { id: ada.id } });
  assert.equal(await one.evaluate((hint) => localStorage.getItem(hint), hint), data.items[0].id, "the session's id, which gives no access");
  assert.ok(bodies.some((body) => body.includes('"access_token"')));
  assert.deepEqual(bodies.filter((body) => body.includes('"refresh_token"') || body.includes(cookie.value)), []);
});

step("a second tab uses the same session", async () => {
  other = await open();
  await shows(other, "Still signed in as ada.");
});

step("two tabs whose tokens expire refresh at the same time and keep one session", async () => {
  await pause((LIFETIME + 0.1) * 1000);
  const refreshes = record("/v1/sessions/refresh");
  await Promise.all([one, other].map((page) => press(page, "Who am I?")));
  await Promise.all([one, other].map((page) => shows(page, "You are ada.")));
  assert.equal(refreshes.length, 2);
  const { data } = await administrator.api.listUserSessions({ path: { id: ada.id } });
  assert.equal(data.items.length, 1);
});

step("a log-out in one tab logs the other tab out, also after a reload", async () => {
  await press(one, "Sign out");
  await shows(one, "Signed out.");
  await shows(other, "Signed out: elsewhere.");
  assert.deepEqual((await context.cookies(api)).map(({ name }) => name), ["__Host-vestibule_browser"]);
  await other.reload();
  await shows(other, "Nobody is signed in.");
});

step("an administrator who logs in gets the button for administrators in both tabs", async () => {
  await signIn(one, "admin", server.adminPassword);
  await press(one, "All accounts");
  await shows(one, "ada, admin");
  await press(other, "All accounts");
  await shows(other, "ada, admin");
  await screenshot(one, "example");
});

step("a session that was ended on another device ends at the next click", async () => {
  await administrator.api.endMySessions({ query: { except_current: true } });
  await press(one, "Who am I?");
  await shows(one, "Signed out: session_ended.");
  await shows(other, "Signed out: session_ended.");
});

step("tabs that share localStorage cause one refresh together, and a log-out reaches both", async () => {
  for (const page of [one, other]) {
    await page.evaluate(async (baseUrl) => {
      const { createVestibule } = await import("/client/index.js");
      window.reasons = [];
      window.vestibule = createVestibule({ baseUrl, storage: localStorage, onSignedOut: (why) => window.reasons.push(why) });
    }, api);
  }
  const signIn = async (password) => (await window.vestibule.logIn({ identifier: "ada", password })).error;
  assert.equal(await one.evaluate(signIn, PASSWORD), undefined);
  await one.evaluate(() => {
    const [[key, entry]] = Object.entries(localStorage);
    localStorage.setItem(key, JSON.stringify({ ...JSON.parse(entry), access_token: "spoilt" }));
  });
  const refreshes = record("/v1/sessions/refresh");
  const readMe = async () => (await window.vestibule.api.readMe()).data.username;
  assert.deepEqual(await Promise.all([one, other, one, other].map((page) => page.evaluate(readMe))), Array(4).fill("ada"));
  assert.equal(refreshes.length, 1);

  assert.deepEqual(await one.evaluate(() => window.vestibule.logOut()), {});
  await other.waitForFunction(() => window.reasons.length === 1, undefined, { polling: 50 });
  const reasons = await Promise.all([one, other].map((page) => page.evaluate(() => window.reasons)));
  assert.deepEqual(reasons, [["logged_out"], ["elsewhere"]]);
  assert.equal(await other.evaluate(() => window.vestibule.signedIn), undefined);
});

step("a log-in on another site reports that the browser does not keep the cookie", async () => {
  const page = await context.newPage();
  await page.goto(otherSite);
  await shows(page, "Nobody is signed in.");
  await page.getByLabel("E-mail or username").fill("ada");
  await page.getByLabel("Password").fill(PASSWORD);
  await press(page, "Sign in");
  await shows(page, "The browser does not keep the cookie");
  const { data } = await administrator.api.listUserSessions({ path: { id: ada.id } });
  assert.deepEqual(data.items, [], "no session is left behind");
});

step("there were no errors", () => assert.deepEqual(faults, []));
