// A person in a real Chromium: log in with a click, see the invoices, log out.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { scenario } from './harness.mjs';

let app, browser, profile;
before(async () => {
  app = await scenario();
  profile = mkdtempSync(join(tmpdir(), 'airside-chromium-'));
  browser = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    viewport: { width: 360, height: 740 },
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  });
});
after(async () => {
  await browser?.close();
  await app?.stop();
  if (profile) rmSync(profile, { recursive: true, force: true });
});

test('logs in with a click, sees the invoices, logs out', async () => {
  const page = await browser.newPage();
  const violations = [];
  page.on('console', (message) => message.type() === 'error' && violations.push(message.text()));

  await page.goto(`${app.url}/invoices`);
  assert.equal(new URL(page.url()).origin, app.provider.url);
  await page.click('button[value="alice"]');
  await page.waitForURL(`${app.url}/invoices`);
  assert.match(await page.textContent('body'), /Alice/);

  // The same session opens the API, and tells the front end who is there.
  assert.equal((await page.goto(`${app.url}/api/invoices/`)).status(), 200);
  const session = await page.goto(`${app.url}/auth/session`);
  assert.equal((await session.json()).subject, 'alice');
  assert.equal(await page.evaluate(() => document.cookie), '', 'scripts see no cookie of ours');

  await page.goto(`${app.url}/auth/logout`);
  assert.equal(await page.textContent('h1'), 'Sign out?');
  await page.click('button');
  await page.waitForURL((url) => url.pathname === '/auth/logged-out' || url.origin === app.provider.url);
  if (new URL(page.url()).origin === app.provider.url) {
    await page.click('button[name="logout"]');
    await page.waitForURL(`${app.url}/auth/logged-out**`);
  }
  assert.equal(await page.textContent('h1'), 'You are signed out');
  assert.equal((await page.goto(`${app.url}/auth/session`)).status(), 401);
  assert.deepEqual(violations.filter((text) => /Content Security Policy/.test(text)), []);
});

test('pages fit a narrow screen, light and dark', async () => {
  const page = await browser.newPage();
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    for (const path of ['/auth/logged-out', '/auth/callback', '/auth/nothing', '/auth/login?provider=nobody']) {
      await page.goto(app.url + path);
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(width <= 360, `${path}: ${width}`);
      assert.ok((await page.$$('a.button, button')).length >= 1, `${path}: a next click`);
      const colours = await page.evaluate(() => {
        const style = getComputedStyle(document.body);
        return [style.backgroundColor, style.color];
      });
      assert.notEqual(colours[0], colours[1]);
      if (process.env.SCREENSHOTS) {
        await page.screenshot({ path: join(process.env.SCREENSHOTS, `${path.replaceAll(/\W+/g, '-')}-${colorScheme}.png`) });
      }
    }
  }
});
