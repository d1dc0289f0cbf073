// A robot, like those of mail filters, opens every link of every mail and presses everything that it finds, with and without the
// session of the recipient. It types nothing, and nothing changes. Starts two servers: one is open for registrations, and one
// requires a proof of the address first.
//
// VESTIBULE   the binary (by default target/debug/vestibule of this repository)

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { after } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { PASSWORD, startServer } from "../../openapi/typescript/test/server.mjs";
import { TIMEOUT, browser, freePort, screenshot, step } from "./chromium.mjs";

const servers = { open: await start("open"), verified: await start("verified") };
after(() => Promise.all(Object.values(servers).map((server) => server.stop())));

/** The kinds of mails that are sent before the robot begins. Those with a link can be used when it has finished. */
const KINDS = ["account_closed", "account_disabled", "account_exists", "change", "email_change_requested", "email_changed",
  "invite", "new_sign_in", "password_changed", "reset", "revert", "sign_up", "verify"];

/** Everything that a mail can change. */
const TABLES = ["users", "user_roles", "sessions", "tickets", "ticket_handles", "tallies", "mails", "invitations", "audit_events",
  "revocations", "known_networks", "throttles"];

/** Starts a server in this `registration.mode`, and logs its administrator in. */
async function start(mode) {
  const port = await freePort();
  const settings = { SERVER__LISTEN: `127.0.0.1:${port}`, MAIL__LINK_BASE: `http://localhost:${port}`, MAIL__TRANSPORT: "file" };
  const server = await startServer({ ...settings, REGISTRATION__MODE: mode });
  const { access_token: administrator } = await logIn(server, "admin", server.adminPassword);
  return { ...server, administrator };
}

/** Sends a request to the API. Returns the body, and the cookies that the response sets. Fails unless the request succeeds. */
async function call(server, method, path, body, token) {
  const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
  const answer = await fetch(`${server.url}${path}`, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${path}: ${text}`);
  return { ...(text && JSON.parse(text)), cookies: answer.headers.getSetCookie() };
}

function logIn(server, identifier, password = PASSWORD, transport = "body") {
  return call(server, "POST", "/v1/sessions", { identifier, password, transport });
}

/** Returns the mails that a server has sent so far. */
async function mails(server) {
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

/** Waits for a mail of a server to this address with this in its text. */
async function mail(server, to, text) {
  for (let waited = 0; waited < TIMEOUT; waited += 100) {
    const found = (await mails(server)).find((mail) => mail.to.includes(to) && text.test(mail.text));
    if (found) return found;
    await pause(100);
  }
  throw new Error(`no mail to ${to} with ${text}`);
}

const code = ({ text }) => text.match(/^(\d{4}) ?(\d{4})\r?$/m).slice(1).join("");
const links = ({ text, html }) =>
  [...text.matchAll(/https?:\/\/\S+/g), ...html.matchAll(/(?<=href=")[^"]+/g)].map(([url]) => url.replaceAll("&amp;", "&"));

/** Returns all rows of the tables of both servers, as text. */
function state() {
  const program = `
import sqlite3, sys
database = sqlite3.connect("file:" + sys.argv[1] + "?mode=ro", uri=True)
for table in sys.argv[2:]:
    print(table, *sorted(map(repr, database.execute(f"SELECT * FROM {table}"))), sep="\\n")`;
  const read = ({ directory }) =>
    execFileSync("python3", ["-c", program, join(directory, "data/vestibule.db"), ...TABLES], { encoding: "utf8" });
  return Object.values(servers).map(read).join("\n");
}

/** Waits until every mail was sent. Returns their kinds. */
async function sentKinds() {
  for (;;) {
    const listed = ({ administrator, ...server }) => call(server, "GET", "/v1/mails?limit=100", undefined, administrator);
    const items = (await Promise.all(Object.values(servers).map(listed))).flatMap(({ items }) => items);
    if (items.every(({ state }) => state === "sent")) return [...new Set(items.map(({ kind }) => kind))].sort();
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

let sent;
let before;

step("one mail of each kind is sent", async () => {
  const { open, verified } = servers;
  // The administrator vouches for these addresses, so that a change of them can be undone.
  const create = (name) =>
    call(open, "POST", "/v1/users", { email: `${name}@example.org`, username: name, password: PASSWORD }, open.administrator);
  const [bea, cleo] = [await create("bea"), await create("cleo")];
  const { access_token: beas } = await logIn(open, "bea");
  const wanted = (email) => call(open, "PATCH", "/v1/me", { email, current_password: PASSWORD }, beas);
  await wanted("bea@example.com");
  const first = await mail(open, "bea@example.com", /^\d{4} ?\d{4}\r?$/m);
  await call(open, "POST", "/v1/me/pending-email/complete", { code: code(first) }, beas);
  await wanted("bea@example.net");
  await logIn(open, "bea", PASSWORD, "cookie"); // a browser that is not known

  await call(open, "POST", "/v1/accounts", { email: "ada@example.org", username: "ada", password: PASSWORD });
  const { access_token: adas } = await logIn(open, "ada");
  await call(open, "POST", "/v1/me/email/verification", undefined, adas);
  await call(open, "POST", `/v1/users/${bea.id}/password-reset`, undefined, open.administrator);
  await call(open, "POST", "/v1/invitations", { email: "grace@example.org" }, open.administrator);
  const path = `/v1/users/${cleo.id}`;
  await call(open, "PUT", `${path}/password`, { new_password: "another password of cleo" }, open.administrator);
  await call(open, "PATCH", path, { status: "disabled" }, open.administrator);
  await call(open, "DELETE", path, undefined, open.administrator);

  await call(verified, "POST", "/v1/users", { email: "eve@example.org" }, verified.administrator);
  for (const email of ["eve@example.org", "ida@example.org"]) await call(verified, "POST", "/v1/sign-ups", { email });
  assert.deepEqual(await sentKinds(), KINDS);
  sent = (await Promise.all(Object.values(servers).map(mails))).flat();
});

step("the robot opens every link and presses everything, and nothing changes", async () => {
  const { cookies } = await logIn(servers.open, "bea", PASSWORD, "cookie");
  const ours = cookies.map((cookie) => cookie.split(";")[0].split("=")).map(([name, value]) =>
    ({ name, value, domain: "localhost", path: "/", secure: true, httpOnly: true, sameSite: "Strict" }));
  const [stranger, recipient] = [await browser.newContext(), await browser.newContext()];
  for (const context of [stranger, recipient]) context.setDefaultTimeout(TIMEOUT);
  await recipient.addCookies(ours);
  await sentKinds();
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
  for (const url of new Set(sent.flatMap(links).filter((url) => url.includes("#t=")))) {
    const [{ origin }, token] = [new URL(url), url.split("#t=")[1]];
    const answer = await fetch(`${origin}/v1/tickets/read`, {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ token }),
    });
    const { purpose, errors } = await answer.json();
    // Bea has used the link for her first new address.
    found.set(purpose ?? errors[0].code, token);
  }
  assert.deepEqual([...found.keys()].sort(), ["change", "invite", "reset", "revert", "sign_up", "spent_ticket", "verify"]);
  assert.equal(state(), before);
  await call(servers.open, "POST", "/v1/email-changes/revert", { token: found.get("revert"), new_password: "another password of bea" });
  assert.notEqual(state(), before);
});
