// The texts of the account pages, in the page's language.

import { language, type Language } from "$shared/language.svelte.js";
import de from "./de.ts?data";
import en from "./en.ts?data";
import type { Texts } from "./en.js";

/** The addresses of the files with the texts. */
export const files: Record<Language, string> = { en, de };

export const t = (): Texts => language.texts.own as Texts;
