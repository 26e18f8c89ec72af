//! `par`: the authorization request of a login is pushed to its provider (RFC 9126).

use serde::{Deserialize, Serialize};

use crate::config::Provider;
use crate::endpoint::client::{self, Endpoint};
use crate::endpoint::instance::Instance;
use crate::endpoint::tokens::{Operation, call};
use crate::error::{Error, PushError};
use crate::oauth::authorization::AuthorizationRequest;
use crate::oauth::pushed::{pushed_request, read_pushed};
use crate::oauth::token::TokenError;
use crate::ports::{FetchLimits, Ports};
use crate::time::UnixTime;

/// Pushes `request` to `provider` and returns the `request_uri`, which is to be used at once.
///
/// # Errors
/// [`Error::Push`], and those of [`call`].
pub async fn push(
    request: &AuthorizationRequest<'_>,
    provider: &Provider,
    instance: &Instance,
    ports: Ports<'_>,
) -> Result<String, Error> {
    let parameters = request.parameters().into_iter();
    let request = Par {
        provider: provider.name.clone(),
        parameters: parameters
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    };
    call(&request, CALL_MILLIS, instance, ports).await
}

const LIMITS: FetchLimits = FetchLimits {
    max_body_bytes: 64 * 1024,
    timeout_millis: 8_000,
};
/// `tokens` may have to fetch the provider's metadata first.
const CALL_MILLIS: u64 = 14_000;

/// What is pushed.
#[derive(Debug, Serialize, Deserialize)]
pub struct Par {
    provider: String,
    parameters: Vec<(String, String)>,
}

impl Operation for Par {
    const NAME: &'static str = "par";
    type Reply = String;

    async fn answer(
        self,
        instance: &Instance,
        ports: Ports<'_>,
        now: UnixTime,
    ) -> Result<String, Error> {
        let provider = instance.config.provider(&self.provider);
        let provider = provider.ok_or(Error::UnknownProvider)?;
        let (endpoint, form) = (
            Endpoint::PushedAuthorizationRequest,
            pushed_request(&self.parameters),
        );
        let client = provider.client();
        let sent = client::post(client, endpoint, form, LIMITS, instance, ports, now).await;
        sent.and_then(|response| Ok(read_pushed(&response)?))
            .map_err(named)
    }
}

/// It was no token that was refused.
fn named(error: Error) -> Error {
    let Error::Token(error) = error else {
        return error;
    };
    Error::Push(match error {
        TokenError::InvalidClient => return Error::Token(error),
        TokenError::InvalidGrant | TokenError::Refused => PushError::Refused,
        TokenError::Malformed | TokenError::TokenType => PushError::Malformed,
        TokenError::Unavailable => PushError::Unavailable,
    })
}
