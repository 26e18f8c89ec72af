// What the end-to-end tests share: processes, a gateway per scenario, a plain HTTP client with
// a cookie jar, and drivers for the providers' login pages. No sleeping: every process prints
// a line when it is ready.
//
// AIRSIDE_DEVHOST, AIRSIDE_DEMO: the binaries; AIRSIDE_WASM_DIR: the components;
// AIRSIDE_HOST: devhost (default) or spin. `cargo xtask test` sets them.

import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
export const root = resolve(here, '../..');
const binary = (name, path) => process.env[name] ?? join(root, 'target/native', path);
const devhost = binary('AIRSIDE_DEVHOST', 'airside-devhost');
const demo = binary('AIRSIDE_DEMO', 'airside-demo');
const wasm = process.env.AIRSIDE_WASM_DIR ?? join(root, 'target/wasm32-wasip2/release');
export const host = process.env.AIRSIDE_HOST ?? 'devhost';

export const API = 'https://api.example.com/invoices';
export const SECRET = 'demo secret:%&+';

// A test that fails half-way leaves its processes to this.
const running = new Set();
after(() => running.forEach((child) => child.kill('SIGTERM')));

/** Starts a process and waits for its `Serving http://...` line. */
export async function start(command, args, { env = {}, cwd } = {}) {
  // `spin up` serves from a process of its own, which would outlive it: they are one group.
  const detached = command === 'spin';
  const child = spawn(command, args, {
    cwd,
    detached,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  child.on('exit', () => running.delete(child));
  const log = [];
  const events = [];
  let waiting = [];
  const exited = new Promise((done) => child.on('exit', (code) => done(code)));
  createInterface({ input: child.stderr }).on('line', (line) => {
    log.push(line);
    const text = line.slice(line.indexOf('{'));
    if (!text.startsWith('{"')) return;
    events.push(JSON.parse(text));
    waiting = waiting.filter((retry) => !retry());
  });
  const url = await new Promise((done, fail) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const match = /^Serving (http:\/\/\S+)/.exec(line);
      if (match) done(match[1].replace(/\/$/, ''));
      else log.push(line);
    });
    child.on('error', fail);
    exited.then((code) => fail(new Error(`${command} ended with ${code}:\n${log.join('\n')}`)));
  });
  return {
    url,
    pid: child.pid,
    log,
    /** The airside log lines so far: JSON objects of the components. */
    events,
    /** The first event with `code` after the first `since` ones; waits for it. */
    logged: (code, since = 0) =>
      new Promise((done) => {
        const retry = () => {
          const found = events.slice(since).find((event) => event.code === code);
          if (found) done(found);
          return found !== undefined;
        };
        if (!retry()) waiting.push(retry);
      }),
    stop: async () => {
      child.kill('SIGTERM');
      return exited;
    },
    /** As a machine that loses its power. */
    kill: async () => {
      process.kill(detached ? -child.pid : child.pid, 'SIGKILL');
      return exited;
    },
  };
}

/** A port that was free a moment ago. */
export function freePort() {
  return new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}

export const demoProvider = (gateway, ...more) =>
  start(demo, ['provider', '--listen', '127.0.0.1:0', '--gateway', gateway, ...more], {
    env: { AIRSIDE_DEMO_CLIENT_SECRET: SECRET },
  });

export const upstream = () => start(demo, ['upstream', '--listen', '127.0.0.1:0']);

const script = (name) => (gateway, ...more) =>
  start(process.execPath, [join(here, 'providers', name), '--port', '0', '--gateway', gateway, ...more]);
export const forge = script('forge.mjs');
export const oidcProvider = (gateway, ...more) =>
  script('oidc-provider.mjs')(gateway, '--client-secret', SECRET, ...more);

/** An access or ID token of the demo provider, by its real code flow. */
export function demoToken(provider, ...args) {
  return new Promise((done, fail) => {
    const child = spawn(demo, ['token', '--provider', provider, ...args]);
    let out = '';
    child.stdout.on('data', (data) => (out += data));
    child.stderr.on('data', (data) => process.stderr.write(data));
    child.on('exit', (code) => (code === 0 ? done(out.trim()) : fail(new Error(`token: ${code}`))));
  });
}

/**
 * Starts the gateway with the manifest and configuration at the top of the repository, laid on
 * the given providers. `edit` changes the text of airside.toml and `manifest` that of spin.toml;
 * `origins` are reachable wherever the provider is. With `shares`, another gateway, it is one more
 * machine of the same site: on a port of its own, with the same session keys and the same store.
 * `keys` are session keys of choice, `runtime` changes the text of runtime-config.toml.
 */
export async function gateway({
  port, provider, upstreamUrl, edit = (text) => text, manifest = (text) => text, origins = [], secret = SECRET,
  env: more = {}, args = [], shares, keys: chosen, runtime = (text) => text,
}) {
  const folder = mkdtempSync(join(tmpdir(), 'airside-e2e-'));
  const place = (text) =>
    text
      .replaceAll('http://127.0.0.1:3000', shares?.url ?? `http://127.0.0.1:${port}`)
      .replaceAll('http://127.0.0.1:3001', provider)
      .replaceAll('http://127.0.0.1:3002', upstreamUrl)
      .replaceAll('target/wasm32-wasip2/release', wasm);
  const read = (name) => place(readFileSync(join(root, name), 'utf8'));
  const reachable = [provider, ...origins].map((origin) => `"${origin}"`).join(', ');
  writeFileSync(join(folder, 'spin.toml'), manifest(read('spin.toml').replaceAll(`"${provider}"`, reachable)));
  writeFileSync(join(folder, 'airside.toml'), edit(read('airside.toml')));
  const store = join(shares?.folder ?? folder, '.spin/airside.db');
  writeFileSync(join(folder, 'runtime-config.toml'), runtime(read('runtime-config.toml').replace('.spin/airside.db', store)));
  const keys = chosen ?? shares?.keys ?? `e2e:${randomBytes(32).toString('base64url')}`;
  const env = { SPIN_VARIABLE_SESSION_KEYS: keys, SPIN_VARIABLE_CLIENT_SECRET: secret, ...more };
  const listen = `127.0.0.1:${port}`;
  const files = ['--runtime-config', join(folder, 'runtime-config.toml')];
  const process_ =
    host === 'spin'
      ? await start(
          'spin',
          ['up', '--from', join(folder, 'spin.toml'), '--listen', listen, '--runtime-config-file', files[1]],
          { env, cwd: folder },
        )
      : await start(
          devhost,
          ['--app', join(folder, 'spin.toml'), '--listen', listen, ...files, '--cache-dir', join(wasm, '../devhost-cache'), ...args],
          { env, cwd: folder },
        );
  return {
    ...process_,
    url: `http://127.0.0.1:${port}`,
    folder,
    /** The session keys: with them a test can seal what only airside should. */
    keys,
    stop: async () => {
      const code = await process_.stop();
      if (!args.includes('--stats')) rmSync(folder, { recursive: true, force: true });
      return code;
    },
  };
}

/** The usual scenario: demo provider, sample upstream and gateway. */
export async function scenario({ providerArgs = [], edit = (text) => text, manifest, env, make = demoProvider, more = [], args, keys, runtime } = {}) {
  const port = await freePort();
  const own = `http://127.0.0.1:${port}`;
  const provider = await make(own, ...providerArgs);
  // Further providers; `edit` gets their URLs.
  const others = await Promise.all(more.map((one) => one(own)));
  const origins = others.map((other) => other.url);
  const back = await upstream();
  const laid = (text) => edit(text, ...origins);
  const gate = await gateway({ port, provider: provider.url, upstreamUrl: back.url, edit: laid, manifest, origins, env, args, keys, runtime });
  return {
    gate,
    provider,
    others,
    back,
    url: own,
    stop: async () => {
      await gate.stop();
      for (const one of [provider, ...others, back]) await one.stop();
    },
  };
}

const agent = new http.Agent({ keepAlive: true, maxSockets: 256 });

/** One request, exactly as told; redirects are not followed. */
export function request(url, { method = 'GET', headers = {}, body, path } = {}) {
  const target = new URL(url);
  return new Promise((done, fail) => {
    const outgoing = http.request(
      {
        // A server may close the connection after a body that it did not read.
        agent: body === undefined ? agent : false,
        host: target.hostname,
        port: target.port,
        path: path ?? target.pathname + target.search,
        method,
        headers: { ...(body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }), ...headers },
      },
      (response) => {
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('error', fail);
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString('utf8');
          done({
            status: response.statusCode,
            headers: response.headers,
            raw: response.rawHeaders,
            text,
            json: () => JSON.parse(text),
            cookies: response.headers['set-cookie'] ?? [],
          });
        });
      },
    );
    outgoing.on('error', fail);
    outgoing.end(body);
  });
}

export const NAVIGATE = { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', accept: 'text/html' };
export const bearer = (token) => ({ authorization: `Bearer ${token}` });

/** A browser as far as cookies and redirects go. Cookies are kept per origin. */
export class Browser {
  jars = new Map();

  jar(url) {
    const { origin } = new URL(url);
    if (!this.jars.has(origin)) this.jars.set(origin, new Map());
    return this.jars.get(origin);
  }

  async send(url, options = {}) {
    const jar = this.jar(url);
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
    const headers = { ...NAVIGATE, ...(cookie ? { cookie } : {}), ...options.headers };
    const response = await request(url, { ...options, headers });
    for (const line of response.cookies) {
      const [pair, ...attributes] = line.split('; ');
      const [name, value] = [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)];
      if (attributes.some((text) => /^max-age=0$/i.test(text)) || value === '') jar.delete(name);
      else jar.set(name, value);
    }
    return { ...response, url };
  }

  /** Follows redirects, at most ten, and returns the last answer with all addresses. */
  async go(url, options) {
    const visited = [url];
    let response = await this.send(url, options);
    while (response.status >= 300 && response.status < 400 && response.headers.location) {
      if (visited.length > 10) throw new Error(`a loop: ${visited.join(' ')}`);
      const next = new URL(response.headers.location, visited.at(-1)).href;
      visited.push(next);
      response = await this.send(next);
    }
    return { ...response, visited, url: visited.at(-1) };
  }

  /** Posts the form on a page that has the given button or field value. */
  async submit(page, wanted, fields = {}) {
    const forms = [...page.text.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/g)];
    const form = forms.find(([whole]) => whole.includes(wanted));
    if (!form) throw new Error(`no form with ${wanted} on ${page.url}:\n${page.text}`);
    const attribute = (text, name) =>
      new RegExp(`${name}="([^"]*)"`).exec(text)?.[1].replaceAll('&amp;', '&');
    const body = new URLSearchParams();
    for (const [, input] of form[2].matchAll(/<input\b([^>]*)>/g)) {
      if (attribute(input, 'type') === 'hidden') body.append(attribute(input, 'name'), attribute(input, 'value') ?? '');
    }
    for (const [, button] of form[2].matchAll(/<button\b([^>]*)>/g)) {
      if (attribute(button, 'name') && button.includes(wanted)) body.set(attribute(button, 'name'), attribute(button, 'value') ?? '');
    }
    for (const [name, value] of Object.entries(fields)) body.set(name, value);
    const action = new URL(attribute(form[1], 'action') ?? '', page.url).href;
    const { origin } = new URL(page.url);
    return this.go(action, {
      method: 'POST',
      body: body.toString(),
      headers: { 'content-type': 'application/x-www-form-urlencoded', origin, 'sec-fetch-site': 'same-origin' },
    });
  }
}

/** Logs in at the demo provider as `user`, wanting `path`; returns the page that follows. */
export async function loginAtDemo(browser, gate, path = '/invoices', user = 'alice') {
  const page = await browser.go(gate + path);
  if (page.status !== 200 || !page.text.includes(user)) return page;
  return browser.submit(page, `value="${user}"`);
}

/** Tokens of oidc-provider for its native client, by a code flow of `user`. */
export async function oidcProviderTokens(provider, { user = 'alice', resource = API, scope, ...more }) {
  const verifier = randomBytes(32).toString('base64url');
  const challenge = createHash('sha256').update(verifier).digest('base64url');
  const common = { client_id: 'airside-native', redirect_uri: 'http://127.0.0.1/callback', resource };
  const query = new URLSearchParams({
    ...common, response_type: 'code', scope, code_challenge: challenge, code_challenge_method: 'S256', ...more,
  });
  const browser = new Browser();
  const form = { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' } };
  let next = `${provider}/auth?${query}`;
  while (!next.startsWith(common.redirect_uri)) {
    let page = await browser.send(next);
    if (page.status === 200) {
      const [suffix, body] = page.text.includes('/login"') ? ['login', `login=${user}`] : ['confirm', ''];
      page = await browser.send(`${next}/${suffix}`, { ...form, body });
    }
    if (!page.headers.location) throw new Error(`${next}: ${page.status} ${page.text}`);
    next = new URL(page.headers.location, next).href;
  }
  const code = new URL(next).searchParams.get('code') ?? '';
  const body = new URLSearchParams({ ...common, grant_type: 'authorization_code', code, code_verifier: verifier });
  const answer = await request(`${provider}/token`, { ...form, body: body.toString() });
  if (answer.status !== 200) throw new Error(answer.text);
  return answer.json();
}

/** Logs in at oidc-provider. */
export async function loginAtOidcProvider(browser, gate, path = '/invoices', user = 'alice') {
  let page = await browser.go(gate + path);
  const post = async (suffix, body) =>
    browser.go(`${page.url.replace(/\/$/, '')}/${suffix}`, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    });
  page = await post('login', `login=${user}`);
  if (page.url.includes('/interaction/') || page.text.includes('/confirm')) page = await post('confirm', '');
  return page;
}
