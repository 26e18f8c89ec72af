// Where a login and a logout may lead: the corpus of testdata/return_to through the gateway, and
// what a real browser makes of the answers.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { Browser, NAVIGATE, demoProvider, loginAtDemo, request, root, scenario } from './harness.mjs';

/** The values of a file: one JSON string per line. */
const values = (name) =>
  readFileSync(join(root, 'testdata/return_to', name), 'utf8')
    .split('\n')
    .filter((line) => line && !line.startsWith('#'))
    .map((line) => JSON.parse(line));
const hostile = values('hostile.txt');
const local = values('local.txt');
/** Each value and where it must lead. */
const corpus = [...hostile.map((value) => [value, '/']), ...local.map((value) => [value, value])];

/** So many of `list`, from all of its classes. */
const sample = (list, count) => Array.from({ length: count }, (_, at) => list[Math.floor((at * list.length) / count)]);

const login = (value, more = '') => `/auth/login?return_to=${encodeURIComponent(value)}${more}`;

/** A parser encodes these itself, some in a path, some in a query; none separates anything. */
const spelled = (text) =>
  text.replace(/["'<>^`{|}]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

/** The parameters of a URL; each may be there once. */
function once(url) {
  const pairs = [...new URL(url, 'https://app.example').searchParams];
  const parameters = Object.fromEntries(pairs);
  assert.equal(Object.keys(parameters).length, pairs.length, url);
  return parameters;
}

let app, browser;
before(async () => {
  app = await scenario({
    more: [demoProvider],
    edit: (text, url) => `${text}
[[routes]]
path = "/*"
access = "login"
upstream = "invoices"

[providers.second]
issuer = "${url}"
client_id = "airside-demo"
client_authentication = "none"
`,
  });
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync',
      // Even where a test fails, nobody is asked for evil.example.
      '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1'],
  });
});
after(async () => {
  await browser?.close();
  await app?.stop();
});

/** Logs in with `value`; returns where the browser went after the callback. */
async function landing(value) {
  const page = await loginAtDemo(new Browser(), app.url, login(value, '&provider=demo'));
  const callback = page.visited.findIndex((url) => url.startsWith(`${app.url}/auth/callback/demo?`));
  assert.notEqual(callback, -1, `${JSON.stringify(value)}: ${page.visited}`);
  return page.visited[callback + 1];
}

test('a whole login with a hostile value ends on the start page', async () => {
  for (const value of sample(hostile, 40)) {
    assert.equal(await landing(value), `${app.url}/`, JSON.stringify(value));
  }
});

test('a whole login with a local value ends there', async () => {
  for (const value of sample(local, 10)) {
    assert.equal(await landing(value), new URL(value, app.url).href, value);
  }
});

test('the choice of a provider keeps a local value, and a browser stays on the site with it', async () => {
  const given = [];
  for (const [value, expected] of corpus) {
    const name = JSON.stringify(value);
    const page = await request(app.url + login(value), { headers: NAVIGATE });
    assert.equal(page.status, 200, name);
    const links = [...page.text.matchAll(/href="([^"]*)"/g)].map(([, text]) => text.replaceAll('&amp;', '&'));
    assert.deepEqual(links.map((link) => once(link).provider), ['demo', 'second'], name);
    for (const link of links) {
      assert.ok(link.startsWith('/auth/login?'), link);
      assert.equal(once(link).return_to, expected, name);
    }
    given.push([value, once(links[0]).return_to]);
  }
  const resolve = ([pairs, base]) => {
    const away = (value) => {
      try {
        return new URL(value, base).origin !== base;
      } catch {
        return true;
      }
    };
    return pairs.map(([value, kept]) => ({ href: new URL(kept, `${base}/auth/callback/demo`).href, away: away(value) }));
  };
  const page = await browser.newPage();
  const chromiums = await page.evaluate(resolve, [given, app.url]);
  await page.close();
  chromiums.forEach(({ href }, at) => {
    assert.equal(spelled(href), spelled(app.url + given[at][1]), JSON.stringify(given[at][0]));
  });
  assert.deepEqual(resolve([given, app.url]).map(({ href }) => spelled(href)), chromiums.map(({ href }) => spelled(href)));
  // The corpus is about something: Chromium itself would leave the site with many values.
  const leaving = (from, to) => chromiums.slice(from, to).filter(({ away }) => away).length;
  assert.ok(leaving(0, hostile.length) > 250, `${leaving(0, hostile.length)}`);
  assert.equal(leaving(hostile.length), 0);
});

test('Chromium logs in with a click and stays on the site', async () => {
  for (const [value, expected] of [
    ['//evil.example', '/'],
    ['/\\evil.example', '/'],
    ['/\t/evil.example', '/'],
    ['https://evil.example/', '/'],
    ['javascript:alert(1)', '/'],
    ['/%252f%252fevil.example', '/'],
    ['/%61uth/login', '/'],
    ['/invoices?next=//evil.example', '/invoices?next=//evil.example'],
  ]) {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(app.url + login(value, '&provider=demo'));
    await page.click('button[value="alice"]');
    await page.waitForURL(app.url + expected, { timeout: 10_000 });
    await context.close();
  }
});

test('the gate sends to the login with a local path only', async () => {
  // What Node's client is able to send as a request target.
  const sendable = corpus.filter(([value]) => /^\/[!-"$-~]*$/.test(value) && !value.startsWith('/auth'));
  let kept = 0;
  for (const [value, expected] of sendable) {
    const { status, headers } = await request(app.url, { path: value, headers: NAVIGATE });
    if (status !== 303) {
      // Public, or no path that means one thing.
      assert.ok([200, 400, 404].includes(status) && !headers.location, `${value}: ${status}`);
      continue;
    }
    assert.ok(headers.location.startsWith('/auth/login?'), headers.location);
    assert.deepEqual(once(headers.location), { return_to: expected }, value);
    if (expected === value) kept += 1;
  }
  assert.ok(kept > 60, `${kept}`);
});

test('no link to the login adds or changes a parameter of the request to the provider', async () => {
  const parameters = async (query) => {
    const answer = await request(`${app.url}/auth/login?provider=demo&${query}`, { headers: NAVIGATE });
    assert.equal(answer.status, 303, query);
    assert.ok(answer.headers.location.startsWith(`${app.provider.url}/`), answer.headers.location);
    return once(answer.headers.location);
  };
  const fixed = ({ state, nonce, code_challenge, ...rest }) => {
    assert.deepEqual([state.length, nonce.length, code_challenge.length], [22, 22, 43]);
    return rest;
  };
  const plain = fixed(await parameters(''));
  assert.equal(plain.redirect_uri, `${app.url}/auth/callback/demo`);
  for (const name of ['client_id', 'code_challenge', 'nonce', 'redirect_uri', 'request', 'response_type', 'scope', 'state']) {
    assert.deepEqual(fixed(await parameters(`${name}=evil`)), plain, name);
    const hint = `a&${name}=evil`;
    const hinted = fixed(await parameters(`login_hint=${encodeURIComponent(hint)}&ui_locales=${encodeURIComponent(hint)}`));
    assert.deepEqual(hinted, { ...plain, login_hint: hint }, name);
    const twin = fixed(await parameters('login_hint=alice&ui_locales=de'));
    assert.deepEqual(twin, { ...plain, login_hint: 'alice', ui_locales: 'de' });
    const other = await request(`${app.url}/auth/login?provider=${encodeURIComponent(`demo&${name}=evil`)}`, { headers: NAVIGATE });
    assert.equal(other.status, 400, name);
  }
});

test('nothing in a query changes where a logout ends', async () => {
  for (const name of ['post_logout_redirect_uri', 'redirect_uri', 'return_to', 'logout_uri', 'client_id']) {
    const person = new Browser();
    await loginAtDemo(person, app.url, login('/invoices', '&provider=demo'));
    const query = `${name}=${encodeURIComponent('https://evil.example/')}`;
    const headers = { 'sec-fetch-site': 'same-origin', 'content-type': 'application/x-www-form-urlencoded' };
    const answer = await person.send(`${app.url}/auth/logout?${query}`, { method: 'POST', headers, body: query });
    assert.equal(answer.status, 303, name);
    assert.ok(answer.headers.location.startsWith(`${app.provider.url}/`), answer.headers.location);
    const sent = once(answer.headers.location);
    assert.equal(sent.post_logout_redirect_uri, `${app.url}/auth/logged-out`, name);
    assert.deepEqual(Object.keys(sent).sort(), ['client_id', 'id_token_hint', 'post_logout_redirect_uri', 'state']);
    assert.equal(sent.client_id, 'airside-demo');
    const end = await request(`${app.url}/auth/logged-out?${query}`, { headers: NAVIGATE });
    assert.deepEqual([end.status, end.headers.location], [200, undefined]);
    assert.deepEqual([...end.text.matchAll(/href="([^"]*)"/g)].map(([, href]) => href), ['/auth/login']);
  }
});
