//! The authorization request and its response in the callback (RFC 6749 section 4.1, OpenID
//! Connect Core sections 3.1.2.1 and 3.1.2.5, RFC 8707 section 2, RFC 9207).

use thiserror::Error;

use crate::oauth::pkce::CODE_CHALLENGE_METHOD;
use crate::secret::Secret;
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
}

impl AuthorizationRequest<'_> {
    /// The URL to redirect the browser to. Query parameters that the endpoint itself has are
    /// kept (RFC 6749 section 3.1), unless they are named like one of ours.
    pub fn url(&self, authorization_endpoint: &HttpsUrl) -> String {
        let mut parameters: Vec<(&str, String)> = vec![
            ("response_type", "code".to_owned()),
            ("client_id", self.client_id.to_owned()),
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
        parameters.extend(self.login_hint.map(|hint| ("login_hint", hint.to_owned())));

        let (base, own) = match authorization_endpoint.as_str().split_once('?') {
            Some((base, query)) => (base, query),
            None => (authorization_endpoint.as_str(), ""),
        };
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(own.as_bytes()) {
            if !parameters.iter().any(|(ours, _)| *ours == name) {
                query.append_pair(&name, &value);
            }
        }
        query.extend_pairs(&parameters);
        format!("{base}?{}", query.finish())
    }
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
            ("tenant", vec!["1"]),
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
