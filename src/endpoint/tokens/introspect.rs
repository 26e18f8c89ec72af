//! `introspect`: what a token issuer says of an opaque token (RFC 7662).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::endpoint::client::{self, Endpoint};
use crate::endpoint::instance::Instance;
use crate::endpoint::tokens::{Enclosed, Operation, call};
use crate::error::Error;
use crate::jose::Claims;
use crate::jose::claims::MAX_CLAIMS_BYTES;
use crate::oauth::access_token::TokenIssuer;
use crate::oauth::introspection::{introspection, read_introspection};
use crate::ports::{FetchLimits, Ports};
use crate::secret::Secret;
use crate::time::UnixTime;

/// What `issuer` says of `token`; `None` when it is not active. Takes at most eight seconds.
///
/// # Errors
/// As [`call`]: nothing was said.
pub async fn introspect(
    issuer: &TokenIssuer,
    token: &str,
    instance: &Instance,
    ports: Ports<'_>,
) -> Result<Option<Claims>, Error> {
    let request = Introspect {
        issuer: issuer.name.clone(),
        token: Enclosed(Secret::from(token)),
    };
    let answer = call(&request, CALL_MILLIS, instance, ports).await?;
    Ok(answer.map(Claims::from))
}

/// After the metadata, within the time of the call.
const LIMITS: FetchLimits = FetchLimits {
    max_body_bytes: MAX_CLAIMS_BYTES,
    timeout_millis: 5_000,
};
const CALL_MILLIS: u64 = 8_000;

/// What is asked about.
#[derive(Debug, Serialize, Deserialize)]
pub struct Introspect {
    issuer: String,
    token: Enclosed,
}

impl Operation for Introspect {
    const NAME: &'static str = "introspect";
    type Reply = Option<Map<String, Value>>;

    async fn answer(
        self,
        instance: &Instance,
        ports: Ports<'_>,
        now: UnixTime,
    ) -> Result<Self::Reply, Error> {
        let config = &instance.config;
        let named = |issuer: &TokenIssuer| issuer.name == self.issuer;
        let index = config.issuers.iter().position(named);
        let (client, settings) = index
            .and_then(|index| config.issuer_client(index))
            .ok_or(Error::Internal)?;
        let settings = settings.introspection.as_ref().ok_or(Error::Internal)?;
        let form = introspection(&self.token.0);
        let configured = settings.endpoint.as_ref().map(Endpoint::At);
        let endpoint = configured.unwrap_or(Endpoint::Introspection);
        let response = client::post(client, endpoint, form, LIMITS, instance, ports, now).await?;
        Ok(read_introspection(&response)?.map(Claims::into_members))
    }
}
