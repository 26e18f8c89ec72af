// The boarding gate, on the wasm files. Tokens are made by npm `jose` (providers/forge.mjs), by
// the demo provider, or not at all; never by airside.

import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';
import {
  API, Browser, NAVIGATE, bearer, demoToken, forge, loginAtDemo, request, scenario,
} from './harness.mjs';

const received = (response) => response.json().received?.headers ?? response.json().headers;

describe('tokens made by jose', () => {
  let app, cases;
  before(async () => {
    app = await scenario({ make: forge, edit: (text) => text.replace('client_id = "airside-demo"', 'client_id = "airside-forge"') });
    cases = (await request(`${app.provider.url}/cases`)).json();
  });
  after(() => app.stop());
  const call = (token, headers = {}) => request(`${app.url}/api/invoices/echo`, { headers: { ...bearer(token), ...headers } });

  test('that are good pass, RS256 PS256 ES256 ES384 EdDSA among them', async () => {
    assert.ok(Object.keys(cases.accepted).length >= 14);
    for (const [name, token] of Object.entries(cases.accepted)) {
      const response = await call(token);
      assert.equal(response.status, 200, `${name}: ${response.text}`);
    }
  });

  test('that are bad in one way are refused with a challenge and a problem', async () => {
    assert.ok(Object.keys(cases.refused).length >= 46);
    for (const [name, token] of Object.entries(cases.refused)) {
      const response = await call(token);
      assert.ok([400, 401].includes(response.status), `${name}: ${response.status}`);
      assert.match(response.headers['www-authenticate'], /^Bearer realm="airside", error="invalid_(token|request)"/, name);
      assert.equal(response.headers['content-type'], 'application/problem+json', name);
      assert.equal(response.json().status, response.status, name);
      // Twice: what was refused is not remembered as good.
      assert.equal((await call(token)).status, response.status, name);
    }
    assert.equal((await call(cases.accepted.good)).status, 200);
  });

  test('an ID token is told what it is and whom it is for', async () => {
    const response = await call(cases.refused.id_token);
    assert.equal(response.status, 401);
    assert.match(response.headers['www-authenticate'], /This is an ID token\. It is addressed to the client airside-forge, not to this API/);
    assert.equal(response.json().code, 'id_token_at_api');
  });

  test('an ID token of an unknown client is not told whose it is', async () => {
    const mint = { header: { typ: 'JWT' }, claims: { aud: 'somebody', client_id: null, scope: null, nonce: 'n' } };
    const token = (await request(`${app.provider.url}/mint`, { method: 'POST', body: JSON.stringify(mint) })).text;
    const response = await call(token);
    assert.equal(response.json().code, 'id_token_at_api');
    assert.ok(!response.headers['www-authenticate'].includes('somebody'));
  });

  test('a flood of unknown kids fetches the key set at most once per cooldown', async () => {
    const hits = async () => (await request(`${app.provider.url}/hits`)).json()['/jwks'] ?? 0;
    const start = await hits();
    const forged = [];
    for (let n = 0; n < 20; n += 1) {
      const mint = { alg: 'ES256', header: { kid: `nobody-${n}` } };
      forged.push((await request(`${app.provider.url}/mint`, { method: 'POST', body: JSON.stringify(mint) })).text);
    }
    for (const token of forged) assert.equal((await call(token)).status, 401);
    assert.ok((await hits()) - start <= 1, `${(await hits()) - start}`);
  });

  test('the key set being down leaves known keys working', async () => {
    await request(`${app.provider.url}/outage`, { method: 'POST', body: JSON.stringify({ '/jwks': 503 }) });
    assert.equal((await call(cases.accepted.good)).status, 200);
    await request(`${app.provider.url}/outage`, { method: 'POST', body: '{}' });
  });
});

describe('access', () => {
  let app, token, readOnly, idToken, other;
  before(async () => {
    app = await scenario();
    const provider = app.provider.url;
    token = await demoToken(provider, '--user', 'alice', '--audience', API, '--scope', 'openid read:invoices write:invoices');
    readOnly = await demoToken(provider, '--user', 'bob', '--audience', API, '--scope', 'openid read:invoices');
    idToken = await demoToken(provider, '--user', 'alice', '--audience', API, '--scope', 'openid', '--id-token');
    other = await demoToken(provider, '--user', 'alice', '--audience', 'https://api.example.com/reports', '--scope', 'openid');
  });
  after(() => app.stop());
  const api = '/api/invoices/echo';

  test('without a credential: 401 and a bare challenge; a person goes to the login', async () => {
    for (const headers of [{}, { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' }, { ...NAVIGATE, 'sec-fetch-dest': 'iframe' }]) {
      const response = await request(app.url + api, { headers });
      assert.equal(response.status, 401);
      assert.equal(response.headers['www-authenticate'], 'Bearer realm="airside"');
      assert.deepEqual(response.cookies, []);
    }
    for (const path of [api, '/invoices']) {
      const person = await request(app.url + path, { headers: NAVIGATE });
      assert.equal(person.status, 303);
      assert.equal(person.headers.location, `/auth/login?return_to=${encodeURIComponent(path)}`);
    }
    const form = await request(app.url + api, { method: 'POST', headers: NAVIGATE, body: 'a=b' });
    assert.equal(form.status, 401);
  });

  test('a good token passes, and the upstream learns who calls from us alone', async () => {
    const response = await request(app.url + api, { headers: bearer(token) });
    assert.equal(response.status, 200);
    const headers = Object.fromEntries(received(response));
    assert.equal(headers['x-forwarded-sub'], 'alice');
    assert.equal(headers['x-forwarded-issuer'], app.provider.url);
    assert.equal(headers['x-forwarded-subject-type'], 'user');
    assert.match(headers['x-forwarded-scope'], /read:invoices/);
    assert.equal(headers['x-forwarded-proto'], 'http');
    assert.equal(headers.authorization, undefined);
    assert.ok(response.headers['content-length']);
  });

  test('scope is per path and method', async () => {
    const read = await request(app.url + api, { headers: bearer(readOnly) });
    assert.equal(read.status, 200);
    const write = await request(`${app.url}/api/invoices/`, { method: 'POST', headers: { ...bearer(readOnly), 'content-type': 'application/json' }, body: '{}' });
    assert.equal(write.status, 403);
    assert.match(write.headers['www-authenticate'], /error="insufficient_scope".*scope="write:invoices"/);
    const allowed = await request(app.url + api, { method: 'POST', headers: bearer(token), body: 'x' });
    assert.notEqual(allowed.status, 403);
    const patch = await request(app.url + api, { method: 'PATCH', headers: bearer(token), body: 'x' });
    assert.equal(patch.status, 405);
    assert.equal(patch.headers.allow, 'DELETE, GET, POST, PUT');
  });

  test('misuse 1 of the seeds: an ID token at the API', async () => {
    const response = await request(app.url + api, { headers: bearer(idToken) });
    assert.equal(response.status, 401);
    assert.equal(response.json().code, 'id_token_at_api');
  });

  test('a token for another API is refused by name', async () => {
    const response = await request(app.url + api, { headers: bearer(other) });
    assert.equal(response.status, 401);
    assert.equal(response.json().code, 'access_token_aud');
  });

  test('credentials are one header with one token, never the query', async () => {
    for (const [headers, status] of [
      [{ authorization: ['Bearer a', `Bearer ${token}`] }, 400],
      [{ authorization: 'Bearer' }, 400],
      [{ authorization: 'Bearer a b' }, 400],
      [{ authorization: 'Basic YTpi' }, 401],
    ]) {
      assert.equal((await rawRequest(app.url, api, headers)).status, status, JSON.stringify(headers));
    }
    const query = await request(`${app.url}${api}?access_token=${token}`);
    assert.equal(query.status, 400);
    assert.equal(query.json().code, 'credential_in_query');
    assert.equal((await request(app.url + api, { headers: { authorization: `bEARER ${token}` } })).status, 200);
  });

  test('an Authorization header decides alone, the session is not asked', async () => {
    const browser = new Browser();
    await loginAtDemo(browser, app.url);
    assert.equal((await browser.send(app.url + api, { headers: { accept: 'application/json' } })).status, 200);
    assert.equal((await browser.send(app.url + api, { headers: bearer('nonsense') })).status, 401);
  });

  test('public routes pass everybody, with the caller\'s own Authorization and no identity', async () => {
    const response = await request(`${app.url}/`, { headers: { 'x-forwarded-sub': 'evil' } });
    assert.equal(response.status, 200);
  });

  test('what nobody routes is 404, our own corner too', async () => {
    for (const path of ['/nothing', '/auth/nothing', '/auth/verify', '/.well-known/jwks.json', '/api', '/%61uth/x']) {
      assert.equal((await request(app.url + path)).status, 404, path);
    }
  });

  test('ambiguous paths are 400, before any decision', async () => {
    for (const path of ['/api/invoices/..%2fx', '/api/invoices/%2e%2e/x', '/api/invoices/a%5cb', '/api//invoices', '/api/invoices/..;/x',
      '/api/invoices/%00', '/api/invoices/%252e%252e/x', '/assets/../api/invoices/echo', '/assets/%2e%2e/api/invoices/echo']) {
      const response = await request(app.url, { path, headers: bearer(token) });
      assert.equal(response.status, 400, path);
    }
    assert.equal((await request(app.url, { path: '/api/invoices/echo?x=%2f..', headers: bearer(token) })).status, 200);
    assert.equal((await request(app.url, { path: '/%61pi/invoices/echo' })).status, 401, 'decoded before it is judged');
  });

  test('spoofed identity never reaches the upstream', async () => {
    const names = ['X-Forwarded-Sub', 'x_forwarded_sub', 'X-Forwarded_Sub', 'X-FORWARDED-SCOPE', 'X-Forwarded-Issuer', 'X_Forwarded_Client_Id',
      'X-Forwarded-Email', 'X-Forwarded-Name', 'X-Forwarded-User', 'Airside-Assertion', 'airside_assertion', 'Forwarded', 'X-Forwarded-For',
      'X-Forwarded-Host', 'X-Real-IP', 'X-Original-URL', 'X-Rewrite-URL', 'X-Auth-Request-User', 'Remote-User', 'spin-client-addr', 'Spin-Full-Url'];
    const spoofed = Object.fromEntries(names.map((name) => [name, 'evil']));
    const response = await request(app.url + api, { headers: { ...spoofed, ...bearer(token), 'x-mine': 'kept' } });
    const list = received(response);
    assert.deepEqual(list.filter(([, value]) => value.includes('evil')), []);
    assert.equal(list.filter(([name]) => name.replaceAll('_', '-').toLowerCase() === 'x-forwarded-sub').length, 1);
    assert.equal(Object.fromEntries(list)['x-mine'], 'kept');
    assert.equal(Object.fromEntries(list)['x-forwarded-for'], '127.0.0.1');
  });

  test('the Host of the request counts for nothing', async () => {
    const response = await request(app.url + '/invoices', { headers: { ...NAVIGATE, host: 'evil.example' } });
    assert.equal(response.status, 303);
    assert.ok(response.headers.location.startsWith('/auth/login'));
    const login = await request(`${app.url}/auth/login`, { headers: { ...NAVIGATE, host: 'evil.example' } });
    assert.equal(new URL(login.headers.location).searchParams.get('redirect_uri'), `${app.url}/auth/callback`);
  });

  test('our cookies stay here, those of the app pass', async () => {
    const browser = new Browser();
    await loginAtDemo(browser, app.url);
    browser.jar(app.url).set('theme', 'dark');
    const list = received(await browser.send(app.url + api, { headers: { accept: 'application/json' } }));
    assert.equal(Object.fromEntries(list).cookie, 'theme=dark');
  });

  test('unsafe methods with a session need proof of the same origin', async () => {
    const browser = new Browser();
    await loginAtDemo(browser, app.url);
    const post = (headers) => browser.send(`${app.url}/api/invoices/`, {
      method: 'POST', body: '{}', headers: { accept: 'application/json', 'sec-fetch-mode': 'cors', 'content-type': 'application/json', ...headers },
    });
    for (const headers of [{}, { origin: 'https://evil.example' }, { origin: 'null' }, { 'sec-fetch-site': 'cross-site', origin: app.url }]) {
      const response = await post(headers);
      assert.equal(response.status, 403);
      assert.equal(response.json().code, 'cross_site');
    }
    for (const headers of [{ origin: app.url }, { 'sec-fetch-site': 'same-origin', origin: 'null' }]) {
      // Past that check: the demo session lacks the scope to write.
      assert.equal((await post(headers)).json().code, 'insufficient_scope');
    }
  });

  test('a WebSocket is refused clearly', async () => {
    const headers = { ...bearer(token), upgrade: 'websocket', connection: 'upgrade', 'sec-websocket-key': 'x', 'sec-websocket-version': '13' };
    assert.equal((await request(app.url + api, { headers })).status, 501);
  });

  test('an upstream that is down is 502', async () => {
    const down = await scenario({ edit: (text) => text });
    await down.back.stop();
    const response = await request(`${down.url}/`);
    assert.equal(response.status, 502);
    assert.equal(response.json().code, 'upstream_unavailable');
    await down.stop();
  });

  test('the answer streams: the client has the first chunk before the upstream sends the second', async () => {
    const id = 'e2e-stream';
    await new Promise((done, fail) => {
      const target = new URL(app.url);
      const options = { host: target.hostname, port: target.port, path: `/api/invoices/slow-stream?id=${id}`, headers: bearer(token) };
      http.get(options, (response) => {
        let chunks = 0;
        response.on('data', () => {
          chunks += 1;
          // Only now is the second one released, past the gate.
          if (chunks === 1) request(`${app.back.url}/api/invoices/release?id=${id}`, { method: 'POST' }).catch(fail);
        });
        response.on('end', () => (chunks >= 2 ? done() : fail(new Error(`${chunks} chunks`))));
      }).on('error', fail);
    });
  });

  test('the request streams too', async () => {
    await new Promise((done, fail) => {
      const target = new URL(app.url);
      const outgoing = http.request({
        host: target.hostname, port: target.port, method: 'POST', path: '/api/invoices/stream-echo',
        headers: { ...bearer(token), 'transfer-encoding': 'chunked' },
      });
      outgoing.write('first');
      outgoing.on('response', (response) => {
        assert.equal(response.statusCode, 200);
        let text = '';
        response.on('data', (data) => {
          // The first part came back before the second was sent.
          if (text === '') outgoing.end('second');
          text += data;
        });
        response.on('end', () => (text === 'firstsecond' ? done() : fail(new Error(text))));
      });
      outgoing.on('error', fail);
    });
  });
});

/** A request with repeated headers, which fetch-like clients would join. */
function rawRequest(url, path, headers) {
  const target = new URL(url);
  const lines = Object.entries(headers).flatMap(([name, value]) => [value].flat().map((one) => `${name}: ${one}`));
  return new Promise((done, fail) => {
    const socket = net.connect(target.port, target.hostname, () => {
      socket.write(`GET ${path} HTTP/1.1\r\nhost: ${target.host}\r\nconnection: close\r\n${lines.join('\r\n')}\r\n\r\n`);
    });
    let text = '';
    socket.on('data', (data) => (text += data));
    socket.on('error', fail);
    socket.on('end', () => done({ status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1]), text }));
  });
}
