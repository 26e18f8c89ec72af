// Who may pass, on the wasm files: access tokens as Cognito, Entra, Auth0, Keycloak, Okta and
// Logto make them, each with its nearest refused twins; the two misuses of ID and access tokens
// with the words that people get to read; rules about scopes and claims; step-up; metadata. The
// tokens are made by forge.mjs with npm `jose`, or by the demo provider; never by airside.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { API, Browser, NAVIGATE, bearer, demoToken, forge, request, scenario } from './harness.mjs';

const CLIENT = 'airside-forge';
const ECHO = '/api/invoices/echo';
const received = (response) => Object.fromEntries(response.json().received?.headers ?? response.json().headers);
const toForge = (text) => text.replace('client_id = "airside-demo"', `client_id = "${CLIENT}"`);
const post = async (url, body) => (await request(url, { method: 'POST', body: JSON.stringify(body) })).text;

/** What each provider's issuer needs, and its access tokens: laid over those of RFC 9068. */
const SHAPES = {
  cognito: {
    keys: 'audience_claim = "client_id"\nrequired_claims = { token_use = "access" }\ndanger_any_typ = true',
    audience: ['mobile-app', CLIENT],
    token: { header: { typ: null }, claims: { aud: null, token_use: 'access', username: 'alice', version: 2 } },
    twins: {
      'the ID token': [{ aud: CLIENT, token_use: 'id', client_id: null }, 'id_token_at_api'],
      'an ID token that says it is an access token': [{ aud: CLIENT }, 'id_token_at_api'],
      'a token of unknown use': [{ token_use: null }, 'access_token_required_claim'],
      'a refresh token': [{ token_use: 'refresh' }, 'refresh_token_at_api'],
      'a token of another client': [{ client_id: 'another' }, 'access_token_aud'],
    },
  },
  entra: {
    keys: 'client_id_claim = "azp"\nscope_claim = "scp"\ndanger_any_typ = true',
    audience: 'api://invoices',
    token: {
      header: { typ: 'JWT' },
      claims: { aud: 'api://invoices', client_id: null, scope: null, azp: CLIENT, scp: 'read:invoices', ver: '2.0' },
    },
    twins: {
      'the ID token': [{ aud: CLIENT, azp: null, scp: null, nonce: 'n' }, 'id_token_at_api'],
      'a token for the API and the client': [{ aud: ['api://invoices', CLIENT] }, 'id_token_at_api'],
      'a token for Microsoft Graph': [{ aud: '00000003-0000-0000-c000-000000000000' }, 'management_token_at_api'],
      'a token without azp': [{ azp: null, client_id: CLIENT }, 'access_token_claims'],
    },
  },
  auth0: {
    keys: 'client_id_claim = "azp"\ndanger_any_typ = true',
    audience: API,
    token: (issuer) => ({
      header: { typ: 'JWT' },
      claims: { aud: [API, `${issuer}/userinfo`], client_id: null, azp: CLIENT },
    }),
    twins: (issuer) => ({
      'the ID token': [{ aud: CLIENT, azp: null, nonce: 'n' }, 'id_token_at_api'],
      'a token for the management API': [{ aud: `${issuer}/api/v2/` }, 'management_token_at_api'],
      'a token for UserInfo alone': [{ aud: `${issuer}/userinfo` }, 'management_token_at_api'],
      'a token for another API': [{ aud: ['https://api.example.com/other', `${issuer}/userinfo`] }, 'access_token_aud'],
    }),
  },
  keycloak: {
    keys: 'client_id_claim = "azp"\nrequired_claims = { typ = "Bearer" }\ndanger_any_typ = true',
    audience: 'invoices',
    token: {
      header: { typ: 'JWT' },
      claims: {
        aud: ['invoices', 'account'], client_id: null, azp: CLIENT, typ: 'Bearer', preferred_username: 'alice',
        realm_access: { roles: ['user', 'admin'] },
      },
    },
    twins: {
      'the ID token': [{ typ: 'ID', aud: CLIENT }, 'id_token_at_api'],
      'an ID token for the API': [{ typ: 'ID' }, 'id_token_at_api'],
      'the refresh token': [{ typ: 'Refresh' }, 'refresh_token_at_api'],
      'a logout token': [{ typ: 'Logout' }, 'access_token_required_claim'],
      'a token for the admin API': [{ aud: ['realm-management', 'account'] }, 'management_token_at_api'],
    },
    route: 'claims = [{ claim = "realm_access.roles", contains = "admin" }]',
    denied: {
      'a token without the role': [{ realm_access: { roles: ['user', 'administrator'] } }, 'insufficient_claims'],
      'a token with the role elsewhere': [{ realm_access: null, 'realm_access.roles': ['admin'] }, 'insufficient_claims'],
    },
  },
  okta: {
    keys: 'client_id_claim = "cid"\nscope_claim = "scp"\ndanger_any_typ = true',
    audience: 'api://default',
    token: {
      header: { typ: null },
      claims: { aud: 'api://default', client_id: null, scope: null, cid: CLIENT, uid: '00u1', scp: ['openid', 'read:invoices'] },
    },
    twins: {
      'the ID token': [{ aud: CLIENT, cid: null, at_hash: 'h' }, 'id_token_at_api'],
      'two scopes in one': [{ scp: ['openid read:invoices'] }, 'access_token_claims'],
      'a token without cid': [{ cid: null }, 'access_token_claims'],
    },
    denied: { 'a token without the scope': [{ scp: ['openid'] }, 'insufficient_scope'] },
  },
  logto: {
    keys: '',
    audience: API,
    token: { claims: {} },
    twins: { 'the ID token': [{ aud: CLIENT, client_id: null, at_hash: 'h' }, 'id_token_at_api'] },
    denied: { 'a token without the scope': [{ scope: 'openid' }, 'insufficient_scope'] },
  },
};

describe('access tokens as providers make them', () => {
  let app;
  const issuer = (name) => `${app.provider.url}/as/${name}`;
  const mint = (name, claims = {}, more = {}) => {
    const { token } = SHAPES[name];
    const base = typeof token === 'function' ? token(issuer(name)) : token;
    return post(`${issuer(name)}/mint`, { ...base, ...more, claims: { ...base.claims, ...claims } });
  };
  const call = (name, token) => request(`${app.url}/${name}/echo`, { headers: bearer(token) });

  before(async () => {
    app = await scenario({
      make: forge,
      edit: (text) => {
        const origin = /^\[issuers\.demo\]\nissuer = "(.*)"$/m.exec(text)[1];
        const added = Object.entries(SHAPES).map(([name, shape]) => `
[issuers.${name}]
issuer = "${origin}/as/${name}"
${shape.keys}

[[routes]]
path = "/${name}/*"
access = "token"
issuer = "${name}"
audience = ${JSON.stringify(shape.audience)}
scopes = ["read:invoices"]
upstream = "invoices"
upstream_path = "/api/invoices/*"
${shape.route ?? ''}
`);
        return toForge(text) + added.join('');
      },
    });
  });
  after(() => app.stop());

  for (const [name, shape] of Object.entries(SHAPES)) {
    test(`${name}: the access token passes`, async () => {
      const response = await call(name, await mint(name));
      assert.equal(response.status, 200, response.text);
      const headers = received(response);
      assert.equal(headers['x-forwarded-sub'], 'alice');
      assert.equal(headers['x-forwarded-client-id'], CLIENT);
      assert.match(headers['x-forwarded-scope'], /read:invoices/);
      assert.equal(headers['x-forwarded-subject-type'], 'user');
    });

    test(`${name}: each twin is refused by name, and in the same words`, async () => {
      const twins = typeof shape.twins === 'function' ? shape.twins(issuer(name)) : shape.twins;
      for (const [twin, [claims, code]] of Object.entries(twins)) {
        const since = app.gate.events.length;
        const response = await call(name, await mint(name, claims));
        assert.equal(response.status, 401, `${twin}: ${response.text}`);
        assert.equal(response.json().code, code, twin);
        assert.equal((await app.gate.logged(code, since)).code, code, twin);
        if (code === 'id_token_at_api') continue;
        const detail = code === 'access_token_aud' ? 'The access token is addressed to another API.' : 'The access token is not valid here.';
        assert.equal(response.json().detail, detail, twin);
      }
      for (const [twin, [claims, code]] of Object.entries(shape.denied ?? {})) {
        const response = await call(name, await mint(name, claims));
        assert.equal(response.status, 403, `${twin}: ${response.text}`);
        assert.equal(response.json().code, code, twin);
      }
    });
  }

  test('a token of one issuer is none of another', async () => {
    const response = await call('logto', await mint('auth0'));
    assert.equal(response.status, 401);
  });

  test('a client for itself is marked', async () => {
    for (const [name, claims] of [
      ['logto', { sub: CLIENT }],
      ['auth0', { sub: 'abc@clients', gty: 'client-credentials' }],
      ['entra', { idtyp: 'app' }],
      ['keycloak', { preferred_username: 'service-account-batch' }],
    ]) {
      const response = await call(name, await mint(name, claims));
      assert.equal(response.status, 200, `${name}: ${response.text}`);
      assert.equal(received(response)['x-forwarded-subject-type'], 'client', name);
    }
  });

  test('keys in the header, crit and b64 are never followed', async () => {
    const url = `${issuer('logto')}/other-keys`;
    assert.equal((await call('logto', await mint('logto', {}, { key: 'other', header: { jku: url } }))).status, 401);
    assert.equal((await call('logto', await mint('logto', {}, { key: 'other', header: { x5u: url } }))).status, 401);
    const hits = (await request(`${issuer('logto')}/hits`)).json();
    assert.equal(hits['/other-keys'], undefined);
    for (const header of [{ crit: ['exp'] }, { crit: [] }, { b64: false }]) {
      const response = await call('logto', await mint('logto', {}, { header }));
      assert.equal(response.status, 401);
      assert.equal(response.json().code, 'access_token_crit', JSON.stringify(header));
    }
  });

  test('tokens that are no JWT are called by their name', async () => {
    for (const [token, code] of [
      ['ya29.a0AfH6SMBx', 'third_party_token_at_api'],
      ['gho_16C7e42F292c6912E7710c838347Ae178B4a', 'third_party_token_at_api'],
      ['v1.MRrtM-opaque', 'access_token_malformed'],
      ['eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.a.b.c.d', 'access_token_encrypted'],
    ]) {
      const response = await call('logto', token);
      assert.equal(response.status, 401);
      assert.equal(response.json().code, code);
    }
    const refresh = await post(`${issuer('keycloak')}/mint`, { alg: 'HS256', header: { typ: 'JWT' }, claims: { typ: 'Refresh' } });
    assert.equal((await call('keycloak', refresh)).json().code, 'refresh_token_at_api');
  });

  test('a token counts in the header alone', async () => {
    const token = await mint('logto');
    const query = await request(`${app.url}/logto/echo?access_token=${token}`);
    assert.equal(query.status, 400);
    assert.equal(query.json().detail, 'An access token belongs in the Authorization header, never in the address.');
    const both = await request(`${app.url}/logto/echo?a=b&access%5Ftoken=${token}`, { headers: bearer(token) });
    assert.equal(both.status, 400);
    const form = await request(`${app.url}/logto/echo`, {
      method: 'POST', body: `access_token=${token}`, headers: { 'content-type': 'application/x-www-form-urlencoded' },
    });
    assert.equal(form.status, 401);
    assert.equal(form.headers['www-authenticate'], 'Bearer realm="airside"');
  });
});

describe('the two misuses', () => {
  test('1: an ID token at the API; a program reads what it did wrong', async () => {
    const app = await scenario();
    const args = ['--user', 'alice', '--audience', API, '--scope', 'openid read:invoices'];
    const idToken = await demoToken(app.provider.url, ...args, '--id-token');
    const response = await request(app.url + ECHO, { headers: bearer(idToken) });
    const text = (whom) => `This is an ID token. It is addressed to ${whom}, not to this API: send the access token instead.`;
    assert.equal(response.status, 401);
    assert.equal(response.json().code, 'id_token_at_api');
    assert.equal(response.json().detail, text('a client'));
    const challenge = (whom) => `Bearer realm="airside", error="invalid_token", error_description="${text(whom)}"`;
    assert.equal(response.headers['www-authenticate'], challenge('a client'));
    const event = await app.gate.logged('id_token_at_api');
    assert.ok(!JSON.stringify(event).includes(idToken.split('.')[2]));
    // The access token of the same person, asked for in the same way, opens it.
    const accessToken = await demoToken(app.provider.url, ...args);
    assert.equal((await request(app.url + ECHO, { headers: bearer(accessToken) })).status, 200);
    await app.stop();
    // One of a client of ours is called by that client's name.
    const own = await scenario({ make: forge, edit: toForge });
    const mine = { header: { typ: 'JWT' }, claims: { aud: CLIENT, client_id: null, scope: null, nonce: 'n' } };
    const named = await request(own.url + ECHO, { headers: bearer(await post(`${own.provider.url}/mint`, mine)) });
    assert.equal(named.headers['www-authenticate'], challenge(`the client ${CLIENT}`));
    await own.stop();
  });

  test('1: an ID token in the place of the access token of a session; a person reads that it is no use to sign in again', async () => {
    const app = await scenario({ make: forge, edit: toForge });
    const browser = new Browser();
    await post(`${app.provider.url}/next`, { access_token: { header: { typ: 'JWT' }, claims: { aud: CLIENT, nonce: 'n', client_id: null, scope: null } } });
    const page = await browser.go(app.url + ECHO);
    assert.equal(page.status, 403, page.text);
    assert.match(page.headers['content-type'], /text\/html/);
    assert.match(page.text, /You are signed in, but this part is closed/);
    assert.match(page.text, /signing in again will not change that\. Please tell the operator\./);
    const event = await app.gate.logged('session_token_not_for_this_api');
    assert.match(event.hint, /audience/);
    // The session is kept, and a login with a token for the API mends it.
    assert.equal((await browser.send(`${app.url}/invoices`)).status, 200);
    await browser.go(`${app.url}/auth/login?return_to=${ECHO}`);
    assert.equal((await browser.send(app.url + ECHO)).status, 200);
    await app.stop();
  });

  test('2: nobody reads who it is out of an access token', async () => {
    const app = await scenario({ make: forge, edit: toForge });
    const lies = { name: 'Mallory', email: 'mallory@evil.example', email_verified: true };
    // At the API: the subject, and no name.
    const token = await post(`${app.provider.url}/mint`, { claims: lies });
    const headers = received(await request(app.url + ECHO, { headers: bearer(token) }));
    assert.equal(headers['x-forwarded-sub'], 'alice');
    assert.ok(!JSON.stringify(headers).toLowerCase().includes('mallory'));
    // At the front end: what the ID token says.
    const browser = new Browser();
    await post(`${app.provider.url}/next`, { access_token: { claims: lies } });
    await browser.go(`${app.url}/invoices`);
    const session = await browser.send(`${app.url}/auth/session`);
    assert.match(session.text, /Alice Liddell/);
    assert.ok(!session.text.toLowerCase().includes('mallory') && !session.text.includes('eyJ'));
    const forwarded = received(await browser.send(app.url + ECHO));
    assert.equal(forwarded['x-forwarded-name'], 'Alice Liddell');
    assert.equal(forwarded['x-forwarded-email'], 'alice@example.com');
    // An access token that nobody can read is as good for that.
    const other = new Browser();
    await post(`${app.provider.url}/next`, { token: { access_token: 'opaque-to-everybody' }, id_token: { claims: { at_hash: null } } });
    assert.equal((await other.go(`${app.url}/invoices`)).status, 200);
    assert.match((await other.send(`${app.url}/auth/session`)).text, /Alice Liddell/);
    // And a token of somebody else brings that one's subject, without the name of this one.
    const third = new Browser();
    await post(`${app.provider.url}/next`, { access_token: { claims: { sub: 'bob' } } });
    await third.go(`${app.url}/invoices`);
    const mixed = received(await third.send(app.url + ECHO));
    assert.equal(mixed['x-forwarded-sub'], 'bob');
    assert.equal(mixed['x-forwarded-name'], undefined);
    assert.equal(mixed['x-forwarded-email'], undefined);
    await app.stop();
  });
});

describe('step-up', () => {
  let app;
  before(async () => {
    app = await scenario({
      make: forge,
      edit: (text) =>
        toForge(text)
          .replace('access = "login"', 'access = "login"\nacr_values = ["mfa", "hwk"]')
          .replace('scopes = ["read:invoices"]', 'scopes = ["read:invoices"]\nmax_age_seconds = 600'),
    });
  });
  after(() => app.stop());
  const next = (id) => post(`${app.provider.url}/next`, { id_token: { claims: id } });

  test('an API is told what is wanted', async () => {
    const mint = (claims) => post(`${app.provider.url}/mint`, { claims });
    for (const [claims, status] of [
      [{ auth_time: { in: -600 } }, 200],
      [{ auth_time: { in: -700 } }, 401],
      [{}, 401],
    ]) {
      const response = await request(app.url + ECHO, { headers: bearer(await mint(claims)) });
      assert.equal(response.status, status, response.text);
      if (status === 200) continue;
      assert.equal(response.json().code, 'insufficient_user_authentication');
      assert.equal(
        response.headers['www-authenticate'],
        'Bearer realm="airside", error="insufficient_user_authentication", ' +
          'error_description="A fresher or stronger sign-in is needed for this request.", max_age="600"',
      );
    }
  });

  test('a person signs in anew, with what the page wants, and comes back', async () => {
    const browser = new Browser();
    await browser.go(`${app.url}/auth/login?return_to=/`);
    const gate = await browser.send(`${app.url}/invoices`);
    assert.equal(gate.status, 303);
    assert.equal(gate.headers.location, '/auth/login?return_to=%2Finvoices');
    const login = await browser.send(`${app.url}/auth/login?return_to=%2Finvoices&acr_values=none`);
    assert.equal(new URL(login.headers.location).searchParams.get('acr_values'), 'mfa hwk');
    await next({ acr: 'mfa' });
    const page = await browser.go(`${app.url}/invoices`);
    assert.equal(page.status, 200, page.text);
    assert.equal(page.url, `${app.url}/invoices`);
    // From then on without a word.
    assert.equal((await browser.send(`${app.url}/invoices`)).status, 200);
    // A script gets no redirect and no cookie.
    const script = await new Browser().send(`${app.url}/invoices`, { headers: { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' } });
    assert.equal(script.status, 401);
    assert.deepEqual(script.cookies, []);
  });

  test('a sign-in that is not what the page wants ends on a page, and the session stays', async () => {
    const browser = new Browser();
    await browser.go(`${app.url}/auth/login?return_to=/`);
    await next({ acr: 'pwd' });
    const page = await browser.go(`${app.url}/invoices`);
    assert.equal(page.status, 403);
    assert.match(page.text, /This needs a stronger sign-in/);
    assert.match(page.text, /You signed in, but not in the way that this page asks for\./);
    await app.gate.logged('step_up_failed');
    assert.equal((await browser.send(`${app.url}/auth/session`)).status, 200);
  });

  test('a session that is too old for the API authenticates anew', async () => {
    const browser = new Browser();
    await next({ acr: 'mfa', auth_time: { in: -700 } });
    assert.equal((await browser.go(`${app.url}/invoices`)).status, 200);
    const gate = await browser.send(app.url + ECHO);
    assert.equal(gate.status, 303);
    const login = await browser.send(new URL(gate.headers.location, app.url).href);
    const asked = new URL(login.headers.location).searchParams;
    assert.equal(asked.get('max_age'), '600');
    assert.equal(asked.get('prompt'), 'login');
    // The forge authenticates everybody just now; the ID token counts, the access token says nothing.
    assert.equal((await browser.go(app.url + ECHO)).status, 200);
    // A provider that pretends: no session from it, and no loop.
    await next({ auth_time: { in: -700 } });
    const page = await new Browser().go(app.url + ECHO);
    assert.equal(page.status, 403);
    assert.match(page.text, /This needs a stronger sign-in/);
  });
});

describe('protected resource metadata', () => {
  let app;
  before(async () => {
    app = await scenario({
      edit: (text) => {
        const origin = /^public_url = "(.*)"$/m.exec(text)[1];
        return text.replaceAll(/^scopes = \["(read|write):invoices"\]$/gm, `$&\nresource = "${origin}/api"\nresource_name = "Invoices"`);
      },
    });
  });
  after(() => app.stop());

  test('is where a challenge says, and says whose tokens are wanted', async () => {
    const challenge = (await request(app.url + ECHO)).headers;
    assert.match(challenge['access-control-expose-headers'], /WWW-Authenticate/i);
    const [, url] = /^Bearer realm="airside", resource_metadata="([^"]+)"$/.exec(challenge['www-authenticate']);
    assert.equal(url, `${app.url}/.well-known/oauth-protected-resource/api`);
    const response = await request(url);
    assert.equal(response.status, 200);
    assert.equal(response.headers['content-type'], 'application/json');
    assert.equal(response.headers['access-control-allow-origin'], '*');
    assert.equal(response.headers['content-length'], String(Buffer.byteLength(response.text)));
    assert.deepEqual(response.json(), {
      resource: `${app.url}/api`,
      authorization_servers: [app.provider.url],
      scopes_supported: ['read:invoices', 'write:invoices'],
      bearer_methods_supported: ['header'],
      resource_name: 'Invoices',
    });
  });

  test('answers HEAD and preflights, and nothing else', async () => {
    const url = `${app.url}/.well-known/oauth-protected-resource/api`;
    const head = await request(url, { method: 'HEAD' });
    assert.equal(head.status, 200);
    assert.equal(head.text, '');
    const preflight = await request(url, {
      method: 'OPTIONS',
      headers: { origin: 'https://client.example', 'access-control-request-method': 'GET', 'access-control-request-headers': 'mcp-protocol-version' },
    });
    assert.equal(preflight.status, 204);
    assert.equal(preflight.headers['access-control-allow-origin'], '*');
    assert.equal((await request(url, { method: 'POST', body: 'x' })).status, 405);
    for (const other of ['', '/', '/api/', '/other']) {
      assert.equal((await request(`${app.url}/.well-known/oauth-protected-resource${other}`)).status, 404, other);
    }
    assert.equal((await request(`${app.url}/invoices`, { headers: { accept: 'application/json' } })).headers['www-authenticate'], 'Bearer realm="airside"');
  });
});

describe('who is sent to the login', () => {
  test('a person who goes somewhere, and nobody else', async () => {
    const app = await scenario();
    const send = (headers, method = 'GET') => request(`${app.url}/invoices`, { method, headers });
    for (const headers of [NAVIGATE, { accept: 'text/html,*/*;q=0.8' }]) {
      assert.equal((await send(headers)).status, 303);
      assert.equal((await send(headers, 'HEAD')).status, 303);
    }
    for (const headers of [
      { ...NAVIGATE, 'sec-purpose': 'prefetch' },
      { ...NAVIGATE, 'sec-purpose': 'prefetch;prerender' },
      { ...NAVIGATE, purpose: 'prefetch' },
      { ...NAVIGATE, 'sec-fetch-dest': 'iframe' },
      { ...NAVIGATE, 'sec-fetch-dest': 'object' },
      { ...NAVIGATE, 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' },
      { accept: '*/*' },
    ]) {
      const response = await send(headers);
      assert.equal(response.status, 401, JSON.stringify(headers));
      assert.deepEqual(response.cookies, []);
    }
    const form = await request(app.url + ECHO, { method: 'POST', headers: NAVIGATE, body: 'a=b' });
    assert.equal(form.status, 401);
    await app.stop();
  });
});
