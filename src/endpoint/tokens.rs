//! The private component that makes every token request but the code exchange.
//!
//! A private route is never the only proof of who calls: a chained call reaches a component
//! on any path. Each call carries a sealed envelope for its operation, valid for ten seconds,
//! and gets a sealed answer.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::endpoint::instance::Instance;
use crate::endpoint::refuse;
use crate::error::Error;
use crate::ports::Ports;
use crate::respond::{self, Audience};
use crate::session::Purpose;
use crate::time::{Lifetime, UnixTime};

/// How long an envelope is good.
pub const ENVELOPE_LIFETIME: Lifetime = Lifetime::from_secs(10);

/// The operations, each with a path and a purpose of its own.
pub const OPERATIONS: [&str; 6] = [
    "client-credentials",
    "introspect",
    "par",
    "refresh",
    "revoke",
    "token-exchange",
];

/// What an envelope says.
#[derive(Debug, Serialize, Deserialize)]
struct Envelope {
    /// Chosen by the caller, repeated in the answer: an answer fits one call only.
    id: String,
}

/// Answers `POST /tokens/<operation>` with a sealed envelope as its body. Everything else,
/// and every envelope that does not open, is 404 as if nothing were here.
pub async fn tokens(
    request: Request<Bytes>,
    instance: &Instance,
    ports: Ports<'_>,
) -> Response<Bytes> {
    let now = ports.clock.now();
    match operate(&request, instance, now) {
        Ok(response) => response,
        Err(error) => refuse(&error, Audience::Api, Vec::new(), ports, Vec::new()),
    }
}

fn operate(
    request: &Request<Bytes>,
    instance: &Instance,
    now: UnixTime,
) -> Result<Response<Bytes>, Error> {
    let named = request
        .uri()
        .path()
        .strip_prefix("/tokens/")
        .unwrap_or_default();
    let operation = OPERATIONS
        .into_iter()
        .find(|known| *known == named)
        .ok_or(Error::Envelope)?;
    if request.method() != Method::POST {
        return Err(Error::Envelope);
    }
    let sealed = std::str::from_utf8(request.body()).map_err(|_| Error::Envelope)?;
    let envelope: Envelope = instance
        .ring
        .open_at(Purpose::TokensRequest(operation), sealed, now)
        .map_err(|_| Error::Envelope)?;
    let reply = json!({ "id": envelope.id, "error": Error::NotYet.code() });
    let sealed = instance
        .ring
        .seal_at(
            Purpose::TokensReply(operation),
            &reply,
            now.plus(ENVELOPE_LIFETIME),
        )
        .map_err(|_| Error::Internal)?;
    Ok(respond::json(
        StatusCode::NOT_IMPLEMENTED,
        &json!({ "sealed": sealed }),
    ))
}
