// The names of browsers, in the page's language.

import type { Session } from "@vestibule/client";
import { browserOf } from "$shared/browser.js";
import { fill } from "$shared/language.svelte.js";
import { t } from "../texts/index.js";

export function browserName({ user_agent }: Pick<Session, "user_agent">): string {
  const browser = browserOf(user_agent);
  if (!browser) return t().sessions.otherProgram;
  return browser.system ? fill(t().sessions.browserOn, { browser: browser.name, system: browser.system }) : browser.name;
}

/** The name of the browser that shows this page. */
export function ownBrowserName(): string {
  return browserName({ user_agent: navigator.userAgent });
}
