//! One public verification key (RFC 7517, RFC 7518 section 6, RFC 8037 section 2).
//!
//! jwt-simple gets the key's numbers alone. It refuses a JWK over 8 kB: an `x5c` chain, which
//! airside never uses, would make a good key unusable.

use jwt_simple::prelude::{ES256PublicKey, ES384PublicKey, Ed25519PublicKey};
use serde_json::Value;

use crate::encoding::base64url_decode;
use crate::jose::alg::Algorithm;

/// RSA moduli under this size are refused (RFC 7518 section 3.3).
const MIN_RSA_BITS: usize = 2_048;
/// Larger ones are refused too: verifying would cost more than a request may.
const MAX_RSA_BITS: usize = 4_096;

/// A public key that may verify signatures.
#[derive(Clone)]
pub struct Jwk {
    kid: Option<String>,
    alg: Option<String>,
    pub(super) material: Material,
}

/// The key itself.
#[derive(Clone)]
pub(super) enum Material {
    Ed25519(Ed25519PublicKey),
    P256(ES256PublicKey),
    P384(ES384PublicKey),
    /// Modulus and exponent: which RSA scheme applies is known with the token only.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
}

impl std::fmt::Debug for Jwk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jwk")
            .field("kid", &self.kid)
            .field("alg", &self.alg)
            .finish_non_exhaustive()
    }
}

impl Jwk {
    /// Reads one member of a key set's `keys`; `None` when it is no key that can verify a
    /// signature here (another type, too small, for encryption, malformed).
    pub fn from_value(value: &Value) -> Option<Self> {
        let members = value.as_object()?;
        let string = |name: &str| members.get(name).and_then(Value::as_str);
        // RFC 7517 sections 4.2 and 4.3: a key meant for something else does not verify.
        if members
            .get("use")
            .is_some_and(|usage| usage.as_str() != Some("sig"))
        {
            return None;
        }
        if let Some(key_ops) = members.get("key_ops")
            && !key_ops
                .as_array()?
                .iter()
                .any(|op| op.as_str() == Some("verify"))
        {
            return None;
        }
        // A member of the wrong type makes the key doubtful: it is not used.
        if ["kid", "alg"]
            .iter()
            .any(|name| members.get(*name).is_some_and(|v| !v.is_string()))
        {
            return None;
        }
        let material = match (string("kty")?, string("crv")) {
            ("RSA", _) => rsa(string("n")?, string("e")?)?,
            ("EC", Some("P-256")) => {
                let point = point(string("x")?, string("y")?, 32)?;
                Material::P256(ES256PublicKey::from_bytes(&point).ok()?)
            }
            ("EC", Some("P-384")) => {
                let point = point(string("x")?, string("y")?, 48)?;
                Material::P384(ES384PublicKey::from_bytes(&point).ok()?)
            }
            ("OKP", Some("Ed25519")) => {
                let x = base64url_decode(string("x")?).ok()?;
                Material::Ed25519(Ed25519PublicKey::from_bytes(&x).ok()?)
            }
            _ => return None,
        };
        let owned = |name: &str| string(name).map(str::to_owned);
        Some(Jwk {
            kid: owned("kid"),
            alg: owned("alg"),
            material,
        })
    }

    /// The key's `kid`.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// True when the key's type, and its `alg` if it names one, fit `algorithm`.
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        let type_fits = match self.material {
            Material::Ed25519(_) => algorithm == Algorithm::EdDsa,
            Material::P256(_) => algorithm == Algorithm::Es256,
            Material::P384(_) => algorithm == Algorithm::Es384,
            Material::Rsa { .. } => matches!(algorithm, Algorithm::Ps256 | Algorithm::Rs256),
        };
        type_fits
            && self
                .alg
                .as_ref()
                .is_none_or(|alg| alg.parse() == Ok(algorithm))
    }
}

fn rsa(n: &str, e: &str) -> Option<Material> {
    let n = base64url_decode(n).ok()?;
    let e = base64url_decode(e).ok()?;
    // RFC 7518 section 6.3.1.1 forbids leading zeros, yet some providers send one.
    let leading = n.iter().take_while(|byte| **byte == 0).count();
    let significant = n.get(leading..)?;
    let bits = significant.len() * 8 - significant.first()?.leading_zeros() as usize;
    if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
        return None;
    }
    let n = significant.to_vec();
    // jwt-simple has the last word on exponent and form.
    jwt_simple::prelude::RS256PublicKey::from_components(&n, &e).ok()?;
    Some(Material::Rsa { n, e })
}

/// The uncompressed point (SEC 1 section 2.3.3) of two coordinates, each of the curve's full
/// length (RFC 7518 section 6.2.1.2). Whether it is on the curve is jwt-simple's word.
fn point(x: &str, y: &str, length: usize) -> Option<Vec<u8>> {
    let (x, y) = (base64url_decode(x).ok()?, base64url_decode(y).ok()?);
    (x.len() == length && y.len() == length).then(|| [&[4], x.as_slice(), y.as_slice()].concat())
}

#[cfg(test)]
pub(super) mod tests;
