// The account of the person who is signed in, as the service last stated it.

import type { MyChange, User } from "@vestibule/client";
import { language } from "$shared/language.svelte.js";
import { attempt, type Failure } from "$shared/problem.js";
import { api, session } from "$shared/session.svelte.js";

class Me {
  /** Why the account could not be read. */
  failure = $state.raw<Failure>();
  #known = $state.raw<{ user: User; tag: string | undefined; session: string | undefined }>();

  /** The account; `undefined` until it has been read in this session. */
  get current(): User | undefined {
    return this.#known?.session === session.signedIn?.session_id ? this.#known?.user : undefined;
  }

  async read() {
    const asked = session.signedIn?.session_id;
    const { data, response, failure } = await attempt(api.readMe());
    this.failure = failure;
    if (data) this.#keep(data, response, asked);
  }

  /**
   * Reads the account again whenever the page comes into view: the person may have opened the link of a mail in another tab.
   * Returns a function that ends this.
   */
  follow(): () => void {
    const look = async () => {
      if (document.hidden) return;
      const asked = session.signedIn?.session_id;
      const { data, response } = await attempt(api.readMe());
      if (data) this.#keep(data, response, asked);
    };
    document.addEventListener("visibilitychange", look);
    return () => document.removeEventListener("visibilitychange", look);
  }

  /** Changes the account. With `ifUnchanged`, only if it is still as it was read; otherwise fails with `precondition_failed`. */
  async change(change: MyChange, { ifUnchanged = false } = {}): Promise<Failure | undefined> {
    const asked = session.signedIn?.session_id;
    const headers = ifUnchanged ? { "If-Match": this.#known?.tag } : {};
    const { data, response, failure } = await attempt(api.updateMe({ body: change, headers }));
    if (data) this.#keep(data, response, asked);
    return failure;
  }

  /** Another person may have signed in since the service was asked, so the session is that of the call. */
  #keep(user: User, response: Response | undefined, session: string | undefined) {
    this.#known = { user, tag: response?.headers.get("etag") ?? undefined, session };
    language.prefer(user.language, "account");
  }
}

export const me = new Me();
