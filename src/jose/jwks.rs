//! A provider's key set: parsing, selection of the one key, and when to fetch it again
//! (RFC 7517 section 5, OpenID Connect Core section 10.1.1).

use serde_json::Value;
use thiserror::Error;

use crate::encoding::parse_json_object;
use crate::jose::alg::Algorithm;
use crate::jose::jwk::Jwk;
use crate::time::{Lifetime, UnixTime};

/// Key set documents over this size are refused.
pub const MAX_JWKS_BYTES: usize = 256 * 1024;
/// Keys after this many are not looked at.
pub const MAX_KEYS: usize = 100;

/// The keys of one issuer.
#[derive(Clone, Debug)]
pub struct JwkSet {
    keys: Vec<Jwk>,
}

/// The document is not a key set.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not a JSON Web Key Set")]
pub struct JwksError;

/// Why no key could be chosen.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum KeySelectionError {
    /// No key of the set fits.
    #[error("no key of the set fits the token")]
    NoKey,
    /// More than one key fits: guessing is not verifying.
    #[error("more than one key of the set fits the token")]
    SeveralKeys,
}

impl JwkSet {
    /// Reads a key set. Keys that cannot be used are left out; one bad key does not drop the set.
    ///
    /// # Errors
    /// [`JwksError`] when the document is not an object with an array `keys`.
    pub fn parse(document: &[u8]) -> Result<Self, JwksError> {
        let object = parse_json_object(document, MAX_JWKS_BYTES).map_err(|_| JwksError)?;
        let keys = object
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(JwksError)?;
        Ok(JwkSet {
            keys: keys
                .iter()
                .take(MAX_KEYS)
                .filter_map(Jwk::from_value)
                .collect(),
        })
    }

    /// The one key that fits `algorithm` and `kid`.
    ///
    /// # Errors
    /// [`KeySelectionError`] when none or several fit.
    pub fn select(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
    ) -> Result<&Jwk, KeySelectionError> {
        let mut fitting = self
            .keys
            .iter()
            .filter(|key| key.fits(algorithm))
            .filter(|key| kid.is_none() || key.kid() == kid);
        let first = fitting.next().ok_or(KeySelectionError::NoKey)?;
        match fitting.next() {
            None => Ok(first),
            Some(_) => Err(KeySelectionError::SeveralKeys),
        }
    }

    /// How many usable keys the set has.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// True when the set has no usable key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// A set younger than this is used without asking: providers announce keys ahead of use.
pub const FRESH: Lifetime = Lifetime::from_secs(600);
/// A set older than this is used no more, even when the provider is down.
pub const HARD_MAXIMUM: Lifetime = Lifetime::from_secs(24 * 3_600);
/// Fetches caused by an unknown `kid` are at least this far apart.
pub const COOLDOWN: Lifetime = Lifetime::from_secs(60);
/// After a fetch that failed, the next one waits this long: short, so that a provider that
/// comes back is found soon.
pub const FAILURE_COOLDOWN: Lifetime = Lifetime::from_secs(10);

/// What is known about a cached document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// When it was fetched; `None` when there is none.
    pub fetched_at: Option<UnixTime>,
    /// When an *extra* fetch (unknown `kid`) was last begun. A scheduled fetch does not
    /// count, so that a key rotated right after one is still found.
    pub last_extra_fetch: Option<UnixTime>,
    /// When a fetch last failed.
    pub last_failure: Option<UnixTime>,
}

/// What to do with a cached document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Use it as it is.
    Cached,
    /// Fetch it; on failure it may still be used if younger than [`HARD_MAXIMUM`].
    Fetch,
    /// Fetch wanted but not allowed yet: use what is there, or fail when it is too old.
    CoolingDown,
}

/// Decides between use, fetch and cooling down. `unknown_key` is true when the cached set
/// has no key for the token at hand.
pub fn decide(freshness: Freshness, unknown_key: bool, now: UnixTime) -> Use {
    let within =
        |time: Option<UnixTime>, span: Lifetime| time.is_some_and(|time| now.since(time) < span);
    let fresh = within(freshness.fetched_at, FRESH);
    let failed = within(freshness.last_failure, FAILURE_COOLDOWN);
    let asked = within(freshness.last_extra_fetch, COOLDOWN);
    if fresh && !unknown_key {
        Use::Cached
    } else if failed || (fresh && asked) {
        Use::CoolingDown
    } else {
        Use::Fetch
    }
}

/// True when a document fetched at `fetched_at` may be used while the provider is down.
pub fn usable_when_stale(fetched_at: UnixTime, now: UnixTime) -> bool {
    now.since(fetched_at) < HARD_MAXIMUM
}

#[cfg(test)]
mod tests {
    use super::*;
    use jwt_simple::prelude::*;

    fn jwk(json: &str, extra: &str) -> String {
        format!("{},{extra}}}", json.trim_end_matches('}'))
    }

    fn set(keys: &[String]) -> JwkSet {
        JwkSet::parse(format!("{{\"keys\":[{}]}}", keys.join(",")).as_bytes()).expect("set")
    }

    fn p256() -> String {
        ES256KeyPair::generate().public_key().to_jwk()
    }

    #[test]
    fn exactly_one_key_must_fit() {
        let a = jwk(&p256(), r#""kid":"a""#);
        let b = jwk(&p256(), r#""kid":"b""#);
        let both = set(&[a.clone(), b]);
        assert!(both.select(Algorithm::Es256, Some("a")).is_ok());
        assert!(set(&[a]).select(Algorithm::Es256, None).is_ok());
        let none = both.select(Algorithm::Es256, None).map(|_| ());
        assert_eq!(none, Err(KeySelectionError::SeveralKeys));
        let unknown = both.select(Algorithm::Es256, Some("c")).map(|_| ());
        assert_eq!(unknown, Err(KeySelectionError::NoKey));
        let other = both.select(Algorithm::Rs256, Some("a")).map(|_| ());
        assert_eq!(other, Err(KeySelectionError::NoKey));
    }

    #[test]
    fn keys_for_something_else_do_not_verify() {
        let plain = p256().replace(",\"use\":\"sig\"", "");
        for good in [
            r#""kid":"a""#,
            r#""kid":"a","key_ops":["verify"]"#,
            r#""kid":"a","x5c":["x"]"#,
        ] {
            assert_eq!(set(&[jwk(&plain, good)]).len(), 1, "{good}");
        }
        let mut value: Value = serde_json::from_str(&plain).expect("json");
        for (name, bad) in [
            ("use", Value::from("enc")),
            ("use", Value::from(1)),
            ("key_ops", serde_json::json!(["sign"])),
            ("kid", Value::from(7)),
            ("crv", Value::from("P-521")),
            ("x", Value::from("AA")),
        ] {
            let before = value.clone();
            value[name] = bad.clone();
            assert!(Jwk::from_value(&value).is_none(), "{name}={bad}");
            value = before;
        }
        assert!(Jwk::from_value(&value).is_some());
    }

    #[test]
    fn a_long_certificate_chain_does_not_cost_the_key() {
        let chain = format!(r#""kid":"a","x5c":["{}"]"#, "A".repeat(20_000));
        assert_eq!(set(&[jwk(&p256(), &chain)]).len(), 1);
    }

    #[test]
    fn one_bad_key_does_not_drop_the_set() {
        assert_eq!(set(&["{}".into(), "3".into(), p256()]).len(), 1);
        assert!(JwkSet::parse(b"{}").is_err());
        assert!(JwkSet::parse(b"[]").is_err());
    }

    #[test]
    fn rsa_under_2048_bits_is_refused() {
        let n = |bits: usize| {
            let mut bytes = vec![0xff; bits / 8];
            bytes[0] = 0xc1;
            crate::encoding::base64url_encode(&bytes)
        };
        let rsa = |bits| serde_json::json!({"kty": "RSA", "n": n(bits), "e": "AQAB"});
        assert!(Jwk::from_value(&rsa(2_048)).is_some());
        for bits in [1_024, 2_040, 8_192] {
            assert!(Jwk::from_value(&rsa(bits)).is_none(), "{bits}");
        }
    }

    #[test]
    fn an_unknown_key_fetches_once_per_cooldown_even_right_after_a_fetch() {
        let at = UnixTime::from_secs;
        let fresh = Freshness {
            fetched_at: Some(at(1_000)),
            ..Freshness::default()
        };
        assert_eq!(decide(fresh, false, at(1_001)), Use::Cached);
        assert_eq!(decide(fresh, true, at(1_001)), Use::Fetch);
        let asked = Freshness {
            last_extra_fetch: Some(at(1_001)),
            ..fresh
        };
        assert_eq!(decide(asked, true, at(1_060)), Use::CoolingDown);
        assert_eq!(decide(asked, true, at(1_061)), Use::Fetch);
        assert_eq!(decide(asked, false, at(1_060)), Use::Cached);
        // The scheduled fetch is not held up by a question for an unknown key.
        let late = Freshness {
            last_extra_fetch: Some(at(1_590)),
            ..fresh
        };
        assert_eq!(decide(late, false, at(1_600)), Use::Fetch);
    }

    #[test]
    fn a_failed_fetch_is_not_repeated_at_once() {
        let at = UnixTime::from_secs;
        let down = Freshness {
            last_failure: Some(at(900)),
            ..Freshness::default()
        };
        assert_eq!(decide(Freshness::default(), false, at(900)), Use::Fetch);
        assert_eq!(decide(down, false, at(909)), Use::CoolingDown);
        assert_eq!(decide(down, false, at(910)), Use::Fetch);
        assert!(usable_when_stale(at(0), at(86_399)));
        assert!(!usable_when_stale(at(0), at(86_400)));
    }
}
