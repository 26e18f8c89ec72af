// Refreshing under load, on the wasm files: a provider that rotates refresh tokens and takes a
// second use for theft counts what it is asked. Sessions are over at once by `expires_in: 0`, and
// their access tokens by `exp`: nobody waits for time to pass. Several machines share one Redis.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Browser, NAVIGATE, forge, freePort, gateway, host, request, scenario } from './harness.mjs';
import { redis } from './redis.mjs';

const API = '/api/invoices/echo';
const refreshing = (text) =>
  text
    .replace('client_id = "airside-demo"', 'client_id = "airside-forge"')
    .replace('client_secret_variable = "client_secret"', '$&\nrefresh = true');
const steer = (app, path, body = {}) =>
  request(app.provider.url + path, { method: 'POST', body: JSON.stringify(body) });
const counts = async (app) => (await request(`${app.provider.url}/refreshes`)).json();
const sessionCookies = (lines) => lines.map((line) => line.split(';')[0]).filter((pair) => pair.startsWith('__Host-airside'));
const cookieOf = (browser, url) =>
  [...browser.jar(url)].filter(([name]) => name.startsWith('__Host-airside')).map((pair) => pair.join('=')).join('; ');

/** A session whose access token is over; the way back leads to a public page. */
async function expiredSession(app, browser = new Browser()) {
  await steer(app, '/next', { token: { expires_in: 0 }, access_token: { claims: { exp: { in: -100 } } } });
  const page = await browser.go(`${app.url}/auth/login?return_to=/`);
  assert.equal(page.status, 200);
  return cookieOf(browser, app.url);
}

const call = (url, cookie, { method = 'GET', headers = {} } = {}) =>
  request(url + API, {
    method,
    headers: { cookie, 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors', ...headers },
    ...(method === 'GET' ? {} : { body: 'x=1' }),
  });

/** A gateway, another machine of the same site, and the Redis that they share. */
async function twoMachines(edit = refreshing, more = {}) {
  const server = await redis();
  const { runtime } = server;
  const app = await scenario({ make: forge, edit, runtime });
  const twin = await gateway({
    port: await freePort(), provider: app.provider.url, upstreamUrl: app.back.url, edit, runtime, shares: app.gate, ...more,
  });
  const stop = async () => {
    await twin.stop();
    await app.stop();
    await server.stop();
  };
  return { app, twin, server, stop };
}

/** 200 requests at once with one expired session, one in four of them changing something. */
async function storm(app, urls) {
  const before = await counts(app);
  const cookie = await expiredSession(app);
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, n) =>
      call(urls[n % urls.length], cookie, { method: n % 4 === 0 ? 'POST' : 'GET' })),
  );
  const failed = answers.filter((answer) => answer.status !== 200);
  assert.deepEqual(failed.map((answer) => [answer.status, answer.text]), []);
  for (const answer of answers) {
    assert.ok(sessionCookies(answer.cookies).length > 0, 'each gets the refreshed session');
    assert.ok(!answer.cookies.some((line) => line.includes('Max-Age=0')), 'nobody is logged out');
    assert.equal(answer.headers['cache-control'], 'no-store');
  }
  const after = await counts(app);
  assert.deepEqual(after, { sent: before.sent + 1, rotated: before.rotated + 1, reused: 0 });
  // Each of them is as good as the other.
  for (const n of [0, 77, 199]) {
    const next = await call(urls[0], sessionCookies(answers[n].cookies).join('; '));
    assert.equal(next.status, 200);
    assert.deepEqual(next.cookies, []);
  }
  assert.deepEqual(await counts(app), after);
  return answers;
}

describe('one machine', () => {
  let app;
  before(async () => (app = await scenario({ make: forge, edit: refreshing })));
  after(() => app.stop());

  test('200 requests with one expired session cause one refresh, 20 times in a row', async () => {
    for (let round = 0; round < 20; round += 1) await storm(app, [app.url]);
  });

  test('a refresh updates the claims, and the page of a person is refreshed too', async () => {
    const browser = new Browser();
    await expiredSession(app, browser);
    const name = async () => (await browser.send(`${app.url}/auth/session`)).json().claims.name;
    assert.equal(await name(), 'Alice Liddell');
    const before = await counts(app);
    assert.equal((await browser.send(`${app.url}/invoices`)).status, 200);
    assert.equal((await counts(app)).sent, before.sent + 1);
    assert.equal(await name(), 'Alice Renamed');
  });

  test('invalid_grant ends the session, also for a copy of its cookie', async () => {
    const cookie = await expiredSession(app);
    await steer(app, '/refreshing', { status: 400 });
    const faulty = await call(app.url, cookie);
    assert.equal(faulty.status, 503, 'server_error is no verdict');
    assert.equal(faulty.json().code, 'refresh_provider_unavailable');
    assert.ok(faulty.headers['retry-after']);
    assert.deepEqual(faulty.cookies, []);
    await steer(app, '/release');

    const other = await expiredSession(app);
    // Somebody else used the refresh token: the provider ends the family.
    await steer(app, '/refreshing', { token: { refresh_token: 'not one of mine', expires_in: 0 } });
    const answer = await call(app.url, other);
    assert.equal(answer.status, 200);
    await steer(app, '/release');
    const spoiled = sessionCookies(answer.cookies).join('; ');
    const ended = await call(app.url, spoiled);
    assert.equal(ended.status, 401);
    assert.equal(ended.json().code, 'refresh_ended');
    assert.ok(ended.cookies.every((line) => line.includes('Max-Age=0')) && ended.cookies.length > 0);
    const copied = await request(`${app.url}/invoices`, { headers: { cookie: spoiled } });
    assert.equal(copied.json().code, 'session_revoked');
  });

  test('a token that is still good is used while the provider is down; one that is not waits', async () => {
    const cookie = await expiredSession(app);
    await steer(app, '/next', { token: { expires_in: 0 } });
    const browser = new Browser();
    await browser.go(`${app.url}/auth/login?return_to=/`);
    const good = cookieOf(browser, app.url);
    await steer(app, '/outage', { '/token': 503 });
    const passed = await call(app.url, good);
    assert.equal(passed.status, 200);
    assert.deepEqual(passed.cookies, []);
    const waits = await call(app.url, cookie);
    assert.equal(waits.status, 503);
    assert.deepEqual(waits.cookies, []);
    const person = await request(app.url + API, { headers: { ...NAVIGATE, cookie } });
    assert.equal(person.status, 503, 'no login at a provider that is down');
    await steer(app, '/outage', {});
  });
});

describe('two machines on one Redis', () => {
  const ROUNDS = 20;
  let app, twin, server, stop;
  before(async () => ({ app, twin, server, stop } = await twoMachines()));
  after(() => stop());

  test(`200 requests with one expired session cause one refresh, ${ROUNDS} times in a row`, async () => {
    for (let round = 1; round <= ROUNDS; round += 1) {
      await storm(app, [app.url, twin.url]);
      // What a refresh leaves behind, for the expiry wheel to take: lock, lease, mark and result.
      assert.equal(server.keys('airside/refresh/').length, 4 * round);
    }
    const { sent, rotated, reused } = await counts(app);
    console.log(`${ROUNDS} rounds: ${sent} refreshes at the provider, ${rotated} rotated, ${reused} reused`);
  });
});

test('sessions that move into the store when they are refreshed are stored once', async () => {
  const spilling = (text) => refreshing(text).replace('[session]\n', '[session]\nspill = true\n');
  const { app, twin, server, stop } = await twoMachines(spilling);
  await steer(app, '/refreshing', { claims: { name: 'x'.repeat(6000) } });
  for (const round of [1, 2]) {
    const answers = await storm(app, [app.url, twin.url]);
    const cookies = answers.map((answer) => sessionCookies(answer.cookies));
    assert.ok(cookies.every((pairs) => pairs.length === 1 && pairs[0].startsWith('__Host-airside=k~')));
    assert.equal(server.keys('airside/session/').length, round, 'of 200 requests on two machines');
  }
  await stop();
});

// Time goes on by a second machine whose clock runs ahead; devhost alone has such clocks.
test('a ten-minute-old cookie never sends its refresh token again', { skip: host !== 'devhost' }, async () => {
  const app = await scenario({ make: forge, edit: refreshing });
  const later = await gateway({
    port: await freePort(), provider: app.provider.url, upstreamUrl: app.back.url, edit: refreshing, shares: app.gate,
    args: ['--clock-ahead', '600s'],
  });
  const old = await expiredSession(app);
  const first = await call(app.url, old);
  assert.equal(first.status, 200);
  const after = await counts(app);
  assert.deepEqual(after, { sent: 1, rotated: 1, reused: 0 });
  const late = await call(app.url, old);
  assert.equal(late.status, 200);
  assert.ok(sessionCookies(late.cookies).length > 0, 'within two minutes: the same result');

  const replayed = await call(later.url, old);
  assert.equal(replayed.status, 401);
  assert.equal(replayed.json().code, 'refresh_spent');
  assert.deepEqual(replayed.cookies, [], 'the browser may have the new one');
  const person = await request(later.url + API, { headers: { ...NAVIGATE, cookie: old } });
  assert.equal(person.status, 303);
  assert.match(person.headers.location, /^\/auth\/login\?/);
  const page = await request(`${later.url}/invoices`, { headers: { cookie: old } });
  assert.equal(page.status, 200, 'where no token is needed');
  assert.deepEqual(await counts(app), after);
  // The new cookie is as good as ever.
  assert.equal((await call(app.url, sessionCookies(first.cookies).join('; '))).status, 200);
  assert.deepEqual(await counts(app), after);
  await later.stop();
  await app.stop();
});

describe('the machine that refreshes loses its power', { concurrency: true }, () => {
  /** One machine asks and is held by the provider, others wait; then it dies. */
  async function deadOwner(hold) {
    const { app, twin, stop } = await twoMachines();
    const cookie = await expiredSession(app);
    await steer(app, '/refreshing', { hold });
    const owner = call(app.url, cookie).catch((error) => error);
    await request(`${app.provider.url}/held`);
    const waiting = Array.from({ length: 5 }, () => call(twin.url, cookie));
    await app.gate.kill();
    assert.ok((await owner) instanceof Error);
    await steer(app, '/refreshing', {});
    for (const answer of await Promise.all(waiting)) {
      assert.equal(answer.status, 503);
      assert.equal(answer.json().code, 'refresh_busy');
      assert.ok(answer.headers['retry-after']);
      assert.deepEqual(answer.cookies, [], 'no logout');
    }
    return { app, twin, cookie, stop };
  }

  test('before the provider had its request: another takes over, and nobody is logged out', async () => {
    const { app, twin, cookie, stop } = await deadOwner('before');
    const answers = await Promise.all(Array.from({ length: 5 }, () => call(twin.url, cookie)));
    for (const answer of answers) {
      assert.equal(answer.status, 200, answer.text);
      assert.ok(sessionCookies(answer.cookies).length > 0);
    }
    assert.deepEqual(await counts(app), { sent: 2, rotated: 1, reused: 0 });
    await stop();
  });

  test('after the provider gave new tokens: they are lost, and it costs a login', async () => {
    const { app, twin, cookie, stop } = await deadOwner('after');
    const answers = await Promise.all(Array.from({ length: 5 }, () => call(twin.url, cookie)));
    for (const answer of answers) {
      assert.equal(answer.status, 401);
      assert.ok(['refresh_ended', 'session_revoked'].includes(answer.json().code), answer.text);
    }
    assert.deepEqual(await counts(app), { sent: 2, rotated: 1, reused: 1 });
    await stop();
  });
});
