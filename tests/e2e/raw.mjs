// HTTP without a client that knows better: requests byte for byte, and upstreams that answer byte
// for byte.

import net from 'node:net';
import { after } from 'node:test';

const servers = new Set();
after(() => servers.forEach((server) => server.close()));

/** Sends `text` as it is and returns all that comes back until the connection ends. */
export function exchange(url, text) {
  const { port, hostname } = new URL(url);
  return new Promise((done, fail) => {
    const socket = net.connect(port, hostname, () => socket.write(text));
    let answer = '';
    socket.setEncoding('latin1');
    socket.on('data', (data) => (answer += data));
    socket.on('error', (error) => (answer ? done(parsed(answer)) : fail(error)));
    socket.on('close', () => done(parsed(answer)));
  });
}

/** The same for a list of header lines; the connection ends after the answer. */
export const send = (url, { method = 'GET', target = '/', headers = [], body = '', host = new URL(url).host }) =>
  exchange(url, [`${method} ${target} HTTP/1.1`, ...(host === null ? [] : [`Host: ${host}`]), 'Connection: close', ...headers, '', body].join('\r\n'));

function parsed(text) {
  const [head, ...rest] = text.split('\r\n\r\n');
  const [status, ...lines] = head.split('\r\n');
  const headers = lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]);
  return {
    status: Number(/^HTTP\/1\.1 (\d+)/.exec(status)?.[1]),
    headers,
    header: (name) => headers.find(([one]) => one === name)?.[1],
    all: (name) => headers.filter(([one]) => one === name).map(([, value]) => value),
    body: rest.join('\r\n\r\n'),
    text,
  };
}

/**
 * An upstream that hands each request to `answer({ line, method, target, headers, body, socket })`
 * once its head, and a body of known length, are there. What `answer` returns is written as it is,
 * and the connection then closed, unless it returns nothing.
 */
export async function rawUpstream(answer) {
  const server = net.createServer((socket) => {
    let text = '';
    let asked = false;
    socket.setEncoding('latin1');
    socket.on('error', () => {});
    socket.on('data', async (data) => {
      text += data;
      const end = text.indexOf('\r\n\r\n');
      if (end < 0 || asked) return;
      const [line, ...lines] = text.slice(0, end).split('\r\n');
      const headers = lines.map((one) => [one.slice(0, one.indexOf(':')), one.slice(one.indexOf(':') + 1).trim()]);
      const length = Number(headers.find(([name]) => /^content-length$/i.test(name))?.[1] ?? 0);
      if (text.length < end + 4 + length) return;
      asked = true;
      const [method, target] = line.split(' ');
      const written = await answer({ line, method, target, headers, body: text.slice(end + 4), socket });
      if (written !== undefined) socket.end(written);
    });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  servers.add(server);
  return { url: `http://127.0.0.1:${server.address().port}`, stop: async () => server.close() };
}

/** A whole answer with a JSON body. */
export function json(value, { status = '200 OK', headers = [] } = {}) {
  const body = JSON.stringify(value);
  return [`HTTP/1.1 ${status}`, 'Content-Type: application/json', `Content-Length: ${Buffer.byteLength(body)}`, ...headers, '', body].join('\r\n');
}

/** An upstream that answers every request with what it got: the request line, and a list of headers. */
export const echo = () =>
  rawUpstream(({ line, method, target, headers }) => json({ line, method, target, headers }));
