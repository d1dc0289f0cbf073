// The texts that all entries share, in the page's language.

import { dictionary } from "../language.svelte.js";
import { de } from "./de.js";
import { en } from "./en.js";

export const words = dictionary({ en, de });
