// The account pages: begins to show them.

import "$shared/style/base.css";
import { mount } from "svelte";
import { options } from "$shared/options.svelte.js";
import { session } from "$shared/session.svelte.js";
import { version } from "$shared/version.svelte.js";
import Account from "./Account.svelte";

void options.read();
session.follow();
version.follow();
mount(Account, { target: document.getElementById("page")! });
