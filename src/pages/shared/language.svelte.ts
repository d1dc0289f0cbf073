// The language of the page, and the formats of that language. Texts are dictionaries: English is the type, and the compiler
// reports a text that another language lacks.

import { keep, kept } from "./storage.js";

/** The languages of the pages, each by its own name. */
export const LANGUAGES = { en: "English", de: "Deutsch" } as const;

export type Language = keyof typeof LANGUAGES;

/** Why the page has its language. A later reason counts more: the person's own choice more than everything else. */
const REASONS = ["browser", "account", "mail", "choice"] as const;
type Reason = (typeof REASONS)[number];

/** The name under which the browser keeps the person's choice. */
const CHOICE = "language";

class PageLanguage {
  current = $state<Language>("en");
  #reason: Reason = "browser";

  constructor() {
    const preferred = navigator.languages.map((tag) => tag.split("-")[0]).find(isLanguage);
    this.#set(preferred ?? "en", "browser");
    this.prefer(kept("browser", CHOICE), "choice");
  }

  /** Changes to a language, unless it is none of the pages' or a stronger reason demands another one. */
  prefer(language: string | null | undefined, reason: Reason) {
    const counts = REASONS.indexOf(reason) >= REASONS.indexOf(this.#reason);
    if (counts && language && isLanguage(language)) this.#set(language, reason);
  }

  /** Changes to the language that the person has chosen, also for later visits. */
  choose(language: Language) {
    keep("browser", CHOICE, language);
    this.prefer(language, "choice");
  }

  #set(language: Language, reason: Reason) {
    this.current = language;
    this.#reason = reason;
    document.documentElement.lang = language;
  }
}

function isLanguage(tag: string | undefined): tag is Language {
  return tag !== undefined && Object.hasOwn(LANGUAGES, tag);
}

export const language = new PageLanguage();

/** Returns a function that returns the texts in the page's language. */
export function dictionary<Texts>(texts: Record<Language, Texts>): () => Texts {
  return () => texts[language.current];
}

/** Returns a day and a time, such as "26 November 2026 at 17:05". */
export function moment(at: Date | string): string {
  return new Intl.DateTimeFormat(locale(), { dateStyle: "long", timeStyle: "short" }).format(new Date(at));
}

/** Returns a day, such as "26 November 2026". */
export function day(at: Date | string): string {
  return new Intl.DateTimeFormat(locale(), { dateStyle: "long" }).format(new Date(at));
}

/** Returns a time of today, to the second if it is within two minutes; with the day if it is another day. */
export function clock(at: Date): string {
  const now = new Date();
  if (at.toDateString() !== now.toDateString()) return moment(at);
  const isSoon = at.getTime() - now.getTime() < 120_000;
  return new Intl.DateTimeFormat(locale(), { timeStyle: isSoon ? "medium" : "short" }).format(at);
}

/** Returns how long ago a time was, such as "3 minutes ago". `now` is the present time in milliseconds. */
export function ago(at: string, now: number): string {
  const seconds = Math.min(0, (Date.parse(at) - now) / 1000);
  const format = new Intl.RelativeTimeFormat(locale(), { numeric: "auto" });
  if (seconds < -30 * 86_400) return day(at);
  for (const [unit, size] of [["day", 86_400], ["hour", 3_600], ["minute", 60]] as const) {
    if (-seconds >= size) return format.format(Math.round(seconds / size), unit);
  }
  return format.format(Math.round(seconds), "second");
}

/** The browser's own variant of the page's language, whose formats the person is used to, such as British English. */
function locale(): string {
  return navigator.languages.find((tag) => tag.split("-")[0] === language.current) ?? (language.current === "en" ? "en-GB" : language.current);
}
