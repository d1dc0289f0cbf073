// The client of the service, and who is signed in. The client keeps this up to date, in all tabs.

import { createVestibule, type Operations, type SignedIn, type Why } from "@vestibule/client";
import { address } from "./address.js";
import { freshProof } from "./fresh-proof.svelte.js";
import { attempt, type Failure } from "./problem.js";

/** Why nobody is signed in any more. `closed`: the person has closed the account. */
export type End = Why | "closed";

/** How often a page that comes into view asks whether the session has been ended elsewhere, in milliseconds. */
const INTERVAL = 60_000;

/** How long a call may take, in milliseconds. */
const TIME_LIMIT = 20_000;

class Session {
  /** The session, or `undefined` if nobody is signed in. Meaningful once `isKnown`. */
  signedIn = $state.raw<SignedIn>();
  /** Whether it is known if somebody is signed in. */
  isKnown = $state(false);
  /** Whether the browser keeps the page for the way back, instead of leaving it. It then shows nothing personal. */
  isKept = $state(false);
  /** Why the last session ended; `undefined` until one has ended since the page was loaded. */
  end = $state<End>();
  #expected: End | undefined;
  #checked = Date.now();

  /**
   * Finds out who is signed in, once. Always asks the service: a page of another origin may have begun the session. Pages that
   * need no session do not call this.
   */
  async ask(): Promise<Failure | undefined> {
    if (this.isKnown) return undefined;
    const held = this.signedIn && (await attempt(api.readToken()));
    // If that session has ended, there may be another one.
    const { failure } = held && vestibule.signedIn ? held : await attempt(vestibule.resume({ ask: true }));
    this.isKnown = !failure;
    return failure;
  }

  /** Asks whether the session has been ended elsewhere, whenever the page comes into view or back from the history. */
  follow() {
    addEventListener("pagehide", ({ persisted }) => (this.isKept = persisted));
    addEventListener("pageshow", ({ persisted }) => {
      if (persisted) this.isKnown = this.isKept = false;
    });
    document.addEventListener("visibilitychange", () => {
      if (document.hidden || !this.signedIn || Date.now() - this.#checked < INTERVAL) return;
      this.#checked = Date.now();
      // The client reports the end of the session, and the next call of the page reports a failure.
      api.readToken().catch(() => {});
    });
  }

  /** States why the session will end, before a call that ends it. Returns a function that takes this back if the call fails. */
  expectEnd(end: End): () => void {
    this.#expected = end;
    return () => (this.#expected = undefined);
  }

  changed(signedIn: SignedIn | undefined) {
    this.signedIn = signedIn;
    this.isKnown = true;
    if (signedIn) this.end = undefined;
  }

  ended(why: Why) {
    this.end = this.#expected ?? why;
    this.#expected = undefined;
  }
}

export const session = new Session();

export const vestibule = createVestibule({
  baseUrl: address,
  transport: "cookie",
  onChange: (signedIn) => session.changed(signedIn),
  onSignedOut: (why) => session.ended(why),
  onFreshProof: async (required) => {
    await freshProof.ask(required);
    return undefined;
  },
});

type AnyCall = (args: { signal: AbortSignal }) => unknown;

/** Returns a signal that ends a call after the time limit. The time in which the person is asked for a proof does not count. */
function timeLimit(): AbortSignal {
  if (freshProof.asking) return AbortSignal.timeout(TIME_LIMIT); // a call of the question itself
  const controller = new AbortController();
  const wait = () => void setTimeout(end, TIME_LIMIT);
  const end = () => (freshProof.asking ? void freshProof.asking.then(wait) : controller.abort(new DOMException("", "TimeoutError")));
  wait();
  return controller.signal;
}

/** Every operation of the contract. A call without a response in time rejects, so that no page waits for ever. */
export const api = Object.fromEntries(
  Object.entries(vestibule.api as unknown as Record<string, AnyCall>).map(([name, call]) => {
    return [name, (args?: object) => call({ signal: timeLimit(), ...args })];
  }),
) as unknown as Operations;
