// A provider that lies on request, for tokens and answers no honest one would give.
//
//   node forge.mjs --port 0 --gateway http://127.0.0.1:3000
//     [--api https://api.example.com/invoices] [--scope 'read:invoices write:invoices']
//
// Prints `Serving http://127.0.0.1:PORT` (an issuer) when ready. Loopback only. Under
// `/as/NAME` is another issuer of any name, with a state of its own: all paths below are there
// as well.
//
// As an issuer: `/.well-known/openid-configuration`, `/jwks` and whatever begins so.
// As a mint: `POST /mint` with a description (see mint.mjs) answers with an access token as
// text, `POST /logout-token` with a logout token for `airside-forge`; `GET /cases` answers
// {"accepted": {name: token}, "refused": {name: token}} (cases.mjs).
// `node forge.mjs --mint` reads a description on stdin and prints {"token", "jwks"}.
//
// As a login provider: `/authorize` sends every browser straight back to the gateway signed in
// as alice, `/token` answers once for each code, `/userinfo` for the access tokens of `/token`.
// `POST /next` says what is different about the next login, each member laid over what is
// right, `null` taking out:
//   {"authorization": {"iss": "https://x.example"}, "code_length": 9000,
//    "token": {"token_type": null}, "token_status": 500, "rotate": true (just before signing),
//    "id_token": {"claims": {"nonce": "x"}, "alg": "none"},
//    "userinfo": {"claims": {"sub": "x"}, "signed": {"alg": "ES256"}, "status": 500,
//                 "body": "as it is", "type": "text/html"}}
// `POST /metadata` lays members over the discovery document from now on, `POST /keys` says
// which keys are published (see `jwks` in mint.mjs), `POST /outage` with {"/jwks": 503} makes
// paths fail, {} mends them; `POST /rotate` makes new keys.
// To machines it answers as machine.mjs says: `/introspect`, and `/token` for other grants.
// With `offline_access` there are refresh tokens: see rotation.mjs, which has paths of its own.
// `GET /hits` counts the requests by path, `GET /seen` has the last one of each.

import { createHash, randomBytes } from 'node:crypto';
import { listen, readBody, readOptions, ready } from './arguments.mjs';
import { accepted, refused } from './cases.mjs';
import { machine } from './machine.mjs';
import {
  PERSON, accessToken, atHash, generateKeys, idToken, jwks, logoutToken, mint, overlay, userInfo,
} from './mint.mjs';
import { rotation } from './rotation.mjs';

const options = readOptions(
  {
    port: '0',
    api: 'https://api.example.com/invoices',
    scope: 'read:invoices write:invoices',
  },
  { repeated: ['gateway'], flags: ['mint'] },
);
const gateways = options.gateway ?? ['http://127.0.0.1:3000'];
// All issuers begin with the same keys: making them takes a second.
const firstKeys = await generateKeys();

if (options.mint) {
  const base = accessToken('http://127.0.0.1', options.api, options.scope);
  const description = JSON.parse(await readBody(process.stdin));
  console.log(JSON.stringify({ token: mint(firstKeys, base, description), jwks: jwks(firstKeys) }));
  process.exit(0);
}

const { server, origin } = await listen(options.port);
const authorities = new Map();

server.on('request', (request, response) => {
  answer(request)
    .catch((error) => ({ status: 400, body: { error: error.message } }))
    .then(({ status = 200, headers = {}, body = '' }) => {
      const text = typeof body === 'string' ? body : JSON.stringify(body);
      const type = typeof body === 'string' ? 'text/plain' : 'application/json';
      response.writeHead(status, {
        'content-type': type,
        'content-length': Buffer.byteLength(text),
        ...headers,
      });
      response.end(text);
    });
});
ready(origin);

async function answer(request) {
  const [, prefix, path] = /^((?:\/as\/[^/?]+)?)(.*)$/.exec(request.url);
  const issuer = origin + prefix;
  if (!authorities.has(issuer)) authorities.set(issuer, authority(issuer));
  const body = request.method === 'POST' ? await readBody(request) : '';
  return authorities.get(issuer).answer(request, new URL(path, origin), body);
}

/** One issuer. */
function authority(issuer) {
  const base = accessToken(issuer, options.api, options.scope);
  const codes = new Map();
  const granted = new Map();
  const hits = new Map();
  const seen = new Map();
  const machines = machine();
  const refreshTokens = rotation();
  let keys = firstKeys;
  let metadata = {};
  let next = {};
  let outages = {};
  let published;

  const rotate = async () => {
    keys = await generateKeys();
  };

  async function answer(request, url, body) {
    const { method, headers } = request;
    hits.set(url.pathname, (hits.get(url.pathname) ?? 0) + 1);
    seen.set(url.pathname, { method, headers, query: url.search, body });
    if (outages[url.pathname] !== undefined) {
      return { status: outages[url.pathname], body: 'out of order' };
    }
    if (method === 'GET' && url.pathname.startsWith('/jwks')) {
      return { body: jwks(keys, published) };
    }
    const told = () => JSON.parse(body || '{}');
    const steered = await refreshTokens.answer(`${method} ${url.pathname}`, told);
    if (steered !== undefined) return steered;
    switch (`${method} ${url.pathname}`) {
      case 'GET /.well-known/openid-configuration':
        return { body: overlay(discovery(issuer), metadata) };
      case 'POST /mint':
        return { body: mint(keys, base, told()) };
      case 'POST /logout-token':
        return { body: mint(keys, logoutToken(issuer, 'airside-forge'), described(told())) };
      case 'GET /cases':
        return { body: { accepted: minted(accepted), refused: minted(refused) } };
      case 'GET /authorize':
        return authorize(url.searchParams);
      case 'POST /token': {
        const form = new URLSearchParams(body);
        switch (form.get('grant_type')) {
          case 'authorization_code':
            return token(headers, form);
          case 'refresh_token':
            return refreshTokens.refresh(request, form, refreshed);
          default:
            return machines.grant(form);
        }
      }
      case 'POST /introspect':
        return machines.introspect(new URLSearchParams(body));
      case 'POST /answers':
        return machines.tell(told());
      case 'GET /userinfo':
        return userinfo(headers);
      case 'GET /hits':
        return { body: Object.fromEntries(hits) };
      case 'GET /seen':
        return { body: Object.fromEntries(seen) };
      case 'POST /next':
        next = told();
        return { status: 204 };
      case 'POST /metadata':
        metadata = told();
        return { status: 204 };
      case 'POST /keys':
        published = told();
        return { status: 204 };
      case 'POST /outage':
        outages = told();
        return { status: 204 };
      case 'POST /rotate':
        await rotate();
        return { status: 204 };
      default:
        return { status: 404, body: { error: 'not found' } };
    }
  }

  function minted(table) {
    const tokens = {};
    for (const [name, description] of Object.entries(table(options.api))) {
      tokens[name] = mint(keys, base, described(description));
    }
    return tokens;
  }

  /** Fills in what a table cannot know. */
  function described(description) {
    if (description.header?.jwk !== 'OTHER_PUBLIC_JWK') {
      return description;
    }
    const { kid, ...jwk } = keys[description.alg ?? 'RS256'].other.publicJwk;
    return { ...description, header: { ...description.header, jwk } };
  }

  function authorize(query) {
    const redirectUri = query.get('redirect_uri') ?? '';
    // Lies, but to the gateway only.
    if (!gateways.some((gateway) => redirectUri.startsWith(`${gateway}/auth/callback`))) {
      return { status: 400, body: { error: 'not a gateway of this forge' } };
    }
    const { authorization = {}, code_length: length = 22, ...rest } = next;
    next = {};
    const code = randomBytes(16).toString('base64url').padEnd(length, 'x');
    codes.set(code, { query, ...rest });
    const parameters = overlay({ code, state: query.get('state'), iss: issuer }, authorization);
    const location = new URL(redirectUri);
    for (const [name, value] of Object.entries(parameters)) {
      for (const one of [value].flat()) {
        location.searchParams.append(name, one);
      }
    }
    return { status: 303, headers: { location: location.href } };
  }

  async function token(headers, form) {
    const login = codes.get(form.get('code'));
    codes.delete(form.get('code'));
    const challenge = createHash('sha256').update(form.get('code_verifier') ?? '').digest('base64url');
    if (login === undefined || challenge !== login.query.get('code_challenge')) {
      return { status: 400, body: { error: 'invalid_grant' } };
    }
    if (headers.authorization === undefined && form.get('client_id') === null) {
      return { status: 401, body: { error: 'invalid_client' } };
    }
    if (login.rotate) {
      await rotate();
    }
    const { query, token_status: status = 200, access_token: access = {}, id_token: id = {} } = login;
    const access_token = mint(keys, base, access);
    const clientId = query.get('client_id');
    const hash = atHash(id.alg, access_token);
    const right = {
      access_token,
      token_type: 'Bearer',
      expires_in: 300,
      scope: options.scope,
      id_token: mint(keys, idToken(issuer, clientId, query.get('nonce'), hash), described(id)),
    };
    granted.set(access_token, { clientId, ...login.userinfo });
    if (query.get('scope')?.split(' ').includes('offline_access')) {
      right.refresh_token = refreshTokens.begin({ clientId, nonce: query.get('nonce') });
    }
    const body = overlay(right, login.token ?? {});
    return { status, headers: { 'cache-control': 'no-store' }, body };
  }

  /** What a refresh gives: tokens of the same person, who has another name by now. */
  function refreshed({ clientId, nonce }, told) {
    const access_token = mint(keys, base, {});
    const claims = { name: 'Alice Renamed', auth_time: null, ...told };
    const id = idToken(issuer, clientId, nonce, atHash(undefined, access_token));
    return { access_token, token_type: 'Bearer', expires_in: 300, id_token: mint(keys, id, { claims }) };
  }

  function userinfo(headers) {
    const bearer = /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1];
    if (!granted.has(bearer)) {
      return { status: 401, headers: { 'www-authenticate': 'Bearer error="invalid_token"' } };
    }
    const { clientId, claims = {}, signed, status = 200, body, type } = granted.get(bearer);
    const right = signed
      ? mint(keys, userInfo(issuer, clientId), described({ ...signed, claims }))
      : JSON.stringify(overlay(PERSON, claims));
    const usual = signed ? 'application/jwt' : 'application/json';
    return { status, headers: { 'content-type': type ?? usual }, body: body ?? right };
  }

  return { answer };
}

function discovery(issuer) {
  return {
    issuer,
    authorization_endpoint: `${issuer}/authorize`,
    token_endpoint: `${issuer}/token`,
    introspection_endpoint: `${issuer}/introspect`,
    userinfo_endpoint: `${issuer}/userinfo`,
    jwks_uri: `${issuer}/jwks`,
    response_types_supported: ['code'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'],
    code_challenge_methods_supported: ['S256'],
    token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post', 'none'],
    authorization_response_iss_parameter_supported: true,
  };
}
