//! `/auth/login`: makes a login attempt and sends the browser to the provider.
//!
//! Also the endpoint where a third party may initiate a login, by GET or by a form (OpenID
//! Connect Core section 4).

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};

use crate::config::{Provider, Push};
use crate::encoding::base64url_encode;
use crate::endpoint::instance::Instance;
use crate::endpoint::{LOGIN_PATH, discovery, is_program, random, refuse, require_method, tokens};
use crate::error::{DiscoveryError, Error};
use crate::oauth::authorization::{
    AuthorizationRequest, Prompt, claims_parameter, parse_parameters, pushed_url,
};
use crate::oauth::metadata::{MetadataError, ProviderMetadata};
use crate::oauth::pkce;
use crate::policy::StepUp;
use crate::ports::Ports;
use crate::respond::page::{Action, Page};
use crate::respond::{Audience, is_navigation, page, see_other};
use crate::secret::Secret;
use crate::session::{Cookies, Transaction};
use crate::time::UnixTime;
use crate::url::{HttpsUrl, ReturnTo};

/// Longer login hints are dropped.
const MAX_LOGIN_HINT_BYTES: usize = 256;
/// Longer lists of languages are dropped.
const MAX_UI_LOCALES_BYTES: usize = 128;

/// Answers a request to `/auth/login`. All parameters may be left out: `return_to` (a local
/// path), `for` (a request that wanted a better authentication), `provider` (its name in the
/// configuration), `login_hint`, `ui_locales`, `prompt` (`consent`, `login` or
/// `select_account`); of a third party `iss`, `target_link_uri` and `login_hint`.
///
/// A person is sent to the provider, or to a page to choose one. A script gets 401 and no
/// cookie: it could not follow, and attempts would pile up.
pub async fn login(
    request: Request<Bytes>,
    instance: &Instance,
    ports: Ports<'_>,
) -> Response<Bytes> {
    let now = ports.clock.now();
    let program = match *request.method() {
        // Only a third party posts here: a form in a page, never a script.
        Method::POST => !is_navigation(request.headers()),
        _ => is_program(request.headers(), request.method()),
    };
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
    require_method(request.method(), "GET, HEAD, POST")?;
    if program {
        return Err(Error::NoCredential);
    }
    let wishes = Wishes::of(request, instance)?;
    let provider = match wishes.candidates.as_slice() {
        [] => return Err(Error::UnknownProvider),
        [only] => *only,
        several => return Ok(chooser(several, &wishes)),
    };
    let cookies = Cookies::parse(request.headers())?;
    redirect(provider, &wishes, &cookies, instance, ports, now).await
}

/// What a login request asks for, by parameters that can never become ours.
struct Wishes<'c> {
    candidates: Vec<&'c Provider>,
    /// The request that was refused for want of a better authentication.
    refused: Option<String>,
    login_hint: Option<String>,
    prompt: Option<Prompt>,
    return_to: ReturnTo,
    ui_locales: Option<String>,
}

impl<'c> Wishes<'c> {
    fn of(request: &Request<Bytes>, instance: &'c Instance) -> Result<Self, Error> {
        let text = if request.method() == Method::POST {
            std::str::from_utf8(request.body()).map_err(|_| Error::LoginRequest)?
        } else {
            request.uri().query().unwrap_or_default()
        };
        let parameters = parse_parameters(text).map_err(|_| Error::LoginRequest)?;
        let find = |name: &str| {
            parameters
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.as_str())
        };
        // Section 4: a third party names the issuer; whoever it is, the login goes to a
        // provider of the configuration.
        let candidates = instance
            .config
            .providers
            .iter()
            .filter(|provider| find("provider").is_none_or(|name| provider.name == name))
            .filter(|provider| find("iss").is_none_or(|iss| provider.issuer.as_str() == iss))
            .collect();
        let return_to = match find("target_link_uri") {
            Some(uri) => target_link(uri, instance).ok_or(Error::TargetLinkUri)?,
            None => ReturnTo::parse(find("return_to").unwrap_or("/")),
        };
        let login_hint = find("login_hint")
            .filter(|hint| !hint.is_empty() && hint.len() <= MAX_LOGIN_HINT_BYTES)
            .filter(|hint| !hint.contains(char::is_control));
        Ok(Wishes {
            candidates,
            refused: find("for")
                .filter(|request| request.len() <= ReturnTo::MAX_BYTES)
                .map(str::to_owned),
            login_hint: login_hint.map(str::to_owned),
            prompt: find("prompt").and_then(|prompt| prompt.parse().ok()),
            return_to,
            ui_locales: find("ui_locales")
                .filter(|locales| are_locales(locales))
                .map(str::to_owned),
        })
    }
}

/// The local path in `uri`, which must have the origin of `public_url`: section 4 warns of open
/// redirects.
fn target_link(uri: &str, instance: &Instance) -> Option<ReturnTo> {
    let url: HttpsUrl = uri.parse().ok()?;
    if *url.origin() != instance.config.public_url {
        return None;
    }
    Some(match url.path_and_query() {
        "" => ReturnTo::root(),
        path => ReturnTo::parse(path),
    })
}

/// Language tags as in BCP 47, separated by spaces.
fn are_locales(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_UI_LOCALES_BYTES
        && text.split(' ').all(|tag| {
            !tag.is_empty() && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
}

async fn redirect(
    provider: &Provider,
    wishes: &Wishes<'_>,
    cookies: &Cookies<'_>,
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
        return_to: wishes.return_to.clone(),
        created_at: now,
    };
    // A link may ask for more than the configuration, never for less.
    let mut prompt: Vec<Prompt> = provider
        .request
        .prompt
        .or(wishes.prompt)
        .into_iter()
        .collect();
    if provider.request.consent && prompt != [Prompt::Consent] {
        prompt.push(Prompt::Consent);
    }
    // What the route asks for where the person wants to go: by the route itself, never by the
    // link. The callback judges by it again. What a script was refused may be another route:
    // it is asked for as well, and judged when the script tries again.
    let none = StepUp::default();
    let step_up = instance.config.step_up_at(wishes.return_to.as_str());
    let step_up = step_up.unwrap_or(&none);
    let refused = wishes.refused.as_deref();
    let refused = refused.and_then(|request| instance.config.step_up_for(request));
    let refused = refused.unwrap_or(&none);
    let own = &provider.request;
    let acr_values = match step_up.acr_values.is_empty() {
        true => asked_acr(refused, &own.acr_values),
        false => asked_acr(step_up, &own.acr_values),
    };
    let max_age = own.max_age.into_iter();
    let request = AuthorizationRequest {
        client_id: &provider.client_id,
        redirect_uri: &redirect_uri(provider, instance),
        scopes: &provider.scopes,
        state: &transaction.state,
        nonce: &transaction.nonce,
        code_challenge: &pkce::code_challenge(&transaction.code_verifier),
        audience: provider.audience.as_deref(),
        resource: &provider.resource,
        login_hint: wishes.login_hint.as_deref(),
        ui_locales: wishes.ui_locales.as_deref(),
        prompt: &prompt,
        max_age: max_age.chain(step_up.max_age).chain(refused.max_age).min(),
        acr_values: &acr_values,
        claims: claims(provider, &metadata),
        extra: &provider.request.extra,
    };
    let push = match provider.pushed_authorization_requests {
        Push::Always => true,
        Push::Never => false,
        Push::WhenRequired => metadata.require_pushed_authorization_requests,
    };
    let url = if push {
        let request_uri = tokens::push(&request, provider, instance, ports).await?;
        pushed_url(endpoint, &provider.client_id, &request_uri)
    } else {
        request.url(endpoint)
    };
    let set = transaction
        .set(cookies, &instance.ring, now)
        .map_err(|_| Error::Internal)?;
    Ok(see_other(&url, set))
}

/// The classes to ask for: those of the route, without any that the provider's own rule would
/// not accept, or else the provider's.
fn asked_acr(step_up: &StepUp, own: &[String]) -> Vec<String> {
    let mut asked = step_up.acr_values.clone();
    asked.retain(|acr| own.is_empty() || own.contains(acr));
    if asked.is_empty() {
        own.to_vec()
    } else {
        asked
    }
}

fn claims(provider: &Provider, metadata: &ProviderMetadata) -> Option<String> {
    let essential = &provider.requirements.essential_claims;
    metadata
        .claims_parameter_supported
        .then(|| claims_parameter(essential, &provider.claims, provider.userinfo))
}

/// The `redirect_uri`: from the configuration, never from the request.
pub(super) fn redirect_uri(provider: &Provider, instance: &Instance) -> String {
    format!("{}{}", instance.config.public_url, provider.callback_path)
}

/// The address that begins a login anew with the same wishes.
pub(super) fn login_link(provider: &Provider, return_to: &ReturnTo) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("provider", &provider.name)
        .append_pair("return_to", return_to.as_str())
        .finish();
    format!("{LOGIN_PATH}?{query}")
}

fn chooser(providers: &[&Provider], wishes: &Wishes<'_>) -> Response<Bytes> {
    let choices = providers
        .iter()
        .map(|provider| {
            let mut link = login_link(provider, &wishes.return_to);
            let mut more = form_urlencoded::Serializer::new(String::new());
            if let Some(request) = &wishes.refused {
                more.append_pair("for", request);
            }
            if let Some(hint) = &wishes.login_hint {
                more.append_pair("login_hint", hint);
            }
            if let Some(locales) = &wishes.ui_locales {
                more.append_pair("ui_locales", locales);
            }
            if let Some(prompt) = wishes.prompt {
                more.append_pair("prompt", prompt.as_str());
            }
            let more = more.finish();
            if !more.is_empty() {
                link = format!("{link}&{more}");
            }
            (format!("Sign in with {}", provider.title), link)
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
