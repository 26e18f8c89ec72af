//! The only place where an error becomes an answer: status, challenge, problem body or page.
//!
//! Statuses and challenges by RFC 6750 section 3, RFC 9110 and RFC 9457. The public text is
//! constant per row; 5xx answers all read alike.

pub mod page;
mod table;

use bytes::Bytes;
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION,
    REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use serde_json::json;

use crate::error::Error;
use crate::respond::page::Page;
use crate::respond::table::{Row, row};

/// Where logins begin.
pub const LOGIN_PATH: &str = "/auth/login";

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
    let safe = method == Method::GET || method == Method::HEAD;
    if !safe || headers.contains_key("sec-purpose") || is(headers, "purpose", "prefetch") {
        return Audience::Api;
    }
    if is_navigation(headers) {
        Audience::Browser
    } else {
        Audience::Api
    }
}

/// True for a top-level navigation of any method, by the headers that browsers send.
pub fn is_navigation(headers: &HeaderMap) -> bool {
    if headers.contains_key("sec-fetch-mode") || headers.contains_key("sec-fetch-dest") {
        is(headers, "sec-fetch-mode", "navigate") && is(headers, "sec-fetch-dest", "document")
    } else {
        prefers_html(headers)
    }
}

fn is(headers: &HeaderMap, name: &str, value: &str) -> bool {
    headers
        .get(name)
        .is_some_and(|found| found.as_bytes().eq_ignore_ascii_case(value.as_bytes()))
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

/// The answer to `error`. `cookies` are `Set-Cookie` values that go with it.
pub fn error(
    error: &Error,
    audience: Audience,
    request_id: &str,
    cookies: Vec<HeaderValue>,
) -> Response<Bytes> {
    error_with_login(error, audience, request_id, cookies, LOGIN_PATH)
}

/// The same; `login` is the local address where a login begins anew, for pages that offer it.
pub fn error_with_login(
    error: &Error,
    audience: Audience,
    request_id: &str,
    cookies: Vec<HeaderValue>,
    login: &str,
) -> Response<Bytes> {
    let row = row(error);
    let mut response = match audience {
        Audience::Api => match error {
            // OpenID Connect Back-Channel Logout 1.0 section 2.8: as at a token endpoint.
            Error::LogoutToken(_) => json(
                row.status,
                &json!({
                    "error": "invalid_request",
                    "error_description": row.detail(error),
                    "request_id": request_id,
                }),
            ),
            _ => problem(row, error, request_id),
        },
        Audience::Browser => page::render(&Page {
            status: row.status,
            heading: row.heading,
            message: row.message,
            details: &[],
            action: page::Action::from(row.next).with_login(login),
            request_id: Some(request_id),
            form_targets: &[],
        }),
    };
    let headers = response.headers_mut();
    if let Some(challenge) = row.challenge(error)
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

/// RFC 9457.
fn problem(row: &Row, error: &Error, request_id: &str) -> Response<Bytes> {
    let body = json!({
        "type": "about:blank",
        "title": row.status.canonical_reason().unwrap_or_default(),
        "status": row.status.as_u16(),
        "detail": row.detail(error),
        "code": error.code(),
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

/// A sealed answer, for another component of ours.
pub fn jose(status: StatusCode, sealed: String) -> Response<Bytes> {
    own(
        status,
        "application/jose",
        sealed,
        "default-src 'none'",
        "no-referrer",
    )
}

/// The status of the answer to `error`.
pub fn status(error: &Error) -> StatusCode {
    row(error).status
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
