//! The client credentials grant (RFC 6749 section 4.4): a token for the client itself.

use bytes::Bytes;
use http::Response;

use crate::oauth::form::Form;
use crate::oauth::token::{Granted, TokenError, read_grant};

/// What a token is to be good for.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// `scope`; none does not ask.
    pub scopes: &'a [String],
    /// `audience` (RFC 8693 section 2.1; some servers take it with every grant).
    pub audience: Option<&'a str>,
    /// `resource` (RFC 8707).
    pub resource: &'a [String],
}

impl Target<'_> {
    /// `form` with what the token is to be good for.
    pub(super) fn stated(self, mut form: Form) -> Form {
        if !self.scopes.is_empty() {
            form = form.with("scope", &self.scopes.join(" "));
        }
        if let Some(audience) = self.audience {
            form = form.with("audience", audience);
        }
        form.with_each("resource", self.resource)
    }
}

/// The token request (section 4.4.2).
pub fn client_credentials(target: Target<'_>) -> Form {
    target.stated(Form::new("grant_type", "client_credentials"))
}

/// Reads the response (section 4.4.3). A refresh token should not be there, and is not kept.
///
/// # Errors
/// [`TokenError`].
pub fn read_client_credentials(response: &Response<Bytes>) -> Result<Granted, TokenError> {
    read_grant(response).map(|(granted, _)| granted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::client_auth::ClientCredential;
    use crate::secret::Secret;

    fn body(target: Target<'_>) -> String {
        let endpoint = "https://op.example/token".parse().expect("url");
        let proof = ClientCredential::Basic(Secret::from("s")).proof("c");
        let request = client_credentials(target)
            .post(&endpoint, proof.expect("proof"))
            .expect("request");
        String::from_utf8_lossy(request.body()).into_owned()
    }

    #[test]
    fn the_request_says_what_is_configured_and_nothing_else() {
        let nothing = Target {
            scopes: &[],
            audience: None,
            resource: &[],
        };
        assert_eq!(body(nothing), "grant_type=client_credentials");
        let everything = Target {
            scopes: &["read".to_owned(), "write".to_owned()],
            audience: Some("https://api.example"),
            resource: &["urn:a".to_owned(), "urn:b".to_owned()],
        };
        assert_eq!(
            body(everything),
            "grant_type=client_credentials&scope=read+write&audience=https%3A%2F%2Fapi.example\
             &resource=urn%3Aa&resource=urn%3Ab"
        );
    }

    #[test]
    fn a_bearer_token_is_read_and_nothing_else() {
        let read = |body: &'static str| {
            let response = Response::new(Bytes::from_static(body.as_bytes()));
            read_client_credentials(&response).map(|granted| granted.access_token.expose().clone())
        };
        let good = r#"{"access_token":"at","token_type":"bearer","refresh_token":"rt"}"#;
        assert_eq!(read(good).as_deref(), Ok("at"));
        let dpop = r#"{"access_token":"at","token_type":"DPoP"}"#;
        assert_eq!(read(dpop), Err(TokenError::TokenType));
        assert_eq!(
            read(r#"{"token_type":"Bearer"}"#),
            Err(TokenError::Malformed)
        );
    }
}
