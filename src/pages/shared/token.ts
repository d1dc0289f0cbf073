// The token of a mailed link. It arrives in the fragment of the address, and leaves the address before anything else happens, so
// that it is neither in the history nor sent anywhere.

/** A token. Mail filters write `#` and `=` as `%23` and `%3D`, or turn the fragment into a query. */
const TOKEN = /(?:#|%23|[?&])t(?:=|%3D)([\w.-]+)/i;

/** Takes the token out of the page's address. Returns `undefined` if there is none. */
export function takeToken(): string | undefined {
  const found = TOKEN.exec(location.href);
  if (!found) return undefined;
  history.replaceState(history.state, "", location.href.slice(0, found.index));
  return found[1];
}

/** Returns the token in something that a person has pasted: a link, or the token alone. */
export function tokenIn(pasted: string): string | undefined {
  return TOKEN.exec(pasted)?.[1] ?? /^\s*([\w-]+\.[\w-]+\.[\w-]+)\s*$/.exec(pasted)?.[1];
}
