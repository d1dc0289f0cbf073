// A robot, like those of mail filters, opens every link of every mail and presses everything that it finds, with and without the
// session of the recipient. It types nothing, and nothing changes. Starts the server.
//
// VESTIBULE   the binary (by default target/debug/vestibule of this repository)

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFile, readdir } from "node:fs/promises";
import { createServer } from "node:net";
import { once } from "node:events";
import { join } from "node:path";
import { after } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { PASSWORD, startServer } from "../../openapi/typescript/test/server.mjs";
import { TIMEOUT, browser, screenshot, step } from "./chromium.mjs";

const port = await freePort();
const origin = `http://localhost:${port}`;
const server = await startServer({ SERVER__LISTEN: `127.0.0.1:${port}`, MAIL__LINK_BASE: origin, MAIL__TRANSPORT: "file", CORS__ORIGINS: origin });
after(() => server.stop());

/** The kinds of mails that are sent before the robot begins. Those with a link can be used when it has finished. */
const KINDS = ["account_closed", "account_disabled", "change", "email_change_requested", "email_changed", "new_sign_in",
  "password_changed", "reset", "revert", "verify"];

/** Everything that a mail can change. */
const TABLES = ["users", "user_roles", "sessions", "tickets", "ticket_handles", "tallies", "mails", "audit_events", "revocations",
  "known_networks", "throttles"];

async function freePort() {
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address();
  listener.close();
  return port;
}

/** Sends a request to the API. Returns the body, and the cookies that the response sets. Fails unless the request succeeds. */
async function call(method, path, body, token) {
  const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
  const answer = await fetch(`${server.url}${path}`, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${path}: ${text}`);
  return { ...(text && JSON.parse(text)), cookies: answer.headers.getSetCookie() };
}

const logIn = (identifier, password = PASSWORD, transport = "body") =>
  call("POST", "/v1/sessions", { identifier, password, transport });

/** Returns the mails that were sent so far. */
async function mails() {
  const folder = join(server.directory, "data/mail");
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith(".eml"));
  return Promise.all(names.map(async (name) => parse(await readFile(join(folder, name), "utf8"))));
}

/** Returns the recipient and the parts of a message. */
function parse(message) {
  const part = (type) => {
    const [, head, body] = message.match(new RegExp(`(Content-Type: ${type}[^]*?)\r\n\r\n([^]*?)\r\n--`));
    return /quoted-printable/.test(head) ? decode(body) : body;
  };
  return { to: message.match(/^To: (\S+)/m)[1], text: part("text/plain"), html: part("text/html") };
}

function decode(text) {
  const bytes = text.replaceAll("=\r\n", "").replaceAll(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
  return Buffer.from(bytes, "latin1").toString("utf8");
}

/** Waits for a mail to this address with this in its text. */
async function mail(to, text) {
  for (let waited = 0; waited < TIMEOUT; waited += 100) {
    const found = (await mails()).find((mail) => mail.to.includes(to) && text.test(mail.text));
    if (found) return found;
    await pause(100);
  }
  throw new Error(`no mail to ${to} with ${text}`);
}

const code = ({ text }) => text.match(/^(\d{4}) ?(\d{4})\r?$/m).slice(1).join("");
const links = ({ text, html }) =>
  [...text.matchAll(/https?:\/\/\S+/g), ...html.matchAll(/(?<=href=")[^"]+/g)].map(([url]) => url.replaceAll("&amp;", "&"));

/** Returns all rows of the tables, as text. */
function state() {
  const program = `
import sqlite3, sys
database = sqlite3.connect("file:" + sys.argv[1] + "?mode=ro", uri=True)
for table in sys.argv[2:]:
    print(table, *sorted(map(repr, database.execute(f"SELECT * FROM {table}"))), sep="\\n")`;
  return execFileSync("python3", ["-c", program, join(server.directory, "data/vestibule.db"), ...TABLES], { encoding: "utf8" });
}

/** Waits until every mail was sent. */
async function settled(administrator) {
  for (;;) {
    const waiting = await Promise.all(["queued", "sending"].map((state) => call("GET", `/v1/mails?state=${state}`, undefined, administrator)));
    if (waiting.every(({ items }) => items.length === 0)) return;
    await pause(100);
  }
}

/** Opens a page, waits for its scripts, and presses everything that can be pressed. */
async function press(context, url) {
  const page = await context.newPage();
  await page.goto(url, { waitUntil: "load" });
  await page.evaluate(() => {
    for (const form of document.forms) form.requestSubmit?.();
    for (const control of document.querySelectorAll("button, input[type=submit], input[type=button], [role=button], summary")) control.click();
  }).catch(() => {}); // a form that was sent has left the page
  await page.waitForLoadState("load");
  await page.close();
}

/** The spellings in which filters and mail programs pass a link on. */
const spellings = (url) => [url, url.split("#")[0], url.replace("#", "%23"), url.replace("#", "?")];

let administrator;
let sent;
let before;

step("one mail of each kind is sent", async () => {
  administrator = (await logIn("admin", server.adminPassword)).access_token;
  // Verified by the administrator, so that the old address can undo the change.
  const create = (name) => call("POST", "/v1/users", { email: `${name}@example.org`, username: name, password: PASSWORD }, administrator);
  const [bea, cleo] = [await create("bea"), await create("cleo")];
  const { access_token: beas } = await logIn("bea");
  const wanted = (email) => call("PATCH", "/v1/me", { email, current_password: PASSWORD }, beas);
  await wanted("bea@example.com");
  await call("POST", "/v1/me/pending-email/complete", { code: code(await mail("bea@example.com", /^\d{4} ?\d{4}\r?$/m)) }, beas);
  await wanted("bea@example.net");
  await logIn("bea", PASSWORD, "cookie"); // a browser that is not known

  await call("POST", "/v1/accounts", { email: "ada@example.org", username: "ada", password: PASSWORD });
  const { access_token: adas } = await logIn("ada");
  await call("POST", "/v1/me/email/verification", undefined, adas);
  await call("POST", `/v1/users/${bea.id}/password-reset`, undefined, administrator);
  const path = `/v1/users/${cleo.id}`;
  await call("PUT", `${path}/password`, { new_password: "another password of cleo" }, administrator);
  await call("PATCH", path, { status: "disabled" }, administrator);
  await call("DELETE", path, undefined, administrator);
  await settled(administrator);
  const { items } = await call("GET", "/v1/mails?limit=100", undefined, administrator);
  assert.deepEqual([...new Set(items.filter(({ state }) => state === "sent").map(({ kind }) => kind))].sort(), KINDS);
  sent = await mails();
});

step("the robot opens every link and presses everything, and nothing changes", async () => {
  const { cookies } = await logIn("bea", PASSWORD, "cookie");
  const ours = cookies.map((cookie) => cookie.split(";")[0].split("=")).map(([name, value]) =>
    ({ name, value, domain: "localhost", path: "/", secure: true, httpOnly: true, sameSite: "Strict" }));
  const [stranger, recipient] = [await browser.newContext(), await browser.newContext()];
  for (const context of [stranger, recipient]) context.setDefaultTimeout(TIMEOUT);
  await recipient.addCookies(ours);
  await settled(administrator);
  before = state();
  const page = await stranger.newPage();
  for (const { html } of sent) {
    await page.setContent(html);
    assert.equal(await page.locator("script, form, img, iframe, link").count(), 0, "a mail runs and loads nothing");
  }
  await screenshot(page, "a mail");
  const urls = new Set(sent.flatMap(links).flatMap(spellings));
  assert.ok(urls.size > 15, `only ${urls.size} links were found`);
  for (const url of urls) {
    for (const context of [stranger, recipient]) await press(context, url);
    for (const method of ["HEAD", "OPTIONS"]) await fetch(url, { method });
  }
  assert.equal(state(), before);
});

step("every link still works for those who received it", async () => {
  const found = new Map();
  for (const token of new Set(sent.flatMap(links).map((url) => url.split("#t=")[1]).filter(Boolean))) {
    const answer = await fetch(`${server.url}/v1/tickets/read`, {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ token }),
    });
    const { purpose, errors } = await answer.json();
    // Bea has used the link for her first new address.
    found.set(purpose ?? errors[0].code, token);
  }
  assert.deepEqual([...found.keys()].sort(), ["change", "reset", "revert", "spent_ticket", "verify"]);
  assert.equal(state(), before);
  await call("POST", "/v1/email-changes/revert", { token: found.get("revert"), new_password: "another password of bea" });
  assert.notEqual(state(), before);
});
