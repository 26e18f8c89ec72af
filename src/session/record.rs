//! What a session remembers, and its two limits: idle and absolute (OpenID Connect Core
//! section 2: its life is its own, not the ID token's `exp`).
//!
//! The access token is carried, never read: the gate judges it like any other.

use hmac_sha256::Hash;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::secret::Secret;
use crate::session::seal::{KeyRing, Purpose, SealError};
use crate::session::stored::Record;
use crate::time::{Lifetime, UnixTime};

/// How long sessions live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Ends a session after that long without a request.
    pub idle: Lifetime,
    /// Ends a session after that long in any case.
    pub absolute: Lifetime,
    /// The session cookie may be split in that many chunks.
    pub max_chunks: usize,
    /// Where new sessions are kept.
    pub place: Place,
    /// A session that is too large for its cookies goes into the key-value store.
    pub spill: bool,
    /// `danger_skip_revocation`: revocation marks are neither written nor looked for.
    pub skip_revocation: bool,
}

/// Where sessions are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In cookies alone.
    Cookie,
    /// In the key-value store, and a reference in a cookie.
    KeyValue,
}

/// Why a cookie does not hold a running session.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SessionError {
    /// Idle or absolute limit reached.
    #[error("session expired")]
    Expired,
    /// Not a session cookie of ours.
    #[error("session cookie unreadable")]
    Unreadable,
}

/// A login that succeeded.
#[derive(Clone, Debug)]
pub struct Session {
    /// Name of the provider in the configuration.
    pub provider: String,
    /// `iss` of the ID token.
    pub issuer: String,
    /// `sub` of the ID token: unique together with `issuer` only.
    pub subject: String,
    /// Claims about the person kept for display (`name`, `email`, ...).
    pub claims: Map<String, Value>,
    /// Names this session on this side; random.
    pub id: String,
    /// The provider's session (`sid`), for back-channel logout.
    pub sid: Option<String>,
    /// For the API. Opaque here.
    pub access_token: Secret<String>,
    /// From `expires_in`; absent when the provider did not say.
    pub access_token_expires_at: Option<UnixTime>,
    /// For the token endpoint.
    pub refresh_token: Option<Secret<String>>,
    /// For `id_token_hint` at logout.
    pub id_token: Option<Secret<String>>,
    /// `scope` as granted.
    pub scope: Option<String>,
    /// When the person last authenticated, if the provider said.
    pub auth_time: Option<UnixTime>,
    /// Authentication context class, if the provider said.
    pub acr: Option<String>,
    /// Authentication methods, if the provider said.
    pub amr: Vec<String>,
    /// Revocation marks of the person that are older than this session and spare it.
    pub known_marks: Vec<String>,
    /// When the session began.
    pub created_at: UnixTime,
    /// When its cookie was last sealed.
    pub renewed_at: UnixTime,
    /// When its tokens were last refreshed; always later than the time before.
    pub refreshed_at: Option<UnixTime>,
    /// Of the login's `nonce`, which an ID token of a refresh may repeat. Only with a refresh
    /// token.
    pub nonce_hash: Option<String>,
    /// Where it is in the key-value store, if it is there. Not part of what is sealed.
    pub record: Option<Record>,
}

/// Short names and no empty members: every byte of it travels with every request.
#[derive(Serialize, Deserialize)]
struct Wire {
    p: String,
    i: String,
    s: String,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    c: Map<String, Value>,
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
    at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ax: Option<UnixTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rt: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    it: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sc: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    au: Option<UnixTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acr: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    amr: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    r: Vec<String>,
    t0: UnixTime,
    t1: UnixTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    t2: Option<UnixTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nh: Option<String>,
}

impl Session {
    /// When the session ends if nothing happens after `now`.
    pub fn ends_at(&self, limits: &SessionLimits, now: UnixTime) -> UnixTime {
        self.created_at
            .plus(limits.absolute)
            .min(now.plus(limits.idle))
    }

    /// True when so much of the idle time has gone that the cookie should be sealed anew.
    pub fn needs_renewal(&self, limits: &SessionLimits, now: UnixTime) -> bool {
        now.since(self.renewed_at).as_secs() > limits.idle.as_secs() / 4
            && self.ends_at(limits, now) > self.ends_at(limits, self.renewed_at)
    }

    /// When the access token should be refreshed, judged by `expires_in` alone: shortly before
    /// its end, the same for all requests with this session and another for each session. `None`
    /// when that is not known or there is no refresh token.
    pub fn refresh_due_at(&self) -> Option<UnixTime> {
        self.refresh_token.as_ref()?;
        let expires_at = self.access_token_expires_at?;
        let life = expires_at.since(self.refreshed_at.unwrap_or(self.created_at));
        // At most a fifth of its life and a minute before its end, at least half of that.
        let most = (life.as_secs() / 5).min(60);
        let jitter = Hash::hash(self.id.as_bytes())
            .first()
            .map_or(0, |byte| u64::from(*byte));
        let early = most - most * jitter / 512;
        Some(expires_at.minus(Lifetime::from_secs(early)))
    }

    /// True when a response may put the cookie anew into the browser at `now`: not so shortly
    /// before a refresh that it could come later than the refreshed one and undo it.
    pub fn may_be_resealed(&self, now: UnixTime) -> bool {
        self.refresh_due_at()
            .is_none_or(|due| now.plus(SLOWEST_ANSWER) < due)
    }

    /// When the session ends in any case.
    pub fn ends_at_last(&self, limits: &SessionLimits) -> UnixTime {
        self.created_at.plus(limits.absolute)
    }

    /// Seals the session as of `now`; returns it with the time its cookie may live.
    ///
    /// # Errors
    /// [`SealError::Unsealable`].
    pub fn seal(
        &self,
        ring: &KeyRing,
        limits: &SessionLimits,
        now: UnixTime,
    ) -> Result<(String, Lifetime), SealError> {
        let exp = self.ends_at(limits, now);
        let sealed = ring.seal_at(Purpose::Session, &self.wire(now), exp)?;
        Ok((sealed, exp.since(now)))
    }

    /// Seals the session for the key-value store, with the key of `record`.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal_record(
        &self,
        record: &Record,
        limits: &SessionLimits,
        now: UnixTime,
    ) -> Result<String, SealError> {
        let exp = self.ends_at_last(limits);
        let ring = record.ring()?;
        ring.seal_at(Purpose::SessionRecord, &self.wire(now), exp)
    }

    fn wire(&self, now: UnixTime) -> Wire {
        let plain = |secret: &Option<Secret<String>>| secret.as_ref().map(|s| s.expose().clone());
        Wire {
            p: self.provider.clone(),
            i: self.issuer.clone(),
            s: self.subject.clone(),
            c: self.claims.clone(),
            id: self.id.clone(),
            sid: self.sid.clone(),
            at: self.access_token.expose().clone(),
            ax: self.access_token_expires_at,
            rt: plain(&self.refresh_token),
            it: plain(&self.id_token),
            sc: self.scope.clone(),
            au: self.auth_time,
            acr: self.acr.clone(),
            amr: self.amr.clone(),
            r: self.known_marks.clone(),
            t0: self.created_at,
            t1: now,
            t2: self.refreshed_at,
            nh: self.nonce_hash.clone(),
        }
    }

    /// Seals what a refresh gave: the session with its new tokens, or none when it ended.
    ///
    /// # Errors
    /// [`SealError::Unsealable`].
    pub fn seal_result(
        result: Option<&Session>,
        ring: &KeyRing,
        exp: UnixTime,
    ) -> Result<String, SealError> {
        let wire = result.map(|session| session.wire(session.renewed_at));
        ring.seal_at(Purpose::RefreshResult, &wire, exp)
    }

    /// Opens what [`Session::seal_result`] sealed.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open_result(
        sealed: &str,
        ring: &KeyRing,
        now: UnixTime,
    ) -> Result<Option<Self>, SealError> {
        let wire: Option<Wire> = ring.open_at(Purpose::RefreshResult, sealed, now)?;
        Ok(wire.map(Session::from))
    }

    /// Opens a sealed session that is within its limits at `now`.
    ///
    /// # Errors
    /// [`SessionError`].
    pub fn open(
        sealed: &str,
        ring: &KeyRing,
        limits: &SessionLimits,
        now: UnixTime,
    ) -> Result<Self, SessionError> {
        Self::open_until(sealed, ring, limits, now).map(|(session, _)| session)
    }

    /// The same, with the time until which the very same value opens: for who remembers it.
    ///
    /// # Errors
    /// [`SessionError`].
    pub fn open_until(
        sealed: &str,
        ring: &KeyRing,
        limits: &SessionLimits,
        now: UnixTime,
    ) -> Result<(Self, UnixTime), SessionError> {
        let (session, sealed_until) = Self::open_for(Purpose::Session, sealed, ring, now)?;
        let session = session.within(limits, now)?;
        let until = session.ends_at(limits, session.renewed_at);
        Ok((session, until.min(sealed_until)))
    }

    /// Opens a session from the key-value store that was last used at `renewed_at` and is within
    /// its limits at `now`.
    ///
    /// # Errors
    /// [`SessionError`].
    pub fn open_record(
        sealed: &str,
        record: Record,
        limits: &SessionLimits,
        renewed_at: UnixTime,
        now: UnixTime,
    ) -> Result<Self, SessionError> {
        Self::open_record_until(sealed, record, limits, renewed_at, now).map(|(session, _)| session)
    }

    /// The same, with the time until which both open: for who remembers it.
    ///
    /// # Errors
    /// [`SessionError`].
    pub fn open_record_until(
        sealed: &str,
        record: Record,
        limits: &SessionLimits,
        renewed_at: UnixTime,
        now: UnixTime,
    ) -> Result<(Self, UnixTime), SessionError> {
        let ring = record.ring().map_err(|_| SessionError::Unreadable)?;
        let opened = Self::open_for(Purpose::SessionRecord, sealed, &ring, now);
        let (mut session, sealed_until) = opened?;
        session.renewed_at = renewed_at;
        session.record = Some(record);
        let session = session.within(limits, now)?;
        let until = session.ends_at(limits, session.renewed_at);
        Ok((session, until.min(sealed_until)))
    }

    fn open_for(
        purpose: Purpose,
        sealed: &str,
        ring: &KeyRing,
        now: UnixTime,
    ) -> Result<(Self, UnixTime), SessionError> {
        let opened: Result<(Wire, UnixTime), SealError> =
            ring.open_with_expiry(purpose, sealed, now);
        let (wire, exp) = opened.map_err(|error| match error {
            SealError::Expired => SessionError::Expired,
            SealError::UnknownKey | SealError::Unreadable | SealError::Unsealable => {
                SessionError::Unreadable
            }
        })?;
        Ok((Session::from(wire), exp))
    }

    /// Judged again by today's limits: they may have been shortened since it was sealed.
    fn within(self, limits: &SessionLimits, now: UnixTime) -> Result<Self, SessionError> {
        if self.ends_at(limits, self.renewed_at) <= now {
            return Err(SessionError::Expired);
        }
        Ok(self)
    }
}

/// An answer is on its way to the browser at most that long, as a rule.
const SLOWEST_ANSWER: Lifetime = Lifetime::from_secs(120);

impl From<Wire> for Session {
    fn from(wire: Wire) -> Self {
        Session {
            provider: wire.p,
            issuer: wire.i,
            subject: wire.s,
            claims: wire.c,
            id: wire.id,
            sid: wire.sid,
            access_token: Secret::new(wire.at),
            access_token_expires_at: wire.ax,
            refresh_token: wire.rt.map(Secret::new),
            id_token: wire.it.map(Secret::new),
            scope: wire.sc,
            auth_time: wire.au,
            acr: wire.acr,
            amr: wire.amr,
            known_marks: wire.r,
            created_at: wire.t0,
            renewed_at: wire.t1,
            refreshed_at: wire.t2,
            nonce_hash: wire.nh,
            record: None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::encoding::base64url_encode;

    const LIMITS: SessionLimits = SessionLimits {
        idle: Lifetime::from_secs(100),
        absolute: Lifetime::from_secs(1_000),
        max_chunks: 2,
        place: Place::Cookie,
        spill: false,
        skip_revocation: false,
    };

    fn ring() -> KeyRing {
        KeyRing::parse(&Secret::new(format!("a:{}", base64url_encode(&[7; 32])))).expect("ring")
    }

    /// A session that began at 10,000.
    pub(crate) fn session() -> Session {
        Session {
            provider: "demo".into(),
            issuer: "https://op.example".into(),
            subject: "alice".into(),
            claims: Map::new(),
            id: "s1".into(),
            sid: None,
            access_token: Secret::from("at"),
            access_token_expires_at: None,
            refresh_token: Some(Secret::from("rt")),
            id_token: None,
            scope: None,
            auth_time: None,
            acr: None,
            amr: Vec::new(),
            known_marks: Vec::new(),
            created_at: UnixTime::from_secs(10_000),
            renewed_at: UnixTime::from_secs(10_000),
            refreshed_at: None,
            nonce_hash: None,
            record: None,
        }
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_secs(10_000 + seconds)
    }

    #[test]
    fn idle_and_absolute_limits_end_a_session() {
        let ring = ring();
        let (sealed, life) = session().seal(&ring, &LIMITS, at(0)).expect("sealed");
        assert_eq!(life, LIMITS.idle);
        let open =
            |sealed: &str, now| Session::open(sealed, &ring, &LIMITS, now).map(|s| s.subject);
        assert_eq!(open(&sealed, at(99)).as_deref(), Ok("alice"));
        assert_eq!(open(&sealed, at(100)), Err(SessionError::Expired));

        let (renewed, life) = session().seal(&ring, &LIMITS, at(950)).expect("sealed");
        assert_eq!(life, Lifetime::from_secs(50));
        assert_eq!(open(&renewed, at(999)).as_deref(), Ok("alice"));
        assert_eq!(open(&renewed, at(1_000)), Err(SessionError::Expired));
    }

    #[test]
    fn shortened_limits_apply_to_running_sessions() {
        let ring = ring();
        let (sealed, _) = session().seal(&ring, &LIMITS, at(0)).expect("sealed");
        let shorter = SessionLimits {
            idle: Lifetime::from_secs(10),
            ..LIMITS
        };
        assert!(Session::open(&sealed, &ring, &shorter, at(9)).is_ok());
        let expired = Session::open(&sealed, &ring, &shorter, at(10)).map(|s| s.id);
        assert_eq!(expired, Err(SessionError::Expired));
    }

    #[test]
    fn shortened_limits_apply_to_stored_sessions_by_when_they_were_last_used() {
        let record = Record::new([1; 16], [2; 32]);
        let sealed = session().seal_record(&record, &LIMITS, at(0));
        let sealed = sealed.expect("sealed");
        let idle = SessionLimits {
            idle: Lifetime::from_secs(10),
            ..LIMITS
        };
        let absolute = SessionLimits {
            absolute: Lifetime::from_secs(500),
            ..LIMITS
        };
        let expired = Err(SessionError::Expired);
        for (limits, renewed, now, expected) in [
            (&LIMITS, 0, 99, Ok(())),
            (&LIMITS, 0, 100, expired),
            (&LIMITS, 900, 999, Ok(())),
            (&LIMITS, 999, 1_000, expired),
            (&idle, 50, 59, Ok(())),
            (&idle, 50, 60, expired),
            (&absolute, 450, 499, Ok(())),
            (&absolute, 450, 500, expired),
        ] {
            let opened =
                Session::open_record(&sealed, record.clone(), limits, at(renewed), at(now));
            assert_eq!(opened.map(|_| ()), expected, "{renewed} {now}");
        }
    }

    #[test]
    fn the_same_value_opens_until_the_earlier_of_its_seal_and_the_limits() {
        let ring = ring();
        let until = |sealing: &SessionLimits, opening: &SessionLimits| {
            let (sealed, _) = session().seal(&ring, sealing, at(0)).expect("sealed");
            Session::open_until(&sealed, &ring, opening, at(1)).map(|(_, until)| until)
        };
        let shorter = SessionLimits {
            idle: Lifetime::from_secs(10),
            ..LIMITS
        };
        assert_eq!(until(&LIMITS, &LIMITS), Ok(at(100)));
        assert_eq!(until(&LIMITS, &shorter), Ok(at(10)));
        assert_eq!(until(&shorter, &LIMITS), Ok(at(10)));
    }

    #[test]
    fn renewal_comes_after_a_quarter_and_not_at_the_end() {
        let session = session();
        assert!(!session.needs_renewal(&LIMITS, at(25)));
        assert!(session.needs_renewal(&LIMITS, at(26)));
        let late = Session {
            renewed_at: at(950),
            ..session
        };
        assert!(
            !late.needs_renewal(&LIMITS, at(990)),
            "it ends at its absolute limit anyway"
        );
    }

    #[test]
    fn debug_shows_no_token() {
        let text = format!("{:?}", session());
        assert!(
            !text.contains("\"at\"") && !text.contains("\"rt\""),
            "{text}"
        );
    }
}
