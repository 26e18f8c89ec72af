//! The gate on raw stream handles: a body is never read here. The request's stream goes to the
//! upstream and the answer's stream to the client as they are, and the host moves the bytes.

use airside::endpoint::authorize::{authorize, upstream_failed};
use airside::endpoint::{Decision, Forward, malformed_request};
use airside::respond;
use airside::time::Lifetime;
use http::Method;
use http::request::Parts;
use spin_sdk::wasip3::http::client;
use spin_sdk::wasip3::http::types::{
    ErrorCode, Request as WasiRequest, RequestOptions, Response as WasiResponse, Scheme,
};
use spin_sdk::wasip3::wit_future;

use crate::http_client::is_timeout;
use crate::instance::instance;
use crate::message::{fields, head, header_map, respond_with};
use crate::ports;

/// Serves one request at the gate.
///
/// # Errors
/// [`ErrorCode`] when the host refuses the response.
pub async fn gate(request: WasiRequest) -> Result<WasiResponse, ErrorCode> {
    let ports = ports();
    let Some(instance) = instance(ports).await else {
        return respond_with(respond::unusable());
    };
    let Some(head) = head(&request) else {
        return respond_with(malformed_request(ports));
    };
    match authorize(&head, &instance, ports).await {
        Decision::Respond(response) => respond_with(response),
        Decision::Forward(plan) => match forward(request, &head, &plan).await {
            Ok(response) => Ok(response),
            Err(code) => {
                let cause = format!("{code:?}");
                respond_with(upstream_failed(&head, is_timeout(&code), cause, ports))
            }
        },
    }
}

async fn forward(
    request: WasiRequest,
    head: &Parts,
    plan: &Forward,
) -> Result<WasiResponse, ErrorCode> {
    let invalid = |()| ErrorCode::HttpRequestUriInvalid;
    let method = request.get_method();
    let (_, received) = wit_future::new(|| Ok(()));
    let (body, trailers) = WasiRequest::consume_body(request, received);
    let contents = has_body(head).then_some(body);
    let headers = fields(&plan.headers)?;
    let (outgoing, _sent) = WasiRequest::new(headers, contents, trailers, Some(options(plan)));
    let scheme = if plan.scheme == "https" {
        Scheme::Https
    } else {
        Scheme::Http
    };
    outgoing.set_method(&method).map_err(invalid)?;
    outgoing.set_scheme(Some(&scheme)).map_err(invalid)?;
    outgoing
        .set_authority(Some(&plan.authority))
        .map_err(invalid)?;
    outgoing
        .set_path_with_query(Some(&plan.path_and_query))
        .map_err(invalid)?;

    let incoming = client::send(outgoing).await?;
    let status = incoming.get_status_code();
    let upstream =
        header_map(incoming.get_headers().copy_all()).ok_or(ErrorCode::HttpProtocolError)?;
    let headers = plan.response_headers(upstream);
    let length = headers.get(http::header::CONTENT_LENGTH);
    let bodiless = head.method == Method::HEAD
        || matches!(status, 204 | 304)
        || length.is_some_and(|length| length == "0");
    let (_, received) = wit_future::new(|| Ok(()));
    let (body, trailers) = WasiResponse::consume_body(incoming, received);
    let contents = (!bodiless).then_some(body);
    let (response, _sent) = WasiResponse::new(fields(&headers)?, contents, trailers);
    response
        .set_status_code(status)
        .map_err(|()| ErrorCode::HttpProtocolError)?;
    Ok(response)
}

/// False only where a body is neither announced nor usual: no stream is then opened.
fn has_body(head: &Parts) -> bool {
    if let Some(length) = head.headers.get(http::header::CONTENT_LENGTH) {
        return length != "0";
    }
    head.headers.contains_key(http::header::TRANSFER_ENCODING)
        || ![Method::GET, Method::HEAD, Method::OPTIONS].contains(&head.method)
}

fn options(plan: &Forward) -> RequestOptions {
    let nanoseconds = |life: Lifetime| Some(life.as_secs().saturating_mul(1_000_000_000));
    let options = RequestOptions::new();
    // A host that does not support one of them keeps its own default.
    let _ = options.set_connect_timeout(nanoseconds(plan.connect_timeout));
    let _ = options.set_first_byte_timeout(nanoseconds(plan.first_byte_timeout));
    let _ = options.set_between_bytes_timeout(nanoseconds(plan.between_bytes_timeout));
    options
}
