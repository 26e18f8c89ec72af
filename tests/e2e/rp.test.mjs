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
