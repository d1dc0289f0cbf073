// Where people go after they have signed in: back to the page that sent them, or to the beginning of the account pages.

import { options } from "$shared/options.svelte.js";
import { forgetDraft } from "./draft.svelte.js";
import { router, type Page } from "./router.js";

/**
 * Returns the address in `?return_to=`. Ignores it unless it belongs to these pages or to an origin that the settings name, so
 * that no link to these pages leads anywhere else.
 */
function returnAddress(): URL | undefined {
  const url = parsed(router.query.get("return_to") ?? "");
  if (!url || (!router.contains(url) && !options.current?.return_to.includes(url.origin))) return undefined;
  // `blob:https://…` and `https://name@…` have the origin too, and are no pages of the product.
  return url.href.startsWith(`${url.origin}/`) ? url : undefined;
}

function parsed(text: string): URL | undefined {
  try {
    return new URL(text);
  } catch {
    return undefined;
  }
}

let product: URL | undefined;

/** Returns the page of the product from which the person came, also after other account pages. */
export function productAddress(): URL | undefined {
  const url = returnAddress();
  if (url && !router.contains(url)) product = url;
  return product;
}

/** Goes on after a sign-in. `#signed_in` tells the product's page that there is a session which it has not seen. */
export function goOn() {
  forgetDraft();
  const url = returnAddress();
  const wanted = router.query.get("return_to");
  if (!url && wanted) console.warn(`The settings (account_pages.return_to) do not name the origin of ${wanted}`);
  if (!url) return router.go("", { replace: true });
  if (!router.contains(url)) url.hash = "signed_in";
  router.replaceWith(url);
}

/** Returns the address of a page from which people return to the same address. */
export function hrefReturning(page: Page): string {
  return router.href(page, returnQuery());
}

/** The parameter that names the address to return to, if there is one. */
export function returnQuery(): Record<string, string> {
  const url = returnAddress();
  return url ? { return_to: url.href } : {};
}
