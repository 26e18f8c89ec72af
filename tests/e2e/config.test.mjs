// The configuration's file, which the host hands over in pieces of 64 kB.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { request, scenario } from './harness.mjs';

const LAST = '\n[[routes]]\npath = "/last/*"\naccess = "login"\nupstream = "invoices"\n';
const PIECE = 64 * 1024;

/** As long as told: what is missing is a comment in front of the last route. */
const long = (length) => (text) => `${text}\n#`.padEnd(length - LAST.length, 'x') + LAST;

test('it is read to its end, whatever its length', async () => {
  for (const length of [PIECE - 1, PIECE, PIECE + 1, 4 * PIECE, 9 * PIECE + 1]) {
    let laid;
    const app = await scenario({ edit: (text) => (laid = long(length)(text)) });
    assert.equal(Buffer.byteLength(laid), length);
    const code = async (path) => (await request(app.url + path)).json().code;
    // At the end of the last piece, by each component: login would begin one for it.
    assert.equal(await code('/last/one'), 'no_credential', `${length}`);
    assert.equal(await code('/lost'), 'no_route', `${length}`);
    const headers = { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' };
    const login = await request(`${app.url}/auth/login?return_to=/last/one`, { headers });
    assert.equal(new URL(login.headers.location).origin, app.provider.url, `${length}`);
    await app.stop();
  }
});

test('what is wrong at its end is found there', async () => {
  const app = await scenario({ edit: (text) => long(5 * PIECE)(text).replace(/"invoices"\n$/, '"invoice"\n') });
  assert.equal((await request(`${app.url}/`)).status, 500);
  const { message } = await app.gate.logged('config_invalid');
  assert.match(message, /routes\[\d+\]\.upstream/);
  await app.stop();
});

test('ten thousand routes: each leads where it says, the last as the first', async () => {
  const route = (number) =>
    `\n[[routes]]\npath = "/grown/${number % 100}/${number}/*"\naccess = "login"\nupstream = "invoices"\n`;
  const many = Array.from({ length: 10_000 }, (_, number) => route(number)).join('');
  const app = await scenario({ edit: (text) => text + many });
  const code = async (path) => (await request(app.url + path)).json().code;
  for (const path of ['/grown/0/0', '/grown/1/5001/a', '/grown/99/9999', '/grown/99/9999/a/b']) {
    assert.equal(await code(path), 'no_credential', path);
  }
  for (const path of ['/grown/99', '/grown/98/9999', '/grown/99/99990', '/grown/0/10000']) {
    assert.equal(await code(path), 'no_route', path);
  }
  assert.equal((await request(`${app.url}/`)).status, 200);
  await app.stop();
});

test('without the file nothing is let through', async () => {
  const app = await scenario({ manifest: (text) => text.replaceAll('files = ["airside.toml"]', 'files = ["runtime-config.toml"]') });
  for (const path of ['/', '/invoices', '/auth/login']) {
    assert.equal((await request(app.url + path)).status, 500, path);
  }
  await app.gate.logged('config_unreadable');
  await app.stop();
});
