//! Where sessions are opened, saved and ended: the one place that knows how they are kept. What
//! a session is, is in [`crate::session`].
//!
//! A session stays where it is: one in cookies asks the store for nothing but revocation marks,
//! one in the key-value store is found by the reference in its cookie.

mod opened;

pub(crate) use opened::{Opened, Referred};

use std::rc::Rc;

use http::HeaderValue;

use crate::config::IdTokenHint;
use crate::endpoint::instance::Instance;
use crate::endpoint::tokens::expire;
use crate::endpoint::{random, revocation};
use crate::error::Error;
use crate::ports::{Event, Ports};
use crate::session::cookie::{CookieError, clear_session, reference_cookies, session_cookies};
use crate::session::stored::MAX_RECORD_BYTES;
use crate::session::{Cookies, Place, Record, Session, SessionError};
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
/// [`Error::SessionRevoked`], [`Error::RevocationUnavailable`], [`Error::SessionStore`].
pub(crate) async fn open(
    cookies: &Cookies<'_>,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Rc<Opened>, NoSession> {
    let opened = match peek(cookies, instance, ports, now).await {
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
                clear_session(cookies)
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
/// [`Error::NoCredential`], [`Error::SessionExpired`], [`Error::SessionStore`].
pub(crate) async fn peek(
    cookies: &Cookies<'_>,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Rc<Opened>, Error> {
    let limits = &instance.config.session;
    let opened = match cookies.reference() {
        Some(reference) => {
            let referred = Referred::by(reference, instance, now)?;
            let sealed = ports.key_value.get(&referred.key).await;
            let sealed = sealed.map_err(|_| Error::SessionStore)?;
            // Deleted by a logout, or swept away after its end.
            let sealed = sealed.ok_or(Error::SessionExpired)?;
            if let Some(known) = referred.recall(&sealed, now) {
                return Ok(known);
            }
            let (record, renewed_at) = (referred.record.clone(), referred.renewed_at);
            Session::open_record_until(text(&sealed)?, record, limits, renewed_at, now).map(
                |(session, until)| {
                    referred.remember(reference, sealed, session, until, instance, now)
                },
            )
        }
        None => {
            let sealed = cookies.session().ok_or(Error::NoCredential)?;
            if let Some(known) = opened::recall(&sealed, instance, now) {
                return Ok(known);
            }
            Session::open_until(text(&sealed)?, &instance.ring, limits, now)
                .map(|(session, until)| opened::remember(&sealed, session, until, instance, now))
        }
    };
    opened.map_err(|error| match error {
        SessionError::Expired => Error::SessionExpired,
        SessionError::Unreadable => Error::NoCredential,
    })
}

/// What is sealed is text.
fn text(sealed: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(sealed).map_err(|_| Error::NoCredential)
}

/// Saves a session, a new one or one whose content changed; returns the `Set-Cookie` values.
/// `present` are the request's cookies: what of them is not needed any more is deleted.
///
/// A session in cookies that is too large for them loses the claims that the configuration names
/// last, then the hint for the logout where that is allowed; else it goes into the store where
/// that is allowed.
///
/// # Errors
/// [`Error::Cookie`] when it does not fit, [`Error::SessionStore`] and [`Error::Tokens`] when it
/// cannot be stored, [`Error::Internal`].
pub(crate) async fn save(
    session: &Session,
    present: &Cookies<'_>,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Vec<HeaderValue>, Error> {
    if let Some(record) = &session.record {
        if !is_stored(session, record, instance, ports, now).await? {
            write(session, record, instance, ports, now).await?;
        }
        return refer(session, record, present, instance, now);
    }
    if instance.config.session.place == Place::KeyValue {
        return store_anew(session, present, instance, ports, now).await;
    }
    match in_cookies(session, present, instance, now) {
        Err(Error::Cookie(CookieError::SessionTooLarge)) => {}
        done => return done,
    }
    for (smaller, dropped) in reductions(session, instance) {
        match in_cookies(&smaller, present, instance, now) {
            Err(Error::Cookie(CookieError::SessionTooLarge)) => {}
            Ok(cookies) => {
                ports.events.emit(&Event {
                    code: "session_reduced",
                    request_id: String::new(),
                    fields: vec![
                        ("dropped", dropped.join(" ")),
                        ("session", session.id.clone()),
                    ],
                });
                return Ok(cookies);
            }
            Err(error) => return Err(error),
        }
    }
    if instance.config.session.spill {
        return store_anew(session, present, instance, ports, now).await;
    }
    Err(Error::Cookie(CookieError::SessionTooLarge))
}

/// `Set-Cookie` values that prolong a session whose content did not change; none when that
/// cannot be, and the session goes on as it is. Writes nothing into the store.
pub(crate) fn renew(
    session: &Session,
    present: &Cookies<'_>,
    instance: &Instance,
    now: UnixTime,
) -> Vec<HeaderValue> {
    let renewed = match &session.record {
        Some(record) => refer(session, record, present, instance, now),
        None => in_cookies(session, present, instance, now),
    };
    renewed.unwrap_or_default()
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
    // First the mark: a request that is under way may write the record once more, and what it
    // writes must be as dead.
    revocation::end(session, instance, ports).await?;
    if let Some(record) = &session.record {
        // Already of no use to anybody; the wheel takes it where this fails.
        let _gone = ports.key_value.delete(&record.key()).await;
    }
    Ok(())
}

fn in_cookies(
    session: &Session,
    present: &Cookies<'_>,
    instance: &Instance,
    now: UnixTime,
) -> Result<Vec<HeaderValue>, Error> {
    let limits = &instance.config.session;
    let sealed = session.seal(&instance.ring, limits, now);
    let (sealed, life) = sealed.map_err(|_| Error::Internal)?;
    Ok(session_cookies(&sealed, present, life, limits.max_chunks)?)
}

/// Smaller and smaller forms of a session, with what each lacks. What the configuration names
/// first stays longest; what a login cannot do without always does.
fn reductions(session: &Session, instance: &Instance) -> Vec<(Session, Vec<String>)> {
    let Some(provider) = instance.config.provider(&session.provider) else {
        return Vec::new();
    };
    let essential = &provider.requirements.essential_claims;
    let voluntary: Vec<&String> = provider
        .claims
        .iter()
        .filter(|name| session.claims.contains_key(*name) && !essential.contains(name))
        .collect();
    let mut forms = Vec::new();
    let mut smaller = session.clone();
    let mut dropped = Vec::new();
    for hint in [true, false] {
        if !hint {
            if provider.id_token_hint != IdTokenHint::WhenItFits || session.id_token.is_none() {
                break;
            }
            smaller = session.clone();
            smaller.id_token = None;
            dropped = vec!["id_token_hint".to_owned()];
            forms.push((smaller.clone(), dropped.clone()));
        }
        for name in voluntary.iter().rev() {
            smaller.claims.remove(*name);
            dropped.push((*name).clone());
            forms.push((smaller.clone(), dropped.clone()));
        }
    }
    forms
}

/// Stores a session that is not in the store yet.
async fn store_anew(
    session: &Session,
    present: &Cookies<'_>,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Vec<HeaderValue>, Error> {
    let record = match session.refreshed_at {
        Some(_) => Record::refreshed(session, &instance.ring),
        None => Record::new(random(ports)?, random(ports)?),
    };
    if !is_stored(session, &record, instance, ports, now).await? {
        // Known to the wheel before it is there: nothing stays for ever.
        let until = session.ends_at_last(&instance.config.session);
        expire(&record.key(), until, instance, ports).await?;
        write(session, &record, instance, ports, now).await?;
    }
    refer(session, &record, present, instance, now)
}

/// True when the store has the session already, with these tokens or with later ones: of many
/// requests that share a refresh the first writes, and one that comes late does not put tokens
/// back that were used since.
async fn is_stored(
    session: &Session,
    record: &Record,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<bool, Error> {
    if session.refreshed_at.is_none() {
        return Ok(false);
    }
    let sealed = ports.key_value.get(&record.key()).await;
    let sealed = sealed.map_err(|_| Error::SessionStore)?;
    let text = sealed.and_then(|sealed| String::from_utf8(sealed).ok());
    let limits = &instance.config.session;
    let stored = text.map(|text| Session::open_record(&text, record.clone(), limits, now, now));
    Ok(matches!(stored, Some(Ok(stored)) if stored.refreshed_at >= session.refreshed_at))
}

async fn write(
    session: &Session,
    record: &Record,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<(), Error> {
    let sealed = session.seal_record(record, &instance.config.session, now);
    let sealed = sealed.map_err(|_| Error::Internal)?;
    if sealed.len() > MAX_RECORD_BYTES {
        return Err(Error::Cookie(CookieError::SessionTooLarge));
    }
    let stored = ports.key_value.set(&record.key(), sealed.as_bytes()).await;
    stored.map_err(|_| Error::SessionStore)
}

fn refer(
    session: &Session,
    record: &Record,
    present: &Cookies<'_>,
    instance: &Instance,
    now: UnixTime,
) -> Result<Vec<HeaderValue>, Error> {
    let exp = session.ends_at(&instance.config.session, now);
    let reference = record.reference(&instance.ring, now, exp);
    let reference = reference.map_err(|_| Error::Internal)?;
    Ok(reference_cookies(&reference, present, exp.since(now)))
}
