//! `GET /auth/session`: what a front end may know of the session. Never a token.

use bytes::Bytes;
use http::header::VARY;
use http::{HeaderValue, Request, Response, StatusCode};
use serde_json::json;

use crate::endpoint::instance::Instance;
use crate::endpoint::{refuse, require_method, sessions};
use crate::error::Error;
use crate::oauth::authorization::parse_parameters;
use crate::policy::decision;
use crate::ports::Ports;
use crate::respond::{self, Audience, LOGIN_PATH};
use crate::session::{Cookies, Session};
use crate::time::{Leeway, UnixTime};

/// Answers with JSON: who is signed in, by which provider, how, and when session and access
/// token end, as seconds since 1970 and as seconds from now; or 401 without a session. With
/// `for`, a path or a method and a path, also whether that needs a better authentication.
pub async fn session(
    request: Request<Bytes>,
    instance: &Instance,
    ports: Ports<'_>,
) -> Response<Bytes> {
    let now = ports.clock.now();
    let mut stale = Vec::new();
    let answer = async {
        require_method(request.method(), "GET, HEAD")?;
        let cookies = Cookies::parse(request.headers())?;
        let opened = sessions::open(&cookies, instance, ports, now).await;
        let session = opened.map_err(|none| {
            stale = none.cookies;
            none.error
        })?;
        let ends_at = session.ends_at(&instance.config.session, session.renewed_at);
        let token_ends_at = session.access_token_expires_at;
        let mut told = json!({
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
        });
        let query = request.uri().query().unwrap_or_default();
        let parameters = parse_parameters(query).map_err(|_| Error::LoginRequest)?;
        if let Some((_, wanted)) = parameters.iter().find(|(name, _)| name == "for") {
            told["for"] = json!({
                "request": wanted,
                "step_up": step_up(wanted, &session, instance, now),
            });
        }
        Ok(told)
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

/// The login that `wanted` needs first, for the script to add its `return_to`; `None` when the
/// person authenticated well enough, as far as the session knows.
fn step_up(wanted: &str, session: &Session, instance: &Instance, now: UnixTime) -> Option<String> {
    let provider = instance.config.provider(&session.provider);
    let leeway = provider.map_or(Leeway::DEFAULT, |provider| provider.leeway);
    let asked = instance.config.step_up_for(wanted)?;
    if asked.is_met(decision::authentication(session), leeway, now) {
        return None;
    }
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("for", wanted)
        .finish();
    Some(format!("{LOGIN_PATH}?{query}"))
}
