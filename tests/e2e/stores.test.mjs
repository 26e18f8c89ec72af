// Where sessions are: in cookies, in SQLite, in Redis; and the keys that seal them.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Browser, NAVIGATE, forge, freePort, gateway, host, loginAtDemo, request, scenario } from './harness.mjs';
import { redis } from './redis.mjs';

const SESSION = '__Host-airside';
const store = (lines) => (text) => text.replace('[session]\n', `[session]\n${lines}\n`);
const KEY_VALUE = store('store = "key-value"');
const cookie = (browser, url) => [...browser.jar(url)].map(([name, value]) => `${name}=${value}`).join('; ');
const see = (url, line) => request(`${url}/invoices`, { headers: { ...NAVIGATE, cookie: line } });
const whoami = (url, line) => request(`${url}/auth/session`, { headers: { cookie: line } });
const logOut = (browser, url) =>
  browser.send(`${url}/auth/logout`, { method: 'POST', body: '', headers: { 'sec-fetch-site': 'same-origin', origin: url } });

describe('sessions in SQLite', () => {
  let app;
  before(async () => (app = await scenario({ edit: KEY_VALUE })));
  after(() => app.stop());

  test('the cookie is a reference, and it does what a session does', async () => {
    const browser = new Browser();
    const page = await loginAtDemo(browser, app.url);
    assert.equal(page.status, 200);
    const value = browser.jar(app.url).get(SESSION);
    assert.match(value, /^k~/);
    console.log(`a reference has ${value.length} bytes`);
    assert.ok(value.length < 600, `${value.length}`);
    assert.equal((await browser.send(`${app.url}/api/invoices/`, { headers: { accept: 'application/json' } })).status, 200);
    const who = await whoami(app.url, cookie(browser, app.url));
    assert.equal(who.json().subject, 'alice');
  });

  test('a copy of the store says nothing about anybody', async () => {
    const browser = new Browser();
    await loginAtDemo(browser, app.url);
    // What was written last is in a file beside it, or in it already: the host decides.
    const files = ['', '-wal'].map((end) => join(app.gate.folder, `.spin/airside.db${end}`)).filter(existsSync);
    const all = files.map((file) => readFileSync(file).toString('latin1')).join('');
    assert.match(all, /airside\/session\//, 'it is there');
    assert.match(all, /airside\/wheel\/\d+\/\d+/, 'and the wheel knows it');
    for (const text of ['alice', 'Alice Liddell', 'Liddell']) assert.ok(!all.includes(text), text);
  });

  test('a logout ends every copy', async () => {
    const browser = new Browser();
    await loginAtDemo(browser, app.url);
    const copy = cookie(browser, app.url);
    assert.equal((await see(app.url, copy)).status, 200);
    assert.equal((await logOut(browser, app.url)).status, 303);
    assert.equal((await see(app.url, copy)).status, 303, 'to the login');
    assert.equal((await whoami(app.url, copy)).status, 401);
  });

  test('a changed or foreign reference is no session', async () => {
    const browser = new Browser();
    await loginAtDemo(browser, app.url);
    const good = browser.jar(app.url).get(SESSION);
    assert.equal((await whoami(app.url, `${SESSION}=${good}`)).status, 200);
    const at = Math.floor(good.length / 2);
    const flipped = good.slice(0, at) + (good[at] === 'A' ? 'B' : 'A') + good.slice(at + 1);
    for (const value of [flipped, good.slice(0, -1), good.replace('k~', '1~'), 'k~', 'k~a.b.c.d.e']) {
      assert.equal((await whoami(app.url, `${SESSION}=${value}`)).status, 401, value);
    }
    assert.equal((await whoami(app.url, `${SESSION}=${good}; ${SESSION}=${good}`)).status, 400);
  });
});

test('sessions in Redis, shared by two machines, and Redis down', async () => {
  let server = await redis();
  const { runtime } = server;
  const app = await scenario({ edit: KEY_VALUE, runtime });
  const machine = async () =>
    gateway({ port: await freePort(), provider: app.provider.url, upstreamUrl: app.back.url, edit: KEY_VALUE, runtime, shares: app.gate });
  const second = await machine();
  const browser = new Browser();
  await loginAtDemo(browser, app.url);
  const copy = cookie(browser, app.url);
  assert.equal((await see(app.url, copy)).status, 200);
  assert.equal((await see(second.url, copy)).status, 200, 'the other machine');
  // Keys as they are, counters as text.
  const keys = server.keys('airside/');
  assert.ok(keys.some((key) => key.startsWith('airside/session/')), keys.join(' '));
  const counter = keys.find((key) => /^airside\/wheel\/\d+$/.test(key));
  assert.equal(server.ask('GET', counter), '1');

  await server.kill();
  for (const url of [app.url, second.url]) {
    const refused = await see(url, copy);
    assert.equal(refused.status, 503);
    assert.ok(refused.headers['retry-after']);
    assert.deepEqual(refused.cookies, [], 'nobody loses a cookie');
    assert.equal((await whoami(url, copy)).json().code, 'session_store_unavailable');
    assert.equal((await request(`${url}/`, { headers: { cookie: copy } })).status, 200, 'public pages go on');
  }
  server = await server.again();
  // Spin 4.1 looks for a Redis that was away once a minute: machines started anew find it at once.
  const anew = host === 'spin' ? [await machine(), await machine()] : [];
  const [one, other] = [...anew, app.gate, second];
  // The first call may find the old connection broken.
  await see(one.url, copy);
  await see(other.url, copy);
  assert.equal((await see(one.url, copy)).status, 200, 'it is back');

  for (const [name, value] of browser.jar(app.url)) browser.jar(one.url).set(name, value);
  assert.equal((await logOut(browser, one.url)).status, 303);
  for (const { url } of [one, other]) assert.equal((await whoami(url, copy)).status, 401, 'dead everywhere');
  for (const each of [second, ...anew]) await each.stop();
  await app.stop();
  await server.stop();
});

test('a session that is too large loses claims, goes into the store, or is refused with a page; never a loop', async () => {
  const large = { id_token: { claims: { name: 'x'.repeat(6000) } } };
  const login = async (lines, hint, next = large) => {
    const edit = (text) =>
      store(lines)(text).replace('client_id = "airside-demo"', `client_id = "airside-forge"\nid_token_hint = "${hint}"`);
    const app = await scenario({ make: forge, edit });
    await request(`${app.provider.url}/next`, { method: 'POST', body: JSON.stringify(next) });
    const browser = new Browser();
    const page = await browser.go(`${app.url}/auth/login?return_to=/`);
    const value = browser.jar(app.url).get(SESSION) ?? '';
    const events = app.gate.events.map((event) => event.code);
    await app.stop();
    return { page, value, events };
  };
  const fits = await login('', 'always', {});
  assert.match(fits.value, /^1~/);
  assert.ok(!fits.events.includes('session_reduced'));
  const refused = await login('', 'always');
  assert.equal(refused.page.status, 500);
  assert.match(refused.page.headers['content-type'], /^text\/html/);
  assert.ok(refused.events.includes('session_too_large') && refused.value === '');
  const spilled = await login('spill = true', 'always');
  assert.equal(spilled.page.status, 200);
  assert.match(spilled.value, /^k~/);
  for (const hint of ['never', 'when_it_fits']) {
    const reduced = await login('', hint);
    assert.equal(reduced.page.status, 200, hint);
    assert.match(reduced.value, /^[12]~/, hint);
    assert.ok(reduced.events.includes('session_reduced'), hint);
  }
  console.log(`sessions of ${fits.value.length} bytes in a cookie, ${spilled.value.length} as a reference`);
});

test('keys are changed in two steps, and nobody is logged out on the way', async () => {
  const key = (kid) => `${kid}:${randomBytes(32).toString('base64url')}`;
  const [a, b] = [key('a'), key('b')];
  const app = await scenario({ keys: a });
  const machine = async (keys) =>
    gateway({ port: await freePort(), provider: app.provider.url, upstreamUrl: app.back.url, shares: app.gate, keys });
  const browser = new Browser();
  await loginAtDemo(browser, app.url);
  const byA = cookie(browser, app.url);
  assert.equal((await see(app.url, byA)).status, 200);

  // Step one: the new key opens and does not seal. Old and new machines take each other's.
  const added = await machine(`${a},${b}`);
  assert.equal((await see(added.url, byA)).status, 200);
  // Step two: it seals. Machines of step one open it already.
  const promoted = await machine(`${b},${a}`);
  assert.equal((await see(promoted.url, byA)).status, 200);
  // A login through the machine of step two, whatever public_url says.
  const later = new Browser();
  const start = await later.send(`${promoted.url}/auth/login?return_to=/invoices`);
  for (const [name, value] of later.jar(promoted.url)) later.jar(app.url).set(name, value);
  const page = await later.go(start.headers.location);
  const form = new URL(page.url);
  assert.equal(form.origin, app.provider.url);
  const back = await followTo(later, page, app.url);
  const answer = await request(promoted.url, { path: back.pathname + back.search, headers: { ...NAVIGATE, cookie: cookie(later, app.url) } });
  assert.equal(answer.status, 303, answer.text);
  const byB = answer.cookies.find((line) => line.startsWith(`${SESSION}=`)).split(';')[0];
  assert.equal((await see(promoted.url, byB)).status, 200);
  assert.equal((await see(added.url, byB)).status, 200, 'step one opens what step two seals');
  assert.equal((await see(app.url, byB)).status, 303, 'a machine that skipped step one does not');
  // At last the old key goes.
  const retired = await machine(b);
  assert.equal((await see(retired.url, byB)).status, 200);
  assert.equal((await see(retired.url, byA)).status, 303);
  for (const one of [added, promoted, retired]) await one.stop();
  await app.stop();
});

/** Signs in at the demo provider and stops before the callback. */
async function followTo(browser, page, gate) {
  const send = browser.send.bind(browser);
  let stopped;
  browser.send = async (url, options) => {
    if (url.startsWith(gate)) {
      stopped = new URL(url);
      return { status: 200, headers: {}, cookies: [], text: '', url };
    }
    return send(url, options);
  };
  await browser.submit(page, 'value="alice"');
  browser.send = send;
  assert.ok(stopped, 'the provider sent the browser back');
  return stopped;
}

test('the whole Cookie line stays under 8,000 bytes with five attempts open, and no more are kept', async () => {
  const app = await scenario();
  const browser = new Browser();
  await loginAtDemo(browser, app.url);
  const jar = browser.jar(app.url);
  // Short ways back leave room for five attempts, long ones for fewer.
  for (const [path, least] of [['/invoices', 5], [`/${'p'.repeat(200)}`, 3]]) {
    for (let tab = 0; tab < 8; tab += 1) await browser.send(`${app.url}/auth/login?return_to=${path}`);
    const attempts = [...jar.keys()].filter((name) => name.startsWith('__Host-airside-tx-')).length;
    const line = `Cookie: ${cookie(browser, app.url)}`;
    console.log(`${attempts} attempts, a session of ${jar.get(SESSION).length} bytes, a line of ${line.length} bytes`);
    assert.ok(attempts >= least && attempts <= 5, `${attempts}`);
    assert.ok(line.length < 8000, `${line.length}`);
  }
  assert.equal((await see(app.url, cookie(browser, app.url))).status, 200);
  await app.stop();
});

test('chunks: a missing, doubled or foreign one is no session, whatever their number says', async () => {
  const app = await scenario();
  const browser = new Browser();
  await loginAtDemo(browser, app.url);
  const sealed = browser.jar(app.url).get(SESSION).replace(/^1~/, '');
  const half = Math.ceil(sealed.length / 2);
  const [one, two] = [sealed.slice(0, half), sealed.slice(half)];
  const line = (...pairs) => pairs.map(([name, value]) => `${SESSION}${name}=${value}`).join('; ');
  const status = async (text) => (await whoami(app.url, text)).status;
  assert.equal(await status(line(['', `2~${one}`], ['.1', two])), 200, 'two chunks');
  assert.equal(await status(line(['.1', two], ['', `2~${one}`])), 200, 'in any order');
  for (const [name, text, expected] of [
    ['missing', line(['', `2~${one}`]), 401],
    ['only the second', line(['.1', two]), 401],
    ['doubled', line(['', `2~${one}`], ['.1', two], ['.1', two]), 400],
    ['foreign', line(['', `2~${one}`], ['.1', one]), 401],
    ['one too many counted', line(['', `3~${one}`], ['.1', two]), 401],
    ['one too few counted', line(['', `1~${one}`], ['.1', two]), 401],
    ['none counted', line(['', `0~${one}`], ['.1', two]), 401],
    ['99999999', line(['', `99999999~${one}`], ['.1', two]), 401],
    ['an empty one more', line(['', `3~${one}`], ['.1', two], ['.2', '']), 200],
  ]) {
    assert.equal(await status(text), expected, name);
  }
  await app.stop();
});
