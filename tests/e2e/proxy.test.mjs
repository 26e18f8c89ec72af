// How requests and answers are passed on, on the wasm files, against upstreams that speak HTTP byte
// for byte.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';
import { API, Browser, bearer, demoToken, loginAtDemo, request, scenario } from './harness.mjs';
import { echo, json, rawUpstream, send } from './raw.mjs';

const route = (path, more = '', access = 'access = "public"') => `\n[[routes]]\npath = "${path}"\nupstream = "raw"\n${access}\n${more}\n`;
const token = `access = "token"\nissuer = "demo"\naudience = "${API}"\nscopes = ["read:invoices"]`;
const SPA = 'https://spa.example';

/** The usual scenario with the upstream `raw` beside the sample one. */
const behind = (upstream, routes, settings = '') =>
  scenario({
    more: [() => upstream],
    edit: (text, url) => `${text}\n[upstreams.raw]\nurl = "${url}"\n${settings}\n${routes}`,
  });

const got = (response) => {
  const { target, method, headers } = response.json ? response.json() : JSON.parse(response.body);
  return { target, method, headers: Object.fromEntries(headers.map(([name, value]) => [name.toLowerCase(), value])) };
};

describe('paths', () => {
  let app;
  before(async () => {
    app = await behind(echo(), [
      route('/plain/*'), route('/strip/*', 'upstream_path = "/*"'), route('/v1/api/*', 'upstream_path = "/v2/*"'),
      route('/health', 'upstream_path = "/internal/health"'),
    ].join(''));
  });
  after(() => app.stop());

  test('are passed on as they were decided on, or with their first segments replaced', async () => {
    for (const [sent, expected] of [
      ['/plain/x?y=%2f..//&z', '/plain/x?y=%2f..//&z'],
      ['/plain/a%20b;v=1/%e2%82%ac', '/plain/a%20b;v=1/%e2%82%ac'],
      ['/%70lain/x', '/%70lain/x'],
      ['/strip/x/y?z=/strip', '/x/y?z=/strip'],
      ['/strip', '/'],
      ['/strip?a', '/?a'],
      ['/strip/', '/'],
      ['/%73trip/x', '/x'],
      ['/v1/api', '/v2'],
      ['/v1/api/v1/api?q', '/v2/v1/api?q'],
      ['/health?deep', '/internal/health?deep'],
    ]) {
      const response = await send(app.url, { target: sent });
      assert.equal(response.status, 200, sent);
      assert.equal(got(response).target, expected, sent);
    }
  });

  test('that could be read otherwise go nowhere, rewritten or not', async () => {
    for (const target of ['/strip//x', '/strip/../x', '/strip/%2e%2e/x', '/strip/%2fx', '/strip/..;/x', '/v1/api/%252e%252e/x', '/strip/a%5cb']) {
      assert.equal((await send(app.url, { target })).status, 400, target);
    }
    assert.equal((await send(app.url, { target: '/health/x' })).status, 404);
  });

  test('of a redirect of the upstream become public ones', async () => {
    const upstream = await rawUpstream(({ target }) => json({}, { status: '302 Found', headers: [`Location: ${new URL(`http://x${target}`).searchParams.get('to')}`] }));
    const redirecting = await behind(upstream, route('/plain/*') + route('/app/*', 'upstream_path = "/v2/*"'));
    const location = async (path, to) => (await request(`${redirecting.url}${path}?to=${encodeURIComponent(to)}`)).headers.location;
    assert.equal(await location('/plain/x', `${upstream.url}/plain/y?z#f`), `${redirecting.url}/plain/y?z#f`);
    assert.equal(await location('/app/x', `${upstream.url}/v2/y`), `${redirecting.url}/app/y`);
    assert.equal(await location('/app/x', '/v2/y'), '/app/y');
    assert.equal(await location('/app/x', 'https://other.example/v2/y'), 'https://other.example/v2/y');
    assert.equal(await location('/app/x', 'y'), 'y');
    await redirecting.stop();
  });
});

describe('CORS', () => {
  let app, good;
  before(async () => {
    const cors = (more) => `cors = { origins = ["${SPA}"], ${more} }`;
    const upstream = rawUpstream(({ line, method, target, headers }) =>
      json({ line, method, target, headers }, { headers: ['Access-Control-Allow-Origin: https://upstream.example', 'Vary: Accept'] }));
    app = await behind(upstream, [
      route('/api/*', cors('methods = ["GET", "PUT"], expose_headers = ["x-total"], max_age_seconds = 60'), token),
      route('/mine/*', cors('credentials = true'), 'access = "login"'),
      route('/passed/*', cors('preflight = "upstream"'), token),
      route('/none/*', '', token),
    ].join(''));
    good = bearer(await demoToken(app.provider.url, '--user', 'alice', '--audience', API, '--scope', 'openid read:invoices'));
  });
  after(() => app.stop());
  const ask = (path, origin, method, more = {}) =>
    request(app.url + path, { method: 'OPTIONS', headers: { origin, 'access-control-request-method': method, ...more } });

  test('the gate answers a preflight, without a credential', async () => {
    const response = await ask('/api/x', SPA, 'PUT', { 'access-control-request-headers': 'authorization' });
    assert.equal(response.status, 204);
    assert.equal(response.headers['access-control-allow-origin'], SPA);
    assert.equal(response.headers['access-control-allow-methods'], 'PUT');
    assert.equal(response.headers['access-control-allow-headers'], 'authorization, content-type');
    assert.equal(response.headers['access-control-max-age'], '60');
    assert.equal(response.headers['access-control-allow-credentials'], undefined);
    assert.match(response.headers.vary, /Origin/);
    assert.equal((await ask('/mine/x', SPA, 'DELETE')).headers['access-control-allow-credentials'], 'true');
  });

  test('other origins and methods are refused by code', async () => {
    for (const [origin, method] of [['https://evil.example', 'GET'], ['null', 'GET'], [`${SPA}.evil.example`, 'GET'], ['http://spa.example', 'GET'], [SPA, 'DELETE']]) {
      const response = await ask('/api/x', origin, method);
      assert.equal(response.status, 403, `${origin} ${method}`);
      assert.equal(response.json().code, 'cors_refused');
      if (origin !== SPA) assert.equal(response.headers['access-control-allow-origin'], undefined);
    }
    // Without settings a preflight is a request like any other.
    assert.equal((await ask('/none/x', SPA, 'GET')).status, 401);
  });

  test('a page can read an answer, and why it was refused', async () => {
    const answer = await request(`${app.url}/api/x`, { headers: { origin: SPA, ...good } });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['access-control-allow-origin'], SPA, 'not what the upstream says');
    assert.equal(answer.headers['access-control-expose-headers'], 'www-authenticate, x-total');
    const refused = await request(`${app.url}/api/x`, { headers: { origin: SPA } });
    assert.equal(refused.status, 401);
    assert.equal(refused.headers['access-control-allow-origin'], SPA);
    assert.match(refused.headers['access-control-expose-headers'], /www-authenticate/);
    assert.match(refused.headers['www-authenticate'], /^Bearer/);
    const other = await request(`${app.url}/api/x`, { headers: { origin: 'https://evil.example' } });
    assert.equal(other.status, 401);
    assert.equal(other.headers['access-control-allow-origin'], undefined);
    assert.match(other.headers.vary, /Origin/);
  });

  test('a preflight that is passed on carries nothing of the caller', async () => {
    const browser = new Browser();
    await loginAtDemo(browser, app.url);
    browser.jar(app.url).set('theme', 'dark');
    const response = await browser.send(`${app.url}/passed/x`, {
      method: 'OPTIONS',
      headers: { origin: SPA, 'access-control-request-method': 'PUT', 'x-forwarded-sub': 'evil', 'airside-assertion': 'evil', ...good },
    });
    assert.equal(response.status, 200);
    const { headers, method } = got(response);
    assert.equal(method, 'OPTIONS');
    assert.equal(headers['access-control-request-method'], 'PUT');
    for (const name of ['authorization', 'cookie', 'x-forwarded-sub', 'airside-assertion']) assert.equal(headers[name], undefined, name);
    assert.equal(response.headers['access-control-allow-origin'], 'https://upstream.example');
    // Nothing but a preflight passes so.
    for (const options of [{ method: 'OPTIONS', headers: { origin: SPA } }, { headers: { origin: SPA, 'access-control-request-method': 'PUT' } }]) {
      assert.equal((await request(`${app.url}/passed/x`, options)).status, 401);
    }
  });

  test('a page that is trusted with cookies may write with them, another may not', async () => {
    const browser = new Browser();
    await loginAtDemo(browser, app.url);
    const post = (path, origin) => browser.send(app.url + path, {
      method: 'POST', body: 'x', headers: { accept: 'application/json', 'sec-fetch-mode': 'cors', 'sec-fetch-site': 'same-site', origin },
    });
    assert.equal((await post('/mine/x', SPA)).status, 200);
    assert.equal((await post('/mine/x', 'https://evil.example')).json().code, 'cross_site');
  });
});

describe('bodies and messages', () => {
  let app, seen;
  before(async () => {
    seen = [];
    app = await behind(
      rawUpstream(async ({ line, method, target, headers, body, socket }) => {
        seen.push({ line, method, headers, body });
        const path = target.split('?')[0];
        switch (path) {
          case '/m/early': return `HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n${json({ early: true })}`;
          case '/m/204': return 'HTTP/1.1 204 No Content\r\nX-Seen: 1\r\n\r\n';
          case '/m/304': return 'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n';
          case '/m/304-of-length': return 'HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\nETag: "x"\r\n\r\n';
          case '/m/empty': return 'HTTP/1.1 302 Found\r\nLocation: /m/204\r\nContent-Length: 0\r\n\r\n';
          case '/m/head': return 'HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nX-Seen: 1\r\n\r\n';
          case '/m/hop': return json({}, { headers: ['Connection: X-Secret, keep-alive', 'X-Secret: 1', 'Keep-Alive: timeout=5', 'Proxy-Authenticate: Basic', 'X-Open: 1'] });
          case '/m/cookies': return json({}, { headers: ['Set-Cookie: theme=dark', 'Set-Cookie: __Host-airside=evil; Path=/; Secure', 'Set-Cookie: =__Host-airside=evil'] });
          case '/m/public': return json({}, { headers: ['Cache-Control: public, max-age=60, s-maxage=600', 'CDN-Cache-Control: max-age=600'] });
          case '/m/silent': return undefined;
          case '/m/pause': socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbeginning'); return undefined;
          case '/m/cut': return 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbeginning';
          case '/m/cut-chunked': return 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nbeginning\r\n';
          case '/m/nonsense': return 'nonsense\r\n\r\n';
          default: return json({ line, method, target, headers });
        }
      }),
      route('/m/*') + route('/limited/*', 'max_body_bytes = 10\ncors = { origins = ["https://spa.example"] }') + route('/mine/*', 'upstream_path = "/m/*"', 'access = "login"'),
      'first_byte_timeout_seconds = 1\nbetween_bytes_timeout_seconds = 1',
    );
  });
  after(() => app.stop());
  const code = (response) => JSON.parse(response.body).code;

  test('HEAD, OPTIONS, PATCH and answers without a body', async () => {
    const head = await send(app.url, { method: 'HEAD', target: '/m/head' });
    assert.equal(head.status, 200);
    assert.equal(head.header('content-length'), '1234');
    assert.equal(head.body, '');
    for (const method of ['OPTIONS', 'PATCH', 'PUT', 'DELETE', 'POST', 'REPORT']) {
      const response = await send(app.url, { method, target: '/m/echo', headers: method === 'PATCH' ? ['Content-Length: 3'] : [], body: method === 'PATCH' ? 'abc' : '' });
      assert.equal(response.status, 200, method);
      assert.equal(got(response).method, method);
    }
    for (const status of [204, 304]) {
      const response = await send(app.url, { target: `/m/${status}` });
      assert.equal(response.status, status);
      assert.equal(response.body, '');
      assert.equal(response.header('transfer-encoding'), undefined);
    }
    // Twice: a length without a body must not make the gate wait for one, or take the next answer for it.
    for (const [target, status, length] of [['/m/304-of-length', 304, '1234'], ['/m/304-of-length', 304, '1234'], ['/m/empty', 302, '0'], ['/m/empty', 302, '0']]) {
      const response = await send(app.url, { target });
      assert.equal(response.status, status, target);
      assert.equal(response.header('content-length'), length, target);
      assert.equal(response.header('transfer-encoding'), undefined, target);
      assert.equal(response.body, '', target);
    }
    const browser = new Browser();
    await loginAtDemo(browser, app.url);
    for (const [path, status] of [['304-of-length', 304], ['empty', 302]]) {
      const response = await browser.send(`${app.url}/mine/${path}`);
      assert.equal(response.status, status, path);
      assert.equal(response.headers['cache-control'], 'private', path);
      assert.equal(response.text, '', path);
    }
    assert.deepEqual(JSON.parse((await send(app.url, { target: '/m/early' })).body), { early: true });
  });

  test('the same over HTTP/2', async () => {
    const session = http2.connect(app.url);
    const ask = (method, path) => new Promise((resolve, reject) => {
      const stream = session.request({ ':method': method, ':path': path });
      let [head, bytes] = [undefined, 0];
      stream.on('response', (headers) => (head = headers));
      stream.on('data', (data) => (bytes += data.length));
      stream.on('end', () => resolve([head[':status'], head['content-length'], bytes]));
      stream.on('error', reject);
      stream.end();
    });
    try {
      assert.deepEqual(await ask('HEAD', '/m/head'), [200, '1234', 0]);
      assert.deepEqual(await ask('GET', '/m/304-of-length'), [304, '1234', 0]);
      assert.deepEqual(await ask('GET', '/m/204'), [204, undefined, 0]);
      assert.deepEqual(await ask('GET', '/m/empty'), [302, '0', 0]);
      const [status, length, bytes] = await ask('GET', '/m/echo');
      assert.deepEqual([status, bytes > 0], [200, true]);
      assert.equal(length, String(bytes));
    } finally {
      session.close();
    }
  });

  test('headers about one connection go in neither direction', async () => {
    const answer = await send(app.url, { target: '/m/hop' });
    assert.equal(answer.status, 200);
    for (const name of ['x-secret', 'keep-alive', 'proxy-authenticate']) assert.equal(answer.header(name), undefined, name);
    assert.equal(answer.header('x-open'), '1');
    const asked = got(await send(app.url, { target: '/m/echo', headers: ['TE: gzip', 'Proxy-Authorization: Basic x', 'Keep-Alive: 5', 'Upgrade: h2c', 'X-Open: 1', 'Expect: 100-continue'] }));
    for (const name of ['te', 'proxy-authorization', 'keep-alive', 'upgrade', 'expect']) assert.equal(asked.headers[name], undefined, name);
    assert.equal(asked.headers['x-open'], '1');
  });

  test('an upstream cannot set our cookies', async () => {
    const answer = await send(app.url, { target: '/m/cookies' });
    assert.deepEqual(answer.all('set-cookie'), ['theme=dark']);
  });

  test('answers to a session are private, others as the upstream says', async () => {
    const browser = new Browser();
    await loginAtDemo(browser, app.url);
    const mine = await browser.send(`${app.url}/mine/public`);
    assert.equal(mine.headers['cache-control'], 'private, max-age=60');
    assert.equal(mine.headers['cdn-cache-control'], undefined);
    assert.equal((await browser.send(`${app.url}/mine/cookies`)).headers['cache-control'], 'no-store');
    const open = await request(`${app.url}/m/public`);
    assert.equal(open.headers['cache-control'], 'public, max-age=60, s-maxage=600');
    assert.equal(open.headers['cdn-cache-control'], 'max-age=600');
  });

  test('a body over the limit of its route is 413 before the upstream is asked, by its length', async () => {
    const before = seen.length;
    const large = await send(app.url, { method: 'POST', target: '/limited/x', headers: ['Content-Length: 11', 'Expect: 100-continue', 'Origin: https://spa.example'] });
    assert.equal(large.status, 413);
    assert.equal(code(large), 'body_too_large');
    assert.equal(large.header('access-control-allow-origin'), 'https://spa.example');
    assert.equal(seen.length, before);
    const fits = await send(app.url, { method: 'POST', target: '/limited/x', headers: ['Content-Length: 10'], body: '0123456789' });
    assert.equal(fits.status, 200);
    assert.equal(seen.at(-1).body, '0123456789');
  });

  test('chunks are counted, and cut off when over the limit', async () => {
    const chunked = (...chunks) => [...chunks.map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`), '0\r\n\r\n'].join('');
    const post = (target, ...chunks) => send(app.url, { method: 'POST', target, headers: ['Transfer-Encoding: chunked'], body: chunked(...chunks) });
    assert.equal((await post('/limited/x', '01234', '56789')).status, 200);
    assert.equal((await post('/m/x', '01234', '56789a')).status, 200);
    // The upstream of these answers at the head; one that waits for the whole body sees it break off.
    let ended;
    const end = () => new Promise((done) => (ended = done));
    const waiting = http.createServer((incoming, answer) => {
      incoming.on('data', () => {});
      incoming.on('error', () => ended('broken'));
      incoming.on('end', () => { ended('whole'); answer.end('ok'); });
    });
    await new Promise((done) => waiting.listen(0, '127.0.0.1', done));
    const url = `http://127.0.0.1:${waiting.address().port}`;
    const stop = async () => waiting.close() && waiting.closeAllConnections();
    const app2 = await behind({ url, stop }, route('/limited/*', 'max_body_bytes = 10'));
    const post2 = (...chunks) => send(app2.url, { method: 'POST', target: '/limited/x', headers: ['Transfer-Encoding: chunked'], body: chunked(...chunks) });
    let seen2 = end();
    assert.equal((await post2('01234', '56789')).status, 200);
    assert.equal(await seen2, 'whole');
    seen2 = end();
    const over = await post2('01234', '56789', 'a');
    assert.equal(over.status, 413);
    assert.equal(code(over), 'body_too_large');
    assert.equal(await seen2, 'broken');
    await app2.stop();
  });

  test('Expect: 100-continue is answered on the way', async () => {
    const { port } = new URL(app.url);
    const text = await new Promise((done, fail) => {
      const socket = net.connect(port, '127.0.0.1', () =>
        socket.write('POST /m/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n'));
      let answer = '';
      socket.on('data', (data) => {
        if (answer === '') socket.write('abc');
        answer += data;
      });
      socket.on('error', fail);
      socket.on('end', () => done(answer));
    });
    assert.match(text, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK/);
    assert.equal(seen.at(-1).body, 'abc');
  });

  test('no message is read in two ways', async () => {
    const smuggled = 'GET /m/smuggled HTTP/1.1\r\nHost: a\r\n\r\n';
    for (const [name, headers, body] of [
      ['two lengths', ['Content-Length: 3', 'Content-Length: 4'], 'abcd'],
      ['a list of lengths', ['Content-Length: 3, 4'], 'abcd'],
      ['a signed length', ['Content-Length: +3'], 'abc'],
      ['another coding last', ['Transfer-Encoding: chunked, identity'], '0\r\n\r\n'],
      ['an unknown coding', ['Transfer-Encoding: xchunked'], '0\r\n\r\n'],
      ['a space before the colon', ['Content-Length : 3'], 'abc'],
      ['a folded line', ['X-A: 1', ' Content-Length: 3'], 'abc'],
    ]) {
      const before = seen.length;
      const response = await send(app.url, { method: 'POST', target: '/m/x', headers, body: body + smuggled });
      assert.ok(response.status === 400 || response.text === '', `${name}: ${response.text}`);
      assert.equal(seen.length, before, name);
    }
    // Both: the chunks count, and what goes on has one length only.
    const before = seen.length;
    const both = await send(app.url, { method: 'POST', target: '/m/x', headers: ['Content-Length: 40', 'Transfer-Encoding: chunked'], body: `0\r\n\r\n${smuggled}` });
    assert.ok([200, 400].includes(both.status), both.text);
    const passed = seen.slice(before);
    assert.ok(passed.length <= 1 && passed.every(({ line }) => !line.includes('smuggled')));
    for (const { headers } of passed) {
      const framing = headers.filter(([name]) => /^(content-length|transfer-encoding)$/i.test(name));
      assert.ok(framing.length <= 1, JSON.stringify(framing));
    }
  });

  test('an upstream that keeps silent is 504, one that talks nonsense 502', async () => {
    const silent = await request(`${app.url}/m/silent`);
    assert.equal(silent.status, 504);
    assert.equal(silent.json().code, 'upstream_timeout');
    const nonsense = await request(`${app.url}/m/nonsense`);
    assert.equal(nonsense.status, 502);
    assert.equal(nonsense.json().code, 'upstream_unavailable');
  });

  test('an answer that pauses too long or breaks off ends the connection, and is never whole', async () => {
    for (const target of ['/m/pause', '/m/cut', '/m/cut-chunked']) {
      await assert.rejects(request(app.url + target), target);
      const raw = await send(app.url, { target });
      assert.equal(raw.status, 200);
      assert.ok(raw.body.includes('beginning') && !raw.body.endsWith('0\r\n\r\n'), raw.text);
    }
  });
});

test('an upstream that does not take the connection in time is 504', { skip: process.platform !== 'linux' }, async () => {
  // A process that listens, with room for one, and is stopped: the kernel takes one or two
  // connections for it, and leaves the others waiting.
  const code = 'const s = require("net").createServer().listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => console.log(s.address().port));';
  const listener = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  const port = Number(await new Promise((done) => listener.stdout.once('data', (data) => done(String(data)))));
  listener.kill('SIGSTOP');
  const taken = [];
  for (let n = 0; n < 8; n += 1) taken.push(net.connect(port, '127.0.0.1').on('error', () => {}));
  await new Promise((done) => taken[0].once('connect', done));
  const stop = async () => {
    taken.forEach((socket) => socket.destroy());
    listener.kill('SIGKILL');
  };
  const app = await behind({ url: `http://127.0.0.1:${port}`, stop }, route('/slow/*'), 'connect_timeout_seconds = 1');
  const response = await request(`${app.url}/slow/x`);
  assert.equal(response.status, 504);
  assert.equal(response.json().code, 'upstream_timeout');
  assert.match((await app.gate.logged('upstream_timeout')).cause, /ConnectionTimeout/);
  await app.stop();
});
