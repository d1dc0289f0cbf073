// What the pages call: the operations of the contract, and nothing else.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { step } from "../chromium.mjs";
import { requests } from "../visitor.mjs";
import { sources } from "./files.mjs";

const { paths } = JSON.parse(await readFile(new URL("../../../openapi/openapi.json", import.meta.url), "utf8"));
const METHODS = ["get", "post", "put", "patch", "delete"];

/** The files of the pages, which are not part of the contract. */
const STATIC = /^GET \/account(\/([^/]*|assets\/[\w.-]+))?$/;

step("W01 the pages called nothing that is not in the contract", () => {
  const templates = Object.entries(paths).map(([path, item]) => [new RegExp(`^${path.replaceAll(/\{\w+\}/g, "[^/]+")}$`), item]);
  const isContract = (request) => {
    const [method, path] = request.split(" ");
    return templates.some(([template, item]) => template.test(path) && item[method.toLowerCase()]);
  };
  const unknown = [...requests].filter((request) => !isContract(request) && !STATIC.test(request));
  assert.deepEqual(unknown, []);
});

step("W01 the pages can call nothing that is not in the contract", async () => {
  const operations = Object.values(paths).flatMap((item) => METHODS.map((method) => item[method]?.operationId));
  const texts = await Promise.all((await sources(/^(account|shared)\/.*\.(ts|svelte)$/)).map((path) => readFile(path, "utf8")));
  const called = new Set(texts.flatMap((source) => [...source.matchAll(/\bapi\s*\.\s*(\w+)/g)].map(([, name]) => name)));
  assert.ok(called.size > 15, `only ${called.size} operations were found`);
  assert.deepEqual([...called].filter((name) => !operations.includes(name)), []);
  const others = texts.flatMap((source) => source.match(/\b(fetch|XMLHttpRequest|sendBeacon|WebSocket|EventSource|import)\s*\(.*/g) ?? []);
  // The texts of a language are a file beside the script.
  assert.deepEqual(others, ["fetch(address);"], "every other call goes through the client");
});
