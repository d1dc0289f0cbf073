// Failures of calls: one type for everything that can go wrong, whether the service has refused a call or never received it.

import { CookieNotKept, UnexpectedResponse, type Fault, type Operations, type Problem } from "@vestibule/client";

type Outcome<Name extends keyof Operations> = Operations[Name] extends (...args: never[]) => infer Result ? Awaited<Result> : never;
type CodeOf<Result> = Result extends { error: infer Refusal } ? (Refusal extends { code?: infer Code } ? Extract<Code, string> : never) : never;

/** The codes that only operations of administrators return. The console will have texts of its own for them. */
type AdministrationCode =
  | "already_accepted"
  | "already_sent"
  | "insufficient_permission"
  | "own_account"
  | "role_built_in"
  | "role_exists"
  | "role_in_use"
  | "rotation_pending"
  | "too_many_roles";

/** The code of every other problem in the contract: a new one does not compile until it has a text. */
export type ProblemCode = Exclude<{ [Name in keyof Operations]: CodeOf<Outcome<Name>> }[keyof Operations], AdministrationCode>;

/** Why a call has failed. */
export type Failure =
  /** The service has refused it. `retryAt` is the time before which another attempt fails too. */
  | { kind: "problem"; problem: Problem; retryAt?: Date }
  /** No response has arrived. */
  | { kind: "unreachable" }
  /** Something else than the service has responded, such as a proxy. */
  | { kind: "unexpected"; status: number; retryAt?: Date }
  /** The person has shown no passkey, or this browser has none. */
  | { kind: "no_passkey" }
  /** This device has a passkey of the account already. */
  | { kind: "has_passkey" }
  /** The browser does not keep the cookie of the session. */
  | { kind: "cookie_not_kept" };

/** The result of a call that has been attempted. */
export type Attempt<Data> = { data: Data; response?: Response; failure?: undefined } | { data?: undefined; response?: undefined; failure: Failure };

/** Waits for a call, and turns everything that can go wrong into a `failure`. */
export async function attempt<Data>(
  call: Promise<{ data?: Data; error?: Problem; response?: Response }>,
): Promise<Attempt<Data>> {
  try {
    const { data, error, response } = await call;
    if (error) return { failure: { kind: "problem", problem: error, retryAt: retryTime(response) } };
    return { data: data as Data, response };
  } catch (thrown) {
    return { failure: failureOf(thrown) };
  }
}

function failureOf(thrown: unknown): Failure {
  if (thrown instanceof CookieNotKept) return { kind: "cookie_not_kept" };
  if (thrown instanceof UnexpectedResponse) {
    return { kind: "unexpected", status: thrown.response.status, retryAt: retryTime(thrown.response) };
  }
  // `fetch` rejects with a TypeError, and a call that takes too long ends with a DOMException.
  if (thrown instanceof TypeError || thrown instanceof DOMException) return { kind: "unreachable" };
  throw thrown;
}

/** Returns the time that `Retry-After` names, in seconds or as a date. */
function retryTime(response: Response | undefined): Date | undefined {
  const value = response?.headers.get("retry-after");
  if (!value) return undefined;
  const time = /^\d+$/.test(value) ? Date.now() + Number(value) * 1000 : Date.parse(value);
  return Number.isNaN(time) ? undefined : new Date(time);
}

/** The code of the problem, if the service has refused the call. */
export function codeOf(failure: Failure | undefined): string | undefined {
  return failure?.kind === "problem" ? failure.problem.code : undefined;
}

/** The member of a request to which a problem without faults belongs. */
const MEMBERS: Partial<Record<ProblemCode, string>> = {
  email_taken: "/email",
  username_taken: "/username",
  wrong_factor: "/factor",
};

/** The members that a failure concerns, each with its faults. The code of the problem is a fault if it concerns one member. */
export function faultsOf(failure: Failure | undefined): Fault[] {
  if (failure?.kind !== "problem") return [];
  const { code, errors, detail = "" } = failure.problem;
  const pointer = MEMBERS[code as ProblemCode];
  return errors ?? (pointer ? [{ pointer, code, detail }] : []);
}

/** What is wrong with a mailed link. */
export type TicketFault = "invalid_ticket" | "expired_ticket" | "spent_ticket";

/** Why a link permits nothing, if that is why the call has failed. A code that has expired is not meant. */
export function linkFault(failure: Failure | undefined): TicketFault | undefined {
  const fault = faultsOf(failure).find(({ pointer }) => pointer?.endsWith("/token"));
  if (!fault) return undefined;
  return fault.code === "expired_ticket" || fault.code === "spent_ticket" ? fault.code : "invalid_ticket";
}
