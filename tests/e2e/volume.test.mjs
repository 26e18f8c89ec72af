// Many requests, over many instances, one after another and at once: none may fail.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { API, Browser, bearer, demoToken, host, loginAtDemo, request, scenario } from './harness.mjs';

const COUNT = 10_000;

test(`${COUNT} requests in a row and 64 at a time, with bearer and with cookie`, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'airside-stats-'));
  const stats = join(folder, 'stats.json');
  const app = await scenario({ args: ['--stats', stats] });
  const token = await demoToken(app.provider.url, '--user', 'alice', '--audience', API, '--scope', 'openid read:invoices');
  const browser = new Browser();
  await loginAtDemo(browser, app.url);
  const cookie = [...browser.jar(app.url)].map(([name, value]) => `${name}=${value}`).join('; ');
  const kinds = { bearer: bearer(token), cookie: { cookie } };
  const call = async (headers) => (await request(`${app.url}/api/invoices/`, { headers })).status;

  for (const [name, headers] of Object.entries(kinds)) {
    const bad = [];
    for (let n = 0; n < COUNT; n += 1) {
      const status = await call(headers);
      if (status !== 200) bad.push([n, status]);
    }
    assert.deepEqual(bad, [], name);
    for (let n = 0; n < COUNT / 64; n += 1) {
      const statuses = await Promise.all(Array.from({ length: 64 }, () => call(headers)));
      assert.deepEqual(statuses.filter((status) => status !== 200), [], `${name}, round ${n}`);
    }
  }
  await app.stop();
  rmSync(app.gate.folder, { recursive: true, force: true });
  if (host === 'devhost') {
    const { authorize } = JSON.parse(readFileSync(stats, 'utf8'));
    assert.ok(authorize.instances >= 2 * Math.floor(COUNT / 128), `${authorize.instances} instances`);
    assert.equal(authorize.traps, 0);
    console.log(`authorize: ${JSON.stringify(authorize)}`);
  }
  rmSync(folder, { recursive: true, force: true });
});
