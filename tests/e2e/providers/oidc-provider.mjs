// The certified `oidc-provider` as a provider that airside did not write.
//
//   node oidc-provider.mjs --port 0 --gateway http://127.0.0.1:3000 --client-secret S
//     [--api URL] [--id-token-alg RS256] [--access-token-alg RS256]
//     [--access-token-format jwt|opaque] [--access-token-seconds 300]
//     [--skip-consent] [--userinfo-claims] [--backchannel sid|sub] [--upstream-api URL]
//     [--require-par] [--client-jwk JSON] [--assertion-audience issuer|token_endpoint]
//     [--assertion-seconds 60]
//
// Prints `Serving http://127.0.0.1:PORT` (the issuer) when ready. Loopback only, no passwords,
// everything in memory.
//
// - Clients: `airside-basic` (client_secret_basic), `airside-post` (client_secret_post),
//   `airside-public` (none, the gateway's redirect URIs), `airside-native` (none, any port of
//   `http://127.0.0.1/callback`), `airside-machine` (client_credentials), `airside-gate`
//   (client_credentials and token exchange; may introspect every token, as all clients may),
//   `airside-jwt` (private_key_jwt, keys from `jwks_uri` at the gateway), `airside-jwt-inline`
//   (the same with the public key of `--client-jwk`).
// - Client assertions need exactly the `aud` of `--assertion-audience` and may live as long as
//   `--assertion-seconds`.
// - `--upstream-api` is another resource, whose access tokens are always JWTs.
// - Token exchange (RFC 8693) takes access tokens that are opaque, for the resource asked for.
// - Access tokens are JWTs for the API when `resource` names it (RFC 8707), opaque otherwise;
//   `audience` means nothing here, as at many providers.
// - Users: alice (all scopes of the API), bob (those that begin with `read:`), carol (none);
//   any other name signs in with no scopes.
// - Signing in: `POST <login page's address>/login` with `login=alice`, then
//   `POST <consent page's address>/confirm`, both plain forms; `/abort` refuses.
// - With `--backchannel` a logout here ends the web clients' sessions by a logout token, with
//   `sub` alone or with `sid` too (then ID tokens have one as well).
// - `GET /hits` counts the requests by path.
// - Refresh tokens need the scope `offline_access` and `prompt=consent`, and rotate.

import { randomBytes } from 'node:crypto';
import { exportJWK, generateKeyPair } from 'jose';
import Provider, { errors } from 'oidc-provider';
import { listen, readBody, readOptions, ready, stop } from './arguments.mjs';

const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'];
const API_SCOPES = ['read:invoices', 'write:invoices'];
const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const PEOPLE = {
  alice: { name: 'Alice Liddell', email: 'alice@example.com', may: () => true },
  bob: { name: 'Bob Cratchit', email: 'bob@example.com', may: (scope) => scope.startsWith('read:') },
  carol: { name: 'Carol Kennicott', email: 'carol@example.com', may: () => false },
};

// The package gives its notices on stdout, where only the address belongs.
console.info = console.error;

const options = readOptions(
  {
    port: '0',
    'client-secret': '',
    api: 'https://api.example.com/invoices',
    'id-token-alg': 'RS256',
    'access-token-alg': 'RS256',
    'access-token-format': 'jwt',
    'access-token-seconds': '300',
    backchannel: '',
    'upstream-api': '',
    'assertion-audience': 'issuer',
    'assertion-seconds': '60',
    'client-jwk': '',
  },
  { repeated: ['gateway'], flags: ['skip-consent', 'userinfo-claims', 'require-par'] },
);
const gateways = options.gateway ?? ['http://127.0.0.1:3000'];
const secret = options['client-secret'];
const accessTokenSeconds = Number(options['access-token-seconds']);
for (const name of ['id-token-alg', 'access-token-alg']) {
  if (!ALGORITHMS.includes(options[name])) {
    stop(`--${name} is one of ${ALGORITHMS.join(', ')}`);
  }
}
if (!['jwt', 'opaque'].includes(options['access-token-format'])) {
  stop('--access-token-format is jwt or opaque');
}
if (!['', 'sid', 'sub'].includes(options.backchannel)) {
  stop('--backchannel is sid or sub');
}
if (!Number.isSafeInteger(accessTokenSeconds) || accessTokenSeconds < 1) {
  stop('--access-token-seconds is a number of seconds');
}

if (!['issuer', 'token_endpoint'].includes(options['assertion-audience'])) {
  stop('--assertion-audience is issuer or token_endpoint');
}

const { server, origin: issuer } = await listen(options.port);
const assertionAudience = options['assertion-audience'] === 'issuer' ? issuer : `${issuer}/token`;
const provider = new Provider(issuer, {
  clients: clients(),
  jwks: { keys: await Promise.all(ALGORITHMS.map(signingKey)) },
  cookies: { keys: [randomBytes(32).toString('hex')] },
  claims: { openid: ['sub'], profile: ['name'], email: ['email', 'email_verified'] },
  // The specification's way with the code flow is that they come from userinfo alone; the
  // package keeps to it only where the access token opens userinfo, that is without `resource`.
  conformIdTokenClaims: options['userinfo-claims'] ?? false,
  enabledJWA: { idTokenSigningAlgValues: ALGORITHMS },
  // The package's own refuses loopback, where the gateways are, and is not patient.
  fetch: (url, { dispatcher, ...rest }) =>
    globalThis.fetch(url, { ...rest, signal: AbortSignal.timeout(20_000) }),
  assertJwtClientAuthClaimsAndHeader,
  clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
  findAccount,
  features: {
    backchannelLogout: { enabled: options.backchannel !== '' },
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    introspection: { enabled: true, allowedPolicy: () => true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo,
      // A client may leave `resource` out at the token endpoint when it named one before.
      useGrantedResource: () => true,
    },
    pushedAuthorizationRequests: {
      enabled: true,
      requirePushedAuthorizationRequests: options['require-par'] ?? false,
    },
    revocation: { enabled: true },
    rpInitiatedLogout: { enabled: true, logoutSource, postLogoutSuccessSource },
    userinfo: { enabled: true },
  },
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  pkce: { required: () => true },
  responseTypes: ['code'],
  renderError,
  rotateRefreshToken: true,
  ttl: {
    AccessToken: accessTokenSeconds,
    ClientCredentials: accessTokenSeconds,
    Grant: 86_400,
    IdToken: 300,
    Interaction: 600,
    RefreshToken: 86_400,
    Session: 86_400,
  },
});
provider.on('backchannel.error', (_ctx, error) => console.error(error));
provider.on('server_error', (_ctx, error) => console.error(error));
// One line for each request in which a client proves itself, for tests to read.
for (const event of ['grant.success', 'grant.error', 'pushed_authorization_request.success', 'pushed_authorization_request.error']) {
  provider.on(event, (ctx, error) => {
    const { client_id, client_assertion } = ctx.oidc.params ?? {};
    const cause = error instanceof Error ? { error: error.message, detail: error.error_detail ?? error.error_description } : {};
    const code = `provider_${event}`;
    const authentication = ctx.oidc.client?.clientAuthMethod;
    const claims = client_assertion && JSON.parse(Buffer.from(client_assertion.split('.')[1], 'base64url'));
    const header = client_assertion && JSON.parse(Buffer.from(client_assertion.split('.')[0], 'base64url'));
    const refresh_token = ctx.body?.refresh_token !== undefined;
    console.error(JSON.stringify({ code, client_id, authentication, claims, header, refresh_token, ...cause }));
  });
}

provider.registerGrantType(TOKEN_EXCHANGE, exchange, [
  'requested_token_type', 'resource', 'scope', 'subject_token', 'subject_token_type',
]);

const callback = provider.callback();
const hits = {};
server.on('request', (request, response) => {
  const [path] = request.url.split('?');
  if (path === '/hits') {
    response.end(JSON.stringify(hits));
    return;
  }
  hits[path] = (hits[path] ?? 0) + 1;
  const [, uid, step = ''] =
    /^\/interaction\/([\w-]+)(?:\/(login|confirm|abort))?$/.exec(request.url) ?? [];
  if (uid === undefined) {
    callback(request, response);
    return;
  }
  interact(request, response, uid, step).catch((error) => {
    const expired = error instanceof errors.SessionNotFound;
    if (!expired) {
      console.error(error);
    }
    send(response, expired ? 400 : 500, page('This did not work', '<p>Start again.</p>'));
  });
});
ready(issuer);

function clients() {
  const web = {
    application_type: 'web',
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    redirect_uris: gateways.flatMap((gateway) => [
      `${gateway}/auth/callback`,
      `${gateway}/auth/callback/demo`,
    ]),
    post_logout_redirect_uris: gateways.flatMap((gateway) => [
      `${gateway}/auth/logged-out`,
      `${gateway}/`,
    ]),
    id_token_signed_response_alg: options['id-token-alg'],
    ...(options.backchannel && {
      backchannel_logout_uri: `${gateways[0]}/auth/backchannel-logout`,
      backchannel_logout_session_required: options.backchannel === 'sid',
    }),
  };
  const none = { token_endpoint_auth_method: 'none' };
  const assertion = { ...web, token_endpoint_auth_method: 'private_key_jwt' };
  const registered = [
    { ...assertion, client_id: 'airside-jwt', jwks_uri: `${gateways[0]}/auth/client-jwks.json` },
    { ...web, ...none, client_id: 'airside-public' },
    {
      ...web,
      ...none,
      client_id: 'airside-native',
      application_type: 'native',
      redirect_uris: ['http://127.0.0.1/callback'],
      post_logout_redirect_uris: [],
    },
  ];
  if (options['client-jwk'] !== '') {
    const jwks = { keys: [JSON.parse(options['client-jwk'])] };
    registered.push({ ...assertion, client_id: 'airside-jwt-inline', jwks });
  }
  if (secret !== '') {
    const method = (name) => ({ client_secret: secret, token_endpoint_auth_method: name });
    registered.push(
      { ...web, ...method('client_secret_basic'), client_id: 'airside-basic' },
      { ...web, ...method('client_secret_post'), client_id: 'airside-post' },
      {
        ...method('client_secret_basic'),
        client_id: 'airside-machine',
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      },
      {
        ...method('client_secret_basic'),
        client_id: 'airside-gate',
        grant_types: ['client_credentials', TOKEN_EXCHANGE],
        redirect_uris: [],
        response_types: [],
      },
    );
  }
  return registered;
}

/** Stricter than the package: one `aud`, as providers that want another refuse it. */
function assertJwtClientAuthClaimsAndHeader(_ctx, claims) {
  if (claims.aud !== assertionAudience) {
    throw new errors.InvalidClientAuth(`aud must be ${assertionAudience}`);
  }
  if (claims.exp - claims.iat > Number(options['assertion-seconds'])) {
    throw new errors.InvalidClientAuth('the assertion lives too long');
  }
}

async function signingKey(alg) {
  const settings = { extractable: true, ...(alg === 'EdDSA' && { crv: 'Ed25519' }) };
  const { privateKey } = await generateKeyPair(alg, settings);
  return { ...(await exportJWK(privateKey)), alg, use: 'sig' };
}

/** The token exchange grant: the caller's token for one for another resource. */
async function exchange(ctx) {
  const { client, params } = ctx.oidc;
  const subject = await provider.AccessToken.find(params.subject_token);
  if (!subject?.isValid || params.subject_token_type !== params.requested_token_type) {
    // As RFC 8693 section 2.2.2 has it.
    throw new errors.InvalidRequest('no such subject_token');
  }
  const { accountId, grantId } = subject;
  const token = new provider.AccessToken({ accountId, client, grantId, gty: 'token-exchange' });
  const info = getResourceServerInfo(ctx, params.resource);
  token.resourceServer = new provider.ResourceServer(params.resource, info);
  token.scope = params.scope;
  ctx.body = {
    access_token: await token.save(),
    issued_token_type: params.requested_token_type,
    token_type: 'Bearer',
    expires_in: token.expiration,
  };
}

function getResourceServerInfo(_ctx, resource) {
  if (resource !== '' && resource === options['upstream-api']) {
    const jwt = { sign: { alg: options['access-token-alg'] } };
    return { scope: API_SCOPES.join(' '), accessTokenFormat: 'jwt', accessTokenTTL: accessTokenSeconds, jwt };
  }
  if (resource !== options.api) {
    throw new errors.InvalidTarget();
  }
  return {
    scope: API_SCOPES.join(' '),
    accessTokenFormat: options['access-token-format'],
    accessTokenTTL: accessTokenSeconds,
    ...(options['access-token-format'] === 'jwt' && {
      jwt: { sign: { alg: options['access-token-alg'] } },
    }),
  };
}

function findAccount(_ctx, accountId) {
  const person = PEOPLE[accountId];
  return {
    accountId,
    claims: () => ({
      sub: accountId,
      ...(person && { name: person.name, email: person.email, email_verified: true }),
    }),
  };
}

async function interact(request, response, uid, step) {
  const details = await provider.interactionDetails(request, response);
  if (details.uid !== uid) {
    throw new errors.SessionNotFound('another interaction');
  }
  // A step that is not due is not taken.
  const due = { login: 'login', confirm: 'consent' }[step] ?? details.prompt.name;
  const wanted = due === details.prompt.name ? `${request.method} ${step || due}` : '';
  switch (wanted) {
    case 'GET login':
      send(response, 200, loginPage(uid, details.params));
      return;
    case 'GET consent':
      if (options['skip-consent']) {
        await consent(request, response, details);
      } else {
        send(response, 200, consentPage(uid, details));
      }
      return;
    case 'POST login': {
      const login = new URLSearchParams(await readBody(request, 4096)).get('login') ?? '';
      // Anything that could not be a `sub` is not a name.
      if (!/^[\w.@-]{1,64}$/.test(login)) {
        send(response, 400, loginPage(uid, details.params));
        return;
      }
      const result = { login: { accountId: login } };
      await provider.interactionFinished(request, response, result, {
        mergeWithLastSubmission: false,
      });
      return;
    }
    case 'POST confirm':
      await consent(request, response, details);
      return;
    case 'POST abort':
      await provider.interactionFinished(request, response, { error: 'access_denied' });
      return;
    default:
      send(response, 405, page('This did not work', '<p>Start again.</p>'));
  }
}

/** Grants what is asked for, but for the scopes of the API the user has no right to. */
async function consent(request, response, details) {
  const { params, prompt, grantId, session } = details;
  const grant =
    (grantId && (await provider.Grant.find(grantId))) ||
    new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  const { missingOIDCScope, missingOIDCClaims, missingResourceScopes } = prompt.details;
  if (missingOIDCScope) {
    grant.addOIDCScope(missingOIDCScope.join(' '));
  }
  if (missingOIDCClaims) {
    grant.addOIDCClaims(missingOIDCClaims);
  }
  const may = PEOPLE[session.accountId]?.may ?? (() => false);
  for (const [resource, scopes] of Object.entries(missingResourceScopes ?? {})) {
    grant.addResourceScope(resource, scopes.filter(may).join(' '));
    grant.rejectResourceScope(resource, scopes.filter((scope) => !may(scope)).join(' '));
  }
  const result = { consent: grantId ? {} : { grantId: await grant.save() } };
  if (grantId) {
    await grant.save();
  }
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}

function loginPage(uid, params) {
  const people = Object.entries(PEOPLE).map(
    ([login, { name }]) =>
      `<form method="post" action="/interaction/${uid}/login">
       <button name="login" value="${login}">${escape(name)}</button></form>`,
  );
  return page(
    `Sign in to ${params.client_id}`,
    `${people.join('\n')}
     <form method="post" action="/interaction/${uid}/login">
     <label>Or somebody else <input name="login" required></label> <button>Sign in</button></form>
     ${abortForm(uid)}`,
  );
}

function consentPage(uid, { params, prompt }) {
  const { missingOIDCScope = [], missingResourceScopes = {} } = prompt.details;
  const scopes = [...missingOIDCScope, ...Object.values(missingResourceScopes).flat()];
  return page(
    `Allow ${params.client_id}?`,
    `<ul>${scopes.map((scope) => `<li>${escape(scope)}</li>`).join('')}</ul>
     <form method="post" action="/interaction/${uid}/confirm">
     <button name="allow" value="yes">Allow</button></form>
     ${abortForm(uid)}`,
  );
}

function abortForm(uid) {
  return `<form method="post" action="/interaction/${uid}/abort">
    <button name="abort" value="yes">Cancel</button></form>`;
}

function logoutSource(ctx, form) {
  ctx.body = page(
    'Sign out?',
    `${form}
     <button type="submit" form="op.logoutForm" name="logout" value="yes">Sign out</button>
     <button type="submit" form="op.logoutForm">Stay signed in</button>`,
  );
}

function postLogoutSuccessSource(ctx) {
  ctx.body = page('Signed out', '<p>You are signed out of the provider.</p>');
}

function renderError(ctx, out) {
  ctx.type = 'html';
  ctx.body = page('This did not work', `<p><code>${escape(out.error)}</code></p>
    <p>${escape(out.error_description ?? '')}</p>`);
}

function page(title, main) {
  return `<!doctype html><html lang="en"><head><meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>${escape(title)}</title></head>
    <body><main><h1>${escape(title)}</h1>${main}</main></body></html>`;
}

function escape(text) {
  const entities = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
  return String(text).replace(/[&<>"']/g, (character) => entities[character]);
}

function send(response, status, content) {
  response.writeHead(status, {
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-store',
    'content-length': Buffer.byteLength(content),
  });
  response.end(content);
}
