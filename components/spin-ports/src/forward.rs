//! The gate on raw stream handles: a body is never read here. The request's stream goes to the
//! upstream and the answer's stream to the client as they are, and the host moves the bytes. An
//! answer with nothing to change in its head is handed on whole.
//! The exceptions are in [`crate::relay`]: a request body of unknown length on a route with a limit,
//! and the begin of an answer of unknown length.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;

use airside::endpoint::authorize::{Field, Head, authorize, upstream_failed, values};
use airside::endpoint::{Body, Decision, Failure, Forward, Instance, malformed_request};
use airside::respond;
use airside::time::Lifetime;
use http::Method;
use spin_sdk::wasip3::http::client;
use spin_sdk::wasip3::http::types::{
    ErrorCode, Fields, Request as WasiRequest, RequestOptions, Response as WasiResponse, Scheme,
};
use spin_sdk::wasip3::wit_bindgen::{FutureWriter, StreamReader};
use spin_sdk::wasip3::wit_future;

use crate::http_client::is_timeout;
use crate::instance::instance;
use crate::message::{Trailers, method, respond_with, wasi_method};
use crate::ports;
use crate::relay::{Limit, counted, measured};

/// Writes the end of a body when it is dropped.
type End = FutureWriter<Result<Option<Fields>, ErrorCode>>;

/// Serves one request at the gate.
///
/// # Errors
/// [`ErrorCode`] when the host refuses the response.
pub async fn gate(request: WasiRequest) -> Result<WasiResponse, ErrorCode> {
    let ports = ports();
    let start = async |config: Option<Vec<u8>>, ports| Instance::start_gate(config, ports).await;
    let Some(instance) = instance(ports, start).await else {
        return respond_with(respond::unusable());
    };
    let Some(method) = method(request.get_method()) else {
        return respond_with(malformed_request(ports));
    };
    let target = request.get_path_with_query().unwrap_or_default();
    let fields = request.get_headers().copy_all();
    let mut head = Head::new(method, &target, fields);
    match authorize(&mut head, &instance, ports).await {
        Decision::Respond(response) => respond_with(response),
        Decision::Forward(plan) => {
            let too_large = Rc::new(Cell::new(false));
            match forward(request, &head.method, &plan, &too_large).await {
                Ok(response) => Ok(response),
                Err(code) => {
                    let failure = if too_large.get() {
                        Failure::BodyTooLarge
                    } else if is_timeout(&code) {
                        Failure::Timeout
                    } else {
                        Failure::Unavailable
                    };
                    let cause = word(&code).to_owned();
                    respond_with(upstream_failed(&head, &plan, failure, cause, ports))
                }
            }
        }
    }
}

/// The list in the host's form.
///
/// # Errors
/// [`ErrorCode`] when the host refuses one of the fields.
fn wasi_fields(fields: &[Field]) -> Result<Fields, ErrorCode> {
    Fields::from_list(fields).map_err(|_| ErrorCode::ConfigurationError)
}

/// What the log says of `code`: the commonest by name. The name of each, with all that a host may
/// add to it, would be 8 kB in the file.
fn word(code: &ErrorCode) -> &'static str {
    match code {
        ErrorCode::ConfigurationError => "ConfigurationError",
        ErrorCode::ConnectionLimitReached => "ConnectionLimitReached",
        ErrorCode::ConnectionReadTimeout => "ConnectionReadTimeout",
        ErrorCode::ConnectionRefused => "ConnectionRefused",
        ErrorCode::ConnectionTerminated => "ConnectionTerminated",
        ErrorCode::ConnectionTimeout => "ConnectionTimeout",
        ErrorCode::ConnectionWriteTimeout => "ConnectionWriteTimeout",
        ErrorCode::DestinationIpProhibited => "DestinationIpProhibited",
        ErrorCode::DestinationNotFound => "DestinationNotFound",
        ErrorCode::DestinationUnavailable => "DestinationUnavailable",
        ErrorCode::DnsError(_) => "DnsError",
        ErrorCode::DnsTimeout => "DnsTimeout",
        ErrorCode::HttpProtocolError => "HttpProtocolError",
        ErrorCode::HttpRequestDenied => "HttpRequestDenied",
        ErrorCode::HttpRequestUriInvalid => "HttpRequestUriInvalid",
        ErrorCode::HttpResponseIncomplete => "HttpResponseIncomplete",
        ErrorCode::HttpResponseTimeout => "HttpResponseTimeout",
        ErrorCode::InternalError(_) => "InternalError",
        ErrorCode::TlsAlertReceived(_) => "TlsAlertReceived",
        ErrorCode::TlsCertificateError => "TlsCertificateError",
        ErrorCode::TlsProtocolError => "TlsProtocolError",
        _ => "other",
    }
}

async fn forward(
    request: WasiRequest,
    method: &Method,
    plan: &Forward<'_>,
    too_large: &Rc<Cell<bool>>,
) -> Result<WasiResponse, ErrorCode> {
    let (request, mut end) = outgoing(request, method, plan, too_large)?;
    let mut sending = pin!(client::send(request));
    let incoming = poll_fn(|context| {
        let answer = sending.as_mut().poll(context);
        // Only now: the host waits for the end by now and takes it at once. Written before, it is
        // taken later, and the host calls this component once more to tell it.
        end = None;
        answer
    });
    let incoming = incoming.await?;
    let mut fields = incoming.get_headers().copy_all();
    let changed = plan.change_response(&mut fields);
    let length = values(&fields, "content-length").next();
    let event_stream = is_event_stream(&fields);
    let status = incoming.get_status_code();
    let bodiless = *method == Method::HEAD || matches!(status, 204 | 304);
    // One with the length of a body that it does not have is not handed on: over HTTP/2 the host
    // takes it for one that broke off.
    if (length.is_some() || event_stream) && !bodiless && !changed {
        return Ok(incoming);
    }
    let streams = length.is_some_and(|length| length != b"0") || event_stream;
    let (_taken, received) = wit_future::new(|| Ok(()));
    let (body, trailers) = WasiResponse::consume_body(incoming, received);
    let (contents, trailers) = if streams && !bodiless {
        (Some(body), trailers)
    } else if bodiless || length.is_some() {
        (None, trailers)
    } else {
        let (contents, trailers, length) = measured(body, trailers).await;
        if let Some(length) = length {
            fields.push(("content-length".to_owned(), length.to_string().into_bytes()));
        }
        (contents, trailers)
    };
    let (response, _sent) = WasiResponse::new(wasi_fields(&fields)?, contents, trailers);
    response
        .set_status_code(status)
        .map_err(|()| ErrorCode::HttpProtocolError)?;
    Ok(response)
}

/// The request that `plan` makes of `request`, and what to drop once it is being sent: the end of
/// a body that there is not.
///
/// # Errors
/// [`ErrorCode`] when the host refuses a part of it.
fn outgoing(
    request: WasiRequest,
    method: &Method,
    plan: &Forward<'_>,
    too_large: &Rc<Cell<bool>>,
) -> Result<(WasiRequest, Option<End>), ErrorCode> {
    let invalid = |()| ErrorCode::HttpRequestUriInvalid;
    let headers = wasi_fields(&plan.fields)?;
    let (contents, trailers, end) = match plan.body {
        // Without a body there are no trailers. The host would tell so only to whoever reads the
        // body to its end, and a component that is called would wait for it. Nor is it opened,
        // which costs several calls of the host: what there may be of it goes with the request.
        Body::None => {
            drop(request);
            let (end, trailers) = wit_future::new(|| Ok(None));
            (None, trailers, Some(end))
        }
        Body::Stream => {
            let (body, trailers) = opened(request);
            (Some(body), trailers, None)
        }
        Body::AtMost(limit) => {
            let limit = Limit::new(limit, Rc::clone(too_large));
            let (body, trailers) = opened(request);
            let (counted, trailers) = counted(body, trailers, limit);
            (Some(counted), trailers, None)
        }
    };
    let (outgoing, _sent) = WasiRequest::new(headers, contents, trailers, Some(options(plan)));
    let scheme = if plan.scheme == "https" {
        Scheme::Https
    } else {
        Scheme::Http
    };
    // It is `GET` from the beginning (`wasi:http`), and each call of the host takes its time.
    if *method != Method::GET {
        outgoing.set_method(&wasi_method(method)).map_err(invalid)?;
    }
    outgoing.set_scheme(Some(&scheme)).map_err(invalid)?;
    outgoing
        .set_authority(Some(plan.authority))
        .map_err(invalid)?;
    outgoing
        .set_path_with_query(Some(&plan.path_and_query))
        .map_err(invalid)?;
    Ok((outgoing, end))
}

/// The body of `request`.
fn opened(request: WasiRequest) -> (StreamReader<u8>, Trailers) {
    // Dropped, and so written, when the host waits for it.
    let (_taken, received) = wit_future::new(|| Ok(()));
    WasiRequest::consume_body(request, received)
}

/// True for an answer that is never complete when it begins.
fn is_event_stream(fields: &[Field]) -> bool {
    values(fields, "content-type").any(|value| {
        let essence = value.split(|byte| *byte == b';').next();
        essence.is_some_and(|text| text.trim_ascii().eq_ignore_ascii_case(b"text/event-stream"))
    })
}

thread_local! {
    /// The options of each upstream that this instance has sent something to: to copy one is a
    /// single call of the host.
    static OPTIONS: RefCell<Vec<([Lifetime; 3], RequestOptions)>> = const { RefCell::new(Vec::new()) };
}

fn options(plan: &Forward<'_>) -> RequestOptions {
    let wanted = [
        plan.connect_timeout,
        plan.first_byte_timeout,
        plan.between_bytes_timeout,
    ];
    OPTIONS.with_borrow_mut(|known| {
        if let Some((_, options)) = known.iter().find(|(times, _)| *times == wanted) {
            return options.clone();
        }
        let options = RequestOptions::new();
        let [connect, first_byte, between_bytes] =
            wanted.map(|time| Some(time.as_secs().saturating_mul(1_000_000_000)));
        // A host that does not support one of them keeps its own default.
        let _ = options.set_connect_timeout(connect);
        let _ = options.set_first_byte_timeout(first_byte);
        let _ = options.set_between_bytes_timeout(between_bytes);
        let copy = options.clone();
        known.push((wanted, options));
        copy
    })
}
