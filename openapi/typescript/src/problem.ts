// Failures that are no problem of the contract. They are thrown, so that the type of `error` is true.

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
