// The session, its cookies, and the way out.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Browser, NAVIGATE, loginAtDemo, loginAtOidcProvider, oidcProvider, request, scenario } from './harness.mjs';

const ATTRIBUTES = '; HttpOnly; Secure; SameSite=Lax; Path=/';

describe('session', () => {
  let app;
  before(async () => (app = await scenario()));
  after(() => app.stop());

  test('the front end learns who is there, and never a token', async () => {
    const browser = new Browser();
    await loginAtDemo(browser, app.url);
    const answer = await browser.send(`${app.url}/auth/session`, { headers: { accept: 'application/json' } });
    assert.equal(answer.status, 200);
    const body = answer.json();
    assert.deepEqual(Object.keys(body).sort(), ['access_token_expires_at', 'access_token_expires_in', 'acr', 'auth_time', 'claims',
      'expires_at', 'expires_in', 'issuer', 'provider', 'subject']);
    assert.equal(body.provider, 'demo');
    assert.ok(body.expires_in > 28_700 && body.expires_in <= 28_800, body.expires_in);
    assert.equal(body.subject, 'alice');
    assert.equal(body.claims.name, 'Alice Liddell');
    assert.ok(!/ey[\w-]{10,}\./.test(answer.text));
    assert.equal(answer.headers['cache-control'], 'no-store');
    assert.equal(answer.headers.vary, 'cookie');
    const nobody = await request(`${app.url}/auth/session`);
    assert.equal(nobody.status, 401);
    assert.equal(nobody.headers['content-type'], 'application/problem+json');
    for (const path of ['/auth/session/', '//auth/session']) {
      assert.equal((await request(app.url, { path })).status, 401, path);
    }
  });

  test('each login makes a new session', async () => {
    const browser = new Browser();
    await loginAtDemo(browser, app.url);
    const jar = browser.jar(app.url);
    const first = jar.get('__Host-airside');
    await browser.go(`${app.url}/auth/login?return_to=/invoices`);
    assert.notEqual(jar.get('__Host-airside'), first);
  });

  test('cookies that are not ours, or changed, are no session', async () => {
    const browser = new Browser();
    await loginAtDemo(browser, app.url);
    const good = browser.jar(app.url).get('__Host-airside');
    const call = (cookie) => request(`${app.url}/invoices`, { headers: { ...NAVIGATE, cookie } });
    assert.equal((await call(`__Host-airside=${good}`)).status, 200);
    const at = Math.floor(good.length / 2);
    const flipped = good.slice(0, at) + (good[at] === 'A' ? 'B' : 'A') + good.slice(at + 1);
    const tx = (await request(`${app.url}/auth/login`, { headers: NAVIGATE })).cookies[0].split(';')[0].split('=')[1];
    for (const [name, value] of Object.entries({ flipped, cut: good.slice(0, -1), transaction: `1~${tx}`, chunk: good.replace('1~', '2~'), empty: '' })) {
      const response = await call(`__Host-airside=${value}`);
      assert.equal(response.status, 303, name);
      assert.ok(response.cookies.includes(`__Host-airside=${ATTRIBUTES}; Max-Age=0`), name);
    }
    assert.equal((await call(`__Host-airside=${good}; __Host-airside=${good}`)).status, 400);
  });

  test('GET on the logout asks, POST from elsewhere is refused', async () => {
    const browser = new Browser();
    await loginAtDemo(browser, app.url);
    const page = await browser.send(`${app.url}/auth/logout`);
    assert.equal(page.status, 200);
    assert.match(page.text, /Alice Liddell/);
    assert.equal(page.headers['referrer-policy'], 'same-origin');
    assert.ok(page.headers['content-security-policy'].includes(`form-action 'self' ${app.provider.url}`));
    for (const headers of [{}, { origin: 'https://evil.example' }, { origin: 'null' }, { 'sec-fetch-site': 'cross-site', origin: app.url }]) {
      const refused = await browser.send(`${app.url}/auth/logout`, { method: 'POST', body: '', headers });
      assert.equal(refused.status, 403);
      assert.deepEqual(refused.cookies, []);
    }
    assert.equal((await browser.send(`${app.url}/invoices`)).status, 200, 'still signed in');
  });

  test('logout deletes with identical attributes, and logs out at the provider', async () => {
    const browser = new Browser();
    await loginAtDemo(browser, app.url);
    const answer = await browser.send(`${app.url}/auth/logout`, {
      method: 'POST', body: '', headers: { 'sec-fetch-site': 'same-origin', origin: app.url },
    });
    assert.equal(answer.status, 303);
    assert.deepEqual(answer.cookies, [`__Host-airside=${ATTRIBUTES}; Max-Age=0`]);
    const target = new URL(answer.headers.location);
    assert.equal(target.origin, app.provider.url);
    assert.equal(target.searchParams.get('post_logout_redirect_uri'), `${app.url}/auth/logged-out`);
    assert.match(target.searchParams.get('id_token_hint'), /^ey/);
    assert.ok(target.searchParams.get('state'));
    const end = await browser.go(target.href);
    assert.equal(new URL(end.url).pathname, '/auth/logged-out');
    assert.match(end.text, /signed out/);
    const next = await browser.go(`${app.url}/invoices`);
    assert.match(next.text, /value="alice"/, 'the provider asks again');
  });

  test('the private component cannot be reached', async () => {
    for (const path of ['/tokens/refresh', '/tokens', '/auth/tokens']) {
      assert.equal((await request(app.url + path, { method: 'POST', body: 'x' })).status, 404, path);
    }
    // Spin closes the connection on such a Host; where it does not, there is nothing to see.
    const posing = { method: 'POST', body: 'x', headers: { host: 'tokens.spin.internal' } };
    const posed = await request(app.url + '/tokens/refresh', posing).catch((error) => ({ status: error.code }));
    assert.ok(['ECONNRESET', 404].includes(posed.status), String(posed.status));
  });
});

test('RP-initiated logout at oidc-provider', async () => {
  const app = await scenario({
    make: oidcProvider,
    edit: (text) => text.replace('"airside-demo"', '"airside-basic"').replace(/^audience = "(.*)"$/m, 'resource = ["$1"]'),
  });
  const browser = new Browser();
  assert.equal((await loginAtOidcProvider(browser, app.url)).status, 200);
  const answer = await browser.send(`${app.url}/auth/logout`, {
    method: 'POST', body: '', headers: { 'sec-fetch-site': 'same-origin', origin: app.url },
  });
  assert.equal(new URL(answer.headers.location).origin, app.provider.url);
  assert.equal((await request(`${app.url}/auth/session`)).status, 401);
  await app.stop();
});

test('a broken configuration is a fixed 500 and a log line, and a missing key too', async () => {
  for (const [edit, code] of [
    [(text) => text.replace('public_url', 'pulbic_url'), 'config_invalid'],
    [(text) => text.replace('"https://api.example.com/invoices"\nscopes', '"airside-demo"\nscopes'), 'config_invalid'],
    [() => '[[[', 'config_invalid'],
  ]) {
    const app = await scenario({ edit });
    const answers = [];
    for (const path of ['/', '/auth/login', '/auth/session', '/auth/callback', '/auth/logout', '/api/invoices/echo']) {
      const answer = await request(app.url + path, { headers: NAVIGATE });
      assert.equal(answer.status, 500, path);
      answers.push(answer.text);
    }
    assert.equal(new Set(answers).size, 1, 'always the same text');
    await app.gate.logged(code);
    assert.ok(app.gate.events.every((event) => event.code === code));
    await app.stop();
  }
});
