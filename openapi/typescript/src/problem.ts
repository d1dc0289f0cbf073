// What `error` may be: a problem of the contract and nothing else, so that its types are true. Everything else is thrown.

/** An answer that is not Vestibule's: a proxy's page, for example. */
export class UnexpectedAnswer extends Error {
  constructor(readonly response: Response) {
    super(`unexpected answer with status ${response.status}`);
    this.name = "UnexpectedAnswer";
  }
}

/** The browser did not keep the cookie of a log-in, so the next reload would sign out. The session has been ended again. */
export class CookieNotKept extends Error {
  constructor(baseUrl: string) {
    const page = globalThis.location?.origin ?? "this program";
    super(
      `The browser does not keep the cookie that ${baseUrl} sets for ${page}. Both have to be of one site (localhost and ` +
        `127.0.0.1 are two) and on https or localhost, and the user has to allow cookies.`,
    );
    this.name = "CookieNotKept";
  }
}

/** Lets problems through as `error`. A call rejects with anything else: the network's failure, or another's answer. */
export function onlyProblems(error: unknown, response: Response | undefined): unknown {
  if (!response) throw error;
  if (typeof error === "object" && error !== null && "code" in error && "status" in error) return error;
  throw new UnexpectedAnswer(response);
}
