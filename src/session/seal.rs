//! Sealing: authenticated encryption of everything that airside hands to a browser, a store or
//! another component, bound to a purpose, a format version and an expiry.
//!
//! A sealed value is a compact JWE (RFC 7516) with A256KW and A256GCM, made by jwt-simple,
//! which draws a fresh content key and nonce for each seal, and opened by [`jwe`](super::jwe).
//! `kid` names the ring key. The
//! key in use is derived from the ring key for one purpose and one format version by
//! HKDF-SHA256 (RFC 5869); both also stand inside, and both are required when opening.

use std::cell::OnceCell;

use hmac_sha256::{HKDF, HMAC};
use jwt_simple::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::encoding::{base64url_decode_secret, parse_own_json_object};
use crate::secret::Secret;
use crate::session::jwe::Jwe;
use crate::time::UnixTime;

/// Version of everything sealed. Raising it makes all older values unreadable.
const FORMAT_VERSION: u8 = 1;
/// Sealed values longer than this are refused before any work. The longest are replies of
/// `tokens` with three tokens of 16 KiB inside, which sealing makes a third longer.
pub const MAX_SEALED_BYTES: usize = 96 * 1024;
const MAX_KEYS: usize = 8;

/// What a sealed value is for. One for another purpose cannot be opened: it is under another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A document kept in the key-value store; the name says of what kind.
    Cache(&'static str),
    /// The `state` of a logout at the provider.
    LogoutState,
    /// A revocation mark, or the watermark.
    Revocation,
    /// What is known about a refresh token.
    RefreshMark,
    /// What a refresh gave.
    RefreshResult,
    /// A session cookie.
    Session,
    /// A session in the key-value store; sealed with a key of its own.
    SessionRecord,
    /// The cookie of a session that is in the key-value store.
    SessionReference,
    /// The answer of `tokens` to the named operation.
    TokensReply(&'static str),
    /// A request to `tokens` for the named operation.
    TokensRequest(&'static str),
    /// One login attempt.
    Transaction,
}

impl Purpose {
    fn label(self) -> String {
        match self {
            Purpose::Cache(kind) => format!("cache/{kind}"),
            Purpose::LogoutState => "logout-state".to_owned(),
            Purpose::Revocation => "revocation".to_owned(),
            Purpose::RefreshMark => "refresh-mark".to_owned(),
            Purpose::RefreshResult => "refresh-result".to_owned(),
            Purpose::Session => "session".to_owned(),
            Purpose::SessionRecord => "session-record".to_owned(),
            Purpose::SessionReference => "session-reference".to_owned(),
            Purpose::TokensReply(operation) => format!("tokens-reply/{operation}"),
            Purpose::TokensRequest(operation) => format!("tokens-request/{operation}"),
            Purpose::Transaction => "transaction".to_owned(),
        }
    }
}

/// Why a key ring could not be read. Never shows any of it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum KeyRingError {
    /// A key id used twice.
    #[error("session_keys: a key id is used twice")]
    DuplicateKeyId,
    /// No key at all.
    #[error("session_keys: no key")]
    Empty,
    /// Not `<kid>:<base64url of 32 bytes>`, separated by commas.
    #[error("session_keys: expected <kid>:<base64url of 32 bytes>[,...]")]
    Malformed,
    /// More than eight keys.
    #[error("session_keys: more than 8 keys")]
    TooMany,
}

/// Why a value could not be sealed or opened.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SealError {
    /// Its time is over.
    #[error("sealed value expired")]
    Expired,
    /// Made with a key that is not on the ring.
    #[error("sealed with an unknown key")]
    UnknownKey,
    /// Changed, cut, for another purpose, or of another format version.
    #[error("not a sealed value for this purpose")]
    Unreadable,
    /// Could not be sealed: no randomness, or not representable.
    #[error("could not be sealed")]
    Unsealable,
}

struct RingKey {
    kid: String,
    key: Zeroizing<[u8; 32]>,
    /// What keys are derived from, made for the first of them: half of the work is the same for each.
    extracted: OnceCell<Zeroizing<[u8; 32]>>,
}

/// The session keys: the first seals, all open, so that keys rotate without logging anybody out.
pub struct KeyRing {
    keys: Vec<RingKey>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.keys.iter().map(|key| &key.kid))
            .finish()
    }
}

/// What is inside, beside `exp`. Short names: it travels in a cookie. The value is JSON and not of a
/// type of its own, so that jwt-simple's code for it is in a component once and not for each type.
#[derive(Serialize)]
struct Inner {
    v: u8,
    p: String,
    d: Value,
}

impl KeyRing {
    /// Reads `<kid>:<base64url of 32 bytes>[,<kid>:<base64url>...]`.
    ///
    /// # Errors
    /// [`KeyRingError`]; anything but a perfect ring is refused.
    pub fn parse(text: &Secret<String>) -> Result<Self, KeyRingError> {
        let text = text.expose().trim();
        if text.is_empty() {
            return Err(KeyRingError::Empty);
        }
        let mut keys: Vec<RingKey> = Vec::new();
        for entry in text.split(',') {
            let (kid, key) = entry
                .trim()
                .split_once(':')
                .ok_or(KeyRingError::Malformed)?;
            let kid_fits = !kid.is_empty()
                && kid.len() <= 32
                && kid
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            let bytes =
                Zeroizing::new(base64url_decode_secret(key).map_err(|_| KeyRingError::Malformed)?);
            let key: [u8; 32] = bytes
                .as_slice()
                .try_into()
                .map_err(|_| KeyRingError::Malformed)?;
            if !kid_fits {
                return Err(KeyRingError::Malformed);
            }
            if keys.iter().any(|known| known.kid == kid) {
                return Err(KeyRingError::DuplicateKeyId);
            }
            keys.push(RingKey {
                kid: kid.to_owned(),
                key: Zeroizing::new(key),
                extracted: OnceCell::new(),
            });
        }
        if keys.len() > MAX_KEYS {
            Err(KeyRingError::TooMany)
        } else {
            Ok(KeyRing { keys })
        }
    }

    /// Seals `value` for `purpose` until `exp`. Two seals of one value never look alike.
    ///
    /// # Errors
    /// [`SealError::Unsealable`].
    pub fn seal_at<T: Serialize>(
        &self,
        purpose: Purpose,
        value: &T,
        exp: UnixTime,
    ) -> Result<String, SealError> {
        let ring_key = self.keys.first().ok_or(SealError::Unsealable)?;
        let label = purpose.label();
        let key = wrapping_key(ring_key, &label)?;
        let claims = JWTClaims {
            issued_at: None,
            expires_at: Some(Duration::from_secs(exp.as_secs())),
            invalid_before: None,
            issuer: None,
            subject: None,
            audiences: None,
            jwt_id: None,
            nonce: None,
            custom: Inner {
                v: FORMAT_VERSION,
                p: label,
                d: serde_json::to_value(value).map_err(|_| SealError::Unsealable)?,
            },
        };
        let options = EncryptionOptions {
            key_id: Some(ring_key.kid.clone()),
            ..Default::default()
        };
        key.encrypt_with_options(claims, &options)
            .map_err(|_| SealError::Unsealable)
    }

    /// Opens what [`KeyRing::seal_at`] made for the same purpose, before its expiry.
    ///
    /// # Errors
    /// [`SealError`]; a value without expiry does not open.
    pub fn open_at<T: DeserializeOwned>(
        &self,
        purpose: Purpose,
        sealed: &str,
        now: UnixTime,
    ) -> Result<T, SealError> {
        let opened = self.open_with_expiry(purpose, sealed, now);
        opened.map(|(value, _)| value)
    }

    /// The same, with the expiry.
    ///
    /// # Errors
    /// As [`KeyRing::open_at`].
    pub fn open_with_expiry<T: DeserializeOwned>(
        &self,
        purpose: Purpose,
        sealed: &str,
        now: UnixTime,
    ) -> Result<(T, UnixTime), SealError> {
        if sealed.len() > MAX_SEALED_BYTES {
            return Err(SealError::Unreadable);
        }
        let jwe = Jwe::read(sealed).ok_or(SealError::Unreadable)?;
        // The kid chooses a key of our own ring; a lie about it fails to decrypt.
        let ring_key = self
            .keys
            .iter()
            .find(|key| key.kid == jwe.kid())
            .ok_or(SealError::UnknownKey)?;
        let label = purpose.label();
        let key = sealing_key(ring_key, &label);
        let plaintext = jwe.open(&key).ok_or(SealError::Unreadable)?;
        let mut inner = parse_own_json_object(&plaintext).map_err(|_| SealError::Unreadable)?;
        let number = |name| inner.get(name).and_then(Value::as_u64);
        if number("v") != Some(FORMAT_VERSION.into())
            || inner.get("p").and_then(Value::as_str) != Some(&label)
        {
            return Err(SealError::Unreadable);
        }
        let exp = UnixTime::from_secs(number("exp").ok_or(SealError::Unreadable)?);
        if now >= exp {
            return Err(SealError::Expired);
        }
        let value = inner.remove("d").ok_or(SealError::Unreadable)?;
        let value = serde_json::from_value(value).map_err(|_| SealError::Unreadable)?;
        Ok((value, exp))
    }

    /// A MAC over `parts` under the first ring key. Each part's length is authenticated too, so
    /// that moving a boundary changes the MAC.
    pub fn mac(&self, purpose: Purpose, parts: &[impl AsRef<[u8]>]) -> [u8; 32] {
        self.keys
            .first()
            .map_or([0; 32], |key| mac(key, purpose, parts))
    }

    /// True when `tag` is the MAC of `parts` under any ring key. Constant time per key.
    pub fn verify_mac(&self, purpose: Purpose, parts: &[impl AsRef<[u8]>], tag: &[u8]) -> bool {
        use subtle::ConstantTimeEq;
        self.keys
            .iter()
            .any(|key| bool::from(mac(key, purpose, parts).as_slice().ct_eq(tag)))
    }
}

fn derive(ring_key: &RingKey, use_label: &str) -> Zeroizing<[u8; 32]> {
    let extract = || Zeroizing::new(HKDF::extract(b"airside", ring_key.key.as_slice()));
    let prk = ring_key.extracted.get_or_init(extract);
    let mut key = Zeroizing::new([0; 32]);
    HKDF::expand(key.as_mut_slice(), prk.as_slice(), use_label.as_bytes());
    key
}

fn sealing_key(ring_key: &RingKey, label: &str) -> Zeroizing<[u8; 32]> {
    derive(ring_key, &format!("v{FORMAT_VERSION}/seal/{label}"))
}

fn wrapping_key(ring_key: &RingKey, label: &str) -> Result<A256KWKey, SealError> {
    let key = sealing_key(ring_key, label);
    A256KWKey::from_bytes(key.as_slice()).map_err(|_| SealError::Unsealable)
}

fn mac(ring_key: &RingKey, purpose: Purpose, parts: &[impl AsRef<[u8]>]) -> [u8; 32] {
    let key = derive(
        ring_key,
        &format!("v{FORMAT_VERSION}/mac/{}", purpose.label()),
    );
    let mut hmac = HMAC::new(key.as_slice());
    for part in parts {
        let part = part.as_ref();
        hmac.update((part.len() as u64).to_be_bytes());
        hmac.update(part);
    }
    hmac.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_000);
    const LATER: UnixTime = UnixTime::from_secs(2_000);

    fn ring(entries: &[(&str, u8)]) -> KeyRing {
        let text: Vec<String> = entries
            .iter()
            .map(|(kid, byte)| format!("{kid}:{}", crate::encoding::base64url_encode(&[*byte; 32])))
            .collect();
        KeyRing::parse(&Secret::new(text.join(","))).expect("ring")
    }

    #[test]
    fn a_sealed_value_opens_for_its_purpose_until_its_expiry() {
        let ring = ring(&[("a", 1)]);
        let sealed = ring
            .seal_at(Purpose::Session, &"hello", LATER)
            .expect("sealed");
        let open = |purpose, now| ring.open_at::<String>(purpose, &sealed, now);
        assert_eq!(open(Purpose::Session, NOW).as_deref(), Ok("hello"));
        assert_eq!(
            open(Purpose::Session, UnixTime::from_secs(1_999)).as_deref(),
            Ok("hello")
        );
        assert_eq!(open(Purpose::Session, LATER), Err(SealError::Expired));
        assert_eq!(open(Purpose::Transaction, NOW), Err(SealError::Unreadable));
        assert_eq!(
            open(Purpose::TokensRequest("refresh"), NOW),
            Err(SealError::Unreadable)
        );
    }

    #[test]
    fn what_is_read_of_strangers_can_be_opened_however_deep_it_is() {
        let ring = ring(&[("a", 1)]);
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(15), "]".repeat(15));
        let claims = crate::encoding::parse_json_object(deep.as_bytes(), 100).expect("JSON");
        let value = serde_json::json!({ "session": { "claims": claims } });
        let sealed = ring.seal_at(Purpose::Session, &value, LATER);
        let opened = ring.open_at::<Value>(Purpose::Session, &sealed.expect("sealed"), NOW);
        assert_eq!(opened, Ok(value));
    }

    #[test]
    fn two_seals_of_one_value_share_nothing_but_the_header() {
        let ring = ring(&[("a", 1)]);
        let seal = || {
            ring.seal_at(Purpose::Session, &"hello", LATER)
                .expect("sealed")
        };
        let (one, two) = (seal(), seal());
        for (index, (a, b)) in one.split('.').zip(two.split('.')).enumerate() {
            assert_eq!(a == b, index == 0, "part {index}");
        }
    }

    #[test]
    fn the_first_key_seals_and_all_open() {
        let (old, new, both) = (
            ring(&[("a", 1)]),
            ring(&[("b", 2)]),
            ring(&[("b", 2), ("a", 1)]),
        );
        let by_old = old.seal_at(Purpose::Session, &1, LATER).expect("sealed");
        let by_both = both.seal_at(Purpose::Session, &2, LATER).expect("sealed");
        assert_eq!(both.open_at::<i32>(Purpose::Session, &by_old, NOW), Ok(1));
        assert_eq!(new.open_at::<i32>(Purpose::Session, &by_both, NOW), Ok(2));
        assert_eq!(
            new.open_at::<i32>(Purpose::Session, &by_old, NOW),
            Err(SealError::UnknownKey)
        );
        // The same id with another key does not open either.
        let other = self::ring(&[("a", 9)]);
        assert_eq!(
            other.open_at::<i32>(Purpose::Session, &by_old, NOW),
            Err(SealError::Unreadable)
        );
    }

    #[test]
    fn any_changed_part_is_unreadable() {
        let ring = ring(&[("a", 1)]);
        let sealed = ring
            .seal_at(Purpose::Session, &"hello", LATER)
            .expect("sealed");
        assert!(
            ring.open_at::<String>(Purpose::Session, &sealed, NOW)
                .is_ok()
        );
        for index in 0..5 {
            let mut parts: Vec<String> = sealed.split('.').map(str::to_owned).collect();
            let flipped = if parts[index].starts_with('A') {
                "B"
            } else {
                "A"
            };
            parts[index].replace_range(0..1, flipped);
            let opened = ring.open_at::<String>(Purpose::Session, &parts.join("."), NOW);
            assert!(opened.is_err(), "part {index}");
        }
        for bad in ["", "a", "a.b.c.d.e", "....", &sealed[..sealed.len() - 1]] {
            assert!(
                ring.open_at::<String>(Purpose::Session, bad, NOW).is_err(),
                "{bad}"
            );
        }
    }

    fn claims(exp: Option<u64>, v: u8, p: &str) -> JWTClaims<Inner> {
        JWTClaims {
            issued_at: None,
            expires_at: exp.map(Duration::from_secs),
            invalid_before: None,
            issuer: None,
            subject: None,
            audiences: None,
            jwt_id: None,
            nonce: None,
            custom: Inner {
                v,
                p: p.to_owned(),
                d: 7.into(),
            },
        }
    }

    /// Seals by hand: under the key for `label`, with these contents.
    fn by_hand(ring: &KeyRing, label: &str, exp: Option<u64>, v: u8, p: &str) -> String {
        let key = wrapping_key(&ring.keys[0], label).expect("key");
        let sealed = key.with_key_id("a").encrypt(claims(exp, v, p));
        sealed.expect("sealed")
    }

    #[test]
    fn purpose_version_and_expiry_are_required_inside_and_the_purpose_in_the_key() {
        let ring = ring(&[("a", 1)]);
        let (later, version) = (Some(2_000), FORMAT_VERSION);
        let refused = Err(SealError::Unreadable);
        for (name, sealed, expected) in [
            (
                "as it should be",
                by_hand(&ring, "session", later, version, "session"),
                Ok(7),
            ),
            (
                "no expiry",
                by_hand(&ring, "session", None, version, "session"),
                refused,
            ),
            (
                "other version",
                by_hand(&ring, "session", later, version + 1, "session"),
                refused,
            ),
            (
                "other purpose",
                by_hand(&ring, "session", later, version, "transaction"),
                refused,
            ),
            (
                "other key",
                by_hand(&ring, "transaction", later, version, "session"),
                refused,
            ),
        ] {
            let opened = ring.open_at::<i32>(Purpose::Session, &sealed, NOW);
            assert_eq!(opened, expected, "{name}");
        }
    }

    #[test]
    fn no_other_content_encryption_is_opened_and_nothing_over_the_limit() {
        let ring = ring(&[("a", 1)]);
        let open = |sealed: &str| ring.open_at::<Value>(Purpose::Session, sealed, NOW);
        let resealed = |content_encryption| {
            let claims = claims(Some(2_000), FORMAT_VERSION, "session");
            let options = EncryptionOptions {
                content_encryption,
                key_id: Some("a".to_owned()),
                ..Default::default()
            };
            let key = wrapping_key(&ring.keys[0], "session").expect("key");
            key.encrypt_with_options(claims, &options).expect("sealed")
        };
        assert_eq!(open(&resealed(ContentEncryption::A256GCM)), Ok(7.into()));
        let other = resealed(ContentEncryption::A128GCM);
        assert_eq!(open(&other), Err(SealError::Unreadable));

        let long = |length: usize| {
            let sealed = ring.seal_at(Purpose::Session, &"x".repeat(length), LATER);
            sealed.expect("sealed")
        };
        let (fits, over) = (long(70_000), long(75_000));
        assert!(fits.len() <= MAX_SEALED_BYTES && over.len() > MAX_SEALED_BYTES);
        assert!(open(&fits).is_ok());
        assert_eq!(open(&over), Err(SealError::Unreadable));
    }

    #[test]
    fn macs_authenticate_boundaries_and_purpose() {
        let ring = ring(&[("a", 1)]);
        let tag = ring.mac(Purpose::Cache("jwks"), &[&b"ab"[..], b"c"]);
        assert!(ring.verify_mac(Purpose::Cache("jwks"), &[&b"ab"[..], b"c"], &tag));
        assert!(!ring.verify_mac(Purpose::Cache("jwks"), &[&b"a"[..], b"bc"], &tag));
        assert!(!ring.verify_mac(Purpose::Cache("metadata"), &[&b"ab"[..], b"c"], &tag));
        assert!(!ring.verify_mac(Purpose::Cache("jwks"), &[&b"ab"[..], b"c"], &tag[..31]));
    }

    #[test]
    fn a_ring_is_perfect_or_refused() {
        let key = crate::encoding::base64url_encode(&[1; 32]);
        let parse = |text: &str| KeyRing::parse(&Secret::from(text)).map(|_| ());
        assert_eq!(parse(&format!("a:{key}")), Ok(()));
        assert_eq!(parse(""), Err(KeyRingError::Empty));
        assert_eq!(
            parse(&format!("a:{key},a:{key}")),
            Err(KeyRingError::DuplicateKeyId)
        );
        let nine: Vec<String> = (0..9).map(|n| format!("{n}:{key}")).collect();
        assert_eq!(parse(&nine.join(",")), Err(KeyRingError::TooMany));
        for bad in [
            "a",
            "a:",
            ":x",
            "a:AAAA",
            &format!("a b:{key}"),
            &format!("a:{key},"),
            &format!("a:{key}AA"),
        ] {
            assert_eq!(parse(bad), Err(KeyRingError::Malformed), "{bad}");
        }
        assert_eq!(format!("{:?}", ring(&[("a", 1)])), r#"["a"]"#);
    }
}
