// A lock across all tabs of a browser, if it has `navigator.locks` (on https and localhost), and otherwise within this tab.

const turns = new Map<string, Promise<unknown>>();

/** Runs `work` when no other work with this name is running. */
export async function exclusively<T>(name: string, work: () => Promise<T>): Promise<T> {
  if (globalThis.navigator?.locks) return await navigator.locks.request(name, work);
  const turn = (turns.get(name) ?? Promise.resolve()).then(work, work);
  turns.set(name, turn);
  return await turn;
}
