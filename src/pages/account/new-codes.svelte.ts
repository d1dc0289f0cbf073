// Recovery codes that the service has just made, until the person has kept them: nobody can read them again. They stay here while
// the person looks at other pages.

import { session } from "$shared/session.svelte.js";

class NewCodes {
  #made = $state.raw<{ codes: string[]; session: string | undefined }>();

  /** The codes that the person has not kept yet. */
  get current(): string[] | undefined {
    return this.#made?.session === session.signedIn?.session_id ? this.#made?.codes : undefined;
  }

  show(codes: string[]) {
    this.#made = { codes, session: session.signedIn?.session_id };
    addEventListener("beforeunload", ask);
  }

  forget() {
    this.#made = undefined;
    removeEventListener("beforeunload", ask);
  }
}

export const newCodes = new NewCodes();

/** Lets the browser ask before it leaves the pages. */
function ask(event: BeforeUnloadEvent) {
  if (newCodes.current) event.preventDefault();
}
