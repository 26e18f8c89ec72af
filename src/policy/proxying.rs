//! How a route's requests are passed on: the path the upstream sees, the size of a body, and
//! what pages of other origins may do (CORS, <https://fetch.spec.whatwg.org/#http-cors-protocol>).
//!
//! The path that is forwarded is made of the path that was decided on: its first segments are
//! replaced by constant ones, and the outcome is checked like any path from outside.

use std::borrow::Cow;

use http::header::ORIGIN;
use http::{HeaderMap, HeaderValue, Method};

use crate::policy::path::{CheckedPath, PathError};
use crate::time::Lifetime;
use crate::url::{Origin, PathPattern};

/// What is peculiar to a route; nothing of it by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxying {
    /// What the upstream sees in place of the route's path: exact for an exact one, `/x/*` for
    /// a prefix.
    pub upstream_path: Option<PathPattern>,
    /// Larger request bodies are refused.
    pub max_body_bytes: Option<u64>,
    /// What pages of other origins may do.
    pub cors: Option<Cors>,
}

/// The settings of one route for pages of other origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Whose pages.
    pub origins: Origins,
    /// The methods they may use; `None` is all of the route.
    pub methods: Option<Vec<Method>>,
    /// `Access-Control-Allow-Headers`.
    pub headers: HeaderValue,
    /// `Access-Control-Expose-Headers`.
    pub expose: HeaderValue,
    /// Whether cookies go with their requests. Never with [`Origins::Any`].
    pub credentials: bool,
    /// How long a browser may remember the answer to a preflight.
    pub max_age: Lifetime,
    /// Who answers a preflight.
    pub preflight: Preflight,
}

/// Whose pages may read answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Everybody's.
    Any,
    /// Those of exactly these origins.
    List(Vec<Origin>),
}

/// Who answers a preflight, and who writes the CORS headers of other answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preflight {
    /// The gate, by the settings of the route.
    Gate,
    /// The upstream; the gate writes those of its own refusals only.
    Upstream,
}

impl Proxying {
    /// The path and query for the upstream, of a `path` that the route `pattern` matched.
    ///
    /// # Errors
    /// [`PathError`] when the outcome is not itself unambiguous, or too long.
    pub fn target<'t>(
        &self,
        pattern: &PathPattern,
        path: &CheckedPath<'t>,
    ) -> Result<Cow<'t, str>, PathError> {
        let target = path.target();
        let Some(to) = &self.upstream_path else {
            return Ok(Cow::Borrowed(target));
        };
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        // By segments, not by bytes: `/%61pp` matches a route for `/app`.
        let matched = pattern.base.split('/').skip(1).count();
        let rest = match path.match_indices('/').nth(matched) {
            Some((at, _)) if pattern.prefix => path.get(at..).unwrap_or_default(),
            _ => "",
        };
        let slash = if to.base.is_empty() && rest.is_empty() {
            "/"
        } else {
            ""
        };
        let rewritten = [to.base.as_str(), rest, slash, query].concat();
        CheckedPath::parse(&rewritten)?;
        Ok(Cow::Owned(rewritten))
    }

    /// The public path of a `target` (path and more) of the upstream; `None` where the route
    /// does not lead there.
    pub fn public_target(&self, pattern: &PathPattern, target: &str) -> Option<String> {
        let Some(to) = &self.upstream_path else {
            return Some(target.to_owned());
        };
        let rest = target.strip_prefix(to.base.as_str())?;
        let ends = rest.is_empty() || rest.starts_with(['?', '#']);
        if ends || (to.prefix && rest.starts_with('/')) {
            let slash = if pattern.base.is_empty() && ends {
                "/"
            } else {
                ""
            };
            Some([pattern.base.as_str(), slash, rest].concat())
        } else {
            None
        }
    }
}

impl Cors {
    /// True when the page that sent `headers` may read answers. A request without `Origin`, or
    /// with several, is no such page's.
    pub fn allows_origin(&self, headers: &HeaderMap) -> bool {
        match (origin(headers), &self.origins) {
            (Some(_), Origins::Any) => true,
            (Some(origin), Origins::List(list)) => {
                list.iter().any(|known| known.as_str() == origin)
            }
            (None, _) => false,
        }
    }

    /// True when the page that sent `headers` is one of those that may act for the person whose
    /// cookie goes with the request.
    pub fn trusts_origin(&self, headers: &HeaderMap) -> bool {
        self.credentials && self.allows_origin(headers)
    }

    /// True when pages of other origins may use `method`.
    pub fn allows_method(&self, method: &Method) -> bool {
        self.methods
            .as_ref()
            .is_none_or(|methods| methods.contains(method))
    }
}

fn origin(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(ORIGIN).iter();
    let first = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(first)
}

/// The method that a CORS preflight asks about; `None` for any other request.
pub fn preflight_method(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if method != Method::OPTIONS || !headers.contains_key(ORIGIN) {
        return None;
    }
    let mut values = headers.get_all("access-control-request-method").iter();
    let asked = values.next()?.as_bytes().try_into().ok()?;
    values.next().is_none().then_some(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxying(to: &str) -> Proxying {
        Proxying {
            upstream_path: (!to.is_empty()).then(|| to.parse().expect("pattern")),
            ..Proxying::default()
        }
    }

    #[track_caller]
    fn check(pattern: &str, to: &str, target: &str, expected: Result<&str, PathError>) {
        let pattern = pattern.parse().expect("pattern");
        let path = CheckedPath::parse(target).expect("path");
        let found = proxying(to).target(&pattern, &path);
        assert_eq!(found.as_deref().map_err(|e| *e), expected, "{target}");
    }

    #[test]
    fn a_prefix_is_stripped_or_replaced_by_whole_segments() {
        check("/app/*", "", "/app/x?y=/app", Ok("/app/x?y=/app"));
        check("/app/*", "/*", "/app/x/y?z", Ok("/x/y?z"));
        check("/app/*", "/*", "/app", Ok("/"));
        check("/app/*", "/*", "/app?q=1", Ok("/?q=1"));
        check("/app/*", "/*", "/app/", Ok("/"));
        check("/app/*", "/v2/*", "/app/x/", Ok("/v2/x/"));
        check("/app/*", "/v2/*", "/app", Ok("/v2"));
        check("/a/b/*", "/c/*", "/a/b/a/b", Ok("/c/a/b"));
        check("/*", "/v2/*", "/", Ok("/v2/"));
        check("/*", "/v2/*", "/x", Ok("/v2/x"));
        check(
            "/health",
            "/internal/health",
            "/health?a",
            Ok("/internal/health?a"),
        );
        check("/me/", "/", "/me/", Ok("/"));
    }

    #[test]
    fn an_encoded_spelling_of_the_prefix_is_stripped_like_the_plain_one() {
        check("/app/*", "/*", "/%61pp/x", Ok("/x"));
        check(
            "/app/*",
            "/v2/*",
            "/%61%70p/%2e%2ex?%61pp",
            Ok("/v2/%2e%2ex?%61pp"),
        );
    }

    #[test]
    fn what_becomes_too_long_is_refused() {
        let limit = crate::policy::path::MAX_TARGET_BYTES;
        let fits = format!("/a/{}", "x".repeat(limit - 3));
        check("/a/*", "/b/*", &fits, Ok(&fits.replacen('a', "b", 1)));
        check("/a/*", "/bc/*", &fits, Err(PathError::TooLong));
    }

    #[test]
    fn a_path_of_the_upstream_is_mapped_back_where_the_route_leads_there() {
        #[track_caller]
        fn check(pattern: &str, to: &str, target: &str, expected: Option<&str>) {
            let pattern = pattern.parse().expect("pattern");
            let found = proxying(to).public_target(&pattern, target);
            assert_eq!(found.as_deref(), expected, "{target}");
        }
        check("/app/*", "", "/x", Some("/x"));
        check("/app/*", "/*", "/x?y#z", Some("/app/x?y#z"));
        check("/app/*", "/*", "/", Some("/app/"));
        check("/app/*", "/v2/*", "/v2", Some("/app"));
        check("/app/*", "/v2/*", "/v2?a", Some("/app?a"));
        check("/app/*", "/v2/*", "/v2/x", Some("/app/x"));
        check("/app/*", "/v2/*", "/v20/x", None);
        check("/app/*", "/v2/*", "/other", None);
        check("/*", "/v2/*", "/v2", Some("/"));
        check("/a", "/b", "/b?c", Some("/a?c"));
        check("/a", "/b", "/b/c", None);
    }

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn origins_are_compared_whole_and_several_are_none() {
        let mut cors = Cors {
            origins: Origins::List(vec!["https://spa.example".parse().expect("origin")]),
            methods: None,
            headers: HeaderValue::from_static(""),
            expose: HeaderValue::from_static(""),
            credentials: false,
            max_age: Lifetime::from_secs(1),
            preflight: Preflight::Gate,
        };
        let of = |origin| headers(&[("origin", origin)]);
        assert!(cors.allows_origin(&of("https://spa.example")));
        assert!(!cors.trusts_origin(&of("https://spa.example")));
        let twice = [
            ("origin", "https://spa.example"),
            ("origin", "https://spa.example"),
        ];
        assert!(!cors.allows_origin(&headers(&twice)) && !cors.allows_origin(&headers(&[])));
        for other in [
            "https://spa.example.evil.example",
            "https://spa.example:8443",
            "http://spa.example",
            "https://sub.spa.example",
            "HTTPS://SPA.EXAMPLE",
            "https://spa.example/",
            "null",
            "",
        ] {
            assert!(!cors.allows_origin(&of(other)), "{other}");
        }
        cors.credentials = true;
        assert!(cors.trusts_origin(&of("https://spa.example")) && !cors.trusts_origin(&of("null")));
        cors.origins = Origins::Any;
        assert!(cors.allows_origin(&of("https://other.example")));
        cors.methods = Some(vec![Method::GET]);
        assert!(cors.allows_method(&Method::GET) && !cors.allows_method(&Method::PUT));
    }

    #[test]
    fn a_preflight_is_options_with_origin_and_one_method() {
        let ask = ("access-control-request-method", "PUT");
        let origin = ("origin", "https://spa.example");
        let of = |method, list: &[_]| preflight_method(&method, &headers(list));
        assert_eq!(of(Method::OPTIONS, &[origin, ask]), Some(Method::PUT));
        assert_eq!(of(Method::GET, &[origin, ask]), None);
        assert_eq!(of(Method::OPTIONS, &[ask]), None);
        assert_eq!(of(Method::OPTIONS, &[origin]), None);
        assert_eq!(of(Method::OPTIONS, &[origin, ask, ask]), None);
        let bad = ("access-control-request-method", "PU T");
        assert_eq!(of(Method::OPTIONS, &[origin, bad]), None);
    }
}
