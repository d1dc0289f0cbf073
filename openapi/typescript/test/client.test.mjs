// Tests the client against a running server, as the tabs of a browser use it. Each tab is a client; tabs may share a storage.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, afterEach, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { createVestibule, CookieNotKept, UnexpectedResponse } from "@vestibule/client";
import { PASSWORD, startServer } from "./server.mjs";
import { totp } from "./totp.mjs";

const server = await startServer({ SESSIONS__REPLAY_WINDOW: 0 });
const shortLived = await startServer({ TOKENS__ACCESS_TTL: 2 });
const withPasskeys = await startServer({ SERVER__PUBLIC_URL: "http://localhost" });
const below = await startServer({ SERVER__BASE_PATH: "/auth" });
after(() => Promise.all([server.stop(), shortLived.stop(), withPasskeys.stop(), below.stop()]));

/** The method and path of each request. */
let calls = [];
/** Changes a response before the client receives it, or throws to lose it. */
let intercept = (response) => response;
/** The state of the browser, which all tabs share: its cookie, whether it keeps cookies, and the error of its clock in ms. */
let cookie;
let keepsCookies = true;
let clockOffset = 0;
globalThis.localStorage = storage();
const { fetch } = globalThis;
const { now } = Date;
Date.now = () => now() + clockOffset;
globalThis.fetch = async (input, init) => {
  const request = new Request(input, init);
  const call = `${request.method} ${new URL(request.url).pathname}`;
  calls.push(call);
  const sendsCookies = request.credentials === "include" && keepsCookies;
  if (sendsCookies && cookie) request.headers.set("cookie", cookie);
  const response = await fetch(request);
  const [set] = response.headers.getSetCookie();
  if (sendsCookies && set) cookie = set.includes("Max-Age=0") ? undefined : set.split(";")[0];
  return intercept(response, call);
};
afterEach(() => {
  calls = [];
  intercept = (response) => response;
  cookie = undefined;
  keepsCookies = true;
  clockOffset = 0;
  globalThis.localStorage = storage();
  delete globalThis.location;
  delete globalThis.history;
});
const REFRESH = "POST /v1/sessions/refresh";
const refreshes = () => calls.filter((call) => call === REFRESH).length;

function storage(before = []) {
  const entries = new Map(before);
  return {
    getItem: (key) => entries.get(key) ?? null,
    setItem: (key, value) => entries.set(key, value),
    removeItem: (key) => entries.delete(key),
    copy: () => storage(entries),
    /** Replaces the access token with one that the server rejects, as it rejects an expired one. */
    spoilAccessToken() {
      entries.forEach((entry, key) => entries.set(key, JSON.stringify({ ...JSON.parse(entry), access_token: "spoilt" })));
    },
  };
}

/** Opens a tab, which records the calls of its listeners. */
function tab(options = {}) {
  const events = [];
  const client = createVestibule({
    baseUrl: server.url,
    onChange: (signedIn) => events.push(signedIn ? signedIn.permissions : "nobody"),
    onSignedOut: (why) => events.push(why),
    ...options,
  });
  after(client.close);
  return Object.defineProperties({ events }, Object.getOwnPropertyDescriptors(client));
}

/** Gives the globals of a browser that shows a page at this address. Returns its location and its history. */
function openPage(address) {
  const location = new URL(address);
  const history = {
    state: { scroll: 120 },
    replaceState(state, _, url) {
      this.state = state;
      location.href = new URL(url, location).href;
    },
  };
  Object.assign(globalThis, { location, history });
  return { location, history };
}

let userCount = 0;

/** Registers a new user and logs them in with the given tab. */
async function signIn(tab) {
  const username = `ada${(userCount += 1)}`;
  const { data, error } = await tab.register({ email: `${username}@example.org`, username, password: PASSWORD });
  assert.equal(error, undefined);
  assert.deepEqual(await tab.logIn({ identifier: username, password: PASSWORD }), {});
  return { ...data, username };
}

async function admin({ url, adminPassword } = server) {
  const client = createVestibule({ baseUrl: url });
  assert.deepEqual(await client.logIn({ identifier: "admin", password: adminPassword }), {});
  return client;
}

/** Waits until the condition holds; fails after two seconds. */
async function until(holds) {
  for (let tries = 0; !holds(); tries += 1) {
    assert.ok(tries < 200, `still not: ${holds}`);
    await pause(10);
  }
}

/** Starts another service. Records the tokens that it receives; `respond` returns the status, the headers and the body. */
async function service(respond) {
  const tokens = [];
  const listener = createServer(({ headers }, response) => {
    tokens.push(headers.authorization);
    const [status, more, body = ""] = respond(headers.authorization);
    response.writeHead(status, more).end(body);
  }).listen(0, "127.0.0.1");
  await once(listener, "listening");
  after(() => listener.close());
  return { url: `http://127.0.0.1:${listener.address().port}/orders`, tokens };
}

test("a user registers, logs in, reads their own account and logs out", async () => {
  const vestibule = tab();
  assert.equal(vestibule.signedIn, undefined);
  const { username } = await signIn(vestibule);
  assert.equal((await vestibule.api.readMe()).data.username, username);
  assert.equal(vestibule.can("users:read"), false);
  assert.deepEqual(await vestibule.logOut(), {});
  assert.equal(vestibule.signedIn, undefined);
  assert.equal((await vestibule.api.readMe()).error.code, "missing_token");
  assert.deepEqual(vestibule.events, [[], "nobody", "logged_out"]);
});

test("a client of a server below a path of its host calls every operation where the server has it", async () => {
  const ada = tab({ baseUrl: `${below.url}/auth/` });
  const { username } = await signIn(ada);
  clockOffset = 60_000; // the access token has expired
  const { data } = await ada.api.readMe();
  assert.equal(data.username, username);
  assert.deepEqual(new Set(calls.map((call) => call.split(" ")[1].split("/v1/")[0])), new Set(["/auth"]));
  const keys = await ada.api.readJwks();
  assert.equal(keys.data.keys.length, 1);
  assert.equal(calls.at(-1), "GET /.well-known/jwks.json");
});

test("an error has the status and the code that its type declares", async () => {
  const vestibule = tab();
  const { error } = await vestibule.logIn({ identifier: "nobody", password: PASSWORD });
  assert.deepEqual([error.status, error.code], [401, "invalid_credentials"]);
  const refused = await vestibule.register({ email: "not one", password: "short" });
  assert.deepEqual(refused.error.errors.map((fault) => fault.pointer).sort(), ["/email", "/password"]);
  assert.equal(refreshes(), 0);
});

test("can() returns the permissions of an administrator", async () => {
  const vestibule = await admin();
  assert.ok(vestibule.can("users:write"));
  assert.equal((await vestibule.api.listUsers()).error, undefined);
});

test("parallel calls with an expired token cause one refresh", async () => {
  const vestibule = tab({ baseUrl: shortLived.url });
  await signIn(vestibule);
  await pause(2100);
  calls = [];
  const results = await Promise.all(Array.from({ length: 20 }, () => vestibule.api.readMe()));
  assert.deepEqual(results.filter((result) => result.error), []);
  assert.equal(refreshes(), 1);
});

test("tabs that share a storage cause one refresh together", async () => {
  const shared = storage();
  const tabs = [tab({ storage: shared }), tab({ storage: shared })];
  await signIn(tabs[0]);
  shared.spoilAccessToken();
  calls = [];
  const results = await Promise.all(tabs.flatMap((tab) => [tab.api.readMe(), tab.api.readMe()]));
  assert.deepEqual(results.filter((result) => result.error), []);
  assert.equal(refreshes(), 1);
  assert.equal((await tabs[1].api.listMySessions()).data.items.length, 1);
});

test("new roles take effect at the next call, without another log-in", async () => {
  const vestibule = tab();
  const { id } = await signIn(vestibule);
  assert.equal(vestibule.can("users:read"), false);
  const { error } = await (await admin()).api.setUserRoles({ path: { id }, body: { roles: ["admin", "user"] } });
  assert.equal(error, undefined);
  calls = [];
  assert.equal((await vestibule.api.listUsers()).error, undefined);
  assert.ok(vestibule.can("users:read"));
  assert.deepEqual(calls, ["GET /v1/users", REFRESH, "GET /v1/token", "GET /v1/me", "GET /v1/users"]);
  assert.ok(vestibule.events.at(-1).includes("users:read"));
});

test("a 403 causes no refresh", async () => {
  const vestibule = tab();
  await signIn(vestibule);
  calls = [];
  const { error } = await vestibule.api.listUsers();
  assert.deepEqual([error.code, error.required_permission], ["insufficient_permission", "users:read"]);
  assert.deepEqual(calls, ["GET /v1/users"]);
});

test("a log-out in one tab logs the other tab out", async () => {
  const shared = storage();
  const [one, other] = [tab({ storage: shared }), tab({ storage: shared })];
  await signIn(one);
  await until(() => other.events.length === 1);
  assert.deepEqual(other.signedIn, one.signedIn);
  await one.logOut();
  await until(() => other.events.length === 3);
  assert.deepEqual([one.events, other.events], [[[], "nobody", "logged_out"], [[], "nobody", "elsewhere"]]);
  assert.equal(other.signedIn, undefined);
});

test("a log-in in one tab logs the other tab in", async () => {
  const shared = storage();
  const [one, other] = [tab({ storage: shared }), tab({ storage: shared })];
  await signIn(one);
  const { username } = await signIn(one);
  assert.equal((await other.api.readMe()).data.username, username);
});

test("a request of one user is not repeated as another user who logs in meanwhile", async () => {
  const shared = storage();
  const [one, other] = [tab({ storage: shared }), tab({ storage: shared })];
  await signIn(one);
  const { username } = await signIn(tab());
  shared.spoilAccessToken();
  intercept = async (response, call) => {
    if (call === "GET /v1/me/sessions") await other.logIn({ identifier: username, password: PASSWORD });
    return response;
  };
  calls = [];
  assert.equal((await one.api.listMySessions()).error.code, "invalid_token");
  assert.equal(calls.filter((call) => call === "GET /v1/me/sessions").length, 1);
  intercept = (response) => response;
  assert.equal((await one.api.readMe()).data.username, username);
});

test("a client notices that an administrator has ended its session", async () => {
  const vestibule = tab();
  const { id } = await signIn(vestibule);
  await (await admin()).api.endUserSessions({ path: { id } });
  assert.equal((await vestibule.api.readMe()).error.code, "session_ended");
  assert.deepEqual(vestibule.events.slice(-2), ["nobody", "session_ended"]);
  assert.equal(refreshes(), 0);
});

test("a client checks with Vestibule if another service says that the session has ended", async () => {
  const ended = await service(() => [401, { "WWW-Authenticate": 'Bearer error="invalid_token"' }, JSON.stringify({ code: "session_ended" })]);
  const vestibule = tab();
  const { id } = await signIn(vestibule);
  const events = vestibule.events.length;
  assert.equal((await vestibule.fetch(ended.url)).status, 401);
  assert.deepEqual([vestibule.events.length, refreshes(), calls.includes("GET /v1/token")], [events, 0, true]);
  assert.equal((await vestibule.api.readMe()).error, undefined);

  await (await admin()).api.endUserSessions({ path: { id } });
  assert.equal((await vestibule.fetch(ended.url)).status, 401);
  assert.equal(vestibule.signedIn, undefined);
  assert.deepEqual(vestibule.events.slice(-2), ["nobody", "session_ended"]);
});

test("a lost response to a refresh logs nobody out", async () => {
  const kept = storage();
  const vestibule = tab({ storage: kept });
  const { username } = await signIn(vestibule);
  for (const loss of ["the response", "the response again", "nothing"]) {
    kept.spoilAccessToken();
    intercept = (response, call) => {
      if (call === REFRESH && loss !== "nothing") throw new TypeError("fetch failed");
      return response;
    };
    const reading = vestibule.api.readMe();
    if (loss === "nothing") assert.equal((await reading).data.username, username);
    else await assert.rejects(reading, TypeError);
    assert.ok(vestibule.signedIn);
  }
});

test("a busy server logs nobody out, and the call returns its response", async () => {
  const kept = storage();
  const vestibule = tab({ storage: kept });
  await signIn(vestibule);
  kept.spoilAccessToken();
  const busy = { type: "urn:problem-type:vestibule:unavailable", title: "Unavailable", status: 503, code: "unavailable" };
  let refused = 0;
  intercept = async (response, call) => {
    if (call !== REFRESH) return (refused += 1), response;
    await until(() => refused === 2); // both calls wait for this refresh
    return Response.json(busy, { status: 503, headers: { "retry-after": "1" } });
  };
  for (const { error, response } of await Promise.all([vestibule.api.readMe(), vestibule.api.readMe()])) {
    assert.deepEqual([error.code, response.headers.get("retry-after")], ["unavailable", "1"]);
  }
  assert.equal(refreshes(), 1);
  assert.ok(vestibule.signedIn);
  intercept = (response) => response;
  assert.equal((await vestibule.api.readMe()).error, undefined);
});

test("a log-in, a log-out and resume() return the response of an error, with its Retry-After", async () => {
  const vestibule = tab({ transport: "cookie" });
  const { username } = await signIn(vestibule);
  const busy = { type: "urn:problem-type:vestibule:unavailable", title: "Unavailable", status: 503, code: "unavailable" };
  intercept = () => Response.json(busy, { status: 503, headers: { "retry-after": "7" } });
  const reloaded = tab({ transport: "cookie" });
  const outcomes = [vestibule.logOut(), vestibule.logIn({ identifier: username, password: PASSWORD }), reloaded.resume()];
  for (const { error, response } of await Promise.all(outcomes)) {
    assert.deepEqual([error.code, response.headers.get("retry-after")], ["unavailable", "7"]);
  }
  assert.ok(vestibule.signedIn);
});

test("use of a stolen refresh token logs out the thief and the owner", async () => {
  const ownersStorage = storage();
  const owner = tab({ storage: ownersStorage });
  await signIn(owner);
  const thiefsStorage = ownersStorage.copy();
  const thief = tab({ storage: thiefsStorage });
  for (const expected of [1, 2]) {
    ownersStorage.spoilAccessToken();
    assert.equal((await owner.api.readMe()).error, undefined);
    assert.equal(refreshes(), expected);
  }
  thiefsStorage.spoilAccessToken();
  assert.equal((await thief.api.readMe()).error.code, "invalid_token");
  assert.deepEqual(thief.events.slice(-2), ["nobody", "session_ended"]);
  assert.equal((await owner.api.readMe()).error.code, "session_ended");
  assert.equal(owner.signedIn, undefined);
});

test("a reload finds the session in the storage", async () => {
  const kept = storage();
  await signIn(tab({ storage: kept }));
  const reloaded = tab({ storage: kept });
  assert.deepEqual(await reloaded.resume(), {});
  assert.ok(reloaded.signedIn);
  assert.equal((await reloaded.api.readMe()).error, undefined);
  assert.equal(refreshes(), 0);
});

test("resume() reads permissions that could not be read at log-in", async () => {
  intercept = (response, call) => {
    if (call === "GET /v1/token") throw new TypeError("fetch failed");
    return response;
  };
  const vestibule = await admin();
  assert.deepEqual(vestibule.signedIn.permissions, []);
  intercept = (response) => response;
  await vestibule.resume();
  assert.ok(vestibule.can("users:write"));
});

test("with a cookie, scripts cannot read the refresh token", async () => {
  const vestibule = tab({ transport: "cookie" });
  const bodies = [];
  intercept = async (response) => {
    bodies.push(await response.clone().text());
    return response;
  };
  await signIn(vestibule);
  assert.ok(vestibule.signedIn);
  assert.ok(bodies.some((body) => body.includes("access_token")));
  assert.ok(!bodies.some((body) => body.includes("refresh_token")));
});

test("with a cookie, the user stays logged in after a reload and in another tab", async () => {
  const one = tab({ transport: "cookie" });
  const { username } = await signIn(one);
  calls = [];
  const reloaded = tab({ transport: "cookie" });
  assert.deepEqual(await Promise.all([reloaded.resume(), reloaded.resume()]), [{}, {}]); // as React's StrictMode does
  assert.deepEqual([reloaded.signedIn, refreshes()], [one.signedIn, 1]);
  const orders = await service(() => [200, {}]);
  const another = tab({ transport: "cookie" });
  await another.fetch(orders.url);
  assert.match(orders.tokens[0], /^Bearer ey/, "the call must not need resume()");
  assert.equal((await another.api.readMe()).data.username, username);
});

test("with a cookie, the listeners of each tab are called once for a log-in, a new name and a log-out", async () => {
  const [one, other] = [tab({ transport: "cookie" }), tab({ transport: "cookie" })];
  const names = [];
  other.subscribe((signedIn) => names.push(signedIn?.user.name));
  const { username } = await signIn(one);
  await until(() => names.length === 1);
  await one.api.updateMe({ body: { name: "Ada Lovelace" } });
  await until(() => names.length === 2);
  await one.logOut();
  await until(() => names.length === 3);
  assert.deepEqual(names, [username, "Ada Lovelace", undefined]);
  assert.deepEqual([one.events.slice(-2), other.events.slice(-2)], [["nobody", "logged_out"], ["nobody", "elsewhere"]]);
  assert.deepEqual([one.events.length, other.events.length], [4, 4]);
});

test("with a cookie, each tab learns that the server has ended the session", async () => {
  const [one, other] = [tab({ transport: "cookie" }), tab({ transport: "cookie" })];
  const { id } = await signIn(one);
  await until(() => other.signedIn);
  await (await admin()).api.endUserSessions({ path: { id } });
  assert.equal((await one.api.readMe()).error.code, "session_ended");
  await until(() => !other.signedIn);
  assert.deepEqual([one.events.at(-1), other.events.at(-1)], ["session_ended", "session_ended"]);
});

test("resume() sends no request if there was never a session, or if it has ended", async () => {
  const open = async (options) => {
    const page = tab({ transport: "cookie" });
    assert.deepEqual(await page.resume(options), {});
    assert.equal((await page.api.readMe()).error.code, "missing_token");
    assert.deepEqual([page.signedIn, page.events], [undefined, []]);
    page.close();
  };
  await open();
  assert.equal(refreshes(), 0);
  const vestibule = tab({ transport: "cookie" });
  await signIn(vestibule);
  await vestibule.logOut();
  calls = [];
  await open();
  assert.equal(refreshes(), 0);
  await open({ ask: true });
  assert.equal(refreshes(), 1, "a session may have begun on another origin");
  await open();
  assert.equal(refreshes(), 1);
});

test("resume({ ask: true }) finds the session of a page of another origin", async () => {
  const { username } = await signIn(tab({ transport: "cookie" }));
  globalThis.localStorage = storage();
  const sibling = tab({ transport: "cookie" });
  await sibling.resume();
  assert.equal(sibling.signedIn, undefined);
  await sibling.resume({ ask: true });
  assert.equal(sibling.signedIn.user.name, username);
});

test("resume() finds the session with which the account pages send a user back, and removes #signed_in", async () => {
  const { username } = await signIn(tab({ transport: "cookie" }));
  globalThis.localStorage = storage();
  const { location, history } = openPage("https://app.example.org//orders?page=2#signed_in");
  const product = tab({ transport: "cookie" });
  calls = [];
  assert.deepEqual(await Promise.all([product.resume(), product.resume()]), [{}, {}]);
  assert.deepEqual([product.signedIn.user.name, refreshes()], [username, 1]);
  assert.equal(location.href, "https://app.example.org//orders?page=2");
  assert.deepEqual(history.state, { scroll: 120 });

  globalThis.localStorage = storage();
  const reloaded = tab({ transport: "cookie" });
  await reloaded.resume();
  assert.equal(reloaded.signedIn, undefined, "without the fragment and without a record, resume() sends no request");
});

test("resume() leaves other fragments and pages without a cookie alone", async () => {
  for (const [transport, fragment] of [["cookie", "#signed_in_2"], ["cookie", "#/signed_in"], ["body", "#signed_in"]]) {
    const { location } = openPage(`https://app.example.org/${fragment}`);
    await tab({ transport }).resume();
    assert.deepEqual([location.hash, refreshes()], [fragment, 0]);
  }
});

test("a call after #signed_in that fails is repeated by the next resume()", async () => {
  const { username } = await signIn(tab({ transport: "cookie" }));
  globalThis.localStorage = storage();
  openPage("https://app.example.org/#signed_in");
  intercept = () => {
    throw new TypeError("fetch failed");
  };
  await assert.rejects(tab({ transport: "cookie" }).resume(), TypeError);
  intercept = (response) => response;
  const reloaded = tab({ transport: "cookie" });
  await reloaded.resume();
  assert.equal(reloaded.signedIn.user.name, username);
});

test("a cookie that the browser does not keep is reported at the log-in", async () => {
  const vestibule = tab({ transport: "cookie" });
  const { username } = await signIn(vestibule);
  const { id } = vestibule.signedIn.user;
  await vestibule.logOut();
  keepsCookies = false;
  const events = vestibule.events.length;
  await assert.rejects(vestibule.logIn({ identifier: username, password: PASSWORD }), (error) => {
    return error instanceof CookieNotKept && error.message.includes("127.0.0.1 are two");
  });
  assert.deepEqual([vestibule.signedIn, vestibule.events.length], [undefined, events]);
  const { data } = await (await admin()).api.listUserSessions({ path: { id } });
  assert.deepEqual(data.items, [], "no session is left behind");
});

test("a network failure after the log-in is not taken for a rejected cookie", async () => {
  intercept = (response, call) => {
    if (call === REFRESH) throw new TypeError("fetch failed");
    return response;
  };
  const vestibule = tab({ transport: "cookie" });
  await signIn(vestibule);
  assert.ok(vestibule.signedIn);
});

test("a call rejects if the response is not from Vestibule", async () => {
  const vestibule = tab();
  intercept = () => new Response("<h1>Bad Gateway</h1>", { status: 502 });
  await assert.rejects(vestibule.api.readMe(), UnexpectedResponse);
  intercept = () => new Response("<h1>Sign in to this network</h1>", { headers: { "content-type": "text/html" } });
  await assert.rejects(vestibule.api.readMe(), UnexpectedResponse);
  intercept = () => {
    throw new TypeError("fetch failed");
  };
  await assert.rejects(vestibule.api.readMe(), TypeError);
});

test("a call sends its path, its query and its body as the contract demands", async () => {
  const vestibule = await admin();
  calls = [];
  assert.equal((await vestibule.api.readUser({ path: { id: "a/b" } })).error.code, "not_found");
  assert.deepEqual(calls, ["GET /v1/users/a%2Fb"]);
  const { data } = await vestibule.api.listUsers({ query: { search: "admin@vestibule", status: undefined, limit: 1 } });
  assert.deepEqual(data.items.map(({ username }) => username), ["admin"]);
  const form = { token: await vestibule.accessToken() };
  assert.equal((await vestibule.api.introspectToken({ body: form })).data.active, true);
});

test("a call with an If-Match of an older state changes nothing", async () => {
  const vestibule = tab();
  await signIn(vestibule);
  const headers = { "If-Match": (await vestibule.api.readMe()).response.headers.get("etag") };
  assert.equal((await vestibule.api.updateMe({ body: { name: "Ada" }, headers })).data.name, "Ada");
  assert.equal((await vestibule.api.updateMe({ body: { name: "Eve" }, headers })).error.code, "precondition_failed");
});

test("a signal ends a call", async () => {
  await assert.rejects(tab().api.readOptions({ signal: AbortSignal.abort() }), { name: "AbortError" });
});

test("fetch() sends the token to another service and refreshes if the service rejects it", async () => {
  const kept = storage();
  const vestibule = tab({ storage: kept });
  await signIn(vestibule);
  const challenges = [
    { "WWW-Authenticate": 'Bearer error="invalid_token"' },
    { "WWW-Authenticate": 'Basic realm="x", bearer realm="orders", error_description="old", error=invalid_token' },
  ];
  for (const challenge of challenges) {
    const orders = await service((token) => (token === "Bearer spoilt" ? [401, challenge] : [200, {}]));
    kept.spoilAccessToken();
    calls = [];
    assert.equal((await vestibule.fetch(orders.url, { method: "POST", body: "one" })).status, 200);
    assert.deepEqual([orders.tokens.length, refreshes()], [2, 1]);
  }
  for (const challenge of [{}, { "WWW-Authenticate": "Bearer" }, { "WWW-Authenticate": 'Bearer error="insufficient_scope"' }]) {
    const orders = await service(() => [401, challenge]);
    calls = [];
    assert.equal((await vestibule.fetch(orders.url)).status, 401);
    assert.equal(refreshes(), 0);
  }
});

test("a service that rejects every token causes at most one refresh per minute", async () => {
  const rejecting = await service(() => [401, { "WWW-Authenticate": 'Bearer error="invalid_token"' }]);
  const vestibule = tab();
  await signIn(vestibule);
  for (let call = 0; call < 5; call += 1) assert.equal((await vestibule.fetch(rejecting.url)).status, 401);
  assert.equal(refreshes(), 1);
  assert.ok(vestibule.signedIn);
});

test("the token is renewed shortly before it expires, once for all calls", async () => {
  const orders = await service(() => [200, {}]);
  const kept = storage();
  const tabs = [tab({ storage: kept }), tab({ storage: kept })];
  await signIn(tabs[0]);
  clockOffset = 830_000; // of 900 s
  await tabs[0].fetch(orders.url);
  assert.equal(refreshes(), 0);
  clockOffset = 850_000;
  await Promise.all(tabs.flatMap((tab) => [tab.fetch(orders.url), tab.fetch(orders.url), tab.api.readMe()]));
  assert.equal(refreshes(), 1);
  assert.equal(new Set(orders.tokens.slice(1)).size, 1);
  assert.notEqual(orders.tokens[0], orders.tokens[1]);
});

test("a clock that is clockOffset or is corrected logs nobody out and causes at most one refresh", async () => {
  const vestibule = tab();
  for (const off of [-400, 0, 400]) {
    clockOffset = off * 86_400_000;
    await signIn(vestibule);
    calls = [];
    for (const jump of [0, 3_600_000, -7_200_000]) {
      clockOffset += jump;
      const before = refreshes();
      for (let call = 0; call < 3; call += 1) assert.equal((await vestibule.api.readMe()).error, undefined);
      assert.equal(refreshes() - before, jump > 0 ? 1 : 0);
    }
  }
});

test("during an outage of Vestibule, fetch() still sends a valid token to another service", async () => {
  const orders = await service(() => [200, {}]);
  const vestibule = tab();
  await signIn(vestibule);
  clockOffset = 850_000;
  intercept = (response, call) => {
    if (call === REFRESH) throw new TypeError("fetch failed");
    return response;
  };
  for (let call = 0; call < 3; call += 1) assert.equal((await vestibule.fetch(orders.url)).status, 200);
  assert.equal(refreshes(), 1, "there is a pause before the next attempt");
  assert.ok(vestibule.signedIn);
});

test("signedIn describes the user, and listeners are called once for each change", async () => {
  const vestibule = tab();
  const changes = [];
  const unsubscribe = vestibule.subscribe((signedIn) => changes.push(signedIn?.user.name));
  const { id, username } = await signIn(vestibule);
  assert.deepEqual(vestibule.signedIn.user, { id, name: username, roles: ["user"] });
  assert.equal(vestibule.signedIn, vestibule.signedIn, "React needs the same object");
  await vestibule.api.updateMe({ body: { name: "Ada Lovelace" } });
  assert.deepEqual([vestibule.signedIn.user.name, changes], ["Ada Lovelace", [username, "Ada Lovelace"]]);
  clockOffset = 850_000;
  const same = vestibule.signedIn;
  await vestibule.api.readMe();
  assert.equal(refreshes(), 1);
  assert.equal(vestibule.signedIn, same, "a refresh that changes nothing calls no listener");
  await vestibule.api.closeAccount({ body: { current_password: PASSWORD } });
  assert.equal(vestibule.signedIn, undefined);
  unsubscribe();
  await signIn(vestibule);
  assert.deepEqual(changes, [username, "Ada Lovelace", undefined]);
  assert.equal(vestibule.events.filter((event) => event === "nobody").length, 1);
});

test("can() returns true for every permission of an administrator, including the application's", async () => {
  const vestibule = await admin();
  assert.ok(vestibule.can("billing:refund"));
  const other = tab();
  await signIn(other);
  assert.equal(other.can("billing:refund"), false);
});

test("a log-out with an expired access token ends the session", async () => {
  for (const options of [{}, { transport: "cookie" }]) {
    const vestibule = tab({ ...options, baseUrl: shortLived.url });
    await signIn(vestibule);
    const { id } = vestibule.signedIn.user;
    await pause(2100);
    calls = [];
    assert.deepEqual(await vestibule.logOut(), {});
    assert.deepEqual([vestibule.signedIn, calls, cookie], [undefined, ["POST /v1/sessions/end"], undefined]);
    const { data } = await (await admin(shortLived)).api.listUserSessions({ path: { id } });
    assert.deepEqual(data.items, []);
  }
});

test("a closed client sends and receives no messages, and still makes calls", async () => {
  const shared = storage();
  const [one, other] = [tab({ storage: shared }), tab({ storage: shared })];
  other.close();
  other.close();
  const { username } = await signIn(one);
  assert.equal((await other.api.readMe()).data.username, username);
  await other.logOut();
  assert.deepEqual(other.events, []);
});

test("on a server, without the objects of a browser, nobody is logged in and no request is sent", async () => {
  delete globalThis.localStorage;
  const vestibule = tab({ transport: "cookie" });
  assert.deepEqual(await vestibule.resume(), {});
  assert.deepEqual([vestibule.signedIn, calls], [undefined, []]);
});

const PROOF = "POST /v1/me/authentication";

/** Refuses calls of this kind until the user has proven their presence. */
function requireProof(wanted, more = {}) {
  let isProven = false;
  intercept = (response, call) => {
    if (call === PROOF && response.ok) isProven = true;
    const problem = { status: 401, code: "insufficient_user_authentication", acr_values: ["1"], max_age: 600, ...more };
    return call === wanted && !isProven ? Response.json(problem, { status: 401 }) : response;
  };
}

test("several calls that require a fresh proof ask the user once and are then repeated", async () => {
  const asked = [];
  const kept = storage();
  const onFreshProof = async (...question) => {
    asked.push(question);
    await pause(20);
    return { kind: "password", password: PASSWORD };
  };
  const vestibule = tab({ storage: kept, onFreshProof });
  await signIn(vestibule);
  const before = await vestibule.accessToken();
  requireProof("PATCH /v1/me");
  const results = await Promise.all(["Ada", "Ida", "Eda"].map((name) => vestibule.api.updateMe({ body: { name } })));
  assert.deepEqual(results.map(({ error }) => error), [undefined, undefined, undefined]);
  assert.deepEqual(asked, [[{ acr_values: ["1"], max_age: 600, enrol: false }, undefined]]);
  assert.equal(calls.filter((call) => call === PROOF).length, 1);
  assert.notEqual(await vestibule.accessToken(), before);
  // The refresh token stayed the same, and still works.
  kept.spoilAccessToken();
  assert.equal((await vestibule.api.readMe()).error, undefined);
  assert.equal(refreshes(), 1);
});

test("a wrong answer asks again, with the error, and no answer returns the 401", async () => {
  const asked = [];
  const answers = [{ kind: "password", password: "wrong" }, undefined];
  const vestibule = tab({ onFreshProof: async (_, error) => (asked.push(error?.code), answers.shift()) });
  await signIn(vestibule);
  requireProof("PATCH /v1/me");
  const { error } = await vestibule.api.updateMe({ body: { name: "Ada" } });
  assert.equal(error.code, "insufficient_user_authentication");
  assert.deepEqual(asked, [undefined, "wrong_factor"]);
  assert.equal(calls.filter((call) => call === "PATCH /v1/me").length, 1);
  assert.ok(vestibule.signedIn);
});

test("a user who must enrol a second factor is sent there, and without a function nobody is asked", async () => {
  const asked = [];
  for (const options of [{ onFreshProof: async ({ acr_values, enrol }) => void asked.push([acr_values, enrol]) }, {}]) {
    const vestibule = tab(options);
    await signIn(vestibule);
    requireProof("PATCH /v1/me", { acr_values: ["2"], enrol: true });
    assert.equal((await vestibule.api.updateMe({ body: { name: "Ada" } })).error.enrol, true);
    intercept = (response) => response;
  }
  assert.deepEqual(asked, [[["2"], true]]);
});

test("an application that proves the user's presence itself has the new access token", async () => {
  const vestibule = tab();
  await signIn(vestibule);
  const factor = { kind: "password", password: PASSWORD };
  const { data } = await vestibule.api.authenticateAgain({ body: { factor } });
  assert.equal(await vestibule.accessToken(), data.access_token);
});

/** Enrols an authenticator app for a new user, and logs them out. */
async function enrolApp(tab) {
  const username = `ada${(userCount += 1)}`;
  const body = { email: `${username}@example.org`, username, password: PASSWORD };
  assert.equal((await (await admin()).api.createUser({ body })).error, undefined); // its address counts as verified
  assert.deepEqual(await tab.logIn({ identifier: username, password: PASSWORD }), {});
  const { data: app } = await tab.api.startTotp({ body: {} });
  const before = await tab.accessToken();
  const { data } = await tab.api.confirmTotp({ path: { id: app.id }, body: { code: totp(app.secret) } });
  assert.equal(await tab.accessToken(), data.tokens.access_token, "the token of the raised session is in use");
  assert.notEqual(await tab.accessToken(), before);
  await tab.logOut();
  return { username, secret: app.secret, recoveryCodes: data.recovery_codes };
}

test("a log-in that needs a second factor is completed with one, and nobody is logged in before", async () => {
  for (const options of [{}, { transport: "cookie" }]) {
    const vestibule = tab(options);
    const { username, recoveryCodes } = await enrolApp(vestibule);
    const { error } = await vestibule.logIn({ identifier: username, password: PASSWORD });
    assert.deepEqual([error.code, [...error.factors].sort()], ["second_factor_required", ["recovery_code", "totp"]]);
    assert.deepEqual([vestibule.signedIn, await vestibule.accessToken()], [undefined, undefined]);

    const { challenge } = error;
    const wrong = await vestibule.completeLogIn({ challenge, factor: { kind: "totp", code: "000000" } });
    assert.equal(wrong.error.code, "wrong_factor");
    const factor = { kind: "recovery_code", code: recoveryCodes[0] };
    assert.deepEqual(await vestibule.completeLogIn({ challenge, factor }), {});
    assert.equal(vestibule.signedIn.user.name, username);
    assert.equal((await vestibule.api.readMe()).data.second_factor, true);
    await vestibule.logOut();
  }
});

test("a passkey that the server does not accept logs nobody in", async () => {
  const vestibule = tab({ baseUrl: withPasskeys.url });
  const { data } = await vestibule.api.startPasskeyLogIn({ body: {} });
  const response = { clientDataJSON: "e30", authenticatorData: "AA", signature: "AA", userHandle: "AA" };
  const credential = { id: "AA", rawId: "AA", type: "public-key", response };
  const { error } = await vestibule.logInByPasskey({ ceremony: data.ceremony, credential });
  assert.equal(error.status, 401);
  assert.equal(vestibule.signedIn, undefined);
});
