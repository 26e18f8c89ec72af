//! Revocation marks in the store: written at a logout, looked for at every request with a
//! session. What they are is in [`crate::session::revocation`].
//!
//! A session that may or may not be revoked is refused: where the store does not answer, there
//! is no answer here either. `danger_skip_revocation` turns all of it off.

use crate::endpoint::instance::Instance;
use crate::endpoint::random;
use crate::endpoint::sessions::Opened;
use crate::endpoint::tokens::expire_while;
use crate::error::Error;
use crate::ports::{Event, Ports};
use crate::session::Session;
use crate::session::revocation::{Mark, Revoked, WATERMARK, logout_token_key, of_session};
use crate::time::UnixTime;

/// Refuses a session that was revoked. One read of the store while no session at all was
/// revoked since the last look at this one.
///
/// # Errors
/// [`Error::SessionRevoked`], [`Error::RevocationUnavailable`].
pub(crate) async fn check(
    session: &Opened,
    instance: &Instance,
    ports: Ports<'_>,
) -> Result<(), Error> {
    if instance.config.session.skip_revocation {
        return match &session.record {
            // A logout deletes its record, which a request under way could write again.
            Some(_) => not_ended(session, instance, ports).await,
            None => Ok(()),
        };
    }
    let watermark = get(WATERMARK, ports).await?;
    // Read before the marks are: had one been written meanwhile, the next request finds another
    // watermark.
    let at = instance.watermark.borrow_mut().at(watermark);
    if session.unrevoked_at.get() == Some(at) {
        return Ok(());
    }
    for revoked in of_session(session) {
        if let Some(mark) = mark(&revoked, instance, ports).await?
            && revoked.ends(session, &mark)
        {
            return Err(Error::SessionRevoked);
        }
    }
    session.unrevoked_at.set(Some(at));
    Ok(())
}

async fn not_ended(session: &Session, instance: &Instance, ports: Ports<'_>) -> Result<(), Error> {
    let revoked = Revoked::Session { id: &session.id };
    match mark(&revoked, instance, ports).await? {
        Some(_) => Err(Error::SessionRevoked),
        None => Ok(()),
    }
}

/// Ends one session, on every machine that shares the store.
///
/// # Errors
/// [`Error::RevocationUnavailable`], [`Error::Internal`]; then it may have ended or not.
pub(crate) async fn end(
    session: &Session,
    instance: &Instance,
    ports: Ports<'_>,
) -> Result<(), Error> {
    let revoked = Revoked::Session { id: &session.id };
    let limits = &instance.config.session;
    let until = session.ends_at_last(limits);
    if limits.skip_revocation {
        return match &session.record {
            Some(_) => set_until(&revoked.key(), until, instance, ports).await,
            None => Ok(()),
        };
    }
    revoke(&[revoked], until, instance, ports).await
}

/// Lets a new session know the marks of its person, which are about former sessions.
///
/// # Errors
/// [`Error::SessionRevoked`] when the provider's session is over already,
/// [`Error::RevocationUnavailable`].
pub(crate) async fn note_at_login(
    session: &mut Session,
    instance: &Instance,
    ports: Ports<'_>,
) -> Result<(), Error> {
    if instance.config.session.skip_revocation {
        return Ok(());
    }
    let mut known = Vec::new();
    for revoked in of_session(session) {
        match revoked {
            // Made a moment ago: nobody can have revoked it.
            Revoked::Session { .. } => {}
            Revoked::ProviderSession { .. } => {
                if mark(&revoked, instance, ports).await?.is_some() {
                    return Err(Error::SessionRevoked);
                }
            }
            Revoked::Subject { .. } | Revoked::SubjectWithoutSid { .. } => {
                known.extend(mark(&revoked, instance, ports).await?.map(|mark| mark.id));
            }
        }
    }
    session.known_marks = known;
    Ok(())
}

/// Ends what `revoked` names, on every machine that shares the store. No session of it lives
/// longer than `until`.
///
/// # Errors
/// [`Error::RevocationUnavailable`], [`Error::Internal`]; then it may have ended or not.
pub(crate) async fn revoke(
    revoked: &[Revoked<'_>],
    until: UnixTime,
    instance: &Instance,
    ports: Ports<'_>,
) -> Result<(), Error> {
    if instance.config.session.skip_revocation {
        return Ok(());
    }
    for one in revoked {
        set_until(&one.key(), until, instance, ports).await?;
    }
    // Last: who reads the new watermark must find the marks. There is one, for ever.
    let value = Mark::value(random(ports)?, WATERMARK, &instance.ring);
    set(WATERMARK, &value, ports).await
}

/// True when the logout token `jti` of `issuer` was used before.
///
/// # Errors
/// [`Error::RevocationUnavailable`].
pub(crate) async fn is_used(issuer: &str, jti: &str, ports: Ports<'_>) -> Result<bool, Error> {
    Ok(get(&logout_token_key(issuer, jti), ports).await?.is_some())
}

/// Remembers the logout token `jti` of `issuer`, good until `until`, as used.
///
/// # Errors
/// [`Error::RevocationUnavailable`], [`Error::Internal`].
pub(crate) async fn set_used(
    issuer: &str,
    jti: &str,
    until: UnixTime,
    instance: &Instance,
    ports: Ports<'_>,
) -> Result<(), Error> {
    set_until(&logout_token_key(issuer, jti), until, instance, ports).await
}

async fn mark(
    revoked: &Revoked<'_>,
    instance: &Instance,
    ports: Ports<'_>,
) -> Result<Option<Mark>, Error> {
    let key = revoked.key();
    let Some(value) = get(&key, ports).await? else {
        return Ok(None);
    };
    let mark = Mark::read(&value, &key, &instance.ring);
    if !mark.genuine {
        // It counts all the same; the operator should know.
        ports.events.emit(&Event {
            code: "revocation_mark_unverified",
            request_id: String::new(),
            fields: vec![("key", key)],
        });
    }
    Ok(Some(mark))
}

async fn get(key: &str, ports: Ports<'_>) -> Result<Option<Vec<u8>>, Error> {
    let value = ports.key_value.get(key).await;
    value.map_err(|_| Error::RevocationUnavailable)
}

/// Writes a mark that nobody needs after `until`: the wheel takes it then, unless a later mark
/// has taken its place.
async fn set_until(
    key: &str,
    until: UnixTime,
    instance: &Instance,
    ports: Ports<'_>,
) -> Result<(), Error> {
    let id = random(ports)?;
    let registered = expire_while(key, &id, until, instance, ports).await;
    if let Err(error) = registered {
        // That a session ends counts more than the room that its mark takes.
        ports.events.emit(&Event {
            code: "mark_stays",
            request_id: String::new(),
            fields: vec![("cause", error.code().to_owned()), ("key", key.to_owned())],
        });
    }
    set(key, &Mark::value(id, key, &instance.ring), ports).await
}

async fn set(key: &str, value: &[u8], ports: Ports<'_>) -> Result<(), Error> {
    let done = ports.key_value.set(key, value).await;
    done.map_err(|_| Error::RevocationUnavailable)
}
