// A store with a million sessions that are over: what the expiry wheel does to it, on the wasm files.
// Filling the store takes most of the time. Only here is it shown that a sweep costs the same
// however much there is, in a real file.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { bearer, forge, freePort, gateway, host, request, scenario } from './harness.mjs';

const RECORDS = 1_000_000;
const HOURS = 20;
const REQUESTS = 200;
/** Slots that a request of `tokens` empties, at most. */
const AT_ONCE = 20;

const edit = (text) =>
  text.replace(
    '[issuers.demo]\n',
    '$&introspection = true\nclient_id = "airside-gate"\nclient_authentication = "client_secret_basic"\nclient_secret_variable = "client_secret"\n',
  );

/** Twenty hours of sessions from `first` on: records, the slots that name them, and the counters. */
const fill = (first) => {
  const each = RECORDS / HOURS;
  const counter = Buffer.alloc(8);
  counter.writeBigInt64LE(BigInt(each));
  const numbers = (end) => `WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ${end - 1})`;
  const insert = "INSERT INTO spin_key_value SELECT 'default',";
  return `PRAGMA synchronous = OFF; BEGIN;
    ${numbers(RECORDS)} ${insert} 'airside/session/' || printf('%07d', i), zeroblob(100) FROM n;
    ${numbers(RECORDS)} ${insert} 'airside/wheel/' || (${first} + i / ${each}) || '/' || (i % ${each} + 1),
      CAST('.airside/session/' || printf('%07d', i) AS BLOB) FROM n;
    ${numbers(HOURS)} ${insert} 'airside/wheel/' || (${first} + i), x'${counter.toString('hex')}' FROM n;
    COMMIT;`;
};

test('a million sessions that are over go, twenty with each request of `tokens`', { skip: host !== 'devhost' }, async () => {
  const app = await scenario({ make: forge, edit });
  const sql = (input) =>
    execFileSync('sqlite3', ['-cmd', '.timeout 20000', join(app.gate.folder, '.spin/airside.db')], { input, encoding: 'utf8' }).trim();
  const count = () => Number(sql("SELECT count(*) FROM spin_key_value WHERE key LIKE 'airside/session/%';"));
  let number = 0;
  /** Milliseconds of a request with an opaque token that nobody knows: one call of `tokens`. */
  const ask = async (url) => {
    number += 1;
    const began = performance.now();
    const answer = await request(`${url}/api/invoices/echo`, { headers: bearer(`opaque-${number}`) });
    assert.equal(answer.status, 401, answer.text);
    return performance.now() - began;
  };
  // The fastest beside the median: many wait 40 ms on loopback for an acknowledgement of TCP.
  const times = async (url) => {
    const all = [];
    for (let n = 0; n < REQUESTS; n += 1) all.push(await ask(url));
    all.sort((a, b) => a - b);
    return `${all[0].toFixed(1)} ms (median ${all[REQUESTS / 2].toFixed(1)})`;
  };
  // From here on there is a wheel, and nothing in it.
  const without = await times(app.url);
  const hour = Math.floor(Date.now() / 3_600_000);
  sql(fill(hour + 1));
  const full = await times(app.url);
  assert.equal(count(), RECORDS, 'nothing is due');
  const later = await gateway({
    port: await freePort(), provider: app.provider.url, upstreamUrl: app.back.url, edit, shares: app.gate,
    args: ['--clock-ahead', `${(HOURS + 2) * 3600}s`],
  });
  const sweeping = await times(later.url);
  const gone = RECORDS - count();
  assert.ok(gone <= REQUESTS * AT_ONCE, `${gone}`);
  // The first hours of the floor are empty, and each costs a turn.
  assert.ok(gone >= (REQUESTS - 2) * AT_ONCE, `${gone}`);
  const slots = Number(sql("SELECT count(*) FROM spin_key_value WHERE key LIKE 'airside/wheel/%/%' AND key NOT LIKE '%head%';"));
  assert.equal(slots, RECORDS - gone, 'each goes with its slot');
  console.log(`a request of tokens: ${without} with an empty store, ${full} with ${RECORDS} records, ${sweeping} while ${gone} of them go`);
  await later.stop();
  await app.stop();
});
