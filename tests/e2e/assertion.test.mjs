// `Airside-Assertion`, verified by npm `jose` in the upstream as docs/assertions.md says.

import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { API, Browser, bearer, demoToken, freePort, gateway, loginAtDemo, demoProvider, request, root } from './harness.mjs';
import { json, rawUpstream } from './raw.mjs';

const { resolve } = createRequire(join(root, 'tests/e2e/providers/package.json'));
const { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } = await import(pathToFileURL(resolve('jose')).href);

const key = (kid, curve = 'ed25519') => {
  const pair = curve === 'ed25519' ? generateKeyPairSync(curve) : generateKeyPairSync('ec', { namedCurve: curve });
  return { ...pair.privateKey.export({ format: 'jwk' }), kid };
};
const set = (...keys) => {
  process.env.SPIN_VARIABLE_ASSERTION_KEYS = JSON.stringify({ keys });
};
const AUDIENCE = 'https://invoices.internal.example';

/** What an upstream does: see docs/assertions.md. */
const caller = (gate, keys, assertion, audience = AUDIENCE) =>
  jwtVerify(assertion ?? '', keys ?? createRemoteJWKSet(new URL(`${gate}/.well-known/jwks.json`)), {
    algorithms: ['EdDSA', 'ES256'], typ: 'airside-assertion+jwt', issuer: gate, audience,
    requiredClaims: ['sub', 'sub_iss', 'subject_type', 'exp'],
  });

let port, url, provider, upstream, token, other, shares;
before(async () => {
  port = await freePort();
  url = `http://127.0.0.1:${port}`;
  provider = await demoProvider(url);
  upstream = await rawUpstream(({ method, target, headers }) =>
    json({ method, target, assertion: headers.filter(([name]) => /^airside[-_]assertion$/i.test(name)).map(([, value]) => value) }));
  token = await demoToken(provider.url, '--user', 'alice', '--audience', API, '--scope', 'openid read:invoices');
  other = await demoToken(provider.url, '--user', 'bob', '--audience', API, '--scope', 'openid read:invoices');
});
after(async () => {
  await provider.stop();
  await upstream.stop();
});

const routes = `
[upstreams.told]
url = "UP"
assertion = true
assertion_audience = "${AUDIENCE}"
[upstreams.bound]
url = "UP"
assertion = true
assertion_binding = true
${[['/told/*', 'told', 'token'], ['/bound/*', 'bound', 'token'], ['/mine/*', 'told', 'login'], ['/open/*', 'told', 'public'], ['/moved/*', 'bound', 'token']]
    .map(([path, to, access]) => `
[[routes]]
path = "${path}"
upstream = "${to}"
access = "${access}"
${access === 'token' ? `issuer = "demo"\naudience = "${API}"\nscopes = ["read:invoices"]` : ''}
${path === '/moved/*' ? 'upstream_path = "/v2/*"' : ''}
`).join('')}`;
const gate = async (more = {}) => {
  const gate = await gateway({ port, provider: provider.url, upstreamUrl: upstream.url, edit: (text) => text + routes.replaceAll('UP', upstream.url), ...more });
  return gate;
};
const ask = async (path, options = {}) => {
  const response = await request(url + path, { ...options, headers: { ...bearer(token), ...options.headers } });
  assert.equal(response.status, 200, response.text);
  const { assertion } = response.json();
  assert.ok(assertion.length <= 1);
  return assertion[0];
};

describe('an assertion', () => {
  let app;
  before(async () => {
    set(key('first'), key('second', 'P-256'));
    app = await gate();
  });
  after(() => app.stop());

  test('says who calls, and jose verifies it', async () => {
    const assertion = await ask('/told/x?secret');
    const { payload, protectedHeader } = await caller(url, undefined, assertion);
    assert.deepEqual(protectedHeader, { alg: 'EdDSA', kid: 'first', typ: 'airside-assertion+jwt' });
    assert.equal(payload.sub, 'alice');
    assert.equal(payload.sub_iss, provider.url);
    assert.equal(payload.subject_type, 'user');
    assert.match(payload.scope, /read:invoices/);
    assert.ok(payload.client_id);
    assert.equal(payload.jti, undefined);
    assert.equal(payload.exp - payload.iat, 60);
    await assert.rejects(caller(url, undefined, assertion, 'https://another.example'), { code: 'ERR_JWT_CLAIM_VALIDATION_FAILED' });
    await assert.rejects(caller(url, undefined, `${assertion.slice(0, -8)}AAAAAAAA`), { code: 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED' });
  });

  test('is one for many requests of one caller, and another for another', async () => {
    const own = await ask('/told/x');
    assert.equal(await ask('/told/y', { method: 'GET' }), own);
    const bobs = await ask('/told/x', { headers: bearer(other) });
    assert.notEqual(bobs, own);
    assert.equal((await caller(url, undefined, bobs)).payload.sub, 'bob');
    assert.equal(await ask('/told/x'), own);
  });

  test('is of a session where a session opens the route, and on public routes there is none', async () => {
    const browser = new Browser();
    await loginAtDemo(browser, url);
    const { assertion: [mine] } = (await browser.send(`${url}/mine/x`)).json();
    const { payload } = await caller(url, undefined, mine);
    assert.equal(payload.sub, 'alice');
    assert.equal(payload.client_id, undefined);
    assert.equal(payload.scope, undefined);
    const own = await ask('/told/x');
    const forged = await request(`${url}/open/x`, { headers: { 'airside-assertion': own, airside_assertion: own } });
    assert.deepEqual(forged.json().assertion, []);
    // One that the client sends is replaced, not joined.
    assert.equal((await caller(url, undefined, await ask('/told/x', { headers: { 'Airside-Assertion': 'evil' } }))).payload.sub, 'alice');
  });

  test('that is bound is for one method and path, as the upstream sees them', async () => {
    const audience = upstream.url;
    for (const [path, seen] of [['/bound/x?q=1', '/bound/x'], ['/moved/a/b', '/v2/a/b']]) {
      const { payload } = await caller(url, undefined, await ask(path, { method: 'DELETE' }), audience);
      assert.deepEqual([payload.htm, payload.htu], ['DELETE', upstream.url + seen]);
    }
    assert.notEqual(await ask('/bound/x'), await ask('/bound/y'));
  });

  test('verifies with public keys only, readable by everybody', async () => {
    const response = await request(`${url}/.well-known/jwks.json`);
    assert.equal(response.status, 200);
    assert.equal(response.headers['cache-control'], 'public, max-age=300');
    assert.equal(response.headers['access-control-allow-origin'], '*');
    assert.equal(Number(response.headers['content-length']), response.text.length);
    const { keys } = response.json();
    assert.deepEqual(keys.map(({ kid, alg }) => [kid, alg]), [['first', 'EdDSA'], ['second', 'ES256']]);
    assert.ok(keys.every((one) => !('d' in one)));
    assert.equal((await request(`${url}/.well-known/jwks.json`, { method: 'POST', body: '' })).status, 405);
    assert.equal((await request(`${url}/.well-known/jwks.json/x`)).status, 404);
  });
});

test('keys rotate without an upstream refusing anybody', async () => {
  const [old, young] = [key('old'), key('young')];
  const known = async () => createRemoteJWKSet(new URL(`${url}/.well-known/jwks.json`), { cooldownDuration: 3_600_000 });
  const kid = (assertion) => decodeProtectedHeader(assertion).kid;
  set(old);
  let app = await gate();
  const first = await ask('/told/x');
  await app.stop();
  // Published, not signing yet: an upstream that fetches now knows both for an hour.
  set(old, young);
  app = await gate();
  const second = await ask('/told/x');
  const upstreams = await known();
  assert.equal(kid(second), 'old');
  await caller(url, upstreams, first);
  await app.stop();
  // The new one signs; what the old one signed still counts.
  set(young, old);
  app = await gate();
  const third = await ask('/told/x');
  assert.equal(kid(third), 'young');
  for (const one of [first, second, third]) await caller(url, upstreams, one);
  await app.stop();
  // Retired: an upstream that fetches now knows the old one no more.
  set(young);
  app = await gate();
  const fourth = await ask('/told/x');
  await caller(url, upstreams, fourth);
  const fresh = await known();
  await caller(url, fresh, fourth);
  await assert.rejects(caller(url, fresh, first), { code: 'ERR_JWKS_NO_MATCHING_KEY' });
  await app.stop();
});

test('ES256 signs as well', async () => {
  set(key('ec', 'P-256'));
  const app = await gate();
  const { protectedHeader } = await caller(url, undefined, await ask('/told/x'));
  assert.equal(protectedHeader.alg, 'ES256');
  await app.stop();
});

test('without usable keys nothing is served, and the log says why', async () => {
  for (const [keys, code] of [['', 'assertion_keys_missing'], ['{"keys":[]}', 'assertion_keys_malformed'], [randomBytes(32).toString('base64url'), 'assertion_keys_malformed']]) {
    process.env.SPIN_VARIABLE_ASSERTION_KEYS = keys;
    const app = await gate();
    for (const path of ['/told/x', '/open/x', '/', '/.well-known/jwks.json']) {
      assert.equal((await request(url + path, { headers: bearer(token) })).status, 500, path);
    }
    const { message } = await app.logged(code);
    assert.match(message, /assertion_keys/);
    assert.ok(!app.log.some((line) => keys && line.includes(keys)));
    // The others work: they have no use for the keys.
    assert.equal((await request(`${url}/auth/session`)).status, 401);
    await app.stop();
  }
  // And a gate without assertions needs none.
  process.env.SPIN_VARIABLE_ASSERTION_KEYS = '';
  const app = await gate({ edit: (text) => text });
  assert.equal((await request(`${url}/`)).status, 200);
  assert.equal((await request(`${url}/.well-known/jwks.json`)).status, 404);
  await app.stop();
});
