//! `GET /auth/client-jwks.json`: the public keys with which authorization servers verify this
//! client's assertions (`jwks_uri` of OpenID Connect Dynamic Client Registration section 2). Keys of
//! nothing else: those of assertions to upstreams are at `/.well-known/jwks.json`.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::config::ClientAuthentication;
use crate::endpoint::client::signing_key;
use crate::endpoint::instance::Instance;
use crate::endpoint::require_method;
use crate::error::Error;
use crate::ports::Ports;
use crate::respond;

/// Its path.
pub const CLIENT_JWKS_PATH: &str = "/auth/client-jwks.json";

/// The key set, or 404 where no client has a key.
pub(super) async fn client_jwks(
    request: &Request<Bytes>,
    instance: &Instance,
    ports: Ports<'_>,
) -> Result<Response<Bytes>, Error> {
    require_method(request.method(), "GET, HEAD")?;
    let mut keys: Vec<Value> = Vec::new();
    let config = &instance.config;
    let providers = config.providers.iter();
    let providers = providers.map(|provider| &provider.client_authentication);
    let issuers = config.issuer_clients.iter().flatten();
    let issuers = issuers.map(|client| &client.client_authentication);
    for authentication in providers.chain(issuers) {
        if let ClientAuthentication::PrivateKeyJwt {
            variable,
            algorithm,
            ..
        } = authentication
        {
            let key = signing_key(variable, *algorithm, instance, ports).await?;
            let jwk = Value::Object(key.public_jwk());
            // Two servers may know airside by the same key, but two keys need two names: else
            // one could take the wrong key.
            if keys.contains(&jwk) {
                continue;
            }
            if keys.iter().any(|other| other["kid"] == jwk["kid"]) {
                return Err(Error::ClientKeyId);
            }
            keys.push(jwk);
        }
    }
    if keys.is_empty() {
        return Err(Error::NoRoute);
    }
    Ok(respond::json(StatusCode::OK, &json!({ "keys": keys })))
}
