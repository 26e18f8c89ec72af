//! airside's own signing keys, private JSON Web Keys (RFC 7517, RFC 7518 section 6, RFC 8037
//! section 2), and what they sign (RFC 7515).
//!
//! jwt-simple reads the key, judges whether its members fit together and what it may be used
//! for, and signs. RSA is apart: its code is there with the feature `rsa-signing` only, since RSA
//! private-key operations happen only where a provider demands them.

use jwt_simple::common::HeaderOptions;
use jwt_simple::prelude::*;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::encoding::parse_json_object;
use crate::jose::alg::Algorithm;
use crate::secret::Secret;

/// jwt-simple refuses longer ones.
const MAX_JWK_BYTES: usize = 8 * 1024;

/// Not a private JWK for the algorithm. Never shows any of it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("expected a private JSON Web Key for {}", .0.name())]
pub struct SigningKeyError(pub Algorithm);

/// A private key with one algorithm.
pub struct SigningKey(Box<dyn Signer>);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

impl SigningKey {
    /// Reads the private JWK of an elliptic curve: ES256 or EdDSA. Without `kid`, the key's
    /// thumbprint is it (RFC 7638).
    ///
    /// # Errors
    /// [`SigningKeyError`], also for every other algorithm.
    pub fn parse(jwk: &Secret<String>, algorithm: Algorithm) -> Result<Self, SigningKeyError> {
        let error = SigningKeyError(algorithm);
        match algorithm {
            Algorithm::EdDsa => Ed25519KeyPair::named(jwk),
            Algorithm::Es256 => ES256KeyPair::named(jwk),
            Algorithm::Es384 | Algorithm::Ps256 | Algorithm::Rs256 => None,
        }
        .ok_or(error)
    }

    /// Reads a private RSA JWK of 2,048 to 4,096 bits, for RS256.
    ///
    /// # Errors
    /// [`SigningKeyError`].
    #[cfg(any(test, feature = "rsa-signing"))]
    pub fn parse_rsa(jwk: &Secret<String>) -> Result<Self, SigningKeyError> {
        RS256KeyPair::named(jwk).ok_or(SigningKeyError(Algorithm::Rs256))
    }

    /// Refuses every key: this build has no code for RSA private keys.
    ///
    /// # Errors
    /// [`SigningKeyError`], always.
    #[cfg(not(any(test, feature = "rsa-signing")))]
    pub fn parse_rsa(_: &Secret<String>) -> Result<Self, SigningKeyError> {
        Err(SigningKeyError(Algorithm::Rs256))
    }

    /// The public key with `kid`, `alg` and `use`, and no private member.
    pub fn public_jwk(&self) -> Map<String, Value> {
        parse_json_object(self.0.public_jwk().as_bytes(), MAX_JWK_BYTES).unwrap_or_default()
    }

    /// `claims` as a JWS of media type `typ`, with the key's `kid`; `None` when the host has no
    /// randomness or `claims` is no object.
    pub fn sign(&self, typ: &str, claims: Value) -> Option<Secret<String>> {
        let options = HeaderOptions {
            signature_type: Some(typ.to_owned()),
            ..Default::default()
        };
        // `Claims::create` would read the wall clock: all claims are the caller's.
        let claims = JWTClaims {
            issued_at: None,
            expires_at: None,
            invalid_before: None,
            issuer: None,
            subject: None,
            audiences: None,
            jwt_id: None,
            nonce: None,
            custom: claims,
        };
        self.0.sign(claims, &options).map(Secret::new)
    }
}

/// One of jwt-simple's key pairs.
trait Signer {
    /// Reads a private JWK and makes sure that it has a `kid`.
    fn named(jwk: &Secret<String>) -> Option<SigningKey>
    where
        Self: Sized;
    fn public_jwk(&self) -> String;
    fn sign(&self, claims: JWTClaims<Value>, options: &HeaderOptions) -> Option<String>;
}

macro_rules! signer {
    ($pair:ty, $like:path) => {
        impl Signer for $pair {
            fn named(jwk: &Secret<String>) -> Option<SigningKey> {
                let key = <$pair>::from_jwk(jwk.expose().trim()).ok()?;
                let key = match <$pair as $like>::key_id(&key) {
                    Some(_) => key,
                    None => {
                        let thumbprint = key.jwk_thumbprint();
                        key.with_key_id(&thumbprint)
                    }
                };
                Some(SigningKey(Box::new(key)))
            }

            fn public_jwk(&self) -> String {
                self.public_key().to_jwk()
            }

            fn sign(&self, claims: JWTClaims<Value>, options: &HeaderOptions) -> Option<String> {
                <$pair as $like>::sign_with_options(self, claims, options).ok()
            }
        }
    };
}

signer!(Ed25519KeyPair, EdDSAKeyPairLike);
signer!(ES256KeyPair, ECDSAP256KeyPairLike);
#[cfg(any(test, feature = "rsa-signing"))]
signer!(RS256KeyPair, RSAKeyPairLike);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::{JwkSet, Jws};
    use serde_json::json;

    fn private(algorithm: Algorithm) -> Value {
        let text = match algorithm {
            Algorithm::EdDsa => Ed25519KeyPair::generate().with_key_id("k1").to_jwk(),
            Algorithm::Es256 => ES256KeyPair::generate().with_key_id("k1").to_jwk(),
            _ => RS256KeyPair::generate(2_048)
                .expect("key")
                .with_key_id("k1")
                .to_jwk(),
        };
        serde_json::from_str(&text).expect("JSON")
    }

    fn parse(jwk: &Value, algorithm: Algorithm) -> Result<SigningKey, SigningKeyError> {
        let jwk = Secret::new(jwk.to_string());
        match algorithm {
            Algorithm::Rs256 => SigningKey::parse_rsa(&jwk),
            other => SigningKey::parse(&jwk, other),
        }
    }

    const ALL: [Algorithm; 3] = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256];

    #[test]
    fn what_is_signed_verifies_with_the_published_key() {
        for algorithm in ALL {
            let key = parse(&private(algorithm), algorithm).expect("key");
            let signed = key.sign("JWT", json!({"iss": "c", "n": 1}));
            let signed = signed.expect("signed");
            let published = json!({ "keys": [key.public_jwk()] }).to_string();
            let set = JwkSet::parse(published.as_bytes()).expect("set");
            let jws = Jws::parse(signed.expose()).expect("JWS");
            assert_eq!(jws.header().alg, algorithm);
            assert_eq!(jws.header().kid.as_deref(), Some("k1"));
            assert_eq!(jws.header().typ.as_deref(), Some("JWT"));
            let claims = jws.verify(&[algorithm], &set).expect("verified");
            assert_eq!(claims.string("iss"), Ok(Some("c")));
        }
    }

    #[test]
    fn no_private_member_is_published() {
        for algorithm in ALL {
            let private = private(algorithm);
            let public = parse(&private, algorithm).expect("key").public_jwk();
            let names: Vec<&str> = public.keys().map(String::as_str).collect();
            let expected: &[&str] = match algorithm {
                Algorithm::EdDsa => &["alg", "crv", "kid", "kty", "use", "x"],
                Algorithm::Es256 => &["alg", "crv", "kid", "kty", "use", "x", "y"],
                _ => &["alg", "e", "kid", "kty", "n", "use"],
            };
            assert_eq!(names, expected);
            assert_eq!(public["alg"], algorithm.name());
        }
    }

    #[test]
    fn a_key_without_kid_is_called_by_its_thumbprint() {
        for algorithm in ALL {
            let mut jwk = private(algorithm);
            jwk.as_object_mut().expect("object").remove("kid");
            let public = parse(&jwk, algorithm).expect("key").public_jwk();
            let kid = public["kid"].as_str().expect("kid");
            assert_eq!(kid.len(), 43, "SHA-256: {kid}");
            let again = parse(&jwk, algorithm).expect("key").public_jwk();
            assert_eq!(again["kid"], kid);
        }
    }

    #[test]
    fn a_key_that_does_not_fit_is_refused() {
        for algorithm in ALL {
            let good = private(algorithm);
            assert!(parse(&good, algorithm).is_ok());
            for other in ALL.into_iter().filter(|other| *other != algorithm) {
                assert!(parse(&good, other).is_err(), "{algorithm} for {other}");
            }
            for (name, change) in [
                ("public", json!({"d": null})),
                ("for encryption", json!({"use": "enc"})),
                ("for verification", json!({"key_ops": ["verify"]})),
                ("for another algorithm", json!({"alg": "PS512"})),
                ("of another pair", private(algorithm)),
            ] {
                let mut bad = good.clone();
                let members = bad.as_object_mut().expect("object");
                for (member, value) in change.as_object().expect("object") {
                    match value {
                        Value::Null => members.remove(member),
                        // Another pair's public half beside this private one.
                        value
                            if name != "of another pair"
                                || ["x", "y", "n"].contains(&member.as_str()) =>
                        {
                            members.insert(member.clone(), value.clone())
                        }
                        _ => None,
                    };
                }
                assert!(parse(&bad, algorithm).is_err(), "{algorithm}: {name}");
            }
        }
        let text =
            |text: &str| SigningKey::parse(&Secret::from(text), Algorithm::Es256).map(|_| ());
        for bad in [
            "",
            "{}",
            "not a key",
            "[]",
            "{\"kty\":\"oct\",\"k\":\"AAAA\"}",
        ] {
            assert_eq!(text(bad), Err(SigningKeyError(Algorithm::Es256)), "{bad}");
        }
        let es384 = SigningKey::parse(&Secret::from("{}"), Algorithm::Es384).map(|_| ());
        assert_eq!(es384, Err(SigningKeyError(Algorithm::Es384)));
    }
}
