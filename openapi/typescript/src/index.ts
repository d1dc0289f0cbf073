// @vestibule/client: sign in, stay signed in, and call every operation with types.

import { createClient, createConfig } from "./generated/client/index.js";
import type { OwnPermission } from "./generated/permissions.gen.js";
import { Operations } from "./generated/sdk.gen.js";
import type { Credentials, EndMySessionError, LogInError, RefreshSessionError, Registration } from "./generated/types.gen.js";
import { onlyProblems } from "./problem.js";
import { authorize, Session, type Listeners, type SignedIn, type Transport } from "./session.js";

export type * from "./generated/types.gen.js";
export type { Operations } from "./generated/sdk.gen.js";
export type { OwnPermission } from "./generated/permissions.gen.js";
export { UnexpectedAnswer } from "./problem.js";
export type { Listeners, SignedIn, Transport, Why } from "./session.js";
export type { TokenStorage } from "./store.js";

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
  const baseUrl = address.replace(/\/$/, "");
  const session = new Session(baseUrl, transport, { onChange, onSignedOut });
  const client = createClient(
    createConfig({
      baseUrl,
      credentials: session.credentials,
      auth: () => session.accessToken,
      fetch: (input, init) => session.fetch(new Request(input, init)),
    }),
  );
  client.interceptors.error.use(onlyProblems);
  const api = new Operations({ client });

  return {
    /** Every operation of the contract: `const { data, error } = await api.listUsers()`. Rejects when the network fails. */
    api,

    /** Registers an account. Nobody is signed in by it. */
    register: (body: Registration) => api.registerAccount({ body }),

    /** Logs in, with e-mail address or username. */
    logIn: (credentials: Omit<Credentials, "transport">): Promise<{ error?: LogInError }> => session.logIn(credentials),

    /** Logs out, here and in every other tab. If it gives an error or rejects, the session goes on. */
    async logOut(): Promise<{ error?: EndMySessionError }> {
      const before = session.signedIn?.session_id;
      const { error } = await api.endMySession({ path: { id: "current" } });
      if (error && error.status !== 401) return { error };
      const ended = before ?? session.signedIn?.session_id;
      if (ended) await session.end(ended, "logged_out");
      return {};
    },

    /** Finds out who is signed in when a page was loaded. `error` says why that is not known. */
    resume: (): Promise<{ error?: RefreshSessionError }> => session.resume(),

    /** Who is signed in; `undefined` for nobody. */
    get signedIn(): SignedIn | undefined {
      return session.signedIn;
    },

    /** Whether the roles grant this, as far as is known here: for showing a button. The server decides. */
    can: (permission: OwnPermission | ApplicationPermission): boolean =>
      session.signedIn?.permissions.includes(permission) ?? false,

    /**
     * `fetch` with the access token, for services that verify it themselves: ask only those that may see it. A 401 with
     * `{"code": "expired_token"}` is answered with a refresh and a second try.
     */
    fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
      const request = new Request(input, init);
      const token = session.accessToken;
      if (token) authorize(request, token);
      return session.fetch(request);
    },
  };
}

export type Vestibule<ApplicationPermission extends string = never> = ReturnType<typeof createVestibule<ApplicationPermission>>;
