//! How a request is passed on: pure data, made of what was decided, executed by the host side.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};

use crate::config::{Config, Upstream};
use crate::endpoint::authorize::cors;
use crate::endpoint::authorize::headers::{self, Caller};
use crate::error::{BodyError, Error};
use crate::policy::{CheckedPath, Route};
use crate::time::Lifetime;
use crate::url::Origin;

/// How to pass a request on. The body streams are handed on as they are.
#[derive(Debug)]
pub struct Forward<'i> {
    /// `http` or `https`.
    pub scheme: &'i str,
    /// Host and port of the upstream.
    pub authority: &'i str,
    /// The path and query that were decided on, or what the route makes of them.
    pub path_and_query: String,
    /// All headers of the request to the upstream.
    pub headers: HeaderMap,
    /// What becomes of the request's body.
    pub body: Body,
    /// How long a connection may take to come about.
    pub connect_timeout: Lifetime,
    /// How long the upstream may take to the first byte of its answer.
    pub first_byte_timeout: Lifetime,
    /// How long the upstream may pause within its answer.
    pub between_bytes_timeout: Lifetime,
    pub(super) route: &'i Route,
    pub(super) upstream: &'i Upstream,
    pub(super) public_url: &'i Origin,
    pub(super) by_session: bool,
    pub(super) set_cookies: Vec<HeaderValue>,
    pub(super) allowed_origin: Option<HeaderValue>,
}

/// What becomes of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// There is none, or it means nothing.
    None,
    /// Handed on as it is. Its length is known, or does not matter.
    Stream,
    /// Counted on its way; one over that many bytes is cut off.
    AtMost(u64),
}

impl<'i> Forward<'i> {
    /// The plan for a request that may pass `route`.
    ///
    /// # Errors
    /// [`Error::Body`] when the body is too large or its length in doubt, [`Error::Path`] when
    /// the upstream's path is not unambiguous.
    pub(super) fn new(
        head: &Parts,
        path: &CheckedPath<'_>,
        route: &'i Route,
        caller: Caller<'_>,
        set_cookies: Vec<HeaderValue>,
        config: &'i Config,
    ) -> Result<Self, Error> {
        let upstream = config
            .upstreams
            .get(route.upstream)
            .ok_or(Error::Internal)?;
        let target = route.proxying.target(&route.path, path)?;
        let mut headers =
            headers::request(&head.headers, caller, &upstream.identity_headers, config)?;
        let body = match caller {
            Caller::Nobody => {
                headers.remove(CONTENT_LENGTH);
                Body::None
            }
            Caller::Anybody | Caller::Known(..) => body(head, route.proxying.max_body_bytes)?,
        };
        let cors = route.proxying.cors.as_ref();
        Ok(Forward {
            scheme: upstream.origin.scheme(),
            authority: upstream.origin.authority(),
            path_and_query: target.into_owned(),
            headers,
            body,
            connect_timeout: upstream.connect_timeout,
            first_byte_timeout: upstream.first_byte_timeout,
            between_bytes_timeout: upstream.between_bytes_timeout,
            route,
            upstream,
            public_url: &config.public_url,
            by_session: matches!(caller, Caller::Known(_, Some(_))),
            set_cookies,
            allowed_origin: cors.and_then(|cors| cors::allowed_origin(cors, &head.headers)),
        })
    }

    /// All headers of the answer to the client, from those of the upstream.
    pub fn response_headers(&self, upstream: HeaderMap) -> HeaderMap {
        headers::response(self, upstream)
    }
}

/// What becomes of the body of a request whose route takes at most `limit` bytes.
///
/// # Errors
/// [`BodyError::Framing`] where two readers could see two lengths (RFC 9112 section 6.3),
/// [`BodyError::TooLarge`] where it is announced to be over the limit.
fn body(head: &Parts, limit: Option<u64>) -> Result<Body, BodyError> {
    let mut lengths = head.headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    let chunked = head.headers.contains_key(TRANSFER_ENCODING);
    if lengths.next().is_some() || (length.is_some() && chunked) {
        return Err(BodyError::Framing);
    }
    if let Some(length) = length {
        let digits = |text: &&str| text.bytes().all(|b| b.is_ascii_digit());
        let text = length.to_str().ok().filter(digits);
        let length: u64 = text
            .and_then(|text| text.parse().ok())
            .ok_or(BodyError::Framing)?;
        return match limit {
            Some(limit) if length > limit => Err(BodyError::TooLarge),
            _ if length == 0 => Ok(Body::None),
            _ => Ok(Body::Stream),
        };
    }
    // Neither announced nor usual: no stream is opened.
    if !chunked && [Method::GET, Method::HEAD, Method::OPTIONS].contains(&head.method) {
        return Ok(Body::None);
    }
    Ok(limit.map_or(Body::Stream, Body::AtMost))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[track_caller]
    fn check(
        method: &str,
        headers: &[(&str, &str)],
        limit: Option<u64>,
        expected: Result<Body, BodyError>,
    ) {
        let mut request = Request::builder().method(method).uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let head = request.body(()).expect("request").into_parts().0;
        assert_eq!(body(&head, limit), expected, "{method} {headers:?}");
    }

    #[test]
    fn a_body_is_limited_by_its_length_or_counted() {
        let length = |text| ("content-length", text);
        let chunked = ("transfer-encoding", "chunked");
        check("POST", &[length("10")], Some(10), Ok(Body::Stream));
        check("POST", &[length("11")], Some(10), Err(BodyError::TooLarge));
        check("POST", &[length("11")], None, Ok(Body::Stream));
        check("POST", &[length("0")], Some(0), Ok(Body::None));
        check("POST", &[length("1")], Some(0), Err(BodyError::TooLarge));
        check("POST", &[chunked], Some(10), Ok(Body::AtMost(10)));
        check("POST", &[chunked], None, Ok(Body::Stream));
        check("POST", &[], Some(10), Ok(Body::AtMost(10)));
        check("GET", &[], Some(10), Ok(Body::None));
        check("GET", &[chunked], Some(10), Ok(Body::AtMost(10)));
        check("GET", &[length("3")], None, Ok(Body::Stream));
        check("DELETE", &[], None, Ok(Body::Stream));
    }

    #[test]
    fn a_length_in_doubt_is_refused() {
        let length = |text| ("content-length", text);
        let refused = Err(BodyError::Framing);
        check(
            "POST",
            &[length("5"), ("transfer-encoding", "chunked")],
            None,
            refused,
        );
        check("POST", &[length("5"), length("5")], None, refused);
        for text in ["5, 5", "+5", "-5", "0x5", "5 ", "", "99999999999999999999"] {
            check("POST", &[length(text)], None, refused);
        }
        check("POST", &[length("5")], None, Ok(Body::Stream));
    }
}
