// The client against the live binary, as a browser's tabs would use it. A tab is a client of its own; tabs share a storage.

import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { createVestibule, UnexpectedAnswer } from "@vestibule/client";
import { PASSWORD, startServer } from "./server.mjs";

const server = await startServer({ SESSIONS__REPLAY_WINDOW: 0 });
const hasty = await startServer({ TOKENS__ACCESS_TTL: 2 });
after(() => Promise.all([server.stop(), hasty.stop()]));

/** What went over the wire: method and path, and what is done with an answer on its way back. */
let asked = [];
let meddle = (answer) => answer;
const { fetch } = globalThis;
globalThis.fetch = async (input, init) => {
  const request = new Request(input, init);
  const call = `${request.method} ${new URL(request.url).pathname}`;
  asked.push(call);
  return meddle(await fetch(request), call);
};
afterEach(() => {
  asked = [];
  meddle = (answer) => answer;
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
  return Object.assign(client, { told });
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
  assert.deepEqual(asked, ["GET /v1/users", REFRESH, "GET /v1/token", "GET /v1/users"]);
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
  assert.deepEqual(other.told, [[], "nobody", "elsewhere"]);
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
    if (call === "GET /v1/me") await other.logIn({ identifier: username, password: PASSWORD });
    return answer;
  };
  asked = [];
  assert.equal((await one.api.readMe()).error.code, "invalid_token");
  assert.equal(asked.filter((it) => it === "GET /v1/me").length, 1);
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

test("no other service can say that the session has ended", async () => {
  const vestibule = tab();
  await signIn(vestibule);
  const told = vestibule.told.length;
  meddle = (answer, call) =>
    call === "GET /orders" ? new Response(JSON.stringify({ code: "session_ended" }), { status: 401 }) : answer;
  assert.equal((await vestibule.fetch(`${server.url.replace("127.0.0.1", "localhost")}/orders`)).status, 401);
  assert.equal(vestibule.told.length, told);
  assert.equal((await vestibule.api.readMe()).error, undefined);
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

test("without a cookie, a page that was loaded is simply signed out", async () => {
  const vestibule = tab({ baseUrl: hasty.url, transport: "cookie" });
  assert.deepEqual(await vestibule.resume(), {});
  assert.equal(vestibule.signedIn, undefined);
  assert.equal((await vestibule.api.readMe()).error.code, "missing_token");
  assert.equal(refreshes(), 1);
  assert.deepEqual(vestibule.told, []);
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

test("a service of one's own gets the token, and the same silent refresh", async () => {
  const kept = storage();
  const vestibule = tab({ storage: kept });
  await signIn(vestibule);
  kept.spoil();
  assert.equal((await vestibule.fetch(`${server.url}/v1/token`)).status, 200);
  assert.equal(refreshes(), 1);
});
