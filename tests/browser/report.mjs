// Opens a report in a headless Chromium, on a phone and on a desktop, light and dark. Checks that
// it loads and runs nothing, that its numbers are those of the JSON, that axe finds no serious
// fault, and that nothing is wider than the screen. Leaves screenshots in a folder.
//
// Usage: node report.mjs REPORT.html REPORT.json FOLDER

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { SCHEMES, SCREENS, check, judge, launch, open } from './browser.mjs';

const [html, json, folder] = process.argv.slice(2).map((path) => resolve(path));
const report = JSON.parse(await readFile(json, 'utf8'));
const url = pathToFileURL(html).href;

const UNITS = {
  '': 1, B: 1, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12, '%': 1, 'MB/s': 1, 'µs': 1e-6, ms: 1e-3, s: 1,
};

/** The number at a JSON pointer. */
function at(pointer) {
  return pointer.slice(1).split('/').reduce((value, key) => value[key], report);
}

/** The number that a text shows, and the worth of its last digit. */
function parsed(text) {
  const [, digits, unit] = /^(-?[\d,]+(?:\.\d+)?) ?(\D*)$/.exec(text) ?? assert.fail(text);
  const plain = digits.replaceAll(',', '');
  const decimals = plain.split('.')[1]?.length ?? 0;
  assert(unit in UNITS, text);
  return { value: plain * UNITS[unit], digit: UNITS[unit] / 10 ** decimals };
}

const browser = await launch();
try {
  for (const [screen, width] of Object.entries(SCREENS)) {
    for (const scheme of SCHEMES) {
      const page = await open(browser, url, { width, scheme });
      await page.screenshot({ path: join(folder, `${screen}-${scheme}.png`), fullPage: true });
      if (screen === 'desktop' && scheme === 'light') {
        await page.screenshot({ path: join(folder, 'top.png') });
      }
      await check(page, width);

      const numbers = await page.$$eval('data[data-json]', (cells) =>
        cells.map((cell) => [cell.dataset.json, cell.value, cell.textContent]));
      assert(numbers.length > 50, `${numbers.length} numbers`);
      for (const [pointer, value, text] of numbers) {
        assert.equal(Number(value), at(pointer), pointer);
        const shown = parsed(text);
        // Half a digit, and what is lost by binary fractions.
        const off = Math.abs(shown.value - Number(value));
        assert(off <= 0.5001 * shown.digit + 1e-9, `${pointer}: ${text}, not ${value}`);
      }
      await page.close();

      const judged = await open(browser, url, { width, scheme, strict: false });
      await judge(judged);
      await judged.close();
      console.log(`${screen}, ${scheme}: ${numbers.length} numbers, no serious fault`);
    }
  }
  const page = await open(browser, url, { width: SCREENS.desktop, scheme: 'light' });
  await page.pdf({ path: join(folder, 'print.pdf'), format: 'A4' });
  console.log('prints');
} finally {
  await browser.close();
}
