// Passport control, on the wasm files, against a provider that airside did not write (npm
// oidc-provider), the demo provider, and one that lies on demand.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  API, Browser, NAVIGATE, forge, loginAtDemo, loginAtOidcProvider, oidcProvider, request, scenario,
} from './harness.mjs';

const client = (id, method) => (text) =>
  text
    .replace('client_id = "airside-demo"', `client_id = "${id}"`)
    .replace('"client_secret_basic"', `"${method}"`)
    .replace(method === 'none' ? /^client_secret_variable.*\n/m : /$^/, '');
const resource = (text) => text.replace(/^audience = "(.*)"$/m, 'resource = ["$1"]');

describe('login at the demo provider', () => {
  for (const method of ['client_secret_basic', 'client_secret_post', 'none']) {
    test(`with ${method}`, async () => {
      const id = method === 'none' ? 'airside-public' : 'airside-demo';
      const app = await scenario({ edit: client(id, method) });
      const browser = new Browser();
      const page = await loginAtDemo(browser, app.url);
      assert.equal(page.status, 200);
      assert.equal(page.url, `${app.url}/invoices`);
      const api = await browser.send(`${app.url}/api/invoices/echo`, { headers: { accept: 'application/json' } });
      assert.equal(api.status, 200, api.text);
      await app.stop();
    });
  }
});

describe('login at oidc-provider', () => {
  for (const [id, method] of [
    ['airside-basic', 'client_secret_basic'],
    ['airside-post', 'client_secret_post'],
    ['airside-public', 'none'],
  ]) {
    test(`with ${method} and a resource indicator`, async () => {
      const app = await scenario({ make: oidcProvider, edit: (text) => resource(client(id, method)(text)) });
      const browser = new Browser();
      const page = await loginAtOidcProvider(browser, app.url);
      assert.equal(page.status, 200, page.text);
      assert.equal(page.url, `${app.url}/invoices`);
      const api = await browser.send(`${app.url}/api/invoices/echo`, { headers: { accept: 'application/json' } });
      assert.equal(api.status, 200, api.text);
      const received = Object.fromEntries(api.json().received?.headers ?? api.json().headers);
      assert.equal(received['x-forwarded-sub'], 'alice');
      assert.equal(received['x-forwarded-issuer'], app.provider.url);
      await app.stop();
    });
  }
});

describe('the login attempt', () => {
  let app;
  before(async () => (app = await scenario()));
  after(() => app.stop());

  test('sends state, nonce, PKCE and audience, and seals the attempt in a cookie', async () => {
    const sent = await request(`${app.url}/auth/login?return_to=/invoices`, { headers: NAVIGATE });
    assert.equal(sent.status, 303);
    const target = new URL(sent.headers.location);
    const of = (name) => target.searchParams.getAll(name);
    assert.equal(target.origin, app.provider.url);
    assert.deepEqual(of('response_type'), ['code']);
    assert.deepEqual(of('redirect_uri'), [`${app.url}/auth/callback`]);
    assert.deepEqual(of('code_challenge_method'), ['S256']);
    assert.deepEqual(of('audience'), [API]);
    for (const name of ['state', 'nonce', 'code_challenge']) assert.match(of(name)[0], /^[\w-]{22,43}$/);
    assert.match(sent.cookies[0], /^__Host-airside-tx-[\w-]{12}=[^;]+; HttpOnly; Secure; SameSite=Lax; Path=\/; Max-Age=600$/);
    assert.ok(!sent.cookies[0].includes(of('state')[0]));
    assert.equal(sent.headers['cache-control'], 'no-store');
    const again = await request(`${app.url}/auth/login`, { headers: NAVIGATE });
    for (const name of ['state', 'nonce', 'code_challenge']) {
      assert.notEqual(new URL(again.headers.location).searchParams.get(name), of(name)[0]);
    }
  });

  test('is not made for scripts, prefetches and posts', async () => {
    for (const headers of [
      {},
      { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' },
      { ...NAVIGATE, 'sec-fetch-dest': 'iframe' },
      { ...NAVIGATE, 'sec-purpose': 'prefetch' },
    ]) {
      const refused = await request(`${app.url}/auth/login`, { headers });
      assert.equal(refused.status, 401);
      assert.deepEqual(refused.cookies, []);
    }
    const script = { 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'empty' };
    const posted = await request(`${app.url}/auth/login`, { method: 'POST', headers: script });
    assert.equal(posted.status, 401);
    assert.deepEqual(posted.cookies, []);
    assert.equal((await request(`${app.url}/auth/login`, { method: 'PUT', headers: NAVIGATE })).status, 405);
  });

  test('keeps at most five tabs apart', async () => {
    const browser = new Browser();
    const tabs = [];
    for (let tab = 0; tab < 7; tab += 1) tabs.push(await browser.send(`${app.url}/auth/login?return_to=/invoices`));
    assert.equal(browser.jar(app.url).size, 5);
    // An older tab finishes first; the newest still works afterwards.
    for (const tab of [tabs[3], tabs[6]]) {
      let page = await browser.go(tab.headers.location);
      if (page.text.includes('value="alice"')) page = await browser.submit(page, 'value="alice"');
      assert.equal(page.url, `${app.url}/invoices`);
      assert.equal(page.status, 200);
    }
    // The first one was dropped: a page from which one click goes on.
    const dropped = await browser.go(tabs[0].headers.location);
    assert.equal(dropped.status, 400);
    assert.match(dropped.text, /You are signed in already/);
    assert.match(dropped.text, /href="\/"/);
    // Without a session the one click is the login.
    await browser.send(`${app.url}/auth/logout`, { method: 'POST', headers: { 'sec-fetch-site': 'same-origin' } });
    const again = await browser.send(dropped.url);
    assert.equal(again.status, 400);
    assert.match(again.text, /href="\/auth\/login"/);
  });

  test('cannot be used twice', async () => {
    const browser = new Browser();
    const page = await loginAtDemo(browser, app.url);
    const callback = page.visited.find((url) => url.includes('/auth/callback'));
    const again = await browser.send(callback);
    assert.equal(again.status, 400);
    assert.equal((await browser.send(`${app.url}/invoices`)).status, 200, 'the session lives on');
    await app.gate.logged('attempt_done');
  });

  test('of another browser is refused', async () => {
    const [mine, theirs] = [new Browser(), new Browser()];
    const page = await loginAtDemo(mine, app.url);
    const callback = page.visited.find((url) => url.includes('/auth/callback'));
    const refused = await theirs.send(callback);
    assert.equal(refused.status, 400);
    assert.ok(!refused.cookies.some((cookie) => cookie.startsWith('__Host-airside=')));
  });

  test('ends on a page for every malformed callback', async () => {
    for (const query of ['', '?code=x', '?state=x', '?code=x&state=x', '?code=a&code=b&state=x', '?state=a&state=b&code=x',
      '?error=access_denied&state=x', '?code=x&state=%00', `?code=${'x'.repeat(20_000)}&state=x`, '?%ff=%fe&state=x&code=y']) {
      const page = await request(`${app.url}/auth/callback${query}`, { headers: NAVIGATE });
      assert.equal(page.status, 400, query);
      assert.match(page.headers['content-type'], /^text\/html/);
      assert.equal(page.headers['referrer-policy'], 'no-referrer');
      assert.match(page.headers['content-security-policy'], /default-src 'none'/);
    }
  });

  test('returns to local paths only', async () => {
    for (const evil of ['https://evil.example/', '//evil.example', '/\\evil.example', '/%2fevil.example', '/\tevil']) {
      const browser = new Browser();
      const login = await browser.go(`${app.url}/auth/login?return_to=${encodeURIComponent(evil)}`);
      const page = await browser.submit(login, 'value="alice"');
      assert.equal(page.url, `${app.url}/`, evil);
    }
    const browser = new Browser();
    const login = await browser.go(`${app.url}/auth/login?return_to=${encodeURIComponent('/invoices?a=b')}`);
    assert.equal((await browser.submit(login, 'value="alice"')).url, `${app.url}/invoices?a=b`);
  });

  test('that the person cancels ends on a page, not in a loop', async () => {
    const browser = new Browser();
    const login = await browser.go(`${app.url}/invoices`);
    const page = await browser.submit(login, 'name="cancel"', { cancel: '1' });
    assert.equal(page.status, 403, page.text);
    assert.match(page.text, /href="\/auth\/login\?provider=demo&amp;return_to=%2Finvoices"/);
    assert.equal(browser.jar(app.url).size, 0, 'no cookie is left behind');
  });
});

describe('a provider that lies', () => {
  let app;
  const post = (path, body) => request(`${app.provider.url}${path}`, { method: 'POST', body: JSON.stringify(body) });
  before(async () => {
    app = await scenario({ make: forge, edit: client('airside-forge', 'none') });
  });
  after(() => app.stop());

  async function login() {
    const browser = new Browser();
    const page = await browser.go(`${app.url}/auth/login?return_to=/assets/style.css`);
    return { page, session: browser.jar(app.url).has('__Host-airside'), left: browser.jar(app.url).size };
  }

  const accepted = {
    'oidcc-client-test': {},
    'nonce, azp and at_hash right, unknown claims ignored': { id_token: { claims: { azp: 'airside-forge', x: { y: 1 } } } },
    'aud an array of the client alone': { id_token: { claims: { aud: ['airside-forge'] } } },
    'token_type in small letters': { token: { token_type: 'bearer' } },
    'no expires_in': { token: { expires_in: null } },
    'expired within the leeway': { id_token: { claims: { exp: { in: -30 } } } },
    'sub of 255 characters': { id_token: { claims: { sub: 'a'.repeat(255) } } },
    'oidcc-client-test-kid-absent-single-jwks': { id_token: { alg: 'ES256', header: { kid: null } } },
  };
  for (const [name, next] of Object.entries(accepted)) {
    test(`accepted: ${name}`, async () => {
      await post('/next', next);
      const { page, session } = await login();
      assert.ok(session, page.text + JSON.stringify(app.gate.events.at(-1)));
    });
  }

  const claims = (values) => ({ id_token: { claims: values } });
  const refused = {
    'oidcc-client-test-invalid-iss': [claims({ iss: 'https://evil.example' }), 'id_token_iss'],
    'oidcc-client-test-invalid-aud': [claims({ aud: 'another' }), 'id_token_aud'],
    'aud with a stranger': [claims({ aud: ['airside-forge', 'stranger'], azp: 'airside-forge' }), 'id_token_aud'],
    'azp of another': [claims({ azp: 'another' }), 'id_token_azp'],
    'oidcc-client-test-missing-sub': [claims({ sub: null }), 'id_token_sub'],
    'sub of 256 characters': [claims({ sub: 'a'.repeat(256) }), 'id_token_sub'],
    'sub not ASCII': [claims({ sub: 'é' }), 'id_token_sub'],
    'oidcc-client-test-missing-iat': [claims({ iat: null }), 'id_token_claims'],
    'iat in the future': [claims({ iat: { in: 3600 }, exp: { in: 7200 } }), 'id_token_not_yet_valid'],
    expired: [claims({ exp: { in: -120 } }), 'id_token_expired'],
    'exp missing': [claims({ exp: null }), 'id_token_claims'],
    'oidcc-client-test-nonce-invalid': [claims({ nonce: 'x' }), 'id_token_nonce'],
    'nonce missing': [claims({ nonce: null }), 'id_token_nonce'],
    'at_hash of another token': [claims({ at_hash: 'AAAAAAAAAAAAAAAAAAAAAA' }), 'id_token_at_hash'],
    'oidcc-client-test-invalid-sig-rs256': [{ id_token: { signature: 'spoiled' } }, 'id_token_signature'],
    'oidcc-client-test-invalid-sig-es256': [{ id_token: { alg: 'ES256', signature: 'spoiled' } }, 'id_token_signature'],
    'oidcc-client-test-idtoken-sig-none': [{ id_token: { alg: 'none' } }, 'id_token_alg'],
    'HS256 with the public key': [{ id_token: { alg: 'HS256' } }, 'id_token_alg'],
    'a key of its own in the header': [{ id_token: { key: 'other', header: { jwk: 'OTHER_PUBLIC_JWK' } } }, 'id_token_signature'],
    'typ at+jwt': [{ id_token: { header: { typ: 'at+jwt' } } }, 'id_token_typ'],
    'crit': [{ id_token: { header: { crit: ['x'], x: 1 } } }, 'id_token_crit'],
    'token_type missing': [{ token: { token_type: null } }, 'token_response_malformed'],
    'token_type mac': [{ token: { token_type: 'mac' } }, 'token_type'],
    'no ID token': [{ token: { id_token: null } }, 'token_response_malformed'],
    'token endpoint 500': [{ token_status: 500 }, 'token_endpoint_unavailable'],
    'iss of another issuer in the response': [{ authorization: { iss: 'https://evil.example' } }, 'callback_iss'],
    'iss missing though announced': [{ authorization: { iss: null } }, 'callback_iss'],
    'state missing': [{ authorization: { state: null } }, 'callback_state_missing'],
    'another state': [{ authorization: { state: 'x' } }, 'attempt_unknown'],
    'an error': [{ authorization: { error: 'access_denied', error_description: '<script>', code: null } }, 'provider_access_denied'],
    'an error from elsewhere': [{ authorization: { error: 'access_denied', code: null, iss: 'https://evil.example' } }, 'callback_iss'],
  };
  for (const [name, [next, code]] of Object.entries(refused)) {
    test(`refused: ${name}`, async () => {
      await post('/next', next);
      const since = app.gate.events.length;
      const { page, session } = await login();
      assert.equal(session, false);
      const event = await app.gate.logged(code, since);
      assert.ok([400, 403, 503].includes(page.status), String(page.status));
      assert.match(page.text, /<h1>/);
      assert.ok(!page.text.includes('script>') && !page.text.includes('evil.example'));
      const id = /<code>([^<]+)<\/code>/.exec(page.text)[1];
      assert.equal(event.request_id, id);
    });
  }

  test('oidcc-client-test-signing-key-rotation: works at the first try, also right after a fetch', async () => {
    await post('/next', {});
    assert.ok((await login()).session);
    await post('/rotate', {});
    assert.ok((await login()).session, JSON.stringify(app.gate.events.at(-1)));
  });

  test('an outage of the token endpoint is a page with Retry-After, and passes', async () => {
    await post('/outage', { '/token': 503 });
    const down = await login();
    assert.equal(down.page.status, 503);
    assert.equal(down.page.headers['retry-after'], '10');
    assert.equal(down.left, 0, 'no cookie is left behind');
    await post('/outage', {});
    assert.ok((await login()).session);
  });
});

test('a discovery document of another issuer is refused', async () => {
  const app = await scenario({ make: forge, edit: client('airside-forge', 'none') });
  const lie = (body) => request(`${app.provider.url}/metadata`, { method: 'POST', body: JSON.stringify(body) });
  await lie({ issuer: 'https://evil.example' });
  const page = await new Browser().go(`${app.url}/auth/login`);
  assert.equal(page.status, 503);
  await app.gate.logged('metadata_issuer');
  await app.stop();
});

test('a provider that asks for a host outside allowed_outbound_hosts is told so in the log', async () => {
  const app = await scenario({ edit: (text) => text.replace(/^issuer = "http:\/\/127\.0\.0\.1:\d+"/m, 'issuer = "http://127.0.0.1:9"') });
  const page = await new Browser().go(`${app.url}/auth/login`);
  assert.equal(page.status, 503);
  await app.gate.logged('provider_host_not_allowed');
  await app.stop();
});

test('a provider without audience: one login, then a page, never a loop', async () => {
  const app = await scenario({ edit: (text) => text.replace(/^audience = .*\n(?=\n\[|\n#)/m, '') });
  const browser = new Browser();
  const page = await loginAtDemo(browser, app.url);
  assert.equal(page.status, 200);
  const api = await browser.go(`${app.url}/api/invoices/echo`);
  assert.equal(api.status, 403);
  assert.deepEqual(api.visited, [`${app.url}/api/invoices/echo`]);
  assert.match(api.text, /signed in/);
  const event = await app.gate.logged('session_token_not_for_this_api');
  assert.match(event.hint, /audience/);
  assert.equal((await browser.send(`${app.url}/invoices`)).status, 200, 'the session is kept');
  await app.stop();
});
