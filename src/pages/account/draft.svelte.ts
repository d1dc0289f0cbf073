// What a person has typed on one page and needs on the next one.

import { keep } from "$shared/storage.js";

/** `identifier`: the address or username of the sign-in. */
export const draft = $state({ identifier: "" });

/** Forgets what a person has typed to get in, so that the next one at this browser does not see it. */
export function forgetDraft() {
  draft.identifier = "";
  for (const purpose of ["sign-up", "reset"]) keep("tab", purpose, undefined);
}
