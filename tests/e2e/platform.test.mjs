// Where the store has no counters, the host does not start `tokens`: the app is deployed without it,
// and says so. Login, sessions in cookies, access tokens and logout work; what needs it is refused.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { API, Browser, bearer, demoToken, loginAtDemo, request, scenario } from './harness.mjs';

/** spin.toml as docs/platforms.md says: no `tokens`, no route to it, no address of it. */
const manifest = (text) => {
  const [before, rest] = text.split('[[trigger.http]]\nroute = { private = true }');
  const [, after] = rest.split('# --- The boarding gate');
  return `${before}# --- The boarding gate${after}`.replaceAll(/,\s*"http:\/\/tokens\.spin\.internal"/g, '');
};
const on = (platform, lines = '') => (text) =>
  text.replace('[session]\n', `platform = "${platform}"\n\n[session]\n`).replace('[session]\n', `[session]\n${lines}\n`);

test('login, a session in cookies, access tokens and logout work without it', async () => {
  let laid;
  const app = await scenario({ edit: on('akamai'), manifest: (text) => (laid = manifest(text)) });
  assert.ok(!/tokens\.(spin|wasm)|component\.tokens/.test(laid), laid);
  const browser = new Browser();
  assert.equal((await loginAtDemo(browser, app.url)).status, 200);
  const copy = [...browser.jar(app.url)].map(([name, value]) => `${name}=${value}`).join('; ');
  const get = (path, headers) => request(app.url + path, { headers });
  for (const path of ['/invoices', '/api/invoices/', '/auth/session']) {
    assert.equal((await get(path, { cookie: copy })).status, 200, path);
  }
  const token = await demoToken(app.provider.url, '--user', 'alice', '--audience', API, '--scope', 'openid read:invoices');
  assert.equal((await get('/api/invoices/', bearer(token))).status, 200);
  assert.equal((await get('/api/invoices/', bearer(`${token}x`))).status, 401);
  const logout = await browser.send(`${app.url}/auth/logout`, {
    method: 'POST', body: '', headers: { 'sec-fetch-site': 'same-origin', origin: app.url },
  });
  assert.equal(logout.status, 303);
  assert.equal(new URL(logout.headers.location).origin, app.provider.url);
  assert.equal((await get('/invoices', { cookie: copy })).json().code, 'session_revoked');
  // What the documentation says is missing.
  await app.gate.logged('mark_stays');
  await app.gate.logged('revocation_failed');
  await app.stop();
});

test('what needs it is refused by its key, before any request finds it missing', async () => {
  for (const [edit, key] of [
    [on('akamai', 'store = "key-value"'), 'session.store'],
    [on('fermyon', 'spill = true'), 'session.spill'],
    [(text) => on('fermyon')(text).replace('[providers.demo]\n', '$&refresh = true\n'), 'providers.demo.refresh'],
  ]) {
    const app = await scenario({ edit, manifest });
    assert.equal((await request(`${app.url}/`)).status, 500);
    const { message } = await app.gate.logged('config_invalid');
    assert.ok(message.includes(`: ${key}`), message);
    await app.stop();
  }
  const app = await scenario({ edit: on('spinkube', 'spill = true') });
  assert.equal((await request(`${app.url}/`)).status, 200);
  await app.stop();
});
