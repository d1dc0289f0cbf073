// Serves the example: `node example/serve.mjs` after `npm run build`.
//
// VESTIBULE   the address of Vestibule, as the browser calls it (http://localhost:8080)
// PORT        the port to listen on (5173)

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

const { VESTIBULE = "http://localhost:8080", PORT = 5173 } = process.env;

const FILES = {
  "/": ["index.html", "text/html"],
  "/example.js": ["example.js", "text/javascript"],
  "/product.html": ["product.html", "text/html"],
  "/product.js": ["product.js", "text/javascript"],
};

/** Returns the file for a path, and its media type: a file of the example, or a module of the client. */
function file(path) {
  const isModule = /^\/client(\/[\w-]+)+(\.gen)?\.js$/.test(path);
  return isModule ? [path.replace("/client", "../dist"), "text/javascript"] : FILES[path];
}

const server = createServer(async ({ url }, answer) => {
  const [name, type] = file(url.split("?")[0]) || [];
  const text = name && (await readFile(new URL(name, import.meta.url), "utf8").catch(() => undefined));
  if (text === undefined) return answer.writeHead(404).end();
  answer.writeHead(200, {
    "content-type": `${type}; charset=utf-8`,
    "content-security-policy": `default-src 'none'; script-src 'self'; connect-src ${VESTIBULE}; frame-ancestors 'none'`,
  });
  answer.end(text.replace("%VESTIBULE%", VESTIBULE));
});
server.listen(Number(PORT), "127.0.0.1", () => console.log(`The example is at http://localhost:${server.address().port}`));
