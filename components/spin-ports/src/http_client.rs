//! Buffered requests to providers and to `tokens`. Redirects are not followed: the host does
//! not, and neither do we.

use airside::ports::{FetchLimits, HttpClient, HttpError, PortFuture};
use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response};
use spin_sdk::wasip3::http::client;
use spin_sdk::wasip3::http::types::{
    ErrorCode, Request as WasiRequest, RequestOptions, Response as WasiResponse,
    Scheme as WasiScheme,
};
use spin_sdk::wasip3::wit_future;

use crate::deadline::within;
use crate::message::{contents, fields, header_map, read, wasi_method};

pub(crate) struct OutgoingHttp;

impl HttpClient for OutgoingHttp {
    fn send(
        &self,
        request: Request<Bytes>,
        limits: FetchLimits,
    ) -> PortFuture<'_, Result<Response<Bytes>, HttpError>> {
        Box::pin(async move {
            within(limits.timeout_millis, exchange(request, limits))
                .await
                .unwrap_or(Err(HttpError::Timeout))
        })
    }
}

async fn exchange(
    request: Request<Bytes>,
    limits: FetchLimits,
) -> Result<Response<Bytes>, HttpError> {
    let request = outgoing(request, limits).ok_or(HttpError::Unreachable)?;
    let response = client::send(request).await.map_err(http_error)?;
    let status = response.get_status_code();
    let headers = header_map(response.get_headers().copy_all()).ok_or(HttpError::Unreachable)?;
    let (done, result) = wit_future::new(|| Ok(()));
    let (stream, trailers) = WasiResponse::consume_body(response, result);
    let body = read(stream, limits.max_body_bytes)
        .await
        .map_err(|_| HttpError::TooLarge)?;
    drop(done);
    // A body that broke off must not count as whole.
    trailers.await.map_err(http_error)?;
    let mut whole = Response::new(body);
    *whole.status_mut() = http::StatusCode::from_u16(status).map_err(|_| HttpError::Unreachable)?;
    *whole.headers_mut() = headers;
    Ok(whole)
}

fn outgoing(request: Request<Bytes>, limits: FetchLimits) -> Option<WasiRequest> {
    let (mut head, body) = request.into_parts();
    let length = body.len();
    if length > 0 {
        head.headers
            .insert(http::header::CONTENT_LENGTH, length.into());
    }
    let (contents, trailers) = contents(body);
    let options = RequestOptions::new();
    let nanoseconds = limits.timeout_millis.saturating_mul(1_000_000);
    options.set_connect_timeout(Some(nanoseconds)).ok()?;
    options.set_first_byte_timeout(Some(nanoseconds)).ok()?;
    options.set_between_bytes_timeout(Some(nanoseconds)).ok()?;
    let headers = fields(&head.headers).ok()?;
    let (request, _sent) = WasiRequest::new(headers, contents, trailers, Some(options));
    let scheme = if head.uri.scheme() == Some(&Scheme::HTTPS) {
        WasiScheme::Https
    } else {
        WasiScheme::Http
    };
    request.set_method(&wasi_method(&head.method)).ok()?;
    request.set_scheme(Some(&scheme)).ok()?;
    request
        .set_authority(head.uri.authority().map(|authority| authority.as_str()))
        .ok()?;
    request
        .set_path_with_query(head.uri.path_and_query().map(|target| target.as_str()))
        .ok()?;
    Some(request)
}

fn http_error(code: ErrorCode) -> HttpError {
    match code {
        ErrorCode::HttpRequestDenied => HttpError::NotAllowed,
        code if is_timeout(&code) => HttpError::Timeout,
        _ => HttpError::Unreachable,
    }
}

/// True when the other side did not answer in time.
pub(crate) fn is_timeout(code: &ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::ConnectionReadTimeout
            | ErrorCode::ConnectionTimeout
            | ErrorCode::ConnectionWriteTimeout
            | ErrorCode::DnsTimeout
            | ErrorCode::HttpResponseTimeout
    )
}
