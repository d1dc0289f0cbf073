// The source of the pages, and the built files beside it.

import { readdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const FOLDER = fileURLToPath(new URL("../../../src/pages/", import.meta.url));

/** Returns the paths of all files below `src/pages` whose path there matches. */
export async function sources(pattern) {
  const entries = await readdir(FOLDER, { recursive: true });
  return entries.filter((name) => !name.startsWith("node_modules") && pattern.test(name)).map((name) => FOLDER + name);
}
