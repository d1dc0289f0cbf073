// @vestibule/client: sign in, stay signed in, and call every operation with types.

import { authorize } from "./answer.js";
import { createClient, createConfig } from "./generated/client/index.js";
import type { OwnPermission } from "./generated/permissions.gen.js";
import { Operations } from "./generated/sdk.gen.js";
import type { Credentials, LogInError, LogOutError, RefreshSessionError, Registration } from "./generated/types.gen.js";
import { onlyProblems } from "./problem.js";
import { Session, type Listeners, type SignedIn, type Transport } from "./session.js";

export type * from "./generated/types.gen.js";
export type { Operations } from "./generated/sdk.gen.js";
export type { OwnPermission } from "./generated/permissions.gen.js";
export { CookieNotKept, UnexpectedAnswer } from "./problem.js";
export type { Listeners, SignedIn, Transport, Why } from "./session.js";
export type { SignedInUser, TokenStorage } from "./store.js";

export type Options = Listeners &
  Transport & {
    /** Where Vestibule is, such as `https://id.example.org`. */
    baseUrl: string;
  };

/**
 * A client of one Vestibule. By default it holds its tokens in memory, so a reload signs out: pass `storage: localStorage`
 * to keep them for all tabs where scripts can read them, or `transport: "cookie"` to keep the refresh token where none can.
 *
 * Name the application's own permissions for `can`: `createVestibule<"billing:refund" | "billing:read">({ … })`.
 */
export function createVestibule<ApplicationPermission extends string = never>(options: Options) {
  const { onChange, onSignedOut, baseUrl: address, ...transport } = options;
  const baseUrl = address.replace(/\/+$/, "");
  const session = new Session(baseUrl, transport, { onChange, onSignedOut });
  const client = createClient(
    createConfig({
      baseUrl,
      credentials: session.credentials,
      auth: () => session.accessToken(),
      fetch: async (input, init) => {
        const request = new Request(input, init);
        const answer = await session.fetch(request, true);
        // Another name, no account, no session: the client knows before the caller does.
        const isOwn = /\/v1\/me\b/.test(new URL(request.url).pathname);
        if (isOwn && request.method !== "GET" && answer.ok) await session.learn();
        return answer;
      },
    }),
  );
  client.interceptors.error.use(onlyProblems);
  const api = new Operations({ client });

  return {
    /** Every operation of the contract: `const { data, error } = await api.listUsers()`. Rejects when the network fails. */
    api,

    /** Registers an account. Nobody is signed in by it. */
    register: (body: Registration) => api.registerAccount({ body }),

    /** Logs in, with e-mail address or username. Rejects with `CookieNotKept` if the browser does not keep the cookie. */
    logIn: (credentials: Omit<Credentials, "transport">): Promise<{ error?: LogInError }> => session.logIn(credentials),

    /** Logs out, here and in every other tab, also with an expired access token. If it fails, the session goes on. */
    logOut: (): Promise<{ error?: LogOutError }> => session.logOut(),

    /**
     * Finds out who is signed in when a page was loaded. `error` says why that is not known. With a cookie, it asks only if
     * this origin has had a session; with `ask: true` in any case, for a session that a page of another origin began.
     */
    resume: ({ ask = false } = {}): Promise<{ error?: RefreshSessionError }> => session.resume(ask),

    /** Who is signed in; `undefined` for nobody. The same object until something in it changes. */
    get signedIn(): SignedIn | undefined {
      return session.signedIn;
    },

    /** Calls `listener` whenever `signedIn` has changed, until the function is called that this returns. */
    subscribe: (listener: (signedIn: SignedIn | undefined) => void): (() => void) => session.subscribe(listener),

    /** Whether the roles grant this, as far as is known here: for showing a button. The server decides. */
    can(permission: OwnPermission | ApplicationPermission): boolean {
      const { user, permissions } = session.signedIn ?? {};
      return Boolean(user?.roles.includes("admin") || permissions?.includes(permission));
    },

    /**
     * `fetch` with the access token, for services that verify it themselves: ask only those that may see it. A 401 with
     * `WWW-Authenticate: Bearer error="invalid_token"` is answered with a refresh and a second try.
     */
    async fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
      const request = new Request(input, init);
      const token = await session.accessToken();
      if (token) authorize(request, token);
      return session.fetch(request, false);
    },

    /** The access token for whatever cannot go through `fetch`, renewed first if it is about to expire. */
    accessToken: (): Promise<string | undefined> => session.accessToken(),

    /** Stops listening to other tabs and calling listeners. */
    close: () => session.close(),
  };
}

export type Vestibule<ApplicationPermission extends string = never> = ReturnType<typeof createVestibule<ApplicationPermission>>;
