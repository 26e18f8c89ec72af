//! The authorization request: RFC 6749 4.1.1 and 4.1.2.1, RFC 7636 4.3, RFC 8707 2.1,
//! RFC 9207, OpenID Connect Core 1.0 3.1.2.
//!
//! Reading a request is pure. Until the client and its redirect URI are known to belong
//! together, a refusal is a page; after that it is a redirect.

use super::error::{Code, OAuthError};
use super::registry::{Client, Grants, Registry, User, user};
use super::store::Session;
use crate::web::Parameters;

/// A request that was found good.
pub(super) struct AuthorizationRequest {
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) state: Option<String>,
    pub(super) nonce: Option<String>,
    pub(super) code_challenge: String,
    /// What was asked for and exists; what the user may have is decided at sign-in.
    pub(super) scopes: Vec<String>,
    pub(super) audiences: Vec<String>,
    /// Whether the API was named by `audience`, whose tokens also open the userinfo endpoint.
    pub(super) userinfo: bool,
    pub(super) login_hint: Option<String>,
    prompt: Prompt,
    max_age: Option<u64>,
    hinted_sub: Option<String>,
}

/// Why a request does not go on.
pub(super) enum Refusal {
    /// To be told to the person, never to the redirect URI.
    Page(&'static str),
    /// To be told to the client.
    Redirect {
        redirect_uri: String,
        state: Option<String>,
        error: OAuthError,
    },
}

/// What happens to a good request.
pub(super) enum Next {
    /// Issue a code at once.
    Grant(Session),
    /// Somebody must sign in.
    SignIn,
    /// `prompt=none`, and it cannot be done silently.
    Refuse(OAuthError),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Prompt {
    Absent,
    /// `login`, `consent` or `select_account`: the one sign-in page serves all three.
    Interactive,
    None,
}

impl AuthorizationRequest {
    /// Reads a request. `hinted_sub` gives the subject of one of the provider's own ID tokens.
    pub(super) fn read(
        parameters: &Parameters,
        registry: &Registry,
        hinted_sub: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Refusal> {
        // RFC 6749 3.1.2.4: without a client and its URI there is nowhere to redirect to.
        let client = parameters
            .one("client_id")
            .and_then(|client_id| registry.client(client_id))
            .ok_or(Refusal::Page(
                "The application is not registered here (client_id).",
            ))?;
        let redirect_uri = parameters
            .one("redirect_uri")
            .filter(|uri| client.has_redirect_uri(uri))
            .ok_or(Refusal::Page(
                "The application's return address is not registered (redirect_uri).",
            ))?;
        let refuse = |error| Refusal::Redirect {
            redirect_uri: redirect_uri.to_owned(),
            state: parameters.one("state").map(str::to_owned),
            error,
        };
        Self::read_for(client, redirect_uri, parameters, registry, hinted_sub).map_err(refuse)
    }

    fn read_for(
        client: &Client,
        redirect_uri: &str,
        parameters: &Parameters,
        registry: &Registry,
        hinted_sub: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, OAuthError> {
        // RFC 6749 3.1: no parameter twice, but for `resource` (RFC 8707 2).
        if parameters.repeats(&["resource"]) {
            return Err(Code::InvalidRequest.because("a parameter is repeated"));
        }
        if client.grants != Grants::Code {
            return Err(Code::UnauthorizedClient.because("not a client of the code flow"));
        }
        for (name, code) in [
            ("request", Code::RequestNotSupported),
            ("request_uri", Code::RequestUriNotSupported),
            ("registration", Code::RegistrationNotSupported),
        ] {
            if parameters.one(name).is_some() {
                return Err(code.because("this parameter is not supported"));
            }
        }
        match parameters.one("response_type") {
            Some("code") => {}
            Some(_) => return Err(Code::UnsupportedResponseType.because("only code is supported")),
            None => return Err(Code::InvalidRequest.because("response_type is missing")),
        }
        if parameters
            .one("response_mode")
            .is_some_and(|mode| mode != "query")
        {
            return Err(Code::InvalidRequest.because("only response_mode query is supported"));
        }
        let (audiences, userinfo) = audiences(parameters, registry)?;
        let prompt = prompt(parameters)?;
        let max_age = parameters
            .one("max_age")
            .map(str::parse)
            .transpose()
            .map_err(|_| Code::InvalidRequest.because("max_age is not a number of seconds"))?;
        // A hint that is not ours can match nobody.
        let hinted_sub = parameters
            .one("id_token_hint")
            .map(|hint| hinted_sub(hint).ok_or(Code::InvalidRequest.because("bad id_token_hint")))
            .transpose()?;
        let scope = parameters
            .one("scope")
            .ok_or(Code::InvalidScope.because("scope is missing"))?;
        Ok(Self {
            client_id: client.client_id.clone(),
            redirect_uri: redirect_uri.to_owned(),
            state: parameters.one("state").map(str::to_owned),
            nonce: parameters.one("nonce").map(str::to_owned),
            code_challenge: code_challenge(parameters)?.to_owned(),
            scopes: known_scopes(scope, &audiences, registry),
            audiences,
            userinfo,
            login_hint: parameters.one("login_hint").map(str::to_owned),
            prompt,
            max_age,
            hinted_sub,
        })
    }

    /// Returns how the request goes on in a browser with this session.
    pub(super) fn next(&self, session: Option<Session>, now: u64) -> Next {
        let usable = session.filter(|session| {
            let age = now.saturating_sub(session.auth_time);
            // OpenID Connect Core 1.0 3.1.2.1: max_age=0 is prompt=login.
            let fresh = self
                .max_age
                .is_none_or(|max_age| max_age > 0 && age <= max_age);
            let same = self
                .hinted_sub
                .as_deref()
                .is_none_or(|sub| sub == session.user.sub);
            fresh && same
        });
        match (self.prompt, usable) {
            (Prompt::Absent | Prompt::None, Some(session)) => Next::Grant(session),
            (Prompt::None, None) => {
                Next::Refuse(Code::LoginRequired.because("nobody suitable is signed in"))
            }
            (Prompt::Absent, None) | (Prompt::Interactive, _) => Next::SignIn,
        }
    }

    /// Returns the scopes this user is granted, of those asked for.
    pub(super) fn scopes_for(&self, user: &User) -> Vec<String> {
        let granted = |scope: &&String| OIDC_SCOPES.contains(&scope.as_str()) || user.may(scope);
        self.scopes.iter().filter(granted).cloned().collect()
    }

    /// Returns whether this user may finish the request: nobody but the one of the hint.
    pub(super) fn is_for(&self, user: &User) -> bool {
        self.hinted_sub.as_deref().is_none_or(|sub| sub == user.sub)
    }

    /// Returns the user the client expects, to be offered first.
    pub(super) fn expected_user(&self) -> Option<&'static User> {
        let hint = self.hinted_sub.as_deref().or(self.login_hint.as_deref())?;
        user(hint).or_else(|| {
            super::registry::USERS
                .iter()
                .find(|user| user.email == hint)
        })
    }
}

/// Returns the location of an answer: the redirect URI with the answer's parameters, `state`
/// and `iss` (RFC 9207) added.
pub(super) fn answer(
    redirect_uri: &str,
    issuer: &str,
    state: Option<&str>,
    parameters: &[(&str, &str)],
) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters);
    if let Some(state) = state {
        query.append_pair("state", state);
    }
    query.append_pair("iss", issuer);
    let separator = if redirect_uri.contains('?') { '&' } else { '?' };
    format!("{redirect_uri}{separator}{}", query.finish())
}

/// Reads `audience` and `resource`. Both name APIs; only registered ones exist.
fn audiences(
    parameters: &Parameters,
    registry: &Registry,
) -> Result<(Vec<String>, bool), OAuthError> {
    let audience = parameters.one("audience");
    let mut audiences: Vec<String> = Vec::new();
    for named in audience.into_iter().chain(parameters.every("resource")) {
        let api = registry
            .api(named)
            .ok_or(Code::InvalidTarget.because("no such API"))?;
        if !audiences.contains(&api.audience) {
            audiences.push(api.audience.clone());
        }
    }
    Ok((audiences, audience.is_some()))
}

fn prompt(parameters: &Parameters) -> Result<Prompt, OAuthError> {
    let Some(prompt) = parameters.one("prompt") else {
        return Ok(Prompt::Absent);
    };
    if prompt == "none" {
        return Ok(Prompt::None);
    }
    match prompt
        .split(' ')
        .all(|one| ["consent", "login", "select_account"].contains(&one))
    {
        true => Ok(Prompt::Interactive),
        // Also `none` beside another value.
        false => Err(Code::InvalidRequest.because("prompt has an unknown value, or none and more")),
    }
}

/// RFC 7636 4.2 and 4.4.1: S256 alone, for every client (RFC 9700 2.1.1).
fn code_challenge(parameters: &Parameters) -> Result<&str, OAuthError> {
    if parameters.one("code_challenge_method") != Some("S256") {
        return Err(Code::InvalidRequest.because("code_challenge_method S256 is required"));
    }
    let of_a_hash = |challenge: &&str| {
        let base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        challenge.len() == 43 && challenge.bytes().all(base64url)
    };
    parameters
        .one("code_challenge")
        .filter(of_a_hash)
        .ok_or(Code::InvalidRequest.because("code_challenge is missing or not a SHA-256 hash"))
}

/// Returns the scopes that exist: unknown ones are ignored (OpenID Connect Core 1.0 3.1.2.1),
/// and an API's scopes mean nothing in a token that is not addressed to it.
pub(super) fn known_scopes(scope: &str, audiences: &[String], registry: &Registry) -> Vec<String> {
    let mut known: Vec<String> = Vec::new();
    for scope in scope.split(' ') {
        let of_an_api = || {
            let mut apis = audiences
                .iter()
                .filter_map(|audience| registry.api(audience));
            apis.any(|api| api.scopes.iter().any(|of_api| of_api == scope))
        };
        let new = !known.iter().any(|already| already == scope);
        if new && (OIDC_SCOPES.contains(&scope) || of_an_api()) {
            known.push(scope.to_owned());
        }
    }
    known
}

/// The scopes that are about the user and not about an API.
pub(super) const OIDC_SCOPES: [&str; 4] = ["openid", "profile", "email", "offline_access"];
