// What upstreams are shown, on the wasm files: the caller's token, a token of airside's own
// (client_credentials), or one in exchange for the caller's (RFC 8693).

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { bearer, forge, freePort, gateway, oidcProvider, oidcProviderTokens, request, scenario } from './harness.mjs';

const UPSTREAM_API = 'https://billing.example.com';
const SCOPE = 'openid read:invoices write:invoices';
const CLIENT = `client_id = "airside-gate"
client_authentication = "client_secret_basic"
client_secret_variable = "client_secret"
`;
/**
 * The configuration with a client at the issuer, and the upstream of the API shown a credential.
 * The page, which needs a session only, goes to the same address under another name.
 */
const showing = (credential, issuer = '') => (text) =>
  text
    .replace('[issuers.demo]\n', `[issuers.demo]\n${CLIENT}${issuer}`)
    .replace(/(access = "login"\nupstream = )"invoices"/, '$1"pages"')
    .replace(/\[upstreams\.invoices\]\n(url = .*\n)/, `[upstreams.pages]\n$1\n[upstreams.invoices]\n$1${credential}\n`);
const headersOf = (response) => Object.fromEntries(response.json().received?.headers ?? response.json().headers);
const shown = (response) => headersOf(response).authorization;
const claims = (header) => JSON.parse(Buffer.from(header.split('.')[1], 'base64url').toString());
const echo = (app, token, path = '/api/invoices/echo') => request(app.url + path, { headers: bearer(token) });
const hits = async (app, path = '/token') => (await request(`${app.provider.url}/hits`)).json()[path] ?? 0;

test('client_credentials of oidc-provider: one token for all callers and many requests', async () => {
  const app = await scenario({
    make: oidcProvider,
    providerArgs: ['--upstream-api', UPSTREAM_API],
    edit: showing(`credential = "client_credentials"
credential_issuer = "demo"
credential_scopes = ["read:invoices"]
credential_resource = ["${UPSTREAM_API}"]`),
  });
  const tokens = [];
  for (const user of ['alice', 'bob']) {
    tokens.push((await oidcProviderTokens(app.provider.url, { user, scope: SCOPE })).access_token);
  }
  const before = await hits(app);
  const seen = new Set();
  for (let n = 0; n < 20; n += 1) {
    const response = await echo(app, tokens[n % 2]);
    assert.equal(response.status, 200, response.text);
    assert.equal(headersOf(response)['x-forwarded-sub'], n % 2 === 0 ? 'alice' : 'bob');
    seen.add(shown(response));
  }
  assert.equal(seen.size, 1);
  const [header] = seen;
  assert.match(header, /^Bearer ey/);
  const { aud, client_id: client, scope } = claims(header);
  assert.deepEqual([aud, client, scope], [UPSTREAM_API, 'airside-gate', 'read:invoices']);
  assert.equal(await hits(app), before + 1);
  // Nobody borrows it without a check.
  assert.equal((await request(`${app.url}/`)).status, 200);
  assert.equal((await request(`${app.url}/api/invoices/echo`)).status, 401);
  assert.equal(await hits(app), before + 1);
  // Neither the log nor an answer shows it.
  const token = header.replace('Bearer ', '');
  assert.ok(app.gate.log.every((line) => !line.includes(token)));
  await app.stop();
});

test('token exchange of oidc-provider: each caller\'s opaque token for one of their own', async () => {
  const edit = showing(
    `credential = "token_exchange"
credential_issuer = "demo"
credential_scopes = ["read:invoices"]
credential_resource = ["${UPSTREAM_API}"]`,
    'introspection = true\n',
  );
  const app = await scenario({
    make: oidcProvider,
    providerArgs: ['--access-token-format', 'opaque', '--upstream-api', UPSTREAM_API],
    edit,
  });
  const users = {};
  for (const user of ['alice', 'bob', 'alice', 'bob']) {
    const { access_token: token } = await oidcProviderTokens(app.provider.url, { user, scope: SCOPE });
    users[token] = user;
  }
  const callers = Object.entries(users);
  assert.equal(callers.length, 4);
  // All at once, several times each.
  const answers = await Promise.all(
    Array.from({ length: 60 }, async (_, n) => {
      const [token, user] = callers[n % callers.length];
      return { token, user, response: await echo(app, token) };
    }),
  );
  const bySubject = new Map(callers.map(([token]) => [token, new Set()]));
  for (const { token, user, response } of answers) {
    assert.equal(response.status, 200, response.text);
    const header = shown(response);
    assert.ok(!header.includes(token), 'not the caller\'s own');
    const { sub, aud, client_id: client } = claims(header);
    assert.deepEqual([sub, aud, client], [user, UPSTREAM_API, 'airside-gate']);
    assert.equal(headersOf(response)['x-forwarded-sub'], user);
    bySubject.get(token).add(header);
  }
  // No token was shown for two callers, not even for two tokens of one person.
  const all = [...bySubject.values()].flatMap((set) => [...set]);
  assert.equal(new Set(all).size, all.length);
  // Another machine finds them in the store, each for its caller.
  const asked = await hits(app);
  const twin = await gateway({
    port: await freePort(), provider: app.provider.url, upstreamUrl: app.back.url, edit, shares: app.gate,
  });
  for (const [token, user] of callers) {
    const header = shown(await echo(twin, token));
    assert.ok(bySubject.get(token).has(header), `of ${user}`);
  }
  assert.equal(await hits(app), asked);
  console.log(`60 requests of 4 callers: ${asked - 4} exchanges; 4 requests to another machine: none`);
  await twin.stop();
  await app.stop();
});

describe('an issuer that does what it is told', () => {
  const GRANTS = [
    ['client_credentials', 'credential_audience = "billing"'],
    ['token_exchange', 'credential_audience = "billing"'],
  ];
  for (const [grant, rest] of GRANTS) {
    describe(grant, () => {
      let app, token;
      before(async () => {
        const credential = `credential = "${grant}"\ncredential_issuer = "demo"\n${rest}`;
        // An upstream that counts: the forge itself.
        const counted = (text) => `${showing(credential)(text)}
[upstreams.counted]
url = ${/^issuer = (".*")$/m.exec(text)[1]}
${credential}

[[routes]]
path = "/counted"
access = "token"
issuer = "demo"
audience = "https://api.example.com/invoices"
upstream = "counted"

[[routes]]
path = "/counted/"
access = "token"
issuer = "demo"
audience = "https://api.example.com/invoices"
upstream = "counted"
`;
        app = await scenario({ make: forge, edit: counted });
        token = (await request(`${app.provider.url}/cases`)).json().accepted.good;
      });
      after(() => app.stop());
      const tell = (answer) =>
        request(`${app.provider.url}/answers`, { method: 'POST', body: JSON.stringify({ grant: answer }) });

      test('a failure is closed: the upstream is not asked', async () => {
        const exchanged = { members: { issued_token_type: 'urn:ietf:params:oauth:token-type:jwt' } };
        for (const [answer, status, code] of [
          [{ status: 500 }, 503, 'upstream_credential_unavailable'],
          [{ status: 400, body: { error: 'invalid_scope' } }, 502, 'upstream_credential_refused'],
          [{ status: 401, body: { error: 'invalid_client' } }, 502, 'upstream_credential_refused'],
          [{ body: 'nonsense' }, 502, 'upstream_credential_refused'],
          [{ members: { token_type: 'DPoP' } }, 502, 'upstream_credential_refused'],
          [{ members: { access_token: null } }, 502, 'upstream_credential_refused'],
          ...(grant === 'token_exchange' ? [[exchanged, 502, 'upstream_credential_refused']] : []),
          [{ hang: true }, 503, 'upstream_credential_unavailable'],
        ]) {
          await tell(answer);
          const response = await echo(app, token, '/counted');
          assert.equal(response.status, status, `${JSON.stringify(answer)}: ${response.text}`);
          assert.equal(response.json().code, code);
          assert.equal(response.headers['retry-after'], status === 503 ? '10' : undefined);
        }
        assert.equal(await hits(app, '/counted'), 0);
        await tell({});
        assert.equal((await echo(app, token, '/counted')).status, 404, 'there is nothing, but it was asked');
        assert.equal(await hits(app, '/counted'), 1);
      });

      test('a token that ends at once is not used again, one that lives is', async () => {
        const subject = grant === 'token_exchange' ? token : 'machine';
        await tell({ members: { expires_in: 1 } });
        const before = await hits(app);
        const short = [];
        for (let n = 0; n < 3; n += 1) short.push(shown(await echo(app, token)));
        assert.equal(await hits(app), before + 3);
        assert.equal(new Set(short).size, 3);
        assert.ok(short.every((header) => header.startsWith(`Bearer billing.${subject}.`)), short.join('\n'));
        await tell({});
        const long = new Set();
        for (let n = 0; n < 10; n += 1) long.add(shown(await echo(app, token)));
        assert.equal(long.size, 1);
        assert.equal(await hits(app), before + 4);
      });
    });
  }
});

test('the caller\'s own token, and by default none', async () => {
  for (const [credential, expected] of [
    ['credential = "access_token"', true],
    ['credential = "none"', false],
  ]) {
    const app = await scenario({ make: forge, edit: showing(credential) });
    const token = (await request(`${app.provider.url}/cases`)).json().accepted.good;
    const response = await echo(app, token);
    assert.equal(response.status, 200, response.text);
    assert.equal(shown(response), expected ? `Bearer ${token}` : undefined);
    await app.stop();
  }
});
