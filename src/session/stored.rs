//! Sessions kept in the key-value store: the cookie holds a reference, and the record in the
//! store is sealed with a key that only the reference has.
//!
//! So a copy of the store reads nothing. The reference is sealed with the key ring like any
//! cookie: who can write into the store cannot make a session, since they cannot make a
//! reference, and cannot exchange records, since each has a key of its own.
//!
//! When a session was last used stands in the reference alone. Prolonging a session therefore
//! writes nothing into the store, and cannot bring back what a logout took away.

use serde::{Deserialize, Serialize};

use crate::encoding::base64url_encode;
use crate::secret::Secret;
use crate::session::Session;
use crate::session::seal::{KeyRing, Purpose, SealError};
use crate::time::UnixTime;

/// A record over this size is not written. Three tokens of 16 KiB and the claims fit.
pub const MAX_RECORD_BYTES: usize = crate::session::seal::MAX_SEALED_BYTES;

/// Where a session is kept, and with what it is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Random, and of no meaning.
    id: String,
    /// Its own key, as base64url.
    key: Secret<String>,
}

/// What the cookie holds.
#[derive(Serialize, Deserialize)]
struct Wire {
    i: String,
    k: String,
    t: UnixTime,
}

impl Record {
    /// A new place. The bytes must be unpredictable.
    pub fn new(id: [u8; 16], key: [u8; 32]) -> Self {
        Record {
            id: base64url_encode(&id),
            key: Secret::new(base64url_encode(&key)),
        }
    }

    /// The place of a session that a refresh takes out of its cookies: the same for all requests
    /// that have the refreshed session, on every machine, so that it is stored once. Who does
    /// not have its tokens cannot tell it, not even with the session keys.
    pub fn refreshed(session: &Session, ring: &KeyRing) -> Self {
        let refresh_token = session.refresh_token.as_ref();
        let refreshed_at = session.refreshed_at.unwrap_or_default().as_secs();
        let derive = |what: &str| {
            let parts: [&[u8]; 5] = [
                what.as_bytes(),
                session.id.as_bytes(),
                session.access_token.expose().as_bytes(),
                refresh_token.map_or(b"", |token| token.expose().as_bytes()),
                &refreshed_at.to_be_bytes(),
            ];
            ring.mac(Purpose::SessionRecord, &parts)
        };
        Record {
            id: base64url_encode(&derive("id")),
            key: Secret::new(base64url_encode(&derive("key"))),
        }
    }

    /// Its key in the store.
    pub fn key(&self) -> String {
        format!("airside/session/{}", self.id)
    }

    /// The ring that seals the record.
    ///
    /// # Errors
    /// [`SealError::Unreadable`] when there is no key in it.
    pub(super) fn ring(&self) -> Result<KeyRing, SealError> {
        let text = Secret::new(format!("r:{}", self.key.expose()));
        KeyRing::parse(&text).map_err(|_| SealError::Unreadable)
    }

    /// The cookie's value for a session last used at `now`, good until `exp`.
    ///
    /// # Errors
    /// [`SealError::Unsealable`].
    pub fn reference(
        &self,
        ring: &KeyRing,
        now: UnixTime,
        exp: UnixTime,
    ) -> Result<String, SealError> {
        let wire = Wire {
            i: self.id.clone(),
            k: self.key.expose().clone(),
            t: now,
        };
        ring.seal_at(Purpose::SessionReference, &wire, exp)
    }

    /// Opens a reference: where the session is, and when it was last used.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open(
        reference: &str,
        ring: &KeyRing,
        now: UnixTime,
    ) -> Result<(Self, UnixTime), SealError> {
        let (record, renewed_at, _) = Self::open_until(reference, ring, now)?;
        Ok((record, renewed_at))
    }

    /// The same, with the time until which the very same reference opens: for who remembers it.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open_until(
        reference: &str,
        ring: &KeyRing,
        now: UnixTime,
    ) -> Result<(Self, UnixTime, UnixTime), SealError> {
        let (wire, until): (Wire, UnixTime) =
            ring.open_with_expiry(Purpose::SessionReference, reference, now)?;
        let record = Record {
            id: wire.i,
            key: Secret::new(wire.k),
        };
        Ok((record, wire.t, until))
    }
}
