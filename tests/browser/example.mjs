// The client's example page in a real browser, over the live binary, with the refresh token in a cookie. It starts both.
//
// VESTIBULE   the binary (target/debug/vestibule of this repository)

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { after } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createVestibule } from "../../openapi/typescript/dist/index.js";
import { PASSWORD, startServer } from "../../openapi/typescript/test/server.mjs";
import { browser, photograph, story } from "./chromium.mjs";

/** Seconds that an access token lives: soon over, and long enough for what comes right after a refresh. */
const LIFE = 3;

const PORT = await freePort();
const origin = `http://localhost:${PORT}`; // of the same site as the API, which makes the cookie ours
const elsewhere = `http://127.0.0.1:${PORT}`; // the same page, of another site
const server = await startServer({ CORS__ORIGINS: `${origin},${elsewhere}`, TOKENS__ACCESS_TTL: LIFE });
const api = server.url.replace("127.0.0.1", "localhost");
const serve = fileURLToPath(new URL("../../openapi/typescript/example/serve.mjs", import.meta.url));
const env = { ...process.env, PORT, VESTIBULE: api };
const example = spawn(process.execPath, [serve], { env, stdio: ["ignore", "pipe", "inherit"] });
await once(example.stdout, "data");
after(() => Promise.all([server.stop(), example.kill()]));

const context = await browser.newContext({ viewport: { width: 800, height: 400 } });
context.setDefaultTimeout(10_000);

/** What scripts could read: the body of every answer. And what went wrong without being shown. */
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

async function freePort() {
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address();
  listener.close();
  return port;
}

async function open() {
  const page = await context.newPage();
  await page.goto(origin);
  return page;
}

const says = (page, text) => page.locator("[role=status]", { hasText: text }).waitFor();
// Not `click`, which waits until the page is painted: a tab in the background seldom is.
const press = (page, name) => page.getByRole("button", { name }).dispatchEvent("click");

async function signIn(page, identifier, password) {
  await page.getByLabel("E-mail or username").fill(identifier);
  await page.getByLabel("Password").fill(password);
  await press(page, "Sign in");
  await says(page, "Signed in.");
}

/** Counts what pages ask the API for, from here on. */
function count(path) {
  const asked = [];
  context.on("request", (request) => request.method() === "POST" && request.url() === `${api}${path}` && asked.push(request));
  return asked;
}

const one = await open();
let other;

story("a page that nobody has signed in to says so, and has asked nothing", async () => {
  await says(one, "Nobody is signed in.");
  assert.deepEqual(calls, []);
});

story("somebody signs in, and sees who they are and nothing for administrators", async () => {
  await signIn(one, "ada", PASSWORD);
  await press(one, "Who am I?");
  await says(one, "You are ada.");
  assert.equal(await one.getByRole("button", { name: "All accounts" }).isVisible(), false);
});

story("a reload keeps them signed in", async () => {
  await one.reload();
  await says(one, "Still signed in as ada.");
  await press(one, "Who am I?");
  await says(one, "You are ada.");
});

story("no script can read the refresh token", async () => {
  const [cookie, ...others] = await context.cookies(api);
  assert.deepEqual(others, []);
  assert.deepEqual(
    { name: cookie.name, httpOnly: cookie.httpOnly, secure: cookie.secure, sameSite: cookie.sameSite, path: cookie.path },
    { name: "__Host-vestibule_refresh", httpOnly: true, secure: true, sameSite: "Strict", path: "/" },
  );
  const readable = await one.evaluate(async () =>
    JSON.stringify([document.cookie, Object.keys(localStorage), { ...sessionStorage }, await indexedDB.databases(), await caches.keys()]));
  const hint = `vestibule:cookie:${api}`;
  assert.equal(readable, JSON.stringify(["", [hint], {}, [], []]));
  const { data } = await administrator.api.listUserSessions({ path: { id: ada.id } });
  assert.equal(await one.evaluate((hint) => localStorage.getItem(hint), hint), data.items[0].id, "the session's id, which opens nothing");
  assert.ok(bodies.some((it) => it.includes('"access_token"')));
  assert.deepEqual(bodies.filter((it) => it.includes('"refresh_token"') || it.includes(cookie.value)), []);
});

story("a second tab is signed in to the same session", async () => {
  other = await open();
  await says(other, "Still signed in as ada.");
});

story("tabs whose tokens expire refresh at the same time, and both go on in one session", async () => {
  await pause((LIFE + 0.1) * 1000);
  const refreshes = count("/v1/sessions/refresh");
  await Promise.all([one, other].map((page) => press(page, "Who am I?")));
  await Promise.all([one, other].map((page) => says(page, "You are ada.")));
  assert.equal(refreshes.length, 2);
  const { data } = await administrator.api.listUserSessions({ path: { id: ada.id } });
  assert.equal(data.items.length, 1);
});

story("a log-out in one tab signs out the other, and a reload does not bring it back", async () => {
  await press(one, "Sign out");
  await says(one, "Signed out.");
  await says(other, "Signed out: elsewhere.");
  assert.deepEqual(await context.cookies(api), []);
  await other.reload();
  await says(other, "Nobody is signed in.");
});

story("an administrator who signs in gets their button, in both tabs", async () => {
  await signIn(one, "admin", server.adminPassword);
  await press(one, "All accounts");
  await says(one, "ada, admin");
  await press(other, "All accounts");
  await says(other, "ada, admin");
  await photograph(one, "example");
});

story("a session that somebody ends elsewhere is over at the next click", async () => {
  await administrator.api.endMySessions({ query: { except_current: true } });
  await press(one, "Who am I?");
  await says(one, "Signed out: session_ended.");
  await says(other, "Signed out: elsewhere.");
});

story("tabs that share localStorage make one refresh between them, and a log-out is seen in both", async () => {
  for (const page of [one, other]) {
    await page.evaluate(async (baseUrl) => {
      const { createVestibule } = await import("/client/index.js");
      window.told = [];
      window.vestibule = createVestibule({ baseUrl, storage: localStorage, onSignedOut: (why) => window.told.push(why) });
    }, api);
  }
  const signIn = async (password) => (await window.vestibule.logIn({ identifier: "ada", password })).error;
  assert.equal(await one.evaluate(signIn, PASSWORD), undefined);
  await one.evaluate(() => {
    const [[key, entry]] = Object.entries(localStorage);
    localStorage.setItem(key, JSON.stringify({ ...JSON.parse(entry), access_token: "spoilt" }));
  });
  const refreshes = count("/v1/sessions/refresh");
  const readMe = async () => (await window.vestibule.api.readMe()).data.username;
  assert.deepEqual(await Promise.all([one, other, one, other].map((page) => page.evaluate(readMe))), Array(4).fill("ada"));
  assert.equal(refreshes.length, 1);

  assert.deepEqual(await one.evaluate(() => window.vestibule.logOut()), {});
  await other.waitForFunction(() => window.told.length === 1, undefined, { polling: 50 });
  const told = await Promise.all([one, other].map((page) => page.evaluate(() => window.told)));
  assert.deepEqual(told, [["logged_out"], ["elsewhere"]]);
  assert.equal(await other.evaluate(() => window.vestibule.signedIn), undefined);
});

story("a page of another site, whose cookie the browser does not keep, says so at the log-in", async () => {
  const page = await context.newPage();
  await page.goto(elsewhere);
  await says(page, "Nobody is signed in.");
  await page.getByLabel("E-mail or username").fill("ada");
  await page.getByLabel("Password").fill(PASSWORD);
  await press(page, "Sign in");
  await says(page, "The browser does not keep the cookie");
  const { data } = await administrator.api.listUserSessions({ path: { id: ada.id } });
  assert.deepEqual(data.items, [], "no session is left behind");
});

story("nothing broke on the way", () => assert.deepEqual(faults, []));
