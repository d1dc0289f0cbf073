// The account of the person who is signed in, as the service last stated it.

import type { MyChange, Problem, User } from "@vestibule/client";
import { language } from "$shared/language.svelte.js";
import { attempt, type Failure } from "$shared/problem.js";
import { api, session } from "$shared/session.svelte.js";
import { updateBrowsersPasskeys } from "./browsers-passkeys.js";

/** The names under which browsers suggest the passkeys of an account. */
const NAMES = ["name", "username", "email"] as const;

class Me {
  /** Why the account could not be read. */
  failure = $state.raw<Failure>();
  #known = $state.raw<{ user: User; tag: string | undefined; session: string | undefined }>();

  /** The account; `undefined` until it has been read in this session. */
  get current(): User | undefined {
    return this.#known?.session === session.signedIn?.session_id ? this.#known?.user : undefined;
  }

  async read() {
    this.failure = await this.#keep(api.readMe());
  }

  /**
   * Reads the account again whenever the page comes into view: the person may have opened the link of a mail in another tab.
   * Returns a function that ends this.
   */
  follow(): () => void {
    const look = () => {
      if (!document.hidden) void this.#keep(api.readMe());
    };
    document.addEventListener("visibilitychange", look);
    return () => document.removeEventListener("visibilitychange", look);
  }

  /** Changes the account. With `ifUnchanged`, only if it is still as it was read; otherwise fails with `precondition_failed`. */
  change(change: MyChange, { ifUnchanged = false } = {}): Promise<Failure | undefined> {
    const headers = ifUnchanged ? { "If-Match": this.#known?.tag } : {};
    return this.#keep(api.updateMe({ body: change, headers }));
  }

  /** Keeps the account that a call returns, or returns why the call has failed. */
  async #keep(call: Promise<{ data?: User; error?: Problem; response?: Response }>): Promise<Failure | undefined> {
    // That of the call: another person may sign in before the response arrives.
    const asked = session.signedIn?.session_id;
    const { data, response, failure } = await attempt(call);
    if (!data) return failure;
    const before = this.current;
    const isRenamed = before && NAMES.some((name) => data[name] !== before[name]);
    this.#known = { user: data, tag: response?.headers.get("etag") ?? undefined, session: asked };
    language.prefer(data.language, "account");
    if (isRenamed && data.second_factor) void updateBrowsersPasskeys();
    return undefined;
  }
}

export const me = new Me();
