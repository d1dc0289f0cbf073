// Networks that fail, and a service that has too much to do: a page says what to do, and loses nothing that was typed.

import assert from "node:assert/strict";
import { step } from "../chromium.mjs";
import { PASSWORD } from "../service.mjs";
import { visit } from "../visitor.mjs";
import { open } from "./services.mjs";
import { enter, visitAs } from "./steps.mjs";

await open.createUser("otto");

/** A problem as the service sends it. */
const problem = (status, code, headers = {}) => ({
  status, headers, contentType: "application/problem+json",
  body: JSON.stringify({ type: "about:blank", title: code, status, code, request_id: "0198c0de-0000-7000-8000-000000000000" }),
});

/** Every way in which a call can fail without being wrong, and what the page says. */
const FAILURES = {
  "without a network": [(route) => route.abort("internetdisconnected"), /There is no connection/],
  "behind a proxy that is broken": [(route) => route.fulfill({ status: 502, contentType: "text/html", body: "<h1>Bad gateway</h1>" }), /502/],
  "after too many attempts": [(route) => route.fulfill(problem(429, "too_many_requests", { "Retry-After": "90" })), /too many attempts.*\d\d:\d\d/],
  "while the service has too much to do": [(route) => route.fulfill(problem(503, "overloaded", { "Retry-After": "5" })), /very busy.*\d\d:\d\d/],
  "while the database is away": [(route) => route.fulfill(problem(503, "unavailable", { "Retry-After": "2" })), /not available.*\d\d:\d\d/],
  "while the service fails": [(route) => route.fulfill(problem(500, "internal")), /Something went wrong.*0198c0de/s],
};

for (const [when, [answer, said]] of Object.entries(FAILURES)) {
  step(`a sign-in ${when} says what to do, keeps what was typed, and works afterwards`, async () => {
    const otto = await visit(open, { mayFail: true });
    await otto.open("sign-in");
    await otto.page.route("**/v1/sessions", answer);
    await enter(otto, "otto");
    await otto.sees(said);
    assert.equal(await otto.field("Email address or username").inputValue(), "otto");
    assert.equal(await otto.field("Password").inputValue(), PASSWORD);
    await otto.page.unroute("**/v1/sessions");
    await otto.press("Sign in");
    await otto.arrives("Profile");
  });
}

step("a page that cannot learn who is signed in says so, and goes on when the network is back", async () => {
  const otto = await visitAs(open, "otto", { mayFail: true });
  await otto.page.route("**/v1/**", (route) => route.abort("internetdisconnected"));
  await otto.page.reload();
  await otto.sees("There is no connection");
  await otto.page.unroute("**/v1/**");
  await otto.press("Try again");
  await otto.arrives("Profile");
});

step("a form of somebody who is signed in loses nothing when the network fails", async () => {
  const otto = await visitAs(open, "otto", { mayFail: true });
  await otto.fill({ Name: "Otto the Great" });
  await otto.context.setOffline(true);
  await otto.press("Save changes");
  await otto.sees("There is no connection");
  assert.equal(await otto.field("Name").inputValue(), "Otto the Great");
  await otto.context.setOffline(false);
  await otto.press("Save changes");
  await otto.sees("Your changes are saved.");
});

step("a session that ends while somebody types sends them to the sign-in page and back", async () => {
  const otto = await visitAs(open, "otto");
  const { items: [{ id }] } = await open.administer("GET", "/v1/users?search=otto");
  await open.administer("DELETE", `/v1/users/${id}/sessions`);
  await otto.fill({ Name: "Otto" });
  await otto.press("Save changes");
  await otto.arrives("Sign in");
  await otto.sees("Your session has ended.");
});

/** Lets the clock of the tests decide when a call has taken too long. */
const byClock = () => {
  AbortSignal.timeout = (milliseconds) => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(new DOMException("The clock has reached the time.", "TimeoutError")), milliseconds);
    return controller.signal;
  };
};

step("a call that nobody answers is given up, and says what to do", async () => {
  const otto = await visit(open, { mayFail: true });
  await otto.page.clock.install();
  await otto.page.addInitScript(byClock);
  await otto.page.route("**/v1/options", () => {});
  await otto.page.goto(`${open.origin}/account/sign-in`);
  await otto.sees("Loading");
  await otto.page.clock.fastForward("00:30");
  await otto.sees("There is no connection");
  await otto.page.unroute("**/v1/options");
  await otto.press("Try again");
  await otto.arrives("Sign in");

  await otto.page.route("**/v1/sessions", () => {});
  await enter(otto, "otto");
  await otto.page.clock.fastForward("00:30");
  await otto.sees("There is no connection");
  assert.equal(await otto.field("Password").inputValue(), PASSWORD);
});

step("a page that is older than the service offers to load itself again", async () => {
  const otto = await visit(open);
  await otto.page.clock.install();
  await otto.open("sign-in");
  await otto.settled();
  await otto.page.route("**/version", (route) => route.fulfill({ json: { version: "99.0.0" } }));
  await otto.page.clock.fastForward("05:00");
  await otto.sees("There is a new version of this page.");
  await otto.press("Reload");
  await otto.arrives("Sign in");
});
