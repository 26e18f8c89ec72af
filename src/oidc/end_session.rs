//! The logout request to the provider (OpenID Connect RP-Initiated Logout 1.0 section 2).

use crate::secret::Secret;
use crate::url::HttpsUrl;

/// What is sent to the end session endpoint, through the browser.
#[derive(Clone, Debug)]
pub struct EndSessionRequest<'a> {
    /// `id_token_hint`: the only token that may stand in a URL. It is specified so, and it is
    /// useless at any API.
    pub id_token_hint: Option<&'a Secret<String>>,
    /// `client_id`.
    pub client_id: &'a str,
    /// `post_logout_redirect_uri`, registered at the provider.
    pub post_logout_redirect_uri: &'a str,
    /// `state`.
    pub state: &'a str,
}

impl EndSessionRequest<'_> {
    /// The URL to redirect the browser to.
    pub fn url(&self, end_session_endpoint: &HttpsUrl) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(hint) = self.id_token_hint {
            query.append_pair("id_token_hint", hint.expose());
        }
        query
            .append_pair("client_id", self.client_id)
            .append_pair("post_logout_redirect_uri", self.post_logout_redirect_uri)
            .append_pair("state", self.state);
        with_query(end_session_endpoint, &query.finish())
    }
}

/// The logout URL of Amazon Cognito, which has parameters of its own and gives no `state` back.
pub fn cognito_url(end_session_endpoint: &HttpsUrl, client_id: &str, logout_uri: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query
        .append_pair("client_id", client_id)
        .append_pair("logout_uri", logout_uri);
    with_query(end_session_endpoint, &query.finish())
}

fn with_query(endpoint: &HttpsUrl, query: &str) -> String {
    let separator = if endpoint.has_query() { '&' } else { '?' };
    format!("{}{separator}{query}", endpoint.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cognito_is_asked_in_its_own_words() {
        let endpoint = "https://acme.auth.eu-west-1.amazoncognito.com/logout";
        let url = cognito_url(
            &endpoint.parse().expect("url"),
            "c&d",
            "https://app.example/auth/logged-out",
        );
        assert_eq!(
            url,
            format!(
                "{endpoint}?client_id=c%26d&logout_uri=https%3A%2F%2Fapp.example%2Fauth%2Flogged-out"
            )
        );
    }

    #[test]
    fn the_request_names_client_and_way_back() {
        let hint = Secret::from("a.b.c");
        let request = EndSessionRequest {
            id_token_hint: Some(&hint),
            client_id: "c",
            post_logout_redirect_uri: "https://app.example/auth/logged-out",
            state: "s",
        };
        let rest = "client_id=c&post_logout_redirect_uri=https%3A%2F%2Fapp.example%2Fauth%2Flogged-out&state=s";
        let url = |endpoint: &str| request.url(&endpoint.parse().expect("url"));
        assert_eq!(
            url("https://op.example/end"),
            format!("https://op.example/end?id_token_hint=a.b.c&{rest}")
        );
        let without = EndSessionRequest {
            id_token_hint: None,
            ..request
        };
        let url = without.url(&"https://op.example/end?t=1".parse().expect("url"));
        assert_eq!(url, format!("https://op.example/end?t=1&{rest}"));
    }
}
