//! What an upstream is shown: nothing, the caller's access token, or a token that `tokens` gets.
//!
//! A token is remembered under everything that it is for, the caller's token included where it
//! was exchanged for that: what was made for one caller is never shown on behalf of another.

use http::HeaderValue;

use crate::config::{Credential, Upstream};
use crate::endpoint::authorize::memory::{Key, Memory};
use crate::endpoint::instance::Instance;
use crate::endpoint::tokens::{ClientCredentials, Enclosed, ISSUE_MILLIS, TokenExchange, call};
use crate::error::Error;
use crate::oauth::token::TokenError;
use crate::ports::Ports;
use crate::secret::Secret;
use crate::time::UnixTime;

/// Headers for upstreams.
pub(crate) type Credentials = Memory<HeaderValue>;

/// The `Authorization` header for `upstream`, if it is shown one. `access_token` is the caller's,
/// where the request was judged by one.
///
/// # Errors
/// [`Error::UpstreamCredential`]: the request must not go on without it.
pub(super) async fn authorization(
    upstream: &Upstream,
    access_token: Option<&str>,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Option<HeaderValue>, Error> {
    // The configuration lets only routes with an access token lead here.
    let access_token = access_token.ok_or(Error::Internal);
    let name = upstream.name.as_str();
    let key = match &upstream.credential {
        Credential::None => return Ok(None),
        Credential::AccessToken => return bearer(access_token?).map(Some),
        Credential::ClientCredentials(_) => Key::parts(&[name]),
        Credential::TokenExchange { .. } => Key::parts(&[name, access_token.clone()?]),
    };
    if let Some(known) = instance.credentials.borrow().recall(&key, now) {
        return Ok(Some(known));
    }
    let upstream_name = name.to_owned();
    let issued = match &upstream.credential {
        Credential::TokenExchange { .. } => {
            let request = TokenExchange {
                upstream: upstream_name,
                subject_token: Enclosed(Secret::from(access_token?)),
            };
            call(&request, ISSUE_MILLIS, instance, ports).await
        }
        _ => {
            let request = ClientCredentials {
                upstream: upstream_name,
            };
            call(&request, ISSUE_MILLIS, instance, ports).await
        }
    };
    let issued = issued.map_err(|error| Error::UpstreamCredential {
        cause: error.code(),
        // The issuer's last word; everything else may be over in a moment.
        refused: matches!(error, Error::Token(error) if error != TokenError::Unavailable),
    })?;
    let value = bearer(issued.access_token.0.expose())?;
    let (size, until) = (value.len(), now.plus(issued.usable));
    let mut credentials = instance.credentials.borrow_mut();
    credentials.remember(&key, value.clone(), size, until, now);
    Ok(Some(value))
}

/// `token` as the value of an `Authorization` header (RFC 6750 section 2.1), flagged so that no
/// log shows it.
fn bearer(token: &str) -> Result<HeaderValue, Error> {
    let text = Secret::new(format!("Bearer {token}"));
    let mut value = HeaderValue::from_str(text.expose()).map_err(|_| Error::Internal)?;
    value.set_sensitive(true);
    Ok(value)
}
