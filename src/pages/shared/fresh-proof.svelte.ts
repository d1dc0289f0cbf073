// Asks the person to prove anew who they are, when a call demands it. A component of the entry shows the question.

import type { RequiredProof } from "@vestibule/client";

class FreshProof {
  /** What a call demands; `undefined` unless one waits for the person. */
  required = $state.raw<RequiredProof>();
  /** Settles at the end of the question; `undefined` unless the person is being asked. */
  asking: Promise<void> | undefined;
  #end = () => {};
  #isQuiet = false;

  /** Asks, and waits until the person has proven it or does not want to. The call is then repeated. */
  ask(required: RequiredProof): Promise<void> {
    if (this.#isQuiet) return Promise.resolve();
    this.required = required;
    return (this.asking = new Promise((resolve) => (this.#end = resolve)));
  }

  /** Ends the question, if there is one. */
  finish() {
    this.required = this.asking = undefined;
    this.#end();
  }

  /** Makes a call that the person does not know of. It fails if it demands a proof. */
  async quietly<Result>(call: () => Promise<Result>): Promise<Result> {
    this.#isQuiet = true;
    return call().finally(() => (this.#isQuiet = false));
  }
}

export const freshProof = new FreshProof();
