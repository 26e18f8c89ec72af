//! `GET /auth/login`: makes a login attempt and sends the browser to the provider.

use bytes::Bytes;
use http::{Request, Response, StatusCode};

use crate::config::Provider;
use crate::encoding::base64url_encode;
use crate::endpoint::instance::Instance;
use crate::endpoint::{CALLBACK_PATH, discovery, is_program, random, refuse, require_method};
use crate::error::{DiscoveryError, Error};
use crate::oauth::authorization::{AuthorizationRequest, parse_parameters};
use crate::oauth::metadata::MetadataError;
use crate::oauth::pkce;
use crate::ports::Ports;
use crate::respond::page::{Action, Page};
use crate::respond::{Audience, page, see_other};
use crate::secret::Secret;
use crate::session::{Cookies, Transaction};
use crate::time::UnixTime;
use crate::url::ReturnTo;

/// Longer login hints are dropped.
const MAX_LOGIN_HINT_BYTES: usize = 256;

/// Answers a request to `/auth/login?return_to=&provider=&login_hint=`.
///
/// A person is sent to the provider, or to a page to choose one. A script gets 401 and no
/// cookie: it could not follow, and attempts would pile up.
pub async fn login(
    request: Request<Bytes>,
    instance: &Instance,
    ports: Ports<'_>,
) -> Response<Bytes> {
    let now = ports.clock.now();
    let program = is_program(request.headers(), request.method());
    let audience = if program {
        Audience::Api
    } else {
        Audience::Browser
    };
    match start(&request, program, instance, ports, now).await {
        Ok(response) => response,
        Err(error) => refuse(&error, audience, Vec::new(), ports, Vec::new()),
    }
}

async fn start(
    request: &Request<Bytes>,
    program: bool,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Response<Bytes>, Error> {
    require_method(request.method(), "GET, HEAD")?;
    if program {
        return Err(Error::NoCredential);
    }
    let parameters = parse_parameters(request.uri().query().unwrap_or_default())?;
    let find = |name: &str| {
        parameters
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    };
    let return_to = ReturnTo::parse(find("return_to").unwrap_or("/"));
    let providers = &instance.config.providers;
    let provider = match (find("provider"), providers.as_slice()) {
        (Some(name), _) => instance
            .config
            .provider(name)
            .ok_or(Error::UnknownProvider)?,
        (None, [only]) => only,
        (None, []) => return Err(Error::UnknownProvider),
        (None, several) => return Ok(chooser(several, &return_to)),
    };
    let cookies = Cookies::parse(request.headers())?;
    let hint = find("login_hint").filter(|hint| hint.len() <= MAX_LOGIN_HINT_BYTES);
    redirect(provider, return_to, hint, &cookies, instance, ports, now).await
}

async fn redirect(
    provider: &Provider,
    return_to: ReturnTo,
    login_hint: Option<&str>,
    cookies: &Cookies,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Response<Bytes>, Error> {
    let metadata = discovery::metadata(&provider.issuer, instance, ports, now)
        .await
        .map_err(Error::Discovery)?;
    let endpoint = metadata
        .authorization_endpoint
        .as_ref()
        .ok_or(Error::Discovery(DiscoveryError::Metadata(
            MetadataError::Endpoint,
        )))?;
    let transaction = Transaction {
        state: Secret::new(base64url_encode(&random::<16>(ports)?)),
        nonce: Secret::new(base64url_encode(&random::<16>(ports)?)),
        code_verifier: pkce::code_verifier(&random::<32>(ports)?),
        provider: provider.name.clone(),
        return_to,
        created_at: now,
    };
    let request = AuthorizationRequest {
        client_id: &provider.client_id,
        redirect_uri: &redirect_uri(instance),
        scopes: &provider.scopes,
        state: &transaction.state,
        nonce: &transaction.nonce,
        code_challenge: &pkce::code_challenge(&transaction.code_verifier),
        audience: provider.audience.as_deref(),
        resource: &provider.resource,
        login_hint,
    };
    let set = transaction
        .set(cookies, &instance.ring, now)
        .map_err(|_| Error::Internal)?;
    Ok(see_other(&request.url(endpoint), set))
}

/// The `redirect_uri`: from the configuration, never from the request.
pub(super) fn redirect_uri(instance: &Instance) -> String {
    format!("{}{CALLBACK_PATH}", instance.config.public_url)
}

fn chooser(providers: &[Provider], return_to: &ReturnTo) -> Response<Bytes> {
    let choices = providers
        .iter()
        .map(|provider| {
            let query = form_urlencoded::Serializer::new(String::new())
                .append_pair("provider", &provider.name)
                .append_pair("return_to", return_to.as_str())
                .finish();
            (
                format!("Sign in with {}", provider.name),
                format!("/auth/login?{query}"),
            )
        })
        .collect();
    page::render(&Page {
        status: StatusCode::OK,
        heading: "Sign in",
        message: "Choose where you have an account.",
        details: &[],
        action: Action::Choose(choices),
        request_id: None,
        form_targets: &[],
    })
}
