// Whether the service has become newer than this page, which then offers to load itself again.

import { api } from "./session.svelte.js";

/** How often a page that is looked at asks, in milliseconds. */
const INTERVAL = 300_000;

class Version {
  isNewer = $state(false);
  #loaded: string | undefined;
  #asked = 0;

  /** Asks now, and later whenever the page is looked at again. */
  follow() {
    void this.#ask();
    setInterval(() => this.#ask(), INTERVAL);
    document.addEventListener("visibilitychange", () => this.#ask());
  }

  async #ask() {
    if (document.hidden || this.isNewer || Date.now() - this.#asked < INTERVAL / 5) return;
    this.#asked = Date.now();
    // A failure means nothing here: the next call of the page reports it.
    const { data } = await api.readVersion().catch(() => ({ data: undefined }));
    if (data) this.#loaded ??= data.version;
    this.isNewer = data !== undefined && data.version !== this.#loaded;
  }
}

export const version = new Version();
