//! The odd answers a gateway is tested with.

use std::io;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::json;
use tokio::sync::Notify;

use super::{Upstream, not_found, received};
use crate::web::{self, Body, Parameters};

impl Upstream {
    /// `/api/invoices/<probe>`.
    ///
    /// - `echo`: any method; the request as it arrived, with size and SHA-256 of its body.
    /// - `slow-stream?id=`: `first\n` at once, `second\n` after `release?id=` of the same id.
    /// - `stream-echo`: each chunk of the request body as soon as it arrives.
    /// - `big?bytes=N`: N bytes with Content-Length; `&chunked=1` without.
    /// - `status/<code>`: that status.
    /// - `headers?name=value`: a response with those header fields.
    /// - `cut`: ten bytes of a hundred, then the connection ends.
    pub(super) async fn probe(
        &self,
        probe: &str,
        head: &Parts,
        query: &Parameters,
        body: Incoming,
    ) -> Response<Body> {
        match (head.method.as_str(), probe) {
            (_, "echo") => echo(head, body).await,
            ("GET", "slow-stream") => self.slow_stream(query),
            ("GET" | "POST", "release") => self.release(query),
            ("POST" | "PUT", "stream-echo") => {
                Response::new(body.map_err(io::Error::other).boxed())
            }
            ("GET", "big") => big(query),
            ("GET", "headers") => headers(head),
            ("GET", "cut") => cut(),
            (_, other) => match other.strip_prefix("status/").map(StatusCode::try_from) {
                // An interim status is no answer.
                Some(Ok(code)) if !code.is_informational() => status(code),
                _ => not_found(),
            },
        }
    }

    fn slow_stream(&self, query: &Parameters) -> Response<Body> {
        let Some(released) = self.held(query) else {
            return too_many();
        };
        stream(|mut sender| async move {
            sender.send_data(Bytes::from_static(b"first\n")).await?;
            released.notified().await;
            sender.send_data(Bytes::from_static(b"second\n")).await
        })
    }

    fn release(&self, query: &Parameters) -> Response<Body> {
        let Some(held) = self.held(query) else {
            return too_many();
        };
        // Kept for a stream that has not come to its wait yet.
        held.notify_one();
        web::json(StatusCode::OK, &json!({ "released": true }))
    }

    fn held(&self, query: &Parameters) -> Option<Arc<Notify>> {
        let id = query.one("id").unwrap_or("default");
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        // A stream nobody holds any more needs no entry, but for a release that came early;
        // those are few.
        if held.len() >= MAX_HELD {
            held.retain(|_, notify| Arc::strong_count(notify) > 1);
        }
        if held.len() >= MAX_HELD {
            return None;
        }
        Some(Arc::clone(held.entry(id.to_owned()).or_default()))
    }
}

async fn echo(head: &Parts, mut body: Incoming) -> Response<Body> {
    let mut hash = hmac_sha256::Hash::new();
    let mut size: u64 = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return web::json(
                StatusCode::BAD_REQUEST,
                &json!({ "error": "the body broke off" }),
            );
        };
        if let Some(data) = frame.data_ref() {
            hash.update(data);
            size = size.saturating_add(data.len() as u64);
        }
    }
    let hash: String = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let answer = json!({
        "received": received(head),
        "body_bytes": size,
        "body_sha256": hash,
    });
    web::json(StatusCode::OK, &answer)
}

fn big(query: &Parameters) -> Response<Body> {
    let Some(bytes) = query.one("bytes").and_then(|n| n.parse::<u64>().ok()) else {
        return web::json(
            StatusCode::BAD_REQUEST,
            &json!({ "error": "bytes is missing" }),
        );
    };
    let mut response = stream(move |mut sender| async move {
        let chunk = Bytes::from_static(&[b'a'; CHUNK_BYTES]);
        let mut left = bytes;
        while left > 0 {
            let next = usize::try_from(left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
            sender.send_data(chunk.slice(..next)).await?;
            left = left.saturating_sub(next as u64);
        }
        Ok(())
    });
    if query.one("chunked").is_none() {
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    }
    response
}

fn status(code: StatusCode) -> Response<Body> {
    let mut response = match code {
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Response::new(web::full("")),
        _ => web::json(code, &json!({ "status": code.as_u16() })),
    };
    *response.status_mut() = code;
    if code.is_redirection() && code != StatusCode::NOT_MODIFIED {
        response
            .headers_mut()
            .insert(header::LOCATION, HeaderValue::from_static("/invoices"));
    }
    response
}

fn headers(head: &Parts) -> Response<Body> {
    let query = head.uri.query().unwrap_or_default();
    let mut response = web::json(StatusCode::OK, &json!({ "received": received(head) }));
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let name = HeaderName::try_from(name.as_ref());
        let value = HeaderValue::try_from(value.as_ref());
        match (name, value) {
            // The length is the server's own business.
            (Ok(name), Ok(value)) if name != header::CONTENT_LENGTH => {
                response.headers_mut().append(name, value);
            }
            _ => return web::json(StatusCode::BAD_REQUEST, &json!({ "error": "not a header" })),
        }
    }
    response
}

fn cut() -> Response<Body> {
    let (mut sender, body) = Channel::new(1);
    tokio::spawn(async move {
        if sender
            .send_data(Bytes::from_static(b"0123456789"))
            .await
            .is_ok()
        {
            sender.abort(io::Error::other("cut on purpose"));
        }
    });
    let mut response = Response::new(body.boxed());
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from_static("100"));
    response
}

fn stream<W, F>(write: W) -> Response<Body>
where
    W: FnOnce(Sender<Bytes, io::Error>) -> F,
    F: Future<Output = Result<(), http_body_util::channel::SendError>> + Send + 'static,
{
    let (sender, body) = Channel::new(1);
    // An error means that nobody reads any more.
    tokio::spawn(write(sender));
    let mut response = Response::new(body.boxed());
    let binary = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, binary);
    response
}

fn too_many() -> Response<Body> {
    let answer = Full::from("too many streams are held\n").map_err(|never| match never {});
    let mut response = Response::new(answer.boxed());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

const CHUNK_BYTES: usize = 16 * 1024;
const MAX_HELD: usize = 1_000;
