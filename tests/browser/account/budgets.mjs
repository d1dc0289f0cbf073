// What the built files weigh, and how fast they show something.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { step } from "../chromium.mjs";
import { visit } from "../visitor.mjs";
import { sources } from "./files.mjs";
import { open } from "./services.mjs";

/** The largest size of a file, compressed, in bytes. */
const BUDGETS = { js: 45_000, css: 15_000 };

step("the built files keep to their budgets", async (test) => {
  for (const [type, budget] of Object.entries(BUDGETS)) {
    const built = await sources(new RegExp(`^dist/account/.*\\.${type}$`));
    assert.equal(built.length, 1, `one ${type} file`);
    const { length } = gzipSync(await readFile(built[0]), { level: 9 });
    test.diagnostic(`${type}: ${length} of ${budget} bytes, compressed`);
    assert.ok(length <= budget, `${type}: ${length} bytes`);
  }
});

step("the time until the sign-in page can be used, on a processor that is four times slower", async (test) => {
  const guest = await visit(open, { width: 360 });
  const session = await guest.context.newCDPSession(guest.page);
  await session.send("Emulation.setCPUThrottlingRate", { rate: 4 });
  await guest.open("sign-in");
  await guest.field("Password").waitFor();
  const times = await guest.page.evaluate(() => {
    const paints = performance.getEntriesByType("paint").map(({ name, startTime }) => [name, startTime]);
    return [...paints, ["the form can be used", performance.now()]];
  });
  for (const [name, time] of times) test.diagnostic(`${name}: ${Math.round(time)} ms`);
});
