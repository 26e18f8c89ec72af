//! `client-credentials` and `token-exchange`: the tokens that upstreams are shown.

use hmac_sha256::Hash;
use serde::{Deserialize, Serialize};

use crate::config::{Credential, Grant, Upstream};
use crate::encoding::base64url_encode;
use crate::endpoint::client::{self, Endpoint};
use crate::endpoint::instance::Instance;
use crate::endpoint::tokens::{Enclosed, Operation};
use crate::endpoint::wheel;
use crate::error::Error;
use crate::oauth::client_credentials::{Target, client_credentials, read_client_credentials};
use crate::oauth::form::Form;
use crate::oauth::token::Granted;
use crate::oauth::token_exchange::{read_token_exchange, token_exchange};
use crate::ports::{FetchLimits, Ports};
use crate::session::Purpose;
use crate::time::{Lifetime, UnixTime};

/// After the metadata, within the time of the call.
const LIMITS: FetchLimits = FetchLimits {
    max_body_bytes: 64 * 1024,
    timeout_millis: 5_000,
};
/// How long a caller should wait.
pub(crate) const CALL_MILLIS: u64 = 8_000;
const STORED: Purpose = Purpose::Cache("credential");

/// A token for airside itself, to be shown to an upstream.
#[derive(Debug, Serialize, Deserialize)]
pub struct ClientCredentials {
    /// The upstream's name in the configuration, which says the rest.
    pub upstream: String,
}

/// A token for an upstream, in exchange for that of a caller.
#[derive(Debug, Serialize, Deserialize)]
pub struct TokenExchange {
    /// The upstream's name in the configuration, which says the rest.
    pub upstream: String,
    /// The caller's access token.
    pub subject_token: Enclosed,
}

/// A token to be shown to an upstream.
#[derive(Debug, Serialize, Deserialize)]
pub struct Issued {
    /// The token.
    pub access_token: Enclosed,
    /// How long it may be used.
    pub usable: Lifetime,
}

impl Operation for ClientCredentials {
    const NAME: &'static str = "client-credentials";
    type Reply = Issued;

    async fn answer(
        self,
        instance: &Instance,
        ports: Ports<'_>,
        now: UnixTime,
    ) -> Result<Issued, Error> {
        let upstream = upstream(&self.upstream, instance)?;
        let Credential::ClientCredentials(grant) = &upstream.credential else {
            return Err(Error::Internal);
        };
        let what = fingerprint(&[Self::NAME], upstream, grant, instance)?;
        if let Some(stored) = stored(&what, instance, ports, now).await {
            return Ok(stored);
        }
        let form = client_credentials(grant.target());
        let response = ask(grant, form, instance, ports, now).await?;
        let issued = issued(read_client_credentials(&response)?);
        store(&what, &issued, instance, ports, now).await;
        Ok(issued)
    }
}

impl Operation for TokenExchange {
    const NAME: &'static str = "token-exchange";
    type Reply = Issued;

    async fn answer(
        self,
        instance: &Instance,
        ports: Ports<'_>,
        now: UnixTime,
    ) -> Result<Issued, Error> {
        let upstream = upstream(&self.upstream, instance)?;
        let Credential::TokenExchange {
            grant,
            subject_token_type,
            requested_token_type,
        } = &upstream.credential
        else {
            return Err(Error::Internal);
        };
        let subject_token = self.subject_token.0.expose();
        let about = [
            Self::NAME,
            subject_token_type,
            requested_token_type,
            subject_token,
        ];
        let what = fingerprint(&about, upstream, grant, instance)?;
        if let Some(stored) = stored(&what, instance, ports, now).await {
            return Ok(stored);
        }
        let form = token_exchange(
            &self.subject_token.0,
            subject_token_type,
            requested_token_type,
            grant.target(),
        );
        let response = ask(grant, form, instance, ports, now).await?;
        let issued = issued(read_token_exchange(&response, requested_token_type)?);
        store(&what, &issued, instance, ports, now).await;
        Ok(issued)
    }
}

impl Grant {
    fn target(&self) -> Target<'_> {
        Target {
            scopes: &self.scopes,
            audience: self.audience.as_deref(),
            resource: &self.resource,
        }
    }
}

fn upstream<'i>(name: &str, instance: &'i Instance) -> Result<&'i Upstream, Error> {
    let upstreams = &instance.config.upstreams;
    let found = upstreams.iter().find(|upstream| upstream.name == name);
    found.ok_or(Error::Internal)
}

async fn ask(
    grant: &Grant,
    form: Form,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<http::Response<bytes::Bytes>, Error> {
    let found = instance.config.issuer_client(grant.issuer);
    let (client, _) = found.ok_or(Error::Internal)?;
    client::post(client, Endpoint::Token, form, LIMITS, instance, ports, now).await
}

fn issued(granted: Granted) -> Issued {
    Issued {
        usable: usable(granted.expires_in),
        access_token: Enclosed(granted.access_token),
    }
}

/// How long a token with that life may be used: until half a minute before its end, or half of
/// a life that is shorter than a minute; at most an hour, so that a token that the issuer
/// forgot is not used for ever. Where the issuer does not say, a minute.
fn usable(expires_in: Option<Lifetime>) -> Lifetime {
    const HOUR: u64 = 3_600;
    let life = expires_in.unwrap_or(Lifetime::from_secs(90)).as_secs();
    let usable = life.saturating_sub(30).max(life / 2).min(HOUR);
    Lifetime::from_secs(usable)
}

/// What a token is for, all of it, `about` the operation and the caller's token included: a token
/// is kept under this, and given out for nothing else.
fn fingerprint(
    about: &[&str],
    upstream: &Upstream,
    grant: &Grant,
    instance: &Instance,
) -> Result<String, Error> {
    let found = instance.config.issuer_client(grant.issuer);
    let (client, _) = found.ok_or(Error::Internal)?;
    let mut hash = Hash::new();
    // Lengths too: the boundaries between the parts count.
    let mut part = |text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    };
    about.iter().for_each(|text| part(text));
    part(client.issuer.as_str());
    part(client.client_id);
    part(&upstream.name);
    part(upstream.origin.as_str());
    part(&grant.scopes.join(" "));
    part(grant.audience.as_deref().unwrap_or_default());
    grant.resource.iter().for_each(|resource| part(resource));
    Ok(base64url_encode(&hash.finalize()))
}

/// What the store keeps of a token, sealed: an instance lives for seconds, and one token serves
/// all of them. Best effort: without the store each asks for itself.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// What it is for: whoever shares the store may have moved it.
    what: String,
    token: Enclosed,
    until: UnixTime,
}

/// So much of what is sealed is never the same twice: the header, which is, has 140 at most.
const TAG_BYTES: usize = 180;

fn key(what: &str) -> String {
    format!("airside/credential/{what}")
}

async fn stored(
    what: &str,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Option<Issued> {
    let value = ports.key_value.get(&key(what)).await.ok()??;
    let sealed = String::from_utf8(value).ok()?;
    let kept: Kept = instance.ring.open_at(STORED, &sealed, now).ok()?;
    (kept.what == what).then(|| Issued {
        access_token: kept.token,
        usable: kept.until.since(now),
    })
}

async fn store(what: &str, issued: &Issued, instance: &Instance, ports: Ports<'_>, now: UnixTime) {
    let until = now.plus(issued.usable);
    if until <= now {
        return;
    }
    let kept = Kept {
        what: what.to_owned(),
        token: issued.access_token.clone(),
        until,
    };
    let Ok(sealed) = instance.ring.seal_at(STORED, &kept, until) else {
        return;
    };
    let (key, value) = (key(what), sealed.as_bytes());
    let tag = value.get(..TAG_BYTES).unwrap_or(value);
    // What nobody would delete is not stored: there is one for each caller's token.
    if wheel::register(&key, tag, until, ports, now).await.is_ok() {
        let _ = ports.key_value.set(&key, value).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_used_until_shortly_before_its_end() {
        let check = |life: Option<u64>, expected| {
            let usable = usable(life.map(Lifetime::from_secs));
            assert_eq!(usable.as_secs(), expected, "{life:?}");
        };
        check(Some(0), 0);
        check(Some(1), 0);
        check(Some(10), 5);
        check(Some(60), 30);
        check(Some(61), 31);
        check(Some(300), 270);
        check(Some(3_630), 3_600);
        check(Some(u64::MAX), 3_600);
        check(None, 60);
    }
}
