//! The token request that exchanges a refresh token, and its response (RFC 6749 section 6,
//! OpenID Connect Core section 12).

use bytes::Bytes;
use http::Response;

use crate::oauth::form::Form;
use crate::oauth::token::{TokenError, read_grant, text};
use crate::secret::Secret;
use crate::time::Lifetime;

/// What the provider issued anew. What is absent is as before, but for `expires_in`.
#[derive(Clone, Debug)]
pub struct RefreshResponse {
    /// For the API; opaque here.
    pub access_token: Secret<String>,
    /// Its life, if the provider said.
    pub expires_in: Option<Lifetime>,
    /// For the client; not verified yet.
    pub id_token: Option<Secret<String>>,
    /// The next one, at a provider that rotates them.
    pub refresh_token: Option<Secret<String>>,
    /// What is still granted, if the provider said.
    pub scope: Option<String>,
}

/// The token request for a refresh token. It asks for no `scope`: what was granted stays.
pub fn refresh(refresh_token: &Secret<String>, resource: &[String]) -> Form {
    Form::new("grant_type", "refresh_token")
        .with("refresh_token", refresh_token.expose())
        .with_each("resource", resource)
}

/// Reads the response to a refresh.
///
/// # Errors
/// [`TokenError`].
pub fn read_refresh(response: &Response<Bytes>) -> Result<RefreshResponse, TokenError> {
    let (granted, object) = read_grant(response)?;
    let secret = |name| Ok::<_, TokenError>(text(&object, name)?.map(Secret::<String>::from));
    Ok(RefreshResponse {
        access_token: granted.access_token,
        expires_in: granted.expires_in,
        id_token: secret("id_token")?,
        refresh_token: secret("refresh_token")?,
        scope: text(&object, "scope")?.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::client_auth::ClientCredential;
    use serde_json::{Value, json};

    fn read(status: u16, body: &Value) -> Result<RefreshResponse, TokenError> {
        let response = Response::builder().status(status);
        let body = Bytes::from(body.to_string());
        read_refresh(&response.body(body).expect("response"))
    }

    #[test]
    fn the_request_carries_the_refresh_token_and_the_resource() {
        let endpoint = "https://op.example/token".parse().expect("url");
        let proof = ClientCredential::None.proof("c").expect("proof");
        let request = refresh(&Secret::from("r&t"), &["urn:api".to_owned()])
            .post(&endpoint, proof)
            .expect("request");
        assert_eq!(
            std::str::from_utf8(request.body()),
            Ok("grant_type=refresh_token&refresh_token=r%26t&resource=urn%3Aapi&client_id=c")
        );
    }

    #[test]
    fn an_answer_needs_an_access_token_and_nothing_else() {
        let least = json!({"access_token": "at", "token_type": "Bearer"});
        let read_least = read(200, &least).expect("tokens");
        assert_eq!(read_least.access_token, Secret::from("at"));
        assert!(read_least.expires_in.is_none() && read_least.id_token.is_none());
        assert!(read_least.refresh_token.is_none() && read_least.scope.is_none());

        let mut all = least.clone();
        all["expires_in"] = json!(60);
        all["id_token"] = json!("it");
        all["refresh_token"] = json!("rt");
        all["scope"] = json!("a");
        let all = read(200, &all).expect("tokens");
        assert_eq!(all.expires_in, Some(Lifetime::from_secs(60)));
        assert_eq!(all.id_token, Some(Secret::from("it")));
        assert_eq!(all.refresh_token, Some(Secret::from("rt")));
        assert_eq!(all.scope.as_deref(), Some("a"));

        for (name, value) in [
            ("access_token", Value::Null),
            ("token_type", Value::Null),
            ("id_token", json!(1)),
            ("refresh_token", json!([])),
            ("scope", json!({})),
        ] {
            let mut bad = least.clone();
            bad[name] = value;
            assert_eq!(read(200, &bad).err(), Some(TokenError::Malformed), "{name}");
        }
    }

    #[test]
    fn only_invalid_grant_says_that_the_refresh_token_is_over() {
        for (status, error, expected) in [
            (400, "invalid_grant", TokenError::InvalidGrant),
            (401, "invalid_grant", TokenError::InvalidGrant),
            (401, "invalid_client", TokenError::InvalidClient),
            (400, "invalid_scope", TokenError::Refused),
            (500, "invalid_grant", TokenError::Unavailable),
        ] {
            let found = read(status, &json!({"error": error})).err();
            assert_eq!(found, Some(expected), "{status} {error}");
        }
    }
}
