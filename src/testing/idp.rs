//! A tiny identity provider: metadata, a key set, and tokens signed with any algorithm that
//! airside accepts by default.

use jwt_simple::common::HeaderOptions;
use jwt_simple::prelude::*;
use serde_json::{Value, json};

use crate::jose::Algorithm;
use crate::url::Issuer;

/// An identity provider with one signing key.
pub struct Idp {
    issuer: Issuer,
    key: Key,
    kid: String,
}

enum Key {
    EdDsa(Ed25519KeyPair),
    Es256(ES256KeyPair),
    Es384(ES384KeyPair),
    Ps256(PS256KeyPair),
    Rs256(RS256KeyPair),
}

impl std::fmt::Debug for Idp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Idp({}, {})", self.issuer, self.kid)
    }
}

impl Idp {
    /// A provider that signs with a fresh ES256 key called `key-1`.
    ///
    /// # Panics
    /// When `issuer` is not an issuer.
    pub fn new(issuer: &str) -> Self {
        Self::with_key(issuer, Algorithm::Es256, "key-1")
    }

    /// A provider that signs with a fresh key called `kid`.
    ///
    /// # Panics
    /// When `issuer` is not an issuer.
    pub fn with_key(issuer: &str, algorithm: Algorithm, kid: &str) -> Self {
        let rsa = "an RSA key can be made";
        let key = match algorithm {
            Algorithm::EdDsa => Key::EdDsa(Ed25519KeyPair::generate().with_key_id(kid)),
            Algorithm::Es256 => Key::Es256(ES256KeyPair::generate().with_key_id(kid)),
            Algorithm::Es384 => Key::Es384(ES384KeyPair::generate().with_key_id(kid)),
            Algorithm::Ps256 => {
                Key::Ps256(PS256KeyPair::generate(2_048).expect(rsa).with_key_id(kid))
            }
            Algorithm::Rs256 => {
                Key::Rs256(RS256KeyPair::generate(2_048).expect(rsa).with_key_id(kid))
            }
        };
        Idp {
            issuer: issuer.parse().expect("an issuer"),
            key,
            kid: kid.to_owned(),
        }
    }

    /// Its issuer identifier.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// The URL of `path` on it.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.issuer.as_str().trim_end_matches('/'))
    }

    /// Its metadata document.
    pub fn metadata(&self) -> Value {
        json!({
            "issuer": self.issuer.as_str(),
            "authorization_endpoint": self.url("/authorize"),
            "token_endpoint": self.url("/token"),
            "jwks_uri": self.url("/jwks"),
            "end_session_endpoint": self.url("/logout"),
        })
    }

    /// Its public key as a JSON Web Key.
    pub fn jwk(&self) -> Value {
        let text = match &self.key {
            Key::EdDsa(key) => key.public_key().to_jwk(),
            Key::Es256(key) => key.public_key().to_jwk(),
            Key::Es384(key) => key.public_key().to_jwk(),
            Key::Ps256(key) => key.public_key().to_jwk(),
            Key::Rs256(key) => key.public_key().to_jwk(),
        };
        let mut jwk: Value = serde_json::from_str(&text).unwrap_or_default();
        jwk["kid"] = self.kid.as_str().into();
        jwk
    }

    /// Its key set document.
    pub fn jwks(&self) -> Value {
        json!({ "keys": [self.jwk()] })
    }

    /// `claims` signed, with `typ: JWT`.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_typ(claims, "JWT")
    }

    /// `claims` signed, with that `typ`.
    ///
    /// # Panics
    /// When `claims` is not an object.
    pub fn sign_typ(&self, claims: &Value, typ: &str) -> String {
        let header = HeaderOptions {
            signature_type: Some(typ.to_owned()),
            ..Default::default()
        };
        let claims = JWTClaims {
            issued_at: None,
            expires_at: None,
            invalid_before: None,
            issuer: None,
            subject: None,
            audiences: None,
            jwt_id: None,
            nonce: None,
            custom: claims.clone(),
        };
        let token = match &self.key {
            Key::EdDsa(key) => key.sign_with_options(claims, &header),
            Key::Es256(key) => key.sign_with_options(claims, &header),
            Key::Es384(key) => key.sign_with_options(claims, &header),
            Key::Ps256(key) => key.sign_with_options(claims, &header),
            Key::Rs256(key) => key.sign_with_options(claims, &header),
        };
        token.expect("claims that can be signed")
    }
}
