// What browsers store about the passkeys of the account: which ones work, and the names under which they are suggested.

import { freshProof } from "$shared/fresh-proof.svelte.js";
import { settings } from "$shared/options.svelte.js";
import { hasPasskeys, signalPasskeys } from "$shared/passkeys.js";
import { attempt } from "$shared/problem.js";
import { api } from "$shared/session.svelte.js";

/** Tells the browser the passkeys and the names of the account, unless the service demands a fresh proof for them. */
export async function updateBrowsersPasskeys() {
  if (!hasPasskeys || !settings().passkeys) return;
  const { data } = await freshProof.quietly(() => attempt(api.startPasskey()));
  if (data) signalPasskeys(data.options);
}
