//! airside's own signing keys, private JSON Web Keys (RFC 7517, RFC 7518 section 6, RFC 8037
//! section 2), and what they sign (RFC 7515).
//!
//! The signatures are made by the primitives that `jose::jwk` verifies with, and deterministically
//! (RFC 6979, RFC 8032). RSA is apart: jwt-simple reads such keys and signs with them, and only
//! with the feature `rsa-signing`, since RSA private-key operations happen only where a provider
//! demands them.

use ed25519_compact::{KeyPair, Seed};
use hmac_sha256::Hash as Sha256;
#[cfg(any(test, feature = "rsa-signing"))]
use jwt_simple::prelude::*;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::elliptic_curve::point::AffineCoordinates;
use serde_json::{Map, Value};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::encoding::{base64url_decode_secret, base64url_encode, parse_json_object};
use crate::jose::alg::Algorithm;
use crate::secret::Secret;

/// Longer ones are refused.
const MAX_JWK_BYTES: usize = 8 * 1024;

/// Members that hold key material. One that the key's type does not have is refused.
const MATERIAL: [&str; 15] = [
    "crv", "d", "dp", "dq", "e", "k", "n", "oth", "p", "priv", "pub", "q", "qi", "x", "y",
];

/// Not a private JWK for the algorithm. Never shows any of it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("expected a private JSON Web Key for {}", .0.name())]
pub struct SigningKeyError(pub Algorithm);

/// A private key with one algorithm.
pub struct SigningKey {
    kid: String,
    material: Material,
}

/// The key itself. Each wipes its private half when dropped.
enum Material {
    Ed25519(KeyPair),
    P256(p256::ecdsa::SigningKey),
    #[cfg(any(test, feature = "rsa-signing"))]
    Rsa(Box<RS256KeyPair>),
}

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
        curve_key(jwk.expose().trim(), algorithm).ok_or(SigningKeyError(algorithm))
    }

    /// Reads a private RSA JWK of 2,048 to 4,096 bits, for RS256.
    ///
    /// # Errors
    /// [`SigningKeyError`].
    #[cfg(any(test, feature = "rsa-signing"))]
    pub fn parse_rsa(jwk: &Secret<String>) -> Result<Self, SigningKeyError> {
        let key = RS256KeyPair::from_jwk(jwk.expose().trim())
            .map_err(|_| SigningKeyError(Algorithm::Rs256))?;
        let kid = match key.key_id() {
            Some(kid) => kid.clone(),
            None => key.jwk_thumbprint(),
        };
        let material = Material::Rsa(Box::new(key.with_key_id(&kid)));
        Ok(SigningKey { kid, material })
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
        let mut jwk = match &self.material {
            #[cfg(any(test, feature = "rsa-signing"))]
            Material::Rsa(key) => {
                let jwk = key.public_key().to_jwk();
                return parse_json_object(jwk.as_bytes(), MAX_JWK_BYTES).unwrap_or_default();
            }
            _ => self.material.public_members(),
        };
        let algorithm = match self.material {
            Material::Ed25519(_) => Algorithm::EdDsa,
            _ => Algorithm::Es256,
        };
        for (name, value) in [
            ("alg", algorithm.name()),
            ("kid", self.kid.as_str()),
            ("use", "sig"),
        ] {
            jwk.insert(name.to_owned(), value.into());
        }
        jwk
    }

    /// `claims` as a JWS of media type `typ`, with the key's `kid`; `None` when `claims` is no
    /// object, or an RSA key finds no randomness on the host.
    pub fn sign(&self, typ: &str, claims: Value) -> Option<Secret<String>> {
        if !claims.is_object() {
            return None;
        }
        let algorithm = match &self.material {
            Material::Ed25519(_) => Algorithm::EdDsa,
            Material::P256(_) => Algorithm::Es256,
            #[cfg(any(test, feature = "rsa-signing"))]
            Material::Rsa(key) => return sign_rsa(key, typ, claims),
        };
        let mut header = Map::new();
        for (name, value) in [
            ("alg", algorithm.name()),
            ("kid", self.kid.as_str()),
            ("typ", typ),
        ] {
            header.insert(name.to_owned(), value.into());
        }
        let mut jws = base64url_encode(Value::Object(header).to_string().as_bytes());
        jws.push('.');
        jws.push_str(&base64url_encode(claims.to_string().as_bytes()));
        let signature = self.material.signature(jws.as_bytes())?;
        jws.push('.');
        jws.push_str(&base64url_encode(&signature));
        Some(Secret::new(jws))
    }
}

impl Material {
    /// `crv`, `kty` and the coordinates: the members that a thumbprint is made of.
    fn public_members(&self) -> Map<String, Value> {
        let mut members = Map::new();
        let mut add = |name: &str, value: String| members.insert(name.to_owned(), value.into());
        match self {
            Material::Ed25519(pair) => {
                add("crv", "Ed25519".to_owned());
                add("kty", "OKP".to_owned());
                add("x", base64url_encode(pair.pk.as_ref()));
            }
            Material::P256(key) => {
                let point = key.verifying_key().as_affine();
                add("crv", "P-256".to_owned());
                add("kty", "EC".to_owned());
                add("x", base64url_encode(&point.x()));
                add("y", base64url_encode(&point.y()));
            }
            #[cfg(any(test, feature = "rsa-signing"))]
            Material::Rsa(_) => {}
        }
        members
    }

    fn signature(&self, message: &[u8]) -> Option<[u8; 64]> {
        match self {
            Material::Ed25519(pair) => Some(*pair.sk.sign(message, None)),
            // RFC 7518 section 3.4: r and s, each as long as the curve's order.
            Material::P256(key) => {
                let signature: p256::ecdsa::Signature =
                    key.sign_prehash(&Sha256::hash(message)).ok()?;
                Some(signature.to_bytes().into())
            }
            #[cfg(any(test, feature = "rsa-signing"))]
            Material::Rsa(_) => None,
        }
    }
}

/// The private key for ES256 or EdDSA that `jwk` is: with all members of its type and none of
/// another, both halves of one pair, and meant for signing if it says what it is for (RFC 7517
/// section 4).
fn curve_key(jwk: &str, algorithm: Algorithm) -> Option<SigningKey> {
    let (kty, crv) = match algorithm {
        Algorithm::EdDsa => ("OKP", "Ed25519"),
        Algorithm::Es256 => ("EC", "P-256"),
        Algorithm::Es384 | Algorithm::Ps256 | Algorithm::Rs256 => return None,
    };
    let mut members = parse_json_object(jwk.as_bytes(), MAX_JWK_BYTES).ok()?;
    let Some(Value::String(d)) = members.remove("d") else {
        return None;
    };
    let d = Zeroizing::new(d);
    let d = Zeroizing::new(base64url_decode_secret(&d).ok()?);
    let d: &[u8; 32] = d.as_slice().try_into().ok()?;
    // A member of the wrong type makes the key doubtful.
    let optional = |name: &str| match members.get(name) {
        None => Some(None),
        Some(value) => value.as_str().map(Some),
    };
    let (alg, kid) = (optional("alg")?, optional("kid")?);
    let fits = optional("kty")? == Some(kty)
        && optional("crv")? == Some(crv)
        && optional("use")?.is_none_or(|usage| usage == "sig")
        // RFC 9864 section 2.2 gave EdDSA with this curve a name of its own.
        && alg.is_none_or(|alg| alg == algorithm.name() || alg == crv && kty == "OKP");
    if !fits || !members.get("key_ops").is_none_or(allow_signing) {
        return None;
    }
    let material = match algorithm {
        Algorithm::EdDsa => {
            let mut seed = Seed::new(*d);
            let pair = KeyPair::try_from_seed(seed);
            seed.wipe_mut();
            Material::Ed25519(pair.ok()?)
        }
        _ => Material::P256(p256::ecdsa::SigningKey::from_bytes(d.into()).ok()?),
    };
    // Both halves belong together, and there is no material of another type.
    let public = material.public_members();
    if MATERIAL
        .iter()
        .any(|name| members.get(*name) != public.get(*name))
    {
        return None;
    }
    let kid = match kid {
        Some(kid) => kid.to_owned(),
        // RFC 7638 section 3: the members that the type requires, sorted by name.
        None => base64url_encode(&Sha256::hash(Value::Object(public).to_string().as_bytes())),
    };
    Some(SigningKey { kid, material })
}

/// True when `key_ops` is a list of what a private key does, each once, and signing is there
/// (RFC 7517 section 4.3).
fn allow_signing(key_ops: &Value) -> bool {
    let Some(operations) = key_ops.as_array() else {
        return false;
    };
    let count = |name: &str| {
        let named = |op: &&Value| op.as_str() == Some(name);
        operations.iter().filter(named).count()
    };
    let (sign, verify) = (count("sign"), count("verify"));
    sign == 1 && verify <= 1 && operations.len() == sign + verify
}

#[cfg(any(test, feature = "rsa-signing"))]
fn sign_rsa(key: &RS256KeyPair, typ: &str, claims: Value) -> Option<Secret<String>> {
    let options = jwt_simple::common::HeaderOptions {
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
    key.sign_with_options(claims, &options)
        .ok()
        .map(Secret::new)
}

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

    /// The verdict and the `kid` are those of jwt-simple.
    #[test]
    fn private_keys_are_read_as_jwt_simple_reads_them() {
        for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
            let good = private(algorithm);
            let d = good["d"].as_str().expect("d");
            let mut verdicts = [0, 0];
            for (member, value) in [
                ("ext", json!({"nested": [1]})),
                ("kid", json!("")),
                ("kid", json!("a \"key\"")),
                ("kid", json!(7)),
                ("kid", json!(null)),
                ("alg", json!("Ed25519")),
                ("alg", json!("ES256")),
                ("alg", json!("EdDSA")),
                ("alg", json!("P-256")),
                ("alg", json!("none")),
                ("alg", json!(null)),
                ("use", json!("sig")),
                ("use", json!("")),
                ("use", json!(null)),
                ("key_ops", json!(["sign"])),
                ("key_ops", json!(["verify", "sign"])),
                ("key_ops", json!(["sign", "sign"])),
                ("key_ops", json!(["sign", "verify", "verify"])),
                ("key_ops", json!(["sign", "encrypt"])),
                ("key_ops", json!(["sign", 1])),
                ("key_ops", json!([])),
                ("key_ops", json!("sign")),
                ("key_ops", json!(null)),
                ("kty", json!("oct")),
                ("kty", json!(null)),
                ("crv", json!("P-384")),
                ("crv", json!("X25519")),
                ("x", json!("")),
                ("x", json!(null)),
                ("y", json!("AA")),
                ("y", json!(null)),
                ("n", json!("AQAB")),
                ("k", json!("AQAB")),
                ("oth", json!([])),
                ("priv", json!(null)),
                ("d", json!(format!("{d}="))),
                ("d", json!(&d[..42])),
                ("d", json!(format!("AAAA{d}"))),
                ("d", json!("A".repeat(43))),
                ("d", json!(format!("{}8", "_".repeat(42)))),
                ("d", json!(1)),
                ("d", json!(null)),
                ("x5c", json!(["A".repeat(MAX_JWK_BYTES)])),
            ] {
                for without_kid in [false, true] {
                    let mut jwk = good.clone();
                    let members = jwk.as_object_mut().expect("object");
                    if without_kid {
                        members.remove("kid");
                    }
                    members.insert(member.to_owned(), value.clone());
                    let text = jwk.to_string();
                    let oracle = match algorithm {
                        Algorithm::EdDsa => Ed25519KeyPair::from_jwk(&text)
                            .ok()
                            .map(|key| key.key_id().clone().unwrap_or(key.jwk_thumbprint())),
                        _ => ES256KeyPair::from_jwk(&text)
                            .ok()
                            .map(|key| key.key_id().clone().unwrap_or(key.jwk_thumbprint())),
                    };
                    let ours = parse(&jwk, algorithm).ok().map(|key| key.kid);
                    assert_eq!(ours, oracle, "{algorithm}: {member} {value}");
                    verdicts[usize::from(ours.is_some())] += 1;
                }
            }
            assert!(verdicts.iter().all(|count| *count > 10), "{verdicts:?}");
            let twice = good.to_string().replacen('{', "{\"kty\":\"EC\",", 1);
            assert!(SigningKey::parse(&Secret::new(twice), algorithm).is_err());
        }
    }

    #[test]
    fn signatures_are_deterministic_and_only_objects_are_signed() {
        for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
            let key = parse(&private(algorithm), algorithm).expect("key");
            let first = key.sign("JWT", json!({"n": 1})).expect("signed");
            assert_eq!(key.sign("JWT", json!({"n": 1})), Some(first));
            assert_eq!(key.sign("JWT", json!([1])), None);
        }
    }

    #[test]
    fn the_thumbprint_is_that_of_the_example() {
        // RFC 8037 appendices A.1 and A.3.
        let jwk = json!({"kty": "OKP", "crv": "Ed25519",
            "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        let key = parse(&jwk, Algorithm::EdDsa).expect("key");
        assert_eq!(key.kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }
}
