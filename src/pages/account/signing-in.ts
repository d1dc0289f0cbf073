// Signs in with a password that the person has just typed or chosen.

import { language } from "$shared/language.svelte.js";
import { attempt, type Failure } from "$shared/problem.js";
import { api, vestibule } from "$shared/session.svelte.js";

/** Signs in. Returns why that has failed. */
export async function signIn(identifier: string, password: string): Promise<Failure | undefined> {
  const { failure } = await attempt(vestibule.logIn({ identifier, password }));
  if (failure) return failure;
  const { data } = await attempt(api.readMe());
  language.prefer(data?.language, "account");
  return undefined;
}
