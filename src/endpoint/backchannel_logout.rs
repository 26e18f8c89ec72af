//! `POST /auth/backchannel-logout`: a provider ends sessions behind the browser's back (OpenID
//! Connect Back-Channel Logout 1.0 sections 2.5 to 2.8).
//!
//! Anybody can post here: before a token is verified it costs at most one look for a key.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode};
use serde_json::json;

use crate::config::Provider;
use crate::endpoint::instance::Instance;
use crate::endpoint::{discovery, require_method, revocation};
use crate::error::Error;
use crate::jose::{Jws, JwsError};
use crate::oauth::authorization::parse_parameters;
use crate::oidc::backchannel_logout::{Expected, LogoutTokenError, VerifiedLogoutToken, verify};
use crate::ports::{Event, Ports};
use crate::respond;
use crate::session::revocation::of_logout_token;
use crate::time::UnixTime;

/// 200 when the sessions that the token names are marked as revoked.
pub(super) async fn backchannel_logout(
    request: &Request<Bytes>,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Response<Bytes>, Error> {
    require_method(request.method(), "POST")?;
    if instance.config.session.skip_revocation {
        return Err(Error::RevocationOff);
    }
    let token = logout_token(request)?;
    let (provider, token) = verified(&token, instance, ports, now).await?;
    let issuer = provider.issuer.as_str();
    if revocation::is_used(issuer, token.jti(), ports).await? {
        return Err(Error::LogoutToken(LogoutTokenError::Replayed));
    }
    let revoked = of_logout_token(issuer, token.subject(), token.sid());
    let until = now.plus(instance.config.session.absolute);
    revocation::revoke(&revoked, until, instance, ports).await?;
    // After the marks: a provider that repeats what failed half-way must not be told that it
    // did so before. Two at once do the same twice.
    revocation::set_used(issuer, token.jti(), token.ends_at(), instance, ports).await?;
    ports.events.emit(&Event {
        code: "backchannel_logout",
        request_id: String::new(),
        fields: vec![
            ("provider", provider.name.clone()),
            ("sid", token.sid().is_some().to_string()),
            ("sub", token.subject().is_some().to_string()),
        ],
    });
    Ok(respond::json(StatusCode::OK, &json!({})))
}

/// `logout_token` of the form, the only one (section 2.5). Other parameters are ignored.
fn logout_token(request: &Request<Bytes>) -> Result<String, LogoutTokenError> {
    let media_type = request.headers().get(CONTENT_TYPE);
    let media_type = media_type.and_then(|value| value.to_str().ok());
    let media_type = media_type.and_then(|value| value.split(';').next());
    if !media_type.is_some_and(|name| name.trim().eq_ignore_ascii_case(FORM)) {
        return Err(LogoutTokenError::Malformed);
    }
    let text = std::str::from_utf8(request.body()).map_err(|_| LogoutTokenError::Malformed)?;
    let parameters = parse_parameters(text).map_err(|_| LogoutTokenError::Malformed)?;
    let found = parameters
        .into_iter()
        .find(|(name, _)| name == "logout_token");
    found
        .map(|(_, token)| token)
        .ok_or(LogoutTokenError::Malformed)
}

const FORM: &str = "application/x-www-form-urlencoded";

/// The token, and the provider of the configuration that it comes from.
async fn verified<'i>(
    token: &str,
    instance: &'i Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<(&'i Provider, VerifiedLogoutToken), Error> {
    let jws = Jws::parse(token).map_err(LogoutTokenError::Jws)?;
    let (alg, kid) = (jws.header().alg, jws.header().kid.clone());
    let mut refusal = LogoutTokenError::Issuer;
    for provider in &instance.config.providers {
        // The unverified `iss` chooses the provider, and nothing else.
        if jws.unverified_issuer() != Some(provider.issuer.as_str()) {
            continue;
        }
        // Refused before anything is fetched for it.
        if !provider.id_token_algorithms.contains(&alg) {
            return Err(LogoutTokenError::Jws(JwsError::Algorithm).into());
        }
        let issuer = &provider.issuer;
        let keys = discovery::key_set(issuer, alg, kid.as_deref(), instance, ports, now)
            .await
            .map_err(Error::Discovery)?;
        let expected = Expected {
            issuer,
            client_id: &provider.client_id,
            additional_audiences: &provider.additional_audiences,
            algorithms: &provider.id_token_algorithms,
            leeway: provider.leeway,
        };
        match verify(jws.clone(), &expected, &keys, now) {
            Ok(token) => return Ok((provider, token)),
            // Signed by the issuer: it may be for another of our clients there.
            Err(LogoutTokenError::Audience) => refusal = LogoutTokenError::Audience,
            Err(error) => return Err(error.into()),
        }
    }
    Err(refusal.into())
}
