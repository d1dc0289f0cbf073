// The meaning of a response for the access token that was sent: whether another token can help, or the session has ended.

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

export function authorize(request: Request, token: string) {
  request.headers.set("authorization", `Bearer ${token}`);
}
