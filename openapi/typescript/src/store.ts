// Where tokens are kept: one entry, in whatever can do what localStorage does.

/** What is needed of a `Storage`: `localStorage` is one, and so is `sessionStorage`. */
export type TokenStorage = Pick<Storage, "getItem" | "setItem" | "removeItem">;

/** The account that is signed in. */
export interface SignedInUser {
  id: string;
  /** Its name, else its username, else its e-mail address. */
  name: string;
  roles: readonly string[];
}

/** What a session has handed out. */
export interface Held {
  access_token: string;
  /** Absent where it travels in a cookie, out of the reach of scripts. */
  refresh_token?: string;
  session_id: string;
  /** When the access token is renewed, in milliseconds by this machine's clock. */
  renew_at: number;
  /** What Vestibule said about the account; absent until it was asked. */
  known?: { user: SignedInUser; permissions: string[] };
}

/** Keeps an entry until the page is left or the process ends. */
export function inMemory(): TokenStorage {
  const entries = new Map<string, string>();
  return {
    getItem: (key) => entries.get(key) ?? null,
    setItem: (key, value) => void entries.set(key, value),
    removeItem: (key) => void entries.delete(key),
  };
}

/** `localStorage`, where there is one that may be used: not on a server, and not in every frame. */
export function ofThisOrigin(): TokenStorage {
  try {
    localStorage.getItem("");
    return localStorage;
  } catch {
    return inMemory();
  }
}

/** The one entry. It is read again each time, for another tab may have written it. */
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
      return undefined; // not ours
    }
  }

  write(held: Held | undefined) {
    if (held) this.storage.setItem(this.key, JSON.stringify(held));
    else this.storage.removeItem(this.key);
  }
}
