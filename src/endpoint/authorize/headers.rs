//! The headers of a proxied request and of its answer.
//!
//! Identity comes from the [`Permit`] and from nowhere else: whatever a client sends under
//! such a name, in whatever spelling, is gone before. Hop-by-hop headers go both ways.

mod names;
mod response;

pub use names::{is_hop_by_hop, is_stripped};
pub(super) use response::response;

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::config::{Config, Identity, IdentityHeaders};
use crate::endpoint::authorize::headers::names::{is, named_by_connection};
use crate::error::Error;
use crate::policy::Permit;
use crate::policy::decision::SubjectType;
use crate::session::Session;
use crate::session::cookie::without_own;

/// On whose behalf a request goes to the upstream.
#[derive(Clone, Copy)]
pub(super) enum Caller<'a> {
    /// Anybody, on a public route: the caller's own `Authorization` passes.
    Anybody,
    /// Nobody: a preflight that is passed on. No credential of any kind goes with it.
    Nobody,
    /// Whom the permit names; the session is there when it came by one.
    Known(&'a Permit, Option<&'a Session>),
}

/// The headers for the upstream.
pub(super) fn request(
    incoming: &HeaderMap,
    caller: Caller<'_>,
    names: &IdentityHeaders,
    config: &Config,
) -> Result<HeaderMap, Error> {
    let listed = named_by_connection(incoming);
    let anybody = matches!(caller, Caller::Anybody);
    let mut headers = HeaderMap::with_capacity(incoming.len() + 10);
    for (name, value) in incoming {
        let text = name.as_str();
        let drop = is_stripped(text)
            || listed.iter().any(|listed| listed == text)
            || config.identity_names.iter().any(|own| is(text, own))
            || (!anybody && name == AUTHORIZATION);
        if !drop {
            headers.append(name, value.clone());
        }
    }
    if !matches!(caller, Caller::Nobody)
        && let Some(cookie) = without_own(incoming)
    {
        headers.insert(COOKIE, cookie);
    }
    // The host appends its own value after any that the client sent.
    let address = incoming.get_all("spin-client-addr").iter().next_back();
    if let Some(ip) = address
        .and_then(|value| value.to_str().ok())
        .and_then(ip_of)
    {
        insert(&mut headers, "x-forwarded-for", &ip)?;
    }
    insert(
        &mut headers,
        "x-forwarded-host",
        config.public_url.authority(),
    )?;
    insert(
        &mut headers,
        "x-forwarded-proto",
        config.public_url.scheme(),
    )?;
    if let Caller::Known(permit, session) = caller {
        identity(&mut headers, permit, session, names)?;
    }
    Ok(headers)
}

fn identity(
    headers: &mut HeaderMap,
    permit: &Permit,
    session: Option<&Session>,
    names: &IdentityHeaders,
) -> Result<(), Error> {
    let mut tell = |identity, value: Option<&str>| match (names.name(identity), value) {
        (Some(name), Some(value)) => {
            let value = HeaderValue::from_str(value).map_err(|_| Error::Internal)?;
            headers.insert(name, value);
            Ok(())
        }
        _ => Ok(()),
    };
    tell(Identity::Subject, Some(permit.subject()))?;
    tell(Identity::Issuer, Some(permit.issuer()))?;
    let subject_type = match permit.subject_type() {
        SubjectType::Client => "client",
        SubjectType::User => "user",
    };
    tell(Identity::SubjectType, Some(subject_type))?;
    tell(Identity::ClientId, permit.client_id())?;
    tell(Identity::Scope, permit.scope())?;
    // Name and e-mail, only when session and permit speak of the same person, and an e-mail only
    // when the provider verified it.
    let same = |session: &&Session| {
        session.subject == permit.subject() && session.issuer == permit.issuer()
    };
    let Some(session) = session.filter(same) else {
        return Ok(());
    };
    let text = |claim: &str| {
        let text = session.claims.get(claim)?.as_str()?;
        Some(utf8_percent_encode(text, VALUE).to_string())
    };
    if session.claims.get("email_verified") == Some(&serde_json::Value::Bool(true)) {
        tell(Identity::Email, text("email").as_deref())?;
    }
    tell(Identity::Name, text("name").as_deref())
}

/// In names and e-mail addresses everything but visible ASCII and spaces, and `%` itself, is
/// percent-encoded as UTF-8.
const VALUE: &AsciiSet = &CONTROLS.add(b'%');

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) -> Result<(), Error> {
    let value = HeaderValue::from_str(value).map_err(|_| Error::Internal)?;
    headers.insert(HeaderName::from_static(name), value);
    Ok(())
}

fn ip_of(address: &str) -> Option<String> {
    let address: std::net::SocketAddr = address.parse().ok()?;
    Some(address.ip().to_string())
}

#[cfg(test)]
mod tests;
