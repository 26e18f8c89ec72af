// What the upstream learns of the way a request came, and what becomes of fields behind a body
// and of addresses in answers.

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, describe, test } from 'node:test';
import { API, bearer, demoToken, host, request, scenario } from './harness.mjs';
import { echo, json, rawUpstream, send } from './raw.mjs';

const folded = (list) => Object.fromEntries(list.map(([name, value]) => [name.toLowerCase().replaceAll('_', '-'), value]));
const route = (path, more = '') => `[[routes]]\npath = "${path}"\naccess = "public"\nupstream = "raw"\n${more}\n`;
/** The usual scenario with `upstream` behind `routes`; `top` stands at the top of airside.toml. */
const behind = (upstream, routes, top = '') =>
  scenario({
    more: [() => upstream],
    edit: (text, url) => `${top}\n${text}\n[upstreams.raw]\nurl = "${url}"\n${routes}`,
  });

describe('where a request comes from', () => {
  const seen = async (app, headers, target = '/open/x') => {
    const response = await send(app.url, { target, headers });
    assert.equal(response.status, 200, response.text);
    return folded(JSON.parse(response.body).headers);
  };
  const SPOOFED = [
    'X-Forwarded-For: 6.6.6.6', 'x_forwarded_for: 6.6.6.6', 'X-Forwarded-For: 6.6.6.6, 127.0.0.1', 'Forwarded: for=6.6.6.6;host=evil.example;proto=https',
    'X-Forwarded-Host: evil.example', 'X-Forwarded-Proto: https', 'X-Forwarded-Port: 6', 'X-Real-IP: 6.6.6.6', 'Spin-Client-Addr: 6.6.6.6:6', 'True-Client-IP: 6.6.6.6',
  ];

  test('is what the platform saw, and nothing that the client says, without trusted proxies', async () => {
    const app = await behind(echo(), route('/open/*'));
    const { host } = new URL(app.url);
    for (const headers of [[], SPOOFED, ...SPOOFED.map((one) => [one])]) {
      const named = await seen(app, headers);
      assert.equal(named['x-forwarded-for'], '127.0.0.1', headers);
      assert.equal(named['x-forwarded-host'], host, headers);
      assert.equal(named['x-forwarded-proto'], 'http', headers);
      assert.equal(named.forwarded, `for=127.0.0.1;host="${host}";proto=http`, headers);
      assert.ok(!JSON.stringify(named).includes('6.6.6') && !JSON.stringify(named).includes('evil'), headers);
    }
    await app.stop();
  });

  test('is what trusted proxies saw, read from the right', async () => {
    const app = await behind(echo(), route('/open/*'), 'trusted_proxies = ["127.0.0.0/8", "2001:db8::/32"]');
    const { host } = new URL(app.url);
    const about = `host="${host}";proto=http`;
    for (const [headers, list, forwarded] of [
      [[], '127.0.0.1', `for=127.0.0.1;${about}`],
      [['X-Forwarded-For: 192.0.2.1'], '192.0.2.1, 127.0.0.1', `for=192.0.2.1;${about}, for=127.0.0.1`],
      [['X-Forwarded-For: 6.6.6.6, 192.0.2.1'], '192.0.2.1, 127.0.0.1', `for=192.0.2.1;${about}, for=127.0.0.1`],
      [['X-Forwarded-For: 6.6.6.6', 'X-Forwarded-For: 192.0.2.1'], '192.0.2.1, 127.0.0.1', `for=192.0.2.1;${about}, for=127.0.0.1`],
      [['X-Forwarded-For: 127.6.6.6, 192.0.2.1, 127.0.0.9'], '192.0.2.1, 127.0.0.9, 127.0.0.1', `for=192.0.2.1;${about}, for=127.0.0.9, for=127.0.0.1`],
      [['X-Forwarded-For: 2001:db9::1'], '2001:db9::1, 127.0.0.1', `for="[2001:db9::1]";${about}, for=127.0.0.1`],
      [['X-Forwarded-For: [2001:db9::1]:443, 2001:db8::7'], '2001:db9::1, 2001:db8::7, 127.0.0.1', `for="[2001:db9::1]";${about}, for="[2001:db8::7]", for=127.0.0.1`],
      [['X-Forwarded-For: 192.0.2.1, evil.example'], '127.0.0.1', `for=127.0.0.1;${about}`],
      // Of the rest nothing is believed, of a trusted proxy neither.
      [['X-Forwarded-For: 192.0.2.1', ...SPOOFED.filter((one) => !/for: /i.test(one))], '192.0.2.1, 127.0.0.1', `for=192.0.2.1;${about}, for=127.0.0.1`],
    ]) {
      const named = await seen(app, headers);
      assert.equal(named['x-forwarded-for'], list, headers);
      assert.equal(named.forwarded, forwarded, headers);
      assert.equal(named['x-forwarded-host'], host, headers);
      assert.equal(named['x-forwarded-proto'], 'http', headers);
    }
    await app.stop();
  });

  test('is who is connected, where other proxies than that one are trusted', async () => {
    const app = await behind(echo(), route('/open/*'), 'trusted_proxies = ["192.0.2.0/24"]');
    const named = await seen(app, ['X-Forwarded-For: 192.0.2.1']);
    assert.equal(named['x-forwarded-for'], '127.0.0.1');
    await app.stop();
  });
});

// Spin 4.1 writes no trailers for a client that takes more than them (hyper 1.10).
const TE = host === 'spin' ? 'TE: trailers' : 'TE: gzip, trailers';

describe('trailers', () => {
  let app, upstream, token;
  before(async () => {
    upstream = http.createServer((incoming, answer) => {
      let size = 0;
      incoming.on('data', (data) => (size += data.length));
      incoming.on('end', () => {
        const { method, rawTrailers } = incoming;
        const body = JSON.stringify({ method, size, headers: incoming.headers, trailers: rawTrailers });
        answer.writeHead(200, { trailer: 'X-Sum', 'content-type': 'application/json' });
        answer.write(body);
        // Far more than is looked at before the answer goes on.
        if (incoming.url.includes('long')) answer.write(' '.repeat(100_000));
        answer.addTrailers({ 'x-sum': '6' });
        answer.end();
      });
    });
    await new Promise((done) => upstream.listen(0, '127.0.0.1', done));
    const url = `http://127.0.0.1:${upstream.address().port}`;
    const stop = async () => upstream.close() && upstream.closeAllConnections();
    const closed = `[[routes]]\npath = "/closed/*"\naccess = "token"\nissuer = "demo"\naudience = "${API}"\nscopes = ["read:invoices"]\nupstream = "raw"\n`;
    app = await behind({ url, stop }, route('/open/*') + route('/limited/*', 'max_body_bytes = 1000') + closed);
    token = await demoToken(app.provider.url, '--user', 'alice', '--audience', API, '--scope', 'openid read:invoices');
  });
  after(() => app.stop());

  /** A request with chunks and trailers; the answer's body without its chunk sizes, and its trailers. */
  const ask = async (target, headers, trailers = []) => {
    const response = await send(app.url, {
      method: 'POST', target, headers: ['Transfer-Encoding: chunked', ...headers], body: ['3', 'abc', '0', ...trailers, '', ''].join('\r\n'),
    });
    assert.equal(response.status, 200, response.text);
    const [, json] = /(\{.*\})/.exec(response.body);
    const end = response.body.slice(response.body.lastIndexOf('0\r\n') + 3);
    return { ...JSON.parse(json), end, response };
  };

  for (const base of ['/open', '/limited', '/closed']) {
    const credential = () => (base === '/closed' ? [`Authorization: Bearer ${token}`] : []);
    test(`of a request arrive, but for those that could say who calls: ${base}`, async () => {
      const sent = ['X-Sum: 6', 'X-Forwarded-Sub: evil', 'X_Forwarded_Sub: evil', 'Airside-Assertion: evil', 'Authorization: evil', 'Cookie: evil', 'X-Unannounced: 1'];
      const announced = 'Trailer: X-Sum, X-Forwarded-Sub, X_Forwarded_Sub, Airside-Assertion, Authorization, Cookie';
      const { size, headers, trailers } = await ask(`${base}/x`, [announced, ...credential()], sent);
      assert.equal(size, 3);
      assert.deepEqual(trailers.map((text) => text.toLowerCase()), ['x-sum', '6']);
      assert.equal(headers.trailer, 'X-Sum');
      const none = await ask(`${base}/x`, credential(), sent);
      assert.deepEqual(none.trailers, []);
      const spoofed = await ask(`${base}/x`, ['Trailer: X-Forwarded-Sub', ...credential()], ['X-Forwarded-Sub: evil']);
      assert.deepEqual(spoofed.trailers, []);
      assert.equal(spoofed.headers.trailer, undefined);
    });

    test(`of an answer arrive, where the client takes them: ${base}`, async () => {
      for (const target of [`${base}/short`, `${base}/long`]) {
        const taken = await ask(target, [TE, ...credential()]);
        assert.equal(taken.headers.te, 'trailers');
        assert.equal(taken.end.toLowerCase(), 'x-sum: 6\r\n\r\n', target);
        assert.equal(taken.response.header('content-length'), undefined);
        const untaken = await ask(target, credential());
        assert.equal(untaken.headers.te, undefined);
        assert.equal(untaken.end, '\r\n', target);
      }
    });
  }

  test('that a client announces by Connection alone are about that connection', async () => {
    const answer = await request(`${app.url}/open/x`, { headers: { connection: 'close, TE', te: 'gzip', ...bearer(token) } });
    assert.equal(answer.json().headers.te, undefined);
  });
});

describe('addresses in answers', () => {
  test('are those of the public site, where a route shows the upstream others', async () => {
    const upstream = await rawUpstream(({ target }) => {
      const wanted = new URL(`http://x${target}`).searchParams;
      return json({}, { headers: [...wanted].map(([name, value]) => `${name}: ${value}`) });
    });
    const app = await behind(upstream, route('/plain/*') + route('/app/*', 'upstream_path = "/v2/*"') + route('/bare/*', 'upstream_path = "/*"'));
    const answer = async (path, name, value) => (await send(app.url, { target: `${path}?${new URLSearchParams([[name, value]])}` })).all(name.toLowerCase());
    for (const [path, sent, expected] of [
      ['/app/x', 'a=1; Path=/v2; HttpOnly', 'a=1; Path=/app; HttpOnly'],
      ['/app/x', 'a=1; HttpOnly; Path=/', 'a=1; HttpOnly; Path=/app'],
      ['/app/x', 'a=1; Path=/v2/cart', 'a=1; Path=/app/cart'],
      ['/app/x', 'a=1; Path=/elsewhere', 'a=1; Path=/elsewhere'],
      ['/app/x', '__Host-a=1; Secure; Path=/', '__Host-a=1; Secure; Path=/'],
      ['/bare/x', 'a=1; Path=/', 'a=1; Path=/bare'],
      ['/bare/x', 'a=1; Path=/cart', 'a=1; Path=/bare/cart'],
      ['/plain/x', 'a=1; Path=/', 'a=1; Path=/'],
    ]) {
      assert.deepEqual(await answer(path, 'Set-Cookie', sent), [expected]);
    }
    for (const name of ['Location', 'Content-Location']) {
      assert.deepEqual(await answer('/app/x', name, '/v2/y?z'), ['/app/y?z']);
      assert.deepEqual(await answer('/app/x', name, `${upstream.url}/v2/y`), [`${app.url}/app/y`]);
      assert.deepEqual(await answer('/plain/x', name, `${upstream.url}/y`), [`${app.url}/y`]);
      assert.deepEqual(await answer('/app/x', name, 'https://other.example/v2/y'), ['https://other.example/v2/y']);
    }
    // Never ours, wherever they say they belong.
    assert.deepEqual(await answer('/app/x', 'Set-Cookie', '__Host-airside=evil; Path=/v2'), []);
    await app.stop();
  });
});
