//! airside as a client of an authorization server: the one way to its token endpoint and to
//! those beside it. The client authenticates at each of them alike (RFC 6749 section 2.3).

use bytes::Bytes;
use http::Response;

use crate::config::{Client, ClientAuthentication};
use crate::endpoint::discovery;
use crate::endpoint::instance::Instance;
use crate::error::{DiscoveryError, Error};
use crate::oauth::client_auth::ClientCredential;
use crate::oauth::form::Form;
use crate::oauth::metadata::{MetadataError, ProviderMetadata};
use crate::oauth::token::TokenError;
use crate::ports::{FetchLimits, HttpError, Ports};
use crate::secret::Secret;
use crate::time::UnixTime;
use crate::url::HttpsUrl;

/// An endpoint of an authorization server where clients authenticate, by its metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `introspection_endpoint` (RFC 7662).
    Introspection,
    /// `pushed_authorization_request_endpoint` (RFC 9126).
    PushedAuthorizationRequest,
    /// `revocation_endpoint` (RFC 7009).
    Revocation,
    /// `token_endpoint` (RFC 6749).
    Token,
}

impl Endpoint {
    /// Its address, if the server has it.
    pub fn of(self, metadata: &ProviderMetadata) -> Option<&HttpsUrl> {
        match self {
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
/// credential cannot be read.
pub async fn post(
    client: Client<'_>,
    endpoint: Endpoint,
    form: Form,
    limits: FetchLimits,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Response<Bytes>, Error> {
    let metadata = discovery::metadata(client.issuer, instance, ports, now)
        .await
        .map_err(Error::Discovery)?;
    let missing = Error::Discovery(DiscoveryError::Metadata(MetadataError::Endpoint));
    let endpoint = endpoint.of(&metadata).ok_or(missing)?;
    let credential = credential(client.authentication, instance, ports).await?;
    let proof = credential.proof(client.client_id).ok_or(Error::Internal)?;
    let request = form.post(endpoint, proof).ok_or(Error::Internal)?;
    let sent = ports.http.send(request, limits).await;
    sent.map_err(|error| match error {
        HttpError::NotAllowed => Error::Discovery(DiscoveryError::NotAllowed),
        HttpError::TooLarge => Error::Token(TokenError::Malformed),
        HttpError::Timeout | HttpError::Unreachable => Error::Token(TokenError::Unavailable),
    })
}

/// The credential, with the secret that only `callback` and `tokens` are granted.
async fn credential(
    authentication: &ClientAuthentication,
    instance: &Instance,
    ports: Ports<'_>,
) -> Result<ClientCredential, Error> {
    let secret = async |variable: &str| {
        let secret = instance.secret(variable, ports).await;
        secret
            .map(|secret| Secret::clone(&secret))
            .map_err(|_| Error::Internal)
    };
    Ok(match authentication {
        ClientAuthentication::ClientSecretBasic { variable } => {
            ClientCredential::Basic(secret(variable).await?)
        }
        ClientAuthentication::ClientSecretPost { variable } => {
            ClientCredential::Post(secret(variable).await?)
        }
        ClientAuthentication::None => ClientCredential::None,
    })
}
