// Nobody says who calls but the gate: a table of what clients may try, against an upstream that
// answers with the list of headers it got, byte for byte.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { API, Browser, bearer, demoToken, loginAtDemo, request, scenario } from './harness.mjs';
import { echo, send } from './raw.mjs';

const EVIL = 'evil-value';
const IDENTITY = ['sub', 'issuer', 'scope', 'client-id', 'subject-type', 'email', 'name'].map((name) => `x-forwarded-${name}`);
// Those of the configuration below, on another upstream too.
const CONFIGURED = ['x-user-id', 'x-user-scope'];
const NAMES = [
  ...IDENTITY, ...CONFIGURED, 'airside-assertion', 'airside-anything', 'x-airside-x', 'forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto',
  'x-forwarded-user', 'x-forwarded-groups', 'x-forwarded-uri', 'x-forwarded-prefix', 'x-real-ip', 'x-client-ip', 'true-client-ip', 'x-original-url',
  'x-original-forwarded-for', 'x-rewrite-url', 'x-auth-request-user', 'x-auth-request-email', 'remote-user', 'x-remote-user', 'x-http-method-override',
  'x-envoy-external-address', 'spin-client-addr', 'spin-full-url', 'spin-path-info', 'spin-matched-route', 'spin-component-route', 'spin-base-path',
];
const capitals = (name) => name.replace(/(^|[-_])([a-z])/g, (_, dash, letter) => dash + letter.toUpperCase());
/** The spellings of one name: case, and `_` for some or all of `-`. */
const spellings = (name) => {
  const mixed = name.replace('-', '_');
  return [...new Set([name, capitals(name), name.toUpperCase(), name.replaceAll('-', '_'), name.toUpperCase().replaceAll('-', '_'), mixed, capitals(mixed)])];
};
const folded = (name) => name.toLowerCase().replaceAll('_', '-');

let app, token, cookie;
before(async () => {
  const route = (path, access, upstream = 'echo', more = '') => `
[[routes]]
path = "${path}"
upstream = "${upstream}"
access = "${access}"
${access === 'token' ? `issuer = "demo"\naudience = "${API}"\nscopes = ["read:invoices"]` : ''}
${more}`;
  app = await scenario({
    more: [() => echo()],
    edit: (text, url) => `${text}
[upstreams.echo]
url = "${url}"
[upstreams.named]
url = "${url}"
identity_headers = { subject = "X-User-Id", scope = "x-user-scope", name = "", email = "" }
${route('/open/*', 'public')}${route('/mine/*', 'login')}${route('/token/*', 'token')}${route('/named/*', 'token', 'named')}${route('/.well-known/*', 'public')}
${route('/passed/*', 'token', 'echo', 'cors = { origins = ["https://spa.example"], preflight = "upstream" }')}`,
  });
  token = await demoToken(app.provider.url, '--user', 'alice', '--audience', API, '--scope', 'openid read:invoices');
  const browser = new Browser();
  await loginAtDemo(browser, app.url);
  cookie = [...browser.jar(app.url)].map(([name, value]) => `${name}=${value}`).join('; ');
});
after(() => app.stop());

const ORIGIN = 'Origin: https://spa.example';
/** Where identity is sent along, with whom the upstream must see then. */
const places = () => [
  { name: 'public', target: '/open/x' },
  { name: 'public, OPTIONS', target: '/open/x', method: 'OPTIONS' },
  { name: 'public, POST', target: '/open/x', method: 'POST', headers: ['Content-Length: 0'] },
  { name: 'metadata', target: '/.well-known/security.txt' },
  { name: 'login', target: '/mine/x', headers: [`Cookie: ${cookie}`], sub: 'alice' },
  { name: 'login, OPTIONS', target: '/mine/x', method: 'OPTIONS', headers: [`Cookie: ${cookie}`], sub: 'alice' },
  { name: 'token', target: '/token/x', headers: [`Authorization: Bearer ${token}`], sub: 'alice' },
  { name: 'token, OPTIONS', target: '/token/x', method: 'OPTIONS', headers: [`Authorization: Bearer ${token}`], sub: 'alice' },
  { name: 'token, names of the configuration', target: '/named/x', headers: [`Authorization: Bearer ${token}`], sub: 'alice', as: 'x-user-id' },
  { name: 'preflight that is passed on', target: '/passed/x', method: 'OPTIONS', headers: [ORIGIN, 'Access-Control-Request-Method: PUT', `Authorization: Bearer ${token}`] },
];

const check = (response, place, what) => {
  assert.equal(response.status, 200, `${place.name}: ${what}: ${response.text}`);
  const list = JSON.parse(response.body).headers;
  assert.deepEqual(list.filter(([, value]) => value.includes(EVIL)), [], `${place.name}: ${what}`);
  const subjects = list.filter(([name]) => folded(name) === (place.as ?? 'x-forwarded-sub')).map(([, value]) => value);
  assert.deepEqual(subjects, place.sub ? [place.sub] : [], `${place.name}: ${what}`);
  if (!place.sub) assert.deepEqual(list.filter(([name]) => [...IDENTITY, ...CONFIGURED, 'airside-assertion'].includes(folded(name))), [], place.name);
  const named = Object.fromEntries(list.map(([name, value]) => [folded(name), value]));
  assert.equal(named['x-forwarded-for'], '127.0.0.1', `${place.name}: ${what}`);
  assert.equal(named['x-forwarded-host'], new URL(app.url).host, `${place.name}: ${what}`);
  assert.equal(named.host, new URL(app.others[0].url).host, `${place.name}: ${what}`);
  return named;
};

describe('identity that a client sends', () => {
  test('is in no spelling of any name at the upstream, on no kind of route', async () => {
    for (const place of places()) {
      for (const name of NAMES) {
        // All spellings at once, and the honest name twice.
        const headers = [...spellings(name), name].map((spelling) => `${spelling}: ${EVIL}`);
        const response = await send(app.url, { ...place, headers: [...headers, 'X-Mine: kept', ...(place.headers ?? [])] });
        assert.equal(check(response, place, name)['x-mine'], 'kept');
      }
    }
  });

  test('cannot be taken from the gate by naming it in Connection', async () => {
    for (const place of places().filter(({ sub }) => sub)) {
      const response = await request(app.url, {
        path: place.target, method: place.method,
        headers: { connection: `close, ${place.as ?? 'X-Forwarded-Sub'}, Host`, ...(place.target === '/mine/x' ? { cookie } : bearer(token)) },
      });
      check({ ...response, body: response.text }, place, 'Connection');
    }
  });

  test('of the gate cannot be had from an upstream that gives back what it gets', async () => {
    for (const place of places()) {
      const response = await send(app.url, { ...place, method: 'TRACE' });
      assert.equal(response.status, 405, place.name);
      assert.equal(JSON.parse(response.body).code, 'method_not_allowed');
    }
  });

  test('is nowhere in answers of the gate itself', async () => {
    const headers = NAMES.flatMap((name) => [`${name}: ${EVIL}`]).slice(0, 60);
    for (const target of ['/nowhere', '/token/x', '/auth/session', '/auth/nothing', '/.well-known/jwks.json', '/.well-known/oauth-protected-resource', '/token/..%2fx', '/auth/login']) {
      const response = await send(app.url, { target, headers });
      assert.ok(response.status >= 300 && response.status < 500, `${target}: ${response.status}`);
      assert.ok(!response.text.includes(EVIL), target);
    }
  });
});

describe('where a request says it is for', () => {
  test('Host counts for nothing', async () => {
    for (const place of places()) {
      check(await send(app.url, { ...place, host: 'evil.example' }), place, 'Host');
    }
    const person = await send(app.url, { target: '/mine/x', host: 'evil.example', headers: ['Accept: text/html'] });
    assert.equal(person.status, 303);
    assert.ok(person.header('location').startsWith('/auth/login?'));
  });

  test('an absolute form reaches no other component and no other host', async () => {
    for (const host of ['tokens.spin.internal', 'authorize.spin.internal', 'evil.example']) {
      for (const [target, status] of [['/open/x', 200], ['/token/x', 401], ['/tokens/refresh', 404], ['/auth/verify', 404]]) {
        const response = await send(app.url, { target: `http://${host}${target}`, host, headers: [] });
        // A host for components is no Host of a client: the platform may also end the connection.
        assert.ok(response.status === status || response.text === '', `${host}${target}: ${response.text}`);
        if (response.status === 200) check(response, { name: 'absolute form' }, host);
      }
    }
  });
});

describe('paths that could be read in two ways', () => {
  const INSIDE = ['..', '.', '%2e%2e', '%2E%2e', '.%2e', '%2e', '..;', '..;x=1', '.;', '%2e%2e;x', 'a%2fb', 'a%2Fb', 'a%5cb', 'a%5Cb', 'a\\b', '%2f', '%00', 'a%0d%0ab', '%09', '%7f',
    '%252e%252e', '%252fx', 'a%255cb', '%2500', '%u002e', '%', '%2', '%zz'];
  test('are refused on every kind of route, before a credential counts', async () => {
    for (const base of ['/open', '/mine', '/token', '/.well-known']) {
      for (const segment of INSIDE) {
        for (const target of [`${base}/${segment}/x`, `${base}/${segment}`]) {
          const response = await send(app.url, { target, headers: [`Authorization: Bearer ${token}`] });
          assert.equal(response.status, 400, `${target}: ${response.text}`);
        }
      }
      assert.equal((await send(app.url, { target: `${base}//x` })).status, 400);
    }
    for (const target of ['//open/x', '/open/../token/x', '/%2e/open/x', '\\open\\x']) {
      assert.equal((await send(app.url, { target, headers: [`Authorization: Bearer ${token}`] })).status, 400, target);
    }
  });

  test('and what is decided on is what is forwarded', async () => {
    for (const segment of ['a', 'a.b', '...', '..a', 'a..', 'a;v=1', ';', '%20', '%e2%82%ac', '100%25', '%41', 'a:b', '~', "!$&'()*+,=@", '%C0%AE']) {
      for (const target of [`/open/${segment}`, `/open/${segment}/x?y=../%2e%2e/%2f//\\&z=`]) {
        const response = await send(app.url, { target });
        assert.equal(response.status, 200, target);
        assert.equal(JSON.parse(response.body).target, target);
      }
      // The platform cuts off a fragment, before the decision.
      assert.equal(JSON.parse((await send(app.url, { target: `/open/${segment}#/../token` })).body).target, `/open/${segment}`);
      // Decoded for the decision: an encoded name of a closed route does not open it.
      assert.equal((await send(app.url, { target: `/%74oken/${segment}` })).status, 401, segment);
    }
  });
});
