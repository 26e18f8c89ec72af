//! The small HTTP server under both the provider and the upstream.
//!
//! Loopback only, HTTP/1.1 only, bodies bounded where they are read whole.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

/// The body of every response.
pub type Body = BoxBody<Bytes, io::Error>;

/// Why a server cannot listen where it was told to.
#[derive(Debug)]
pub enum ListenError {
    /// Another program listens there.
    InUse(SocketAddr),
    /// The address is reachable from other machines.
    NotLoopback(SocketAddr),
    /// The operating system refused.
    System(SocketAddr, io::Error),
}

impl std::fmt::Display for ListenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InUse(address) => write!(
                f,
                "port {} on {} is in use by another program: stop it, or choose another port with --listen",
                address.port(),
                address.ip()
            ),
            Self::NotLoopback(address) => write!(
                f,
                "{address} can be reached from other machines; this is for development and listens on loopback only (127.0.0.1 or [::1])"
            ),
            Self::System(address, error) => write!(f, "cannot listen on {address}: {error}"),
        }
    }
}

impl std::error::Error for ListenError {}

/// Opens a loopback address; port 0 takes a free one.
///
/// # Errors
/// [`ListenError`], by variant.
pub async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ListenError> {
    if !address.ip().is_loopback() {
        return Err(ListenError::NotLoopback(address));
    }
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse(address),
        _ => ListenError::System(address, error),
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let actual = listener.local_addr().map_err(failed)?;
    Ok((listener, actual))
}

/// Serves connections until the future is dropped.
pub async fn serve<H, F>(listener: TcpListener, handler: H)
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let handler = Arc::new(handler);
    loop {
        // A failing accept is this one connection's trouble (reset, or out of descriptors).
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        // Without this a small response waits up to 40 ms for a delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let handler = Arc::clone(&handler);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let response = handler(request);
                async move { Ok::<_, Infallible>(response.await) }
            });
            // An error here is the client going away or a body cut on purpose.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// Returns a body of known length.
pub fn full(content: impl Into<Bytes>) -> Body {
    Full::new(content.into())
        .map_err(|never| match never {})
        .boxed()
}

/// Returns a response with a content type and a body of known length.
pub fn response(
    status: StatusCode,
    content_type: &'static str,
    content: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::new(full(content));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Returns a JSON response.
pub fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    response(status, "application/json", value.to_string())
}

/// Reads a whole body of at most `limit` bytes.
///
/// # Errors
/// The body is longer, or the connection broke: one answer for both, 413 or 400.
pub async fn read_body(body: Incoming, limit: usize) -> Result<Bytes, StatusCode> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(StatusCode::PAYLOAD_TOO_LARGE)
        }
        Err(_) => Err(StatusCode::BAD_REQUEST),
    }
}

/// Returns whether the media type of the request is `expected`, parameters aside.
pub fn has_media_type(headers: &HeaderMap, expected: &str) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(expected))
}

/// Decoded parameters of a query or a form, in their order.
#[derive(Clone, Default)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Decodes `application/x-www-form-urlencoded`.
    pub fn parse(encoded: &[u8]) -> Self {
        Self(form_urlencoded::parse(encoded).into_owned().collect())
    }

    /// Returns a parameter that is there once and not empty (RFC 6749 3.1: a parameter sent
    /// without a value counts as omitted).
    pub fn one(&self, name: &str) -> Option<&str> {
        let mut found = self.every(name);
        let first = found.next()?;
        found.next().is_none().then_some(first)
    }

    /// Returns all values of a parameter, without empty ones.
    pub fn every<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let wanted = move |(key, value): &&(String, String)| key == name && !value.is_empty();
        // The name is borrowed only while filtering.
        self.0
            .iter()
            .filter(wanted)
            .map(|(_, value)| value.as_str())
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// Returns whether a parameter other than those in `except` is there more than once.
    pub fn repeats(&self, except: &[&str]) -> bool {
        self.0.iter().enumerate().any(|(index, (name, _))| {
            !except.contains(&name.as_str())
                && self
                    .0
                    .iter()
                    .skip(index + 1)
                    .any(|(other, _)| other == name)
        })
    }
}

/// Returns the value of a cookie that is there exactly once.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut found = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value);
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::{Parameters, cookie};

    #[test]
    fn a_parameter_counts_only_when_it_is_there_once() {
        let parameters = Parameters::parse(b"a=1&b=1&b=2&c=&d=x+y%2B");
        assert_eq!(parameters.one("a"), Some("1"));
        assert_eq!(parameters.one("b"), None);
        assert_eq!(parameters.one("c"), None);
        assert_eq!(parameters.one("d"), Some("x y+"));
        assert!(parameters.repeats(&[]));
        assert!(!parameters.repeats(&["b"]));
    }

    #[test]
    fn a_cookie_counts_only_when_it_is_there_once() {
        let mut headers = HeaderMap::new();
        headers.append("cookie", "a=1; b=2".parse().unwrap());
        headers.append("cookie", "b=3".parse().unwrap());
        assert_eq!(cookie(&headers, "a"), Some("1"));
        assert_eq!(cookie(&headers, "b"), None);
    }
}
