// The key-value store is gone while the site is running, and comes back: what needs it answers 503
// and takes nothing from anybody, what does not goes on.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Browser, NAVIGATE, bearer, forge, freePort, gateway, host, request, scenario } from './harness.mjs';
import { redis } from './redis.mjs';

const API = '/api/invoices/echo';
const SAME = { 'sec-fetch-site': 'same-origin' };
const edit = (text) =>
  text
    .replace('client_id = "airside-demo"', 'client_id = "airside-forge"')
    .replace('client_secret_variable = "client_secret"', '$&\nrefresh = true')
    .replace('[session]\n', '[session]\nspill = true\n');

/** Redis, whose machine loses its power; what it has answered is on its disk. */
async function onRedis() {
  let server = await redis();
  const { runtime } = server;
  const start = () => scenario({ make: forge, edit, runtime });
  return {
    start,
    down: () => server.kill(),
    up: async () => {
      server = await server.again();
    },
    /** One more machine, which may start while the store is down. */
    twin: async (app) =>
      gateway({
        port: await freePort(), provider: app.provider.url, upstreamUrl: app.back.url, edit, runtime, shares: app.gate,
      }),
    /** The machines again, started anew where they were. */
    anew: async (app, [, twin]) => {
      await twin.stop();
      await app.gate.stop();
      const at = ({ url }, more) =>
        gateway({ port: new URL(url).port, provider: app.provider.url, upstreamUrl: app.back.url, edit, runtime, keys: app.gate.keys, ...more });
      return [await at(app), await at(twin, { shares: app.gate })];
    },
    stop: () => server.stop(),
  };
}

/** A file of SQLite that cannot be read: its table has gone. */
async function onSqlite() {
  let file;
  const run = (sql) => execFileSync('sqlite3', ['-cmd', '.timeout 5000', file, sql]);
  return {
    start: async () => {
      const app = await scenario({ make: forge, edit });
      file = join(app.gate.folder, '.spin/airside.db');
      return app;
    },
    down: async () => run('ALTER TABLE spin_key_value RENAME TO gone'),
    up: async () => run('ALTER TABLE gone RENAME TO spin_key_value'),
    stop: async () => {},
  };
}

for (const [name, make] of [['Redis', onRedis], ['SQLite', onSqlite]]) {
  describe(`${name} down`, () => {
    test('what needs it is 503 and keeps everything, what does not goes on, and all is well when it is back', async () => {
      const store = await make();
      const app = await store.start();
      const ask = (path, body) => request(app.provider.url + path, { method: 'POST', body: JSON.stringify(body) });
      const cookieOf = (browser) =>
        [...browser.jar(app.url)].filter(([key]) => key.startsWith('__Host-airside')).map((pair) => pair.join('=')).join('; ');
      const signIn = async (next = {}, browser = new Browser()) => {
        await ask('/next', next);
        return { browser, page: await browser.go(`${app.url}/auth/login?return_to=/`) };
      };
      const session = async (next) => {
        const { browser, page } = await signIn(next);
        assert.equal(page.status, 200, page.text);
        return { browser, cookie: cookieOf(browser) };
      };
      const get = (path, cookie, url = app.url) => request(url + path, { headers: { cookie } });

      const inCookies = await session();
      const inStore = await session({ id_token: { claims: { name: 'x'.repeat(6000) } } });
      const over = await session({ token: { expires_in: 0 }, access_token: { claims: { exp: { in: -100 } } } });
      const leaving = await session();
      assert.match(inCookies.cookie, /^__Host-airside=1~/);
      assert.match(inStore.cookie, /^__Host-airside=k~/);
      const token = (await ask('/mint', {})).text;
      const stale = (await ask('/mint', { claims: { exp: { in: -100 } } })).text;
      const goesOn = async (url) => {
        assert.equal((await get('/', '', url)).status, 200, 'a public page');
        assert.equal((await get('/', inCookies.cookie, url)).status, 200, 'a public page with a session');
        assert.equal((await request(url + API, { headers: bearer(token) })).status, 200, 'an access token');
        assert.equal((await request(url + API, { headers: bearer(stale) })).status, 401, 'one that is over');
        assert.equal((await request(url + API)).status, 401, 'none');
        const person = await request(`${url}/invoices`, { headers: NAVIGATE });
        assert.equal(person.status, 303, 'a person without a session');
        const login = await request(`${url}/auth/login`, { headers: NAVIGATE });
        assert.equal(new URL(login.headers.location).pathname, '/authorize', 'the way to a login');
        assert.equal((await get('/auth/logged-out', '', url)).status, 200);
      };
      await goesOn(app.url);
      for (const { cookie } of [inCookies, inStore]) assert.equal((await get('/invoices', cookie)).status, 200);

      await store.down();
      const machines = [app, ...(store.twin ? [await store.twin(app)] : [])];
      for (const { url } of machines) {
        await goesOn(url);
        for (const [{ cookie }, code] of [
          [inCookies, 'revocation_unavailable'],
          [inStore, 'session_store_unavailable'],
          [over, 'revocation_unavailable'],
        ]) {
          for (const path of ['/invoices', API, '/auth/session']) {
            const refused = await get(path, cookie, url);
            assert.deepEqual([refused.status, refused.json().code], [503, code], path);
            assert.ok(refused.headers['retry-after']);
            assert.deepEqual(refused.cookies, [], 'nobody loses a cookie');
          }
          const person = await request(`${url}/invoices`, { headers: { ...NAVIGATE, cookie } });
          assert.equal(person.status, 503, 'no login that would end the same way');
        }
      }
      const { browser, page } = await signIn();
      assert.equal(page.status, 503, 'a login: whether it is spared by a mark cannot be known');
      assert.equal(cookieOf(browser), '');
      const logout = await leaving.browser.send(`${app.url}/auth/logout`, { method: 'POST', body: '', headers: { ...SAME, origin: app.url } });
      assert.equal(logout.status, 503);
      assert.match(logout.text, /in this browser only/);
      assert.equal(cookieOf(leaving.browser), '', 'who wants to leave does, as far as that goes');
      const logoutToken = (await ask('/logout-token', { claims: { sub: null, sid: 'of nobody' } })).text;
      const endAll = () =>
        request(`${app.url}/auth/backchannel-logout`, {
          method: 'POST',
          body: new URLSearchParams({ logout_token: logoutToken }).toString(),
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
        });
      const unheard = await endAll();
      assert.equal(unheard.status, 503, 'the provider is to try again');
      assert.ok(unheard.headers['retry-after']);
      const sent = async () => (await request(`${app.provider.url}/refreshes`)).json().sent;
      assert.equal(await sent(), 0, 'no refresh token was sent');

      await store.up();
      // Spin 4.1 looks for a Redis that was away once a minute; started anew it finds it.
      const anew = host === 'spin' && store.anew ? await store.anew(app, machines) : [];
      assert.equal((await endAll()).status, 200, 'the same logout token, which was not used up');
      for (const { url } of machines) {
        await goesOn(url);
        for (const { cookie } of [inCookies, inStore, leaving]) {
          assert.equal((await get('/invoices', cookie, url)).status, 200);
          assert.equal((await get(API, cookie, url)).status, 200);
        }
      }
      const refreshed = await get(API, over.cookie);
      assert.equal(refreshed.status, 200, refreshed.text);
      assert.equal(await sent(), 1);
      assert.equal((await signIn({}, browser)).page.status, 200);
      assert.notEqual(cookieOf(browser), '');
      for (const machine of [...anew, ...machines].reverse()) await machine.stop();
      await store.stop();
    });
  });
}
