// Builds one entry: one page, one script and one style sheet in dist/<entry>. Each entry is built by itself, so that it shares
// no file with another one and an upgrade cannot break a page that is open. `npm run build` builds the account pages.

import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, runnerImport } from "vite";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const entry = "account";

/** The server that the pages call while `npm run start` serves them. */
const service = process.env.VESTIBULE_URL ?? "http://127.0.0.1:8080";

const alias = { "@vestibule/client": here("../../openapi/typescript/src/index.ts"), $shared: here("shared") };

/** `import address from "./de.ts?data"`: writes the default export of a module to a JSON file, and returns the file's address. */
function data() {
  let isBuild = false;
  return {
    name: "data",
    enforce: "pre",
    configResolved(config) {
      isBuild = config.command === "build";
    },
    async load(id) {
      if (!id.endsWith("?data")) return undefined;
      const path = id.slice(0, -"?data".length);
      const { module, dependencies } = await runnerImport(path, { configFile: false, resolve: { alias } });
      for (const file of [path, ...dependencies]) this.addWatchFile(file);
      const json = JSON.stringify(module.default);
      if (!isBuild) return `export default ${JSON.stringify(`data:application/json,${encodeURIComponent(json)}`)}`;
      const file = this.emitFile({ type: "asset", name: `${basename(path, ".ts")}.json`, source: json });
      return `export default import.meta.ROLLUP_FILE_URL_${file}`;
    },
  };
}

/** Fails a build whose script is too large, compressed by gzip. */
function limit(bytes) {
  return {
    name: "limit",
    generateBundle(_, bundle) {
      for (const { type, fileName, code } of Object.values(bundle)) {
        const size = type === "chunk" ? gzipSync(code, { level: 9 }).length : 0;
        if (size > bytes) this.error(`${fileName} has ${size} bytes, compressed by gzip. At most ${bytes} are allowed.`);
      }
    },
  };
}

export default defineConfig(({ command }) => ({
  root: here(entry),
  // Relative, so that the pages work under any prefix that a proxy adds.
  base: command === "build" ? "./" : `/${entry}/`,
  publicDir: false,
  resolve: { alias },
  plugins: [
    data(),
    limit(45_000),
    svelte({
      configFile: false,
      compilerOptions: {
        runes: true,
        discloseVersion: false,
        // Names of classes depend on the styles alone, not on the folder in which they are built.
        ...(command === "build" && { cssHash: ({ hash, css }) => `s${hash(css)}` }),
      },
    }),
  ],
  build: {
    outDir: here(`dist/${entry}`),
    emptyOutDir: true,
    target: ["chrome111", "firefox114", "safari16.4"],
    // Data URLs would need a weaker Content-Security-Policy, and the polyfill an inline script.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    cssCodeSplit: false,
    reportCompressedSize: true,
    rolldownOptions: {
      output: {
        entryFileNames: `assets/${entry}-[hash].js`,
        // The style sheet, and the texts by language.
        assetFileNames: ({ names: [name] }) => `assets/${entry}-${name.endsWith(".json") ? "[name]-" : ""}[hash][extname]`,
        codeSplitting: false,
      },
    },
  },
  server: {
    proxy: { "/v1": service, "/version": service, [`/${entry}/accent.css`]: service },
    fs: { allow: [here("../..")] },
  },
}));
