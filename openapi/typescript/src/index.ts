// @vestibule/client: log-in, silent refresh, and every operation with its types.

import type { OwnPermission } from "./generated/permissions.gen.js";
import type {
  CompleteLogInError,
  Credentials,
  LogInByPasskeyError,
  LogInCompletion,
  LogInError,
  LogOutError,
  PasskeyLogIn,
  RefreshSessionError,
  Registration,
} from "./generated/types.gen.js";
import { operations } from "./operation.js";
import { authorize } from "./response.js";
import { Session, type Listeners, type Outcome, type SignedIn, type Transport } from "./session.js";

export type * from "./generated/types.gen.js";
export type { Operations } from "./generated/operations.gen.js";
export type { OwnPermission } from "./generated/permissions.gen.js";
export type { Operation, Result } from "./operation.js";
export { CookieNotKept, UnexpectedResponse } from "./problem.js";
export type { RequiredProof } from "./response.js";
export type { Listeners, Outcome, SignedIn, Transport, Why } from "./session.js";
export type { SignedInUser, TokenStorage } from "./store.js";

export type Options = Listeners &
  Transport & {
    /** The address of Vestibule, such as `https://id.example.org`, or `https://example.org/auth` with `server.base_path`. */
    baseUrl: string;
  };

/**
 * Creates a client for one Vestibule server. By default it keeps its tokens in memory, so a reload logs the user out. With
 * `storage: localStorage` all tabs share tokens that scripts can read; with `transport: "cookie"` no script can read the
 * refresh token.
 *
 * The type parameter names the application's own permissions for `can`:
 * `createVestibule<"billing:refund" | "billing:read">({ … })`.
 */
export function createVestibule<ApplicationPermission extends string = never>(options: Options) {
  const { onChange, onSignedOut, onFreshProof, baseUrl: address, ...transport } = options;
  const baseUrl = address.replace(/\/+$/, "");
  const session = new Session(baseUrl, transport, { onChange, onSignedOut, onFreshProof });
  const api = operations({
    baseUrl,
    credentials: session.credentials,
    accessToken: () => session.accessToken(),
    send: async (request) => {
      const response = await session.fetch(request, true);
      // The account or its session has changed: `signedIn` and the access token are updated before the call returns.
      const isOwn = /\/v1\/me\b/.test(new URL(request.url).pathname);
      if (isOwn && request.method !== "GET" && response.ok) await session.accept(response);
      return response;
    },
  });

  return {
    /** Every operation of the contract: `const { data, error } = await api.listUsers()`. Rejects if the network fails. */
    api,

    /** Registers an account. Does not log in. */
    register: (body: Registration) => api.registerAccount({ body }),

    /** Logs in with an e-mail address or a username. Rejects with `CookieNotKept` if the browser does not keep the cookie. */
    logIn: (credentials: Omit<Credentials, "transport">): Promise<Outcome<LogInError>> => session.logIn(credentials),

    /** Completes a log-in that has failed with `second_factor_required`: takes its `challenge`, and a second factor. */
    completeLogIn: (completion: Omit<LogInCompletion, "transport">): Promise<Outcome<CompleteLogInError>> =>
      session.completeLogIn(completion),

    /** Logs in with the passkey that the browser has returned for the options of `api.startPasskeyLogIn`. */
    logInByPasskey: (passkey: Omit<PasskeyLogIn, "transport">): Promise<Outcome<LogInByPasskeyError>> =>
      session.logInByPasskey(passkey),

    /** Logs out in all tabs, also with an expired access token. If the call fails, the session continues. */
    logOut: (): Promise<Outcome<LogOutError>> => session.logOut(),

    /**
     * Restores the session after a page load. `error` states why the session could not be determined. With a cookie, it calls
     * Vestibule only if this origin has had a session, or if the account pages sent the user back with `#signed_in` in the
     * address, which it removes. `ask: true` always calls, for a session that a page of another origin began.
     */
    resume: ({ ask = false } = {}): Promise<Outcome<RefreshSessionError>> => session.resume(ask),

    /** The user who is logged in, or `undefined`. The same object until something in it changes. */
    get signedIn(): SignedIn | undefined {
      return session.signedIn;
    },

    /** Calls `listener` after each change of `signedIn`. Returns a function that unsubscribes the listener. */
    subscribe: (listener: (signedIn: SignedIn | undefined) => void): (() => void) => session.subscribe(listener),

    /** Whether the user's roles granted this at the last refresh. Use it to show a button; the server decides. */
    can(permission: OwnPermission | ApplicationPermission): boolean {
      const { user, permissions } = session.signedIn ?? {};
      return Boolean(user?.roles.includes("admin") || permissions?.includes(permission));
    },

    /**
     * `fetch` with the access token, for services that verify it themselves. Call only services that may see the token. After
     * a 401 with `WWW-Authenticate: Bearer error="invalid_token"` it refreshes and repeats the request once.
     */
    async fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
      const request = new Request(input, init);
      const token = await session.accessToken();
      if (token) authorize(request, token);
      return session.fetch(request, false);
    },

    /**
     * Returns the access token for connections that `fetch` cannot make (such as a WebSocket). Renews it first if it is about
     * to expire.
     */
    accessToken: (): Promise<string | undefined> => session.accessToken(),

    /** Ends the connection to other tabs and all subscriptions. */
    close: () => session.close(),
  };
}

export type Vestibule<ApplicationPermission extends string = never> = ReturnType<typeof createVestibule<ApplicationPermission>>;
