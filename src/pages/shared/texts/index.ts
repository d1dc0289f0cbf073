// The texts that all entries share, in the page's language.

import { language } from "../language.svelte.js";
import type { Texts } from "./en.js";

export const words = (): Texts => language.texts.shared;
