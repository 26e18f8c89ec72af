//! `GET /auth/callback`: from the provider's answer to a session. The component also has
//! [`client_jwks`], since it has the keys.
//!
//! Each step consumes what the former made: query, login attempt, token response, verified ID
//! token, session.

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use serde_json::{Map, Value};

use crate::config::{IdTokenHint, Provider, ResponseIss};
use crate::encoding::base64url_encode;
use crate::endpoint::client::{self, Endpoint};
use crate::endpoint::client_jwks::{CLIENT_JWKS_PATH, client_jwks};
use crate::endpoint::instance::Instance;
use crate::endpoint::login::{login_link, redirect_uri};
use crate::endpoint::{
    discovery, plain_path, random, refuse, refuse_login, require_method, revocation, sessions,
};
use crate::error::{DiscoveryError, Error};
use crate::jose::Jws;
use crate::oauth::authorization::AuthorizationResponse;
use crate::oauth::metadata::{MetadataError, ProviderMetadata};
use crate::oauth::token::{TokenResponse, code_exchange, read_code_exchange};
use crate::oidc::id_token::{self, IdTokenError, VerifiedIdToken, nonce_hash};
use crate::oidc::userinfo::{self, Answer, UserInfoError};
use crate::policy::Authentication;
use crate::ports::{Event, FetchLimits, HttpError, Ports};
use crate::respond::{Audience, LOGIN_PATH, see_other};
use crate::secret::Secret;
use crate::session::{Cookies, SealError, Session, Transaction};
use crate::time::UnixTime;

/// Answers a request to `/auth/callback`: a new session and a redirect (303) to where the
/// person wanted to go, or a page. Or one to `/auth/client-jwks.json`.
pub async fn callback(
    request: Request<Bytes>,
    instance: &Instance,
    ports: Ports<'_>,
) -> Response<Bytes> {
    if plain_path(request.uri().path()) == CLIENT_JWKS_PATH {
        let set = client_jwks(&request, instance, ports).await;
        return set
            .unwrap_or_else(|error| refuse(&error, Audience::Api, Vec::new(), ports, Vec::new()));
    }
    let now = ports.clock.now();
    let mut trail = Trail {
        // A used attempt is over, however it ended: its cookie goes with any answer.
        used: Vec::new(),
        login: LOGIN_PATH.to_owned(),
    };
    match finish(&request, &mut trail, instance, ports, now).await {
        Ok(response) => response,
        Err(error) => {
            let Trail { used, login } = trail;
            let fields = Vec::new();
            refuse_login(&error, Audience::Browser, used, ports, fields, &login)
        }
    }
}

/// What a refusal needs of the way so far.
struct Trail {
    /// `Set-Cookie` values that take the attempt away.
    used: Vec<HeaderValue>,
    /// Where the same login begins anew.
    login: String,
}

async fn finish(
    request: &Request<Bytes>,
    trail: &mut Trail,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Response<Bytes>, Error> {
    let path = plain_path(request.uri().path());
    let mut providers = instance.config.providers.iter();
    if !providers.any(|provider| provider.callback_path == path) {
        return Err(Error::NoRoute);
    }
    require_method(request.method(), "GET")?;
    let cookies = Cookies::parse(request.headers())?;

    // 1. The response belongs to a login attempt of this browser (RFC 6749 section 10.12).
    let response = AuthorizationResponse::parse(request.uri().query().unwrap_or_default())?;
    let attempt = match Transaction::open(&response.state, &cookies, &instance.ring, now) {
        Ok(attempt) => attempt,
        Err(SealError::Expired) => {
            trail.used.extend(Transaction::clear(&response.state));
            return Err(Error::AttemptExpired);
        }
        Err(SealError::UnknownKey | SealError::Unreadable | SealError::Unsealable) => {
            // The Back button, or a second click: the login was finished before.
            return Err(match sessions::peek(&cookies, instance, ports, now).await {
                Ok(_) => Error::AttemptDone,
                Err(_) => Error::AttemptUnknown,
            });
        }
    };
    let provider = instance
        .config
        .provider(&attempt.provider)
        .ok_or(Error::UnknownProvider)?;
    trail.login = login_link(provider, &attempt.return_to);
    // Each provider has its own redirect_uri, or shares one and must name itself in `iss`: else
    // the code of one could be sent to another (RFC 9700 section 4.4).
    if path != provider.callback_path {
        trail.used.extend(Transaction::clear(&response.state));
        return Err(Error::CallbackPath);
    }
    let metadata = discovery::metadata(&provider.issuer, instance, ports, now)
        .await
        .map_err(Error::Discovery)?;
    // While the metadata is out of reach nothing was sent or judged, and the same address
    // works again. From here on the attempt is over.
    trail.used.extend(Transaction::clear(&response.state));

    // 2. It comes from the provider the browser was sent to (RFC 9207 section 2.4), errors too.
    check_response_issuer(response.iss.as_deref(), provider, &metadata)?;
    let code = response.result.map_err(Error::Provider)?;

    // 3. The code becomes tokens.
    let tokens = exchange(&code, &attempt, provider, instance, ports, now).await?;

    // 4. The ID token is verified.
    let id_token = verify(&tokens, &attempt, provider, instance, ports, now).await?;

    // 5. The person authenticated as the route wants that the login leads to (RFC 9470): asked
    // for is not granted. The session that was there before, if any, stays.
    let known = Authentication {
        auth_time: id_token.auth_time(),
        acr: id_token.acr(),
    };
    let step_up = instance.config.step_up_at(attempt.return_to.as_str());
    if step_up.is_some_and(|step_up| !step_up.is_met(known, provider.leeway, now)) {
        return Err(Error::StepUpFailed);
    }

    // 6. The account may come in.
    let claims = match provider.userinfo {
        true => {
            let more = userinfo(
                &tokens, &id_token, provider, &metadata, instance, ports, now,
            );
            userinfo::merge(id_token.claims(), more.await?)
        }
        false => id_token.claims(),
    };
    provider.requirements.check(&claims)?;

    // 7. A new session, whatever there was before (session fixation).
    let mut session = new_session(tokens, &id_token, claims, provider, ports, now)?;
    revocation::note_at_login(&mut session, instance, ports).await?;
    let mut set = sessions::save(&session, &cookies, instance, ports, now).await?;
    set.append(&mut trail.used);
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
        None if provider.response_iss == ResponseIss::Required
            || metadata.authorization_response_iss_parameter_supported =>
        {
            Err(Error::CallbackIssuer)
        }
        None => Ok(()),
    }
}

async fn exchange(
    code: &Secret<String>,
    attempt: &Transaction,
    provider: &Provider,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<TokenResponse, Error> {
    let form = code_exchange(
        code,
        &redirect_uri(provider, instance),
        &attempt.code_verifier,
        &provider.resource,
    );
    let response = client::post(
        provider.client(),
        Endpoint::Token,
        form,
        FetchLimits::PROVIDER,
        instance,
        ports,
        now,
    )
    .await?;
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
        nonce: Some(&attempt.nonce),
        access_token: &tokens.access_token,
        max_age: provider.request.max_age,
        acr_values: &provider.request.acr_values,
        leeway: provider.leeway,
    };
    Ok(id_token::verify(jws, &expected, &keys, now)?)
}

/// What UserInfo says about the person of `id_token`. Configured, it is needed: a login whose
/// rules could not be judged fails.
async fn userinfo(
    tokens: &TokenResponse,
    id_token: &VerifiedIdToken,
    provider: &Provider,
    metadata: &ProviderMetadata,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Map<String, Value>, Error> {
    let endpoint = metadata.userinfo_endpoint.as_ref();
    let endpoint = endpoint.ok_or(Error::Discovery(DiscoveryError::Metadata(
        MetadataError::Endpoint,
    )))?;
    let request = userinfo::request(endpoint, &tokens.access_token)?;
    let response = ports.http.send(request, FetchLimits::PROVIDER).await;
    let response = response.map_err(|error| match error {
        HttpError::NotAllowed => Error::Discovery(DiscoveryError::NotAllowed),
        HttpError::TooLarge => Error::UserInfo(UserInfoError::Malformed),
        HttpError::Timeout | HttpError::Unreachable => Error::UserInfo(UserInfoError::Unavailable),
    })?;
    match userinfo::read(&response)? {
        Answer::Json(claims) => Ok(userinfo::verify_json(&claims, id_token)?),
        Answer::Signed(jws) => {
            let (alg, kid) = (jws.header().alg, jws.header().kid.clone());
            let issuer = &provider.issuer;
            let keys = discovery::key_set(issuer, alg, kid.as_deref(), instance, ports, now)
                .await
                .map_err(Error::Discovery)?;
            let expected = userinfo::Expected {
                algorithms: &provider.id_token_algorithms,
                client_id: &provider.client_id,
                leeway: provider.leeway,
            };
            Ok(userinfo::verify_signed(
                jws, id_token, &expected, &keys, now,
            )?)
        }
    }
}

/// The claims that the configuration wants in the session.
pub(super) fn kept_claims(
    mut claims: Map<String, Value>,
    provider: &Provider,
) -> Map<String, Value> {
    let essential = &provider.requirements.essential_claims;
    claims.retain(|name, _| provider.claims.contains(name) || essential.contains(name));
    claims
}

fn new_session(
    tokens: TokenResponse,
    id_token: &VerifiedIdToken,
    claims: Map<String, Value>,
    provider: &Provider,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Session, Error> {
    // Some providers send one unasked. What nobody uses is not carried about.
    let refresh_token = tokens.refresh_token.filter(|_| provider.refresh);
    let nonce = refresh_token.is_some().then(|| id_token.nonce()).flatten();
    let nonce_hash = nonce.map(nonce_hash);
    Ok(Session {
        provider: provider.name.clone(),
        issuer: id_token.issuer().to_owned(),
        subject: id_token.subject().to_owned(),
        claims: kept_claims(claims, provider),
        id: base64url_encode(&random::<16>(ports)?),
        sid: id_token.sid().map(str::to_owned),
        access_token: tokens.access_token,
        access_token_expires_at: tokens.expires_in.map(|life| now.plus(life)),
        refresh_token,
        id_token: match provider.id_token_hint {
            IdTokenHint::Always | IdTokenHint::WhenItFits => Some(tokens.id_token),
            IdTokenHint::Never => None,
        },
        scope: tokens.scope,
        auth_time: id_token.auth_time(),
        acr: id_token.acr().map(str::to_owned),
        amr: id_token.amr(),
        known_marks: Vec::new(),
        created_at: now,
        renewed_at: now,
        refreshed_at: None,
        nonce_hash,
        record: None,
    })
}
