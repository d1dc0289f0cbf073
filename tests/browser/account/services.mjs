// The servers of the account pages' tests, started once: one is open for registrations, one requires a proof of the address first and
// has no passkeys, because it has no host name, and one demands a second factor of everyone. And a product on another port, to which
// the first may send people back.

import { once } from "node:events";
import { createServer } from "node:http";
import { after } from "node:test";
import { startService } from "../service.mjs";

const PAGE = `<!doctype html><html lang="en"><title>Product</title><main><h1>The product</h1></main></html>`;

const product = createServer((_, answer) => answer.setHeader("content-type", "text/html").end(PAGE)).listen(0, "127.0.0.1");
await once(product, "listening");

/** The origin of a page that is not one of the service's: another port of the same site. */
export const PRODUCT = `http://localhost:${product.address().port}`;

const OPEN = { REGISTRATION__MODE: "open", ACCOUNT_PAGES__NAME: "Vestibule", ACCOUNT_PAGES__RETURN_TO: PRODUCT, CORS__ORIGINS: PRODUCT };
const VERIFIED = { REGISTRATION__MODE: "verified", ACCOUNT_PAGES__NAME: "Harbour", ACCOUNT_PAGES__ACCENT: "#8a2b52" };
const STRICT = { REGISTRATION__MODE: "open", SECOND_FACTOR__REQUIRE: "everyone" };
export const [open, verified, strict] = await Promise.all([startService(OPEN), startService(VERIFIED, "127.0.0.1"), startService(STRICT)]);

after(() => Promise.all([open.stop(), verified.stop(), strict.stop(), product.close()]));
