//! How a request is passed on: pure data, made of what was decided, executed by the host side.

use std::fmt;

use http::{HeaderValue, Method};

use crate::config::{Config, Upstream};
use crate::endpoint::authorize::head::Names;
use crate::endpoint::authorize::headers::{self, Caller};
use crate::endpoint::authorize::{Field, Head, cors};
use crate::error::{BodyError, Error};
use crate::policy::{CheckedPath, Route};
use crate::time::Lifetime;
use crate::url::Origin;

/// How to pass a request on. The body streams are handed on as they are.
pub struct Forward<'i> {
    /// `http` or `https`.
    pub scheme: &'i str,
    /// Host and port of the upstream.
    pub authority: &'i str,
    /// The path and query that were decided on, or what the route makes of them.
    pub path_and_query: String,
    /// All header fields of the request to the upstream.
    pub fields: Vec<Field>,
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

impl fmt::Debug for Forward<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forward")
            .field("authority", &self.authority)
            .field("fields", &Names(&self.fields))
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
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
    /// The plan for a request that may pass `route`. The fields of `head` become those of the plan.
    ///
    /// # Errors
    /// [`Error::Body`] when the body is too large or its length in doubt, [`Error::Path`] when
    /// the upstream's path is not unambiguous.
    pub(super) fn new(
        head: &mut Head<'_>,
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
        let body = match caller {
            Caller::Nobody => Body::None,
            Caller::Anybody | Caller::Known(..) => body(head, route.proxying.max_body_bytes)?,
        };
        let cors = route.proxying.cors.as_ref();
        let allowed_origin = cors.and_then(|cors| cors::allowed_origin(cors, head.headers()));
        let mut fields = headers::request(head, caller, &upstream.identity_headers, config)?;
        if matches!(caller, Caller::Nobody) {
            fields.retain(|(name, _)| name != "content-length");
        }
        Ok(Forward {
            scheme: upstream.origin.scheme(),
            authority: upstream.origin.authority(),
            path_and_query: target.into_owned(),
            fields,
            body,
            connect_timeout: upstream.connect_timeout,
            first_byte_timeout: upstream.first_byte_timeout,
            between_bytes_timeout: upstream.between_bytes_timeout,
            route,
            upstream,
            public_url: &config.public_url,
            by_session: matches!(caller, Caller::Known(_, Some(_))),
            set_cookies,
            allowed_origin,
        })
    }

    /// Makes the header fields of the upstream's answer those of the answer to the client. False
    /// when they were fit as they came.
    pub fn change_response(&self, fields: &mut Vec<Field>) -> bool {
        headers::response(self, fields)
    }

    /// Adds a header field to the request.
    pub(super) fn add(&mut self, name: &str, value: &HeaderValue) {
        let value = value.as_bytes().to_owned();
        self.fields.push((name.to_owned(), value));
    }
}

/// What becomes of the body of a request whose route takes at most `limit` bytes.
///
/// # Errors
/// [`BodyError::Framing`] where two readers could see two lengths (RFC 9112 section 6.3),
/// [`BodyError::TooLarge`] where it is announced to be over the limit.
fn body(head: &Head<'_>, limit: Option<u64>) -> Result<Body, BodyError> {
    let mut lengths = head.values("content-length");
    let length = lengths.next();
    let chunked = head.values("transfer-encoding").next().is_some();
    if lengths.next().is_some() || (length.is_some() && chunked) {
        return Err(BodyError::Framing);
    }
    if let Some(length) = length {
        let digits = |text: &&str| text.bytes().all(|b| b.is_ascii_digit());
        let text = std::str::from_utf8(length).ok().filter(digits);
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
        assert_eq!(
            body(&Head::from(&head), limit),
            expected,
            "{method} {headers:?}"
        );
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
    fn a_request_that_goes_on_for_nobody_has_neither_body_nor_length() {
        let config = Config::parse(
            "public_url = \"https://app.example\"\n[upstreams.api]\nurl = \"https://api.example\"\n\
             [[routes]]\npath = \"/*\"\naccess = \"public\"\nupstream = \"api\"\n",
        );
        let config = config.expect("config");
        let fields = [("content-length", "3"), ("x-kept", "1")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.as_bytes().to_owned()));
        let path = CheckedPath::parse("/x").expect("path");
        let route = config.route(0).expect("route");
        let plan = |caller| {
            let mut head = Head::new(Method::OPTIONS, "/x", fields.to_vec());
            Forward::new(&mut head, &path, route, caller, Vec::new(), &config).expect("plan")
        };
        let has = |plan: &Forward<'_>, name: &str| plan.fields.iter().any(|(n, _)| n == name);
        let of_nobody = plan(Caller::Nobody);
        assert_eq!(of_nobody.body, Body::None);
        assert!(!has(&of_nobody, "content-length") && has(&of_nobody, "x-kept"));
        let of_anybody = plan(Caller::Anybody);
        assert_eq!(of_anybody.body, Body::Stream);
        assert!(has(&of_anybody, "content-length") && has(&of_anybody, "x-kept"));
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
