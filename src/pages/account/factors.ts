// Second factors, as people prove them.

import type { AuthenticationFactor, PasskeyCeremony, Problem } from "@vestibule/client";
import type { Attempt, Failure } from "$shared/problem.js";

/** The ways to prove a second factor. `password` counts only where the account has no factor. */
export type FactorKind = AuthenticationFactor["kind"];

/** Begins to use a passkey. */
export type StartPasskey = () => Promise<Attempt<PasskeyCeremony>>;

/** What the service asks for in addition to the password or the link. */
export interface Challenge {
  challenge: string;
  factors: FactorKind[];
}

/** Returns the challenge, if a call has failed because a second factor is missing. */
export function challengeOf(failure: Failure | undefined): Challenge | undefined {
  if (failure?.kind !== "problem" || failure.problem.code !== "second_factor_required") return undefined;
  const { challenge = "", factors = [] } = failure.problem as Problem & Partial<Challenge>;
  return { challenge, factors };
}
