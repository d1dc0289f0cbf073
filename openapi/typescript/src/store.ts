// The stored session: one entry in localStorage or in something with the same methods.

/** The part of `Storage` that a client uses: `localStorage` and `sessionStorage` have it. */
export type TokenStorage = Pick<Storage, "getItem" | "setItem" | "removeItem">;

/** The account that is logged in. */
export interface SignedInUser {
  id: string;
  /** The account's name, or else its username, or else its e-mail address. */
  name: string;
  roles: readonly string[];
}

/** The tokens of a session, and what is known about its account. */
export interface Held {
  access_token: string;
  /** Absent if it is in a cookie, which scripts cannot read. */
  refresh_token?: string;
  session_id: string;
  /** The time at which to renew the access token, in milliseconds of this machine's clock. */
  renew_at: number;
  /** The account and its permissions; absent until they have been read. */
  known?: { user: SignedInUser; permissions: string[] };
}

/** Returns a storage that lasts until the page is left or the process ends. */
export function inMemory(): TokenStorage {
  const entries = new Map<string, string>();
  return {
    getItem: (key) => entries.get(key) ?? null,
    setItem: (key, value) => void entries.set(key, value),
    removeItem: (key) => void entries.delete(key),
  };
}

/** Returns `localStorage`, or memory where it cannot be used: on a server and in some frames. */
export function ofThisOrigin(): TokenStorage {
  try {
    localStorage.getItem("");
    return localStorage;
  } catch {
    return inMemory();
  }
}

/** The entry. Each access reads it again, because another tab may have written it. */
export class Store {
  constructor(
    private readonly storage: TokenStorage,
    private readonly key: string,
  ) {}

  read(): Held | undefined {
    const entry = this.storage.getItem(this.key);
    if (entry === null) return undefined;
    try {
      return JSON.parse(entry) as Held;
    } catch {
      return undefined; // another program wrote it
    }
  }

  write(held: Held | undefined) {
    if (held) this.storage.setItem(this.key, JSON.stringify(held));
    else this.storage.removeItem(this.key);
  }
}
