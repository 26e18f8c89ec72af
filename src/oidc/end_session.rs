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
        let separator = if end_session_endpoint.has_query() {
            '&'
        } else {
            '?'
        };
        format!(
            "{}{separator}{}",
            end_session_endpoint.as_str(),
            query.finish()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
