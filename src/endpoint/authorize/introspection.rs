//! Opaque tokens: the issuer of the route, and nobody else, is asked about them (RFC 7662).
//!
//! What it says is remembered for a short while, so that a busy client costs one question and
//! a revoked token soon ends. Time, issuer, audience and scope are judged at every use.

use std::cell::RefCell;
use std::rc::Rc;

use crate::endpoint::authorize::memory::{Key, Memory};
use crate::endpoint::instance::Instance;
use crate::endpoint::tokens;
use crate::error::{Error, SessionTokenMisfit};
use crate::jose::JwsError;
use crate::jose::jws::MAX_TOKEN_BYTES;
use crate::oauth::access_token::{AccessTokenError, VerifiedAccessToken};
use crate::oauth::introspection;
use crate::ports::Ports;
use crate::session::Session;
use crate::time::{Lifetime, UnixTime};

/// How long an answer counts, and never past the token's `exp`.
const ACTIVE: Lifetime = Lifetime::from_secs(30);
/// How long a refusal counts: the token may be one that was just issued.
const REFUSED: Lifetime = Lifetime::from_secs(10);

/// What issuers said. Apart, so that a flood of bad tokens does not push out the good ones.
#[derive(Default)]
pub(crate) struct Introspected {
    active: RefCell<Memory<Rc<VerifiedAccessToken>>>,
    refused: RefCell<Memory<AccessTokenError>>,
}

/// Refuses to show the opaque token of `session` to anybody but its own issuer, and where
/// nobody is asked at all.
///
/// # Errors
/// [`Error::SessionTokenNotForThisApi`].
pub(super) fn may_show(session: &Session, issuer: usize, instance: &Instance) -> Result<(), Error> {
    let misfit = |kind| Err(Error::SessionTokenNotForThisApi(kind));
    if !instance.config.introspects(issuer) {
        return misfit(SessionTokenMisfit::Opaque);
    }
    match instance.config.issuers.get(issuer) {
        Some(issuer) if issuer.issuer.as_str() == session.issuer => Ok(()),
        _ => misfit(SessionTokenMisfit::Issuer),
    }
}

/// The token as the issuer with that index describes it: remembered, or asked for once.
///
/// # Errors
/// [`Error::AccessToken`] when it is not good, [`Error::Introspection`] when nobody knows.
pub(super) async fn verify(
    token: &str,
    issuer: usize,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Rc<VerifiedAccessToken>, Error> {
    let config = &instance.config;
    let settings = config.issuer_client(issuer);
    let settings = settings.and_then(|(_, client)| client.introspection.as_ref());
    let (Some(issuer), Some(settings)) = (config.issuers.get(issuer), settings) else {
        return Err(Error::Internal);
    };
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Error::AccessToken(AccessTokenError::Jws(JwsError::TooLong)));
    }
    let key = Key::parts(&[issuer.issuer.as_str(), token]);
    let known = &instance.introspected;
    if let Some(token) = known.active.borrow().recall(&key, now) {
        return Ok(token);
    }
    if let Some(error) = known.refused.borrow().recall(&key, now) {
        return Err(Error::AccessToken(error));
    }
    let answer = tokens::introspect(issuer, token, instance, ports)
        .await
        .map_err(|error| Error::Introspection {
            cause: error.code(),
        })?;
    // The time of the question: an answer is no younger for having taken long.
    let verified = match answer {
        Some(answer) => {
            let until = now.plus(ACTIVE);
            introspection::verify(answer, issuer, settings.client_tokens, until, now)
        }
        None => Err(AccessTokenError::Inactive),
    };
    match verified {
        Ok(token) => {
            let token = Rc::new(token);
            let until = now.plus(ACTIVE).min(token.expires_at());
            let value = Rc::clone(&token);
            let size = token.size();
            known
                .active
                .borrow_mut()
                .remember(&key, value, size, until, now);
            Ok(token)
        }
        Err(error) => {
            let until = now.plus(REFUSED);
            known
                .refused
                .borrow_mut()
                .remember(&key, error, 0, until, now);
            Err(Error::AccessToken(error))
        }
    }
}
