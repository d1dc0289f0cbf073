// The account pages in Chromium: what people do there, told from their side. Every file of `account` is a chapter. The mails are
// read from the files that the servers write.
//
// VESTIBULE   the binary (by default target/debug/vestibule of this repository)

import assert from "node:assert/strict";
import { step } from "./chromium.mjs";
import { faults } from "./visitor.mjs";

const CHAPTERS = ["signing_up", "signing_in", "second_step", "passkeys", "addresses", "profile", "sessions", "enrolling", "fresh_proof",
  "policy", "sharing", "return", "keyboard", "network", "budgets"];

for (const chapter of CHAPTERS) await import(`./account/${chapter}.mjs`);
await import("./matrix.mjs");
await import("./account/contract.mjs");

step("W01 no page has caused a report of the Content-Security-Policy or of Trusted Types, or an error", () => assert.deepEqual(faults, []));
