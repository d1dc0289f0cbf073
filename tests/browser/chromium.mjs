// The browser of these tests, screenshots of its pages, and what else the tests share.
//
// VESTIBULE_SCREENSHOTS      a folder for screenshots: those that a test takes, and every page at a failure (none if unset)
// CHROMIUM                   the browser (by default /usr/bin/chromium)

import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { chromium } from "playwright-core";

const { VESTIBULE_SCREENSHOTS, CHROMIUM = "/usr/bin/chromium" } = process.env;

/** How long to wait for anything before the test fails, in milliseconds: long enough for a machine on which the browser hardly runs. */
export const TIMEOUT = 120_000;

export const browser = await chromium.launch({
  executablePath: CHROMIUM,
  timeout: TIMEOUT,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
  ignoreDefaultArgs: ["--disable-back-forward-cache"], // people have it
});
after(() => browser.close());

export async function screenshot(page, name) {
  if (!VESTIBULE_SCREENSHOTS) return;
  await mkdir(VESTIBULE_SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: join(VESTIBULE_SCREENSHOTS, `${name.replaceAll(/\W+/g, "-")}.png`), fullPage: true });
}

/** Defines a test that begins where the one before it ended, and takes screenshots if it fails. */
export function step(name, run) {
  test(name, async (running) => {
    try {
      await run(running);
    } catch (error) {
      const pages = browser.contexts().flatMap((context) => context.pages());
      for (const [index, page] of pages.entries()) await screenshot(page, `${name} ${index + 1}`).catch(() => {}); // it was closed
      throw error;
    }
  });
}

/** Returns a function that waits until a page of this browser has received all responses, and has shown them. */
export function settling(context) {
  const underWay = new Map(); // the number of requests, by page
  const count = (change) => (request) => {
    const page = request.frame().page();
    underWay.set(page, (underWay.get(page) ?? 0) + change);
  };
  context.on("request", count(1));
  for (const end of ["requestfinished", "requestfailed"]) context.on(end, count(-1));
  return async (page) => {
    do {
      await page.waitForLoadState("load");
      await page.evaluate(painted).catch(() => {}); // the page was left
    } while (underWay.get(page) > 0);
  };
}

/** In the page: waits until what has changed is painted, and nothing that ends moves any more. */
async function painted() {
  for (let frames = 0; frames < 2; frames++) await new Promise((resolve) => setTimeout(() => requestAnimationFrame(resolve)));
  const ending = document.getAnimations().filter((animation) => animation.effect.getComputedTiming().endTime !== Infinity);
  await Promise.allSettled(ending.map((animation) => animation.finished));
}

/** Returns a port on which nothing listens. */
export async function freePort() {
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address();
  listener.close();
  return port;
}
