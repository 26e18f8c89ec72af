//! `GET /auth/callback`: from the provider's answer to a session.
//!
//! Each step consumes what the former made: query, login attempt, token response, verified ID
//! token, session.

use bytes::Bytes;
use http::{HeaderValue, Request, Response};

use crate::config::{ClientAuthentication, IdTokenHint, Provider};
use crate::encoding::base64url_encode;
use crate::endpoint::instance::Instance;
use crate::endpoint::login::redirect_uri;
use crate::endpoint::{CALLBACK_PATH, discovery, plain_path, random, refuse, require_method};
use crate::error::{DiscoveryError, Error};
use crate::jose::Jws;
use crate::oauth::authorization::AuthorizationResponse;
use crate::oauth::client_auth::ClientCredential;
use crate::oauth::metadata::{MetadataError, ProviderMetadata};
use crate::oauth::token::{TokenError, TokenResponse, code_exchange, read_code_exchange};
use crate::oidc::id_token::{self, IdTokenError, VerifiedIdToken};
use crate::ports::{Event, FetchLimits, HttpError, Ports};
use crate::respond::{Audience, see_other};
use crate::secret::Secret;
use crate::session::cookie::session_cookies;
use crate::session::{Cookies, SealError, Session, Transaction};
use crate::time::UnixTime;

/// Answers a request to `/auth/callback`: a new session and a redirect (303) to where the
/// person wanted to go, or a page.
pub async fn callback(
    request: Request<Bytes>,
    instance: &Instance,
    ports: Ports<'_>,
) -> Response<Bytes> {
    let now = ports.clock.now();
    if plain_path(request.uri().path()) != CALLBACK_PATH {
        return refuse(
            &Error::NoRoute,
            Audience::Browser,
            Vec::new(),
            ports,
            Vec::new(),
        );
    }
    // A used attempt is over, however it ended: its cookie goes with any answer.
    let mut used = Vec::new();
    match finish(&request, &mut used, instance, ports, now).await {
        Ok(response) => response,
        Err(error) => refuse(&error, Audience::Browser, used, ports, Vec::new()),
    }
}

async fn finish(
    request: &Request<Bytes>,
    used: &mut Vec<HeaderValue>,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Response<Bytes>, Error> {
    require_method(request.method(), "GET")?;
    let cookies = Cookies::parse(request.headers())?;

    // 1. The response belongs to a login attempt of this browser (RFC 6749 section 10.12).
    let response = AuthorizationResponse::parse(request.uri().query().unwrap_or_default())?;
    let attempt = match Transaction::open(&response.state, &cookies, &instance.ring, now) {
        Ok(attempt) => attempt,
        Err(SealError::Expired) => {
            used.extend(Transaction::clear(&response.state));
            return Err(Error::AttemptExpired);
        }
        Err(SealError::UnknownKey | SealError::Unreadable | SealError::Unsealable) => {
            return Err(Error::AttemptUnknown);
        }
    };
    let provider = instance
        .config
        .provider(&attempt.provider)
        .ok_or(Error::UnknownProvider)?;
    let metadata = discovery::metadata(&provider.issuer, instance, ports, now)
        .await
        .map_err(Error::Discovery)?;
    // While the metadata is out of reach nothing was sent or judged, and the same address
    // works again. From here on the attempt is over.
    used.extend(Transaction::clear(&response.state));

    // 2. It comes from the provider the browser was sent to (RFC 9207 section 2.4), errors too.
    check_response_issuer(response.iss.as_deref(), provider, &metadata)?;
    let code = response.result.map_err(Error::Provider)?;

    // 3. The code becomes tokens.
    let tokens = exchange(&code, &attempt, provider, &metadata, instance, ports).await?;

    // 4. The ID token is verified.
    let id_token = verify(&tokens, &attempt, provider, instance, ports, now).await?;

    // 5. A new session, whatever there was before (session fixation).
    let session = new_session(tokens, &id_token, provider, ports, now)?;
    let limits = &instance.config.session;
    let (sealed, life) = session
        .seal(&instance.ring, limits, now)
        .map_err(|_| Error::Internal)?;
    let mut set = session_cookies(&sealed, &cookies, life, limits.max_chunks)?;
    set.append(used);
    let fields = vec![
        ("provider", provider.name.clone()),
        ("session", session.id.clone()),
    ];
    ports.events.emit(&Event {
        code: "login",
        request_id: String::new(),
        fields,
    });
    Ok(see_other(attempt.return_to.as_str(), set))
}

fn check_response_issuer(
    iss: Option<&str>,
    provider: &Provider,
    metadata: &ProviderMetadata,
) -> Result<(), Error> {
    match iss {
        Some(iss) if iss == provider.issuer.as_str() => Ok(()),
        Some(_) => Err(Error::CallbackIssuer),
        None if metadata.authorization_response_iss_parameter_supported => {
            Err(Error::CallbackIssuer)
        }
        None => Ok(()),
    }
}

async fn exchange(
    code: &Secret<String>,
    attempt: &Transaction,
    provider: &Provider,
    metadata: &ProviderMetadata,
    instance: &Instance,
    ports: Ports<'_>,
) -> Result<TokenResponse, Error> {
    let secret = match provider.client_authentication.variable() {
        Some(variable) => {
            let secret = instance
                .secret(variable, ports)
                .await
                .map_err(|_| Error::Internal)?;
            Some(Secret::clone(&secret))
        }
        None => None,
    };
    let credential = match (&provider.client_authentication, secret) {
        (ClientAuthentication::ClientSecretBasic { .. }, Some(secret)) => {
            ClientCredential::Basic(secret)
        }
        (ClientAuthentication::ClientSecretPost { .. }, Some(secret)) => {
            ClientCredential::Post(secret)
        }
        (ClientAuthentication::None, None) => ClientCredential::None,
        _ => return Err(Error::Internal),
    };
    let endpoint =
        metadata
            .token_endpoint
            .as_ref()
            .ok_or(Error::Discovery(DiscoveryError::Metadata(
                MetadataError::Endpoint,
            )))?;
    let proof = credential
        .proof(&provider.client_id)
        .ok_or(Error::Internal)?;
    let request = code_exchange(
        endpoint,
        code,
        &redirect_uri(instance),
        &attempt.code_verifier,
        &provider.resource,
        proof,
    )?;
    let response = ports
        .http
        .send(request, FetchLimits::PROVIDER)
        .await
        .map_err(|error| match error {
            HttpError::NotAllowed => Error::Discovery(DiscoveryError::NotAllowed),
            HttpError::TooLarge => Error::Token(TokenError::Malformed),
            HttpError::Timeout | HttpError::Unreachable => Error::Token(TokenError::Unavailable),
        })?;
    Ok(read_code_exchange(&response)?)
}

async fn verify(
    tokens: &TokenResponse,
    attempt: &Transaction,
    provider: &Provider,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<VerifiedIdToken, Error> {
    let jws = Jws::parse(tokens.id_token.expose()).map_err(IdTokenError::Jws)?;
    let (alg, kid) = (jws.header().alg, jws.header().kid.clone());
    let keys = discovery::key_set(&provider.issuer, alg, kid.as_deref(), instance, ports, now)
        .await
        .map_err(Error::Discovery)?;
    let expected = id_token::Expected {
        issuer: &provider.issuer,
        client_id: &provider.client_id,
        additional_audiences: &provider.additional_audiences,
        algorithms: &provider.id_token_algorithms,
        nonce: &attempt.nonce,
        access_token: &tokens.access_token,
        leeway: provider.leeway,
    };
    Ok(id_token::verify(jws, &expected, &keys, now)?)
}

fn new_session(
    tokens: TokenResponse,
    id_token: &VerifiedIdToken,
    provider: &Provider,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Session, Error> {
    Ok(Session {
        provider: provider.name.clone(),
        issuer: id_token.issuer().to_owned(),
        subject: id_token.subject().to_owned(),
        claims: id_token.claims(&provider.claims),
        id: base64url_encode(&random::<16>(ports)?),
        sid: id_token.sid().map(str::to_owned),
        access_token: tokens.access_token,
        access_token_expires_at: tokens.expires_in.map(|life| now.plus(life)),
        refresh_token: tokens.refresh_token,
        id_token: match provider.id_token_hint {
            IdTokenHint::Always => Some(tokens.id_token),
            IdTokenHint::Never => None,
        },
        scope: tokens.scope,
        auth_time: id_token.auth_time(),
        acr: id_token.acr().map(str::to_owned),
        amr: id_token.amr(),
        created_at: now,
        renewed_at: now,
    })
}
