// Requests that other sites cause: with a session (CSRF), without one (login CSRF), and with a
// session of the attacker's choice (session fixation).

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { API, Browser, NAVIGATE, bearer, demoToken, loginAtDemo, request, scenario } from './harness.mjs';

const ATTRIBUTES = '; HttpOnly; Secure; SameSite=Lax; Path=/';
const WRITABLE = (text) => text.replace('"read:invoices"]\n# Asks', '"read:invoices", "write:invoices"]\n# Asks');

let app, cookie;
before(async () => {
  app = await scenario({
    edit: (text) => `${WRITABLE(text)}
[[routes]]
path = "/forms/*"
access = "login"
upstream = "invoices"
`,
  });
  const browser = new Browser();
  assert.equal((await loginAtDemo(browser, app.url)).status, 200);
  cookie = sessionOf(browser);
});
after(() => app.stop());

const sessionOf = (browser) =>
  [...browser.jar(app.url)].filter(([name]) => /^__Host-airside(\.\d)?$/.test(name)).map((pair) => pair.join('=')).join('; ');
/** What the request shows of where it comes from, and whether that is proof enough. */
const PROOFS = () => [
  ['same origin', { 'sec-fetch-site': 'same-origin' }, true],
  ['same origin, with our Origin', { 'sec-fetch-site': 'same-origin', origin: app.url }, true],
  ['same origin, Origin null (Referrer-Policy: no-referrer)', { 'sec-fetch-site': 'same-origin', origin: 'null' }, true],
  ['an older browser: our Origin alone', { origin: app.url }, true],
  ['cross site', { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }, false],
  ['cross site that lies about Origin', { 'sec-fetch-site': 'cross-site', origin: () => app.url }, false],
  ['same site: another port or subdomain', { 'sec-fetch-site': 'same-site', origin: 'http://127.0.0.1:1' }, false],
  ['none: typed or from a bookmark', { 'sec-fetch-site': 'none' }, false],
  ['an unknown word', { 'sec-fetch-site': 'same-origin-ish' }, false],
  ['an empty word', { 'sec-fetch-site': '', origin: () => app.url }, false],
  ['Origin null alone: a sandboxed frame', { origin: 'null' }, false],
  ['another Origin', { origin: 'https://evil.example' }, false],
  ['our Origin with a suffix', { origin: () => `${app.url}.evil.example` }, false],
  ['our Origin with a slash', { origin: () => `${app.url}/` }, false],
  ['our Origin in another scheme', { origin: () => app.url.replace('http:', 'https:') }, false],
  ['two Origins', { origin: () => [app.url, 'https://evil.example'] }, false],
  ['Referer is no proof', { referer: () => `${app.url}/invoices` }, false],
  ['nothing', {}, false],
];
const told = (headers) =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, typeof value === 'function' ? value() : value]));

for (const [path, what] of [['/api/invoices/', 'an API'], ['/forms/x', 'a page']]) {
  describe(`unsafe requests to ${what} by session`, () => {
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
      if (what === 'an API' && method === 'PATCH') continue; // the demo has no route for it
      test(method, async () => {
        for (const [name, headers, allowed] of PROOFS()) {
          const options = { method, body: '{}', headers: { cookie, 'content-type': 'application/json', ...told(headers) } };
          const answer = await request(app.url + path, options);
          const code = answer.headers['content-type'] === 'application/problem+json' ? answer.json().code : undefined;
          if (allowed) assert.notEqual(code, 'cross_site', name);
          else assert.deepEqual([answer.status, code], [403, 'cross_site'], name);
          if (allowed) assert.notEqual(answer.status, 403, name);
          assert.deepEqual(answer.cookies, [], name);
        }
      });
    }

    test('reading needs no proof: a link from elsewhere works', async () => {
      for (const method of ['GET', 'HEAD']) {
        for (const [name, headers] of PROOFS()) {
          const options = { method, headers: { cookie, ...told(headers) } };
          const answer = await request(app.url + (what === 'an API' ? path : '/invoices'), options);
          assert.equal(answer.status, 200, `${method}, ${name}`);
        }
      }
    });
  });
}

test('a method is not overridden by a header or a parameter', async () => {
  for (const [path, headers] of [
    ['/api/invoices/?_method=POST', {}],
    ['/api/invoices/', { 'x-http-method-override': 'POST' }],
  ]) {
    const answer = await request(app.url + path, { headers: { cookie, ...headers } });
    assert.equal(answer.json().received.method, 'GET');
  }
});

test('a bearer token is proof by itself: no site can make a browser send one', async () => {
  const token = await demoToken(app.provider.url, '--audience', API, '--scope', 'openid read:invoices write:invoices');
  const body = JSON.stringify({ customer: 'c', amount_cents: 1 });
  const headers = { ...bearer(token), 'content-type': 'application/json', 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' };
  assert.equal((await request(`${app.url}/api/invoices/`, { method: 'POST', body, headers })).status, 201);
});

describe('logout CSRF', () => {
  test('a post without proof, a link and an image log nobody out', async () => {
    for (const [name, headers, allowed] of PROOFS()) {
      if (allowed) continue;
      const answer = await request(`${app.url}/auth/logout`, { method: 'POST', body: '', headers: { cookie, ...told(headers) } });
      assert.deepEqual([answer.status, answer.cookies], [403, []], name);
    }
    for (const headers of [NAVIGATE, { 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image', 'sec-fetch-site': 'cross-site' }]) {
      const answer = await request(`${app.url}/auth/logout`, { headers: { cookie, ...headers } });
      assert.deepEqual([answer.status, answer.cookies], [200, []]);
      assert.equal(answer.headers['x-frame-options'], 'DENY', 'nor by a click in a frame');
      assert.match(answer.headers['content-security-policy'], /frame-ancestors 'none'/);
    }
    assert.equal((await request(`${app.url}/auth/session`, { headers: { cookie } })).status, 200);
  });

  test('each proof that is one logs out', async () => {
    for (const [name, headers, allowed] of PROOFS()) {
      if (!allowed) continue;
      const browser = new Browser();
      await loginAtDemo(browser, app.url);
      const own = sessionOf(browser);
      const answer = await request(`${app.url}/auth/logout`, { method: 'POST', body: '', headers: { cookie: own, ...told(headers) } });
      assert.equal(answer.status, 303, name);
      assert.equal((await request(`${app.url}/auth/session`, { headers: { cookie: own } })).status, 401, name);
    }
  });
});

/** A login of `user`, up to the redirect that brings the code back; it is not followed. */
async function interrupted(browser, user) {
  const page = await browser.go(`${app.url}/invoices`);
  const last = browser.send.bind(browser);
  let callback;
  browser.send = async (url, options) => {
    if (new URL(url).pathname.startsWith('/auth/callback')) {
      callback = url;
      return { status: 200, headers: {}, cookies: [], text: '', url };
    }
    return last(url, options);
  };
  await browser.submit(page, `value="${user}"`);
  browser.send = last;
  assert.ok(callback, 'the provider sent the browser back');
  return callback;
}

describe('login CSRF', () => {
  test("the end of an attacker's login in a victim's browser signs nobody in", async () => {
    const attacker = new Browser();
    const callback = await interrupted(attacker, 'bob');
    // A victim without any attempt, one with an attempt of its own, and one that is signed in.
    const [fresh, trying, signedIn] = [new Browser(), new Browser(), new Browser()];
    await trying.send(`${app.url}/auth/login`);
    await loginAtDemo(signedIn, app.url);
    for (const [name, victim] of Object.entries({ fresh, trying, signedIn })) {
      const session = sessionOf(victim);
      const answer = await victim.send(callback);
      assert.equal(answer.status, 400, name);
      assert.ok(!answer.cookies.some((line) => line.startsWith('__Host-airside=')), name);
      assert.equal(sessionOf(victim), session, name);
    }
    // Nor does it use up the attempt: where it began, it ends.
    assert.equal((await attacker.go(callback)).url, `${app.url}/invoices`);
    const told = await attacker.send(`${app.url}/auth/session`);
    assert.equal(told.json().subject, 'bob');
  });

  test("an attempt's cookie of another state does not do", async () => {
    const [attacker, victim] = [new Browser(), new Browser()];
    const callback = new URL(await interrupted(attacker, 'bob'));
    const own = new URL(await interrupted(victim, 'alice'));
    // The attacker's code with the victim's state: PKCE ties a code to the attempt that asked for it.
    own.searchParams.set('code', callback.searchParams.get('code'));
    const answer = await victim.send(own.href);
    assert.equal(answer.status, 400);
    assert.equal(sessionOf(victim), '');
  });

  test('a callback that is posted is refused, with and without the attempt', async () => {
    const browser = new Browser();
    const callback = new URL(await interrupted(browser, 'alice'));
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    for (const target of [callback.href, `${app.url}/auth/callback`]) {
      const answer = await browser.send(target, { method: 'POST', body: callback.search.slice(1), headers });
      assert.deepEqual([answer.status, answer.cookies, answer.headers.allow], [405, [], 'GET']);
    }
    assert.equal((await browser.go(callback.href)).url, `${app.url}/invoices`);
  });

  test('a script, a frame or a prefetch of another site begins no login', async () => {
    for (const headers of [
      { 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image', 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe', 'sec-fetch-site': 'cross-site' },
      { ...NAVIGATE, 'sec-purpose': 'prefetch' },
    ]) {
      const answer = await request(`${app.url}/auth/login?return_to=/invoices`, { headers });
      assert.deepEqual([answer.status, answer.cookies], [401, []]);
    }
  });
});

describe('session fixation', () => {
  test('a planted session does not survive a login', async () => {
    const attacker = new Browser();
    await loginAtDemo(attacker, app.url, '/invoices', 'bob');
    const planted = attacker.jar(app.url).get('__Host-airside');
    const victim = new Browser();
    victim.jar(app.url).set('__Host-airside', planted);
    const login = await victim.go(`${app.url}/auth/login?return_to=/invoices`);
    const page = await victim.submit(login, 'value="alice"');
    assert.equal(page.url, `${app.url}/invoices`);
    const session = (await victim.send(`${app.url}/auth/session`)).json();
    assert.equal(session.subject, 'alice');
    assert.notEqual(victim.jar(app.url).get('__Host-airside'), planted);
    // What the attacker holds is still the attacker's own, and knows nothing of the victim.
    assert.equal((await attacker.send(`${app.url}/auth/session`)).json().subject, 'bob');
  });

  test('planted chunks, made-up cookies and an old session are replaced or removed', async () => {
    for (const planted of [
      { '__Host-airside': 'made-up' },
      { '__Host-airside': '2~half', '__Host-airside.1': 'other' },
      { '__Host-airside.3': 'stale' },
    ]) {
      const victim = new Browser();
      const jar = victim.jar(app.url);
      for (const [name, value] of Object.entries(planted)) jar.set(name, value);
      const login = await victim.go(`${app.url}/auth/login?return_to=/invoices`);
      assert.equal((await victim.submit(login, 'value="alice"')).url, `${app.url}/invoices`);
      for (const [name, value] of Object.entries(planted)) assert.notEqual(jar.get(name), value, name);
      assert.equal((await victim.send(`${app.url}/auth/session`)).json().subject, 'alice');
    }
  });

  test('a session cookie planted beside the own one ends with both removed', async () => {
    const answer = await request(`${app.url}/invoices`, { headers: { ...NAVIGATE, cookie: `__Host-airside=x; ${cookie}` } });
    assert.equal(answer.status, 400);
    assert.ok(answer.cookies.includes(`__Host-airside=${ATTRIBUTES}; Max-Age=0`));
  });
});
