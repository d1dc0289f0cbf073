// Starts the server that the tests call: in a directory of its own, on a free port, with the lowest hash cost.
//
// VESTIBULE   the binary (by default target/debug/vestibule of this repository)

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const BINARY = process.env.VESTIBULE ?? fileURLToPath(new URL("../../../target/debug/vestibule", import.meta.url));

export const PASSWORD = "seven tall ships at dawn";

/** Starts a server with these settings, such as `{ TOKENS__ACCESS_TTL: 1 }`. */
export async function startServer(settings = {}) {
  const directory = await mkdtemp(join(tmpdir(), "vestibule-"));
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("VESTIBULE")));
  const variables = { SERVER__LISTEN: "127.0.0.1:0", PASSWORD__BCRYPT_COST: 10, THROTTLE__ENABLED: false, ...settings };
  for (const [name, value] of Object.entries(variables)) env[`VESTIBULE_${name}`] = String(value);
  const child = spawn(BINARY, { cwd: directory, env, stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  child.stderr.on("data", (text) => (log += text));
  for await (const line of createInterface(child.stdout)) {
    const url = /^Vestibule listens on (\S+)\. /.exec(line)?.[1];
    if (url) {
      child.stdout.resume();
      const adminPassword = (await readFile(join(directory, "data/initial-admin-password"), "utf8")).trim();
      return { url, adminPassword, directory, stop };
    }
  }
  throw new Error(`the server did not start: ${log}`);

  async function stop() {
    child.kill("SIGTERM");
    if (child.exitCode === null) await once(child, "exit");
    await rm(directory, { recursive: true });
  }
}
