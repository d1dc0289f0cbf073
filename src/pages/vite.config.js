// Builds one entry: one page, one script and one style sheet in dist/<entry>. Each entry is built by itself, so that it shares
// no file with another one and an upgrade cannot break a page that is open. `npm run build` builds the account pages.

import { fileURLToPath } from "node:url";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const entry = "account";

/** The server that the pages call while `npm run start` serves them. */
const service = process.env.VESTIBULE_URL ?? "http://127.0.0.1:8080";

export default defineConfig(({ command }) => ({
  root: here(entry),
  // Relative, so that the pages work under any prefix that a proxy adds.
  base: command === "build" ? "./" : `/${entry}/`,
  publicDir: false,
  resolve: {
    alias: {
      "@vestibule/client": here("../../openapi/typescript/src/index.ts"),
      $shared: here("shared"),
    },
  },
  plugins: [
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
        assetFileNames: `assets/${entry}-[hash][extname]`,
        codeSplitting: false,
      },
    },
  },
  server: {
    proxy: { "/v1": service, "/version": service, [`/${entry}/accent.css`]: service },
    fs: { allow: [here("../..")] },
  },
}));
