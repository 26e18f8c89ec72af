//! Where sessions are opened, saved and ended: the one place that knows how they are kept. What
//! a session is, is in [`crate::session`].

use http::{HeaderMap, HeaderValue};

use crate::endpoint::instance::Instance;
use crate::endpoint::revocation;
use crate::error::Error;
use crate::ports::Ports;
use crate::session::cookie::{clear_session, session_cookies};
use crate::session::revocation::Revoked;
use crate::session::{Cookies, Session, SessionError};
use crate::time::UnixTime;

/// A request without a session that counts.
#[derive(Debug)]
pub(crate) struct NoSession {
    /// Why.
    pub(crate) error: Error,
    /// `Set-Cookie` values that take away what is of no use.
    pub(crate) cookies: Vec<HeaderValue>,
}

/// The session of a request: within its limits, and not revoked.
///
/// # Errors
/// [`Error::NoCredential`] when there is none or only a part of one, [`Error::SessionExpired`],
/// [`Error::SessionRevoked`], [`Error::RevocationUnavailable`], [`Error::Cookie`].
pub(crate) async fn open(
    headers: &HeaderMap,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Session, NoSession> {
    let cookies = Cookies::parse(headers).map_err(|error| NoSession {
        error: error.into(),
        cookies: Vec::new(),
    })?;
    let opened = match peek(&cookies, instance, now).await {
        Ok(session) => revocation::check(&session, instance, ports)
            .await
            .map(|()| session),
        Err(error) => Err(error),
    };
    opened.map_err(|error| NoSession {
        // A part of a session is as good as none, and goes. Where the store did not answer,
        // nothing is known and everything stays.
        cookies: match error {
            Error::NoCredential | Error::SessionExpired | Error::SessionRevoked => {
                clear_session(&cookies)
            }
            _ => Vec::new(),
        },
        error,
    })
}

/// The session of a request that is within its limits, revoked or not: for the way out, which
/// stays open where a revocation cannot be known.
///
/// # Errors
/// [`Error::NoCredential`], [`Error::SessionExpired`].
pub(crate) async fn peek(
    cookies: &Cookies,
    instance: &Instance,
    now: UnixTime,
) -> Result<Session, Error> {
    let sealed = cookies.session().ok_or(Error::NoCredential)?;
    let opened = Session::open(&sealed, &instance.ring, &instance.config.session, now);
    opened.map_err(|error| match error {
        SessionError::Expired => Error::SessionExpired,
        SessionError::Unreadable => Error::NoCredential,
    })
}

/// Saves a session, a new one or one that changed; returns the `Set-Cookie` values. `present`
/// are the request's cookies: what of them is not needed any more is deleted.
///
/// # Errors
/// [`Error::Cookie`] when it does not fit, [`Error::Internal`].
pub(crate) async fn save(
    session: &Session,
    present: &Cookies,
    instance: &Instance,
    now: UnixTime,
) -> Result<Vec<HeaderValue>, Error> {
    let limits = &instance.config.session;
    let sealed = session.seal(&instance.ring, limits, now);
    let (sealed, life) = sealed.map_err(|_| Error::Internal)?;
    Ok(session_cookies(&sealed, present, life, limits.max_chunks)?)
}

/// Ends a session on every machine: no copy of its cookies is good any more. The browser's own
/// are for the caller to delete.
///
/// # Errors
/// [`Error::RevocationUnavailable`], [`Error::Internal`]; then it may have ended or not.
pub(crate) async fn end(
    session: &Session,
    instance: &Instance,
    ports: Ports<'_>,
) -> Result<(), Error> {
    revocation::revoke(&[Revoked::Session { id: &session.id }], instance, ports).await
}
