//! Forwarding a request to the upstream named by the Spin variable `upstream`.
//!
//! # How the raw handles are used
//!
//! A body is a pair of handles, a `stream<u8>` and a `future` for what comes after it. This
//! component never reads either one: it takes the pair out of one message and puts it into the
//! other, so that the bytes move from socket to socket inside the host and the guest is not
//! woken for them.
//!
//! Request, on its way up:
//! 1. Method, path and headers are read *before* the next step, which consumes the request.
//! 2. `Request::consume_body(request, result)` gives the two handles. `result` is a future in
//!    which we would report a failure of ours; with its writer dropped it resolves to the
//!    default given to `wit_future::new`, here `Ok(())`.
//! 3. `Request::new(headers, contents, trailers, options)` takes them. `contents` is `None` for
//!    a request without a body (no `Content-Length`, no `Transfer-Encoding`): with `Some`, an
//!    empty body would go out as a chunked one. The handles that are not used are dropped.
//!    It also returns a future with the outcome of sending; dropping it is fine.
//!
//! Response, on its way down: the same with `Response::consume_body` and `Response::new`. The
//! upstream's `Content-Length` stays, so the host sends head and body in one write.
//!
//! # Headers
//!
//! `get_headers()` is immutable and `.clone()` of it is mutable, but that copy is no good for
//! taking out `host` or `connection`: Spin 4.1 (wasmtime 47) shows the guest these headers, keeps
//! them in the copy, and answers `Forbidden` to `delete`, as it does to `set` and `append`.
//! (wasmtime 48 takes them out before the guest sees them.) So the headers are read with
//! `copy_all`, filtered, and made anew with `from_list`, which is right on both, in two host
//! calls. One that were left in would make `from_list` fail with `Forbidden`.

use spin_sdk::wasip3;
use std::cell::RefCell;
use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Request, Response, Scheme};
use wasip3::wit_bindgen::FutureReader;
use wasip3::wit_future;

/// The upstream's answer to `request`, which is sent without the headers `besides`. With `whole`,
/// a request without a body is not opened, and an answer with nothing to leave out is handed on
/// as it came.
pub(crate) async fn forward(
    request: Request,
    besides: &[&str],
    whole: bool,
) -> Result<Response, ErrorCode> {
    let upstream = Upstream::load().await?;

    let method = request.get_method();
    let path_with_query = request.get_path_with_query();
    let received = request.get_headers();
    let has_body = received.has("content-length") || received.has("transfer-encoding");
    let headers = forwardable(&received, besides)?;

    let (outgoing, _sent) = if has_body || !whole {
        let (received, received_result) = wit_future::new(|| Ok(()));
        drop(received);
        let (contents, trailers) = Request::consume_body(request, received_result);
        if has_body {
            Request::new(headers, Some(contents), trailers, None)
        } else {
            Request::new(headers, None, no_trailers(), None)
        }
    } else {
        drop(request);
        Request::new(headers, None, no_trailers(), None)
    };
    let settings = outgoing
        .set_method(&method)
        .and_then(|()| outgoing.set_scheme(Some(&upstream.scheme)))
        .and_then(|()| outgoing.set_authority(Some(&upstream.authority)))
        .and_then(|()| outgoing.set_path_with_query(path_with_query.as_deref()));
    if settings.is_err() {
        return Err(ErrorCode::HttpRequestUriInvalid);
    }

    let answer = client::send(outgoing).await?;

    if whole {
        let headers = answer.get_headers().copy_all();
        let stays = |(name, _): &(String, _)| !UNFORWARDABLE.contains(&name.as_str());
        if headers.iter().all(stays) {
            return Ok(answer);
        }
    }
    let status = answer.get_status_code();
    let headers = forwardable(&answer.get_headers(), &[])?;
    let (received, received_result) = wit_future::new(|| Ok(()));
    drop(received);
    let (contents, trailers) = Response::consume_body(answer, received_result);
    let (response, _sent) = Response::new(headers, Some(contents), trailers);
    match response.set_status_code(status) {
        Ok(()) => Ok(response),
        Err(()) => Err(ErrorCode::HttpProtocolError),
    }
}

fn no_trailers() -> FutureReader<Result<Option<Fields>, ErrorCode>> {
    let (no_trailers, trailers) = wit_future::new(|| Ok(None));
    drop(no_trailers);
    trailers
}

/// Scheme and authority of the Spin variable `upstream`.
#[derive(Clone)]
struct Upstream {
    scheme: Scheme,
    authority: String,
}

impl Upstream {
    /// Reads the variable once per instance: the host call costs more than the rest.
    async fn load() -> Result<Self, ErrorCode> {
        if let Some(upstream) = UPSTREAM.with_borrow(Clone::clone) {
            return Ok(upstream);
        }
        let url = spin_sdk::variables::get("upstream")
            .await
            .map_err(|error| ErrorCode::InternalError(Some(error.to_string())))?;
        let (scheme, authority) = match url.split_once("://") {
            Some(("http", authority)) => (Scheme::Http, authority),
            Some(("https", authority)) => (Scheme::Https, authority),
            _ => return Err(ErrorCode::ConfigurationError),
        };
        let authority = authority.trim_end_matches('/').to_owned();
        let upstream = Self { scheme, authority };
        UPSTREAM.set(Some(upstream.clone()));
        Ok(upstream)
    }
}

/// The headers without those about one connection only (RFC 9110, section 7.6.1), `host`, and
/// those named by `besides`.
fn forwardable(headers: &Fields, besides: &[&str]) -> Result<Fields, ErrorCode> {
    let mut headers = headers.copy_all();
    headers.retain(|(name, _)| {
        !UNFORWARDABLE.contains(&name.as_str()) && !besides.contains(&name.as_str())
    });
    Fields::from_list(&headers).map_err(|error| ErrorCode::InternalError(Some(error.to_string())))
}

thread_local! {
    static UPSTREAM: RefCell<Option<Upstream>> = const { RefCell::new(None) };
}

const UNFORWARDABLE: [&str; 10] = [
    "connection",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];
