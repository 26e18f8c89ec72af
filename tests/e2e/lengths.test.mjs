// An answer whose length the upstream does not say: with its length if it is small and all there,
// and otherwise as it comes.

import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';
import { host, scenario } from './harness.mjs';
import { rawUpstream, send } from './raw.mjs';

const chunk = (text) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
const head = (...lines) => ['HTTP/1.1 200 OK', ...lines, '', ''].join('\r\n');
const CHUNKED = 'Transfer-Encoding: chunked';
const END = '0\r\n\r\n';
const SMALL = 16 * 1024;

let app;
const held = new Map();
/** Resolves with the upstream's socket when it was asked for `path`. */
const asked = (path) => new Promise((done) => held.set(path, done));

before(async () => {
  const upstream = rawUpstream(({ target, socket }) => {
    const [, , name, size = '0'] = new URL(target, 'http://x').pathname.split('/');
    const body = 'x'.repeat(Number(size));
    switch (name) {
      case 'whole': return head(CHUNKED, 'X-Kept: 1') + chunk(body) + END;
      case 'empty': return head(CHUNKED) + END;
      case 'pieces': return head(CHUNKED) + chunk('one, ') + chunk('two, ') + chunk('three') + END;
      case 'closed': return `HTTP/1.0 200 OK\r\n\r\n${body}`;
      case 'trailers': return head(CHUNKED, 'Trailer: X-Sum') + chunk('summed') + '0\r\nX-Sum: 6\r\n\r\n';
      case 'cut': return head(CHUNKED) + chunk('beginning');
      case 'events': return head(CHUNKED, 'Content-Type: Text/Event-Stream; charset=utf-8') + chunk('data: 1\n\n') + END;
      case 'head': return head(CHUNKED);
      case 'nothing': return 'HTTP/1.1 204 No Content\r\n\r\n';
      case 'said': return head(`Content-Length: ${size}`) + body;
      default: held.get(name)?.(socket); return undefined;
    }
  });
  app = await scenario({
    more: [() => upstream],
    edit: (text, url) => `${text}
[upstreams.raw]
url = "${url}"
[[routes]]
path = "/l/*"
access = "public"
upstream = "raw"
`,
  });
});
after(() => app.stop());

const get = (path, more = {}) => send(app.url, { target: `/l/${path}`, ...more });
const framing = (response) => ({ length: response.header('content-length'), coding: response.header('transfer-encoding') });
/** The bytes of a chunked body, which must be whole. */
function joined(text) {
  let rest = text;
  let bytes = '';
  for (;;) {
    const [size] = rest.split('\r\n', 1);
    const length = parseInt(size, 16);
    rest = rest.slice(size.length + 2);
    if (length === 0) return { bytes, trailers: rest };
    bytes += rest.slice(0, length);
    rest = rest.slice(length + 2);
  }
}

describe('an answer that is all there', () => {
  test('gets its length when it is small', async () => {
    for (const [path, body] of [
      ['whole/1', 'x'], [`whole/${SMALL - 1}`, 'x'.repeat(SMALL - 1)], ['empty', ''], ['pieces', 'one, two, three'], ['closed/5', 'xxxxx'], ['closed', ''],
    ]) {
      const response = await get(path);
      assert.equal(response.status, 200, path);
      assert.deepEqual(framing(response), { length: String(body.length), coding: undefined }, path);
      assert.equal(response.body, body, path);
    }
    assert.equal((await get('whole/3')).header('x-kept'), '1');
  });

  test('stays as it is when it is not, to the byte', async () => {
    for (const size of [SMALL, SMALL + 1, 1_000_000]) {
      const response = await get(`whole/${size}`);
      assert.deepEqual(framing(response), { length: undefined, coding: 'chunked' }, `${size}`);
      assert.equal(joined(response.body).bytes, 'x'.repeat(size), `${size}`);
    }
    assert.deepEqual(framing(await get('said/1000000')), { length: '1000000', coding: undefined });
  });

  test('stays as it is with trailers, which arrive', async () => {
    const response = await get('trailers', { headers: ['TE: trailers'] });
    assert.deepEqual(framing(response), { length: undefined, coding: 'chunked' });
    const { bytes, trailers } = joined(response.body);
    assert.equal(bytes, 'summed');
    assert.match(trailers.toLowerCase(), /^x-sum: 6\r\n\r\n$/);
  });

  test('gets none where there is no body, and where events are to be expected', async () => {
    assert.deepEqual(framing(await get('head', { method: 'HEAD' })).length, undefined);
    assert.deepEqual(framing(await get('nothing')), { length: undefined, coding: undefined });
    const events = await get('events');
    assert.deepEqual(framing(events), { length: undefined, coding: 'chunked' });
    assert.equal(joined(events.body).bytes, 'data: 1\n\n');
  });

  test('is never whole when it broke off', async () => {
    const response = await get('cut');
    // A host may drop what broke off before its head was written: then nothing arrives at all, and
    // the next request is answered as ever.
    if (host === 'spin' && response.text === '') return assert.equal((await get('whole/1')).body, 'x');
    assert.equal(response.status, 200);
    assert.equal(response.header('content-length'), undefined);
    assert.ok(response.body.includes('beginning') && !response.body.endsWith(END), response.text);
  });
});

/** A client that says when `wanted` has come. */
function client(path) {
  const { hostname, port } = new URL(app.url);
  const socket = net.connect(port, hostname, () => socket.write(`GET /l/${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`));
  socket.setEncoding('latin1');
  let text = '';
  let check = () => {};
  socket.on('data', (data) => { text += data; check(); });
  const comes = (wanted) => new Promise((done) => {
    check = () => text.includes(wanted) && done(text);
    check();
  });
  const end = new Promise((done) => socket.on('close', () => done(text)));
  return { socket, comes, end };
}

describe('an answer that is not all there goes on as it comes', () => {
  test('its head before its first byte', async () => {
    for (const type of ['text/event-stream', 'application/json']) {
      const name = `head-first-${type.split('/')[1]}`;
      const upstream = asked(name);
      const one = client(name);
      const socket = await upstream;
      socket.write(head(CHUNKED, `Content-Type: ${type}`));
      await one.comes('\r\n\r\n');
      socket.write(chunk('first'));
      await one.comes('first');
      socket.end(chunk('second') + END);
      assert.match(await one.end, /transfer-encoding: chunked[^]*5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n$/i);
    }
  });

  test('each piece before the next, and the trailers at the end', async () => {
    const upstream = asked('held');
    const one = client('held');
    const socket = await upstream;
    socket.write(head(CHUNKED) + chunk('piece 0'));
    for (let next = 1; next < 20; next += 1) {
      await one.comes(`piece ${next - 1}`);
      socket.write(chunk(`piece ${next}`));
    }
    socket.end(END);
    const text = await one.end;
    assert.equal(text.match(/piece/g).length, 20);
    assert.ok(text.endsWith(END));
  });

  test('a pause within it does no harm', async () => {
    const upstream = asked('pause');
    const one = client('pause');
    const socket = await upstream;
    socket.write(head(CHUNKED) + chunk('first'));
    await one.comes('first');
    // Longer than the gate waits before it looks whether the client is still there.
    setTimeout(() => socket.end(chunk('second') + END), 1_500);
    assert.match(await one.end, /\r\n\r\n5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n$/);
  });

  test('and ends at the upstream when the client goes', async () => {
    const upstream = asked('left');
    const one = client('left');
    const socket = await upstream;
    const closed = new Promise((done) => socket.on('close', done));
    socket.write(head(CHUNKED) + chunk('first'));
    await one.comes('first');
    one.socket.destroy();
    await closed;
  });
});
