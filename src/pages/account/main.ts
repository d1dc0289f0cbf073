// The account pages: begins to show them.

import "$shared/style/base.css";
import { mount } from "svelte";
import { language } from "$shared/language.svelte.js";
import { options } from "$shared/options.svelte.js";
import { session } from "$shared/session.svelte.js";
import { version } from "$shared/version.svelte.js";
import Account from "./Account.svelte";
import { files } from "./texts/index.js";

void options.read();
session.follow();
version.follow();

if (await language.begin(files)) mount(Account, { target: document.getElementById("page")! });
else document.getElementById("failed")!.hidden = false;
