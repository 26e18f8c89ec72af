//! `GET /auth/session`: what a front end may know of the session. Never a token.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::json;

use crate::endpoint::instance::Instance;
use crate::endpoint::{refuse, require_method, sessions};
use crate::ports::Ports;
use crate::respond::{self, Audience};

/// Answers with JSON: issuer, subject, the kept claims, and when the session ends (seconds
/// since 1970); or 401 without a session.
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
        Ok(json!({
            "issuer": session.issuer,
            "subject": session.subject,
            "claims": session.claims,
            "auth_time": session.auth_time,
            "expires_at": ends_at,
        }))
    };
    match answer.await {
        Ok(body) => respond::json(StatusCode::OK, &body),
        Err(error) => refuse(&error, Audience::Api, stale, ports, Vec::new()),
    }
}
