//! One public verification key (RFC 7517, RFC 7518 section 6, RFC 8037 section 2).
//!
//! A key is its numbers alone: an `x5c` chain, which airside never uses, is not even read. The
//! signatures are judged by the primitives that jwt-simple stands on: all of it would make the
//! gate a fifth larger, and RSA five times slower (ARCHITECTURE.md).

use std::cell::OnceCell;

use ed25519_compact::{PublicKey as Ed25519, Signature as Ed25519Signature};
use hmac_sha256::Hash as Sha256;
use hmac_sha512::sha384::Hash as Sha384;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::elliptic_curve::point::AffineCoordinates;
use serde_json::Value;

use crate::encoding::base64url_decode;
use crate::jose::alg::Algorithm;
use crate::jose::rsa::RsaPublicKey;

/// A public key that may verify signatures.
#[derive(Clone)]
pub struct Jwk {
    kid: Option<String>,
    alg: Option<String>,
    numbers: Numbers,
    /// Made for the first signature: whether a point is on its curve is a computation, and a set may
    /// have a hundred keys that sign nothing. `None` for numbers that are no key.
    material: OnceCell<Option<Material>>,
}

/// A key as it is written down.
#[derive(Clone)]
enum Numbers {
    Ed25519(Vec<u8>),
    P256(Vec<u8>, Vec<u8>),
    P384(Vec<u8>, Vec<u8>),
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

/// The key itself.
#[derive(Clone)]
enum Material {
    Ed25519(Ed25519),
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    /// Which RSA scheme applies is known with the token only.
    Rsa(RsaPublicKey),
}

impl Numbers {
    fn material(&self) -> Option<Material> {
        Some(match self {
            Numbers::Rsa { n, e } => Material::Rsa(RsaPublicKey::from_components(n, e)?),
            // RFC 7518 section 6.2.1.2: each coordinate has the curve's full length. Whether the
            // point is on the curve is the crate's word.
            Numbers::P256(x, y) => {
                let point = p256::AffinePoint::from_coordinates(
                    x.as_slice().try_into().ok()?,
                    y.as_slice().try_into().ok()?,
                );
                let point = Option::from(point)?;
                Material::P256(p256::ecdsa::VerifyingKey::from_affine(point).ok()?)
            }
            Numbers::P384(x, y) => {
                let point = p384::AffinePoint::from_coordinates(
                    x.as_slice().try_into().ok()?,
                    y.as_slice().try_into().ok()?,
                );
                let point = Option::from(point)?;
                Material::P384(p384::ecdsa::VerifyingKey::from_affine(point).ok()?)
            }
            Numbers::Ed25519(x) => {
                let key = Ed25519::from_slice(x).ok()?;
                // Neither points that are none nor those of a small order (RFC 8032
                // section 5.1.7 leaves the latter open; anybody can sign for them).
                key.validate().ok()?;
                Material::Ed25519(key)
            }
        })
    }
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
    /// Reads one member of a key set's `keys`; `None` when it is no key that could verify a
    /// signature here (another type, for encryption, malformed). See [`Jwk::is_usable`].
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
        let numbers = match (string("kty")?, string("crv")) {
            ("RSA", _) => Numbers::Rsa {
                n: number(string("n")?)?,
                e: number(string("e")?)?,
            },
            ("EC", Some("P-256")) => Numbers::P256(number(string("x")?)?, number(string("y")?)?),
            ("EC", Some("P-384")) => Numbers::P384(number(string("x")?)?, number(string("y")?)?),
            ("OKP", Some("Ed25519")) => Numbers::Ed25519(number(string("x")?)?),
            _ => return None,
        };
        let owned = |name: &str| string(name).map(str::to_owned);
        Some(Jwk {
            kid: owned("kid"),
            alg: owned("alg"),
            numbers,
            material: OnceCell::new(),
        })
    }

    /// Appends the key to `stored`, in a form of our own that [`Jwk::from_stored`] reads: what
    /// [`Jwk::from_value`] found right, as it found it.
    pub(super) fn store(&self, stored: &mut Vec<u8>) {
        let none = &Vec::new();
        let (kind, first, second) = match &self.numbers {
            Numbers::Ed25519(x) => (b'o', x, none),
            Numbers::P256(x, y) => (b'2', x, y),
            Numbers::P384(x, y) => (b'3', x, y),
            Numbers::Rsa { n, e } => (b'r', n, e),
        };
        stored.push(kind);
        for name in [&self.kid, &self.alg] {
            stored.push(u8::from(name.is_some()));
            store(name.as_deref().unwrap_or_default().as_bytes(), stored);
        }
        store(first, stored);
        store(second, stored);
    }

    /// Reads one key and takes it from the beginning of `stored`; `None` where there is none.
    pub(super) fn from_stored(stored: &mut &[u8]) -> Option<Self> {
        let kind = take_byte(stored)?;
        let mut name = || {
            let is_there = take_byte(stored)? == 1;
            let text = String::from_utf8(take(stored)?).ok()?;
            Some(is_there.then_some(text))
        };
        let (kid, alg) = (name()?, name()?);
        let (first, second) = (take(stored)?, take(stored)?);
        let numbers = match kind {
            b'o' => Numbers::Ed25519(first),
            b'2' => Numbers::P256(first, second),
            b'3' => Numbers::P384(first, second),
            b'r' => Numbers::Rsa {
                n: first,
                e: second,
            },
            _ => return None,
        };
        Some(Jwk {
            kid,
            alg,
            numbers,
            material: OnceCell::new(),
        })
    }

    /// The key's `kid`.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// True when the key's type, and its `alg` if it names one, fit `algorithm`.
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        let type_fits = match self.numbers {
            Numbers::Ed25519(_) => algorithm == Algorithm::EdDsa,
            Numbers::P256(..) => algorithm == Algorithm::Es256,
            Numbers::P384(..) => algorithm == Algorithm::Es384,
            Numbers::Rsa { .. } => matches!(algorithm, Algorithm::Ps256 | Algorithm::Rs256),
        };
        type_fits
            && self
                .alg
                .as_ref()
                .is_none_or(|alg| alg.parse() == Ok(algorithm))
    }

    /// True when the numbers are a key that can verify: of a permitted size, on its curve.
    pub fn is_usable(&self) -> bool {
        self.made().is_some()
    }

    fn made(&self) -> Option<&Material> {
        let made = self.material.get_or_init(|| self.numbers.material());
        made.as_ref()
    }

    /// The key's numbers: of two that differ in anything but their names, these differ.
    pub fn material(&self) -> Vec<u8> {
        let none: &[u8] = &[];
        let (kind, first, second): (&[u8], &[u8], &[u8]) = match &self.numbers {
            Numbers::Ed25519(x) => (b"Ed25519 ", x, none),
            Numbers::P256(x, y) => (b"P-256 ", x, y),
            Numbers::P384(x, y) => (b"P-384 ", x, y),
            // The exponent is always the same.
            Numbers::Rsa { n, .. } => (b"RSA ", n, none),
        };
        [kind, first, second].concat()
    }

    /// True when `signature` is this key's signature of `message` by `algorithm`.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        #[cfg(any(test, feature = "testing"))]
        checks::count();
        let Some(key) = self.made() else {
            return false;
        };
        match (key, algorithm) {
            (Material::Ed25519(key), Algorithm::EdDsa) => Ed25519Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            // RFC 7518 section 3.4: r and s, each as long as the curve's order.
            (Material::P256(key), Algorithm::Es256) => {
                p256::ecdsa::Signature::from_slice(signature).is_ok_and(|signature| {
                    key.verify_prehash(&Sha256::hash(message), &signature)
                        .is_ok()
                })
            }
            (Material::P384(key), Algorithm::Es384) => {
                p384::ecdsa::Signature::from_slice(signature).is_ok_and(|signature| {
                    key.verify_prehash(&Sha384::hash(message), &signature)
                        .is_ok()
                })
            }
            (Material::Rsa(key), Algorithm::Rs256) => key.verify_pkcs1(message, signature),
            (Material::Rsa(key), Algorithm::Ps256) => key.verify_pss(message, signature),
            _ => false,
        }
    }
}

/// Appends the length of `bytes`, in four bytes, and them.
fn store(bytes: &[u8], stored: &mut Vec<u8>) {
    stored.extend((bytes.len() as u32).to_be_bytes());
    stored.extend(bytes);
}

fn take(stored: &mut &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = stored.split_first_chunk()?;
    let (bytes, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *stored = rest;
    Some(bytes.to_vec())
}

fn take_byte(stored: &mut &[u8]) -> Option<u8> {
    let (byte, rest) = stored.split_first()?;
    *stored = rest;
    Some(*byte)
}

fn number(text: &str) -> Option<Vec<u8>> {
    base64url_decode(text).ok()
}

/// How many signatures were judged: what one request may cost is bounded, and tests count it.
#[cfg(any(test, feature = "testing"))]
pub mod checks {
    use std::cell::Cell;

    thread_local! {
        static COUNT: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn count() {
        COUNT.set(COUNT.get().saturating_add(1));
    }

    /// Those judged by this thread so far.
    pub fn so_far() -> usize {
        COUNT.get()
    }
}

#[cfg(test)]
pub(super) mod tests;
