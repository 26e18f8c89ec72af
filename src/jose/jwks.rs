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

    /// The set in a form of our own, which is read in a tenth of the time that the provider's
    /// takes: each new instance reads it.
    pub fn to_stored(&self) -> Vec<u8> {
        let mut stored = Vec::new();
        for key in &self.keys {
            key.store(&mut stored);
        }
        stored
    }

    /// Reads what [`JwkSet::to_stored`] wrote; `None` for anything else. Who calls knows that the
    /// bytes are ours.
    pub fn from_stored(mut stored: &[u8]) -> Option<Self> {
        let mut keys = Vec::new();
        while !stored.is_empty() {
            keys.push(Jwk::from_stored(&mut stored)?);
        }
        Some(JwkSet { keys })
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
            .filter(|key| kid.is_none() || key.kid() == kid)
            .filter(|key| key.is_usable());
        let first = fitting.next().ok_or(KeySelectionError::NoKey)?;
        match fitting.next() {
            None => Ok(first),
            Some(_) => Err(KeySelectionError::SeveralKeys),
        }
    }

    /// How many usable keys the set has.
    pub fn len(&self) -> usize {
        self.keys.iter().filter(|key| key.is_usable()).count()
    }

    /// True when the set has no usable key.
    pub fn is_empty(&self) -> bool {
        !self.keys.iter().any(Jwk::is_usable)
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
mod tests;
