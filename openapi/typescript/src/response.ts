// The meaning of a response for the access token that was sent: whether another token can help, or the session has ended.

import type { Acr, Problem } from "./generated/types.gen.js";

/** The codes of a 401 that a refresh can resolve. */
const RENEWABLE = new Set(["expired_token", "stale_token", "invalid_token"]);

/** The challenge of any other service that refuses the token (RFC 6750 section 3). */
const REFUSED = /\bBearer\b.*\berror\s*=\s*"?invalid_token\b/i;

/** Returns the `code` of a 401. */
export async function codeOf(response: Response): Promise<string | undefined> {
  if (response.status !== 401) return undefined;
  const problem: { code?: string } | null | undefined = await response.clone().json().catch(() => undefined);
  return problem?.code;
}

/** Whether the call should be repeated with another access token. */
export async function shouldRefresh(response: Response, isFromVestibule: boolean): Promise<boolean> {
  const code = await codeOf(response);
  if (response.status !== 401 || code === "session_ended") return false;
  return RENEWABLE.has(code ?? "") || (!isFromVestibule && REFUSED.test(response.headers.get("www-authenticate") ?? ""));
}

/** The proof that a call requires. */
export interface RequiredProof {
  /** The levels of authentication that suffice: one factor (`1`) or two (`2`). */
  acr_values: Acr[];
  /** How long ago the proof may be, in seconds. */
  max_age: number;
  /** Whether the user must enrol a second factor first. */
  enrol: boolean;
}

/** Returns the proof that a call requires, if its response says so (RFC 9470). */
export async function requiredProof(response: Response): Promise<RequiredProof | undefined> {
  if ((await codeOf(response)) !== "insufficient_user_authentication") return undefined;
  const { acr_values = [], max_age = 0, enrol = false }: Problem = await response.clone().json();
  return { acr_values, max_age, enrol };
}

export function authorize(request: Request, token: string) {
  request.headers.set("authorization", `Bearer ${token}`);
}
