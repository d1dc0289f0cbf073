// The browser that these stories are told in, and pictures of what it shows.
//
// VESTIBULE_SCREENSHOTS      a folder for pictures: what a story asks for, and every page at a failure (none when unset)
// CHROMIUM                   the browser (/usr/bin/chromium)

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { chromium } from "playwright-core";

const { VESTIBULE_SCREENSHOTS, CHROMIUM = "/usr/bin/chromium" } = process.env;

export const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
after(() => browser.close());

export async function photograph(page, name) {
  if (!VESTIBULE_SCREENSHOTS) return;
  await mkdir(VESTIBULE_SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: join(VESTIBULE_SCREENSHOTS, `${name.replaceAll(/\W+/g, "-")}.png`), fullPage: true });
}

/** One test of a tale; each begins where the one before it ended. */
export function story(name, tell) {
  test(name, async () => {
    try {
      await tell();
    } catch (error) {
      const pages = browser.contexts().flatMap((context) => context.pages());
      for (const [at, page] of pages.entries()) await photograph(page, `${name} ${at + 1}`);
      throw error;
    }
  });
}
