// How airside proves itself at a provider that it did not write, pushed authorization requests,
// and the private component that makes them.

import assert from 'node:assert/strict';
import { createCipheriv, generateKeyPairSync, hkdfSync, randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { Browser, loginAtOidcProvider, oidcProvider, request, scenario } from './harness.mjs';

const BASIC = 'client_authentication = "client_secret_basic"\nclient_secret_variable = "client_secret"';
const POST = 'client_authentication = "client_secret_post"\nclient_secret_variable = "client_secret"';
const NONE = 'client_authentication = "none"';
const JWT = 'client_authentication = "private_key_jwt"\nclient_key_variable = "client_key"';

const KINDS = {
  ES256: ['ec', { namedCurve: 'P-256' }],
  EdDSA: ['ed25519', {}],
  RS256: ['rsa', { modulusLength: 2048 }],
};

/** A new private key as a JSON Web Key, and its public half. */
function key(alg, kid = 'airside-1') {
  const { privateKey, publicKey } = generateKeyPairSync(...KINDS[alg]);
  const jwk = (one) => JSON.stringify({ ...one.export({ format: 'jwk' }), kid, alg, use: 'sig' });
  return { secret: jwk(privateKey), open: jwk(publicKey) };
}

/** A scenario at oidc-provider as `client`, authenticated as `lines` of airside.toml say. */
const at = (client, lines, { secret = 'unused', providerArgs = [], edit = (text) => text } = {}) =>
  scenario({
    make: oidcProvider,
    providerArgs,
    edit: (text) =>
      edit(
        text
          .replace('"airside-demo"', `"${client}"`)
          .replace(/^client_authentication = .*\n.*$/m, lines)
          .replace(/^audience = "(.*)"$/m, 'resource = ["$1"]'),
      ),
    // The variable of the private key, granted to the two components that may have it.
    manifest: (text) =>
      // `cargo xtask build` puts code for RSA keys in where airside.toml asks for it.
      (lines.includes('RS256') ? text.replaceAll(/[^"/]*\/airside_(callback|tokens)/g, 'rsa-signing/airside_$1') : text)
        .replace(/^client_secret = \{ .*$/m, (line) => `${line}\nclient_key = { required = true, secret = true }`)
        .replaceAll(/^client_secret = "\{\{.*$/gm, (line) => `${line}\nclient_key = "{{ client_key }}"`),
    env: { SPIN_VARIABLE_CLIENT_KEY: secret },
  });

/** Logs in, and returns the addresses on the way and what the token endpoint saw. */
async function login(app) {
  const browser = new Browser();
  const since = app.provider.events.length;
  const page = await loginAtOidcProvider(browser, app.url);
  assert.equal(page.status, 200, page.text);
  assert.equal(page.url, `${app.url}/invoices`);
  assert.equal((await browser.send(`${app.url}/auth/session`)).json().subject, 'alice');
  return { page, proof: await app.provider.logged('provider_grant.success', since) };
}

/** A login that ends with `code` in the log and without a session; returns the provider's line. */
async function refused(app, code, event) {
  const browser = new Browser();
  const since = app.gate.events.length;
  const page = await loginAtOidcProvider(browser, app.url).catch(() => undefined);
  assert.notEqual(page?.status, 200);
  await app.gate.logged(code, since);
  assert.ok(!browser.jar(app.url).has('__Host-airside'), 'no session');
  return app.provider.logged(event);
}

/** Runs `check` with the scenario, and stops it. */
async function withApp(app, check) {
  const running = await app;
  try {
    await check(running);
  } finally {
    await running.stop();
  }
}

describe('a login at oidc-provider', () => {
  for (const [method, client, lines] of [
    ['client_secret_basic', 'airside-basic', BASIC],
    ['client_secret_post', 'airside-post', POST],
    ['none', 'airside-public', NONE],
  ]) {
    test(`with ${method}, and iss in the response`, () =>
      withApp(at(client, `${lines}\nauthorization_response_iss = "required"`), async (app) => {
        const { page, proof } = await login(app);
        assert.equal(proof.authentication, method);
        const back = page.visited.find((url) => url.startsWith(`${app.url}/auth/callback?`));
        assert.equal(new URL(back).searchParams.get('iss'), app.provider.url);
      }));
  }

  for (const [alg, lines] of [
    ['ES256', ''],
    ['EdDSA', 'client_assertion_algorithm = "EdDSA"'],
    ['RS256', 'client_assertion_algorithm = "RS256"'],
  ]) {
    test(`with private_key_jwt by ${alg}, the key fetched from /auth/client-jwks.json`, () => {
      const { secret, open } = key(alg);
      return withApp(at('airside-jwt', `${JWT}\n${lines}`, { secret }), async (app) => {
        const set = await request(`${app.url}/auth/client-jwks.json`);
        assert.deepEqual(set.json(), { keys: [JSON.parse(open)] }, 'the public members and no other');
        const { proof } = await login(app);
        assert.equal(proof.authentication, 'private_key_jwt');
        assert.equal(proof.client_id, 'airside-jwt');
        assert.deepEqual(proof.header, { alg, kid: 'airside-1', typ: 'JWT' });
        const { iss, sub, aud, jti, iat, exp } = proof.claims;
        assert.deepEqual([iss, sub, aud], ['airside-jwt', 'airside-jwt', app.provider.url]);
        assert.equal(exp - iat, 60);
        // Each assertion is good once, says the provider, so that a second login needs another.
        assert.notEqual((await login(app)).proof.claims.jti, jti);
      });
    });
  }

  test('with an assertion for the token endpoint, where the provider wants that', () => {
    const { secret } = key('ES256');
    const lines = `${JWT}\nclient_assertion_audience = "token_endpoint"`;
    const providerArgs = ['--assertion-audience', 'token_endpoint'];
    return withApp(at('airside-jwt', lines, { secret, providerArgs }), async (app) => {
      const { proof } = await login(app);
      assert.equal(proof.claims.aud, `${app.provider.url}/token`);
    });
  });

  test('with a key that the provider was given', () => {
    const { secret, open } = key('ES256');
    return withApp(at('airside-jwt-inline', JWT, { secret, providerArgs: ['--client-jwk', open] }), login);
  });

  test('asks for a refresh token when it is on, and only then', async () => {
    const parameters = (page) => {
      const sent = page.visited.find((url) => url.includes('/auth?'));
      return new URL(sent).searchParams;
    };
    await withApp(at('airside-basic', `${BASIC}\nrefresh = true`), async (app) => {
      const browser = new Browser();
      const asked = parameters(await browser.go(`${app.url}/invoices`));
      assert.ok(asked.get('scope').split(' ').includes('offline_access'));
      assert.equal(asked.get('prompt'), 'consent');
      assert.equal((await login(app)).proof.refresh_token, true);
    });
    await withApp(at('airside-basic', BASIC), async (app) => {
      const browser = new Browser();
      const asked = parameters(await browser.go(`${app.url}/invoices`));
      assert.ok(!asked.get('scope').split(' ').includes('offline_access'));
      assert.equal(asked.get('prompt'), null);
      assert.equal((await login(app)).proof.refresh_token, false);
    });
  });
});

describe('no login', () => {
  test('with the key of somebody else', () => {
    const providerArgs = ['--client-jwk', key('ES256').open];
    return withApp(at('airside-jwt-inline', JWT, { secret: key('ES256').secret, providerArgs }), async (app) => {
      const line = await refused(app, 'token_invalid_client', 'provider_grant.error');
      assert.equal(line.error, 'invalid_client');
    });
  });

  test('with an assertion for another audience', () => {
    const providerArgs = ['--assertion-audience', 'token_endpoint'];
    return withApp(at('airside-jwt', JWT, { secret: key('ES256').secret, providerArgs }), async (app) => {
      const line = await refused(app, 'token_invalid_client', 'provider_grant.error');
      assert.match(line.detail, /aud must be/);
      assert.equal(line.claims.aud, app.provider.url);
    });
  });

  test('with an assertion that lives longer than the provider takes: sixty seconds and not one more', () => {
    const providerArgs = ['--assertion-seconds', '59'];
    return withApp(at('airside-jwt', JWT, { secret: key('ES256').secret, providerArgs }), async (app) => {
      const line = await refused(app, 'token_invalid_client', 'provider_grant.error');
      assert.match(line.detail, /lives too long/);
    });
  });

  test('with a variable that holds no key', () =>
    withApp(at('airside-jwt', JWT, { secret: 'no key' }), async (app) => {
      const browser = new Browser();
      const page = await loginAtOidcProvider(browser, app.url);
      assert.equal(page.status, 500);
      await app.gate.logged('signing_key_malformed');
      assert.ok(!app.gate.log.join('\n').includes('no key'));
    }));
});

describe('an authorization request', () => {
  /** Logs in and checks that the browser carried the client and a request_uri alone. */
  async function pushed(app) {
    const { page, proof } = await login(app);
    // What the browser carried is seen by a second one, which has not signed in.
    const first = await new Browser().go(`${app.url}/auth/login`);
    const sent = new URL(first.visited.find((url) => url.startsWith(`${app.provider.url}/auth?`)));
    assert.deepEqual([...sent.searchParams.keys()].sort(), ['client_id', 'request_uri']);
    assert.match(sent.searchParams.get('request_uri'), /^urn:ietf:params:oauth:request_uri:/);
    const line = await app.provider.logged('provider_pushed_authorization_request.success');
    assert.ok(page && proof);
    return line;
  }

  for (const [method, client, lines] of [
    ['client_secret_basic', 'airside-basic', BASIC],
    ['client_secret_post', 'airside-post', POST],
    ['private_key_jwt', 'airside-jwt', JWT],
    ['none', 'airside-public', NONE],
  ]) {
    test(`is pushed where the provider requires it, with ${method}`, () => {
      const { secret } = key('ES256');
      return withApp(at(client, lines, { secret, providerArgs: ['--require-par'] }), async (app) => {
        assert.equal((await pushed(app)).authentication, method);
      });
    });
  }

  test('is pushed where the configuration says so', () =>
    withApp(at('airside-basic', `${BASIC}\npushed_authorization_requests = "always"`), pushed));

  test('is not pushed otherwise', () =>
    withApp(at('airside-basic', BASIC), async (app) => {
      await login(app);
      const codes = app.provider.events.map((event) => event.code);
      assert.ok(!codes.some((code) => code.startsWith('provider_pushed')), codes.join(' '));
    }));

  test('that is not pushed where it must be is an error of the provider', () => {
    const lines = `${BASIC}\npushed_authorization_requests = "never"`;
    return withApp(at('airside-basic', lines, { providerArgs: ['--require-par'] }), async (app) => {
      const since = app.gate.events.length;
      const page = await new Browser().go(`${app.url}/auth/login`);
      assert.notEqual(page.status, 200);
      assert.ok(!app.gate.events.slice(since).some((event) => event.code === 'login'));
    });
  });

  test('that the provider refuses is a page with its code, and no attempt', () => {
    const providerArgs = ['--require-par', '--client-jwk', key('ES256').open];
    return withApp(at('airside-jwt-inline', JWT, { secret: key('ES256').secret, providerArgs }), async (app) => {
      const browser = new Browser();
      const page = await browser.go(`${app.url}/auth/login`);
      assert.equal(page.status, 503);
      assert.match(page.headers['content-type'], /^text\/html/);
      assert.equal(browser.jar(app.url).size, 0);
      await app.gate.logged('token_invalid_client');
      await app.provider.logged('provider_pushed_authorization_request.error');
    });
  });

  test('that no endpoint takes is a page with its code', () => {
    const resource = (text) => text.replace(/^resource = .*$/m, 'resource = ["https://nobody.example"]');
    return withApp(at('airside-basic', BASIC, { providerArgs: ['--require-par'], edit: resource }), async (app) => {
      const page = await new Browser().go(`${app.url}/auth/login`);
      assert.equal(page.status, 503);
      await app.gate.logged('par_refused');
    });
  });
});

describe('the private component', () => {
  let app;
  // Nobody would do this: an upstream that is a component of the app, so that anybody's request
  // is chained to it.
  before(async () => {
    app = await at('airside-basic', BASIC, {
      edit: (text) => `${text}
[upstreams.chained]
url = "http://tokens.spin.internal"
danger_plaintext = true

[[routes]]
path = "/tokens/*"
access = "public"
upstream = "chained"
`,
    });
  });
  after(() => app.stop());

  const post = (path, body, options = {}) => request(app.url + path, { method: 'POST', body, ...options });
  const content = { provider: 'demo', access_token: 'at', refresh_token: null };
  const now = () => Math.floor(Date.now() / 1000);
  /** Seals as airside does: what only a holder of the session key can. */
  const seal = (label, { exp = now() + 10, sessionKey = Buffer.from(app.gate.keys.split(':')[1], 'base64url'), id = 'call-1' } = {}) => {
    const wrapping = Buffer.from(hkdfSync('sha256', sessionKey, 'airside', `v1/seal/${label}`, 32));
    const encode = (data) => Buffer.from(data).toString('base64url');
    const header = encode(JSON.stringify({ alg: 'A256KW', enc: 'A256GCM', kid: 'e2e' }));
    const contentKey = randomBytes(32);
    const wrap = createCipheriv('id-aes256-wrap', wrapping, Buffer.alloc(8, 0xa6));
    const wrapped = Buffer.concat([wrap.update(contentKey), wrap.final()]);
    const iv = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', contentKey, iv).setAAD(Buffer.from(header));
    const text = JSON.stringify({ exp, v: 1, p: label, d: { id, content } });
    const sealed = Buffer.concat([cipher.update(text), cipher.final()]);
    return [header, ...[wrapped, iv, sealed, cipher.getAuthTag()].map(encode)].join('.');
  };

  test('answers a sealed call, sealed', async () => {
    const answer = await post('/tokens/revoke', seal('tokens-request/revoke'));
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.headers['content-type'], 'application/jose');
    assert.equal(answer.text.split('.').length, 5);
    const again = await post('/tokens/revoke', answer.text);
    assert.equal(again.status, 404, 'an answer is no call');
  });

  test('is as if it were not there for everybody else', async () => {
    const good = seal('tokens-request/revoke');
    for (const [name, path, body] of [
      ['no envelope', '/tokens/revoke', ''],
      ['what is inside, not sealed', '/tokens/revoke', JSON.stringify({ id: 'call-1', content })],
      ['an envelope for another operation', '/tokens/revoke', seal('tokens-request/par')],
      ['the right one at another operation', '/tokens/par', good],
      ['one for answers', '/tokens/revoke', seal('tokens-reply/revoke')],
      ['a session', '/tokens/revoke', seal('session')],
      ['one of another key', '/tokens/revoke', seal('tokens-request/revoke', { sessionKey: randomBytes(32) })],
      ['an expired one', '/tokens/revoke', seal('tokens-request/revoke', { exp: now() })],
      ['no operation', '/tokens/nothing', good],
    ]) {
      const since = app.gate.events.length;
      const answer = await post(path, body);
      assert.equal(answer.status, 404, name);
      await app.gate.logged('envelope_invalid', since);
    }
    assert.equal((await request(`${app.url}/tokens/revoke`)).status, 404, 'GET');
    assert.equal((await post('/tokens/revoke', good)).status, 200, 'the twin');
  });

  test('is not called by an authority that a client makes up', async () => {
    for (const authority of ['tokens.spin.internal', 'callback.spin.internal']) {
      for (const path of ['/tokens/revoke', '/auth/tokens']) {
        const made = await post(path, 'x', { path: `http://${authority}${path}` }).catch((error) => ({ status: error.code }));
        // Spin closes the connection on such a request; where it does not, there is nothing to see.
        assert.ok([404, 400, 'ECONNRESET'].includes(made.status), `${authority}${path}: ${made.status}`);
      }
    }
  });

  test('takes tokens of the usual lengths, and nothing without end', async () => {
    content.access_token = 'a'.repeat(48 * 1024);
    const long = await post('/tokens/revoke', seal('tokens-request/revoke'));
    assert.equal(long.status, 200, long.text);
    content.access_token = 'at';
    assert.equal((await post('/tokens/revoke', 'x'.repeat(96 * 1024))).status, 404);
    const endless = await post('/tokens/revoke', 'x'.repeat(96 * 1024 + 1)).catch((error) => ({ status: error.code }));
    assert.equal(endless.status, 413);
  });
});
