// What `error` may be: a problem of the contract and nothing else, so that its types tell the truth.

/** An answer that is no problem of Vestibule's: a proxy's page, say. */
export class UnexpectedAnswer extends Error {
  constructor(readonly response: Response) {
    super(`unexpected answer with status ${response.status}`);
    this.name = "UnexpectedAnswer";
  }
}

/** Lets problems through as `error`. A call rejects with anything else: the network's failure, or another's answer. */
export function onlyProblems(error: unknown, response: Response | undefined): unknown {
  if (!response) throw error;
  if (typeof error === "object" && error !== null && "code" in error && "status" in error) return error;
  throw new UnexpectedAnswer(response);
}
