// The account pages and their addresses.

import { Router } from "$shared/router.svelte.js";

/** The pages that everybody can open. Mails link to most of them. */
export const OPEN = ["sign-in", "sign-up", "reset", "revert", "accept"] as const;
/** The pages that need a session. The first one has no name in the address: it is the profile. */
export const OWN = ["", "email", "verify", "password", "factors", "sessions", "close"] as const;

export type OpenPage = (typeof OPEN)[number];
export type OwnPage = (typeof OWN)[number];
export type Page = OpenPage | OwnPage;

export const router = new Router<Page>("account", [...OPEN, ...OWN]);
