//! The endpoints: requests in, responses out, with the ports awaited here and nowhere else.

pub mod authorize;
mod backchannel_logout;
pub mod callback;
pub mod client;
pub mod client_jwks;
pub mod discovery;
pub mod instance;
pub mod login;
pub mod logout;
mod revocation;
pub mod session;
pub(crate) mod sessions;
pub mod tokens;
pub mod wheel;

pub use authorize::{Body, Decision, Failure, Forward, Head, authorize};
pub use callback::callback;
pub use instance::{Instance, StartError};
pub use login::login;
pub use logout::logout;
pub use session::session;
pub use tokens::tokens;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response};

use crate::encoding::base64url_encode;
use crate::error::{BodyError, Error};
use crate::ports::{Event, Ports};
use crate::respond::{self, Audience, LOGIN_PATH};
use crate::session::cookie::{CookieError, delete_session};

/// Where the provider sends the browser after a logout.
pub const LOGGED_OUT_PATH: &str = "/auth/logged-out";

/// The answer to a request whose target or headers cannot even be expressed.
pub fn malformed_request(ports: Ports<'_>) -> Response<Bytes> {
    let error = Error::Path(crate::policy::PathError::Malformed);
    refuse(&error, Audience::Api, Vec::new(), ports, Vec::new())
}

/// The answer to a request whose body cannot be had.
pub fn unreadable_body(error: BodyError, ports: Ports<'_>) -> Response<Bytes> {
    refuse(
        &Error::Body(error),
        Audience::Api,
        Vec::new(),
        ports,
        Vec::new(),
    )
}

/// Answers with `error`, and logs it under a new request id.
fn refuse(
    error: &Error,
    audience: Audience,
    cookies: Vec<HeaderValue>,
    ports: Ports<'_>,
    fields: Vec<(&'static str, String)>,
) -> Response<Bytes> {
    refuse_login(error, audience, cookies, ports, fields, LOGIN_PATH)
}

/// The same, with the local address where a login begins anew.
fn refuse_login(
    error: &Error,
    audience: Audience,
    cookies: Vec<HeaderValue>,
    ports: Ports<'_>,
    fields: Vec<(&'static str, String)>,
    login: &str,
) -> Response<Bytes> {
    let request_id = request_id(ports);
    let mut cookies = cookies;
    if matches!(
        error,
        Error::Cookie(CookieError::Duplicate | CookieError::HeaderTooLarge)
    ) {
        // What cannot be read cannot be judged: it goes, so that the next request works.
        cookies.extend(delete_session());
    }
    let mut fields = fields;
    fields.push(("message", error.to_string()));
    if !error.hint().is_empty() {
        fields.push(("hint", error.hint().to_owned()));
    }
    ports.events.emit(&Event {
        code: error.code(),
        request_id: request_id.clone(),
        fields,
    });
    respond::error_with_login(error, audience, &request_id, cookies, login)
}

/// Sixteen random characters; a constant where the host has no randomness, since a refusal
/// must not fail.
fn request_id(ports: Ports<'_>) -> String {
    let mut bytes = [0; 12];
    match ports.random.fill(&mut bytes) {
        Ok(()) => base64url_encode(&bytes),
        Err(_) => "no-randomness".to_owned(),
    }
}

/// `N` unpredictable bytes.
fn random<const N: usize>(ports: Ports<'_>) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    ports.random.fill(&mut bytes).map_err(|_| Error::Internal)?;
    Ok(bytes)
}

/// Refuses any method but those of `allow`, a comma-separated list.
fn require_method(method: &Method, allow: &'static str) -> Result<(), Error> {
    if allow.split(", ").any(|known| known == method.as_str()) {
        Ok(())
    } else {
        Err(Error::MethodNotAllowed {
            allow: allow.to_owned(),
        })
    }
}

/// The path without a trailing slash, as a public route matches it.
fn plain_path(path: &str) -> &str {
    match path.strip_suffix('/') {
        Some(plain) if !plain.is_empty() => plain,
        _ => path,
    }
}

/// True when the request is from a page's script or another program rather than a person
/// following a link.
fn is_program(headers: &HeaderMap, method: &Method) -> bool {
    respond::audience(headers, method) == Audience::Api
}
