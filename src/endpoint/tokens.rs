//! The private component that makes every token request but the code exchange.
//!
//! A private route is never the only proof of who calls: a chained call reaches a component
//! on any path. Each call carries a sealed envelope for its operation, valid for ten seconds,
//! and gets a sealed reply.
//!
//! A new operation is a module here with a type that is an [`Operation`], and a line in
//! `operate`. What it refuses with goes into [`REFUSALS`].

mod call;
mod envelope;
mod expire;
mod introspect;
mod issue;
mod par;
mod refresh;
mod revoke;

pub use call::{REFUSALS, TOKENS_ORIGIN, call};
pub use envelope::{ENVELOPE_LIFETIME, Enclosed};
pub use expire::{Expire, expire, expire_while};
pub use introspect::{Introspect, introspect};
pub(crate) use issue::CALL_MILLIS as ISSUE_MILLIS;
pub use issue::{ClientCredentials, Issued, TokenExchange};
pub use par::{Par, push};
pub use refresh::Refresh;
pub(crate) use refresh::refresh;
pub use revoke::{Revoke, revoke};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::endpoint::instance::Instance;
use crate::endpoint::tokens::envelope::Letter;
use crate::endpoint::{refuse, wheel};
use crate::error::Error;
use crate::ports::Ports;
use crate::respond::{self, Audience};
use crate::session::Purpose;
use crate::time::UnixTime;

/// The operations, each with a path and a purpose of its own.
pub const OPERATIONS: [&str; 7] = [
    "client-credentials",
    "expire",
    "introspect",
    "par",
    "refresh",
    "revoke",
    "token-exchange",
];

/// An operation: the type is what it is asked.
// Nothing here is `Send`, so that the future need not be named.
#[allow(async_fn_in_trait)]
pub trait Operation: Serialize + DeserializeOwned {
    /// One of [`OPERATIONS`].
    const NAME: &'static str;
    /// What it answers.
    type Reply: Serialize + DeserializeOwned;

    /// Does it, in the component `tokens`.
    ///
    /// # Errors
    /// Those of [`REFUSALS`] reach the caller as they are.
    async fn answer(
        self,
        instance: &Instance,
        ports: Ports<'_>,
        now: UnixTime,
    ) -> Result<Self::Reply, Error>;
}

/// Answers `POST /tokens/<operation>` with a sealed envelope as its body. Everything else,
/// and every envelope that does not open, is 404 as if nothing were here.
pub async fn tokens(
    request: Request<Bytes>,
    instance: &Instance,
    ports: Ports<'_>,
) -> Response<Bytes> {
    let now = ports.clock.now();
    let answered = answer(&request, instance, ports, now).await;
    answered.unwrap_or_else(|error| refuse(&error, Audience::Api, Vec::new(), ports, Vec::new()))
}

async fn answer(
    request: &Request<Bytes>,
    instance: &Instance,
    ports: Ports<'_>,
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
    let purpose = Purpose::TokensRequest(operation);
    let letter =
        Letter::open(purpose, request.body(), &instance.ring, now).ok_or(Error::Envelope)?;
    let content = letter.content.map_err(|_| Error::Envelope)?;
    // What is left over is for the next request; the operation finds out itself whether the
    // store answers.
    let _swept = wheel::sweep(&instance.wheel, ports, now).await;
    let done = operate(operation, content, instance, ports, now).await;
    let status = match &done {
        Ok(_) => StatusCode::OK,
        Err(error) => respond::status(error),
    };
    let reply = Letter {
        id: letter.id,
        content: done.map_err(|error| error.code().to_owned()),
    };
    let purpose = Purpose::TokensReply(operation);
    let sealed = reply.seal(purpose, &instance.ring, now);
    Ok(respond::jose(status, sealed.ok_or(Error::Internal)?))
}

/// Does `operation`.
async fn operate(
    operation: &'static str,
    content: Value,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Value, Error> {
    match operation {
        ClientCredentials::NAME => serve::<ClientCredentials>(content, instance, ports, now).await,
        Expire::NAME => serve::<Expire>(content, instance, ports, now).await,
        Introspect::NAME => serve::<Introspect>(content, instance, ports, now).await,
        Par::NAME => serve::<Par>(content, instance, ports, now).await,
        Refresh::NAME => serve::<Refresh>(content, instance, ports, now).await,
        Revoke::NAME => serve::<Revoke>(content, instance, ports, now).await,
        TokenExchange::NAME => serve::<TokenExchange>(content, instance, ports, now).await,
        _ => Err(Error::NotYet),
    }
}

async fn serve<O: Operation>(
    content: Value,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Value, Error> {
    let request: O = serde_json::from_value(content).map_err(|_| Error::Envelope)?;
    let reply = request.answer(instance, ports, now).await?;
    serde_json::to_value(reply).map_err(|_| Error::Internal)
}
