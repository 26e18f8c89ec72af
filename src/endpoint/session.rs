//! `GET /auth/session`: what a front end may know of the session. Never a token.

use bytes::Bytes;
use http::header::VARY;
use http::{HeaderValue, Request, Response, StatusCode};
use serde_json::json;

use crate::endpoint::instance::Instance;
use crate::endpoint::{refuse, require_method, sessions};
use crate::ports::Ports;
use crate::respond::{self, Audience};

/// Answers with JSON: who is signed in, by which provider, how, and when session and access
/// token end, as seconds since 1970 and as seconds from now; or 401 without a session.
pub async fn session(
    request: Request<Bytes>,
    instance: &Instance,
    ports: Ports<'_>,
) -> Response<Bytes> {
    let now = ports.clock.now();
    let mut stale = Vec::new();
    let answer = async {
        require_method(request.method(), "GET, HEAD")?;
        let opened = sessions::open(request.headers(), instance, ports, now).await;
        let session = opened.map_err(|none| {
            stale = none.cookies;
            none.error
        })?;
        let ends_at = session.ends_at(&instance.config.session, session.renewed_at);
        let token_ends_at = session.access_token_expires_at;
        Ok(json!({
            "provider": session.provider,
            "issuer": session.issuer,
            "subject": session.subject,
            "claims": session.claims,
            "auth_time": session.auth_time,
            "acr": session.acr,
            "expires_at": ends_at,
            "expires_in": ends_at.since(now),
            "access_token_expires_at": token_ends_at,
            "access_token_expires_in": token_ends_at.map(|at| at.since(now)),
        }))
    };
    let mut response = match answer.await {
        Ok(body) => respond::json(StatusCode::OK, &body),
        Err(error) => refuse(&error, Audience::Api, stale, ports, Vec::new()),
    };
    response
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("cookie"));
    response
}
