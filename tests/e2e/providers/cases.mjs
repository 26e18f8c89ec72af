// Access tokens that must be refused, each wrong in one way beside the good one, and those
// that must pass. Descriptions as `mint` takes them.

import { ALGORITHMS } from './mint.mjs';

const other = 'https://api.example.com/reports';

/** Must be accepted for their audience, scopes aside. */
export function accepted(audience) {
  return {
    good: {},
    ...Object.fromEntries(ALGORITHMS.map((alg) => [`good_${alg}`, { alg }])),
    aud_array: { claims: { aud: [other, audience] } },
    expired_within_leeway: { claims: { exp: { in: -30 } } },
    issued_within_leeway: { claims: { iat: { in: 30 } } },
    kid_absent: { alg: 'ES256', header: { kid: null } },
    not_before_within_leeway: { claims: { nbf: { in: 30 } } },
    typ_in_capitals: { header: { typ: 'AT+JWT' } },
    typ_with_application: { header: { typ: 'application/at+jwt' } },
    unknown_claim: { claims: { 'https://example.com/x': { y: [1, null] } } },
  };
}

/** Must be refused, whatever the route's scopes. */
export function refused(audience) {
  const es256 = { alg: 'ES256' };
  return {
    alg_absent: { header: { alg: null } },
    alg_hs256_with_public_key_der: { alg: 'HS256', secret_form: 'der' },
    alg_hs256_with_public_key_jwk: { alg: 'HS256', secret_form: 'jwk' },
    alg_hs256_with_public_key_pem: { alg: 'HS256' },
    alg_in_small_letters: { header: { alg: 'rs256' } },
    alg_none: { alg: 'none' },
    alg_none_in_capitals: { alg: 'none', header: { alg: 'NONE' } },
    alg_none_with_signature: { header: { alg: 'none' } },
    alg_of_another_key: { alg: 'RS256', header: { alg: 'PS256' } },
    alg_rs512: { header: { alg: 'RS512' } },
    aud_absent: { claims: { aud: null } },
    aud_empty_array: { claims: { aud: [] } },
    aud_number: { claims: { aud: 1 } },
    aud_other: { claims: { aud: other } },
    aud_prefix: { claims: { aud: `${audience}/` } },
    aud_repeated: { first: { aud: other } },
    client_id_absent: { claims: { client_id: null } },
    crit_unknown: { header: { crit: ['x'], x: 1 } },
    exp_absent: { claims: { exp: null } },
    exp_huge_negative: { claims: { exp: -1e300 } },
    exp_string: { claims: { exp: '9999999999' } },
    expired: { claims: { exp: { in: -120 }, iat: { in: -420 } } },
    five_parts: { parts: '.x.y' },
    four_parts: { parts: '.x' },
    id_token: {
      header: { typ: 'JWT' },
      claims: { aud: 'airside-forge', client_id: null, scope: null, nonce: 'n' },
    },
    iss_absent: { claims: { iss: null } },
    iss_array: { claims: { iss: ['https://issuer.example'] } },
    iss_other: { claims: { iss: 'https://issuer.example' } },
    issued_in_the_future: { claims: { iat: { in: 3600 }, exp: { in: 7200 } } },
    jwk_in_header: { key: 'other', header: { jwk: 'OTHER_PUBLIC_JWK', kid: null } },
    key_other: { ...es256, key: 'other' },
    kid_unknown: { ...es256, header: { kid: 'nobody' } },
    not_before: { claims: { nbf: { in: 3600 }, exp: { in: 7200 } } },
    payload_array: { payload: '[]' },
    payload_deep: { payload: '['.repeat(5000) + ']'.repeat(5000) },
    payload_empty: { payload: '' },
    payload_not_json: { payload: 'alice' },
    signature_removed: { signature: 'removed' },
    signature_spoiled: { signature: 'spoiled' },
    signature_spoiled_es256: { ...es256, signature: 'spoiled' },
    sub_absent: { claims: { sub: null } },
    sub_empty: { claims: { sub: '' } },
    sub_number: { claims: { sub: 1 } },
    typ_absent: { header: { typ: null } },
    typ_jwt: { header: { typ: 'JWT' } },
    typ_logout: { header: { typ: 'logout+jwt' } },
  };
}
