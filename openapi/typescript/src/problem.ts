// `error` is always a problem of the contract, so that its types are true. Every other failure is thrown.

/** A response that does not come from Vestibule, such as a proxy's page. */
export class UnexpectedResponse extends Error {
  constructor(readonly response: Response) {
    super(`unexpected response with status ${response.status}`);
    this.name = "UnexpectedResponse";
  }
}

/** The browser did not keep the cookie of a log-in, so the next reload would log the user out. The session has been ended. */
export class CookieNotKept extends Error {
  constructor(baseUrl: string) {
    const page = globalThis.location?.origin ?? "this program";
    super(
      `The browser does not keep the cookie that ${baseUrl} sets for ${page}. Both must belong to one site (localhost and ` +
        `127.0.0.1 are two) and use https or localhost, and the user must allow cookies.`,
    );
    this.name = "CookieNotKept";
  }
}

/** Passes problems through as `error`. Throws anything else: a network failure, or a response that is not Vestibule's. */
export function onlyProblems(error: unknown, response: Response | undefined): unknown {
  if (!response) throw error;
  if (typeof error === "object" && error !== null && "code" in error && "status" in error) return error;
  throw new UnexpectedResponse(response);
}
