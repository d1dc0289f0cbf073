// The settings of the service that pages need.

import type { ServiceOptions } from "@vestibule/client";
import { attempt, type Failure } from "./problem.js";
import { api } from "./session.svelte.js";

class Options {
  /** The settings; `undefined` until they have been read. */
  current = $state.raw<ServiceOptions>();
  /** Why they could not be read. */
  failure = $state.raw<Failure>();

  async read() {
    const { data, failure } = await attempt(api.readOptions());
    this.current = data;
    this.failure = failure;
  }
}

export const options = new Options();

/** The settings, for pages: these are shown once the settings have been read. */
export function settings(): ServiceOptions {
  if (!options.current) throw new Error("the settings have not been read");
  return options.current;
}
