// Bodies stream through the gate in both directions, at constant memory, and end when one side does.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { API, bearer, demoToken, host, scenario } from './harness.mjs';

const MEBIBYTE = 1024 * 1024;
const SIZE = 100 * MEBIBYTE;
const chunk = Buffer.alloc(64 * 1024, 'a');

let app, token, upstream;
const events = new Map();
/** Resolves when the upstream says that `name` happened. */
const happens = (name) => new Promise((done) => events.set(name, done));
const happened = (name, value) => events.get(name)?.(value);

before(async () => {
  upstream = http.createServer((incoming, answer) => {
    const path = new URL(incoming.url, 'http://x').pathname;
    if (path === '/s/events') {
      answer.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
      happened('events', answer);
    } else if (path === '/s/upload' || path === '/limited/upload') {
      const hash = createHash('sha256');
      let size = 0;
      incoming.on('data', (data) => { hash.update(data); size += data.length; });
      incoming.on('end', () => answer.end(JSON.stringify({ size, hash: hash.digest('hex') })));
      incoming.on('error', () => happened('upload broke off'));
    } else if (path === '/s/download') {
      answer.writeHead(200, incoming.url.includes('length') ? { 'content-length': SIZE } : {});
      let left = SIZE;
      const more = () => {
        while (left > 0) {
          left -= chunk.length;
          if (!answer.write(chunk)) return answer.once('drain', more);
        }
        return answer.end();
      };
      more();
    } else if (path === '/s/endless') {
      answer.writeHead(200, { 'content-type': 'application/octet-stream' });
      answer.on('close', () => happened('gone'));
      answer.write('begin');
    } else {
      answer.end('ok');
    }
  });
  await new Promise((done) => upstream.listen(0, '127.0.0.1', done));
  const url = `http://127.0.0.1:${upstream.address().port}`;
  const route = (path, more = '') => `
[[routes]]
path = "${path}"
access = "token"
issuer = "demo"
audience = "${API}"
scopes = ["read:invoices"]
upstream = "own"
${more}`;
  app = await scenario({
    more: [async () => ({ url, stop: async () => { upstream.closeAllConnections(); upstream.close(); } })],
    edit: (text, own) => `${text}\n[upstreams.own]\nurl = "${own}"\n${route('/s/*')}${route('/limited/*', `max_body_bytes = ${SIZE}`)}`,
  });
  token = await demoToken(app.provider.url, '--user', 'alice', '--audience', API, '--scope', 'openid read:invoices');
});
after(() => app.stop());

const open = (path, options = {}) => {
  const { hostname, port } = new URL(app.url);
  return http.request({ agent: false, hostname, port, path, ...options, headers: { ...bearer(token), ...options.headers } });
};
const response = (outgoing) => new Promise((done, fail) => { outgoing.on('response', done); outgoing.on('error', fail); });

/** A line of the host process's status, in bytes. */
const memory = (name) => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${app.gate.pid}/status`, 'utf8'))[1]) * 1024;
const measured = host === 'devhost' && process.platform === 'linux';

/** The host process must not grow by a good part of what passes through it. */
async function atConstantMemory(work) {
  if (!measured) return work();
  // From now on the peak counts anew.
  writeFileSync(`/proc/${app.gate.pid}/clear_refs`, '5');
  const start = memory('VmRSS');
  await work();
  const grown = memory('VmHWM') - start;
  assert.ok(grown < 32 * MEBIBYTE, `${grown} bytes more for ${SIZE}`);
  console.log(`${(start / MEBIBYTE).toFixed(1)} MiB, and ${(grown / MEBIBYTE).toFixed(1)} more at the peak for ${SIZE / MEBIBYTE} MiB`);
  return undefined;
}

test('events: each is with the client before the upstream sends the next', async () => {
  const stream = happens('events');
  const outgoing = open('/s/events');
  outgoing.end();
  const answer = await stream;
  answer.write('data: 0\n\n');
  const incoming = await response(outgoing);
  assert.equal(incoming.headers['content-type'], 'text/event-stream');
  let text = '';
  let next = 1;
  await new Promise((done, fail) => {
    incoming.on('error', fail);
    incoming.on('data', (data) => {
      text += data;
      // Only now is the next one sent.
      if (!text.endsWith(`data: ${next - 1}\n\n`)) return;
      if (next === 20) answer.end();
      else answer.write(`data: ${next}\n\n`);
      next += 1;
    });
    incoming.on('end', done);
  });
  assert.equal(text.split('\n\n').length, 21);
});

async function upload(path) {
  const outgoing = open(path, { method: 'POST', headers: { 'transfer-encoding': 'chunked' } });
  const answer = response(outgoing);
  const expected = createHash('sha256');
  for (let sent = 0; sent < SIZE; sent += chunk.length) {
    expected.update(chunk);
    if (!outgoing.write(chunk)) await new Promise((done) => outgoing.once('drain', done));
  }
  outgoing.end();
  const incoming = await answer;
  let text = '';
  for await (const data of incoming) text += data;
  assert.deepEqual(JSON.parse(text), { size: SIZE, hash: expected.digest('hex') });
}

for (const path of ['/s/upload', '/limited/upload']) {
  test(`a chunked upload of 100 MiB to ${path} takes constant memory`, () => atConstantMemory(() => upload(path)));
}

for (const query of ['', '?length']) {
  test(`a download of 100 MiB takes constant memory${query && ', with its length kept'}`, () =>
    atConstantMemory(async () => {
      const outgoing = open(`/s/download${query}`);
      outgoing.end();
      const incoming = await response(outgoing);
      assert.equal(incoming.headers['content-length'], query ? String(SIZE) : undefined);
      let size = 0;
      for await (const data of incoming) size += data.length;
      assert.equal(size, SIZE);
    }));
}

test('a client that goes away ends the answer at the upstream', async () => {
  const gone = happens('gone');
  const outgoing = open('/s/endless');
  outgoing.end();
  const incoming = await response(outgoing);
  await new Promise((done) => incoming.once('data', done));
  outgoing.destroy();
  await gone;
});

test('a client that breaks off its body breaks off the upstream\'s', async () => {
  const broke = happens('upload broke off');
  const { hostname, port } = new URL(app.url);
  const socket = net.connect(port, hostname);
  socket.write(`POST /s/upload HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\nContent-Length: 1000\r\n\r\nbeginning`);
  await new Promise((done) => upstream.once('request', done));
  socket.destroy();
  await broke;
});

test('an upstream that breaks off ends the client\'s connection', async () => {
  const stream = happens('events');
  const outgoing = open('/s/events');
  outgoing.end();
  const answer = await stream;
  answer.write('data: 0\n\n');
  const incoming = await response(outgoing);
  const ended = new Promise((done) => { incoming.on('error', () => done('error')); incoming.on('end', () => done('end')); });
  incoming.on('data', () => answer.destroy());
  assert.equal(await ended, 'error');
});
