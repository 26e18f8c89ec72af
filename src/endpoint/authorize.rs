//! The boarding gate: is there an access token, is it addressed to this API, does it allow
//! this? Then, and only then, the request goes to the upstream.
//!
//! The answer is a response, or a [`Forward`] plan of pure data that the host side executes
//! on raw streams. A refusal is terminal: nothing is proxied after it.

pub mod assertion;
mod cors;
mod credential;
mod forward;
mod head;
mod headers;
mod introspection;
mod login;
pub(super) mod memory;
mod protected_resource;
mod refresh;
mod token;
mod verified;
mod vouched;

pub(crate) use credential::Credentials;
pub use forward::{Body, Forward};
pub use head::{Field, Head, header_map, list, values};
pub(crate) use headers::Told;
pub use headers::{is_hop_by_hop, is_stripped};
pub(crate) use introspection::Introspected;
pub(crate) use verified::Verified;
pub use verified::VerifiedTokens;
pub(crate) use vouched::Vouchers;

use bytes::Bytes;
use http::{HeaderValue, Method, Response};

use crate::endpoint::authorize::headers::Caller;
use crate::endpoint::authorize::login::{login_for, login_url};
use crate::endpoint::authorize::refresh::Held;
use crate::endpoint::authorize::token::{Needs, Shown, asked, check};
use crate::endpoint::instance::Instance;
use crate::endpoint::{refuse, sessions};
use crate::error::{BodyError, Error, SessionTokenMisfit};
use crate::oauth::access_token::AccessTokenError;
use crate::oauth::bearer::{BearerError, BearerToken, bearer_token, has_token_in_query};
use crate::policy::proxying::{Preflight, preflight_method};
use crate::policy::{Access, CheckedPath, DenialReason, Match, Permit, Route, decision};
use crate::ports::Ports;
use crate::respond::{self, Audience, is_same_origin, see_other};
use crate::session::refresh_lock::Patience;
use crate::session::{Cookies, Session};
use crate::time::{Leeway, Lifetime, UnixTime};

/// A session younger than this whose token does not do is not sent to the login again: it
/// would come back with the same token, for ever.
const JUST_LOGGED_IN: Lifetime = Lifetime::from_secs(60);

/// What becomes of a request.
#[derive(Debug)]
pub enum Decision<'i> {
    /// Send this, and do not touch the upstream.
    Respond(Response<Bytes>),
    /// Pass the request on.
    Forward(Box<Forward<'i>>),
}

/// Who passes, and by what.
struct Passage<'h> {
    permit: Permit,
    session: Option<Held>,
    /// From the `Authorization` header.
    bearer: Option<BearerToken<'h>>,
}

/// Decides about a request. The header fields of one that passes are in its plan afterwards, and
/// no more in `head`.
pub async fn authorize<'i>(
    head: &mut Head<'_>,
    instance: &'i Instance,
    ports: Ports<'_>,
) -> Decision<'i> {
    let mut cookies = Vec::new();
    let mut route = None;
    match decide(head, &mut cookies, &mut route, instance, ports).await {
        Ok(decision) => decision,
        Err(error) => {
            let audience = respond::audience(head.headers(), &head.method);
            let may_log_in = audience == Audience::Browser && !instance.config.providers.is_empty();
            if may_log_in && let Some(again) = login_for(&error, head) {
                return Decision::Respond(see_other(&login_url(head.target, again), cookies));
            }
            let fields = refusal_fields(&error, head);
            let mut response = refuse(&error, audience, cookies, ports, fields);
            readable_by_page(&mut response, head, route);
            protected_resource::point_at(&mut response, route, &instance.config);
            Decision::Respond(response)
        }
    }
}

/// The answer to a request of `plan` that the upstream did not answer. `cause` is for the log
/// only.
pub fn upstream_failed(
    head: &Head<'_>,
    plan: &Forward<'_>,
    failure: Failure,
    cause: String,
    ports: Ports<'_>,
) -> Response<Bytes> {
    let error = match failure {
        Failure::BodyTooLarge => Error::Body(BodyError::TooLarge),
        Failure::Timeout => Error::UpstreamTimeout,
        Failure::Unavailable => Error::UpstreamUnavailable,
    };
    let audience = respond::audience(&header_map(&plan.fields), &head.method);
    let mut fields = refusal_fields(&error, head);
    fields.push(("cause", cause));
    // A session that was refreshed on the way is of no use without its new cookie.
    let mut response = refuse(&error, audience, plan.set_cookies.clone(), ports, fields);
    if let Some(cors) = &plan.route.proxying.cors {
        cors::allow(response.headers_mut(), cors, plan.allowed_origin.as_ref());
    }
    response
}

/// Why there is no answer of the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The request's body was longer than the route allows, and was cut off.
    BodyTooLarge,
    /// It took too long.
    Timeout,
    /// It could not be reached, or broke off.
    Unavailable,
}

/// Lets the page of an allowed origin read why it was refused.
fn readable_by_page(response: &mut Response<Bytes>, head: &Head<'_>, route: Option<&Route>) {
    if let Some(cors) = route.and_then(|route| route.proxying.cors.as_ref()) {
        let origin = cors::allowed_origin(cors, head.headers());
        cors::allow(response.headers_mut(), cors, origin.as_ref());
    }
}

fn refusal_fields(error: &Error, head: &Head<'_>) -> Vec<(&'static str, String)> {
    // The path without its query: people put secrets there. An ambiguous one not at all.
    let mut fields = vec![("method", head.method.to_string())];
    if !matches!(error, Error::Path(_)) {
        fields.push(("path", head.path().to_owned()));
    }
    fields
}

async fn decide<'i>(
    head: &mut Head<'_>,
    cookies_out: &mut Vec<HeaderValue>,
    route_out: &mut Option<&'i Route>,
    instance: &'i Instance,
    ports: Ports<'_>,
) -> Result<Decision<'i>, Error> {
    let now = ports.clock.now();
    let config = &instance.config;
    let path = CheckedPath::parse(head.target)?;
    // TRACE gives back what is meant for the upstream alone: who calls, an assertion, a credential
    // of ours (RFC 9110 section 9.3.8). CONNECT asks for a tunnel.
    if [Method::TRACE, Method::CONNECT].contains(&head.method) {
        let allow = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT".to_owned();
        return Err(Error::MethodNotAllowed { allow });
    }
    if let Some(answer) = protected_resource::answer(head, &instance.config) {
        return answer.map(Decision::Respond);
    }
    if is_reserved(&path) {
        let own = assertion::jwks(head, instance)?;
        return own.map(Decision::Respond).ok_or(Error::NoRoute);
    }
    if let Some(decision) = preflight(head, &path, route_out, instance)? {
        return Ok(decision);
    }
    let route = match config.find(&path, &head.method) {
        Match::Route(index) => config.route(index).ok_or(Error::Internal)?,
        Match::OtherMethods(indices) => {
            return Err(Error::MethodNotAllowed {
                allow: allow(&indices, instance),
            });
        }
        Match::None => return Err(Error::NoRoute),
    };
    *route_out = Some(route);
    if head.wants_websocket() {
        return Err(Error::Upgrade);
    }
    let passage = match &route.access {
        Access::Public => None,
        Access::Login => {
            Some(by_session_alone(head, route, cookies_out, instance, ports, now).await?)
        }
        Access::Token(rule) => {
            let needs = Needs {
                rule,
                step_up: &route.step_up,
            };
            Some(by_access_token(head, route, needs, cookies_out, instance, ports, now).await?)
        }
    };
    let upstream = config
        .upstreams
        .get(route.upstream)
        .ok_or(Error::Internal)?;
    let mut authorization = None;
    if let Some(passage) = &passage {
        // Only for who passed: nobody borrows a credential of ours anonymously.
        let of_session = passage
            .session
            .as_ref()
            .map(|held| held.session.access_token.expose().as_str());
        let token = passage.bearer.map(BearerToken::expose).or(of_session);
        authorization = credential::authorization(upstream, token, instance, ports, now).await?;
    }
    let caller = passage.map(|passage| (passage.permit, passage.session));
    let mut plan = forward(head, &path, route, caller, instance, now)?;
    if let Some(value) = authorization {
        plan.add("authorization", &value);
    }
    Ok(Decision::Forward(plan))
}

/// What becomes of a CORS preflight, on a route that says so: the gate answers, or the upstream
/// does and learns nothing of the caller. `None` for every other request.
fn preflight<'i>(
    head: &mut Head<'_>,
    path: &CheckedPath<'_>,
    route_out: &mut Option<&'i Route>,
    instance: &'i Instance,
) -> Result<Option<Decision<'i>>, Error> {
    let config = &instance.config;
    if head.method != Method::OPTIONS {
        return Ok(None);
    }
    let Some(method) = preflight_method(&head.method, head.headers()) else {
        return Ok(None);
    };
    // The route is that of the request to come.
    let Match::Route(index) = config.find(path, &method) else {
        return Ok(None);
    };
    let route = config.route(index).ok_or(Error::Internal)?;
    let Some(cors) = &route.proxying.cors else {
        return Ok(None);
    };
    *route_out = Some(route);
    Ok(Some(match cors.preflight {
        Preflight::Gate => {
            let answer = cors::preflight(cors, &method, head.headers());
            Decision::Respond(answer.ok_or(Error::Cors)?)
        }
        Preflight::Upstream => {
            let plan = Forward::new(head, path, route, Caller::Nobody, Vec::new(), config)?;
            Decision::Forward(Box::new(plan))
        }
    }))
}

/// True for what is airside's own: another component serves it, or nobody.
fn is_reserved(path: &CheckedPath<'_>) -> bool {
    let mut segments = path.segments();
    match (segments.next().as_deref(), segments.next().as_deref()) {
        (Some(b"auth"), _) => true,
        (Some(b".well-known"), Some(second)) => {
            matches!(second, b"jwks.json" | b"oauth-protected-resource" | b"spin")
        }
        _ => false,
    }
}

fn allow(indices: &[usize], instance: &Instance) -> String {
    let methods = indices
        .iter()
        .filter_map(|index| instance.config.route(*index))
        .flat_map(|route| route.methods.iter().flatten());
    let mut names: Vec<&str> = Vec::new();
    for name in methods.map(Method::as_str) {
        if let Err(place) = names.binary_search(&name) {
            names.insert(place, name);
        }
    }
    names.join(", ")
}

/// A session on a route that asks for nothing else.
async fn by_session_alone<'h>(
    head: &'h Head<'_>,
    route: &Route,
    cookies_out: &mut Vec<HeaderValue>,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Passage<'h>, Error> {
    let mut held = open_session(head, cookies_out, instance, ports, now).await?;
    require_same_origin(head, route, instance)?;
    held.refresh_if_due(false, head, cookies_out, instance, ports)
        .await?;
    let leeway = leeway_of(&held.session, instance);
    let session = held.session.session();
    let permit = decision::decide_session(&route.step_up, session, leeway, held.now)
        .map_err(|_| Error::StepUp(asked(&route.step_up)))?;
    Ok(Passage {
        permit,
        session: Some(held),
        bearer: None,
    })
}

fn leeway_of(session: &Session, instance: &Instance) -> Leeway {
    let provider = instance.config.provider(&session.provider);
    provider.map_or(Leeway::DEFAULT, |provider| provider.leeway)
}

/// An access token, from the `Authorization` header or else from the session. Both go
/// through the same check.
async fn by_access_token<'h>(
    head: &'h Head<'_>,
    route: &Route,
    needs: Needs<'_>,
    cookies_out: &mut Vec<HeaderValue>,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Passage<'h>, Error> {
    // A token in an address ends in logs and histories, and would go on to the upstream.
    if has_token_in_query(head.query()) {
        return Err(Error::Credential(BearerError::InQuery));
    }
    // A header decides alone: the cookie is then not even opened.
    if let Some(token) = bearer_token(head.values("authorization"))? {
        let shown = Shown::Header(token.expose());
        let permit = check(shown, needs, instance, ports, now).await?;
        return Ok(Passage {
            permit,
            session: None,
            bearer: Some(token),
        });
    }
    let mut held = open_session(head, cookies_out, instance, ports, now).await?;
    require_same_origin(head, route, instance)?;
    held.refresh_if_due(true, head, cookies_out, instance, ports)
        .await?;
    let mut checked = check_session(&held, needs, instance, ports).await;
    if checked.as_ref().is_err_and(is_over)
        && held
            .refresh(Patience::Wait, head, cookies_out, instance, ports)
            .await?
    {
        checked = check_session(&held, needs, instance, ports).await;
    }
    let permit = checked.map_err(|error| match held.expired() {
        Some(failed) if is_over(&error) => failed,
        _ => as_session_error(error, needs, &held.session, instance, held.now),
    })?;
    Ok(Passage {
        permit,
        session: Some(held),
        bearer: None,
    })
}

/// The check of a session's access token.
async fn check_session(
    held: &Held,
    needs: Needs<'_>,
    instance: &Instance,
    ports: Ports<'_>,
) -> Result<Permit, Error> {
    let shown = Shown::Session(&held.session);
    check(shown, needs, instance, ports, held.now).await
}

/// True when the access token was good and its time is over.
fn is_over(error: &Error) -> bool {
    matches!(
        error,
        Error::AccessToken(AccessTokenError::Expired | AccessTokenError::Inactive)
            | Error::Denied {
                reason: DenialReason::Expired,
                ..
            }
    )
}

/// What a refusal of the session's own access token means for the person: a login when that
/// can help, a page when it cannot.
fn as_session_error(
    error: Error,
    needs: Needs<'_>,
    session: &Session,
    instance: &Instance,
    now: UnixTime,
) -> Error {
    let misfit = Error::SessionTokenNotForThisApi;
    match error {
        // A login asks for what the route wants, and opens no session without it. If this one
        // has it, another login would bring the same token again.
        Error::StepUp(_) => {
            let known = decision::authentication(session);
            // By the leeway of the callback: a stricter one here would make a loop.
            if needs
                .step_up
                .is_met(known, leeway_of(session, instance), now)
            {
                misfit(SessionTokenMisfit::Authentication)
            } else {
                error
            }
        }
        error if is_over(&error) => {
            if now.since(session.created_at) < JUST_LOGGED_IN {
                misfit(SessionTokenMisfit::Refused)
            } else {
                Error::SessionExpired
            }
        }
        Error::Denied {
            reason: DenialReason::Audience,
            ..
        }
        | Error::IdTokenAtApi { .. }
        | Error::WrongToken(_) => misfit(SessionTokenMisfit::Audience),
        Error::Denied {
            reason: DenialReason::Issuer,
            ..
        }
        | Error::AccessToken(AccessTokenError::Issuer) => misfit(SessionTokenMisfit::Issuer),
        Error::AccessToken(_) => misfit(SessionTokenMisfit::Refused),
        other => other,
    }
}

async fn open_session(
    head: &Head<'_>,
    cookies_out: &mut Vec<HeaderValue>,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Held, Error> {
    let cookies = Cookies::of_lines(head.values("cookie"))?;
    match sessions::open(&cookies, instance, ports, now).await {
        Ok(session) => Ok(Held::new(session, cookies.of_others(), now)),
        Err(none) => {
            cookies_out.extend(none.cookies);
            Err(none.error)
        }
    }
}

/// A cookie goes with requests that other sites cause: what changes something needs proof
/// that this very site asked for it, or one that the route trusts with the person's cookies.
fn require_same_origin(head: &Head<'_>, route: &Route, instance: &Instance) -> Result<(), Error> {
    let safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(&head.method);
    let cors = route.proxying.cors.as_ref();
    if safe
        || is_same_origin(head.headers(), instance.config.public_url.as_str())
        || cors.is_some_and(|cors| cors.trusts_origin(head.headers()))
    {
        Ok(())
    } else {
        Err(Error::CrossSite)
    }
}

fn forward<'i>(
    head: &mut Head<'_>,
    path: &CheckedPath<'_>,
    route: &'i Route,
    caller: Option<(Permit, Option<Held>)>,
    instance: &'i Instance,
    now: UnixTime,
) -> Result<Box<Forward<'i>>, Error> {
    let permit = caller.as_ref().map(|(permit, _)| permit);
    let held = caller.as_ref().and_then(|(_, held)| held.as_ref());
    let mut set_cookies = Vec::new();
    if let Some(held) = held {
        set_cookies.clone_from(&held.set_cookies);
        let limits = &instance.config.session;
        if held.session.needs_renewal(limits, held.now) && held.may_be_renewed() {
            let present = Cookies::of_lines(head.values("cookie"))?;
            set_cookies = sessions::renew(&held.session, &present, instance, held.now);
        }
    }
    let caller = match permit {
        Some(permit) => Caller::Known(permit, held),
        None => Caller::Anybody,
    };
    let mut plan = Forward::new(head, path, route, caller, set_cookies, &instance.config)?;
    if let (Some(permit), Some(wanted)) = (permit, &plan.upstream.assertion) {
        // A refresh of the session's tokens may have taken a while.
        let now = held.map_or(now, |held| held.now);
        let value = assertion::sign(permit, wanted, head, &plan, instance, now)?;
        plan.add(assertion::HEADER, &value);
    }
    Ok(Box::new(plan))
}
