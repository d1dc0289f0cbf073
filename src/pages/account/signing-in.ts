// Signs in: with a password that the person has just typed or chosen, with a second factor, or with a passkey.

import type { FactorProof, PasskeyCredential } from "@vestibule/client";
import { language } from "$shared/language.svelte.js";
import { attempt, type Failure } from "$shared/problem.js";
import { api, vestibule } from "$shared/session.svelte.js";

/** Signs in with a password. Returns why that has failed: also because the account demands a second factor. */
export function signIn(identifier: string, password: string): Promise<Failure | undefined> {
  return begin(vestibule.logIn({ identifier, password }));
}

/** Completes a sign-in with the second factor that it demands. */
export function completeSignIn(challenge: string, factor: FactorProof): Promise<Failure | undefined> {
  return begin(vestibule.completeLogIn({ challenge, factor }));
}

/** Signs in with a passkey alone. */
export function signInByPasskey(ceremony: string, credential: PasskeyCredential): Promise<Failure | undefined> {
  return begin(vestibule.logInByPasskey({ ceremony, credential }));
}

/** Waits for a session, and reads the language of its account. */
async function begin(call: Parameters<typeof attempt>[0]): Promise<Failure | undefined> {
  const { failure } = await attempt(call);
  if (failure) return failure;
  const { data } = await attempt(api.readMe());
  language.prefer(data?.language, "account");
  return undefined;
}
