// A mail with a code that this browser has requested: when it may be requested again, and the handle without which its code
// means nothing. It is kept for a reload of the page. Without the code it is of no use to anybody.

import type { Pending } from "@vestibule/client";
import { keep, kept } from "$shared/storage.js";

/** What a mail with a code was requested for. */
export interface Requested {
  /** The address or username for which the mail was requested. */
  identifier: string;
  handle: string;
  /** The time after which the code is of no use, in milliseconds. */
  expires_at: number;
  /** The time before which another mail would not be sent, in milliseconds. */
  again_at: number;
}

export class MailedCode {
  /** The latest request; `undefined` before the first one. */
  requested = $state.raw<Requested>();
  readonly #purpose: string;

  constructor(purpose: "sign-up" | "reset" | "verify") {
    this.#purpose = purpose;
    this.requested = parse(kept("tab", purpose));
  }

  /** Remembers the response to a request. */
  keep(identifier: string, { handle, expires_in, resend_after }: Pending) {
    const now = Date.now();
    this.requested = { identifier, handle, expires_at: now + expires_in * 1000, again_at: now + resend_after * 1000 };
    keep("tab", this.#purpose, JSON.stringify(this.requested));
  }

  forget() {
    this.requested = undefined;
    keep("tab", this.#purpose, undefined);
  }
}

/** Returns what was kept; `undefined` if it has expired, or if another program has changed it. */
function parse(text = ""): Requested | undefined {
  try {
    const requested: Requested = JSON.parse(text);
    return requested.expires_at > Date.now() ? requested : undefined;
  } catch {
    return undefined;
  }
}
