// Ways out: a logout ends a copied cookie too, on every machine; a provider ends sessions behind
// the browser's back, by the rules of OpenID Connect Back-Channel Logout 1.0 (sections 2.4 to 2.8),
// each lie with its nearest accepted twin.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  API, Browser, NAVIGATE, bearer, forge, freePort, gateway, loginAtDemo, loginAtOidcProvider, oidcProvider,
  request, scenario,
} from './harness.mjs';
import { redis } from './redis.mjs';

const EVENT = 'http://schemas.openid.net/event/backchannel-logout';
const FORM = { 'content-type': 'application/x-www-form-urlencoded' };
/** A test that waits for a log line that does not come. */
const TIMEOUT = { timeout: 20_000 };
const ATTRIBUTES = '; HttpOnly; Secure; SameSite=Lax; Path=/';

const cookieOf = (browser, url) =>
  [...browser.jar(url)].filter(([name]) => name.startsWith('__Host-airside')).map((pair) => pair.join('=')).join('; ');
/** What a program with these cookies gets: at the page, at the API and at `/auth/session`. */
async function passes(url, cookie) {
  const statuses = [];
  for (const path of ['/invoices', '/api/invoices/echo', '/auth/session']) {
    statuses.push((await request(url + path, { headers: { cookie } })).status);
  }
  assert.equal(new Set(statuses).size, 1, statuses.join());
  return statuses[0] === 200;
}
const logOut = (browser, url) =>
  browser.send(`${url}/auth/logout`, { method: 'POST', body: '', headers: { 'sec-fetch-site': 'same-origin', origin: url } });

for (const [store, make] of [['one file', async () => ({ stop: async () => {} })], ['one Redis', redis]]) {
  describe(`logout, with two machines on ${store}`, () => {
    let app, twin, shared;
    before(async () => {
      shared = await make();
      const { runtime } = shared;
      app = await scenario({ runtime });
      twin = await gateway({
        port: await freePort(), provider: app.provider.url, upstreamUrl: app.back.url, runtime, shares: app.gate,
      });
    });
    after(async () => {
      await twin.stop();
      await app.stop();
      await shared.stop();
    });

    test('ends a copied cookie at once, on every machine that shares the store', async () => {
      const [browser, elsewhere] = [new Browser(), new Browser()];
      await loginAtDemo(browser, app.url);
      await loginAtDemo(elsewhere, app.url);
      const copy = cookieOf(browser, app.url);
      const other = cookieOf(elsewhere, app.url);
      // Both machines know both sessions as good.
      for (const machine of [app.url, twin.url]) {
        for (const cookie of [copy, other]) assert.ok(await passes(machine, cookie), machine);
      }
      const answer = await logOut(browser, app.url);
      assert.equal(answer.status, 303);
      assert.deepEqual(answer.cookies, [`__Host-airside=${ATTRIBUTES}; Max-Age=0`]);
      for (const machine of [twin.url, app.url]) {
        assert.equal(await passes(machine, copy), false, machine);
        assert.ok(await passes(machine, other), 'the same person elsewhere');
      }
      const told = await request(`${twin.url}/api/invoices/echo`, { headers: { cookie: copy } });
      assert.equal(told.json().code, 'session_revoked');
      assert.match(told.headers['www-authenticate'], /invalid_token/);
      // A person is led to the login; the dead cookie goes.
      const person = await request(`${twin.url}/invoices`, { headers: { ...NAVIGATE, cookie: copy } });
      assert.equal(person.status, 303);
      assert.equal(person.headers.location, '/auth/login?return_to=%2Finvoices');
      assert.deepEqual(person.cookies, [`__Host-airside=${ATTRIBUTES}; Max-Age=0`]);
      // And shows nobody's name.
      const page = await request(`${twin.url}/auth/logout`, { headers: { ...NAVIGATE, cookie: copy } });
      assert.ok(page.status === 200 && !page.text.includes('Alice'));

      await browser.go(`${app.url}/invoices`); // the provider still knows who it is
      assert.ok(await passes(twin.url, cookieOf(browser, app.url)), 'a new login is a new session');
    });

    test('of somebody else ends nobody', async () => {
      const [browser, stranger] = [new Browser(), new Browser()];
      await loginAtDemo(browser, app.url);
      for (const cookie of ['', '__Host-airside=1~x', '__Host-airside-tx-a=b']) {
        const headers = { cookie, 'sec-fetch-site': 'same-origin' };
        const answer = await request(`${app.url}/auth/logout`, { method: 'POST', body: '', headers });
        assert.equal(answer.status, 303);
      }
      await loginAtDemo(stranger, app.url, '/invoices', 'bob');
      await logOut(stranger, app.url);
      assert.ok(await passes(app.url, cookieOf(browser, app.url)));
    });
  });
}

describe('logout at a provider with a revocation endpoint', () => {
  let app;
  before(async () => {
    app = await scenario({
      make: forge,
      edit: (text) => text.replace('client_id = "airside-demo"', 'client_id = "airside-forge"\nrefresh = true'),
    });
  });
  after(() => app.stop());
  const tell = (what, body) => request(`${app.provider.url}/${what}`, { method: 'POST', body: JSON.stringify(body) });

  test('revokes the tokens of the session', async () => {
    await tell('metadata', { revocation_endpoint: `${app.provider.url}/revoke` });
    await tell('next', { token: { refresh_token: 'the-refresh-token' } });
    const browser = new Browser();
    assert.equal((await browser.go(`${app.url}/invoices`)).status, 200);
    // The provider has no such endpoint after all: the person is logged out even so.
    assert.equal((await logOut(browser, app.url)).headers.location, '/auth/logged-out');
    const hits = (await request(`${app.provider.url}/hits`)).json();
    const { body, headers } = (await request(`${app.provider.url}/seen`)).json()['/revoke'];
    assert.equal(hits['/revoke'], 2, 'the refresh token, then the access token');
    assert.match(body, /^token=ey[\w.-]+&token_type_hint=access_token/);
    assert.match(headers.authorization, /^Basic /);
    const failed = await app.gate.logged('revocation_failed');
    assert.ok(!JSON.stringify(failed).includes('the-refresh-token'));
  });
});

for (const kind of ['sid', 'sub']) {
  describe(`oidc-provider, whose logout tokens have ${kind}`, () => {
    let app;
    before(async () => {
      app = await scenario({
        make: oidcProvider,
        providerArgs: ['--backchannel', kind],
        edit: (text) => text.replace('"airside-demo"', '"airside-basic"').replace(/^audience = "(.*)"$/m, 'resource = ["$1"]'),
      });
    });
    after(() => app.stop());

    /** The person logs out at the provider; this site's pages are not part of it. */
    const logOutThere = async (browser) => {
      const page = await browser.go(`${app.provider.url}/session/end`);
      await browser.submit(page, 'op.logoutForm', { logout: 'yes' });
    };

    test('a logout there ends the sessions here that it means, and no other', async () => {
      const [one, two, bob] = [new Browser(), new Browser(), new Browser()];
      for (const [browser, user] of [[one, 'alice'], [two, 'alice'], [bob, 'bob']]) {
        assert.equal((await loginAtOidcProvider(browser, app.url, '/invoices', user)).status, 200);
      }
      const cookies = [one, two, bob].map((browser) => cookieOf(browser, app.url));
      for (const cookie of cookies) assert.ok(await passes(app.url, cookie));
      const since = app.gate.events.length;
      await logOutThere(one);
      const event = await app.gate.logged('backchannel_logout', since);
      assert.equal(event.sid, String(kind === 'sid'));
      assert.deepEqual(
        [await passes(app.url, cookies[0]), await passes(app.url, cookies[1]), await passes(app.url, cookies[2])],
        [false, kind === 'sid', true],
      );
      // A new login is not touched by the old logout.
      assert.equal((await loginAtOidcProvider(one, app.url)).status, 200);
      assert.ok(await passes(app.url, cookieOf(one, app.url)));
    });

    test('an ID token and an access token posted as logout tokens end nothing', async () => {
      const browser = new Browser();
      await loginAtOidcProvider(browser, app.url);
      const cookie = cookieOf(browser, app.url);
      const answer = await logOut(browser, app.url);
      const id_token = new URL(answer.headers.location).searchParams.get('id_token_hint');
      const post = (logout_token) =>
        request(`${app.url}/auth/backchannel-logout`, {
          method: 'POST', headers: FORM, body: new URLSearchParams({ logout_token }).toString(),
        });
      const since = app.gate.events.length;
      const refused = await post(id_token);
      assert.equal(refused.status, 400);
      assert.equal((await app.gate.logged('logout_token_events', since)).code, 'logout_token_events');
      assert.equal(await passes(app.url, cookie), false, 'by the logout, that is');
    });
  });
}

describe('back-channel logout', () => {
  let app;
  before(async () => {
    app = await scenario({
      make: forge,
      edit: (text) => {
        const [, origin] = /^issuer = "(.*)"$/m.exec(text);
        const more = ['second', 'down'].map(
          (name) => `[providers.${name}]\nissuer = "${origin}/as/${name}"\nclient_id = "airside-forge"\nclient_authentication = "none"\n`,
        );
        return [text.replace('client_id = "airside-demo"', 'client_id = "airside-forge"'), ...more].join('\n');
      },
    });
  });
  after(() => app.stop());

  const ask = (path, body) => request(app.provider.url + path, { method: 'POST', body: JSON.stringify(body) });
  const token = async (description = {}, issuer = '') => (await ask(`${issuer}/logout-token`, description)).text;
  const post = (body, headers = FORM) =>
    request(`${app.url}/auth/backchannel-logout`, { method: 'POST', body, headers });
  const postToken = (logout_token) => post(new URLSearchParams({ logout_token }).toString());

  /** A session of alice at the forge, with these members of the ID token. */
  async function session(claims = {}) {
    await ask('/next', { id_token: { claims } });
    const browser = new Browser();
    const page = await browser.go(`${app.url}/auth/login?provider=demo&return_to=/invoices`);
    assert.equal(page.status, 200, page.text);
    return cookieOf(browser, app.url);
  }

  async function refuses(body, code, headers) {
    const since = app.gate.events.length;
    const answer = await (headers ? post(body, headers) : postToken(body));
    assert.equal(answer.status, 400, code);
    await app.gate.logged(code, since);
    assert.equal(answer.headers['content-type'], 'application/json');
    assert.equal(answer.headers['cache-control'], 'no-store');
    assert.equal(answer.json().error, 'invalid_request');
  }

  /** The description with this difference is refused, that of its twin ends the session. */
  const rule = (name, code, lie, twin) =>
    test(name, TIMEOUT, async () => {
      const cookie = await session({ sid: name });
      await refuses(await token(lie), code);
      assert.ok(await passes(app.url, cookie), 'refused, yet the session is gone');
      const answer = await postToken(await token(twin));
      assert.equal(answer.status, 200, JSON.stringify(app.gate.events.at(-1)));
      assert.equal(answer.headers['cache-control'], 'no-store');
      assert.equal(await passes(app.url, cookie), false);
    });
  const claims = (changes) => ({ claims: changes });

  rule('steps 2, 3: alg none', 'logout_token_signature', { alg: 'none' }, {});
  rule('steps 2, 3: a MAC with the public key', 'logout_token_signature', { alg: 'HS256' }, { alg: 'EdDSA' });
  rule('steps 2, 3: a changed signature', 'logout_token_signature', { signature: 'spoiled' }, { alg: 'ES256' });
  rule('steps 2, 3: no signature', 'logout_token_signature', { signature: 'removed' }, { alg: 'PS256' });
  rule('steps 2, 3: a key that is not published', 'logout_token_signature', { key: 'other' }, { alg: 'ES384' });
  rule('steps 2, 3: a key of its own in the header', 'logout_token_signature',
    { key: 'other', header: { jwk: 'OTHER_PUBLIC_JWK' } }, {});
  rule('step 1: an encrypted token', 'logout_token_signature', { parts: '.e30.e30' }, {});
  rule('2.4: typ of an access token', 'logout_token_typ', { header: { typ: 'at+jwt' } }, { header: { typ: 'logout+jwt' } });
  rule('2.4: typ of another event', 'logout_token_typ', { header: { typ: 'secevent+jwt' } },
    { header: { typ: 'application/logout+jwt' } });
  rule('step 4: another issuer', 'logout_token_iss', claims({ iss: 'https://evil.example' }), {});
  rule('step 4: no issuer', 'logout_token_iss', claims({ iss: null }), {});
  rule('step 4: another client', 'logout_token_aud', claims({ aud: 'another' }), claims({ aud: ['airside-forge'] }));
  rule('step 4: the API', 'logout_token_aud', claims({ aud: API }), {});
  rule('step 4: us and a stranger', 'logout_token_aud', claims({ aud: ['airside-forge', 'x'] }), {});
  rule('step 4: no audience', 'logout_token_aud', claims({ aud: null }), {});
  rule('step 4: no iat', 'logout_token_claims', claims({ iat: null }), {});
  rule('step 4: iat in the future', 'logout_token_not_yet_valid', claims({ iat: { in: 120 } }), claims({ iat: { in: 30 } }));
  rule('step 4: exp over', 'logout_token_expired', claims({ exp: { in: -90 } }), claims({ exp: { in: -30 } }));
  rule('step 4: far away exp, old', 'logout_token_expired', claims({ iat: { in: -4000 }, exp: { in: 9999 } }),
    claims({ iat: { in: -3000 }, exp: { in: 9999 } }));
  rule('step 5: neither sub nor sid', 'logout_token_subject', claims({ sub: null }), claims({ sub: null, sid: 'step 5: neither sub nor sid' }));
  rule('step 6: no events', 'logout_token_events', claims({ events: null }), {});
  rule('step 6: another event', 'logout_token_events', claims({ events: { 'urn:example:event': {} } }),
    claims({ events: { 'urn:example:event': {}, [EVENT]: {} } }));
  rule('step 6: an event that is no object', 'logout_token_events', claims({ events: { [EVENT]: true } }),
    claims({ events: { [EVENT]: { note: 1 } } }));
  rule('step 6: events as an array', 'logout_token_events', claims({ events: [EVENT] }), {});
  rule('step 7: a nonce', 'logout_token_nonce', claims({ nonce: 'n' }), {});
  rule('2.4: no jti', 'logout_token_claims', claims({ jti: null }), {});
  rule('older drafts: no exp, old', 'logout_token_expired',
    { header: { typ: 'JWT' }, claims: { exp: null, iat: { in: -400 } } },
    { header: { typ: 'JWT' }, claims: { exp: null, iat: { in: -200 } } });
  rule('older drafts: no typ', 'logout_token_nonce', { header: { typ: null }, claims: { nonce: 'n' } }, { header: { typ: null } });

  test('step 8: the same token twice', async () => {
    const first = await session();
    const used = await token();
    assert.equal((await postToken(used)).status, 200);
    assert.equal(await passes(app.url, first), false);
    const second = await session();
    await refuses(used, 'logout_token_replayed');
    assert.ok(await passes(app.url, second));
    assert.equal((await postToken(await token())).status, 200, 'another one');
    assert.equal(await passes(app.url, second), false);
  });

  test('2.5: one form, one token, by POST', async () => {
    const cookie = await session();
    const good = await token();
    await refuses('', 'logout_token_malformed', FORM);
    await refuses(`token=${good}`, 'logout_token_malformed', FORM);
    await refuses(`logout_token=${good}&logout_token=${good}`, 'logout_token_malformed', FORM);
    await refuses(JSON.stringify({ logout_token: good }), 'logout_token_malformed', { 'content-type': 'application/json' });
    await refuses(`logout_token=${good}${'x'.repeat(17_000)}`, 'logout_token_malformed', FORM);
    const got = await request(`${app.url}/auth/backchannel-logout?logout_token=${good}`);
    assert.deepEqual([got.status, got.headers.allow], [405, 'POST']);
    assert.equal((await post('x'.repeat(200_000))).status, 413);
    assert.ok(await passes(app.url, cookie));
    assert.equal((await post(`other=1&logout_token=${good}`)).status, 200);
    assert.equal(await passes(app.url, cookie), false);
  });

  test('2.7: sid means one session, sub all of a person, both the one and those without sid', async () => {
    const make = async () => [await session({ sid: 'p1' }), await session({ sid: 'p2' }), await session(), await session({ sub: 'bob' })];
    const [a, b, c] = [await make(), await make(), await make()];
    const left = (sessions) => Promise.all(sessions.map((cookie) => passes(app.url, cookie)));
    // Sessions of each group share their sids, so the groups end together where the sid says so.
    assert.equal((await postToken(await token(claims({ sub: null, sid: 'p2' })))).status, 200);
    assert.deepEqual(await left(a), [true, false, true, true]);
    assert.equal((await postToken(await token(claims({ sid: 'p1' })))).status, 200);
    assert.deepEqual(await left(b), [false, false, false, true]);
    const [again, other] = [await session({ sid: 'p4' }), await session()];
    assert.deepEqual(await left([again, other]), [true, true], 'later logins');
    assert.equal((await postToken(await token())).status, 200);
    assert.deepEqual(await left([again, other, c[3]]), [false, false, true]);
  });

  test('a login at a sid that was ended is refused with a way on', async () => {
    assert.equal((await postToken(await token(claims({ sub: null, sid: 'ended' })))).status, 200);
    await ask('/next', { id_token: { claims: { sid: 'ended' } } });
    const browser = new Browser();
    const page = await browser.go(`${app.url}/auth/login?provider=demo&return_to=/invoices`);
    assert.equal(page.status, 401);
    assert.match(page.text, /href="\/auth\/login\?provider=demo/);
    assert.equal(browser.jar(app.url).size, 0);
    await session({ sid: 'running' });
  });

  test('each provider ends its own people only, whatever its token says', async () => {
    const cookie = await session();
    // Signed by the second one, for itself: its alice is another alice.
    assert.equal((await postToken(await token({}, '/as/second'))).status, 200);
    assert.ok(await passes(app.url, cookie));
    await ask('/as/second/rotate', {});
    await refuses(await token(claims({ iss: app.provider.url }), '/as/second'), 'logout_token_signature');
    assert.ok(await passes(app.url, cookie));
    assert.equal((await postToken(await token())).status, 200);
    assert.equal(await passes(app.url, cookie), false);
  });

  test('tokens of other kinds are refused here, and logout tokens everywhere else', async () => {
    const cookie = await session();
    const access = (await ask('/mint', {})).text;
    await refuses(access, 'logout_token_typ');
    const good = await token();
    const api = (value) => request(`${app.url}/api/invoices/echo`, { headers: bearer(value) });
    assert.equal((await api(good)).status, 401);
    assert.equal((await api(access)).status, 200);
    assert.ok(await passes(app.url, cookie));
  });

  test('a logout token with the typ of an ID token opens no session', async () => {
    // The claims of a logout token where the ID token must be: no nonce.
    await ask('/next', { id_token: { claims: { nonce: null, events: { [EVENT]: {} } } } });
    const since = app.gate.events.length;
    const browser = new Browser();
    const page = await browser.go(`${app.url}/auth/login?provider=demo&return_to=/invoices`);
    assert.equal(page.status, 400);
    await app.gate.logged('id_token_nonce', since);
    await session();
  });

  test('keys that cannot be had are 503, not a refusal', async () => {
    await ask('/as/down/outage', { '/jwks': 503 });
    const since = app.gate.events.length;
    const answer = await postToken(await token({}, '/as/down'));
    assert.deepEqual([answer.status, answer.headers['retry-after']], [503, '10']);
    await app.gate.logged('provider_unreachable', since);
    assert.equal((await postToken(await token({}, '/as/second'))).status, 200);
  });
});

describe('danger_skip_revocation', () => {
  let app;
  before(async () => (app = await scenario({ edit: (text) => text.replace("[session]", "[session]\ndanger_skip_revocation = true") })));
  after(() => app.stop());

  test('is what it says: a copy outlives the logout, and back-channel logout is refused', async () => {
    const browser = new Browser();
    await loginAtDemo(browser, app.url);
    const copy = cookieOf(browser, app.url);
    await logOut(browser, app.url);
    assert.ok(await passes(app.url, copy));
    const refused = await request(`${app.url}/auth/backchannel-logout`, { method: 'POST', body: 'logout_token=x', headers: FORM });
    assert.equal(refused.status, 501);
    assert.equal((await app.gate.logged('danger_on')).key, 'session.danger_skip_revocation');
  });
});
