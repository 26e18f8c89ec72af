//! Signing keys, one for each algorithm, made at start and kept in memory only (RFC 7517,
//! RFC 7518 3.1, RFC 8037).

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow};
use ct_codecs::{Base64UrlSafeNoPadding, Encoder};
use jwt_simple::common::{HeaderOptions, VerificationOptions};
use jwt_simple::prelude::*;
use serde_json::{Map, Value, json};

/// A signature algorithm the provider can sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// Ed25519.
    EdDSA,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
}

impl Algorithm {
    /// Every algorithm, the commonest first.
    pub const ALL: [Self; 5] = [
        Self::RS256,
        Self::PS256,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    /// Returns the JOSE name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
            Self::PS256 => "PS256",
            Self::RS256 => "RS256",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        let known = Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name);
        known.ok_or(UnknownAlgorithm)
    }
}

/// The name is not one of [`Algorithm::ALL`].
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownAlgorithm;

impl fmt::Display for UnknownAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not one of RS256, PS256, ES256, ES384, EdDSA")
    }
}

impl std::error::Error for UnknownAlgorithm {}

/// The provider's key pairs.
pub(super) struct Keys {
    pairs: Vec<KeyPair>,
    default: Algorithm,
    /// In the key set, and of no other use.
    idle: Vec<KeyPair>,
}

/// What an `id_token_hint` says, once its signature is known to be ours.
pub(super) struct Hint {
    /// The client it was issued to.
    pub(super) client_id: String,
    /// The user it is about.
    pub(super) sub: String,
}

enum KeyPair {
    ES256(ES256KeyPair),
    ES384(ES384KeyPair),
    EdDSA(Ed25519KeyPair),
    PS256(PS256KeyPair),
    RS256(RS256KeyPair),
}

impl Keys {
    /// Generates a key for each algorithm, and more until there are `all`; `default` signs for
    /// clients that name none.
    pub(super) fn generate(
        algorithms: &[Algorithm],
        default: Algorithm,
        all: usize,
    ) -> Result<Self> {
        let mut wanted = algorithms.to_vec();
        wanted.push(default);
        wanted.sort_unstable();
        wanted.dedup();
        // RSA keys take a second or more each: one thread for every key.
        let pairs = std::thread::scope(|scope| {
            let work = |algorithm| scope.spawn(move || KeyPair::generate(algorithm));
            let threads: Vec<_> = wanted.into_iter().map(work).collect();
            let finished = threads.into_iter().map(|thread| match thread.join() {
                Ok(pair) => pair,
                Err(_) => Err(anyhow!("key generation stopped")),
            });
            finished.collect::<Result<Vec<_>>>()
        })?;
        let more = pairs.len()..all;
        let idle = more.map(|_| KeyPair::generate(Algorithm::EdDSA));
        Ok(Self {
            idle: idle.collect::<Result<_>>()?,
            pairs,
            default,
        })
    }

    /// Returns the algorithm that signs for clients that name none.
    pub(super) fn default_algorithm(&self) -> Algorithm {
        self.default
    }

    /// Returns the algorithms there is a key for.
    pub(super) fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        self.pairs.iter().map(KeyPair::algorithm)
    }

    /// Returns the JWK Set: public keys only, each with `kid`, `alg` and `use`.
    pub(super) fn jwks(&self) -> Result<Value> {
        let keys = self
            .idle
            .iter()
            .chain(&self.pairs)
            .map(KeyPair::public_jwk)
            .collect::<Result<Vec<_>>>()?;
        Ok(json!({ "keys": keys }))
    }

    /// Signs claims as they are; nothing is added.
    pub(super) fn sign(
        &self,
        algorithm: Algorithm,
        typ: &str,
        claims: Map<String, Value>,
    ) -> Result<String> {
        let pair = self.pair(algorithm).context("no key for this algorithm")?;
        let header = HeaderOptions {
            signature_type: Some(typ.to_owned()),
            ..HeaderOptions::default()
        };
        let mut claims = Claims::with_custom_claims(claims, Duration::from_secs(0));
        // The crate's own times would stand beside ours.
        claims.issued_at = None;
        claims.expires_at = None;
        claims.invalid_before = None;
        match pair {
            KeyPair::ES256(key) => key.sign_with_options(claims, &header),
            KeyPair::ES384(key) => key.sign_with_options(claims, &header),
            KeyPair::EdDSA(key) => key.sign_with_options(claims, &header),
            KeyPair::PS256(key) => key.sign_with_options(claims, &header),
            KeyPair::RS256(key) => key.sign_with_options(claims, &header),
        }
    }

    /// Returns what one of our own ID tokens says. It may have expired: OpenID Connect
    /// RP-Initiated Logout 1.0 section 2 wants it accepted then.
    pub(super) fn read_hint(&self, token: &str, issuer: &str) -> Option<Hint> {
        let header = Token::decode_metadata(token).ok()?;
        let pair = self.pair(header.algorithm().parse().ok()?)?;
        let options = VerificationOptions {
            accept_future: true,
            allowed_issuers: Some([issuer.to_owned()].into()),
            required_signature_type: Some(ID_TOKEN_TYP.to_owned()),
            // In 1970 nothing has expired.
            artificial_time: Some(UnixTimeStamp::from_secs(0)),
            time_tolerance: None,
            ..VerificationOptions::default()
        };
        type Other = Map<String, Value>;
        let claims = match pair {
            KeyPair::ES256(key) => key.public_key().verify_token::<Other>(token, Some(options)),
            KeyPair::ES384(key) => key.public_key().verify_token::<Other>(token, Some(options)),
            KeyPair::EdDSA(key) => key.public_key().verify_token::<Other>(token, Some(options)),
            KeyPair::PS256(key) => key.public_key().verify_token::<Other>(token, Some(options)),
            KeyPair::RS256(key) => key.public_key().verify_token::<Other>(token, Some(options)),
        }
        .ok()?;
        let client_id = claims.audiences?.into_string().ok()?;
        Some(Hint {
            client_id,
            sub: claims.subject?,
        })
    }

    fn pair(&self, algorithm: Algorithm) -> Option<&KeyPair> {
        self.pairs.iter().find(|pair| pair.algorithm() == algorithm)
    }
}

/// The `typ` of ID tokens. Access tokens have another, so that neither passes as the other.
pub(super) const ID_TOKEN_TYP: &str = "JWT";

/// Returns `at_hash`: the left half of the hash that belongs to the ID token's algorithm
/// (OpenID Connect Core 1.0 section 3.1.3.6), SHA-512 for Ed25519.
pub(super) fn at_hash(algorithm: Algorithm, access_token: &str) -> Result<String> {
    let hash = match algorithm {
        Algorithm::ES256 | Algorithm::PS256 | Algorithm::RS256 => {
            hmac_sha256::Hash::hash(access_token.as_bytes()).to_vec()
        }
        Algorithm::ES384 => hmac_sha512::sha384::Hash::hash(access_token.as_bytes()).to_vec(),
        Algorithm::EdDSA => hmac_sha512::Hash::hash(access_token.as_bytes()).to_vec(),
    };
    let (left, _) = hash.split_at(hash.len() / 2);
    Ok(Base64UrlSafeNoPadding::encode_to_string(left)?)
}

impl KeyPair {
    fn generate(algorithm: Algorithm) -> Result<Self> {
        // The thumbprint (RFC 7638) as `kid` cannot collide with another key's.
        Ok(match algorithm {
            Algorithm::ES256 => {
                let key = ES256KeyPair::generate();
                let kid = key.public_key().jwk_thumbprint();
                Self::ES256(key.with_key_id(&kid))
            }
            Algorithm::ES384 => {
                let key = ES384KeyPair::generate();
                let kid = key.public_key().jwk_thumbprint();
                Self::ES384(key.with_key_id(&kid))
            }
            Algorithm::EdDSA => {
                let key = Ed25519KeyPair::generate();
                let kid = key.public_key().jwk_thumbprint();
                Self::EdDSA(key.with_key_id(&kid))
            }
            Algorithm::PS256 => {
                let key = PS256KeyPair::generate(RSA_BITS)?;
                let kid = key.jwk_thumbprint();
                Self::PS256(key.with_key_id(&kid))
            }
            Algorithm::RS256 => {
                let key = RS256KeyPair::generate(RSA_BITS)?;
                let kid = key.jwk_thumbprint();
                Self::RS256(key.with_key_id(&kid))
            }
        })
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            Self::ES256(_) => Algorithm::ES256,
            Self::ES384(_) => Algorithm::ES384,
            Self::EdDSA(_) => Algorithm::EdDSA,
            Self::PS256(_) => Algorithm::PS256,
            Self::RS256(_) => Algorithm::RS256,
        }
    }

    fn public_jwk(&self) -> Result<Value> {
        let jwk = match self {
            Self::ES256(key) => key.public_key().to_jwk(),
            Self::ES384(key) => key.public_key().to_jwk(),
            Self::EdDSA(key) => key.public_key().to_jwk(),
            Self::PS256(key) => key.public_key().to_jwk(),
            Self::RS256(key) => key.public_key().to_jwk(),
        };
        Ok(serde_json::from_str(&jwk)?)
    }
}

const RSA_BITS: usize = 2048;

#[cfg(test)]
mod tests {
    use super::{Algorithm, at_hash};

    #[test]
    fn at_hash_is_that_of_the_specification() {
        // OpenID Connect Core 1.0, appendix A.3.
        let access_token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
        assert_eq!(
            at_hash(Algorithm::RS256, access_token).unwrap(),
            "77QmUPtjPfzWtF2AnpK9RQ"
        );
        assert_eq!(at_hash(Algorithm::ES384, access_token).unwrap().len(), 32);
        assert_eq!(at_hash(Algorithm::EdDSA, access_token).unwrap().len(), 43);
    }
}
