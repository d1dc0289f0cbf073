// Who is signed in here: holds the tokens, renews them before they expire or when they are refused, and follows other tabs.

import { asksForAnotherToken, authorize, codeOf } from "./answer.js";
import { createClient, createConfig } from "./generated/client/index.js";
import { Operations } from "./generated/sdk.gen.js";
import type { Credentials, LogInError, LogOutError, RefreshSessionError, Tokens } from "./generated/types.gen.js";
import { exclusively } from "./lock.js";
import { CookieNotKept, onlyProblems } from "./problem.js";
import { inMemory, ofThisOrigin, Store, type Held, type SignedInUser, type TokenStorage } from "./store.js";

/** Who is signed in. The same object until something in it changes. */
export interface SignedIn {
  session_id: string;
  /** Absent as long as Vestibule could not be asked. */
  user?: SignedInUser;
  /** What the roles grant. Empty as long as Vestibule could not be asked. */
  permissions: readonly string[];
}

/** Why nobody is signed in any more: by `logOut`, by the server's word, or in another tab. */
export type Why = "logged_out" | "session_ended" | "elsewhere";

/** What an application is told. */
export interface Listeners {
  /** Somebody signed in or out, or has another name, other roles or permissions than before; here, or in another tab. */
  onChange?: (signedIn: SignedIn | undefined) => void;
  /** Nobody is signed in any more. */
  onSignedOut?: (why: Why) => void;
}

/** How the refresh token travels, and where it is kept if scripts may have it. */
export type Transport = { transport?: "body"; storage?: TokenStorage } | { transport: "cookie"; storage?: never };

/** What tabs tell each other: the session there is now and what is known about it, or the session that is no more. */
interface Message {
  session?: string;
  known?: Held["known"];
  ended?: string | undefined;
}

/** Milliseconds after which an answer counts as lost that every tab waits for: a dead connection must not hold them up. */
const PATIENCE = 20_000;
/** Milliseconds until an access token is renewed early again after that has failed. */
const PAUSE = 10_000;
/** Milliseconds for which a service that has refused a new access token causes no further refresh. */
const HOPELESS = 60_000;

export class Session {
  readonly #baseUrl: string;
  readonly #name: string;
  readonly #cookie: boolean;
  readonly #store: Store;
  /** With a cookie, which no script can see: the session that this browser had last, for all tabs. */
  readonly #hint: TokenStorage;
  readonly #plain: Operations;
  readonly #listeners = new Set<(signedIn: SignedIn | undefined, why: Why) => void>();
  #channel: BroadcastChannel | undefined;
  /** The refresh under way, and the access token that it replaces. */
  #renewing: { used: string | undefined; done: Promise<Response | undefined> } | undefined;
  /** No early renewal before this, in milliseconds of `performance.now()`. */
  #paused = 0;
  /** By origin: until when no refresh helps, since the service has refused a new token too (`performance.now()`). */
  readonly #hopeless = new Map<string, number>();
  /** What the application was told last. */
  #signedIn: SignedIn | undefined;

  constructor(baseUrl: string, { transport = "body", storage }: Transport, { onChange, onSignedOut }: Listeners) {
    this.#baseUrl = baseUrl;
    this.#cookie = transport === "cookie";
    // Tabs that share neither storage nor cookie share no session: none waits for another.
    const whose = storage || this.#cookie ? "" : `:${Math.random()}`;
    this.#name = `vestibule:${transport}:${baseUrl}${whose}`;
    this.#store = new Store(storage ?? inMemory(), this.#name);
    this.#hint = this.#cookie ? ofThisOrigin() : inMemory();
    const client = createClient(createConfig({ baseUrl, credentials: this.credentials, fetch: (request) => fetch(request) }));
    client.interceptors.error.use(onlyProblems);
    this.#plain = new Operations({ client });
    this.#signedIn = seen(this.#store.read());
    if (onChange) this.#listeners.add(onChange);
    if (onSignedOut) this.#listeners.add((signedIn, why) => signedIn ?? onSignedOut(why));
    if ((storage || this.#cookie) && globalThis.BroadcastChannel) {
      this.#channel = new BroadcastChannel(this.#name);
      this.#channel.onmessage = ({ data }) => this.#hear(data);
      (this.#channel as { unref?(): void }).unref?.(); // Node would wait for messages for ever
      globalThis.addEventListener?.("storage", this.#look);
    }
  }

  /** The cookie has to be sent, set and cleared, also from a page of another origin. */
  get credentials(): RequestCredentials {
    return this.#cookie ? "include" : "omit";
  }

  get signedIn(): SignedIn | undefined {
    return this.#signedIn;
  }

  /** Whether the cookie may be there although no answer has shown it yet. */
  get #unasked(): boolean {
    return this.#cookie && !this.#store.read() && this.#hint.getItem(this.#name) !== null;
  }

  subscribe(listener: (signedIn: SignedIn | undefined) => void): () => void {
    const own = (signedIn: SignedIn | undefined) => listener(signedIn);
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  close() {
    this.#listeners.clear();
    this.#channel?.close();
    this.#channel = undefined;
    globalThis.removeEventListener?.("storage", this.#look);
  }

  /** Finds out who is signed in after a page was loaded. */
  async resume(ask: boolean): Promise<{ error?: RefreshSessionError }> {
    const held = this.#store.read();
    if (ask && !held && this.#cookie) this.#hint.setItem(this.#name, "");
    if (this.#unasked) {
      const refused = await this.#renew(undefined);
      if (refused) return { error: await refused.clone().json() };
    } else if (held && !held.known) {
      await this.learn();
    }
    return {};
  }

  /** Alone, so that no refresh of the session before sets its cookie or its tokens over these. */
  logIn(credentials: Omit<Credentials, "transport">): Promise<{ error?: LogInError }> {
    return exclusively(this.#name, async () => {
      const body: Credentials = { ...credentials, transport: this.#cookie ? "cookie" : "body" };
      const { data, error } = await this.#plain.logIn({ body, signal: AbortSignal.timeout(PATIENCE) });
      if (error) return { error };
      await this.#take(this.#cookie ? await this.#tryCookie(data) : data);
      return {};
    });
  }

  /** Logs out by refresh token or cookie, which needs no access token that is still good. */
  logOut(): Promise<{ error?: LogOutError }> {
    return exclusively(this.#name, async () => {
      const refresh_token = this.#store.read()?.refresh_token;
      if (!this.#cookie && refresh_token === undefined) return {};
      const body = refresh_token === undefined ? undefined : { refresh_token };
      const { error } = await this.#plain.logOut({ body, signal: AbortSignal.timeout(PATIENCE) });
      if (error) return { error };
      this.#keep(undefined, "logged_out");
      return {};
    });
  }

  /** Asks Vestibule again who is signed in and what they may do. */
  learn(): Promise<void> {
    return exclusively(this.#name, () => this.#learn());
  }

  /**
   * The access token for a call. It is renewed shortly before it expires, by this machine's clock alone: how long it lives
   * is known from `expires_in`. If that fails, the call goes out with the token there is, and its answer decides.
   */
  async accessToken(): Promise<string | undefined> {
    const before = this.#store.read();
    const isDue = before ? Date.now() >= before.renew_at : this.#unasked;
    if (isDue && performance.now() >= this.#paused) {
      const failed = await this.#renew(before?.access_token).catch(() => true);
      if (failed) this.#paused = performance.now() + PAUSE;
    }
    const now = this.#store.read();
    return !before || before.session_id === now?.session_id ? now?.access_token : undefined;
  }

  /**
   * Like `fetch`. If the answer is a 401 that a refresh helps against, it comes from a second try with a fresh token; if
   * the refresh fails on the server, it is the refresh's; if the network fails, this rejects and nobody is signed out.
   */
  async fetch(request: Request, isVestibules: boolean): Promise<Response> {
    const again = request.clone();
    const session = this.#store.read()?.session_id;
    const used = request.headers.get("authorization")?.replace(/^Bearer /, "");
    const { origin } = new URL(request.url);
    let answer = await fetch(request);
    const helps = used
      ? performance.now() >= (this.#hopeless.get(origin) ?? 0) && (await asksForAnotherToken(answer, isVestibules))
      : answer.status === 401 && this.#unasked;
    if (helps) {
      const refused = await this.#renew(used);
      if (refused) return refused.clone(); // others may be given it too
      const held = this.#store.read();
      // Nobody's, or another's by now: what one person began is not done as another.
      if (!held || held.session_id !== (session ?? held.session_id)) return answer;
      authorize(again, held.access_token);
      answer = await fetch(again);
      if (answer.status === 401 && !isVestibules) this.#hopeless.set(origin, performance.now() + HOPELESS);
    }
    if (session && (await codeOf(answer)) === "session_ended") {
      await (isVestibules ? this.#end(session) : this.learn()); // only Vestibule itself can say that a session has ended
    }
    return answer;
  }

  /** Forgets this session; somebody may have signed in to another meanwhile. */
  #end(session_id: string) {
    return exclusively(this.#name, async () => {
      if (this.#store.read()?.session_id === session_id) this.#keep(undefined, "session_ended");
    });
  }

  /** Sees to it that another access token is held than the one that was used. Returns a refusal that may pass. */
  #renew(used: string | undefined): Promise<Response | undefined> {
    if (this.#renewing && this.#renewing.used === used) return this.#renewing.done;
    const done = exclusively(this.#name, () => this.#exchange(used)).finally(() => {
      if (this.#renewing?.done === done) this.#renewing = undefined;
    });
    this.#renewing = { used, done };
    return done;
  }

  async #exchange(used: string | undefined): Promise<Response | undefined> {
    const held = this.#store.read();
    if (held?.access_token !== used) return undefined; // another call was first, or another tab
    const body = held?.refresh_token === undefined ? undefined : { refresh_token: held.refresh_token };
    const { data, error, response } = await this.#plain.refreshSession({ body, signal: AbortSignal.timeout(PATIENCE) });
    if (data) return this.#take(data);
    if (error.status !== 401) return new Response(JSON.stringify(error), response);
    this.#keep(undefined, "session_ended");
    return undefined;
  }

  /** Refreshes with the cookie of this log-in, which alone shows that the browser has kept it. */
  async #tryCookie(tokens: Tokens): Promise<Tokens> {
    const tried = await this.#plain.refreshSession({ signal: AbortSignal.timeout(PATIENCE) }).catch(() => undefined);
    const isKept = tried?.error ? tried.error.status !== 401 : (tried?.data.session_id ?? tokens.session_id) === tokens.session_id;
    if (isKept) return tried?.data ?? tokens;
    const headers = { authorization: `Bearer ${tokens.access_token}` };
    await this.#plain.endMySession({ path: { id: "current" }, headers, signal: AbortSignal.timeout(PATIENCE) }).catch(() => {});
    throw new CookieNotKept(this.#baseUrl);
  }

  /** Keeps what was handed out, before anything else can fail; then asks who that is. Nobody is told before the answer. */
  async #take({ access_token, refresh_token, session_id, expires_in }: Tokens): Promise<undefined> {
    const before = this.#store.read();
    const known = before?.session_id === session_id ? before.known : undefined;
    const life = expires_in * 1000;
    const renew_at = Date.now() + life - Math.min(life / 10, 60_000);
    this.#store.write({ access_token, session_id, renew_at, ...(refresh_token && { refresh_token }), ...(known && { known }) });
    await this.#learn();
  }

  /** Asks who is signed in and what the roles grant. Without an answer, what was known before stays. */
  async #learn() {
    const held = this.#store.read();
    if (!held) return;
    const options = { headers: { authorization: `Bearer ${held.access_token}` }, signal: AbortSignal.timeout(PATIENCE) };
    const [token, me] = await Promise.all([
      this.#plain.readToken(options).catch(() => undefined),
      this.#plain.readMe(options).catch(() => undefined),
    ]);
    if (token?.error?.code === "session_ended") return this.#keep(undefined, "session_ended");
    if (!token?.data || !me?.data) return this.#keep(held);
    const { id, name, username, email } = me.data;
    const { roles, permissions } = token.data;
    this.#keep({ ...held, known: { user: { id, name: name ?? username ?? email, roles }, permissions } });
  }

  #keep(held: Held | undefined, why?: Why) {
    const before = this.#store.read()?.session_id;
    this.#store.write(held);
    const hinted = this.#hint.getItem(this.#name);
    if (this.#cookie && held) this.#hint.setItem(this.#name, held.session_id);
    else if (this.#cookie && (before === undefined || hinted === before)) this.#hint.removeItem(this.#name);
    const message: Message = held ? { session: held.session_id, known: held.known } : { ended: before };
    this.#channel?.postMessage(message);
    this.#tell(why);
  }

  /** With a cookie, tabs share no storage but a session: the access token of another one, or of one that ended, is no use. */
  #hear({ session, known, ended }: Message) {
    const ours = this.#store.read();
    if (this.#cookie && session !== undefined && session !== ours?.session_id) {
      this.#store.write(undefined);
      this.#hint.setItem(this.#name, session);
      return void this.resume(false).catch(() => {}).then(() => this.#tell());
    }
    if (this.#cookie && ours && known) this.#store.write({ ...ours, known });
    if (this.#cookie && ours && ended === ours.session_id) this.#store.write(undefined);
    this.#tell();
  }

  /** Another tab, or the user, has written to the storage. A tab that has just logged in writes again when it knows more. */
  readonly #look = () => {
    const held = this.#store.read();
    if (!held || held.known) this.#tell();
  };

  /** Tells the application, if there is something new. Apart from what goes on here, which no listener shall break. */
  #tell(why: Why = "elsewhere") {
    const now = seen(this.#store.read());
    if (JSON.stringify(this.#signedIn) === JSON.stringify(now)) return;
    this.#signedIn = now;
    for (const listener of this.#listeners) {
      queueMicrotask(() => this.#listeners.has(listener) && listener(now, why));
    }
  }
}

/** What the application sees of what is held. */
function seen(held: Held | undefined): SignedIn | undefined {
  return held && { session_id: held.session_id, permissions: [], ...held.known };
}
