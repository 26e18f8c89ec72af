// Debian's redis-server for the tests that share a store, started by them, on loopback and in a
// folder of its own; and the block of runtime-config.toml that points at it.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after } from 'node:test';
import { freePort } from './harness.mjs';

const running = new Set();
after(() => running.forEach((child) => child.kill('SIGKILL')));

/** A server on `port`, with what `folder` remembers from another one; every write is on disk before it is answered. */
export async function redis({ port, folder = mkdtempSync(join(tmpdir(), 'airside-redis-')), durable = true } = {}) {
  const own = port ?? (await freePort());
  const keeps = durable ? ['--appendonly', 'yes', '--appendfsync', 'always'] : ['--appendonly', 'no'];
  const child = spawn('redis-server', ['--port', String(own), '--bind', '127.0.0.1', '--save', '', ...keeps], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = new Promise((done) => child.on('exit', done));
  running.add(child);
  child.on('exit', () => running.delete(child));
  await new Promise((done, fail) => {
    child.on('error', () => fail(new Error('redis-server: apt-get install redis-server')));
    exited.then(() => fail(new Error('redis-server ended')));
    createInterface({ input: child.stdout }).on('line', (line) => /ready to accept/i.test(line) && done());
  });
  const kill = async () => {
    child.kill('SIGKILL');
    return exited;
  };
  return {
    port: own,
    /** As a machine that loses its power. */
    kill,
    /** The same server again, on its port and with its data. */
    again: () => redis({ port: own, folder, durable }),
    stop: async () => {
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
    ask: (...command) => execFileSync('redis-cli', ['-p', String(own), ...command], { encoding: 'utf8' }).trim(),
    /** The keys that begin so. */
    keys(prefix) {
      return this.ask('KEYS', `${prefix}*`).split('\n').filter(Boolean);
    },
    /** The block of runtime-config.toml for many machines, uncommented, at this server. */
    runtime(text) {
      const [, block] = text.split('# Many machines: share one Redis instead. Replace the block above by this one.\n');
      const uncommented = block.replaceAll(/^# /gm, '').replace('redis://127.0.0.1:6379', `redis://127.0.0.1:${own}`);
      assert.match(uncommented, /^\[key_value_store.default\]\ntype = "redis"\nurl = /);
      return uncommented;
    },
  };
}
