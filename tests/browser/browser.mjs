// What the checks of pages share: a headless Chromium (of Debian), screens and schemes, and what
// every page is held to: it runs nothing and loads nothing from elsewhere, is not wider than the
// screen, and axe finds no serious fault in it.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import puppeteer from 'puppeteer-core';

export const SCREENS = { phone: 375, desktop: 1280 };
export const SCHEMES = ['light', 'dark'];

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export function launch() {
  return puppeteer.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    // The pages are our own, and root has no sandbox.
    args: ['--no-sandbox'],
  });
}

/**
 * Opens a page. `allowed` tells which addresses it may load beside its own; `strict` is whether its
 * own policy stays in force.
 */
export async function open(browser, url, { width, scheme, strict = true, allowed = () => false }) {
  const page = await browser.newPage();
  const loaded = [];
  page.on('request', (request) => loaded.push(request.url()));
  page.on('pageerror', (error) => assert.fail(error));
  page.on('console', (message) => assert.fail(`${url}: ${message.text()}`));
  await page.setBypassCSP(!strict);
  await page.setViewport({ width, height: 900 });
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
  await page.goto(url, { waitUntil: 'load' });
  const others = loaded.filter((address) => address !== url && !allowed(address));
  assert.deepEqual(others, [], `${url} loads something else`);
  return page;
}

/** Checks an open page. */
export async function check(page, width) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.equal(wide, width, `${page.url()} is wider than the screen`);
  assert.equal(await page.$('script'), null);
}

/** Has axe judge a page, which has to be open without its policy. */
export async function judge(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  const serious = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
  const named = serious.map(({ id, nodes }) => `${id}: ${nodes[0].html}`);
  assert.deepEqual(named, [], `axe, of ${page.url()}`);
}
