//! Requests and responses between the host's types and those of `http`, and the handler of
//! every component but the gate.

use std::future::Future;
use std::task::{Context, Waker};

use airside::endpoint::{Instance, malformed_request, unreadable_body};
use airside::error::BodyError;
use airside::ports::Ports;
use airside::respond;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use spin_sdk::wasip3::http::types::{
    ErrorCode, Fields, Method as WasiMethod, Request as WasiRequest, Response as WasiResponse,
};
use spin_sdk::wasip3::wit_bindgen::{FutureReader, StreamReader, StreamResult};
use spin_sdk::wasip3::{wit_future, wit_stream};

use crate::deadline::within;
use crate::instance::instance;
use crate::key_value::Atomics;
use crate::{ports, ports_with};

/// Request bodies over this size get 413: the endpoints read short forms and, in `tokens`,
/// sealed envelopes.
const MAX_BODY_BYTES: usize = airside::session::MAX_SEALED_BYTES;
/// A client that has not sent its form by then is not waited for.
const BODY_TIMEOUT_MILLIS: u64 = 10_000;
const CHUNK_BYTES: usize = 16 * 1024;

/// The future that ends a body.
pub(crate) type Trailers = FutureReader<Result<Option<Fields>, ErrorCode>>;

/// Why a stream was not read to its end.
pub(crate) struct TooLong;

/// Serves one request with `endpoint`.
///
/// # Errors
/// [`ErrorCode`] when the host refuses the response.
pub async fn serve<E>(request: WasiRequest, endpoint: E) -> Result<WasiResponse, ErrorCode>
where
    E: AsyncFnOnce(Request<Bytes>, &Instance, Ports<'static>) -> Response<Bytes>,
{
    serve_on(request, ports(), endpoint).await
}

/// The same, with the counters of the key-value store.
///
/// # Errors
/// [`ErrorCode`] when the host refuses the response.
pub async fn serve_with_counters<E>(
    request: WasiRequest,
    endpoint: E,
) -> Result<WasiResponse, ErrorCode>
where
    E: AsyncFnOnce(Request<Bytes>, &Instance, Ports<'static>) -> Response<Bytes>,
{
    serve_on(request, ports_with(&Atomics), endpoint).await
}

async fn serve_on<E>(
    request: WasiRequest,
    ports: Ports<'static>,
    endpoint: E,
) -> Result<WasiResponse, ErrorCode>
where
    E: AsyncFnOnce(Request<Bytes>, &Instance, Ports<'static>) -> Response<Bytes>,
{
    let start = async |config: Option<Vec<u8>>, ports| Instance::start(config, ports).await;
    let Some(instance) = instance(ports, start).await else {
        return respond_with(respond::unusable());
    };
    let Some(head) = head(&request) else {
        return respond_with(malformed_request(ports));
    };
    match body(request, &head).await {
        Ok(body) => respond_with(endpoint(Request::from_parts(head, body), &instance, ports).await),
        Err(error) => respond_with(unreadable_body(error, ports)),
    }
}

/// The whole body of `request`, which is short and comes soon, or is not waited for.
async fn body(request: WasiRequest, head: &Parts) -> Result<Bytes, BodyError> {
    if head.method == Method::GET || head.method == Method::HEAD {
        // A body of these means nothing (RFC 9110 section 9.3.1), so it is not read.
        return Ok(Bytes::new());
    }
    let length = head.headers.get(CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > MAX_BODY_BYTES) {
        return Err(BodyError::TooLarge);
    }
    let (done, result) = wit_future::new(|| Ok(()));
    let (stream, trailers) = WasiRequest::consume_body(request, result);
    let whole = within(BODY_TIMEOUT_MILLIS, async {
        let body = read(stream, MAX_BODY_BYTES)
            .await
            .map_err(|TooLong| BodyError::TooLarge)?;
        // A body that broke off must not count as whole.
        trailers.await.map_err(|_| BodyError::Broken)?;
        Ok(body)
    });
    let whole = whole.await.unwrap_or(Err(BodyError::Timeout));
    drop(done);
    whole
}

/// Method, path and query, and headers of `request`; `None` when `http` cannot express them.
fn head(request: &WasiRequest) -> Option<Parts> {
    let target = request.get_path_with_query().unwrap_or_default();
    let mut parts = Request::new(()).into_parts().0;
    parts.method = method(request.get_method())?;
    parts.uri = target
        .parse::<Uri>()
        .ok()
        .filter(|uri| uri.authority().is_none())?;
    parts.headers = header_map(request.get_headers().copy_all())?;
    Some(parts)
}

pub(crate) fn header_map(list: Vec<(String, Vec<u8>)>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(list.len());
    for (name, value) in list {
        let name = HeaderName::try_from(name).ok()?;
        headers.append(name, HeaderValue::try_from(value).ok()?);
    }
    Some(headers)
}

pub(crate) fn method(method: WasiMethod) -> Option<Method> {
    Some(match method {
        WasiMethod::Get => Method::GET,
        WasiMethod::Head => Method::HEAD,
        WasiMethod::Post => Method::POST,
        WasiMethod::Put => Method::PUT,
        WasiMethod::Delete => Method::DELETE,
        WasiMethod::Connect => Method::CONNECT,
        WasiMethod::Options => Method::OPTIONS,
        WasiMethod::Trace => Method::TRACE,
        WasiMethod::Patch => Method::PATCH,
        WasiMethod::Other(name) => name.parse().ok()?,
    })
}

/// The same in the host's form.
pub(crate) fn wasi_method(method: &Method) -> WasiMethod {
    match method.as_str() {
        "GET" => WasiMethod::Get,
        "HEAD" => WasiMethod::Head,
        "POST" => WasiMethod::Post,
        "PUT" => WasiMethod::Put,
        "DELETE" => WasiMethod::Delete,
        "CONNECT" => WasiMethod::Connect,
        "OPTIONS" => WasiMethod::Options,
        "TRACE" => WasiMethod::Trace,
        "PATCH" => WasiMethod::Patch,
        other => WasiMethod::Other(other.to_owned()),
    }
}

/// The header list in the host's form.
///
/// # Errors
/// [`ErrorCode`] when the host refuses one of the names.
pub(crate) fn fields(headers: &HeaderMap) -> Result<Fields, ErrorCode> {
    let list: Vec<(String, Vec<u8>)> = headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_owned()))
        .collect();
    Fields::from_list(&list).map_err(|_| ErrorCode::ConfigurationError)
}

/// Reads a stream to its end.
///
/// # Errors
/// [`TooLong`] as soon as it is longer than `limit`.
pub(crate) async fn read(mut stream: StreamReader<u8>, limit: usize) -> Result<Bytes, TooLong> {
    let mut body = Vec::new();
    loop {
        let (result, chunk) = stream.read(Vec::with_capacity(CHUNK_BYTES)).await;
        body.extend_from_slice(&chunk);
        if body.len() > limit {
            return Err(TooLong);
        }
        match result {
            StreamResult::Complete(_) => {}
            StreamResult::Cancelled | StreamResult::Dropped => return Ok(body.into()),
        }
    }
}

/// A stream of `body`, or none when it is empty, and the future that ends it.
pub(crate) fn contents(body: Bytes) -> (Option<StreamReader<u8>>, Trailers) {
    if body.is_empty() {
        return (None, no_trailers());
    }
    let (mut writer, reader) = wit_stream::new();
    let mut writing = Box::pin(async move {
        // What is left over was not wanted: the peer has gone.
        let _rest = writer.write_all(body.to_vec()).await;
    });
    // Begun before the host knows of it: then it has the body when it writes the head, and both
    // leave together, as a rule. Spin leaves Nagle's algorithm on, and a body that follows its
    // head on a connection in use waits 44 ms for the peer's acknowledgement of the head.
    let mut context = Context::from_waker(Waker::noop());
    if writing.as_mut().poll(&mut context).is_pending() {
        spawn(writing);
    }
    (Some(reader), no_trailers())
}

pub(crate) fn no_trailers() -> Trailers {
    wit_future::new(|| Ok(None)).1
}

pub(crate) fn spawn(future: impl Future<Output = ()> + 'static) {
    spin_sdk::wasip3::spawn(future);
}

/// The host's form of `response`.
///
/// # Errors
/// [`ErrorCode`] when the host refuses it.
pub(crate) fn respond_with(response: Response<Bytes>) -> Result<WasiResponse, ErrorCode> {
    let (head, body) = response.into_parts();
    let (contents, trailers) = contents(body);
    let (response, _sent) = WasiResponse::new(fields(&head.headers)?, contents, trailers);
    response
        .set_status_code(head.status.as_u16())
        .map_err(|()| ErrorCode::ConfigurationError)?;
    Ok(response)
}
