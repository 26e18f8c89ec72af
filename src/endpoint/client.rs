//! airside as a client of an authorization server: the one way to its token endpoint and to
//! those beside it. The client authenticates at each of them alike (RFC 6749 section 2.3).

use std::rc::Rc;

use bytes::Bytes;
use http::Response;

use crate::config::{AssertionAudience, Client, ClientAuthentication};
use crate::encoding::base64url_encode;
use crate::endpoint::instance::Instance;
use crate::endpoint::{discovery, random};
use crate::error::{DiscoveryError, Error};
use crate::jose::{Algorithm, SigningKey};
use crate::oauth::client_auth::{ClientCredential, assertion};
use crate::oauth::form::Form;
use crate::oauth::metadata::{MetadataError, ProviderMetadata};
use crate::oauth::token::TokenError;
use crate::ports::{FetchLimits, HttpError, Ports, VariableError};
use crate::secret::Secret;
use crate::time::UnixTime;
use crate::url::HttpsUrl;

/// An endpoint of an authorization server where clients authenticate, by its metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint<'c> {
    /// The one with that address, whatever the metadata says.
    At(&'c HttpsUrl),
    /// `introspection_endpoint` (RFC 7662).
    Introspection,
    /// `pushed_authorization_request_endpoint` (RFC 9126).
    PushedAuthorizationRequest,
    /// `revocation_endpoint` (RFC 7009).
    Revocation,
    /// `token_endpoint` (RFC 6749).
    Token,
}

impl<'c> Endpoint<'c> {
    /// Its address, if the server has it.
    pub fn of(self, metadata: &'c ProviderMetadata) -> Option<&'c HttpsUrl> {
        match self {
            Endpoint::At(address) => Some(address),
            Endpoint::Introspection => metadata.introspection_endpoint.as_ref(),
            Endpoint::PushedAuthorizationRequest => {
                metadata.pushed_authorization_request_endpoint.as_ref()
            }
            Endpoint::Revocation => metadata.revocation_endpoint.as_ref(),
            Endpoint::Token => metadata.token_endpoint.as_ref(),
        }
    }
}

/// Posts `form` to an endpoint of the client's authorization server, with the client's proof,
/// and returns the response, whatever its status.
///
/// # Errors
/// [`Error::Discovery`] when the server's metadata cannot be had or lacks the endpoint, or when
/// the manifest does not let this component reach it; [`Error::Token`] with
/// [`TokenError::Unavailable`] when there is no response within `limits`, or with
/// [`TokenError::Malformed`] when it is too large; [`Error::Internal`] when the client's
/// credential cannot be read; [`Error::SigningKey`] when it is no key.
pub async fn post(
    client: Client<'_>,
    endpoint: Endpoint<'_>,
    form: Form,
    limits: FetchLimits,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Response<Bytes>, Error> {
    let metadata = discovery::metadata(client.issuer, instance, ports, now)
        .await
        .map_err(Error::Discovery)?;
    let address = endpoint.of(&metadata).ok_or(MISSING)?;
    let credential = credential(client, &metadata, instance, ports, now).await?;
    let form = match (endpoint, &credential) {
        // A parameter of the authorization request, and as such of a pushed one, however the
        // client authenticates (RFC 9126 section 2.1). The others name the client anyway.
        (Endpoint::PushedAuthorizationRequest, ClientCredential::Basic(_)) => {
            form.with("client_id", client.client_id)
        }
        _ => form,
    };
    let proof = credential.proof(client.client_id).ok_or(Error::Internal)?;
    let request = form.post(address, proof).ok_or(Error::Internal)?;
    let sent = ports.http.send(request, limits).await;
    sent.map_err(|error| match error {
        HttpError::NotAllowed => Error::Discovery(DiscoveryError::NotAllowed),
        HttpError::TooLarge => Error::Token(TokenError::Malformed),
        HttpError::Timeout | HttpError::Unreachable => Error::Token(TokenError::Unavailable),
    })
}

/// The private key in `variable`.
pub(super) async fn signing_key(
    variable: &str,
    algorithm: Algorithm,
    instance: &Instance,
    ports: Ports<'_>,
) -> Result<SigningKey, Error> {
    let jwk = secret(variable, instance, ports).await?;
    Ok(match algorithm {
        Algorithm::Rs256 => SigningKey::parse_rsa(&jwk),
        other => SigningKey::parse(&jwk, other),
    }?)
}

/// The credential, with the secret that only `callback` and `tokens` are granted.
async fn credential(
    client: Client<'_>,
    metadata: &ProviderMetadata,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<ClientCredential, Error> {
    let held = async |variable| {
        let secret = secret(variable, instance, ports).await?;
        Ok::<_, Error>(Secret::clone(&secret))
    };
    Ok(match client.authentication {
        ClientAuthentication::ClientSecretBasic { variable } => {
            ClientCredential::Basic(held(variable).await?)
        }
        ClientAuthentication::ClientSecretPost { variable } => {
            ClientCredential::Post(held(variable).await?)
        }
        ClientAuthentication::None => ClientCredential::None,
        ClientAuthentication::PrivateKeyJwt {
            variable,
            algorithm,
            audience,
        } => {
            let key = signing_key(variable, *algorithm, instance, ports).await?;
            let token_endpoint = metadata.token_endpoint.as_ref().map(HttpsUrl::as_str);
            let audience = match audience {
                AssertionAudience::Issuer => client.issuer.as_str(),
                AssertionAudience::TokenEndpoint => token_endpoint.ok_or(MISSING)?,
            };
            let jti = base64url_encode(&random::<16>(ports)?);
            let made = assertion(client.client_id, audience, &key, &jti, now);
            ClientCredential::Assertion(made.ok_or(Error::Internal)?)
        }
    })
}

async fn secret(
    variable: &str,
    instance: &Instance,
    ports: Ports<'_>,
) -> Result<Rc<Secret<String>>, Error> {
    let secret = instance.secret(variable, ports).await;
    secret.map_err(|VariableError| Error::Internal)
}

const MISSING: Error = Error::Discovery(DiscoveryError::Metadata(MetadataError::Endpoint));
