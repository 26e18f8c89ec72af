//! Where the lock of a refresh is in the store, and how what stands there is sealed.
//!
//! All names and the key come from the session and its present pair of tokens, which nobody
//! else has: another session finds nothing here, and what it would find does not open. The key
//! ring has no part in it, so that machines with the old and the new ring agree.

use hmac_sha256::{HKDF, Hash};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::encoding::base64url_encode;
use crate::secret::Secret;
use crate::session::refresh_lock::{Mark, RESULT_LIFETIME};
use crate::session::{KeyRing, Purpose, SealError, Session};
use crate::time::UnixTime;

/// The keys of one refresh of one session.
#[derive(Debug)]
pub struct RefreshKeys {
    name: String,
    ring: KeyRing,
    /// When nobody can hold these tokens any more.
    ends_at: UnixTime,
}

impl RefreshKeys {
    /// Those for refreshing `session`, which ends at `ends_at` at the latest; `None` without a
    /// refresh token.
    pub fn of(session: &Session, ends_at: UnixTime) -> Option<Self> {
        let refreshed_at = session.refreshed_at.unwrap_or_default().as_secs();
        // A provider may give the same tokens again: the time tells such refreshes apart.
        let time = refreshed_at.to_be_bytes();
        let parts: [&[u8]; 4] = [
            session.id.as_bytes(),
            session.refresh_token.as_ref()?.expose().as_bytes(),
            session.access_token.expose().as_bytes(),
            &time,
        ];
        let mut material = Zeroizing::new(Vec::new());
        for part in parts {
            material.extend_from_slice(&(part.len() as u64).to_be_bytes());
            material.extend_from_slice(part);
        }
        let prk = Zeroizing::new(HKDF::extract(b"airside/refresh", material.as_slice()));
        let mut key = Zeroizing::new([0; 32]);
        HKDF::expand(key.as_mut_slice(), prk.as_slice(), b"seal");
        let text = Secret::new(format!("r:{}", base64url_encode(key.as_slice())));
        Some(RefreshKeys {
            name: base64url_encode(&Hash::hash(&material)),
            ring: KeyRing::parse(&text).ok()?,
            ends_at,
        })
    }

    /// The counter of an attempt.
    pub fn lock(&self, attempt: u32) -> String {
        format!("airside/refresh/{}/lock/{attempt}", self.name)
    }

    /// When an attempt began: seconds since 1970 as text.
    pub fn lease(&self, attempt: u32) -> String {
        format!("airside/refresh/{}/lease/{attempt}", self.name)
    }

    /// What is known about the refresh token.
    pub fn mark(&self) -> String {
        format!("airside/refresh/{}/mark", self.name)
    }

    /// What the refresh gave.
    pub fn result(&self) -> String {
        format!("airside/refresh/{}/result", self.name)
    }

    /// Until when locks, leases and mark must be kept.
    pub fn ends_at(&self) -> UnixTime {
        self.ends_at
    }

    /// Seals a mark.
    ///
    /// # Errors
    /// [`SealError::Unsealable`].
    pub fn seal_mark(&self, mark: Mark) -> Result<String, SealError> {
        let value = match mark {
            Mark::Fault { attempt, retry_at } => json!([attempt, retry_at]),
            Mark::Spent { at } => json!([at]),
        };
        self.ring
            .seal_at(Purpose::RefreshMark, &value, self.ends_at)
    }

    /// Opens a mark.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open_mark(&self, sealed: &str, now: UnixTime) -> Result<Mark, SealError> {
        let value: Value = self.ring.open_at(Purpose::RefreshMark, sealed, now)?;
        let number = |index: usize| value.get(index).and_then(Value::as_u64);
        match (number(0), number(1)) {
            (Some(attempt), Some(retry_at)) => Ok(Mark::Fault {
                attempt: u32::try_from(attempt).map_err(|_| SealError::Unreadable)?,
                retry_at: UnixTime::from_secs(retry_at),
            }),
            (Some(at), None) => Ok(Mark::Spent {
                at: UnixTime::from_secs(at),
            }),
            (None, _) => Err(SealError::Unreadable),
        }
    }

    /// Seals a result: the session with its new tokens, or none when it ended.
    ///
    /// # Errors
    /// [`SealError::Unsealable`].
    pub fn seal_result(
        &self,
        result: Option<&Session>,
        now: UnixTime,
    ) -> Result<String, SealError> {
        Session::seal_result(result, &self.ring, now.plus(RESULT_LIFETIME))
    }

    /// Opens a result.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open_result(&self, sealed: &str, now: UnixTime) -> Result<Option<Session>, SealError> {
        Session::open_result(sealed, &self.ring, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::record::tests::session;

    const NOW: UnixTime = UnixTime::from_secs(10_100);
    const END: UnixTime = UnixTime::from_secs(20_000);

    fn keys(change: impl Fn(&mut Session)) -> RefreshKeys {
        let mut session = session();
        change(&mut session);
        RefreshKeys::of(&session, END).expect("keys")
    }

    #[test]
    fn another_session_or_token_has_other_keys_and_opens_nothing() {
        let own = keys(|_| {});
        let sealed = own.seal_result(Some(&session()), NOW).expect("sealed");
        let mark = own.seal_mark(Mark::Spent { at: NOW }).expect("sealed");
        let same = keys(|session| session.renewed_at = NOW);
        assert_eq!(
            same.mark(),
            own.mark(),
            "sealing the cookie anew changes nothing"
        );
        assert!(same.open_result(&sealed, NOW).is_ok());
        assert_eq!(same.open_mark(&mark, NOW), Ok(Mark::Spent { at: NOW }));
        type Change = fn(&mut Session);
        let changes: [(&str, Change); 5] = [
            ("id", |s| s.id = "s2".into()),
            ("refresh token", |s| {
                s.refresh_token = Some(Secret::from("rt2"))
            }),
            ("access token", |s| s.access_token = Secret::from("at2")),
            ("refreshed", |s| s.refreshed_at = Some(NOW)),
            ("boundary", |s| {
                s.id = "s1r".into();
                s.refresh_token = Some(Secret::from("t"));
            }),
        ];
        for (name, change) in changes {
            let other = keys(change);
            assert_ne!(other.mark(), own.mark(), "{name}");
            assert!(other.open_result(&sealed, NOW).is_err(), "{name}");
            assert!(other.open_mark(&mark, NOW).is_err(), "{name}");
        }
        let mut without = session();
        without.refresh_token = None;
        assert!(RefreshKeys::of(&without, END).is_none());
    }

    #[test]
    fn a_result_lives_two_minutes_and_a_mark_as_long_as_the_session() {
        let own = keys(|_| {});
        let sealed = own.seal_result(None, NOW).expect("sealed");
        let fault = Mark::Fault {
            attempt: 2,
            retry_at: NOW,
        };
        let mark = own.seal_mark(fault).expect("sealed");
        let at = |seconds| UnixTime::from_secs(NOW.as_secs() + seconds);
        assert!(matches!(own.open_result(&sealed, at(119)), Ok(None)));
        assert!(own.open_result(&sealed, at(120)).is_err());
        assert_eq!(own.open_mark(&mark, UnixTime::from_secs(19_999)), Ok(fault));
        assert!(own.open_mark(&mark, END).is_err());
        // One does not stand for the other.
        assert!(own.open_mark(&sealed, NOW).is_err());
        assert!(own.open_result(&mark, NOW).is_err());
    }
}
