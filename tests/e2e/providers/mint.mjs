// Makes tokens that are right, or wrong in exactly one way, with nothing in between that could
// refuse to: the JWS is put together by hand.

import {
  constants, createHash, createHmac, createPublicKey, generateKeyPairSync, randomBytes, sign,
} from 'node:crypto';
import { calculateJwkThumbprint, exportJWK, generateKeyPair } from 'jose';

export const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'];

/**
 * Two keys for each algorithm: one that is published, and one that is not unless asked for;
 * with RS256 a third one, too short to be trusted.
 */
export async function generateKeys() {
  const keys = {};
  for (const alg of ALGORITHMS) {
    const [own, other] = await Promise.all([generateKey(alg), generateKey(alg)]);
    keys[alg] = { own, other };
  }
  keys.RS256.weak = generateWeakKey();
  return keys;
}

async function generateKey(alg) {
  const settings = { extractable: true, ...(alg === 'EdDSA' && { crv: 'Ed25519' }) };
  const { privateKey, publicKey } = await generateKeyPair(alg, settings);
  const jwk = await exportJWK(publicKey);
  const kid = await calculateJwkThumbprint(jwk);
  return { privateJwk: await exportJWK(privateKey), publicJwk: { ...jwk, kid, alg, use: 'sig' } };
}

/** jose makes no key of this size. */
function generateWeakKey() {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
  return {
    privateJwk: privateKey.export({ format: 'jwk' }),
    publicJwk: { ...publicKey.export({ format: 'jwk' }), kid: 'weak', alg: 'RS256', use: 'sig' },
  };
}

/** What is published where nothing else is asked for. */
const PUBLISHED = ALGORITHMS.map((alg) => ({ alg }));

/**
 * The JWK Set of the published keys, each `{ alg, key, with }`: `key` as for `mint`, `with` laid
 * over the JWK; or `{ jwk }`, a member of the set as it is.
 */
export function jwks(keys, published = PUBLISHED) {
  const member = ({ alg, key = 'own', with: over = {}, ...rest }) =>
    'jwk' in rest ? rest.jwk : overlay(keys[alg][key].publicJwk, over);
  return { keys: published.map(member) };
}

/**
 * Makes a token from a description; every member may be left out:
 *
 * - `alg`: one of ALGORITHMS, `none` (empty signature) or `HS256`; RS256 if absent.
 * - `key`: `own` (published), `other` (same kid, not published), `weak` (RS256 only); with
 *   `HS256` a public key of this algorithm is the secret: `RS256` (default), `PS256`, ..., in
 *   the form `secret_form`: `pem` (default), `der` or `jwk`; or `secret` is.
 * - `header`, `claims`: laid over the header and the base claims; `null` takes a member out;
 *   a claim `{"in": -60}` is the time a minute ago.
 * - `first`: members written before the claims, where they are repeated.
 * - `payload`: a text that is signed instead of the claims.
 * - `signature`: `spoiled` (one bit changed), `removed`; `parts`: a text put after the token.
 */
export function mint(keys, base, description) {
  const { alg = 'RS256', key, header = {}, claims = {}, first, signature, parts } = description;
  const hmac = alg === 'HS256';
  const pairs = keys[hmac ? (key ?? 'RS256') : alg === 'none' ? 'RS256' : alg];
  if (pairs === undefined) {
    throw new Error(`no such algorithm: ${alg} ${key ?? ''}`);
  }
  const kid = pairs.own.publicJwk.kid;
  const now = Math.floor(Date.now() / 1000);
  const protectedHeader = overlay({ alg, typ: base.typ, kid }, header);
  const text = JSON.stringify(overlay(base.claims(now), claims, now));
  const repeated = first ? `${JSON.stringify(first).slice(0, -1)},${text.slice(1)}` : text;
  const content = description.payload ?? repeated;
  const input = `${base64url(JSON.stringify(protectedHeader))}.${base64url(content)}`;
  let made = Buffer.alloc(0);
  if (hmac) {
    const { secret = publicKeyAs(pairs.own.publicJwk, description.secret_form ?? 'pem') } = description;
    made = createHmac('sha256', secret).update(input).digest();
  } else if (alg !== 'none') {
    made = signed(alg, pairs[key ?? 'own'].privateJwk, Buffer.from(input));
  }
  if (signature === 'spoiled') {
    made[Math.floor(made.length / 2)] ^= 1;
  } else if (signature === 'removed') {
    made = Buffer.alloc(0);
  }
  return `${input}.${made.toString('base64url')}${parts ?? ''}`;
}

/** The claims of a good access token (RFC 9068) for an audience. */
export function accessToken(issuer, audience, scope) {
  return {
    typ: 'at+jwt',
    claims: (now) => ({
      iss: issuer,
      sub: 'alice',
      aud: audience,
      client_id: 'airside-forge',
      scope,
      iat: now,
      exp: now + 300,
      jti: randomBytes(16).toString('base64url'),
    }),
  };
}

/** The claims of a good ID token for a client. */
export function idToken(issuer, clientId, nonce, atHash) {
  return {
    typ: 'JWT',
    claims: (now) => ({
      iss: issuer,
      aud: clientId,
      ...(nonce && { nonce }),
      at_hash: atHash,
      ...PERSON,
      auth_time: now,
      iat: now,
      exp: now + 300,
    }),
  };
}

/** The claims of a good logout token for a client. */
export function logoutToken(issuer, clientId) {
  return {
    typ: 'logout+jwt',
    claims: (now) => ({
      iss: issuer,
      aud: clientId,
      sub: PERSON.sub,
      iat: now,
      exp: now + 120,
      jti: randomBytes(16).toString('base64url'),
      events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
    }),
  };
}

/** The claims of a good signed UserInfo response for a client. */
export function userInfo(issuer, clientId) {
  return {
    typ: 'JWT',
    claims: () => ({ iss: issuer, aud: clientId, ...PERSON }),
  };
}

/** What UserInfo says. */
export const PERSON = {
  sub: 'alice',
  name: 'Alice Liddell',
  email: 'alice@example.com',
  email_verified: true,
};

/** `at_hash` of an access token, beside an ID token of this algorithm. */
export function atHash(alg, accessToken) {
  const hash = { ES384: 'sha384', EdDSA: 'sha512' }[alg] ?? 'sha256';
  const digest = createHash(hash).update(accessToken).digest();
  return digest.subarray(0, digest.length / 2).toString('base64url');
}

function signed(alg, jwk, input) {
  const key = { key: jwk, format: 'jwk' };
  switch (alg) {
    case 'RS256':
      return sign('sha256', input, key);
    case 'PS256':
      return sign('sha256', input, { ...key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 });
    case 'ES256':
      return sign('sha256', input, { ...key, dsaEncoding: 'ieee-p1363' });
    case 'ES384':
      return sign('sha384', input, { ...key, dsaEncoding: 'ieee-p1363' });
    default:
      return sign(null, input, key);
  }
}

function publicKeyAs(jwk, form) {
  if (form === 'jwk') {
    return JSON.stringify(jwk);
  }
  const format = form === 'der' ? 'der' : 'pem';
  return createPublicKey({ key: jwk, format: 'jwk' }).export({ type: 'spki', format });
}

/** Lays members over others; `null` takes one out, `{"in": n}` is n seconds from `now`. */
export function overlay(under, over, now) {
  const result = { ...under };
  for (const [name, value] of Object.entries(over)) {
    if (value === null) {
      delete result[name];
    } else if (now !== undefined && typeof value === 'object' && typeof value.in === 'number') {
      result[name] = now + value.in;
    } else {
      result[name] = value;
    }
  }
  return result;
}

function base64url(text) {
  return Buffer.from(text).toString('base64url');
}
