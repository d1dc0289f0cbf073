// Runs the guide's Node program: a line of JSON asks for a call, a line says what came of it.
import { mock } from "node:test";
import { createInterface } from "node:readline";
import { authorize, Refusal, verify } from "./verify.mjs";

mock.timers.enable({ apis: ["Date"], now: Date.now() });
const calls = {
  verify: async (header) => verify(header).then(({ sub, roles }) => `${sub} ${roles}`),
  authorize: async (header, permission) => authorize(header, permission).then(({ subject }) => `${subject} may`),
  advance: async (seconds) => mock.timers.tick(seconds * 1000),
};
for await (const line of createInterface(process.stdin)) {
  const [call, ...values] = JSON.parse(line);
  const outcome = await calls[call](...values).catch((refusal) => {
    if (!(refusal instanceof Refusal)) throw refusal;
    return `${refusal.status} ${refusal.headers["WWW-Authenticate"] ?? "Retry-After: " + refusal.headers["Retry-After"]}`;
  });
  console.log(outcome);
}
