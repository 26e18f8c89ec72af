// A provider that lies on request, for tokens and answers no honest one would give.
//
//   node forge.mjs --port 0 --gateway http://127.0.0.1:3000
//     [--api https://api.example.com/invoices] [--scope 'read:invoices write:invoices']
//
// Prints `Serving http://127.0.0.1:PORT` (the issuer) when ready. Loopback only.
//
// As an issuer: `/.well-known/openid-configuration`, `/jwks`.
// As a mint: `POST /mint` with a description (see mint.mjs) answers with an access token as
// text; `GET /cases` answers {"accepted": {name: token}, "refused": {name: token}} (cases.mjs).
// `node forge.mjs --mint` reads a description on stdin and prints {"token", "jwks"}.
//
// As a login provider: `/authorize` sends every browser straight back to the gateway signed in
// as alice, `/token` answers once for each code. `POST /next` says what is different about the
// next login, each member laid over what is right, `null` taking out:
//   {"authorization": {"iss": "https://x.example"}, "token": {"token_type": null},
//    "id_token": {"claims": {"nonce": "x"}, "alg": "none"}, "token_status": 500}
// `POST /metadata` lays members over the discovery document from now on, `POST /outage` with
// {"/jwks": 503} makes paths fail, {} mends them; `POST /rotate` makes new keys.
// `GET /hits` counts the requests by path.

import { createHash, randomBytes } from 'node:crypto';
import { listen, readBody, readOptions, ready } from './arguments.mjs';
import { accepted, refused } from './cases.mjs';
import { accessToken, generateKeys, idToken, jwks, mint, overlay } from './mint.mjs';

const options = readOptions(
  {
    port: '0',
    api: 'https://api.example.com/invoices',
    scope: 'read:invoices write:invoices',
  },
  { repeated: ['gateway'], flags: ['mint'] },
);
const gateways = options.gateway ?? ['http://127.0.0.1:3000'];
let keys = await generateKeys();

if (options.mint) {
  const base = accessToken('http://127.0.0.1', options.api, options.scope);
  const description = JSON.parse(await readBody(process.stdin));
  console.log(JSON.stringify({ token: mint(keys, base, description), jwks: jwks(keys) }));
  process.exit(0);
}

const { server, origin: issuer } = await listen(options.port);
const base = accessToken(issuer, options.api, options.scope);
const codes = new Map();
const hits = new Map();
let metadata = {};
let next = {};
let outages = {};

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
ready(issuer);

async function answer(request) {
  const url = new URL(request.url, issuer);
  hits.set(url.pathname, (hits.get(url.pathname) ?? 0) + 1);
  if (outages[url.pathname] !== undefined) {
    return { status: outages[url.pathname], body: 'out of order' };
  }
  switch (`${request.method} ${url.pathname}`) {
    case 'GET /.well-known/openid-configuration':
      return { body: overlay(discovery(), metadata) };
    case 'GET /jwks':
      return { body: jwks(keys) };
    case 'POST /mint':
      return { body: mint(keys, base, await readJson(request)) };
    case 'GET /cases':
      return { body: { accepted: minted(accepted), refused: minted(refused) } };
    case 'GET /authorize':
      return authorize(url.searchParams);
    case 'POST /token':
      return token(request, new URLSearchParams(await readBody(request)));
    case 'GET /hits':
      return { body: Object.fromEntries(hits) };
    case 'POST /next':
      next = await readJson(request);
      return { status: 204 };
    case 'POST /metadata':
      metadata = await readJson(request);
      return { status: 204 };
    case 'POST /outage':
      outages = await readJson(request);
      return { status: 204 };
    case 'POST /rotate':
      keys = await generateKeys();
      return { status: 204 };
    default:
      return { status: 404, body: { error: 'not found' } };
  }
}

function discovery() {
  return {
    issuer,
    authorization_endpoint: `${issuer}/authorize`,
    token_endpoint: `${issuer}/token`,
    jwks_uri: `${issuer}/jwks`,
    response_types_supported: ['code'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'],
    code_challenge_methods_supported: ['S256'],
    token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post', 'none'],
    authorization_response_iss_parameter_supported: true,
  };
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
  const code = randomBytes(16).toString('base64url');
  const { authorization = {}, ...rest } = next;
  next = {};
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

function token(request, form) {
  const login = codes.get(form.get('code'));
  codes.delete(form.get('code'));
  const challenge = createHash('sha256').update(form.get('code_verifier') ?? '').digest('base64url');
  if (login === undefined || challenge !== login.query.get('code_challenge')) {
    return { status: 400, body: { error: 'invalid_grant' } };
  }
  if (request.headers.authorization === undefined && form.get('client_id') === null) {
    return { status: 401, body: { error: 'invalid_client' } };
  }
  const { query, token_status: status = 200, access_token: access = {}, id_token: id = {} } = login;
  const access_token = mint(keys, base, access);
  const about = idToken(issuer, query.get('client_id'), query.get('nonce'));
  const right = {
    access_token,
    token_type: 'Bearer',
    expires_in: 300,
    scope: options.scope,
    id_token: mint(keys, about, id),
  };
  const body = overlay(right, login.token ?? {});
  return { status, headers: { 'cache-control': 'no-store' }, body };
}

async function readJson(request) {
  return JSON.parse((await readBody(request)) || '{}');
}
