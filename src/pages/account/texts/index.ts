// The texts of the account pages, in the page's language.

import { dictionary } from "$shared/language.svelte.js";
import { de } from "./de.js";
import { en } from "./en.js";

export const t = dictionary({ en, de });
