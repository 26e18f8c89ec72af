//! The only place where an error becomes an answer: status, challenge, problem body or page.
//!
//! Statuses and challenges by RFC 6750 section 3, RFC 9110 and RFC 9457. The public text is
//! constant per row; 5xx answers all read alike.

pub mod page;

use bytes::Bytes;
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION,
    REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use serde_json::json;

use crate::error::{BodyError, Error};
use crate::oauth::access_token::AccessTokenError;
use crate::oauth::authorization::ProviderError;
use crate::oauth::bearer::{BearerError, Challenge};
use crate::oauth::token::TokenError;
use crate::policy::DenialReason;
use crate::respond::page::{Action, Page};
use crate::session::cookie::CookieError;

/// Who waits for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// A program: problem+json.
    Api,
    /// A person in front of a page.
    Browser,
}

/// `Browser` for a top-level navigation that may be sent to the login: GET or HEAD, no
/// prefetch, and `Sec-Fetch-Mode: navigate` with `Sec-Fetch-Dest: document`, or, where a
/// browser sends neither, an `Accept` that prefers HTML.
pub fn audience(headers: &HeaderMap, method: &Method) -> Audience {
    let is = |name: &str, value: &str| {
        headers
            .get(name)
            .is_some_and(|found| found.as_bytes().eq_ignore_ascii_case(value.as_bytes()))
    };
    let safe = method == Method::GET || method == Method::HEAD;
    if !safe || headers.contains_key("sec-purpose") || is("purpose", "prefetch") {
        return Audience::Api;
    }
    let navigation =
        if headers.contains_key("sec-fetch-mode") || headers.contains_key("sec-fetch-dest") {
            is("sec-fetch-mode", "navigate") && is("sec-fetch-dest", "document")
        } else {
            prefers_html(headers)
        };
    if navigation {
        Audience::Browser
    } else {
        Audience::Api
    }
}

/// True when the first media type that `Accept` names is HTML.
fn prefers_html(headers: &HeaderMap) -> bool {
    let accept = headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let first = accept.split(',').next().unwrap_or_default();
    let media_type = first.split(';').next().unwrap_or_default().trim();
    ["text/html", "application/xhtml+xml"]
        .iter()
        .any(|html| media_type.eq_ignore_ascii_case(html))
}

/// True when a state-changing request proves that this very site sent it: by
/// `Sec-Fetch-Site: same-origin`, or by an `Origin` that is `public_origin`. `Origin: null`
/// and a missing `Origin` count only with the former.
pub fn is_same_origin(headers: &HeaderMap, public_origin: &str) -> bool {
    let mut sites = headers.get_all("sec-fetch-site").iter();
    if let Some(site) = sites.next() {
        return site == "same-origin" && sites.next().is_none();
    }
    let mut origins = headers.get_all("origin").iter();
    origins.next().is_some_and(|origin| origin == public_origin) && origins.next().is_none()
}

/// One row of the table.
struct Row {
    status: StatusCode,
    /// What a person reads.
    heading: &'static str,
    message: &'static str,
    /// `detail` of the problem body.
    detail: String,
    challenge: Option<Challenge>,
    action: Action,
}

/// The answer to `error`. `cookies` are `Set-Cookie` values that go with it.
pub fn error(
    error: &Error,
    audience: Audience,
    request_id: &str,
    cookies: Vec<HeaderValue>,
) -> Response<Bytes> {
    let row = row(error);
    let mut response = match audience {
        Audience::Api => problem(&row, error.code(), request_id),
        Audience::Browser => page::render(&Page {
            status: row.status,
            heading: row.heading,
            message: row.message,
            details: &[],
            action: row.action,
            request_id: Some(request_id),
            form_targets: &[],
        }),
    };
    let headers = response.headers_mut();
    if let Some(challenge) = &row.challenge
        && let Ok(value) = HeaderValue::from_str(&challenge.header())
    {
        headers.insert(WWW_AUTHENTICATE, value);
    }
    if row.status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("10"));
    }
    if let Error::MethodNotAllowed { allow } = error
        && let Ok(value) = HeaderValue::from_str(allow)
    {
        headers.insert(ALLOW, value);
    }
    set_cookies(headers, cookies);
    response.extensions_mut().insert(Code(error.code()));
    response
}

/// The stable code of a refusal, in the extensions of its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub &'static str);

fn row(error: &Error) -> Row {
    const SIGN_IN: &str = "Sign-in did not work";
    const SIGN_IN_DOWN: &str = "Sign-in is not available";
    const AGAIN: &str = "Nothing is lost. Please start again.";
    let page = |status, heading, message: &'static str, action| Row {
        status,
        heading,
        message,
        detail: message.to_owned(),
        challenge: None,
        action,
    };
    let sign_in = |status, message| page(status, SIGN_IN, message, Action::StartAgain);
    let token = |description: Option<&str>| Row {
        challenge: Some(Challenge {
            error: Some("invalid_token"),
            description: description.map(str::to_owned),
            scope: None,
        }),
        detail: description
            .unwrap_or("The access token is not valid here.")
            .to_owned(),
        ..page(
            StatusCode::UNAUTHORIZED,
            "Please sign in",
            "Your sign-in is not valid any more.",
            Action::SignIn,
        )
    };
    let later = |heading| {
        page(
            StatusCode::SERVICE_UNAVAILABLE,
            heading,
            "A service that is needed here does not answer. Please try again in a moment.",
            Action::Reload,
        )
    };
    // The code of the attempt is used or lost: the same address would not work again.
    let sign_in_later = || Row {
        action: Action::StartAgain,
        ..later(SIGN_IN_DOWN)
    };
    let internal = || {
        page(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Something went wrong",
            "This is not your fault. Please try again later.",
            Action::Home,
        )
    };
    match error {
        Error::AccessToken(error) => match error {
            AccessTokenError::Expired => token(Some("The access token expired.")),
            AccessTokenError::Claims
            | AccessTokenError::Issuer
            | AccessTokenError::Jws(_)
            | AccessTokenError::NotYetValid
            | AccessTokenError::Typ => token(Some("The access token is not valid here.")),
        },
        Error::AttemptExpired => sign_in(
            StatusCode::BAD_REQUEST,
            "This sign-in took longer than ten minutes. Please start again.",
        ),
        Error::AttemptUnknown => sign_in(
            StatusCode::BAD_REQUEST,
            "This sign-in was already used, or began in another browser. Please start again.",
        ),
        Error::AuthorizationResponse(_) | Error::CallbackIssuer | Error::IdToken(_) => {
            sign_in(StatusCode::BAD_REQUEST, AGAIN)
        }
        Error::Body(error) => page(
            match error {
                BodyError::Broken => StatusCode::BAD_REQUEST,
                BodyError::Timeout => StatusCode::REQUEST_TIMEOUT,
                BodyError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            },
            "The request does not fit",
            "It did not arrive whole, or is too long.",
            Action::Home,
        ),
        Error::Cookie(CookieError::Duplicate | CookieError::HeaderTooLarge) => page(
            StatusCode::BAD_REQUEST,
            "Your browser's cookies do not fit",
            "The session cookies of this site are damaged and were removed. Please sign in again.",
            Action::SignIn,
        ),
        Error::Cookie(CookieError::SessionTooLarge) => page(
            StatusCode::INTERNAL_SERVER_ERROR,
            SIGN_IN,
            "Your account has more data than this site can keep. Please tell its operator.",
            Action::Home,
        ),
        Error::Credential(BearerError::Scheme) => Row {
            challenge: Some(Challenge::default()),
            detail: "Expected an Authorization header with the Bearer scheme.".to_owned(),
            ..page(
                StatusCode::UNAUTHORIZED,
                "Please sign in",
                "This page needs a sign-in.",
                Action::SignIn,
            )
        },
        Error::Credential(BearerError::Duplicate | BearerError::Malformed) => Row {
            challenge: Some(Challenge {
                error: Some("invalid_request"),
                description: Some(
                    "Expected one Authorization header with one bearer token.".to_owned(),
                ),
                scope: None,
            }),
            detail: "Expected one Authorization header with one bearer token.".to_owned(),
            ..page(
                StatusCode::BAD_REQUEST,
                "The request does not fit",
                "It carries a credential that cannot be read.",
                Action::Home,
            )
        },
        Error::CrossSite => page(
            StatusCode::FORBIDDEN,
            "This request came from another site",
            "For your safety it was not carried out.",
            Action::Home,
        ),
        Error::Denied { reason, scopes } => match reason {
            DenialReason::Scope => {
                let needed = scopes.join(" ");
                Row {
                    challenge: Some(Challenge {
                        error: Some("insufficient_scope"),
                        description: Some(
                            "The access token lacks a scope that this request needs.".to_owned(),
                        ),
                        scope: Some(needed.clone()),
                    }),
                    detail: format!(
                        "The access token lacks a scope that this request needs: {needed}"
                    ),
                    ..page(
                        StatusCode::FORBIDDEN,
                        "You may not see this",
                        "Your account has no permission for it. Signing in again does not change that.",
                        Action::Home,
                    )
                }
            }
            DenialReason::Expired => token(Some("The access token expired.")),
            DenialReason::Audience => token(Some("The access token is addressed to another API.")),
            DenialReason::Issuer => token(Some("The access token is not valid here.")),
        },
        Error::Discovery(_) => later(SIGN_IN_DOWN),
        Error::Envelope | Error::NoRoute => page(
            StatusCode::NOT_FOUND,
            "There is nothing here",
            "The address may be mistyped.",
            Action::Home,
        ),
        Error::IdTokenAtApi { client_id } => {
            let addressee = match client_id {
                Some(client_id) => format!("It is addressed to the client {client_id}, "),
                None => "It is addressed to a client, ".to_owned(),
            };
            token(Some(&format!(
                "This is an ID token. {addressee}not to this API: send the access token instead."
            )))
        }
        Error::Internal => internal(),
        Error::LogoutState => page(
            StatusCode::BAD_REQUEST,
            "This is not the end of a sign-out",
            "The address did not come from a sign-out of this site. Whether you are signed in has not changed.",
            Action::Home,
        ),
        Error::MethodNotAllowed { .. } => page(
            StatusCode::METHOD_NOT_ALLOWED,
            "The request does not fit",
            "This address does not know that method.",
            Action::Home,
        ),
        Error::NoCredential => Row {
            // RFC 6750 section 3.1: no error attribute when no credential came.
            challenge: Some(Challenge::default()),
            detail: "An access token is needed.".to_owned(),
            ..page(
                StatusCode::UNAUTHORIZED,
                "Please sign in",
                "This page needs a sign-in.",
                Action::SignIn,
            )
        },
        Error::NotYet => page(
            StatusCode::NOT_IMPLEMENTED,
            "Not available",
            "This is not available yet.",
            Action::Home,
        ),
        Error::Path(_) => page(
            StatusCode::BAD_REQUEST,
            "The address does not fit",
            "It can be read in more than one way, so it was not followed.",
            Action::Home,
        ),
        Error::Provider(error) => match error {
            ProviderError::AccessDenied => sign_in(
                StatusCode::FORBIDDEN,
                "It was cancelled, or your account may not use this site.",
            ),
            ProviderError::InteractionRequired => sign_in(
                StatusCode::FORBIDDEN,
                "The sign-in service needs something from you first. Please start again.",
            ),
            ProviderError::Other => sign_in(
                StatusCode::BAD_REQUEST,
                "The sign-in service refused. Please start again.",
            ),
            ProviderError::Unavailable => sign_in_later(),
        },
        Error::SessionExpired => Row {
            heading: "Your session ended",
            message: "It does so after a while, for your safety. Please sign in again.",
            ..token(Some("The session expired."))
        },
        Error::SessionTokenNotForThisApi(_) => Row {
            challenge: Some(Challenge {
                error: Some("insufficient_scope"),
                description: Some("The session holds no access token for this API.".to_owned()),
                scope: None,
            }),
            detail: "The session holds no access token for this API.".to_owned(),
            ..page(
                StatusCode::FORBIDDEN,
                "You are signed in, but this part is closed",
                "Your sign-in gives no access to this part of the site, and signing in again will not change that. Please tell the operator.",
                Action::Home,
            )
        },
        Error::Token(TokenError::InvalidGrant) => sign_in(StatusCode::BAD_REQUEST, AGAIN),
        Error::Token(
            TokenError::InvalidClient
            | TokenError::Malformed
            | TokenError::Refused
            | TokenError::TokenType
            | TokenError::Unavailable,
        ) => sign_in_later(),
        Error::UnknownProvider => sign_in(
            StatusCode::BAD_REQUEST,
            "There is no such sign-in service here.",
        ),
        Error::Upgrade => page(
            StatusCode::NOT_IMPLEMENTED,
            "Not available",
            "Connections of this kind (WebSocket) are not supported here.",
            Action::Home,
        ),
        Error::UpstreamTimeout => Row {
            status: StatusCode::GATEWAY_TIMEOUT,
            ..later("The application does not answer")
        },
        Error::UpstreamUnavailable => Row {
            status: StatusCode::BAD_GATEWAY,
            ..later("The application does not answer")
        },
    }
}

/// RFC 9457.
fn problem(row: &Row, code: &str, request_id: &str) -> Response<Bytes> {
    let body = json!({
        "type": "about:blank",
        "title": row.status.canonical_reason().unwrap_or_default(),
        "status": row.status.as_u16(),
        "detail": row.detail,
        "code": code,
        "request_id": request_id,
    });
    own(
        row.status,
        "application/problem+json",
        body.to_string(),
        "default-src 'none'",
        "no-referrer",
    )
}

/// A JSON answer of airside's own.
pub fn json(status: StatusCode, body: &serde_json::Value) -> Response<Bytes> {
    own(
        status,
        "application/json",
        body.to_string(),
        "default-src 'none'",
        "no-referrer",
    )
}

/// A redirect after which the browser sends GET. `location` was built or checked by us.
pub fn see_other(location: &str, cookies: Vec<HeaderValue>) -> Response<Bytes> {
    let mut response = own(
        StatusCode::SEE_OTHER,
        "text/plain",
        String::new(),
        "default-src 'none'",
        "no-referrer",
    );
    match HeaderValue::from_str(location) {
        Ok(value) => {
            response.headers_mut().insert(LOCATION, value);
        }
        Err(_) => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
    }
    set_cookies(response.headers_mut(), cookies);
    response
}

/// Adds `Set-Cookie` values.
pub fn set_cookies(headers: &mut HeaderMap, cookies: Vec<HeaderValue>) {
    for cookie in cookies {
        headers.append(SET_COOKIE, cookie);
    }
}

/// The one fixed answer when the configuration or a secret is unusable.
pub fn unusable() -> Response<Bytes> {
    own(
        StatusCode::INTERNAL_SERVER_ERROR,
        "text/plain; charset=utf-8",
        "The gateway is not configured correctly. Its log says more.\n".to_owned(),
        "default-src 'none'",
        "no-referrer",
    )
}

/// An answer of airside's own, with the headers that all of them have.
fn own(
    status: StatusCode,
    content_type: &'static str,
    body: String,
    policy: &str,
    referrer_policy: &'static str,
) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let length = HeaderValue::from(response.body().len());
    let fixed = [
        (CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (CONTENT_LENGTH, length),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (REFERRER_POLICY, HeaderValue::from_static(referrer_policy)),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            HeaderValue::from_static("same-origin"),
        ),
    ];
    response.headers_mut().extend(fixed);
    if let Ok(policy) = HeaderValue::from_str(policy) {
        response
            .headers_mut()
            .insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

#[cfg(test)]
mod tests;
