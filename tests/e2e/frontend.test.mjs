// A front end in a real Chromium: the demo's page with its fetch wrapper (docs/frontend.md). A 401
// leads to the login and back to the same address; expiry and a logout elsewhere are noticed.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { chromium } from 'playwright-core';
import { forge, oidcProvider, request, scenario } from './harness.mjs';

const launch = (profile) =>
  chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  });

let profile, browser;
beforeEach(async () => {
  profile = mkdtempSync(join(tmpdir(), 'airside-chromium-'));
  browser = await launch(profile);
});
afterEach(async () => {
  await browser?.close();
  rmSync(profile, { recursive: true, force: true });
});

describe('the page with the fetch wrapper', () => {
  let app;
  before(async () => (app = await scenario()));
  after(() => app.stop());

  const status = (page, text) => page.waitForFunction((text) => document.getElementById('status')?.textContent.includes(text), text);
  const rows = (page) => page.locator('#rows tr').count();
  const here = () => `${app.url}/app?year=2026#second`;

  /** Opens the page; signs in where the provider asks. */
  async function open(url = here()) {
    const page = await browser.newPage();
    page.complaints = [];
    page.on('console', (message) => /Content.Security.Policy/i.test(message.text()) && page.complaints.push(message.text()));
    await page.goto(url);
    return page;
  }
  async function signIn(page) {
    await page.waitForURL((url) => url.origin === app.provider.url);
    await page.click('button[value="alice"]');
    await status(page, 'Signed in as Alice');
  }

  test('a 401 leads to the login and back to where the person was, fragment included', async () => {
    const page = await open();
    await signIn(page);
    assert.equal(page.url(), here());
    assert.equal(await rows(page), 3);
    assert.equal(await page.evaluate(() => document.cookie), '', 'a script sees no session');
    assert.deepEqual(await page.evaluate(() => Object.keys(sessionStorage)), []);
    assert.deepEqual(page.complaints, [], 'under a strict Content-Security-Policy');
  });

  test('a logout in another tab is noticed, shows nothing more, and the next click signs in again', async () => {
    const page = await open();
    await signIn(page);
    const other = await browser.newPage();
    await other.goto(`${app.url}/auth/logout`);
    await other.click('button');
    await other.waitForURL((url) => url.pathname === '/auth/logged-out');
    // The person comes back to the first tab.
    await page.bringToFront();
    await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
    await status(page, 'You are signed out');
    assert.equal(await rows(page), 0);
    assert.equal(page.url(), here(), 'the page stays where it is');
    await page.click('#reload');
    await signIn(page);
    assert.equal(page.url(), here());
  });

  test('a tab that did not look yet finds out with its next call', async () => {
    const page = await open();
    await signIn(page);
    const other = await browser.newPage();
    await other.goto(`${app.url}/auth/logout`);
    await other.click('button');
    await other.waitForURL((url) => url.pathname === '/auth/logged-out');
    await page.click('#reload');
    await signIn(page);
    assert.equal(page.url(), here());
    assert.equal(await rows(page), 3);
  });

  test('a session that expires empties the page at that time; the login is one click away', async () => {
    const page = await browser.newPage();
    await page.clock.install();
    await page.goto(here());
    await signIn(page);
    const { expires_in } = await page.evaluate(() => fetch('/auth/session').then((answer) => answer.json()));
    // As the browser itself does it at Max-Age.
    await browser.clearCookies({ name: /^__Host-airside/ });
    await page.clock.fastForward((expires_in - 60) * 1000);
    assert.equal(await rows(page), 3, 'not before its time');
    await page.clock.fastForward(120_000);
    await status(page, 'You are signed out');
    assert.equal(await rows(page), 0);
    await page.click('#reload');
    // The provider still knows the person: no question, and back.
    await status(page, 'Signed in as Alice');
    assert.equal(page.url(), here());
  });

  test('where cookies are blocked it says so and goes round once only', async () => {
    const page = await browser.newPage();
    let logins = 0;
    await page.route(`${app.url}/**`, async (route) => {
      if (new URL(route.request().url()).pathname === '/auth/login') logins += 1;
      await route.continue();
    });
    // A session that never arrives: each call is answered as without a cookie.
    await page.route(`${app.url}/auth/session`, (route) => route.fulfill({ status: 401, body: '{}' }));
    await page.goto(here());
    await page.waitForURL((url) => url.origin === app.provider.url);
    await page.click('button[value="alice"]');
    await status(page, 'did not help');
    assert.equal(logins, 1);
  });

  test('what the API refuses for good is said, and is no login', async () => {
    const page = await browser.newPage();
    await page.goto(here());
    await page.waitForURL((url) => url.origin === app.provider.url);
    await page.click('button[value="carol"]'); // has no scope of the API
    await status(page, 'The API answered 403');
    assert.equal(page.url(), here());
  });
});

test('an API that wants a stronger sign-in gets one, and the person is back where they were', async () => {
  const app = await scenario({
    make: forge,
    edit: (text) =>
      text
        .replace('client_id = "airside-demo"', 'client_id = "airside-forge"')
        .replace('scopes = ["read:invoices"]', 'scopes = ["read:invoices"]\nacr_values = ["mfa"]'),
  });
  try {
    const page = await browser.newPage();
    const status = (text) => page.waitForFunction((text) => document.getElementById('status')?.textContent.includes(text), text);
    const here = `${app.url}/app?year=2026#second`;
    // The provider does not do it, whatever it is asked for: said once, no loop.
    await page.goto(here);
    await status('did not help');
    const seen = async () => (await request(`${app.provider.url}/seen`)).json()['/authorize'].query;
    assert.match(await seen(), /acr_values=mfa/);
    const hint = await page.evaluate(() => fetch('/auth/session?for=/api/invoices/').then((answer) => answer.json()));
    assert.deepEqual(hint.for, { request: '/api/invoices/', step_up: '/auth/login?for=%2Fapi%2Finvoices%2F' });

    await request(`${app.provider.url}/next`, { method: 'POST', body: JSON.stringify({ id_token: { claims: { acr: 'mfa' } } }) });
    await page.click('#reload');
    await status('Signed in as Alice');
    assert.equal(page.url(), here);
    assert.equal(await page.locator('#rows tr').count(), 3);
  } finally {
    await app.stop();
  }
});

test('Chromium follows the logout to oidc-provider and back, and its logout token ends the other browser', async () => {
  const app = await scenario({
    make: oidcProvider,
    providerArgs: ['--backchannel', 'sub'],
    edit: (text) => text.replace('"airside-demo"', '"airside-basic"').replace(/^audience = "(.*)"$/m, 'resource = ["$1"]'),
  });
  const secondProfile = mkdtempSync(join(tmpdir(), 'airside-chromium-'));
  const second = await launch(secondProfile);
  try {
    const [page, elsewhere] = [await browser.newPage(), await second.newPage()];
    const complaints = [];
    page.on('console', (message) => /Content.Security.Policy/i.test(message.text()) && complaints.push(message.text()));
    for (const tab of [page, elsewhere]) {
      await tab.goto(`${app.url}/invoices`);
      await tab.click('button[value="alice"]');
      await tab.click('button[name="allow"]');
      await tab.waitForURL(`${app.url}/invoices`);
    }
    await page.goto(`${app.url}/auth/logout`);
    await page.click('button');
    await page.waitForURL((url) => url.origin === app.provider.url);
    await page.click('button[name="logout"]');
    await page.waitForURL((url) => url.pathname === '/auth/logged-out');
    assert.equal(new URL(page.url()).origin, app.url);
    assert.ok(new URL(page.url()).searchParams.get('state'));
    assert.equal(await page.textContent('h1'), 'You are signed out');
    assert.equal((await page.goto(`${app.url}/auth/session`)).status(), 401);
    assert.equal((await elsewhere.goto(`${app.url}/auth/session`)).status(), 401, 'the other browser too');
    assert.deepEqual(complaints, []);
  } finally {
    await second.close();
    rmSync(secondProfile, { recursive: true, force: true });
    await app.stop();
  }
});
