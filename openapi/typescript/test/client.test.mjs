// The client against the live binary, as a browser's tabs would use it. A tab is a client of its own; tabs share a storage.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, afterEach, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { createVestibule, CookieNotKept, UnexpectedAnswer } from "@vestibule/client";
import { PASSWORD, startServer } from "./server.mjs";

const server = await startServer({ SESSIONS__REPLAY_WINDOW: 0 });
const hasty = await startServer({ TOKENS__ACCESS_TTL: 2 });
after(() => Promise.all([server.stop(), hasty.stop()]));

/** What went over the wire: method and path, and what is done with an answer on its way back. */
let asked = [];
let meddle = (answer) => answer;
/** The browser: what all tabs share, whether it keeps cookies, and how wrong its clock is (ms). */
let cookie;
let keepsCookies = true;
let wrong = 0;
globalThis.localStorage = storage();
const { fetch } = globalThis;
const { now } = Date;
Date.now = () => now() + wrong;
globalThis.fetch = async (input, init) => {
  const request = new Request(input, init);
  const call = `${request.method} ${new URL(request.url).pathname}`;
  asked.push(call);
  const travels = request.credentials === "include" && keepsCookies;
  if (travels && cookie) request.headers.set("cookie", cookie);
  const answer = await fetch(request);
  const [set] = answer.headers.getSetCookie();
  if (travels && set) cookie = set.includes("Max-Age=0") ? undefined : set.split(";")[0];
  return meddle(answer, call);
};
afterEach(() => {
  asked = [];
  meddle = (answer) => answer;
  cookie = undefined;
  keepsCookies = true;
  wrong = 0;
  globalThis.localStorage = storage();
});
const REFRESH = "POST /v1/sessions/refresh";
const refreshes = () => asked.filter((it) => it === REFRESH).length;

function storage(before = []) {
  const entries = new Map(before);
  return {
    getItem: (key) => entries.get(key) ?? null,
    setItem: (key, value) => entries.set(key, value),
    removeItem: (key) => entries.delete(key),
    copy: () => storage(entries),
    /** From here on the server refuses the access token, as it would an expired one. */
    spoil() {
      entries.forEach((entry, key) => entries.set(key, JSON.stringify({ ...JSON.parse(entry), access_token: "spoilt" })));
    },
  };
}

/** A tab, and what it was told. */
function tab(options = {}) {
  const told = [];
  const client = createVestibule({
    baseUrl: server.url,
    onChange: (signedIn) => told.push(signedIn ? signedIn.permissions : "nobody"),
    onSignedOut: (why) => told.push(why),
    ...options,
  });
  after(client.close);
  return Object.defineProperties({ told }, Object.getOwnPropertyDescriptors(client));
}

let people = 0;

/** Registers somebody, who logs in with the given tab. */
async function signIn(tab) {
  const username = `ada${(people += 1)}`;
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

/** Goes on when this holds; fails after a while. */
async function until(holds) {
  for (let tries = 0; !holds(); tries += 1) {
    assert.ok(tries < 200, `still not: ${holds}`);
    await pause(10);
  }
}

/** A service of one's own: what it was sent, and what it answers. */
async function service(answer) {
  const tokens = [];
  const listener = createServer(({ headers }, response) => {
    tokens.push(headers.authorization);
    const [status, more, body = ""] = answer(headers.authorization);
    response.writeHead(status, more).end(body);
  }).listen(0, "127.0.0.1");
  await once(listener, "listening");
  after(() => listener.close());
  return { url: `http://127.0.0.1:${listener.address().port}/orders`, tokens };
}

test("somebody registers, logs in, reads their own account and logs out", async () => {
  const vestibule = tab();
  assert.equal(vestibule.signedIn, undefined);
  const { username } = await signIn(vestibule);
  assert.equal((await vestibule.api.readMe()).data.username, username);
  assert.equal(vestibule.can("users:read"), false);
  assert.deepEqual(await vestibule.logOut(), {});
  assert.equal(vestibule.signedIn, undefined);
  assert.equal((await vestibule.api.readMe()).error.code, "missing_token");
  assert.deepEqual(vestibule.told, [[], "nobody", "logged_out"]);
});

test("a refusal has the status and the code that its type says", async () => {
  const vestibule = tab();
  const { error } = await vestibule.logIn({ identifier: "nobody", password: PASSWORD });
  assert.deepEqual([error.status, error.code], [401, "invalid_credentials"]);
  const refused = await vestibule.register({ email: "not one", password: "short" });
  assert.deepEqual(refused.error.errors.map((it) => it.pointer).sort(), ["/email", "/password"]);
  assert.equal(refreshes(), 0);
});

test("an administrator may what a user may not, and can() knows it", async () => {
  const vestibule = await admin();
  assert.ok(vestibule.can("users:write"));
  assert.equal((await vestibule.api.listUsers()).error, undefined);
});

test("parallel calls with an expired token make one refresh", async () => {
  const vestibule = tab({ baseUrl: hasty.url });
  await signIn(vestibule);
  await pause(2100);
  asked = [];
  const answers = await Promise.all(Array.from({ length: 20 }, () => vestibule.api.readMe()));
  assert.deepEqual(answers.filter((it) => it.error), []);
  assert.equal(refreshes(), 1);
});

test("tabs that share a storage make one refresh between them", async () => {
  const shared = storage();
  const tabs = [tab({ storage: shared }), tab({ storage: shared })];
  await signIn(tabs[0]);
  shared.spoil();
  asked = [];
  const answers = await Promise.all(tabs.flatMap((it) => [it.api.readMe(), it.api.readMe()]));
  assert.deepEqual(answers.filter((it) => it.error), []);
  assert.equal(refreshes(), 1);
  assert.equal((await tabs[1].api.listMySessions()).data.items.length, 1);
});

test("other roles are there at the next call, without logging in again", async () => {
  const vestibule = tab();
  const { id } = await signIn(vestibule);
  assert.equal(vestibule.can("users:read"), false);
  const { error } = await (await admin()).api.setUserRoles({ path: { id }, body: { roles: ["admin", "user"] } });
  assert.equal(error, undefined);
  asked = [];
  assert.equal((await vestibule.api.listUsers()).error, undefined);
  assert.ok(vestibule.can("users:read"));
  assert.deepEqual(asked, ["GET /v1/users", REFRESH, "GET /v1/token", "GET /v1/me", "GET /v1/users"]);
  assert.ok(vestibule.told.at(-1).includes("users:read"));
});

test("403 never refreshes", async () => {
  const vestibule = tab();
  await signIn(vestibule);
  asked = [];
  const { error } = await vestibule.api.listUsers();
  assert.deepEqual([error.code, error.required_permission], ["insufficient_permission", "users:read"]);
  assert.deepEqual(asked, ["GET /v1/users"]);
});

test("a log-out in one tab signs out the other", async () => {
  const shared = storage();
  const [one, other] = [tab({ storage: shared }), tab({ storage: shared })];
  await signIn(one);
  await until(() => other.told.length === 1);
  assert.deepEqual(other.signedIn, one.signedIn);
  await one.logOut();
  await until(() => other.told.length === 3);
  assert.deepEqual([one.told, other.told], [[[], "nobody", "logged_out"], [[], "nobody", "elsewhere"]]);
  assert.equal(other.signedIn, undefined);
});

test("a log-in in one tab is the other's too", async () => {
  const shared = storage();
  const [one, other] = [tab({ storage: shared }), tab({ storage: shared })];
  await signIn(one);
  const { username } = await signIn(one);
  assert.equal((await other.api.readMe()).data.username, username);
});

test("what one person began is not done as another who logs in meanwhile", async () => {
  const shared = storage();
  const [one, other] = [tab({ storage: shared }), tab({ storage: shared })];
  await signIn(one);
  const { username } = await signIn(tab());
  shared.spoil();
  meddle = async (answer, call) => {
    if (call === "GET /v1/me/sessions") await other.logIn({ identifier: username, password: PASSWORD });
    return answer;
  };
  asked = [];
  assert.equal((await one.api.listMySessions()).error.code, "invalid_token");
  assert.equal(asked.filter((it) => it === "GET /v1/me/sessions").length, 1);
  meddle = (answer) => answer;
  assert.equal((await one.api.readMe()).data.username, username);
});

test("a session that an administrator ends is over here too", async () => {
  const vestibule = tab();
  const { id } = await signIn(vestibule);
  await (await admin()).api.endUserSessions({ path: { id } });
  assert.equal((await vestibule.api.readMe()).error.code, "session_ended");
  assert.deepEqual(vestibule.told.slice(-2), ["nobody", "session_ended"]);
  assert.equal(refreshes(), 0);
});

test("a service that says that the session has ended is not believed, but Vestibule is asked", async () => {
  const ended = await service(() => [401, { "WWW-Authenticate": 'Bearer error="invalid_token"' }, JSON.stringify({ code: "session_ended" })]);
  const vestibule = tab();
  const { id } = await signIn(vestibule);
  const told = vestibule.told.length;
  assert.equal((await vestibule.fetch(ended.url)).status, 401);
  assert.deepEqual([vestibule.told.length, refreshes(), asked.includes("GET /v1/token")], [told, 0, true]);
  assert.equal((await vestibule.api.readMe()).error, undefined);

  await (await admin()).api.endUserSessions({ path: { id } });
  assert.equal((await vestibule.fetch(ended.url)).status, 401);
  assert.equal(vestibule.signedIn, undefined);
  assert.deepEqual(vestibule.told.slice(-2), ["nobody", "session_ended"]);
});

test("a lost answer to a refresh logs nobody out", async () => {
  const kept = storage();
  const vestibule = tab({ storage: kept });
  const { username } = await signIn(vestibule);
  for (const loss of ["the answer", "the answer again", "nothing"]) {
    kept.spoil();
    meddle = (answer, call) => {
      if (call === REFRESH && loss !== "nothing") throw new TypeError("fetch failed");
      return answer;
    };
    const reading = vestibule.api.readMe();
    if (loss === "nothing") assert.equal((await reading).data.username, username);
    else await assert.rejects(reading, TypeError);
    assert.ok(vestibule.signedIn);
  }
});

test("a server that is busy logs nobody out, and its answer is the call's", async () => {
  const kept = storage();
  const vestibule = tab({ storage: kept });
  await signIn(vestibule);
  kept.spoil();
  const busy = { type: "urn:problem-type:vestibule:unavailable", title: "Unavailable", status: 503, code: "unavailable" };
  let refused = 0;
  meddle = async (answer, call) => {
    if (call !== REFRESH) return (refused += 1), answer;
    await until(() => refused === 2); // both wait for this one
    return Response.json(busy, { status: 503, headers: { "retry-after": "1" } });
  };
  for (const { error, response } of await Promise.all([vestibule.api.readMe(), vestibule.api.readMe()])) {
    assert.deepEqual([error.code, response.headers.get("retry-after")], ["unavailable", "1"]);
  }
  assert.equal(refreshes(), 1);
  assert.ok(vestibule.signedIn);
  meddle = (answer) => answer;
  assert.equal((await vestibule.api.readMe()).error, undefined);
});

test("whoever uses a stolen refresh token signs out the thief and the owner", async () => {
  const owners = storage();
  const owner = tab({ storage: owners });
  await signIn(owner);
  const thiefs = owners.copy();
  const thief = tab({ storage: thiefs });
  for (const again of [1, 2]) {
    owners.spoil();
    assert.equal((await owner.api.readMe()).error, undefined);
    assert.equal(refreshes(), again);
  }
  thiefs.spoil();
  assert.equal((await thief.api.readMe()).error.code, "invalid_token");
  assert.deepEqual(thief.told.slice(-2), ["nobody", "session_ended"]);
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

test("permissions that could not be asked at first are asked again", async () => {
  meddle = (answer, call) => {
    if (call === "GET /v1/token") throw new TypeError("fetch failed");
    return answer;
  };
  const vestibule = await admin();
  assert.deepEqual(vestibule.signedIn.permissions, []);
  meddle = (answer) => answer;
  await vestibule.resume();
  assert.ok(vestibule.can("users:write"));
});

test("with a cookie, the refresh token is nowhere that a script can read", async () => {
  const vestibule = tab({ transport: "cookie" });
  const bodies = [];
  meddle = async (answer) => {
    bodies.push(await answer.clone().text());
    return answer;
  };
  await signIn(vestibule);
  assert.ok(vestibule.signedIn);
  assert.ok(bodies.some((it) => it.includes("access_token")));
  assert.ok(!bodies.some((it) => it.includes("refresh_token")));
});

test("with a cookie, a reload stays signed in, and so does another tab", async () => {
  const one = tab({ transport: "cookie" });
  const { username } = await signIn(one);
  asked = [];
  const reloaded = tab({ transport: "cookie" });
  assert.deepEqual(await Promise.all([reloaded.resume(), reloaded.resume()]), [{}, {}]); // as React's StrictMode does
  assert.deepEqual([reloaded.signedIn, refreshes()], [one.signedIn, 1]);
  const service_ = await service(() => [200, {}]);
  const another = tab({ transport: "cookie" });
  await another.fetch(service_.url);
  assert.match(service_.tokens[0], /^Bearer ey/, "it did not wait for resume");
  assert.equal((await another.api.readMe()).data.username, username);
});

test("with a cookie too, each tab is told once of a log-in, of another name and of a log-out", async () => {
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
  assert.deepEqual([one.told.slice(-2), other.told.slice(-2)], [["nobody", "logged_out"], ["nobody", "elsewhere"]]);
  assert.deepEqual([one.told.length, other.told.length], [4, 4]);
});

test("an anonymous page asks nothing if there never was a session, or it has ended", async () => {
  const open = async (options) => {
    const page = tab({ transport: "cookie" });
    assert.deepEqual(await page.resume(options), {});
    assert.equal((await page.api.readMe()).error.code, "missing_token");
    assert.deepEqual([page.signedIn, page.told], [undefined, []]);
    page.close();
  };
  await open();
  assert.equal(refreshes(), 0);
  const vestibule = tab({ transport: "cookie" });
  await signIn(vestibule);
  await vestibule.logOut();
  asked = [];
  await open();
  assert.equal(refreshes(), 0);
  await open({ ask: true });
  assert.equal(refreshes(), 1, "a session may have begun on another origin");
  await open();
  assert.equal(refreshes(), 1);
});

test("a page of another origin finds the session when it asks", async () => {
  const { username } = await signIn(tab({ transport: "cookie" }));
  globalThis.localStorage = storage();
  const sibling = tab({ transport: "cookie" });
  await sibling.resume();
  assert.equal(sibling.signedIn, undefined);
  await sibling.resume({ ask: true });
  assert.equal(sibling.signedIn.user.name, username);
});

test("a cookie that the browser does not keep is reported at the log-in", async () => {
  const vestibule = tab({ transport: "cookie" });
  const { username } = await signIn(vestibule);
  const { id } = vestibule.signedIn.user;
  await vestibule.logOut();
  keepsCookies = false;
  const told = vestibule.told.length;
  await assert.rejects(vestibule.logIn({ identifier: username, password: PASSWORD }), (error) => {
    return error instanceof CookieNotKept && error.message.includes("127.0.0.1 are two");
  });
  assert.deepEqual([vestibule.signedIn, vestibule.told.length], [undefined, told]);
  const { data } = await (await admin()).api.listUserSessions({ path: { id } });
  assert.deepEqual(data.items, [], "no session is left behind");
});

test("a network that fails after the log-in says nothing about the cookie", async () => {
  meddle = (answer, call) => {
    if (call === REFRESH) throw new TypeError("fetch failed");
    return answer;
  };
  const vestibule = tab({ transport: "cookie" });
  await signIn(vestibule);
  assert.ok(vestibule.signedIn);
});

test("an answer that is not Vestibule's is no refusal: the call rejects", async () => {
  const vestibule = tab();
  meddle = () => new Response("<h1>Bad Gateway</h1>", { status: 502 });
  await assert.rejects(vestibule.api.readMe(), UnexpectedAnswer);
  meddle = () => {
    throw new TypeError("fetch failed");
  };
  await assert.rejects(vestibule.api.readMe(), TypeError);
});

test("a service of one's own gets the token, and the silent refresh when it refuses it", async () => {
  const kept = storage();
  const vestibule = tab({ storage: kept });
  await signIn(vestibule);
  const refusals = [
    { "WWW-Authenticate": 'Bearer error="invalid_token"' },
    { "WWW-Authenticate": 'Basic realm="x", bearer realm="orders", error_description="old", error=invalid_token' },
  ];
  for (const refusal of refusals) {
    const orders = await service((token) => (token === "Bearer spoilt" ? [401, refusal] : [200, {}]));
    kept.spoil();
    asked = [];
    assert.equal((await vestibule.fetch(orders.url, { method: "POST", body: "one" })).status, 200);
    assert.deepEqual([orders.tokens.length, refreshes()], [2, 1]);
  }
  for (const refusal of [{}, { "WWW-Authenticate": "Bearer" }, { "WWW-Authenticate": 'Bearer error="insufficient_scope"' }]) {
    const orders = await service(() => [401, refusal]);
    asked = [];
    assert.equal((await vestibule.fetch(orders.url)).status, 401);
    assert.equal(refreshes(), 0);
  }
});

test("a service that refuses every token, since its clock or its audience is wrong, causes one refresh a minute at most", async () => {
  const refusing = await service(() => [401, { "WWW-Authenticate": 'Bearer error="invalid_token"' }]);
  const vestibule = tab();
  await signIn(vestibule);
  for (let call = 0; call < 5; call += 1) assert.equal((await vestibule.fetch(refusing.url)).status, 401);
  assert.equal(refreshes(), 1);
  assert.ok(vestibule.signedIn);
});

test("the token is renewed shortly before it expires, once for all calls", async () => {
  const orders = await service(() => [200, {}]);
  const kept = storage();
  const tabs = [tab({ storage: kept }), tab({ storage: kept })];
  await signIn(tabs[0]);
  wrong = 830_000; // of 900 s
  await tabs[0].fetch(orders.url);
  assert.equal(refreshes(), 0);
  wrong = 850_000;
  await Promise.all(tabs.flatMap((it) => [it.fetch(orders.url), it.fetch(orders.url), it.api.readMe()]));
  assert.equal(refreshes(), 1);
  assert.equal(new Set(orders.tokens.slice(1)).size, 1);
  assert.notEqual(orders.tokens[0], orders.tokens[1]);
});

test("a clock that is wrong, or is set right, neither signs out nor refreshes again and again", async () => {
  const vestibule = tab();
  for (const off of [-400, 0, 400]) {
    wrong = off * 86_400_000;
    await signIn(vestibule);
    asked = [];
    for (const jump of [0, 3_600_000, -7_200_000]) {
      wrong += jump;
      const before = refreshes();
      for (let call = 0; call < 3; call += 1) assert.equal((await vestibule.api.readMe()).error, undefined);
      assert.equal(refreshes() - before, jump > 0 ? 1 : 0);
    }
  }
});

test("an outage of Vestibule does not keep a token that is still good from a service", async () => {
  const orders = await service(() => [200, {}]);
  const vestibule = tab();
  await signIn(vestibule);
  wrong = 850_000;
  meddle = (answer, call) => {
    if (call === REFRESH) throw new TypeError("fetch failed");
    return answer;
  };
  for (let call = 0; call < 3; call += 1) assert.equal((await vestibule.fetch(orders.url)).status, 200);
  assert.equal(refreshes(), 1, "it waits a while before it tries again");
  assert.ok(vestibule.signedIn);
});

test("the signed-in user is known, and so is each change of theirs, once", async () => {
  const vestibule = tab();
  const changes = [];
  const unsubscribe = vestibule.subscribe((signedIn) => changes.push(signedIn?.user.name));
  const { id, username } = await signIn(vestibule);
  assert.deepEqual(vestibule.signedIn.user, { id, name: username, roles: ["user"] });
  assert.equal(vestibule.signedIn, vestibule.signedIn, "React wants the same object");
  await vestibule.api.updateMe({ body: { name: "Ada Lovelace" } });
  assert.deepEqual([vestibule.signedIn.user.name, changes], ["Ada Lovelace", [username, "Ada Lovelace"]]);
  wrong = 850_000;
  const same = vestibule.signedIn;
  await vestibule.api.readMe();
  assert.equal(refreshes(), 1);
  assert.equal(vestibule.signedIn, same, "a refresh that changes nothing is no change");
  await vestibule.api.closeAccount({ body: { current_password: PASSWORD } });
  assert.equal(vestibule.signedIn, undefined);
  unsubscribe();
  await signIn(vestibule);
  assert.deepEqual(changes, [username, "Ada Lovelace", undefined]);
  assert.equal(vestibule.told.filter((it) => it === "nobody").length, 1);
});

test("can() says yes to an administrator, whatever an application calls its permissions", async () => {
  const vestibule = await admin();
  assert.ok(vestibule.can("billing:refund"));
  const other = tab();
  await signIn(other);
  assert.equal(other.can("billing:refund"), false);
});

test("somebody with an expired access token logs out, and the session is over", async () => {
  for (const options of [{}, { transport: "cookie" }]) {
    const vestibule = tab({ ...options, baseUrl: hasty.url });
    await signIn(vestibule);
    const { id } = vestibule.signedIn.user;
    await pause(2100);
    asked = [];
    assert.deepEqual(await vestibule.logOut(), {});
    assert.deepEqual([vestibule.signedIn, asked, cookie], [undefined, ["POST /v1/sessions/end"], undefined]);
    const { data } = await (await admin(hasty)).api.listUserSessions({ path: { id } });
    assert.deepEqual(data.items, []);
  }
});

test("a client that was closed hears nothing, tells nothing and still works", async () => {
  const shared = storage();
  const [one, other] = [tab({ storage: shared }), tab({ storage: shared })];
  other.close();
  other.close();
  const { username } = await signIn(one);
  assert.equal((await other.api.readMe()).data.username, username);
  await other.logOut();
  assert.deepEqual(other.told, []);
});

test("on a server, where nothing of a browser is there, nobody is signed in and nothing is asked", async () => {
  delete globalThis.localStorage;
  const vestibule = tab({ transport: "cookie" });
  assert.deepEqual(await vestibule.resume(), {});
  assert.deepEqual([vestibule.signedIn, asked], [undefined, []]);
});
