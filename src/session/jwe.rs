//! Opens what [`seal`](super::seal) makes: a compact JWE (RFC 7516 section 7.1) with A256KW and
//! A256GCM (RFC 7518 sections 4.4 and 5.3).
//!
//! Every new instance opens its first session, and every request to `tokens` is one. jwt-simple,
//! which seals, takes twice as long to open and reads the contents as claims on the way; this stands
//! on the same primitives, and is held to it by the tests of [`seal`](super::seal).

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use aes_keywrap::Aes256KeyWrapAligned;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::encoding::{base64url_decode, parse_json_object};

/// A header of ours has an algorithm, an encryption and a name of 32 characters.
const MAX_HEADER_BYTES: usize = 256;

/// A sealed value whose header is one of ours. Nothing else of it was looked at.
pub(super) struct Jwe<'s> {
    kid: String,
    /// The header, encoded: it is authenticated as it stands.
    header: &'s str,
    encrypted_key: &'s str,
    nonce: &'s str,
    ciphertext: &'s str,
    tag: &'s str,
}

impl<'s> Jwe<'s> {
    /// Reads the header; `None` where it is not exactly what a sealed value has.
    pub(super) fn read(sealed: &'s str) -> Option<Self> {
        let mut parts = sealed.split('.');
        let header = parts.next()?;
        let jwe = Jwe {
            kid: kid(header)?,
            header,
            encrypted_key: parts.next()?,
            nonce: parts.next()?,
            ciphertext: parts.next()?,
            tag: parts.next()?,
        };
        parts.next().is_none().then_some(jwe)
    }

    /// Names the key, unverified.
    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    /// The plaintext; `None` where any part is not what was sealed under `key` (RFC 7516
    /// section 5.2).
    pub(super) fn open(&self, key: &[u8; 32]) -> Option<Vec<u8>> {
        // RFC 3394: the wrapped key is authenticated by itself.
        let wrapped = base64url_decode(self.encrypted_key).ok()?;
        let content_key = Aes256KeyWrapAligned::new(key).decapsulate(&wrapped).ok()?;
        let content_key = Zeroizing::new(content_key);
        // One of another length is not one of A256GCM.
        let cipher = Aes256Gcm::new_from_slice(&content_key).ok()?;
        let nonce = base64url_decode(self.nonce).ok()?;
        let nonce = Nonce::try_from(nonce.as_slice()).ok()?;
        let tag = base64url_decode(self.tag).ok()?;
        let tag = Tag::try_from(tag.as_slice()).ok()?;
        let mut text = base64url_decode(self.ciphertext).ok()?;
        // The tag is judged before anything is decrypted.
        cipher
            .decrypt_inout_detached(
                &nonce,
                self.header.as_bytes(),
                text.as_mut_slice().into(),
                &tag,
            )
            .ok()?;
        Some(text)
    }
}

/// The `kid` of a header that says `alg` and `enc` as ours do and nothing more: what is not
/// understood (`crit`, `zip`) is refused with all the rest.
fn kid(header: &str) -> Option<String> {
    let header = base64url_decode(header).ok()?;
    let mut members = parse_json_object(&header, MAX_HEADER_BYTES).ok()?;
    let mut take = |name: &str| match members.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let (alg, enc, kid) = (take("alg")?, take("enc")?, take("kid")?);
    (alg == "A256KW" && enc == "A256GCM" && members.is_empty()).then_some(kid)
}

#[cfg(test)]
mod tests {
    use jwt_simple::prelude::*;

    use super::*;
    use crate::encoding::base64url_encode;

    const KEY: [u8; 32] = [7; 32];
    const HEADER: &str = r#"{"alg":"A256KW","enc":"A256GCM","kid":"a"}"#;
    const TEXT: &[u8] = b"plaintext";

    fn open(sealed: &str) -> Option<Vec<u8>> {
        Jwe::read(sealed).and_then(|jwe| jwe.open(&KEY))
    }

    /// Seals by hand, under any header and any content key.
    fn sealed(header: &str, content_key: &[u8]) -> String {
        let header = base64url_encode(header.as_bytes());
        let wrapped = Aes256KeyWrapAligned::new(&KEY).encapsulate(content_key);
        let nonce = [3; 12];
        let mut text = TEXT.to_vec();
        // Where the content key is none, the rest does not matter.
        let cipher = Aes256Gcm::new_from_slice(content_key).unwrap_or(Aes256Gcm::new(&KEY.into()));
        let tag = cipher.encrypt_inout_detached(
            &Nonce::from(nonce),
            header.as_bytes(),
            text.as_mut_slice().into(),
        );
        let wrapped = base64url_encode(&wrapped.expect("wrapped"));
        let (nonce, text) = (base64url_encode(&nonce), base64url_encode(&text));
        let tag = base64url_encode(&tag.expect("tag"));
        format!("{header}.{wrapped}.{nonce}.{text}.{tag}")
    }

    #[test]
    fn a_header_is_as_ours_or_refused() {
        let check = |header: &str, opens: bool| {
            let opened = open(&sealed(header, &[9; 32]));
            assert_eq!(opened.is_some(), opens, "{header}");
        };
        check(HEADER, true);
        for (ours, other) in [
            ("A256KW", "A128KW"),
            ("A256KW", "dir"),
            ("A256GCM", "A128GCM"),
            (r#""a""#, "1"),
            (r#","kid":"a""#, ""),
            (r#""alg":"A256KW","#, ""),
            ("}", r#","crit":["b64"],"b64":false}"#),
            ("}", r#","zip":"DEF"}"#),
            ("}", r#","typ":"JWT"}"#),
            ("}", r#","kid":"a"}"#),
            ("}", ""),
        ] {
            check(&HEADER.replace(ours, other), false);
        }
    }

    #[test]
    fn a_content_key_of_another_length_is_refused() {
        assert_eq!(open(&sealed(HEADER, &[9; 32])).as_deref(), Some(TEXT));
        for length in [16, 24, 40] {
            assert_eq!(open(&sealed(HEADER, &vec![9; length])), None, "{length}");
        }
    }

    type Custom = std::collections::BTreeMap<String, String>;

    fn claims(text: &str) -> JWTClaims<Custom> {
        JWTClaims {
            issued_at: None,
            expires_at: None,
            invalid_before: None,
            issuer: None,
            subject: None,
            audiences: None,
            jwt_id: None,
            nonce: None,
            custom: Custom::from([("text".to_owned(), text.to_owned())]),
        }
    }

    #[test]
    fn it_opens_what_jwt_simple_opens_and_nothing_that_was_changed() {
        let key = A256KWKey::from_bytes(&KEY).expect("key").with_key_id("a");
        let text = "x".repeat(40);
        let sealed = key.encrypt(claims(&text)).expect("sealed");
        let opened = open(&sealed).expect("opened");
        let opened: Value = serde_json::from_slice(&opened).expect("JSON");
        assert_eq!(opened, serde_json::json!({ "text": text }));
        let opens = |sealed: &str| {
            let theirs = key.decrypt_token::<Custom>(sealed, None).is_ok();
            assert_eq!(open(sealed).is_some(), theirs, "{sealed}");
            theirs
        };
        assert!(opens(&sealed));
        for place in 0..sealed.len() {
            for other in ["A", "-", ".", "="] {
                let mut changed = sealed.clone();
                changed.replace_range(place..=place, other);
                assert_eq!(opens(&changed), changed == sealed, "{place}");
            }
            assert!(!opens(&sealed[..place]));
        }
        assert!(!opens(&format!("{sealed}.")));
        let other = A256KWKey::from_bytes(&[8; 32]).expect("key");
        let other = other.with_key_id("a").encrypt(claims(&text));
        assert!(!opens(&other.expect("sealed")));
    }
}
