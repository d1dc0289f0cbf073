// Every page in every state that it can show, in each language, theme and width: axe-core finds nothing, and nothing is cut off.
//
// VESTIBULE_MATRIX   `whole` looks at every combination; otherwise each page is looked at in one of them

import assert from "node:assert/strict";
import { screenshot, step } from "./chromium.mjs";
import { views } from "./account/views.mjs";
import { LANGUAGES, THEMES, WIDTHS, faults, visit } from "./visitor.mjs";

const isWhole = process.env.VESTIBULE_MATRIX === "whole";

/** The widths at which a page must not be wider than its window: the narrowest, and a window of 1280 px at 200 %. */
const NARROW = [320, 640];

const looks = LANGUAGES.flatMap((language) => THEMES.flatMap((theme) => WIDTHS.map((width) => ({ language, theme, width }))));

for (const [index, { name, service, arrive }] of views.entries()) {
  const chosen = isWhole ? looks : [looks[index % looks.length]];
  for (const language of LANGUAGES.filter((language) => chosen.some((look) => look.language === language))) {
    step(`W01 everybody can use this page: ${name}, in ${language}`, async () => {
      const visitor = await visit(service, { language, mayFail: true });
      await arrive(visitor);
      await visitor.settled();
      assert.equal(await visitor.page.locator("html").getAttribute("lang"), language);
      for (const { theme, width } of chosen.filter((look) => look.language === language)) {
        await visitor.page.emulateMedia({ colorScheme: theme, reducedMotion: "reduce" }); // no colour is on its way to another
        await visitor.page.setViewportSize({ width, height: 900 });
        await visitor.settled();
        assert.deepEqual(await visitor.accessibilityFindings(), []);
        await screenshot(visitor.page, `${name} ${language} ${theme} ${width}`);
      }
      for (const width of NARROW) {
        await visitor.page.setViewportSize({ width, height: 900 });
        await visitor.fits();
      }
    });
  }
}

if (isWhole) step("W01 no page has caused a report or an error", () => assert.deepEqual(faults, []));
