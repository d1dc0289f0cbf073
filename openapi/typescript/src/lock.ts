// One at a time, in all tabs of a browser where it has locks for that (https and localhost), otherwise in this process.

const turns = new Map<string, Promise<unknown>>();

/** Does `work` when nobody else is at work under this name. */
export async function exclusively<T>(name: string, work: () => Promise<T>): Promise<T> {
  if (globalThis.navigator?.locks) return await navigator.locks.request(name, work);
  const turn = (turns.get(name) ?? Promise.resolve()).then(work, work);
  turns.set(name, turn);
  return await turn;
}
