// A signature is verified once for all instances: every request here is an instance of its own.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { API, bearer, demoToken, host, request, scenario } from './harness.mjs';

// A check of an ES256 signature takes some 20 million instructions, all the rest of a first request two.
const SIGNATURE = 10_000_000;

test('the signature of a token is verified by few instances, and its scope by each', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'airside-vouched-'));
  const stats = join(folder, 'stats.json');
  const counted = host === 'devhost' ? ['--instructions', '--stats', stats] : [];
  const app = await scenario({ args: ['--max-instance-reuse-count', '1', ...counted] });
  const token = (...scope) => demoToken(app.provider.url, '--user', 'alice', '--alg', 'ES256', '--audience', API, '--scope', ...scope);
  const [good, poor] = [await token('openid read:invoices'), await token('openid')];
  const call = async (headers) => (await request(`${app.url}/api/invoices/`, { headers })).status;

  let requests = 0;
  while (requests < 20) {
    assert.equal(await call(bearer(good)), 200);
    assert.equal(await call(bearer(poor)), 403);
    requests += 2;
  }
  // The last that counts: what comes after it may still be under way when the counters are written.
  for (let n = 0; n < 5; n += 1) {
    assert.equal(await call(bearer(good)), 200);
    assert.equal(await call(bearer(poor)), 403);
  }
  // Of another token that ends alike nobody vouches.
  const changed = good.replace(/^[^.]+\.[^.]+/, (signed) => `${signed.slice(0, -1)}${signed.endsWith('A') ? 'B' : 'A'}`);
  assert.equal(await call(bearer(changed)), 401);
  await app.stop();
  rmSync(app.gate.folder, { recursive: true, force: true });
  if (host === 'devhost') {
    const { authorize } = JSON.parse(readFileSync(stats, 'utf8'));
    const checks = authorize.instructions.map((count) => count > SIGNATURE);
    const verified = checks.filter(Boolean).length;
    assert.ok(verified >= 2, `${verified}: each token by somebody`);
    // The changed one, whose claims may not even be readable, is the only late one.
    const late = checks.slice(-20).filter(Boolean).length;
    assert.ok(late <= 1, `${late} of the last`);
    console.log(`${requests} requests, ${verified} signatures verified`);
  }
  rmSync(folder, { recursive: true, force: true });
});
