// Who is signed in here: holds the tokens, exchanges them when the server asks for it, and notices what other tabs do.

import { createClient, createConfig } from "./generated/client/index.js";
import { Operations } from "./generated/sdk.gen.js";
import type { Credentials, LogInError, RefreshSessionError, Tokens } from "./generated/types.gen.js";
import { exclusively } from "./lock.js";
import { onlyProblems } from "./problem.js";
import { inMemory, Store, type Held, type TokenStorage } from "./store.js";

/** Who is signed in. */
export interface SignedIn {
  session_id: string;
  /** What the roles grant. Empty until it is known. */
  permissions: readonly string[];
}

/** Why nobody is signed in any more: by `logOut`, by the server's word, or in another tab. */
export type Why = "logged_out" | "session_ended" | "elsewhere";

/** What an application is told. */
export interface Listeners {
  /** Somebody signed in or out, or may do other things than before; here, or in another tab. */
  onChange?: (signedIn: SignedIn | undefined) => void;
  /** Nobody is signed in any more. */
  onSignedOut?: (why: Why) => void;
}

/** How the refresh token travels, and where it is kept if scripts may have it. */
export type Transport = { transport?: "body"; storage?: TokenStorage } | { transport: "cookie"; storage?: never };

/** What tabs tell each other: the session there is now, or the one that is no more. */
interface Message {
  session?: string;
  ended?: string | undefined;
}

/** With these the server says that a refresh helps. */
const RENEWABLE = new Set(["expired_token", "stale_token", "invalid_token"]);

/** Milliseconds after which an answer counts as lost that every tab waits for: a dead connection shall not hold them up. */
const PATIENCE = 20_000;

export class Session {
  readonly #baseUrl: string;
  readonly #name: string;
  readonly #cookie: boolean;
  readonly #store: Store;
  readonly #plain: Operations;
  readonly #channel: BroadcastChannel | undefined;
  readonly #listeners: Listeners;
  /** The refresh under way, and the access token that it replaces. */
  #renewing: { used: string | undefined; done: Promise<Response | undefined> } | undefined;
  /** What the application was told last. */
  #told: SignedIn | undefined;
  /** Whether the cookie may be there although no answer has shown it yet. */
  #unasked: boolean;

  constructor(baseUrl: string, { transport = "body", storage }: Transport, listeners: Listeners) {
    this.#baseUrl = baseUrl;
    this.#cookie = this.#unasked = transport === "cookie";
    // Tabs that share neither storage nor cookie share no session: none waits for another.
    const whose = storage || this.#cookie ? "" : `:${Math.random()}`;
    this.#name = `vestibule:${transport}:${baseUrl}${whose}`;
    this.#store = new Store(storage ?? inMemory(), this.#name);
    this.#listeners = listeners;
    const client = createClient(createConfig({ baseUrl, credentials: this.credentials, fetch: (request) => fetch(request) }));
    client.interceptors.error.use(onlyProblems);
    this.#plain = new Operations({ client });
    this.#told = this.signedIn;
    if ((storage || this.#cookie) && globalThis.BroadcastChannel) {
      this.#channel = new BroadcastChannel(this.#name);
      this.#channel.onmessage = ({ data }) => this.#hear(data);
      (this.#channel as { unref?(): void }).unref?.(); // Node would wait for messages for ever
      globalThis.addEventListener?.("storage", () => this.#tell("elsewhere"));
    }
  }

  /** The cookie has to be sent, set and cleared, also from a page of another origin. */
  get credentials(): RequestCredentials {
    return this.#cookie ? "include" : "omit";
  }

  get accessToken(): string | undefined {
    return this.#store.read()?.access_token;
  }

  get signedIn(): SignedIn | undefined {
    const held = this.#store.read();
    return held && { session_id: held.session_id, permissions: held.permissions ?? [] };
  }

  /** Finds out who is signed in after a page was loaded. */
  async resume(): Promise<{ error?: RefreshSessionError }> {
    const held = this.#store.read();
    if (!held && this.#unasked) {
      const refused = await this.#renew(undefined);
      if (refused) return { error: await refused.clone().json() };
    } else if (held && !held.permissions) {
      await exclusively(this.#name, () => this.#learn());
    }
    return {};
  }

  /** Alone, so that no refresh of the session before sets its cookie or its tokens over these. */
  logIn(credentials: Omit<Credentials, "transport">): Promise<{ error?: LogInError }> {
    return exclusively(this.#name, async () => {
      const body: Credentials = { ...credentials, transport: this.#cookie ? "cookie" : "body" };
      const { data, error } = await this.#plain.logIn({ body, signal: AbortSignal.timeout(PATIENCE) });
      if (error) return { error };
      await this.#take(data);
      return {};
    });
  }

  /** Forgets this session; somebody may have signed in to another meanwhile. */
  async end(session_id: string, why: Why) {
    await exclusively(this.#name, async () => {
      if (this.#store.read()?.session_id === session_id) this.#keep(undefined, why);
    });
  }

  /**
   * Like `fetch`. If the answer is a 401 that a refresh helps against, it comes from a second try with a fresh token; if
   * the refresh fails on the server, it is the refresh's; if the network fails, this rejects and nobody is signed out.
   */
  async fetch(request: Request): Promise<Response> {
    const again = request.clone();
    const session = this.#store.read()?.session_id;
    const used = request.headers.get("authorization")?.replace(/^Bearer /, "");
    let answer = await fetch(request);
    let code = await codeOf(answer);
    if (code && (used ? RENEWABLE.has(code) : code === "missing_token" && this.#unasked)) {
      const refused = await this.#renew(used);
      if (refused) return refused.clone(); // others may be given it too
      const held = this.#store.read();
      // Nobody's, or another's by now: what one person began is not done as another.
      if (!held || held.session_id !== (session ?? held.session_id)) return answer;
      authorize(again, held.access_token);
      answer = await fetch(again);
      code = await codeOf(answer);
    }
    // That is for Vestibule to say, and for no other service that is sent the token.
    if (session && code === "session_ended" && request.url.startsWith(`${this.#baseUrl}/`)) await this.end(session, code);
    return answer;
  }

  /** Sees to it that another access token is held than the one that was used. Gives a refusal that may pass. */
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
    this.#unasked = false;
    this.#keep(undefined, "session_ended");
    return undefined;
  }

  /** Keeps what was handed out, before anything else can fail; then asks what it allows. */
  async #take({ access_token, refresh_token, session_id }: Tokens): Promise<undefined> {
    const before = this.#store.read();
    const permissions = before?.session_id === session_id ? before.permissions : undefined;
    this.#unasked = false;
    this.#keep({ access_token, session_id, ...(refresh_token && { refresh_token }), ...(permissions && { permissions }) });
    await this.#learn();
  }

  /** Asks what the roles grant. Without an answer, what was known before stays. */
  async #learn() {
    const held = this.#store.read();
    if (!held) return;
    const headers = { authorization: `Bearer ${held.access_token}` };
    const asked = await this.#plain.readToken({ headers, signal: AbortSignal.timeout(PATIENCE) }).catch(() => undefined);
    if (asked?.data) this.#keep({ ...held, permissions: asked.data.permissions });
  }

  #keep(held: Held | undefined, why?: Why) {
    const message: Message = held ? { session: held.session_id } : { ended: this.#store.read()?.session_id };
    this.#store.write(held);
    this.#channel?.postMessage(message);
    this.#tell(why);
  }

  /** With a cookie, tabs share no storage but a session: the access token of another one, or of one that ended, is no use. */
  #hear({ session, ended }: Message) {
    const ours = this.#store.read()?.session_id;
    if (this.#cookie && session !== undefined && session !== ours) {
      this.#store.write(undefined);
      this.#unasked = true;
      return void this.resume().catch(() => {}).then(() => this.#tell("elsewhere"));
    }
    if (this.#cookie && ended !== undefined && ended === ours) this.#store.write(undefined);
    this.#tell("elsewhere");
  }

  /** Tells the application, if there is something new. Apart from what goes on here, which no listener shall break. */
  #tell(why: Why = "elsewhere") {
    const [before, now] = [this.#told, this.signedIn];
    if (JSON.stringify(before) === JSON.stringify(now)) return;
    this.#told = now;
    const { onChange, onSignedOut } = this.#listeners;
    if (onChange) queueMicrotask(() => onChange(now));
    if (onSignedOut && before && !now) queueMicrotask(() => onSignedOut(why));
  }
}

export function authorize(request: Request, token: string) {
  request.headers.set("authorization", `Bearer ${token}`);
}

/** The `code` of a 401. */
async function codeOf(answer: Response): Promise<string | undefined> {
  if (answer.status !== 401) return undefined;
  const problem: { code?: string } | undefined = await answer.clone().json().catch(() => undefined);
  return problem?.code;
}
