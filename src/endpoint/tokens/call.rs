//! A call to `tokens` by another component.

use bytes::Bytes;
use http::Request;
use http::header::CONTENT_TYPE;
use serde_json::Value;

use crate::encoding::base64url_encode;
use crate::endpoint::instance::Instance;
use crate::endpoint::random;
use crate::endpoint::tokens::Operation;
use crate::endpoint::tokens::envelope::Letter;
use crate::error::{DiscoveryError, Error, PushError, RefreshError, TokensError};
use crate::jose::{Algorithm, SigningKeyError};
use crate::oauth::metadata::MetadataError;
use crate::oauth::token::TokenError;
use crate::ports::{FetchLimits, HttpError, Ports};
use crate::session::{MAX_SEALED_BYTES, Purpose};

/// Where `tokens` is: an address that only components of this app can reach.
pub const TOKENS_ORIGIN: &str = "http://tokens.spin.internal";

/// Asks `tokens` for an operation and waits for its reply, at most `timeout_millis`. Inside,
/// `tokens` may itself wait for an authorization server: the bound should be longer than that of
/// the operation.
///
/// # Errors
/// The operation's own refusal when it is one of [`REFUSALS`], and [`Error::Tokens`] for
/// everything else: `tokens` is out of reach, or what came back is no reply to this call.
pub async fn call<O: Operation>(
    request: &O,
    timeout_millis: u64,
    instance: &Instance,
    ports: Ports<'_>,
) -> Result<O::Reply, Error> {
    let request = serde_json::to_value(request).map_err(|_| Error::Internal)?;
    let reply = exchange(O::NAME, request, timeout_millis, instance, ports).await?;
    serde_json::from_value(reply).map_err(|_| Error::Tokens(TokensError::Reply))
}

async fn exchange(
    operation: &'static str,
    content: Value,
    timeout_millis: u64,
    instance: &Instance,
    ports: Ports<'_>,
) -> Result<Value, Error> {
    // Not the time when the caller's own request began: it may have waited for a provider since,
    // and an envelope is good for ten seconds.
    let now = ports.clock.now();
    let id = base64url_encode(&random::<16>(ports)?);
    let letter = Letter {
        id,
        content: Ok(content),
    };
    let sealed = letter
        .seal(Purpose::TokensRequest(operation), &instance.ring, now)
        .ok_or(Error::Internal)?;
    let request = Request::post(format!("{TOKENS_ORIGIN}/tokens/{operation}"))
        .header(CONTENT_TYPE, "application/jose")
        .body(Bytes::from(sealed))
        .map_err(|_| Error::Internal)?;
    let limits = FetchLimits {
        max_body_bytes: MAX_SEALED_BYTES,
        timeout_millis,
    };
    let sent = ports.http.send(request, limits).await;
    let response = sent.map_err(|error| {
        Error::Tokens(match error {
            HttpError::NotAllowed => TokensError::NotAllowed,
            HttpError::TooLarge => TokensError::Reply,
            HttpError::Timeout | HttpError::Unreachable => TokensError::Unavailable,
        })
    })?;
    // The status says nothing: what counts is inside. Judged by the time of the call, since the
    // operation may have taken as long as the reply is good; `id` ties it to this call.
    let purpose = Purpose::TokensReply(operation);
    let reply = Letter::open(purpose, response.body(), &instance.ring, now)
        .filter(|reply| reply.id == letter.id)
        .ok_or(Error::Tokens(TokensError::Reply))?;
    reply.content.map_err(|code| refusal(&code))
}

/// The refusal with that code.
fn refusal(code: &str) -> Error {
    let known = REFUSALS.iter().find(|error| error.code() == code);
    known.cloned().unwrap_or(Error::Tokens(TokensError::Reply))
}

/// What an operation refuses with, as far as callers tell it apart. It travels as its code.
pub static REFUSALS: [Error; 26] = [
    Error::Discovery(DiscoveryError::CoolingDown),
    Error::Discovery(DiscoveryError::Keys),
    Error::Discovery(DiscoveryError::Metadata(MetadataError::Endpoint)),
    Error::Discovery(DiscoveryError::Metadata(MetadataError::Issuer)),
    Error::Discovery(DiscoveryError::Metadata(MetadataError::Malformed)),
    Error::Discovery(DiscoveryError::NotAllowed),
    Error::Discovery(DiscoveryError::Throttle),
    Error::Discovery(DiscoveryError::Unreachable),
    Error::Internal,
    Error::NotYet,
    Error::Push(PushError::Malformed),
    Error::Push(PushError::Refused),
    Error::Push(PushError::Unavailable),
    Error::SessionStore,
    Error::SigningKey(SigningKeyError(Algorithm::Es256)),
    Error::Refresh(RefreshError::Busy),
    Error::Refresh(RefreshError::Ended),
    Error::Refresh(RefreshError::Provider),
    Error::Refresh(RefreshError::Spent),
    Error::Refresh(RefreshError::Store),
    Error::Token(TokenError::InvalidClient),
    Error::Token(TokenError::InvalidGrant),
    Error::Token(TokenError::Malformed),
    Error::Token(TokenError::Refused),
    Error::Token(TokenError::TokenType),
    Error::Token(TokenError::Unavailable),
];
