// A server whose mails are files, and what the tests do beside the browser: they call its API, read its mails and its tables.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { PASSWORD, startServer } from "../../openapi/typescript/test/server.mjs";
import { TIMEOUT, freePort } from "./chromium.mjs";

export { PASSWORD };

/** Starts a server with these settings, and logs its administrator in. People reach it at `host`. `url` and `origin` include the base path. */
export async function startService(settings = {}, host = "localhost") {
  const port = await freePort();
  const base = settings.SERVER__BASE_PATH ?? "";
  const origin = `http://${host}:${port}`; // where browsers accept a cookie that is `Secure`, and passkeys at a name
  const addresses = { SERVER__LISTEN: `127.0.0.1:${port}`, SERVER__PUBLIC_URL: origin };
  const started = await startServer({ ...addresses, MAIL__TRANSPORT: "file", MAIL__MAX_PER_HOUR: 100_000, ...settings });
  const server = { ...started, url: started.url + base };
  const administrator = await logIn("admin", server.adminPassword);
  return { ...server, origin: origin + base, call, logIn, administer, createUser, mails, mail, sentKinds, rows, change };

  /** Sends a request to the API. Returns the body, and the cookies that the response sets. Fails unless the request succeeds. */
  async function call(method, path, body, token) {
    const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
    const answer = await fetch(`${server.url}${path}`, { method, headers, body: body && JSON.stringify(body) });
    const text = await answer.text();
    assert.ok(answer.ok, `${method} ${path}: ${text}`);
    return { ...(text && JSON.parse(text)), cookies: answer.headers.getSetCookie() };
  }

  /** Returns the tokens of a new session. */
  function logIn(identifier, password = PASSWORD, transport = "body") {
    return call("POST", "/v1/sessions", { identifier, password, transport });
  }

  /** Sends a request to the API as administrator. */
  function administer(method, path, body) {
    return call(method, path, body, administrator.access_token);
  }

  /** Creates an account with this username, whose address the administrator vouches for. */
  function createUser(username, members = {}) {
    return administer("POST", "/v1/users", { email: `${username}@example.org`, username, password: PASSWORD, ...members });
  }

  /** Returns the mails that were sent so far. */
  async function mails() {
    const folder = join(server.directory, "data/mail");
    const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith(".eml"));
    return Promise.all(names.map(async (name) => parse(await readFile(join(folder, name), "utf8"))));
  }

  /** Waits for a mail to this address with this in its text. */
  async function mail(to, text) {
    for (let waited = 0; waited < TIMEOUT; waited += 50) {
      const found = (await mails()).find((mail) => mail.to.includes(to) && mail.text.match(text));
      if (found) return found;
      await pause(50);
    }
    throw new Error(`no mail to ${to} with ${text}`);
  }

  /** Waits until every mail was sent. Returns their kinds. */
  async function sentKinds() {
    for (;;) {
      const { items } = await administer("GET", "/v1/mails?limit=100");
      if (items.every(({ state }) => state === "sent")) return items.map(({ kind }) => kind);
      await pause(50);
    }
  }

  /** Returns all rows of these tables, as text. */
  function rows(tables) {
    return python(`
for table in sys.argv[2:]:
    print(table, *sorted(map(repr, database.execute(f"SELECT * FROM {table}"))), sep="\\n")`, ...tables);
  }

  /** Executes a statement on the database, to bring about what only time brings about otherwise. */
  function change(statement) {
    python(`
database.execute(sys.argv[2])
database.commit()`, statement);
  }

  function python(program, ...parameters) {
    const connect = `import sqlite3, sys\ndatabase = sqlite3.connect(sys.argv[1], timeout=60)`;
    const file = join(server.directory, "data/vestibule.db");
    return execFileSync("python3", ["-c", connect + program, file, ...parameters], { encoding: "utf8" });
  }
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

/** Returns the code of a mail as people read it: two groups of four digits. */
export const code = ({ text }) => text.match(/^\d{4} \d{4}(?=\r?$)/m)[0];

/** Returns all addresses in a mail. */
export const links = ({ text, html }) =>
  [...text.matchAll(/https?:\/\/\S+/g), ...html.matchAll(/(?<=href=")[^"]+/g)].map(([url]) => url.replaceAll("&amp;", "&"));

/** Returns the address in a mail that has a token. */
export const link = (mail) => links(mail).find((url) => url.includes("#t="));
