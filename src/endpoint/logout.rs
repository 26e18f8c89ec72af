//! `/auth/logout`, `/auth/logged-out` and `/auth/backchannel-logout`.
//!
//! A link or an image must not log anybody out: GET shows a page to confirm, POST needs proof
//! that this very site sent it.

use bytes::Bytes;
use http::{Request, Response, StatusCode};

use crate::config::Logout;
use crate::encoding::{base64url_decode, base64url_encode};
use crate::endpoint::backchannel_logout::backchannel_logout;
use crate::endpoint::instance::Instance;
use crate::endpoint::tokens::revoke;
use crate::endpoint::{
    LOGGED_OUT_PATH, discovery, plain_path, random, refuse, request_id, require_method, revocation,
    sessions,
};
use crate::error::Error;
use crate::oauth::authorization::parse_parameters;
use crate::oidc::end_session::{EndSessionRequest, cognito_url};
use crate::ports::{Event, Ports};
use crate::respond::page::{Action, Page};
use crate::respond::{Audience, Code, is_same_origin, page, see_other, set_cookies};
use crate::session::cookie::clear_session;
use crate::session::{Cookies, KeyRing, Purpose, Session};
use crate::time::UnixTime;

/// Answers the requests of the `logout` component.
pub async fn logout(
    request: Request<Bytes>,
    instance: &Instance,
    ports: Ports<'_>,
) -> Response<Bytes> {
    let now = ports.clock.now();
    let (answer, audience) = match plain_path(request.uri().path()) {
        "/auth/logout" => (
            log_out(&request, instance, ports, now).await,
            Audience::Browser,
        ),
        LOGGED_OUT_PATH => (back_from_provider(&request, instance), Audience::Browser),
        "/auth/backchannel-logout" => (
            backchannel_logout(&request, instance, ports, now).await,
            Audience::Api,
        ),
        _ => (Err(Error::NoRoute), Audience::Browser),
    };
    answer.unwrap_or_else(|error| refuse(&error, audience, Vec::new(), ports, Vec::new()))
}

async fn log_out(
    request: &Request<Bytes>,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Response<Bytes>, Error> {
    require_method(request.method(), "GET, HEAD, POST")?;
    let cookies = Cookies::parse(request.headers())?;
    let session = sessions::peek(&cookies, instance, ports, now).await;
    if request.method() != http::Method::POST {
        let session = match session {
            Ok(session) => session,
            Err(Error::SessionStore) => return Err(Error::SessionStore),
            Err(_) => return Ok(logged_out()),
        };
        // A copy of a cookie that is dead shows nobody's name. Where that cannot be known, the
        // way out stays open.
        if revocation::check(&session, instance, ports).await == Err(Error::SessionRevoked) {
            let mut response = logged_out();
            set_cookies(response.headers_mut(), clear_session(&cookies));
            return Ok(response);
        }
        let end_session = end_session_url(&session, instance, ports, now).await;
        return Ok(confirm(&session, end_session.as_ref()));
    }
    if !is_same_origin(request.headers(), instance.config.public_url.as_str()) {
        return Err(Error::CrossSite);
    }
    let gone = clear_session(&cookies);
    let session = match session {
        Ok(session) => session,
        // Nobody knows which one; the cookies that lead to it go all the same.
        Err(error @ Error::SessionStore) => {
            return Ok(not_recorded("", &error, None, gone, ports));
        }
        Err(_) => return Ok(see_other(LOGGED_OUT_PATH, gone)),
    };
    let recorded = sessions::end(&session, instance, ports).await;
    if let Some(provider) = instance.config.provider(&session.provider) {
        revoke(&session, provider, instance, ports).await;
    }
    let end_session = end_session_url(&session, instance, ports, now).await;
    let end_session = end_session.map(|(url, _)| url);
    if let Err(error) = recorded {
        return Ok(not_recorded(&session.id, &error, end_session, gone, ports));
    }
    let fields = vec![("session", session.id.clone())];
    ports.events.emit(&Event {
        code: "logout",
        request_id: String::new(),
        fields,
    });
    let target = end_session.unwrap_or_else(|| LOGGED_OUT_PATH.to_owned());
    Ok(see_other(&target, gone))
}

/// The answer when the logout could not be marked in the store: this browser's cookies are gone,
/// a copy of them would still do once the store is back. Says so, and offers the way on that a
/// redirect would have taken.
fn not_recorded(
    session: &str,
    cause: &Error,
    end_session: Option<String>,
    gone: Vec<http::HeaderValue>,
    ports: Ports<'_>,
) -> Response<Bytes> {
    const CODE: &str = "logout_not_recorded";
    let request_id = request_id(ports);
    ports.events.emit(&Event {
        code: CODE,
        request_id: request_id.clone(),
        fields: vec![
            ("cause", cause.code().to_owned()),
            ("session", session.to_owned()),
        ],
    });
    let mut response = page::render(&Page {
        status: StatusCode::SERVICE_UNAVAILABLE,
        heading: "Signed out in this browser only",
        message: "A service that is needed here did not answer, so the sign-out could not be recorded. If somebody else has a copy of your session, it works until it ends by itself.",
        details: &[],
        action: match end_session {
            Some(url) => Action::Link("Sign out of the sign-in service", url),
            None => Action::SignIn,
        },
        request_id: Some(&request_id),
        form_targets: &[],
    });
    set_cookies(response.headers_mut(), gone);
    response.extensions_mut().insert(Code(CODE));
    response
}

/// The logout URL at the session's provider, and its origin. A provider that is down or has
/// no logout does not keep anybody from logging out here.
async fn end_session_url(
    session: &Session,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Option<(String, String)> {
    let provider = instance.config.provider(&session.provider)?;
    if provider.logout == Logout::None {
        return None;
    }
    let metadata = discovery::metadata(&provider.issuer, instance, ports, now)
        .await
        .ok()?;
    let endpoint = metadata.end_session_endpoint.as_ref()?;
    let way_back = format!("{}{LOGGED_OUT_PATH}", instance.config.public_url);
    let origin = endpoint.origin().to_string();
    if provider.logout == Logout::Cognito {
        return Some((
            cognito_url(endpoint, &provider.client_id, &way_back),
            origin,
        ));
    }
    let state = logout_state(random(ports).ok()?, &instance.ring);
    let request = EndSessionRequest {
        id_token_hint: session.id_token.as_ref(),
        client_id: &provider.client_id,
        post_logout_redirect_uri: &way_back,
        state: &state,
    };
    Some((request.url(endpoint), origin))
}

/// The way back from the provider. A provider may leave `state` away; one that is there must
/// be of our making, or the page would confirm a logout that never was.
fn back_from_provider(
    request: &Request<Bytes>,
    instance: &Instance,
) -> Result<Response<Bytes>, Error> {
    require_method(request.method(), "GET, HEAD")?;
    let query = request.uri().query().unwrap_or_default();
    let parameters = parse_parameters(query).map_err(|_| Error::LogoutState)?;
    let state = parameters.iter().find(|(name, _)| name == "state");
    match state {
        Some((_, state)) if !is_logout_state(state, &instance.ring) => Err(Error::LogoutState),
        _ => Ok(logged_out()),
    }
}

/// A `state` that is known again without having been kept: randomness and its MAC. It has no
/// end, since a person may stay at the provider as long as they like.
fn logout_state(random: [u8; 16], ring: &KeyRing) -> String {
    let tag = ring.mac(Purpose::LogoutState, &[&random]);
    format!("{}.{}", base64url_encode(&random), base64url_encode(&tag))
}

fn is_logout_state(state: &str, ring: &KeyRing) -> bool {
    state.split_once('.').is_some_and(|(random, tag)| {
        match (base64url_decode(random), base64url_decode(tag)) {
            (Ok(random), Ok(tag)) => ring.verify_mac(Purpose::LogoutState, &[&random], &tag),
            _ => false,
        }
    })
}

fn confirm(session: &Session, end_session: Option<&(String, String)>) -> Response<Bytes> {
    let who = ["name", "email", "preferred_username"]
        .iter()
        .find_map(|claim| {
            session
                .claims
                .get(*claim)
                .and_then(serde_json::Value::as_str)
        })
        .unwrap_or(&session.subject);
    // The browser applies form-action to the redirect after the form as well.
    let targets: Vec<&str> = end_session
        .iter()
        .map(|(_, origin)| origin.as_str())
        .collect();
    page::render(&Page {
        status: StatusCode::OK,
        heading: "Sign out?",
        message: "You will be signed out of this site and of the sign-in service.",
        details: &[("Signed in as", who)],
        action: Action::LogOut { fields: Vec::new() },
        request_id: None,
        form_targets: &targets,
    })
}

fn logged_out() -> Response<Bytes> {
    page::render(&Page {
        status: StatusCode::OK,
        heading: "You are signed out",
        message: "On a shared computer, close the browser as well.",
        details: &[],
        action: Action::SignIn,
        request_id: None,
        form_targets: &[],
    })
}
