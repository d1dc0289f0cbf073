// The session of this client: stores the tokens, renews them in time or after a refusal, and follows other tabs.

import { shouldRefresh, authorize, codeOf, requiredProof, type RequiredProof } from "./response.js";
import type { Operations } from "./generated/operations.gen.js";
import type {
  AuthenticateAgainError,
  AuthenticationFactor,
  CompleteLogInError,
  Credentials,
  LogInByPasskeyError,
  LogInCompletion,
  LogInError,
  LogOutError,
  PasskeyLogIn,
  RefreshSessionError,
  Tokens,
} from "./generated/types.gen.js";
import { exclusively } from "./lock.js";
import { operations, type Result } from "./operation.js";
import { CookieNotKept } from "./problem.js";
import { inMemory, ofThisOrigin, Store, type Held, type SignedInUser, type TokenStorage } from "./store.js";

/** The user who is logged in. The same object until something in it changes. */
export interface SignedIn {
  session_id: string;
  /** Absent while Vestibule cannot be reached. */
  user?: SignedInUser;
  /** The permissions that the roles grant. Empty while Vestibule cannot be reached. */
  permissions: readonly string[];
}

/** Why the user is logged out: by `logOut`, because the server ended the session, or by `logOut` in another tab. */
export type Why = "logged_out" | "session_ended" | "elsewhere";

/** The functions that a client calls. */
export interface Listeners {
  /** Called after a log-in, a log-out, or a change of the name, the roles or the permissions, in any tab. */
  onChange?: (signedIn: SignedIn | undefined) => void;
  /** Called after a log-out. */
  onSignedOut?: (why: Why) => void;
  /**
   * Called when a call requires a fresh proof that the user is present; several calls ask once. Return what the user presents; if
   * it is not accepted, this is called again with the `error`, four times at most. A form that calls `authenticateAgain` itself
   * returns nothing. After a proof the call is repeated; without one it returns 401 `insufficient_user_authentication`.
   */
  onFreshProof?: (required: RequiredProof, error?: AuthenticateAgainError) => Promise<AuthenticationFactor | undefined>;
}

/** How the refresh token is sent, and where it is stored if scripts may read it. */
export type Transport = { transport?: "body"; storage?: TokenStorage } | { transport: "cookie"; storage?: never };

/** The outcome of a call that may log in or out. `response` belongs to `error`: its headers have `Retry-After`. */
export type Outcome<Problem> = { error?: undefined; response?: undefined } | { error: Problem; response: Response };

/** A message between tabs: the current session and what is known about it, or the session that has ended and why. */
interface Message {
  session?: string;
  known?: Held["known"];
  ended?: string | undefined;
  why?: Why | undefined;
}

/** The fragment with which the account pages send a user back after a log-in. */
const SIGNED_IN = "#signed_in";

/** The time limit of calls that all tabs wait for, in milliseconds: a dead connection must not block them. */
const CALL_TIMEOUT = 20_000;
/** The pause between early renewals after one has failed, in milliseconds. */
const EARLY_RENEWAL_PAUSE = 10_000;
/** The time for which a service that refused a new access token causes no further refresh, in milliseconds. */
const SERVICE_PAUSE = 60_000;
/** How often a user may present something for one proof. */
const ATTEMPTS = 5;

export class Session {
  readonly #baseUrl: string;
  readonly #name: string;
  readonly #cookie: boolean;
  readonly #store: Store;
  /** Scripts cannot see the cookie. This entry remembers the browser's last session, for all tabs. */
  readonly #hint: TokenStorage;
  readonly #plain: Operations;
  /** The operations with the access token. */
  readonly #authorized: Operations;
  readonly #onFreshProof: Listeners["onFreshProof"];
  /** The proof for which the user is being asked. */
  #asking: Promise<void> | undefined;
  readonly #listeners = new Set<(signedIn: SignedIn | undefined, why: Why) => void>();
  #channel: BroadcastChannel | undefined;
  /** The refresh in progress, and the access token that it replaces. */
  #renewing: { used: string | undefined; done: Promise<Response | undefined> } | undefined;
  /** The end of the pause in early renewals, as `performance.now()`. */
  #pausedUntil = 0;
  /** By origin of a service that refused a new token: until when it causes no further refresh, as `performance.now()`. */
  readonly #serviceTimeouts = new Map<string, number>();
  /** The value with which the listeners were called last. */
  #signedIn: SignedIn | undefined;

  constructor(
    baseUrl: string,
    { transport = "body", storage }: Transport,
    { onChange, onSignedOut, onFreshProof }: Listeners,
  ) {
    this.#baseUrl = baseUrl;
    this.#cookie = transport === "cookie";
    // Tabs that share neither storage nor a cookie have separate sessions and need no common lock.
    const suffix = storage || this.#cookie ? "" : `:${Math.random()}`;
    this.#name = `vestibule:${transport}:${baseUrl}${suffix}`;
    this.#store = new Store(storage ?? inMemory(), this.#name);
    this.#hint = this.#cookie ? ofThisOrigin() : inMemory();
    this.#plain = operations({ baseUrl, credentials: this.credentials, send: (request) => fetch(request) });
    this.#authorized = operations({
      baseUrl,
      credentials: this.credentials,
      accessToken: () => this.accessToken(),
      send: (request) => this.fetch(request, true),
    });
    this.#onFreshProof = onFreshProof;
    this.#signedIn = signedInOf(this.#store.read());
    if (onChange) this.#listeners.add(onChange);
    if (onSignedOut) this.#listeners.add((signedIn, why) => signedIn ?? onSignedOut(why));
    if ((storage || this.#cookie) && globalThis.BroadcastChannel) {
      this.#channel = new BroadcastChannel(this.#name);
      this.#channel.onmessage = ({ data }) => this.#receive(data);
      (this.#channel as { unref?(): void }).unref?.(); // otherwise Node would not exit
      globalThis.addEventListener?.("storage", this.#onStorage);
    }
  }

  /** With a cookie, pages of another origin must send credentials too. */
  get credentials(): RequestCredentials {
    return this.#cookie ? "include" : "omit";
  }

  get signedIn(): SignedIn | undefined {
    return this.#signedIn;
  }

  /** Whether there may be a cookie that this page has not used yet. */
  get #mayHaveCookie(): boolean {
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
    globalThis.removeEventListener?.("storage", this.#onStorage);
  }

  /** Finds out who is logged in after a page was loaded. */
  async resume(ask: boolean): Promise<Outcome<RefreshSessionError>> {
    const held = this.#store.read();
    const begin = this.#cookie && (removeSignedIn() || ask);
    if (begin && !held) this.#hint.setItem(this.#name, "");
    if (this.#mayHaveCookie) {
      const response = await this.#renew(undefined);
      if (response) return { error: await response.clone().json(), response };
    } else if (held && !held.known) {
      await this.learn();
    }
    return {};
  }

  logIn(body: Omit<Credentials, "transport">): Promise<Outcome<LogInError>> {
    return this.#begin((more, signal) => this.#plain.logIn({ body: { ...body, ...more }, signal }));
  }

  completeLogIn(body: Omit<LogInCompletion, "transport">): Promise<Outcome<CompleteLogInError>> {
    return this.#begin((more, signal) => this.#plain.completeLogIn({ body: { ...body, ...more }, signal }));
  }

  logInByPasskey(body: Omit<PasskeyLogIn, "transport">): Promise<Outcome<LogInByPasskeyError>> {
    return this.#begin((more, signal) => this.#plain.logInByPasskey({ body: { ...body, ...more }, signal }));
  }

  /** Begins a session. Holds the lock, so that no refresh of the previous session overwrites the new cookie or tokens. */
  #begin<Problem>(
    call: (more: { transport: "cookie" | "body" }, signal: AbortSignal) => Promise<Result<Tokens, Problem>>,
  ): Promise<Outcome<Problem>> {
    return exclusively(this.#name, async () => {
      const transport = this.#cookie ? "cookie" : "body";
      const { data, error, response } = await call({ transport }, AbortSignal.timeout(CALL_TIMEOUT));
      if (!data) return { error, response };
      await this.#take(this.#cookie ? await this.#tryCookie(data) : data);
      return {};
    });
  }

  /** Logs out with the refresh token or the cookie, so that an expired access token suffices. */
  logOut(): Promise<Outcome<LogOutError>> {
    return exclusively(this.#name, async () => {
      const refresh_token = this.#store.read()?.refresh_token;
      if (!this.#cookie && refresh_token === undefined) return {};
      const body = refresh_token === undefined ? undefined : { refresh_token };
      const { error, response } = await this.#plain.logOut({ body, signal: AbortSignal.timeout(CALL_TIMEOUT) });
      if (error) return { error, response };
      this.#keep(undefined, "logged_out");
      return {};
    });
  }

  /** Reads the account and its permissions again. */
  learn(): Promise<void> {
    return exclusively(this.#name, () => this.#learn());
  }

  /** Takes the access token that a response has for this session, if it has one, and reads the account again. */
  async accept(response: Response): Promise<void> {
    const body = await response.clone().json().catch(() => undefined);
    await this.#accept(body?.tokens ?? body);
  }

  #accept(tokens: Partial<Tokens> | undefined): Promise<void> {
    return exclusively(this.#name, () => {
      const isOurs = tokens?.access_token && tokens.session_id === this.#store.read()?.session_id;
      return isOurs ? this.#take(tokens as Tokens) : this.#learn();
    });
  }

  /**
   * Returns the access token for a call. Renews it shortly before it expires; `expires_in` and this machine's clock determine
   * when. If the renewal fails, returns the present token, and the response to the call decides.
   */
  async accessToken(): Promise<string | undefined> {
    const before = this.#store.read();
    const isDue = before ? Date.now() >= before.renew_at : this.#mayHaveCookie;
    if (isDue && performance.now() >= this.#pausedUntil) {
      const failed = await this.#renew(before?.access_token).catch(() => true);
      if (failed) this.#pausedUntil = performance.now() + EARLY_RENEWAL_PAUSE;
    }
    const now = this.#store.read();
    return !before || before.session_id === now?.session_id ? now?.access_token : undefined;
  }

  /**
   * Sends a request like `fetch`. If the response is a 401 that a refresh can help against, refreshes and returns the response
   * to a second attempt, or that to the refresh if the server rejects it. Asks the user for a proof that Vestibule requires.
   * Rejects if the network fails; the session continues.
   */
  async fetch(request: Request, isFromVestibule: boolean): Promise<Response> {
    const again = request.clone();
    const session = this.#store.read()?.session_id;
    let used = request.headers.get("authorization")?.replace(/^Bearer /, "");
    const { origin } = new URL(request.url);
    let response = await fetch(request);
    const helps = used
      ? performance.now() >= (this.#serviceTimeouts.get(origin) ?? 0) && (await shouldRefresh(response, isFromVestibule))
      : response.status === 401 && this.#mayHaveCookie;
    if (helps) {
      const refused = await this.#renew(used);
      if (refused) return refused.clone(); // other calls that wait may receive it too
      const held = this.#store.read();
      // Another user may have logged in meanwhile. Do not repeat one user's request with another user's token.
      if (!held || held.session_id !== (session ?? held.session_id)) return response;
      used = held.access_token;
      authorize(again, used);
      response = await fetch(again.clone());
      if (response.status === 401 && !isFromVestibule) this.#serviceTimeouts.set(origin, performance.now() + SERVICE_PAUSE);
    }
    if (session && isFromVestibule) response = await this.#prove(response, again, used, session);
    if (session && (await codeOf(response)) === "session_ended") {
      await (isFromVestibule ? this.#end(session) : this.learn()); // only Vestibule can end a session
    }
    return response;
  }

  /** Repeats a call that requires a fresh proof, if the user gives it. Returns the response to the last attempt. */
  async #prove(response: Response, again: Request, used: string | undefined, session: string): Promise<Response> {
    for (let asked = false; ; ) {
      const required = this.#onFreshProof && (await requiredProof(response));
      if (!required) return response;
      // If this session has another token by now, that may be the proof: the user gave it for another call.
      if (this.#store.read()?.access_token === used) {
        if (asked) return response;
        asked = true;
        await (this.#asking ??= this.#ask(required).finally(() => (this.#asking = undefined)));
      }
      const held = this.#store.read();
      if (held?.session_id !== session || held.access_token === used) return response;
      used = held.access_token;
      authorize(again, used);
      response = await fetch(again.clone());
    }
  }

  /** Asks the user for a proof until one is accepted or the user gives up. */
  async #ask(required: RequiredProof): Promise<void> {
    let error: AuthenticateAgainError | undefined;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const factor = await this.#onFreshProof?.(required, error);
      if (!factor) return;
      const outcome = await this.#authorized.authenticateAgain({ body: { factor }, signal: AbortSignal.timeout(CALL_TIMEOUT) });
      if (outcome.data) return this.#accept(outcome.data);
      error = outcome.error;
    }
  }

  /** Deletes this session's tokens, unless another session has replaced it meanwhile. */
  #end(session_id: string) {
    return exclusively(this.#name, async () => {
      if (this.#store.read()?.session_id === session_id) this.#keep(undefined, "session_ended");
    });
  }

  /** Replaces the access token that was used. Returns the response if the server cannot refresh now (429, 503). */
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
    if (held?.access_token !== used) return undefined; // another call or tab has refreshed already
    const body = held?.refresh_token === undefined ? undefined : { refresh_token: held.refresh_token };
    const { data, error, response } = await this.#plain.refreshSession({ body, signal: AbortSignal.timeout(CALL_TIMEOUT) });
    if (data) return this.#take(data);
    if (error.status !== 401) return new Response(JSON.stringify(error), response);
    this.#keep(undefined, "session_ended");
    return undefined;
  }

  /** Refreshes with the cookie of this log-in. Only this shows whether the browser has kept the cookie. */
  async #tryCookie(tokens: Tokens): Promise<Tokens> {
    const tried = await this.#plain.refreshSession({ signal: AbortSignal.timeout(CALL_TIMEOUT) }).catch(() => undefined);
    const session = tried?.data?.session_id ?? tokens.session_id;
    const isKept = tried?.error ? tried.error.status !== 401 : session === tokens.session_id;
    if (isKept) return tried?.data ?? tokens;
    const headers = { authorization: `Bearer ${tokens.access_token}` };
    const signal = AbortSignal.timeout(CALL_TIMEOUT);
    await this.#plain.endMySession({ path: { id: "current" }, headers, signal }).catch(() => {});
    throw new CookieNotKept(this.#baseUrl);
  }

  /** Stores the tokens first, then reads the account. Listeners are called once both are known. */
  async #take({ access_token, refresh_token, session_id, expires_in }: Tokens): Promise<undefined> {
    const before = this.#store.read();
    // A proof of presence brings no refresh token: the one of the session stays.
    const same = before?.session_id === session_id ? before : undefined;
    const life = expires_in * 1000;
    const renew_at = Date.now() + life - Math.min(life / 10, 60_000);
    this.#store.write({ ...same, access_token, session_id, renew_at, ...(refresh_token && { refresh_token }) });
    await this.#learn();
  }

  /** Reads the account and its permissions. If that fails, keeps what was known. */
  async #learn() {
    const held = this.#store.read();
    if (!held) return;
    const options = { headers: { authorization: `Bearer ${held.access_token}` }, signal: AbortSignal.timeout(CALL_TIMEOUT) };
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
    const message: Message = held ? { session: held.session_id, known: held.known } : { ended: before, why };
    this.#channel?.postMessage(message);
    this.#notify(why);
  }

  /** Handles a message of another tab. With a cookie, tabs share the session but not the access token. */
  #receive({ session, known, ended, why }: Message) {
    const ours = this.#store.read();
    if (this.#cookie && session !== undefined && session !== ours?.session_id) {
      this.#store.write(undefined);
      this.#hint.setItem(this.#name, session);
      return void this.resume(false).catch(() => {}).then(() => this.#notify());
    }
    if (this.#cookie && ours && known) this.#store.write({ ...ours, known });
    if (this.#cookie && ours && ended === ours.session_id) this.#store.write(undefined);
    this.#notify(why === "session_ended" ? why : "elsewhere");
  }

  /** Another tab or the user has changed the storage. A tab that has just logged in writes again once it knows the account. */
  readonly #onStorage = () => {
    const held = this.#store.read();
    if (!held || held.known) this.#notify();
  };

  /** Calls the listeners if something has changed. In microtasks, so that a listener that throws breaks nothing here. */
  #notify(why: Why = "elsewhere") {
    const now = signedInOf(this.#store.read());
    if (JSON.stringify(this.#signedIn) === JSON.stringify(now)) return;
    this.#signedIn = now;
    for (const listener of this.#listeners) {
      queueMicrotask(() => this.#listeners.has(listener) && listener(now, why));
    }
  }
}

/**
 * Whether the account pages have sent the user back to this page. Removes the fragment from the address, so that a reload or a
 * bookmark causes no further call.
 */
function removeSignedIn(): boolean {
  if (globalThis.location?.hash !== SIGNED_IN) return false;
  history.replaceState(history.state, "", location.href.slice(0, -SIGNED_IN.length));
  return true;
}

/** Returns the part of the stored session that applications see. */
function signedInOf(held: Held | undefined): SignedIn | undefined {
  return held && { session_id: held.session_id, permissions: [], ...held.known };
}
