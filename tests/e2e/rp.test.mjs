// The relying party, on the wasm files, by the code-flow modules of the OpenID Foundation's
// conformance suite: a test has a module's name and proves what the module is about. Each lie
// has its nearest accepted twin. The provider is forge.mjs; every test that changes its keys or
// metadata has an issuer of its own.
//
// Modules of those plans without a test here:
//
// | oidcc-client-test-...                        | why                                                 |
// |----------------------------------------------|-----------------------------------------------------|
// | aggregated-claims, distributed-claims        | claims of third parties are not resolved            |
// | discovery-webfinger-acct, -webfinger-url     | issuers are configured, never looked up             |
// | dynamic-registration                         | clients are registered by people                    |
// | form-post-error, the form_post plans         | the response comes in the query only                |
// | invalid-chash, missing-chash, missing-athash | implicit and hybrid flow only                       |
// | nonce-unless-code-flow                       | implicit and hybrid flow only; we always send it    |
// | 3rd-party-init-login                         | in providers.test.mjs                               |
// | mtls-endpoint-aliases                        | no client authentication with certificates          |
// | refresh-token, -invalid-issuer, -invalid-sub | there is no refresh yet                             |
// | request-uri-signed-none, -signed-rs256       | no request objects                                  |
// | userinfo-bearer-body                         | the alternative, userinfo-bearer-header, is taken   |

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { API, Browser, NAVIGATE, SECRET, bearer, forge, request, scenario } from './harness.mjs';

const CLIENT = 'airside-forge';
const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'];
/** The provider's own words, in every answer it gives. Nobody shall read them. */
const WORDS = 'words-of-the-provider <b>';
/** A test that waits for a log line that does not come. */
const TIMEOUT = { timeout: 20_000 };

/** The providers of the configuration, by the keys they differ in; each an issuer of the forge. */
const SECRETS = 'client_secret_variable = "client_secret"';
const PROVIDERS = {
  rp: 'userinfo = true',
  plain: '',
  basic: `client_authentication = "client_secret_basic"\n${SECRETS}`,
  post: `client_authentication = "client_secret_post"\n${SECRETS}`,
  es256: 'id_token_algorithms = ["ES256"]',
  audiences: `additional_audiences = ["${API}"]`,
  'one-key': '',
  'two-keys': '',
  'keys-by-alg': '',
  'keys-by-kty': '',
  'keys-for-signing': '',
  discovery: 'userinfo = true',
  'jwks-uri': '',
  'other-issuer': '',
  'issuer-with-slash': '',
  'rotates-between': '',
  'rotates-late': '',
  'rotates-first': '',
  'rotates-for-many': '',
  x5c: '',
  'x5c-long': '',
  'bad-keys': '',
  'weak-key': '',
  'no-keys': '',
  'keys-down': '',
  'userinfo-absent': 'userinfo = true',
};

function configured(text) {
  const [, origin] = /^issuer = "(.*)"$/m.exec(text);
  const tables = Object.entries(PROVIDERS).map(([name, more]) => {
    const method = more.includes('client_authentication') ? '' : 'client_authentication = "none"\n';
    return `[providers.${name}]\nissuer = "${origin}/as/${name}"\nclient_id = "${CLIENT}"\n${method}${more}\n`;
  });
  return `${text}\n${tables.join('\n')}`;
}

let app;
before(async () => (app = await scenario({ make: forge, edit: configured })));
after(() => app.stop());

const issuer = (provider) => `${app.provider.url}/as/${provider}`;
const get = async (provider, what) => (await request(`${issuer(provider)}/${what}`)).json();
const hits = async (provider, path) => (await get(provider, 'hits'))[path] ?? 0;
const tell = async (provider, what, body) => {
  const told = await request(`${issuer(provider)}/${what}`, { method: 'POST', body: JSON.stringify(body) });
  assert.equal(told.status, 204, told.text);
};

/** `next` with the provider's words in every answer. */
const wordy = ({ authorization, token, id_token: idToken, userinfo, ...rest }) => ({
  ...rest,
  authorization: { note: WORDS, ...authorization },
  token: { note: WORDS, ...token },
  id_token: { ...idToken, claims: { name: WORDS, note: WORDS, ...idToken?.claims } },
  userinfo: { ...userinfo, claims: { note: WORDS, ...userinfo?.claims } },
});

const loginUrl = (provider) => `${app.url}/auth/login?provider=${provider}&return_to=/assets/style.css`;

/** A login where the provider answers as `next` says. */
async function login(provider, next = {}) {
  await tell(provider, 'next', wordy(next));
  const browser = new Browser();
  const page = await browser.go(loginUrl(provider));
  return { browser, page };
}

/** The login succeeds: a session, the attempt gone, and on to where the person wanted to go. */
async function accepted(provider, next = {}) {
  const { browser, page } = await login(provider, next);
  const last = JSON.stringify(app.gate.events.at(-1));
  assert.equal(page.url, `${app.url}/assets/style.css`, `${page.text}\n${last}`);
  const names = [...browser.jar(app.url).keys()];
  assert.ok(names.length > 0 && names.every((name) => /^__Host-airside(\.\d)?$/.test(name)), names.join());
  const session = await browser.send(`${app.url}/auth/session`);
  assert.equal(session.status, 200);
  assert.equal(session.json().issuer, issuer(provider));
  return { browser, page, session: session.json() };
}

/** The login fails with `code`: a page, no session, and the attempt is over. */
async function refused(provider, next, code, status = 400) {
  const since = app.gate.events.length;
  const before = await hits(provider, '/userinfo');
  const { browser, page } = await login(provider, next);
  assert.equal(page.status, status, page.text);
  assert.ok(page.url.startsWith(`${app.url}/auth/callback/${provider}?`), page.url);
  await isRefusal(page, code, since);
  assert.equal(page.cookies.length, 1, page.cookies.join('\n'));
  assert.match(page.cookies[0], /^__Host-airside-tx-[\w-]{12}=; .*Max-Age=0/);
  assert.equal(browser.jar(app.url).size, 0, 'no cookie is left behind');
  if (!code.startsWith('userinfo_')) {
    assert.equal(await hits(provider, '/userinfo'), before, 'the access token is not used');
  }
}

/** A page for a person, with an id by which the log line with `code` is found. */
async function isRefusal(page, code, since) {
  assert.match(page.headers['content-type'], /^text\/html/);
  assert.match(page.headers['content-security-policy'], /default-src 'none'/);
  assert.equal(page.headers['cache-control'], 'no-store');
  assert.match(page.text, /<h1>/);
  assert.ok(!page.text.includes('words-of') && !page.text.includes('evil.example'), page.text);
  const [, id] = /<code>([^<]+)<\/code>/.exec(page.text);
  const known = app.gate.events.slice(since).find((event) => event.request_id === id);
  const event = known ?? (await app.gate.logged(code, since));
  assert.equal(event.code, code);
  assert.equal(event.request_id, id);
}

const claims = (values) => ({ id_token: { claims: values } });

describe('oidcc-client-basic-certification-test-plan', () => {
  test('oidcc-client-test', TIMEOUT, async () => {
    const { page, session } = await accepted('rp');
    assert.equal(session.subject, 'alice');
    const seen = await get('rp', 'seen');
    const asked = new URLSearchParams(seen['/authorize'].query);
    assert.equal(asked.get('response_type'), 'code');
    assert.equal(asked.get('client_id'), CLIENT);
    assert.equal(asked.get('redirect_uri'), `${app.url}/auth/callback/rp`);
    assert.ok(asked.get('scope').split(' ').includes('openid'));
    assert.ok(asked.get('state') && asked.get('nonce'));
    const exchanged = new URLSearchParams(seen['/token'].body);
    const callback = page.visited.find((url) => url.includes('/auth/callback'));
    assert.equal(exchanged.get('grant_type'), 'authorization_code');
    assert.equal(exchanged.get('code'), new URL(callback).searchParams.get('code'));
    assert.equal(exchanged.get('redirect_uri'), asked.get('redirect_uri'));
    assert.equal(seen['/userinfo'].method, 'GET');
  });

  /** The lie, its code, and the nearest thing that is no lie. */
  const lies = {
    'oidcc-client-test-invalid-iss': [claims({ iss: 'https://evil.example' }), 'id_token_iss', {}],
    'oidcc-client-test-missing-sub': [
      claims({ sub: null }), 'id_token_sub',
      { ...claims({ sub: '1' }), userinfo: { claims: { sub: '1' } } },
    ],
    'oidcc-client-test-invalid-aud': [claims({ aud: 'another' }), 'id_token_aud', claims({ aud: [CLIENT] })],
    'oidcc-client-test-missing-aud': [claims({ aud: null }), 'id_token_aud', {}],
    'oidcc-client-test-missing-iat': [claims({ iat: null }), 'id_token_claims', claims({ iat: { in: -3600 } })],
    'oidcc-client-test-nonce-invalid': [claims({ nonce: 'x' }), 'id_token_nonce', {}],
    'oidcc-client-test-invalid-athash': [
      claims({ at_hash: 'AAAAAAAAAAAAAAAAAAAAAA' }), 'id_token_at_hash', claims({ at_hash: null }),
    ],
    'oidcc-client-test-idtoken-sig-none': [{ id_token: { alg: 'none' } }, 'id_token_alg', {}],
    'oidcc-client-test-invalid-sig-rs256': [
      { id_token: { signature: 'spoiled' } }, 'id_token_signature', { id_token: { alg: 'RS256' } },
    ],
    'oidcc-client-test-invalid-sig-es256': [
      { id_token: { alg: 'ES256', signature: 'spoiled' } }, 'id_token_signature', { id_token: { alg: 'ES256' } },
    ],
    // No MAC is ever accepted, the right one neither.
    'oidcc-client-test-invalid-sig-hs256': [{ id_token: { alg: 'HS256', secret: SECRET } }, 'id_token_alg', {}],
  };
  for (const [name, [lie, code, twin]] of Object.entries(lies)) {
    test(name, TIMEOUT, async () => {
      await refused('rp', lie, code);
      await accepted('rp', twin);
    });
  }

  test('oidcc-client-test-invalid-iss: a slash more is another issuer', TIMEOUT, () =>
    refused('rp', claims({ iss: `${issuer('rp')}/` }), 'id_token_iss'));

  test('oidcc-client-test-idtoken-sig-rs256', TIMEOUT, () => accepted('rp', { id_token: { alg: 'RS256' } }));

  test('the other algorithms, unless the configuration has others', TIMEOUT, async () => {
    for (const alg of ALGORITHMS) await accepted('rp', { id_token: { alg } });
    await refused('es256', { id_token: { alg: 'RS256' } }, 'id_token_alg');
    await accepted('es256', { id_token: { alg: 'ES256' } });
  });

  test('oidcc-client-test-kid-absent-single-jwks', TIMEOUT, async () => {
    await tell('one-key', 'keys', [{ alg: 'RS256', with: { kid: null } }]);
    await accepted('one-key', { id_token: { header: { kid: null } } });
    await refused('one-key', { id_token: { header: { kid: null }, key: 'other' } }, 'id_token_signature');
  });

  test('oidcc-client-test-kid-absent-multiple-jwks', TIMEOUT, async () => {
    const without = { header: { kid: null } };
    const rs256 = { alg: 'RS256', with: { kid: null } };
    // Guessing is not verifying: several keys that fit are none.
    await tell('two-keys', 'keys', [rs256, { ...rs256, key: 'other' }]);
    await refused('two-keys', { id_token: without }, 'id_token_several_keys');
    // One of several fits: by its type, its algorithm, its use.
    await tell('keys-by-kty', 'keys', ['RS256', 'ES256', 'EdDSA'].map((alg) => ({ alg, with: { kid: null, alg: null } })));
    await accepted('keys-by-kty', { id_token: without });
    await accepted('keys-by-kty', { id_token: { ...without, alg: 'ES256' } });
    await tell('keys-by-alg', 'keys', [rs256, { alg: 'PS256', with: { kid: null } }]);
    await accepted('keys-by-alg', { id_token: without });
    await tell('keys-for-signing', 'keys', [
      { ...rs256, key: 'other', with: { kid: null, use: 'enc' } },
      { ...rs256, key: 'other', with: { kid: null, use: null, key_ops: ['encrypt'] } },
      rs256,
    ]);
    await accepted('keys-for-signing', { id_token: without });
  });

  test('oidcc-client-test-client-secret-basic', TIMEOUT, async () => {
    await accepted('basic');
    let { headers, body } = (await get('basic', 'seen'))['/token'];
    const [, encoded] = /^Basic (.+)$/.exec(headers.authorization);
    const pair = Buffer.from(encoded, 'base64').toString().split(':');
    // RFC 6749 section 2.3.1: both are form-encoded first.
    const decoded = pair.map((text) => new URLSearchParams(`x=${text}`).get('x'));
    assert.deepEqual(decoded, [CLIENT, SECRET]);
    assert.equal(new URLSearchParams(body).get('client_secret'), null, 'one method at a time');
    // The nearest twin: the same secret, in the body.
    await accepted('post');
    ({ headers, body } = (await get('post', 'seen'))['/token']);
    assert.equal(headers.authorization, undefined);
    assert.equal(new URLSearchParams(body).get('client_secret'), SECRET);
    const wrong = { token_status: 401, token: { error: 'invalid_client', error_description: WORDS } };
    await refused('basic', wrong, 'token_invalid_client', 503);
  });

  test('oidcc-client-test-scope-userinfo-claims', TIMEOUT, async () => {
    const without = claims({ name: null, email: null, email_verified: null });
    const { session } = await accepted('rp', { ...without, userinfo: { claims: { preferred_username: 'al' } } });
    const asked = new URLSearchParams((await get('rp', 'seen'))['/authorize'].query);
    assert.deepEqual(asked.get('scope').split(' '), ['openid', 'profile', 'email']);
    assert.deepEqual(session.claims, {
      name: 'Alice Liddell', email: 'alice@example.com', email_verified: true, preferred_username: 'al',
    });
    // The same login without UserInfo knows none of it.
    assert.deepEqual((await accepted('plain', without)).session.claims, {});
  });

  test('oidcc-client-test-userinfo-bearer-header', TIMEOUT, async () => {
    await accepted('rp');
    const { method, headers, query, body } = (await get('rp', 'seen'))['/userinfo'];
    assert.equal(method, 'GET');
    assert.match(headers.authorization, /^Bearer [\w-]+\.[\w-]+\.[\w-]+$/);
    assert.equal(query + body, '', 'and nowhere else');
    await refused('rp', { userinfo: { status: 401 } }, 'userinfo_refused');
  });

  test('oidcc-client-test-userinfo-invalid-sub', TIMEOUT, async () => {
    for (const sub of ['mallory', 'Alice', 'alice ', null]) {
      await refused('rp', { userinfo: { claims: { sub } } }, 'userinfo_subject');
    }
    await accepted('rp', { userinfo: { claims: { sub: 'alice' } } });
  });
});

describe('oidcc-client-config-certification-test-plan', () => {
  test('oidcc-client-test-discovery-openid-config', TIMEOUT, async () => {
    // Endpoints are where the document says, their own query included.
    await tell('discovery', 'metadata', {
      authorization_endpoint: `${issuer('discovery')}/authorize?tenant=a%26b`,
      token_endpoint: `${issuer('discovery')}/token?tenant=c`,
    });
    await accepted('discovery');
    await accepted('discovery');
    assert.equal(await hits('discovery', '/.well-known/openid-configuration'), 1, 'and is remembered');
    const seen = await get('discovery', 'seen');
    assert.equal(new URLSearchParams(seen['/authorize'].query).get('tenant'), 'a&b');
    assert.equal(new URLSearchParams(seen['/authorize'].query).get('client_id'), CLIENT);
    assert.equal(seen['/token'].query, '?tenant=c');
  });

  test('oidcc-client-test-discovery-jwks-uri-keys', TIMEOUT, async () => {
    await tell('jwks-uri', 'metadata', { jwks_uri: `${issuer('jwks-uri')}/jwks-elsewhere` });
    await accepted('jwks-uri');
    assert.equal(await hits('jwks-uri', '/jwks-elsewhere'), 1);
    assert.equal(await hits('jwks-uri', '/jwks'), 0);
    await refused('jwks-uri', { id_token: { key: 'other' } }, 'id_token_signature');
  });

  test('oidcc-client-test-discovery-issuer-mismatch', TIMEOUT, async () => {
    for (const [provider, other] of [
      ['other-issuer', 'https://evil.example'],
      ['issuer-with-slash', `${issuer('issuer-with-slash')}/`],
    ]) {
      await tell(provider, 'metadata', { issuer: other });
      const since = app.gate.events.length;
      const page = await request(loginUrl(provider), { headers: NAVIGATE });
      assert.equal(page.status, 503);
      assert.deepEqual(page.cookies, []);
      await isRefusal(page, 'metadata_issuer', since);
    }
    await accepted('plain');
  });

  test('oidcc-client-test-signing-key-rotation', TIMEOUT, async () => {
    await accepted('rotates-between');
    await tell('rotates-between', 'rotate');
    await accepted('rotates-between');
    assert.equal(await hits('rotates-between', '/jwks'), 2);
    // Again within a minute: the set is not asked for once more, and nothing is accepted unseen.
    await tell('rotates-between', 'rotate');
    await refused('rotates-between', {}, 'id_token_no_key');
    assert.equal(await hits('rotates-between', '/jwks'), 2);
  });

  test('oidcc-client-test-signing-key-rotation-just-before-signing', TIMEOUT, async () => {
    await accepted('rotates-late');
    assert.equal(await hits('rotates-late', '/jwks'), 1, 'the set is known');
    await accepted('rotates-late', { rotate: true });
    assert.equal(await hits('rotates-late', '/jwks'), 2);
    // With no set at hand there is nothing to be out of date.
    await accepted('rotates-first', { rotate: true });
    assert.equal(await hits('rotates-first', '/jwks'), 1);
  });
});

describe('oidcc-client-dynamic-certification-test-plan', () => {
  test('oidcc-client-test-userinfo-signed', TIMEOUT, async () => {
    for (const alg of ALGORITHMS) await accepted('rp', { userinfo: { signed: { alg } } });
    const lies = [
      [{ signed: { signature: 'spoiled' } }, 'userinfo_signature'],
      [{ signed: { key: 'other' } }, 'userinfo_signature'],
      [{ signed: { key: 'other', header: { jwk: 'OTHER_PUBLIC_JWK' } } }, 'userinfo_signature'],
      [{ signed: { alg: 'none' } }, 'userinfo_signature'],
      [{ signed: { alg: 'HS256' } }, 'userinfo_signature'],
      [{ signed: {}, claims: { sub: 'mallory' } }, 'userinfo_subject'],
      [{ signed: {}, claims: { sub: null } }, 'userinfo_subject'],
      [{ signed: {}, claims: { iss: 'https://evil.example' } }, 'userinfo_iss'],
      [{ signed: {}, claims: { aud: 'another' } }, 'userinfo_aud'],
      [{ signed: {}, claims: { exp: { in: -120 } } }, 'userinfo_expired'],
      [{ signed: {}, claims: { nbf: { in: 120 } } }, 'userinfo_expired'],
      // What it is, the media type says alone.
      [{ signed: {}, type: 'application/json' }, 'userinfo_malformed'],
      [{ type: 'application/jwt' }, 'userinfo_signature'],
    ];
    for (const [userinfo, code] of lies) await refused('rp', { userinfo }, code);
    await accepted('rp', { userinfo: { signed: {}, type: 'Application/JWT; charset=utf-8', claims: { aud: [CLIENT], exp: { in: -30 } } } });
    // `iss` and `aud` should be there, and need not.
    await accepted('rp', { userinfo: { signed: {}, claims: { iss: null, aud: null } } });
  });
});

describe('UserInfo', () => {
  const object = JSON.stringify({ sub: 'alice' });
  const lies = {
    'an array': [{ body: '[]' }, 'userinfo_malformed'],
    'an array with the person in it': [{ body: `[${object}]` }, 'userinfo_malformed'],
    'a text': [{ body: '"alice"' }, 'userinfo_malformed'],
    null: [{ body: 'null' }, 'userinfo_malformed'],
    empty: [{ body: '' }, 'userinfo_malformed'],
    'a page': [{ body: `<html>${WORDS}</html>`, type: 'text/html' }, 'userinfo_malformed'],
    'an object and a half': [{ body: `${object}{` }, 'userinfo_malformed'],
    'a claim twice': [{ body: '{"sub":"mallory","sub":"alice"}' }, 'userinfo_malformed'],
    'a thousand levels': [{ body: `{"sub":"alice","x":${'['.repeat(1000)}${']'.repeat(1000)}}` }, 'userinfo_malformed'],
    'half a megabyte': [{ claims: { x: 'x'.repeat(500_000) } }, 'userinfo_malformed'],
    'sub a number': [{ claims: { sub: 1 } }, 'userinfo_malformed'],
    '403': [{ status: 403 }, 'userinfo_refused'],
    '302': [{ status: 302 }, 'userinfo_unavailable', 503],
    '500': [{ status: 500 }, 'userinfo_unavailable', 503],
    '503 with the right words': [{ status: 503, body: object }, 'userinfo_unavailable', 503],
  };
  for (const [name, [userinfo, code, status]] of Object.entries(lies)) {
    test(`refused: ${name}`, TIMEOUT, () => refused('rp', { userinfo }, code, status));
  }

  const right = {
    'nothing but sub': { body: object },
    'the media type with parameters': { type: 'application/json; charset=utf-8' },
    'another media type for JSON': { type: 'text/plain' },
    'claims of a hundred kinds': { claims: Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`x${n}`, { n: [n] }])) },
    'claims of others, which are not fetched': {
      claims: {
        _claim_names: { credit: 'a' },
        _claim_sources: { a: { endpoint: 'https://evil.example/claims', access_token: 'x' } },
      },
    },
  };
  for (const [name, userinfo] of Object.entries(right)) {
    test(`accepted: ${name}`, TIMEOUT, () => accepted('rp', { userinfo }));
  }

  test('is needed where it is configured', TIMEOUT, async () => {
    await tell('userinfo-absent', 'metadata', { userinfo_endpoint: null });
    await refused('userinfo-absent', {}, 'metadata_endpoint', 503);
    await tell('plain', 'metadata', { userinfo_endpoint: null });
    await accepted('plain');
  });
});

describe('what real providers do', () => {
  const long = 'x'.repeat(1_000);
  const right = {
    'token_type in small letters': { token: { token_type: 'bearer' } },
    'token_type in capitals': { token: { token_type: 'BEARER' } },
    'members that nobody asked for': {
      token: { 'not-before-policy': 0, session_state: 'a.b', ext_expires_in: 3599, ext: { a: [1, null, {}] }, [long]: long },
    },
    'no expires_in': { token: { expires_in: null } },
    'expires_in a string': { token: { expires_in: '300' } },
    'expires_in 0': { token: { expires_in: 0 } },
    'expires_in ages': { token: { expires_in: 1e18 } },
    'no scope': { token: { scope: null } },
    'scope narrower than asked': { token: { scope: 'openid' } },
    'auth_time 0': claims({ auth_time: 0 }),
    'no auth_time': claims({ auth_time: null }),
    'exp with a fraction': claims({ exp: { in: 300.5 } }),
    'exp as late as numbers are exact': claims({ exp: Number.MAX_SAFE_INTEGER }),
    'exp over, within the leeway': claims({ exp: { in: -30 } }),
    'iat with a fraction': claims({ iat: { in: -1.5 } }),
    'iat 0': claims({ iat: 0 }),
    'iat to come, within the leeway': claims({ iat: { in: 30 } }),
    'nbf beside iat': claims({ nbf: { in: -1 } }),
    'sub 1': claims({ sub: '1' }),
    'sub of 255 characters': claims({ sub: 'a'.repeat(255) }),
    'sub with a bar': claims({ sub: 'auth0|5f7c8ec7c33c6c004bbafe82' }),
    'sid of 500 characters': claims({ sid: 's'.repeat(500) }),
    'azp of the client alone': claims({ azp: CLIENT }),
    'amr a string, acr a number of levels': claims({ amr: 'pwd', acr: 'urn:mace:incommon:iap:silver' }),
    'no at_hash': claims({ at_hash: null }),
    'no typ': { id_token: { header: { typ: null } } },
    'typ in small letters': { id_token: { header: { typ: 'jwt' } } },
    'addresses and chains of keys in the header': {
      id_token: { header: { jku: 'https://evil.example/jwks', x5u: 'https://evil.example/x', x5c: [long], x5t: 'x' } },
    },
    'a code of 12,000 characters': { code_length: 12_000 },
    'parameters of its own on the callback': {
      authorization: { session_state: 'a.b', scope: 'openid email', authuser: '0', prompt: 'none', hd: 'example.com', client_info: long },
    },
  };
  for (const [name, next] of Object.entries(right)) {
    test(`accepted: ${name}`, TIMEOUT, () => accepted('plain', next));
  }

  const shape = (token, code = 'token_response_malformed') => [{ token }, code, 503];
  const lie = (values, code) => [claims(values), code];
  const lies = {
    'token_type of another kind': shape({ token_type: 'mac' }, 'token_type'),
    'token_type a list': shape({ token_type: ['Bearer'] }),
    'no token_type': shape({ token_type: null }),
    'no access token': shape({ access_token: null }),
    'no ID token': shape({ id_token: null }),
    'ID token an object': shape({ id_token: {} }),
    'expires_in negative': shape({ expires_in: -1 }),
    'expires_in with a fraction': shape({ expires_in: 1.5 }),
    'expires_in 1e300': shape({ expires_in: 1e300 }),
    'expires_in in words': shape({ expires_in: 'soon' }),
    'scope a list': shape({ scope: ['openid'] }),
    'a token response of half a megabyte': shape({ x: 'x'.repeat(500_000) }),
    'sub empty': lie({ sub: '' }, 'id_token_sub'),
    'sub of 256 characters': lie({ sub: 'a'.repeat(256) }, 'id_token_sub'),
    'sub of two lines': lie({ sub: 'alice\r\nx: y' }, 'id_token_sub'),
    'sub not ASCII': lie({ sub: 'é' }, 'id_token_sub'),
    'aud empty': lie({ aud: [] }, 'id_token_aud'),
    'exp over': lie({ exp: { in: -120 } }, 'id_token_expired'),
    'iat to come': lie({ iat: { in: 120 } }, 'id_token_not_yet_valid'),
    'nbf to come': lie({ nbf: { in: 120 } }, 'id_token_not_yet_valid'),
    'a claim twice': [{ id_token: { first: { sub: 'mallory' } } }, 'id_token_malformed'],
    'typ of a logout token': [{ id_token: { header: { typ: 'logout+jwt' } } }, 'id_token_typ'],
    'an address of a key in the header': [
      { id_token: { key: 'other', header: { jku: 'https://evil.example/jwks' } } }, 'id_token_signature',
    ],
    'a key in the header': [{ id_token: { key: 'other', header: { jwk: 'OTHER_PUBLIC_JWK' } } }, 'id_token_signature'],
    'sid that no cookie holds': [claims({ sid: 's'.repeat(4_000) }), 'session_too_large', 500],
  };
  // A claim of a wrong type.
  const type = 'id_token_claims';
  lies['sub 1, the number'] = lie({ sub: 1 }, type);
  lies['aud a number'] = lie({ aud: 1 }, type);
  lies['azp a number'] = lie({ azp: 1 }, type);
  const noTimes = [
    ['1e300', 1e300, type],
    ['-1e300', -1e300, type],
    ['-0.5', -0.5, type],
    ['2^53 + 2', 2 ** 53 + 2, type],
    ['-1', -1, type],
    ['a string', '9999999999', type],
    ['a list', [1], type],
    ['true', true, type],
  ];
  for (const [name, value, code] of noTimes) {
    for (const claim of ['exp', 'iat', 'nbf']) lies[`${claim} ${name}`] = lie({ [claim]: value }, code);
    lies[`auth_time ${name}`] = lie({ auth_time: value }, type);
  }
  for (const [name, [next, code, status]] of Object.entries(lies)) {
    test(`refused: ${name}`, TIMEOUT, () => refused('plain', next, code, status));
  }

  test('an audience beside the client, where it is configured', TIMEOUT, async () => {
    const both = { aud: [CLIENT, API], azp: CLIENT };
    await accepted('audiences', claims(both));
    await accepted('audiences', claims({ ...both, aud: [API, CLIENT] }));
    await accepted('audiences', claims({ aud: CLIENT }));
    await refused('audiences', claims({ ...both, azp: null }), 'id_token_azp');
    await refused('audiences', claims({ ...both, azp: API }), 'id_token_azp');
    await refused('audiences', claims({ ...both, aud: API }), 'id_token_aud');
    await refused('audiences', claims({ ...both, aud: [CLIENT, API, 'stranger'] }), 'id_token_aud');
    await refused('plain', claims(both), 'id_token_aud');
  });

  /** Refused before anything says whose attempt it is: that stays. */
  async function unread(page, browser, code, since) {
    assert.equal(page.status, 400);
    await isRefusal(page, code, since);
    assert.deepEqual(page.cookies, []);
    assert.ok(!browser.jar(app.url).has('__Host-airside'));
  }

  test('a parameter of the callback twice, a stranger too', TIMEOUT, async () => {
    for (const authorization of [{ session_state: ['a', 'b'] }, { code: ['a', 'b'] }, { iss: [issuer('plain'), 'https://evil.example'] }]) {
      const since = app.gate.events.length;
      const { browser, page } = await login('plain', { authorization });
      await unread(page, browser, 'callback_duplicate_parameter', since);
    }
    await accepted('plain', { authorization: { session_state: 'a' } });
  });

  test('a code that is longer than any', TIMEOUT, async () => {
    const browser = new Browser();
    const sent = await browser.send(loginUrl('plain'));
    const state = new URL(sent.headers.location).searchParams.get('state');
    const since = app.gate.events.length;
    const query = new URLSearchParams({ state, iss: issuer('plain'), code: 'x'.repeat(17_000) });
    await unread(await browser.send(`${app.url}/auth/callback/plain?${query}`), browser, 'callback_too_long', since);
    // The attempt is still good for the real answer.
    const page = await browser.go(sent.headers.location);
    assert.equal(page.url, `${app.url}/assets/style.css`);
  });
});

describe('key sets of real providers', () => {
  for (const [provider, length] of [['x5c', 2_000], ['x5c-long', 12_000]]) {
    test(`with certificates of ${length} characters`, TIMEOUT, async () => {
      const x5c = [Buffer.alloc(length * 0.75).toString('base64')];
      await tell(provider, 'keys', ALGORITHMS.map((alg) => ({ alg, with: { x5c, x5t: 'x', 'x5t#S256': 'x' } })));
      for (const alg of ALGORITHMS) await accepted(provider, { id_token: { alg } });
      await refused(provider, { id_token: { key: 'other' } }, 'id_token_signature');
    });
  }

  test('with keys that cannot be used beside one that can', TIMEOUT, async () => {
    const rs256 = (kid, over) => ({ alg: 'RS256', key: 'other', with: { kid, ...over } });
    const es256 = (kid, over) => ({ alg: 'ES256', key: 'other', with: { kid, ...over } });
    await tell('bad-keys', 'keys', [
      { jwk: null },
      { jwk: 'key' },
      { jwk: [] },
      { jwk: {} },
      { jwk: { kty: 'AKP', alg: 'ML-DSA-99', kid: 'akp', pub: 'AAAA' } },
      { jwk: { kty: 'made-up', kid: 'made-up' } },
      { jwk: { kty: 'oct', k: 'AAAA', alg: 'HS256', kid: 'secret' } },
      rs256('alg', { alg: 'RS999' }),
      rs256('enc', { use: 'enc' }),
      rs256('n', { n: null }),
      rs256('n-no-base64', { n: '%%%' }),
      rs256('e', { e: 'AA' }),
      rs256(7),
      es256('crv', { crv: 'P-999' }),
      es256('x-short', { x: 'AAAA' }),
      es256('off-curve', { x: Buffer.alloc(32, 1).toString('base64url') }),
      es256('alg-of-another', { alg: 'RS256' }),
      { alg: 'RS256' },
      { alg: 'ES256' },
    ]);
    await accepted('bad-keys');
    await accepted('bad-keys', { id_token: { alg: 'ES256' } });
    for (const kid of ['alg', 'enc', 'made-up']) {
      await refused('bad-keys', { id_token: { key: 'other', header: { kid } } }, 'id_token_no_key');
    }
    await refused('bad-keys', { id_token: { alg: 'ES256', key: 'other', header: { kid: 'alg-of-another' } } }, 'id_token_no_key');
  });

  test('with an RSA key of 1024 bits', TIMEOUT, async () => {
    await tell('weak-key', 'keys', [{ alg: 'RS256', key: 'weak' }, { alg: 'RS256' }]);
    await refused('weak-key', { id_token: { key: 'weak', header: { kid: 'weak' } } }, 'id_token_no_key');
    await refused('weak-key', { id_token: { key: 'weak', header: { kid: null } } }, 'id_token_signature');
    // It does not count, so that the other is the only one.
    await accepted('weak-key', { id_token: { header: { kid: null } } });
  });

  test('that are none, or not to be had', TIMEOUT, async () => {
    await tell('no-keys', 'keys', [{ alg: 'RS256', key: 'weak' }]);
    await refused('no-keys', {}, 'key_set_malformed', 503);
    await tell('keys-down', 'outage', { '/jwks': 503 });
    await refused('keys-down', {}, 'provider_unreachable', 503);
  });

  test('after a rotation, for many at once', TIMEOUT, async () => {
    await accepted('rotates-for-many');
    await tell('rotates-for-many', 'rotate');
    const pages = await Promise.all(
      Array.from({ length: 8 }, () => new Browser().go(loginUrl('rotates-for-many'))),
    );
    const arrived = pages.filter((page) => page.url === `${app.url}/assets/style.css`);
    assert.ok(arrived.length > 0);
    assert.equal(await hits('rotates-for-many', '/jwks'), 2);
    // Who asks while the set is on its way to another instance is told to try again.
    for (const page of pages) assert.ok(arrived.includes(page) || /Start again|Try again/i.test(page.text), page.text);
  });
});

describe('a flood of unknown keys', () => {
  let flooded;
  before(async () => {
    // Few requests for each instance, so that there are many.
    const args = ['--max-instance-reuse-count', '6', '--max-instance-concurrent-reuse-count', '2'];
    flooded = await scenario({ make: forge, args });
  });
  after(() => flooded.stop());

  test('causes one fetch per cooldown over all instances, and good tokens pass', TIMEOUT, async () => {
    const mint = async (description) =>
      (await request(`${flooded.provider.url}/mint`, { method: 'POST', body: JSON.stringify(description) })).text;
    const fetches = async () => (await request(`${flooded.provider.url}/hits`)).json()['/jwks'];
    const call = (token) => request(`${flooded.url}/api/invoices/echo`, { headers: bearer(token) });
    const es256 = { alg: 'ES256' };
    const unknown = [];
    for (let n = 0; n < 50; n += 1) unknown.push(await mint({ ...es256, header: { kid: `nobody-${n}` } }));
    const good = [];
    for (let n = 0; n < 20; n += 1) good.push(await mint(es256));

    assert.equal((await call(good[0])).status, 200);
    assert.equal(await fetches(), 1);
    const isRefused = (response) => {
      // Until the answer to the one question is there, nobody knows whether the key exists.
      const { code } = response.json();
      const expected = { access_token_no_key: 401, provider_cooling_down: 503 };
      assert.equal(response.status, expected[code], response.text);
    };
    // All at once, good ones among them.
    const [bad, passed] = await Promise.all([
      Promise.all(unknown.map(call)),
      Promise.all(good.slice(0, 10).map(call)),
    ]);
    bad.forEach(isRefused);
    for (const response of passed) assert.equal(response.status, 200, response.text);
    assert.equal(await fetches(), 2);
    // And one by one.
    for (const [n, token] of unknown.entries()) {
      isRefused(await call(token));
      if (n % 5 === 0) assert.equal((await call(good[10 + n / 5])).status, 200);
    }
    assert.equal(await fetches(), 2);
  });
});
