// The pages of one entry: `<address>/<entry>/<page>`. A link to one of them changes the page without loading it again.

import { address } from "./address.js";
import { takeToken } from "./token.js";

/** How to go to a page. */
interface Way {
  replace?: boolean;
  query?: Record<string, string>;
  isDetour?: boolean;
}

export class Router<Page extends string> {
  /** The page in the address, or `undefined` if there is none of this name. */
  page = $state<Page>();
  /** The parameters in the address. */
  query = $state.raw(new URLSearchParams());
  /** Grows with each visit of a page, also of the same page. 0 is the page that was loaded. */
  visit = $state(0);
  /** The address of the entry, with a slash at its end. */
  readonly root: string;
  readonly #pages: readonly Page[];
  /** The token of the mailed link that has opened a page. In memory alone, and forgotten when the person goes elsewhere. */
  #link: { page: Page; token: string } | undefined;
  /** The page on which the token is kept as well. */
  #detour: Page | undefined;

  constructor(entry: string, pages: readonly Page[]) {
    this.root = `${address}/${entry}/`;
    this.#pages = pages;
    this.#read();
    addEventListener("popstate", () => this.#arrive());
    document.addEventListener("click", (event) => this.#follow(event));
  }

  /** Returns the address of a page. */
  href(page: Page, query: Record<string, string> = {}): string {
    const parameters = new URLSearchParams(query).toString();
    return new URL(this.root).pathname + page + (parameters && `?${parameters}`);
  }

  /**
   * Goes to a page. With `replace`, the way back does not lead to the present one. A detour returns to the present page, which then
   * still has the token of its link.
   */
  go(page: Page, { replace = false, query = {}, isDetour = false }: Way = {}) {
    this.#detour = isDetour ? page : undefined;
    this.#enter(this.href(page, query), replace);
  }

  /** Returns the token of the mailed link that has opened a page. */
  token(page: Page): string | undefined {
    return this.#link?.page === page ? this.#link.token : undefined;
  }

  /** Forgets the token, which has been used. */
  forget() {
    this.#link = undefined;
  }

  /** Shows a page as the link of a mail does; without a token, as if no link had opened it. */
  open(page: Page, token: string | undefined) {
    this.#link = token ? { page, token } : undefined;
    this.go(page, { replace: true });
  }

  /** Whether an address belongs to this entry. */
  contains(url: URL): boolean {
    return url.href.startsWith(this.root);
  }

  /** Goes to an address, which may be outside of this entry. The way back does not lead to the present page. */
  replaceWith(url: URL) {
    if (this.contains(url)) this.#enter(url.href, true);
    else location.replace(url);
  }

  #enter(href: string, replace: boolean) {
    history[replace ? "replaceState" : "pushState"](null, "", href);
    this.#arrive();
    scrollTo(0, 0);
  }

  #arrive() {
    this.#read();
    this.visit += 1;
  }

  #read() {
    const token = takeToken();
    const name = location.href.slice(this.root.length).replace(/[?#].*$/, "").replace(/\/$/, "");
    this.page = this.#pages.find((page) => page === name);
    this.query = new URLSearchParams(location.search);
    if (this.page !== this.#link?.page && this.page !== this.#detour) this.#link = undefined;
    if (token && this.page !== undefined) this.#link = { page: this.page, token };
  }

  /** Follows a link within the entry, unless it is to open elsewhere. */
  #follow(event: MouseEvent) {
    const modified = event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (modified || !link?.href || link.target || link.hasAttribute("download")) return;
    const url = new URL(link.href);
    const isAnchor = url.hash && url.pathname === location.pathname;
    if (!this.contains(url) || isAnchor) return;
    event.preventDefault();
    this.#enter(url.href, url.href === location.href);
  }
}
