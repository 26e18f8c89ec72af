//! The authorization request and its response in the callback (RFC 6749 section 4.1, OpenID
//! Connect Core sections 3.1.2.1 and 3.1.2.5, RFC 8707 section 2, RFC 9207).

use std::str::FromStr;

use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::oauth::pkce::CODE_CHALLENGE_METHOD;
use crate::secret::Secret;
use crate::time::Lifetime;
use crate::url::HttpsUrl;

/// Callback queries over this size are refused. Some providers send long codes.
pub const MAX_QUERY_BYTES: usize = 16 * 1024;
const MAX_PARAMETERS: usize = 32;

/// What is sent to the authorization endpoint.
#[derive(Clone, Debug)]
pub struct AuthorizationRequest<'a> {
    /// `client_id`.
    pub client_id: &'a str,
    /// `redirect_uri`, registered at the provider.
    pub redirect_uri: &'a str,
    /// `scope`, with `openid` among them.
    pub scopes: &'a [String],
    /// `state`.
    pub state: &'a Secret<String>,
    /// `nonce`.
    pub nonce: &'a Secret<String>,
    /// `code_challenge`.
    pub code_challenge: &'a str,
    /// `audience`: who the access token is to be for, as Auth0 and others want it.
    pub audience: Option<&'a str>,
    /// `resource`: the same by RFC 8707.
    pub resource: &'a [String],
    /// `login_hint`.
    pub login_hint: Option<&'a str>,
    /// `ui_locales`: languages the person wants, in order of preference.
    pub ui_locales: Option<&'a str>,
    /// `prompt`, each at most once.
    pub prompt: &'a [Prompt],
    /// `max_age`: how long ago the person may have authenticated.
    pub max_age: Option<Lifetime>,
    /// `acr_values`, in order of preference.
    pub acr_values: &'a [String],
    /// `claims`, where the provider supports the parameter (OpenID Connect Core section 5.5).
    pub claims: Option<String>,
    /// Parameters of the configuration, peculiar to the provider; none of ours is among them.
    pub extra: &'a [(String, String)],
}

/// `prompt` (OpenID Connect Core section 3.1.2.1), without `none`: a login is for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// The provider asks for consent, even if it was given before.
    Consent,
    /// The provider authenticates the person again.
    Login,
    /// The person chooses an account.
    SelectAccount,
}

impl Prompt {
    /// As in the request.
    pub fn as_str(self) -> &'static str {
        match self {
            Prompt::Consent => "consent",
            Prompt::Login => "login",
            Prompt::SelectAccount => "select_account",
        }
    }
}

/// Not a value of `prompt` that may be asked for.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("must be consent, login or select_account")]
pub struct PromptError;

impl FromStr for Prompt {
    type Err = PromptError;

    fn from_str(text: &str) -> Result<Self, PromptError> {
        [Prompt::Consent, Prompt::Login, Prompt::SelectAccount]
            .into_iter()
            .find(|prompt| prompt.as_str() == text)
            .ok_or(PromptError)
    }
}

/// Parameters that are ours to set, and those that would change how the request or its answer
/// is read. The configuration may add others, never these.
pub const RESERVED_PARAMETERS: [&str; 25] = [
    "acr_values",
    "audience",
    "claims",
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_secret",
    "code_challenge",
    "code_challenge_method",
    "dpop_jkt",
    "id_token_hint",
    "login_hint",
    "max_age",
    "nonce",
    "prompt",
    "redirect_uri",
    "request",
    "request_uri",
    "resource",
    "response_mode",
    "response_type",
    "scope",
    "state",
    "ui_locales",
    "web_message_uri",
];

/// The value of the `claims` parameter that asks for `essential` and `voluntary` claims, in the
/// ID token and, when it is used, from UserInfo (OpenID Connect Core section 5.5).
pub fn claims_parameter(essential: &[String], voluntary: &[String], userinfo: bool) -> String {
    let mut members = Map::new();
    for name in voluntary {
        members.insert(name.clone(), Value::Null);
    }
    for name in essential {
        members.insert(name.clone(), json!({ "essential": true }));
    }
    let mut request = Map::new();
    if userinfo {
        request.insert("userinfo".to_owned(), Value::Object(members.clone()));
    }
    request.insert("id_token".to_owned(), Value::Object(members));
    Value::Object(request).to_string()
}

impl AuthorizationRequest<'_> {
    /// The parameters but `client_id`.
    pub fn parameters(&self) -> Vec<(&str, String)> {
        let mut parameters: Vec<(&str, String)> = vec![
            ("response_type", "code".to_owned()),
            ("redirect_uri", self.redirect_uri.to_owned()),
            ("scope", self.scopes.join(" ")),
            ("state", self.state.expose().clone()),
            ("nonce", self.nonce.expose().clone()),
            ("code_challenge", self.code_challenge.to_owned()),
            ("code_challenge_method", CODE_CHALLENGE_METHOD.to_owned()),
        ];
        parameters.extend(
            self.audience
                .map(|audience| ("audience", audience.to_owned())),
        );
        parameters.extend(
            self.resource
                .iter()
                .map(|resource| ("resource", resource.clone())),
        );
        let mut add = |name, value: Option<String>| parameters.extend(value.map(|v| (name, v)));
        add("login_hint", self.login_hint.map(str::to_owned));
        add("ui_locales", self.ui_locales.map(str::to_owned));
        let prompts: Vec<&str> = self.prompt.iter().map(|prompt| prompt.as_str()).collect();
        add(
            "prompt",
            Some(prompts.join(" ")).filter(|all| !all.is_empty()),
        );
        add("max_age", self.max_age.map(|age| age.as_secs().to_string()));
        let acr_values = Some(self.acr_values.join(" ")).filter(|acr| !acr.is_empty());
        add("acr_values", acr_values);
        add("claims", self.claims.clone());
        let extra = self.extra.iter();
        parameters.extend(extra.map(|(name, value)| (name.as_str(), value.clone())));
        parameters
    }

    /// The URL to redirect the browser to.
    pub fn url(&self, authorization_endpoint: &HttpsUrl) -> String {
        let mut parameters = self.parameters();
        parameters.insert(0, ("client_id", self.client_id.to_owned()));
        with_query(authorization_endpoint, &parameters)
    }
}

/// The URL to redirect the browser to when the request was pushed (RFC 9126 section 4):
/// whatever it asks for is at the provider already.
pub fn pushed_url(authorization_endpoint: &HttpsUrl, client_id: &str, request_uri: &str) -> String {
    let parameters = [
        ("client_id", client_id.to_owned()),
        ("request_uri", request_uri.to_owned()),
    ];
    with_query(authorization_endpoint, &parameters)
}

/// `endpoint` with `parameters`. Query parameters that it has itself are kept (RFC 6749 section
/// 3.1), unless they are named like one of ours.
fn with_query(endpoint: &HttpsUrl, parameters: &[(&str, String)]) -> String {
    let (base, own) = match endpoint.as_str().split_once('?') {
        Some((base, query)) => (base, query),
        None => (endpoint.as_str(), ""),
    };
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(own.as_bytes()) {
        if !parameters.iter().any(|(ours, _)| *ours == name) {
            query.append_pair(&name, &value);
        }
    }
    query.extend_pairs(parameters);
    format!("{base}?{}", query.finish())
}

/// Why the query of the callback is not an authorization response.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AuthorizationResponseError {
    /// A parameter came twice (RFC 6749 section 3.1).
    #[error("parameter sent twice")]
    Duplicate,
    /// Neither `code` nor `error`, or both.
    #[error("neither code nor error")]
    Malformed,
    /// No `state`.
    #[error("state missing")]
    StateMissing,
    /// Over [`MAX_QUERY_BYTES`], or too many parameters.
    #[error("query too long")]
    TooLong,
}

/// What the provider answered through the browser. Nothing of it is trusted.
#[derive(Clone, Debug)]
pub struct AuthorizationResponse {
    /// `state`.
    pub state: Secret<String>,
    /// `iss` (RFC 9207).
    pub iss: Option<String>,
    /// The code, or the refusal.
    pub result: Result<Secret<String>, ProviderError>,
}

/// `error` of an authorization response (RFC 6749 section 4.1.2.1, OpenID Connect Core
/// section 3.1.2.6). Free text of the provider is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderError {
    /// The person or the provider said no.
    AccessDenied,
    /// The provider wants the person to do something first.
    InteractionRequired,
    /// Anything else: the request did not please, most likely a matter of configuration.
    Other,
    /// The provider is overloaded or broken.
    Unavailable,
}

impl AuthorizationResponse {
    /// Reads the query of the callback. Unknown parameters are ignored (RFC 6749 section
    /// 4.1.2), yet none may come twice.
    ///
    /// # Errors
    /// [`AuthorizationResponseError`].
    pub fn parse(query: &str) -> Result<Self, AuthorizationResponseError> {
        let parameters = parse_parameters(query)?;
        let find = |name: &str| {
            parameters
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.as_str())
        };
        let state = find("state")
            .filter(|state| !state.is_empty())
            .ok_or(AuthorizationResponseError::StateMissing)?;
        let result = match (find("code"), find("error")) {
            (Some(code), None) if !code.is_empty() => Ok(Secret::from(code)),
            (None, Some(error)) => Err(match error {
                "access_denied" => ProviderError::AccessDenied,
                "account_selection_required"
                | "consent_required"
                | "interaction_required"
                | "login_required" => ProviderError::InteractionRequired,
                "server_error" | "temporarily_unavailable" => ProviderError::Unavailable,
                _ => ProviderError::Other,
            }),
            _ => return Err(AuthorizationResponseError::Malformed),
        };
        Ok(AuthorizationResponse {
            state: Secret::from(state),
            iss: find("iss").map(str::to_owned),
            result,
        })
    }
}

/// The parameters of a query or form, bounded, none twice.
///
/// # Errors
/// [`AuthorizationResponseError::TooLong`] or [`AuthorizationResponseError::Duplicate`].
pub fn parse_parameters(text: &str) -> Result<Vec<(String, String)>, AuthorizationResponseError> {
    if text.len() > MAX_QUERY_BYTES {
        return Err(AuthorizationResponseError::TooLong);
    }
    let mut parameters: Vec<(String, String)> = Vec::new();
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        if parameters.iter().any(|(known, _)| *known == name) {
            return Err(AuthorizationResponseError::Duplicate);
        }
        if parameters.len() >= MAX_PARAMETERS {
            return Err(AuthorizationResponseError::TooLong);
        }
        parameters.push((name.into_owned(), value.into_owned()));
    }
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_has_each_parameter_once() {
        let request = AuthorizationRequest {
            client_id: "c&x=1",
            redirect_uri: "https://app.example/auth/callback",
            scopes: &["openid".into(), "read:invoices".into()],
            state: &Secret::from("s"),
            nonce: &Secret::from("n"),
            code_challenge: "cc",
            audience: Some("https://api.example"),
            resource: &["urn:a".into(), "urn:b".into()],
            login_hint: Some("a&state=evil"),
            ui_locales: Some("de en"),
            prompt: &[Prompt::Login, Prompt::Consent],
            max_age: Some(Lifetime::from_secs(0)),
            acr_values: &["mfa".into(), "phr".into()],
            claims: Some(claims_parameter(&["email".into()], &["name".into()], true)),
            extra: &[("tenant".into(), "2&state=evil".into())],
        };
        let endpoint = "https://op.example/a?tenant=1&state=theirs"
            .parse()
            .expect("url");
        let url = request.url(&endpoint);
        let (base, query) = url.split_once('?').expect("query");
        assert_eq!(base, "https://op.example/a");
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let of = |name: &str| -> Vec<&str> {
            pairs
                .iter()
                .filter(|(n, _)| n == name)
                .map(|(_, v)| v.as_str())
                .collect()
        };
        for (name, expected) in [
            // The configuration wins over the endpoint's own query.
            ("tenant", vec!["2&state=evil"]),
            ("response_type", vec!["code"]),
            ("client_id", vec!["c&x=1"]),
            ("scope", vec!["openid read:invoices"]),
            ("state", vec!["s"]),
            ("nonce", vec!["n"]),
            ("code_challenge", vec!["cc"]),
            ("code_challenge_method", vec!["S256"]),
            ("audience", vec!["https://api.example"]),
            ("resource", vec!["urn:a", "urn:b"]),
            ("login_hint", vec!["a&state=evil"]),
            ("ui_locales", vec!["de en"]),
            ("prompt", vec!["login consent"]),
            ("max_age", vec!["0"]),
            ("acr_values", vec!["mfa phr"]),
            ("x", vec![]),
        ] {
            assert_eq!(of(name), expected, "{name}");
        }
    }

    #[test]
    fn a_response_is_a_code_or_an_error_with_a_state() {
        let parse = |query: &str| AuthorizationResponse::parse(query).map(|r| r.result.map(|_| ()));
        assert_eq!(parse("code=a&state=s&session_state=x"), Ok(Ok(())));
        assert_eq!(
            parse("error=access_denied&state=s&error_description=x"),
            Ok(Err(ProviderError::AccessDenied))
        );
        assert_eq!(
            parse("error=login_required&state=s"),
            Ok(Err(ProviderError::InteractionRequired))
        );
        assert_eq!(
            parse("error=temporarily_unavailable&state=s"),
            Ok(Err(ProviderError::Unavailable))
        );
        assert_eq!(
            parse("error=%3Cscript%3E&state=s"),
            Ok(Err(ProviderError::Other))
        );
        for (query, expected) in [
            ("code=a", AuthorizationResponseError::StateMissing),
            ("", AuthorizationResponseError::StateMissing),
            ("code=a&state=", AuthorizationResponseError::StateMissing),
            ("state=s", AuthorizationResponseError::Malformed),
            ("code=&state=s", AuthorizationResponseError::Malformed),
            (
                "code=a&error=b&state=s",
                AuthorizationResponseError::Malformed,
            ),
            (
                "code=a&state=s&state=s",
                AuthorizationResponseError::Duplicate,
            ),
            (
                "code=a&code=b&state=s",
                AuthorizationResponseError::Duplicate,
            ),
            (
                "code=a&state=s&iss=a&iss=b",
                AuthorizationResponseError::Duplicate,
            ),
            (
                "code=a&state=s&x=1&x=1",
                AuthorizationResponseError::Duplicate,
            ),
        ] {
            assert_eq!(parse(query), Err(expected), "{query}");
        }
        let long = format!("state=s&code={}", "a".repeat(MAX_QUERY_BYTES));
        assert_eq!(parse(&long), Err(AuthorizationResponseError::TooLong));
        let many: String = (0..40).map(|n| format!("p{n}=1&")).collect();
        assert_eq!(parse(&many), Err(AuthorizationResponseError::TooLong));
    }
}
