//! The key that signs the demo's RS256 tokens, in the forms that the others read.

use anyhow::{Context, Result};
use ct_codecs::{Base64, Base64UrlSafeNoPadding, Decoder, Encoder};

use crate::bench::client::{Connection, request};

/// An RSA public key.
pub(crate) struct PublicKey {
    jwk: String,
}

impl PublicKey {
    /// Asks the provider on that port.
    ///
    /// # Errors
    /// When its key set has no key for RS256.
    pub(crate) fn fetch(port: u16) -> Result<Self> {
        let answer = Connection::open(port)?.send(&request("GET", port, "/jwks", &[], ""))?;
        Self::of(&answer.text()).context("no key for RS256 at /jwks")
    }

    fn of(jwks: &str) -> Option<Self> {
        let (_, list) = jwks.split_once('[')?;
        // The demo's keys are flat objects.
        let mut keys = list.split('{').filter_map(|rest| rest.split_once('}'));
        let (jwk, _) = keys.find(|(key, _)| key.contains("\"alg\":\"RS256\""))?;
        Some(Self {
            jwk: format!("{{{jwk}}}"),
        })
    }

    /// The key set with nothing else in it.
    pub(crate) fn jwks(&self) -> String {
        format!("{{\"keys\":[{}]}}", self.jwk)
    }

    /// A member of the key.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) fn member(&self, name: &str) -> Result<&str> {
        let found = self.jwk.split_once(&format!("\"{name}\":\""));
        let value = found.and_then(|(_, rest)| rest.split_once('"'));
        Ok(value.with_context(|| format!("no {name} in the key"))?.0)
    }

    /// As PEM of a `SubjectPublicKeyInfo` (RFC 5280 section 4.1, RFC 8017 appendix A.1.1).
    ///
    /// # Errors
    /// When the key is malformed.
    pub(crate) fn pem(&self) -> Result<String> {
        let number = |name| -> Result<Vec<u8>> {
            let bytes = Base64UrlSafeNoPadding::decode_to_vec(self.member(name)?, None)?;
            // DER's integers have a sign, and no byte more than they need.
            let sign: &[u8] = match bytes.first() {
                Some(0x80..) => &[0],
                _ => &[],
            };
            der(0x02, &[sign, &bytes].concat())
        };
        let key = der(0x30, &[number("n")?, number("e")?].concat())?;
        let bits = der(0x03, &[&[0], key.as_slice()].concat())?;
        let info = Base64::encode_to_string(der(0x30, &[&RSA_ENCRYPTION, &*bits].concat())?)?;
        let mut pem = "-----BEGIN PUBLIC KEY-----\n".to_owned();
        for (place, character) in info.chars().enumerate() {
            if place > 0 && place % 64 == 0 {
                pem.push('\n');
            }
            pem.push(character);
        }
        Ok(pem + "\n-----END PUBLIC KEY-----\n")
    }
}

/// A value with its tag and length.
fn der(tag: u8, value: &[u8]) -> Result<Vec<u8>> {
    let length = u16::try_from(value.len()).context("a key that is too long")?;
    let [high, low] = length.to_be_bytes();
    let head = match length {
        0..=0x7f => vec![tag, low],
        0x80..=0xff => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    Ok([head.as_slice(), value].concat())
}

/// `AlgorithmIdentifier` of RSA: 1.2.840.113549.1.1.1, and no parameters.
const RSA_ENCRYPTION: [u8; 15] = [
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

#[cfg(test)]
mod tests {
    use super::*;
    use jwt_simple::prelude::{RS256KeyPair, RS256PublicKey};

    #[test]
    fn the_pem_is_that_of_the_key() {
        let key = RS256KeyPair::generate(2_048).unwrap().public_key();
        let (n, e) = {
            let parts = key.to_components();
            let text = |bytes: &[u8]| Base64UrlSafeNoPadding::encode_to_string(bytes).unwrap();
            (text(&parts.n), text(&parts.e))
        };
        let jwks = format!(
            "{{\"keys\":[{{\"alg\":\"ES256\",\"kid\":\"a\"}},\
             {{\"alg\":\"RS256\",\"e\":\"{e}\",\"kid\":\"b\",\"kty\":\"RSA\",\"n\":\"{n}\"}}]}}"
        );
        let found = PublicKey::of(&jwks).unwrap();
        assert_eq!(found.member("kid").unwrap(), "b");
        assert!(found.member("x").is_err());
        assert_eq!(PublicKey::of(&found.jwks()).unwrap().jwk, found.jwk);
        let read = RS256PublicKey::from_pem(&found.pem().unwrap()).unwrap();
        assert_eq!(read.to_components().n, key.to_components().n);
        assert!(PublicKey::of("{\"keys\":[{\"alg\":\"ES256\"}]}").is_none());
    }
}
