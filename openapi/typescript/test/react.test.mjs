// Runs the React example of the README unchanged: under StrictMode, which renders everything twice, and on a server.

import assert from "node:assert/strict";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { after, test } from "node:test";
import { act, createElement, StrictMode } from "react";
import { renderToString } from "react-dom/server";
import { create } from "react-test-renderer";
import ts from "typescript";
import { PASSWORD, startServer } from "./server.mjs";

const server = await startServer();
after(server.stop);

globalThis.IS_REACT_ACT_ENVIRONMENT = true;
const errors = [];
console.error = (error) => errors.push(error);
const calls = [];
const { fetch } = globalThis;
globalThis.fetch = (request) => (calls.push(new URL(request.url).pathname), fetch(request));

const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
const [, example] = /```tsx\n([^]*?)```/.exec(readme);
const code = example.replace("https://id.example.org", server.url).replace('transport: "cookie"', 'transport: "body"');
const { outputText } = ts.transpileModule(code, {
  compilerOptions: { jsx: ts.JsxEmit.ReactJSX, module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
});
const file = new URL("../check/react.mjs", import.meta.url);
await mkdir(new URL(".", file), { recursive: true });
await writeFile(file, outputText);
globalThis.LogIn = () => "Log in";
const { Account, vestibule } = await import(file);
after(vestibule.close);
const page = () => createElement(StrictMode, null, createElement(Account));

const shown = (tree) => JSON.stringify(tree.toJSON());

test("a page shows who is logged in and follows each change", async () => {
  let tree;
  await act(async () => (tree = create(page())));
  assert.equal(shown(tree), '"Log in"');
  assert.deepEqual(calls, [], "nobody has logged in yet");

  await vestibule.register({ email: "ada@example.org", username: "ada", password: PASSWORD });
  await act(() => vestibule.logIn({ identifier: "ada", password: PASSWORD }));
  assert.match(shown(tree), /"ada"/);
  assert.doesNotMatch(shown(tree), /Refund/);

  await act(() => vestibule.api.updateMe({ body: { name: "Ada Lovelace" } }));
  assert.match(shown(tree), /"Ada Lovelace"/);

  await act(() => tree.root.findByType("button").props.onClick());
  assert.equal(shown(tree), '"Log in"');

  await act(() => vestibule.logIn({ identifier: "admin", password: server.adminPassword }));
  assert.match(shown(tree), /Refund/, "an administrator has every permission");
  await act(() => tree.unmount());
  assert.deepEqual(errors.filter((error) => !/react-test-renderer is deprecated/.test(error)), []);
});

test("a server renders the page without a request and without an account", async () => {
  calls.length = 0;
  assert.equal(renderToString(page()), "");
  assert.deepEqual(calls, []);
});
