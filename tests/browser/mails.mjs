// A robot, like those of mail filters, opens every link of every mail and every page that these lead to, and presses everything
// that it finds. It types no password and no code, and nothing changes. Starts two servers: one is open for registrations, and one
// requires a proof of the address first.
//
// VESTIBULE   the binary (by default target/debug/vestibule of this repository)

import assert from "node:assert/strict";
import { after } from "node:test";
import { TIMEOUT, browser, screenshot, settling, step } from "./chromium.mjs";
import { addApp } from "./account/factors.mjs";
import { PASSWORD, code, links, startService } from "./service.mjs";

const open = await startService({ REGISTRATION__MODE: "open" });
const verified = await startService({ REGISTRATION__MODE: "verified" });
const services = [open, verified];
after(() => Promise.all(services.map((service) => service.stop())));

/** The kinds of mails that are sent before the robot begins. Those with a link can be used when it has finished. */
const KINDS = ["account_closed", "account_disabled", "account_exists", "change", "email_change_requested", "email_changed",
  "factor_added", "factor_refused", "factor_removed", "factors_reset", "invite", "new_sign_in", "password_changed",
  "recovery_code_used", "recovery_codes_created", "recovery_codes_low", "reset", "revert", "sign_up", "verify"];

/** Everything that a mail can change. A page that uses the session of its visitor refreshes it, which changes `sessions`. */
const ACCOUNTS = ["users", "user_roles", "invitations", "audit_events", "revocations", "known_networks", "throttles", "factors",
  "recovery_codes", "pending_totps", "challenges", "redeemed_ceremonies"];
const SESSIONS = ["sessions"];

/** What a request for a mail writes. */
const REQUESTS = ["tickets", "ticket_handles", "tallies", "mails"];

/** The operations for which a press of a button is enough if somebody is signed in, and that the pages of these mails offer. */
const PERMITTED_BY_A_SESSION = ["DELETE /v1/me/pending-email", "DELETE /v1/me/sessions", "DELETE /v1/me/sessions/{id}",
  "POST /v1/me/factors/passkey/options", "POST /v1/me/factors/totp", "POST /v1/me/pending-email/complete", "POST /v1/sessions/end"];

const rows = (tables) => services.map((service) => service.rows(tables)).join("\n");

/** The spellings in which filters and mail programs pass a link on: the link, its beginning, and others that mean the same. */
const beginning = (url) => url.split("#")[0];
const otherSpellings = (url) => [url.replace("#", "%23"), url.replace("#", "?")].filter((other) => other !== url);

/**
 * Opens these addresses, and the pages of the same servers that they link to, in this browser. On each page it presses everything
 * that can be pressed, if `presses`, after typing `junk` into every field but those for passwords and codes.
 */
async function robot(context, addresses, { presses = true, junk = "" } = {}) {
  const settled = settling(context);
  const queue = [...addresses];
  for (const url of queue) {
    const page = await context.newPage();
    page.on("dialog", (dialog) => dialog.accept());
    await page.goto(url, { waitUntil: "load" });
    await settled(page);
    const hrefs = page.locator("a[href]").evaluateAll((anchors) => anchors.map(({ href }) => href.replace(/[?#].*/, "")));
    const linked = await hrefs.catch(() => []); // the page was left
    for (const href of linked) {
      if (services.some(({ origin }) => href.startsWith(`${origin}/account/`)) && !queue.includes(href)) queue.push(href);
    }
    const pressed = [];
    while (presses) {
      const control = await page.evaluate(pressNext, [pressed, junk]).catch(() => `${pressed.length}: the page was left`);
      if (!control) break;
      pressed.push(control);
      await settled(page);
    }
    await page.close();
  }
  return queue;
}

/**
 * In the page: presses the first control that was not pressed yet, the choice of the language last. Returns what it is, or
 * `undefined`.
 */
function pressNext([pressed, junk]) {
  const nameOf = (control) => `${location.pathname} ${document.querySelector("h1")?.innerText} ${control.outerHTML}`.slice(0, 400);
  const isLate = (control) => control.matches("[lang]");
  const controls = [...document.querySelectorAll("button, input[type=submit], input[type=button], [role=button], summary")];
  const left = controls.filter((control) => !control.disabled && !pressed.includes(nameOf(control)));
  const next = pressed.some((name) => name.includes(" lang=")) ? left.find(isLate) : (left.find((control) => !isLate(control)) ?? left[0]);
  if (!next) return;
  for (const field of document.querySelectorAll("input, textarea")) {
    if (!junk || ["hidden", "checkbox", "radio"].includes(field.type) || /password|one-time-code/.test(field.autocomplete)) continue;
    field.value = junk;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
  const name = nameOf(next);
  next.click();
  return name;
}

/** Opens a browser in which the robot works, with the session of this user or without one. */
async function robotsBrowser(username) {
  const context = await browser.newContext();
  context.setDefaultTimeout(TIMEOUT);
  if (!username) return context;
  const { cookies } = await open.logIn(username, PASSWORD, "cookie");
  const ours = cookies.map((cookie) => cookie.split(";")[0].split("="));
  await context.addCookies(ours.map(([name, value]) =>
    ({ name, value, domain: "localhost", path: "/", secure: true, httpOnly: true, sameSite: "Strict" })));
  return context;
}

let sent;
/** The addresses in all mails, with and without what follows `#`. */
let addresses;
let before;

step("one mail of each kind is sent", async () => {
  const [bea, cleo] = [await open.createUser("bea"), await open.createUser("cleo")];
  const { access_token: beas } = await open.logIn("bea");
  const wanted = (email) => open.call("PATCH", "/v1/me", { email, current_password: PASSWORD }, beas);
  await wanted("bea@example.com");
  const first = await open.mail("bea@example.com", /^\d{4} \d{4}\r?$/m);
  await open.call("POST", "/v1/me/pending-email/complete", { code: code(first) }, beas);
  await wanted("bea@example.net");
  await open.logIn("bea", PASSWORD, "cookie"); // a browser that is not known

  await open.call("POST", "/v1/accounts", { email: "ada@example.org", username: "ada", password: PASSWORD });
  const { access_token: adas } = await open.logIn("ada");
  await open.call("POST", "/v1/me/email/verification", undefined, adas);
  await open.administer("POST", `/v1/users/${bea.id}/password-reset`);
  await open.administer("POST", "/v1/invitations", { email: "grace@example.org" });
  const path = `/v1/users/${cleo.id}`;
  await open.administer("PUT", `${path}/password`, { new_password: "another password of cleo" });
  await open.administer("PATCH", path, { status: "disabled" });
  await open.administer("DELETE", path);

  const dora = await open.createUser("dora");
  const { id, token } = await addApp(open, "dora");
  const { codes } = await open.call("POST", "/v1/me/recovery-codes", undefined, token);
  const prove = (factor) => open.call("POST", "/v1/me/authentication", { factor }, token);
  for (const code of codes.slice(3)) await prove({ kind: "recovery_code", code }); // three are left
  for (let attempt = 0; attempt < 3; attempt++) await assert.rejects(prove({ kind: "totp", code: "000000" }));
  await open.call("DELETE", `/v1/me/factors/${id}`, undefined, token);
  await addApp(open, "dora");
  await open.administer("DELETE", `/v1/users/${dora.id}/factors`);

  await verified.administer("POST", "/v1/users", { email: "eve@example.org" });
  for (const email of ["eve@example.org", "ida@example.org"]) await verified.call("POST", "/v1/sign-ups", { email });
  const kinds = (await Promise.all(services.map((service) => service.sentKinds()))).flat();
  assert.deepEqual([...new Set(kinds)].sort(), KINDS);
  sent = (await Promise.all(services.map((service) => service.mails()))).flat();
});

step("a mail runs and loads nothing", async () => {
  const page = await browser.newPage();
  for (const { html } of sent) {
    await page.setContent(html);
    assert.equal(await page.locator("script, form, img, iframe, link").count(), 0);
  }
  await screenshot(page, "a mail");
});

step("M03 a robot without a session opens everything and presses everything, and nothing changes", async () => {
  addresses = [...new Set(sent.flatMap(links).flatMap((url) => [url, beginning(url)]))];
  assert.ok(addresses.length > 12, `only ${addresses.length} links were found`);
  before = rows([...ACCOUNTS, ...SESSIONS, ...REQUESTS]);
  const context = await robotsBrowser();
  const opened = await robot(context, addresses);
  await robot(context, addresses.flatMap(otherSpellings), { presses: false });
  for (const url of opened) for (const method of ["HEAD", "OPTIONS"]) await fetch(url, { method });
  assert.equal(rows([...ACCOUNTS, ...SESSIONS, ...REQUESTS]), before);
  await context.close();
});

step("M03 a robot that types into every field but those for passwords and codes can only request mails", async () => {
  const context = await robotsBrowser();
  await robot(context, addresses, { junk: "robot@example.org" });
  const [earlier, later] = [before, rows([...ACCOUNTS, ...SESSIONS, ...REQUESTS])].map((rows) => rows.split("\n"));
  assert.deepEqual(earlier.filter((row) => !later.includes(row)), [], "what there was is unchanged");
  await context.close();
});

step("M03 with the session of the recipient, opening a page changes nothing, and a press only what the session permits", async () => {
  const context = await robotsBrowser("bea");
  await open.sentKinds();
  before = rows([...ACCOUNTS, ...REQUESTS]);
  await robot(context, addresses, { presses: false });
  assert.equal(rows([...ACCOUNTS, ...REQUESTS]), before);

  const permitted = new Set();
  await context.route(/\/v1\//, (route) => {
    const operation = `${route.request().method()} ${new URL(route.request().url()).pathname.replace(/[^/]*-[^/]*-[^/]*-[^/]*/, "{id}")}`;
    if (!PERMITTED_BY_A_SESSION.includes(operation)) return route.continue();
    permitted.add(operation);
    return route.abort();
  });
  await robot(context, addresses);
  assert.equal(rows([...ACCOUNTS, ...REQUESTS]), before);
  assert.deepEqual([...permitted].sort(), PERMITTED_BY_A_SESSION);
  await context.close();
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
  await open.call("POST", "/v1/email-changes/revert", { token: found.get("revert"), new_password: "another password of bea" });
  assert.notEqual(rows([...ACCOUNTS, ...REQUESTS]), before);
});
