// Opens the pages of a hub in a headless Chromium, on a phone and on a desktop, light and dark.
// Checks that they run nothing and load nothing from elsewhere, that nothing moves while they load,
// that nothing is wider than the screen, that axe finds no serious fault, and that those of a model
// of 10,000 tensors are short and fast. Leaves screenshots in a folder. `pages.py` fills the hub.
//
// Usage: node hub.mjs URL TOKEN FOLDER

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { SCHEMES, SCREENS, check, judge, launch, open } from './browser.mjs';

const [url, token, folder] = process.argv.slice(2);

const MODEL = 'model.safetensors';
const TENSOR = 'encoder.layer.0.attention.self.query.weight';
const PAGES = {
  home: '/',
  search: '/?search=mini&sort=-stored',
  repository: '/lab/minilm',
  revisions: '/lab/minilm/commits/main',
  model: `/lab/minilm/blob/main/${MODEL}`,
  filtered: `/lab/minilm/blob/main/${MODEL}?filter=attention+bf16&sort=-bits`,
  tensor: `/lab/minilm/blob/main/${MODEL}?tensor=${TENSOR}`,
  compare: '/lab/minilm/compare?from=v1&to=main',
  text: '/lab/minilm/blob/main/config.json',
  many: '/lab/many',
  'many-tensors': `/lab/many/blob/main/${MODEL}`,
  odd: '/lab/odd',
  'odd-tensors': `/lab/odd/blob/main/${MODEL}`,
  dataset: '/datasets/speech/voices',
  login: '/login',
};
const ADMIN = {
  'admin-usage': '/admin',
  'admin-tokens': '/admin/tokens',
  'admin-scrub': '/admin/scrub',
  'admin-audit': '/admin/audit',
};

/** The most that a page of a model of 10,000 tensors may take. */
const MOST = { bytes: 300_000, milliseconds: 200 };
const ROUNDS = 9;

/** The part of a page that pictures for the docs have, in pixels from the top. */
const TOP = 1200;

const own = (address) => address.startsWith(`${url}/static/`);

/** How far things have moved since a page was opened. */
function shift(page) {
  return page.evaluate(() => new Promise((resolve) => {
    let sum = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) sum += entry.value;
    }).observe({ type: 'layout-shift', buffered: true });
    setTimeout(() => resolve(sum), 50);
  }));
}

async function look(browser, pages) {
  for (const [name, path] of Object.entries(pages)) {
    for (const [screen, width] of Object.entries(SCREENS)) {
      for (const scheme of SCHEMES) {
        const page = await open(browser, url + path, { width, scheme, allowed: own });
        assert.equal(await shift(page), 0, `${path} moves`);
        await check(page, width);
        const file = `${name}-${screen}-${scheme}`;
        await page.screenshot({ path: join(folder, `${file}.png`), fullPage: true });
        if (screen === 'desktop' && scheme === 'light') {
          const all = await page.evaluate(() => document.documentElement.scrollHeight);
          const clip = { x: 0, y: 0, width, height: Math.min(all, TOP) };
          await page.screenshot({ path: join(folder, `${name}-top.png`), clip });
        }
        await page.close();
        const options = { width, scheme, strict: false, allowed: own };
        const judged = await open(browser, url + path, options);
        await judge(judged);
        await judged.close();
      }
    }
    console.log(`${name}: no serious fault`);
  }
}

/** Measures the pages of a large model. */
async function measure() {
  const large = PAGES['many-tensors'];
  const parts = ['filter=experts&sort=-bits&page=7', 'tensor=model.layers.3.experts.9.norm.weight'];
  for (const path of [PAGES.many, large, ...parts.map((part) => `${large}?${part}`)]) {
    const times = [];
    let bytes = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      const start = performance.now();
      const answer = await fetch(url + path);
      assert.equal(answer.status, 200, path);
      bytes = (await answer.arrayBuffer()).byteLength;
      times.push(performance.now() - start);
    }
    const first = times[0];
    const median = times.sort((a, b) => a - b)[ROUNDS >> 1];
    const [usual, cold] = [median, first].map((time) => `${time.toFixed(0)} ms`);
    console.log(`${path}: ${bytes} bytes, ${usual} (the first time ${cold})`);
    assert(bytes <= MOST.bytes, `${path} has ${bytes} bytes`);
    assert(median <= MOST.milliseconds, `${path} takes ${median} ms`);
  }
}

/** Signs in as somebody would. */
async function signIn(browser) {
  const page = await browser.newPage();
  await page.goto(`${url}/admin`);
  await page.type('#token', token);
  await Promise.all([page.waitForNavigation(), page.click('.stack button')]);
  assert.equal(page.url(), `${url}/admin`);
  await page.close();
}

/** Has the store be scrubbed, and a token made and revoked, by the buttons. */
async function work(browser) {
  const page = await browser.newPage();
  await page.goto(`${url}/admin/scrub`);
  await Promise.all([page.waitForNavigation(), page.click('form[action="/admin/scrub"] button')]);
  for (let tries = 0; !(await page.content()).includes('The last one of this server'); tries += 1) {
    assert(tries < 300, 'the scrub does not end');
    await new Promise((resolve) => setTimeout(resolve, 200));
    await page.goto(`${url}/admin/scrub`);
  }
  await page.goto(`${url}/admin/tokens`);
  await page.type('#name', 'reader');
  await Promise.all([page.waitForNavigation(), page.click('.stack button')]);
  assert.match(await page.$eval('.commands', (element) => element.textContent), /^hf_\w{37}\s*$/);
  await page.goto(`${url}/admin/tokens`);
  await Promise.all([
    page.waitForNavigation(),
    page.evaluate(() => {
      const rows = [...document.querySelectorAll('tbody tr')];
      const row = rows.find((element) => element.textContent.includes('reader'));
      row.querySelector('button').click();
    }),
  ]);
  assert(!(await page.content()).includes('>reader<'), 'it was not revoked');
  await page.close();
}

const browser = await launch();
try {
  await measure();
  await look(browser, PAGES);
  const page = await open(browser, `${url}${PAGES.model}`, {
    width: SCREENS.desktop, scheme: 'light', allowed: own,
  });
  const digest = await page.$eval('tbody tr td:last-child a', (element) => element.href);
  await page.pdf({ path: join(folder, 'print.pdf'), format: 'A4' });
  await page.close();
  await look(browser, { holders: digest.slice(url.length) });
  await signIn(browser);
  await work(browser);
  await look(browser, ADMIN);
} finally {
  await browser.close();
}
