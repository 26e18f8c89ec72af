//! Answers to pages of other origins (<https://fetch.spec.whatwg.org/#http-cors-protocol>): by
//! the settings of the route, never by what the page would like.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ORIGIN,
    VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use crate::policy::Cors;
use crate::policy::proxying::Origins;

/// The value of `Access-Control-Allow-Origin` for the page that sent `headers`, if it is allowed.
pub(super) fn allowed_origin(cors: &Cors, headers: &HeaderMap) -> Option<HeaderValue> {
    if !cors.allows_origin(headers) {
        return None;
    }
    match cors.origins {
        Origins::Any => Some(HeaderValue::from_static("*")),
        Origins::List(_) => headers.get(ORIGIN).cloned(),
    }
}

/// The headers that let the page of `origin` read an answer, to be added to those that are there.
pub(super) fn allowing(
    cors: &Cors,
    origin: Option<&HeaderValue>,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    if matches!(cors.origins, Origins::List(_)) {
        // Also where the origin is not allowed: a cache must not give this answer to one that is.
        headers.push((VARY, HeaderValue::from_static("Origin")));
    }
    if let Some(origin) = origin {
        headers.push((ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()));
        headers.push((ACCESS_CONTROL_EXPOSE_HEADERS, cors.expose.clone()));
        if cors.credentials {
            let yes = HeaderValue::from_static("true");
            headers.push((ACCESS_CONTROL_ALLOW_CREDENTIALS, yes));
        }
    }
    headers
}

/// Lets the page of `origin` read an answer of the gate's own.
pub(super) fn allow(headers: &mut HeaderMap, cors: &Cors, origin: Option<&HeaderValue>) {
    for (name, value) in allowing(cors, origin) {
        headers.append(name, value);
    }
}

/// The gate's own answer to a preflight for `method`; `None` when the page may not do that.
pub(super) fn preflight(
    cors: &Cors,
    method: &Method,
    headers: &HeaderMap,
) -> Option<Response<Bytes>> {
    let origin = allowed_origin(cors, headers).filter(|_| cors.allows_method(method))?;
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let answer = response.headers_mut();
    allow(answer, cors, Some(&origin));
    answer.remove(ACCESS_CONTROL_EXPOSE_HEADERS);
    let method = HeaderValue::from_str(method.as_str()).ok()?;
    answer.insert(ACCESS_CONTROL_ALLOW_METHODS, method);
    answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, cors.headers.clone());
    answer.insert(ACCESS_CONTROL_MAX_AGE, cors.max_age.as_secs().into());
    Some(response)
}
