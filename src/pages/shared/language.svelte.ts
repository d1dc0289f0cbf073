// The language of the page, its texts, and its formats. The texts of each language are data in a file of their own, so that another
// language makes no page slower.

import { keep, kept } from "./storage.js";
import type { Texts as SharedTexts } from "./texts/en.js";
import type { Placeholder } from "./texts/types.js";

/** The languages of the pages, each by its own name. */
export const LANGUAGES = { en: "English", de: "Deutsch" } as const;

export type Language = keyof typeof LANGUAGES;

/** Why the page has its language. A later reason counts more: the person's own choice more than everything else. */
const REASONS = ["browser", "account", "mail", "choice"] as const;
type Reason = (typeof REASONS)[number];

/** The name under which the browser keeps the person's choice. */
const CHOICE = "language";

/** The texts in one language: those that all entries share, and those of one entry. */
export interface Texts<Own = unknown> {
  shared: SharedTexts;
  own: Own;
}

class PageLanguage {
  /** The language that the page shows. */
  current = $state<Language>("en");
  #texts = $state.raw<Texts>();
  /** The addresses of the files with the texts. */
  #files: Partial<Record<Language, string>> = {};
  #reason: Reason = "browser";
  /** The language that the page will show once its texts are here. */
  #wanted: Language = "en";

  /** The texts. Pages are shown once they are here. */
  get texts(): Texts {
    if (!this.#texts) throw new Error("no texts have been loaded");
    return this.#texts;
  }

  /** Loads the texts in the language that the person prefers. Returns whether they are here. */
  begin(files: Record<Language, string>): Promise<boolean> {
    this.#files = files;
    const preferred = navigator.languages.map((tag) => tag.split("-")[0]).find(isLanguage);
    const chosen = kept("browser", CHOICE);
    return isLanguage(chosen) ? this.#show(chosen, "choice") : this.#show(preferred ?? "en", "browser");
  }

  /** Changes to a language, unless it is none of the pages' or a stronger reason demands another one. */
  prefer(language: string | null | undefined, reason: Reason) {
    const counts = REASONS.indexOf(reason) >= REASONS.indexOf(this.#reason);
    if (counts && language && isLanguage(language)) void this.#show(language, reason);
  }

  /** Changes to the language that the person has chosen, also for later visits. Returns whether its texts are here. */
  choose(language: Language): Promise<boolean> {
    keep("browser", CHOICE, language);
    return this.#show(language, "choice");
  }

  /** If the texts cannot be loaded, the page keeps its language. */
  async #show(language: Language, reason: Reason): Promise<boolean> {
    this.#reason = reason;
    this.#wanted = language;
    const texts = await load(this.#files[language] ?? "");
    if (!texts) return false;
    if (language !== this.#wanted) return true; // another language was wanted in the meantime
    this.#texts = texts;
    this.current = language;
    document.documentElement.lang = language;
    return true;
  }
}

function isLanguage(tag: string | undefined): tag is Language {
  return tag !== undefined && Object.hasOwn(LANGUAGES, tag);
}

/** Loads texts. Returns `undefined` if that fails: the network, or a newer service that has other texts. */
async function load(address: string): Promise<Texts | undefined> {
  try {
    const response = await fetch(address);
    return response.ok ? ((await response.json()) as Texts) : undefined;
  } catch {
    return undefined;
  }
}

export const language = new PageLanguage();

/** Puts values into a text: `fill("Continue to {service}.", { service })`. */
export function fill<Text extends string>(text: Text, values: Record<Placeholder<Text>, string | number>): string {
  return text.replace(/\{(\w+)\}/g, (_, name: Placeholder<Text>) => String(values[name]));
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
  for (const [unit, size] of [["day", 86_400], ["hour", 3_600], ["minute", 60]] as const) {
    if (-seconds >= size) return format.format(Math.round(seconds / size), unit);
  }
  return format.format(Math.round(seconds), "second");
}

/** The browser's own variant of the page's language, whose formats the person is used to, such as British English. */
function locale(): string {
  return navigator.languages.find((tag) => tag.split("-")[0] === language.current) ?? (language.current === "en" ? "en-GB" : language.current);
}
