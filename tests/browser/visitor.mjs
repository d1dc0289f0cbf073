// A person with a browser: opens the account pages, reads headings and texts, fills in fields and presses buttons by their visible
// labels. Whatever a page must never cause is collected on the way.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { afterEach } from "node:test";
import { TIMEOUT, browser, settling } from "./chromium.mjs";

const axe = createRequire(import.meta.url)("axe-core");

/** What the pages have caused and must not: reports of policies, exceptions, errors in the console, requests that failed. */
export const faults = [];

/** The requests of all pages, such as `POST /v1/sessions`. */
export const requests = new Set();

/** Languages, themes and widths that the pages are made for. */
export const LANGUAGES = ["en", "de"];
export const THEMES = ["light", "dark"];
export const WIDTHS = [360, 1280];

const AXE = { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"], resultTypes: ["violations"] };

afterEach(() => Promise.all(browser.contexts().map((context) => context.close())));

/** Opens a browser that knows nothing yet. It is closed at the end of the test. With `mayFail`, requests may fail. */
export async function visit(service, { language = "en", width = 1280, theme = "light", mayFail = false } = {}) {
  const locale = { en: "en-GB", de: "de-DE" }[language];
  const context = await browser.newContext({ locale, viewport: { width, height: 900 }, colorScheme: theme });
  context.setDefaultTimeout(TIMEOUT);
  await watch(context, service, mayFail);
  return new Visitor(context, service, language, await context.newPage());
}

/** Collects the faults and the requests of a browser. */
async function watch(context, { origin }, mayFail) {
  const isApi = (url) => url.startsWith(`${origin}/v1/`);
  context.on("weberror", (error) => faults.push(`uncaught: ${error.error().stack}`));
  context.on("console", (message) => {
    const refused = isApi(message.location().url) && /status of (4|503)/.test(message.text());
    const isIcon = message.location().url.endsWith("/favicon.ico"); // for which browsers ask by themselves
    const advises = message.text().startsWith("The settings (account_pages.return_to)"); // whoever has written the link
    const failed = mayFail && /^Failed to load resource/.test(message.text());
    if (["error", "warning"].includes(message.type()) && !refused && !isIcon && !advises && !failed) faults.push(`console: ${message.text()} ${message.location().url}`);
  });
  context.on("request", (request) => {
    const { origin: target, pathname } = new URL(request.url());
    if (target === origin) requests.add(`${request.method()} ${pathname}`);
  });
  context.on("requestfailed", (request) => {
    const left = request.failure().errorText === "net::ERR_ABORTED"; // the page was left before the response arrived
    if (!left && !mayFail) faults.push(`failed: ${request.url()} ${request.failure().errorText}`);
  });
  context.on("response", (answer) => {
    if (answer.status() >= 400 && !isApi(answer.url())) faults.push(`${answer.status()}: ${answer.url()}`);
  });
  await context.exposeFunction("reportViolation", (violation) => faults.push(`policy: ${violation}`));
  await context.addInitScript(() => document.addEventListener("securitypolicyviolation", (event) =>
    window.reportViolation(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber} ${event.sample}`)));
}

export class Visitor {
  constructor(context, service, language, page) {
    Object.assign(this, { context, service, language, page, settling: settling(context) });
  }

  /** Opens an account page, such as `sign-in`, or the address in a mail. */
  async open(path) {
    await this.page.goto(new URL(path, `${this.service.origin}/account/`).href);
    await this.page.getByRole("heading", { level: 1 }).waitFor();
  }

  /** Opens the same in another tab. */
  async openTab(path) {
    const tab = new Visitor(this.context, this.service, this.language, await this.context.newPage());
    await tab.open(path);
    return tab;
  }

  /** Returns the field with this label, to which a page adds whether the field may stay empty. */
  field(label) {
    const words = label.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
    return this.page.getByRole("main").getByLabel(new RegExp(`^\\s*${words}(\\s*\\(optional\\))?\\s*$`));
  }

  /** Types into the fields with these labels. */
  async fill(values) {
    for (const [label, value] of Object.entries(values)) await this.field(label).fill(value);
  }

  button(name) {
    return this.page.getByRole("button", { name, exact: true });
  }

  press(name) {
    return this.button(name).click();
  }

  follow(name) {
    return this.page.getByRole("link", { name, exact: true }).click();
  }

  /** Waits until the page has this heading. */
  arrives(heading) {
    return this.page.getByRole("heading", { level: 1, name: heading, exact: true }).waitFor();
  }

  /** Waits until the page shows this text. */
  sees(text) {
    return this.page.getByText(text).filter({ visible: true }).first().waitFor();
  }

  /** Waits until the field with this label is marked as wrong. Returns the text that explains it. */
  async faultOf(label) {
    const field = this.field(label);
    await field.and(this.page.locator("[aria-invalid=true]")).waitFor();
    const ids = (await field.getAttribute("aria-describedby")).split(" ");
    const texts = await Promise.all(ids.map((id) => this.page.locator(`#${id}`).innerText()));
    return texts.join(" ");
  }

  /** Returns the page's findings by axe-core, as text. */
  async accessibilityFindings() {
    if (!(await this.page.evaluate(() => "axe" in window))) await this.page.evaluate(axe.source);
    const { violations } = await this.page.evaluate((options) => window.axe.run(document, options), AXE);
    return violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html}\n${failureSummary}`));
  }

  /** Checks that nothing is cut off or must be scrolled sideways. */
  async fits() {
    const { content, window } = await this.page.evaluate(() => ({ content: document.documentElement.scrollWidth, window: innerWidth }));
    assert.ok(content <= window, `the content is ${content} px wide, the window ${window} px`);
  }

  /** Waits until nothing is under way. */
  settled() {
    return this.settling(this.page);
  }
}
