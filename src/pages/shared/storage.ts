// What the browser keeps for a page. A browser that refuses to keep anything loses only comfort.

/** `tab`: until the tab is closed. `browser`: until the person deletes it. */
type Where = "tab" | "browser";

const storageOf = (where: Where) => (where === "tab" ? sessionStorage : localStorage);

/** Returns what was kept under a name. */
export function kept(where: Where, name: string): string | undefined {
  try {
    return storageOf(where).getItem(`vestibule:${name}`) ?? undefined;
  } catch {
    return undefined;
  }
}

/** Keeps a text under a name; deletes it if it is `undefined`. */
export function keep(where: Where, name: string, text: string | undefined) {
  try {
    if (text === undefined) storageOf(where).removeItem(`vestibule:${name}`);
    else storageOf(where).setItem(`vestibule:${name}`, text);
  } catch {
    // Storage is blocked or full.
  }
}
