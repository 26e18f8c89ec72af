//! `revoke`: the tokens of a session that ends are revoked at its provider (RFC 7009).

use serde::{Deserialize, Serialize};

use crate::config::Provider;
use crate::endpoint::client::{self, Endpoint};
use crate::endpoint::discovery;
use crate::endpoint::instance::Instance;
use crate::endpoint::tokens::{Enclosed, Operation, call};
use crate::error::Error;
use crate::oauth::revocation::{TokenTypeHint, read_revocation, revocation};
use crate::ports::{Event, FetchLimits, Ports};
use crate::session::Session;
use crate::time::UnixTime;

/// Revokes the tokens of `session` at its provider, as well as it can: a person who logs out
/// does not wait longer than eight seconds for it, and a failure is a line of the log.
pub async fn revoke(session: &Session, provider: &Provider, instance: &Instance, ports: Ports<'_>) {
    let request = Revoke {
        provider: provider.name.clone(),
        refresh_token: session.refresh_token.clone().map(Enclosed),
        access_token: Enclosed(session.access_token.clone()),
    };
    if let Err(error) = call(&request, CALL_MILLIS, instance, ports).await {
        ports.events.emit(&Event {
            code: "revocation_failed",
            request_id: String::new(),
            fields: vec![
                ("cause", error.code().to_owned()),
                ("provider", provider.name.clone()),
                ("session", session.id.clone()),
            ],
        });
    }
}

/// One after the other, within the time of the call.
const LIMITS: FetchLimits = FetchLimits {
    max_body_bytes: 64 * 1024,
    timeout_millis: 3_500,
};
const CALL_MILLIS: u64 = 8_000;

/// What is revoked.
#[derive(Debug, Serialize, Deserialize)]
pub struct Revoke {
    provider: String,
    refresh_token: Option<Enclosed>,
    access_token: Enclosed,
}

impl Operation for Revoke {
    const NAME: &'static str = "revoke";
    type Reply = ();

    async fn answer(
        self,
        instance: &Instance,
        ports: Ports<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let provider = instance.config.provider(&self.provider);
        let provider = provider.ok_or(Error::UnknownProvider)?;
        let metadata = discovery::metadata(&provider.issuer, instance, ports, now)
            .await
            .map_err(Error::Discovery)?;
        if metadata.revocation_endpoint.is_none() {
            // Its tokens end by their expiry only.
            return Ok(());
        }
        let send = async |token: &Enclosed, hint| {
            let (client, form) = (provider.client(), revocation(&token.0, hint));
            let sent = client::post(
                client,
                Endpoint::Revocation,
                form,
                LIMITS,
                instance,
                ports,
                now,
            );
            Ok(read_revocation(&sent.await?)?)
        };
        // The refresh token first: with it the access token goes at most servers (RFC 7009
        // section 2.1). One that fails does not keep the other.
        let refresh = match &self.refresh_token {
            Some(token) => send(token, TokenTypeHint::RefreshToken).await,
            None => Ok(()),
        };
        let access = send(&self.access_token, TokenTypeHint::AccessToken).await;
        refresh.and(access)
    }
}
