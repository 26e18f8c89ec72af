// Opaque access tokens on the wasm files: asked about at the issuer of the route (RFC 7662), by
// the private component, and remembered for a short while. The issuers are oidc-provider and one
// that says what it is told.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  API, Browser, SECRET, bearer, forge, loginAtOidcProvider, oidcProvider, oidcProviderTokens, request, scenario,
} from './harness.mjs';

const CLIENT = `client_id = "airside-gate"
client_authentication = "client_secret_basic"
client_secret_variable = "client_secret"
`;
const introspecting = (text, more = '') =>
  text.replace('[issuers.demo]\n', `[issuers.demo]\nintrospection = true\n${CLIENT}${more}`);
const headersOf = (response) => Object.fromEntries(response.json().received?.headers ?? response.json().headers);
const hits = async (app) => (await request(`${app.provider.url}/hits`)).json();

describe('opaque tokens of oidc-provider', () => {
  const UPSTREAM_API = 'https://billing.example.com';
  const scope = 'openid read:invoices write:invoices';
  let app, provider;
  before(async () => {
    app = await scenario({
      make: oidcProvider,
      providerArgs: ['--access-token-format', 'opaque', '--upstream-api', UPSTREAM_API],
      edit: (text) =>
        introspecting(text, 'introspection_client_tokens = true\n')
          .replace('client_id = "airside-demo"', 'client_id = "airside-basic"')
          .replace(/^audience = "(.*)" *$/m, 'resource = ["$1"]'),
    });
    provider = app.provider.url;
  });
  after(() => app.stop());
  const call = (token, options = {}) =>
    request(`${app.url}/api/invoices/echo`, { ...options, headers: { ...bearer(token), ...options.headers } });
  const asked = async () => (await hits(app))['/token/introspection'] ?? 0;

  test('pass, and the issuer is asked once for several requests', async () => {
    const { access_token: token } = await oidcProviderTokens(provider, { scope });
    assert.ok(!token.includes('.'), 'an opaque one');
    const before = await asked();
    for (let n = 0; n < 5; n += 1) {
      const response = await call(token);
      assert.equal(response.status, 200, response.text);
      const received = headersOf(response);
      assert.equal(received['x-forwarded-sub'], 'alice');
      assert.equal(received['x-forwarded-issuer'], provider);
      assert.equal(received['x-forwarded-client-id'], 'airside-native');
      assert.equal(received['x-forwarded-subject-type'], 'user');
      assert.equal(received.authorization, undefined);
    }
    assert.equal(await asked(), before + 1);
  });

  test('that lack a scope are 403', async () => {
    const { access_token: token } = await oidcProviderTokens(provider, { user: 'bob', scope });
    assert.equal((await call(token)).status, 200);
    const write = await call(token, { method: 'POST', body: '{}' });
    assert.equal(write.status, 403);
    assert.match(write.headers['www-authenticate'], /error="insufficient_scope".*scope="write:invoices"/);
  });

  test('that were revoked, or never issued, are refused', async () => {
    const { access_token: token } = await oidcProviderTokens(provider, { scope });
    const body = new URLSearchParams({ token, client_id: 'airside-native' }).toString();
    const form = { 'content-type': 'application/x-www-form-urlencoded' };
    assert.equal((await request(`${provider}/token/revocation`, { method: 'POST', body, headers: form })).status, 200);
    for (const one of [token, 'never-issued']) {
      const response = await call(one);
      assert.equal(response.status, 401);
      assert.equal(response.json().code, 'access_token_inactive');
      assert.match(response.headers['www-authenticate'], /error="invalid_token"/);
    }
  });

  test('a refresh token is active too, and no access token', async () => {
    const wanted = { scope: `${scope} offline_access`, prompt: 'consent' };
    const { access_token: access, refresh_token: refresh } = await oidcProviderTokens(provider, wanted);
    assert.ok(refresh);
    const response = await call(refresh);
    assert.equal(response.status, 401);
    assert.equal(response.json().code, 'access_token_type');
    assert.equal((await call(access)).status, 200);
  });

  test('of a client itself do not pose as a person', async () => {
    const basic = Buffer.from(`airside-machine:${encodeURIComponent(SECRET).replaceAll('%20', '+')}`).toString('base64');
    const body = new URLSearchParams({ grant_type: 'client_credentials', resource: API, scope: 'read:invoices' }).toString();
    const headers = { authorization: `Basic ${basic}`, 'content-type': 'application/x-www-form-urlencoded' };
    const answer = await request(`${provider}/token`, { method: 'POST', body, headers });
    assert.equal(answer.status, 200, answer.text);
    const response = await call(answer.json().access_token);
    assert.equal(response.status, 200, response.text);
    assert.equal(headersOf(response)['x-forwarded-sub'], 'airside-machine');
    assert.equal(headersOf(response)['x-forwarded-subject-type'], 'client');
  });

  test('a JWT of the same issuer for another API is judged without a question', async () => {
    const { access_token: token } = await oidcProviderTokens(provider, { scope, resource: UPSTREAM_API });
    const before = await asked();
    const response = await call(token);
    assert.equal(response.status, 401);
    assert.equal(response.json().code, 'access_token_aud');
    assert.equal(await asked(), before);
  });

  test('the opaque token of a session is judged alike', async () => {
    const browser = new Browser();
    const page = await loginAtOidcProvider(browser, app.url);
    assert.equal(page.status, 200, page.text);
    const api = await browser.send(`${app.url}/api/invoices/echo`, { headers: { accept: 'application/json' } });
    assert.equal(api.status, 200, api.text);
    assert.equal(headersOf(api)['x-forwarded-sub'], 'alice');
    assert.equal(headersOf(api)['x-forwarded-client-id'], 'airside-basic');
  });
});

describe('an issuer that says what it is told', () => {
  let app, provider, good;
  before(async () => {
    app = await scenario({ make: forge, edit: (text) => introspecting(text) });
    provider = app.provider.url;
    good = {
      active: true, aud: API, client_id: 'cli', scope: 'read:invoices', sub: 'alice', iss: provider, token_type: 'Bearer',
    };
  });
  after(() => app.stop());
  const call = (token) => request(`${app.url}/api/invoices/echo`, { headers: bearer(token) });
  const tell = (introspection) =>
    request(`${provider}/answers`, { method: 'POST', body: JSON.stringify({ introspection }) });
  const asked = async () => (await hits(app))['/introspect'] ?? 0;
  const in_ = (seconds) => Math.floor(Date.now() / 1000) + seconds;

  test('is asked by the private component, with the client credential, in the body of a POST', async () => {
    await tell({ opaque: { members: good } });
    const response = await call('opaque');
    assert.equal(response.status, 200, response.text);
    assert.equal(headersOf(response)['x-forwarded-sub'], 'alice');
    const seen = (await request(`${provider}/seen`)).json()['/introspect'];
    assert.equal(seen.method, 'POST');
    assert.equal(seen.query, '');
    assert.equal(new URLSearchParams(seen.body).get('token'), 'opaque');
    const [id, secret] = Buffer.from(seen.headers.authorization.replace('Basic ', ''), 'base64').toString().split(':');
    assert.equal(id, 'airside-gate');
    assert.equal(decodeURIComponent(secret.replaceAll('+', ' ')), SECRET);
  });

  test('what it says is judged as the claims of a JWT are', async () => {
    const cases = [
      [{}, 200],
      [{ aud: ['https://other.example', API] }, 200],
      [{ exp: in_(60) }, 200],
      [{ iss: null, token_type: null }, 200],
      [{ active: false }, 401, 'access_token_inactive'],
      [{ aud: 'https://other.example' }, 401, 'access_token_aud'],
      [{ aud: null }, 401, 'access_token_claims'],
      [{ scope: 'write:invoices' }, 403, 'insufficient_scope'],
      [{ exp: in_(-120) }, 401, 'access_token_expired'],
      [{ nbf: in_(120) }, 401, 'access_token_not_yet_valid'],
      [{ iss: 'https://other.example' }, 401, 'access_token_iss'],
      [{ token_type: 'DPoP' }, 401, 'access_token_type'],
      [{ cnf: { jkt: 'x' } }, 401, 'access_token_type'],
      [{ sub: null }, 401, 'access_token_claims'],
    ];
    const told = Object.fromEntries(cases.map(([change], n) => [`case-${n}`, { members: { ...good, ...change } }]));
    await tell(told);
    for (const [n, [change, status, code]] of cases.entries()) {
      const response = await call(`case-${n}`);
      assert.equal(response.status, status, `${JSON.stringify(change)}: ${response.text}`);
      if (code) assert.equal(response.json().code, code);
    }
  });

  test('a refusal is remembered too, and says nothing of other tokens', async () => {
    await tell({ other: { members: good } });
    const before = await asked();
    for (let n = 0; n < 5; n += 1) assert.equal((await call('inactive')).status, 401);
    assert.equal(await asked(), before + 1);
    assert.equal((await call('other')).status, 200);
    assert.equal(await asked(), before + 2);
  });

  test('what looks like a JWT is never asked about, whoever issued it', async () => {
    const { refused, accepted } = (await request(`${provider}/cases`)).json();
    const before = await asked();
    let jwts = 0;
    for (const token of Object.values(refused).filter((one) => /^ey[^.]*(\.[^.]*){2}$/.test(one))) {
      assert.ok([400, 401].includes((await call(token)).status));
      jwts += 1;
    }
    assert.ok(jwts > 20, `${jwts}`);
    const stranger = { claims: { iss: 'https://stranger.example' } };
    const token = (await request(`${provider}/mint`, { method: 'POST', body: JSON.stringify(stranger) })).text;
    assert.equal((await call(token)).json().code, 'access_token_iss');
    assert.equal((await call(accepted.good)).status, 200);
    assert.equal(await asked(), before);
  });

  test('no answer, a failure and nonsense are 503, never 401, and not remembered', async () => {
    const answers = {
      failing: { status: 500 },
      refusing: { status: 401, body: { error: 'invalid_client' } },
      nonsense: { body: 'yes' },
      'no-active': { members: { ...good, active: null } },
      'text-active': { members: { ...good, active: 'true' } },
      hanging: { hang: true },
    };
    await tell(answers);
    for (const token of Object.keys(answers)) {
      const response = await call(token);
      assert.equal(response.status, 503, `${token}: ${response.text}`);
      assert.equal(response.json().code, 'introspection_unavailable', token);
      assert.equal(response.headers['retry-after'], '10', token);
      assert.equal(response.headers['www-authenticate'], undefined, token);
    }
    await tell(Object.fromEntries(Object.keys(answers).map((token) => [token, { members: good }])));
    for (const token of Object.keys(answers)) assert.equal((await call(token)).status, 200, token);
  });
});

test('an opaque token is refused where the issuer is not asked', async () => {
  const app = await scenario({ make: forge });
  const response = await request(`${app.url}/api/invoices/echo`, { headers: bearer('opaque') });
  assert.equal(response.status, 401);
  assert.equal(response.json().code, 'access_token_malformed');
  assert.equal((await hits(app))['/introspect'], undefined);
  await app.stop();
});
