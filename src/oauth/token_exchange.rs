//! Token exchange (RFC 8693): the caller's access token for one that the upstream takes.

use bytes::Bytes;
use http::Response;

use crate::oauth::client_credentials::Target;
use crate::oauth::form::Form;
use crate::oauth::token::{Granted, TokenError, read_grant, text};
use crate::secret::Secret;

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// The token request (section 2.1). It has no `actor_token`: airside acts as itself, which its
/// client authentication says.
pub fn token_exchange(
    subject_token: &Secret<String>,
    subject_token_type: &str,
    requested_token_type: &str,
    target: Target<'_>,
) -> Form {
    let form = Form::new("grant_type", GRANT_TYPE)
        .with("subject_token", subject_token.expose())
        .with("subject_token_type", subject_token_type)
        .with("requested_token_type", requested_token_type);
    target.stated(form)
}

/// Reads the response (section 2.2.1). `issued_token_type` must be there and be what was asked
/// for, and `token_type` must be Bearer: `N_A` is said of what is no access token.
///
/// # Errors
/// [`TokenError`].
pub fn read_token_exchange(
    response: &Response<Bytes>,
    requested_token_type: &str,
) -> Result<Granted, TokenError> {
    let (granted, object) = read_grant(response)?;
    match text(&object, "issued_token_type")? {
        Some(issued) if issued == requested_token_type => Ok(granted),
        Some(_) => Err(TokenError::TokenType),
        None => Err(TokenError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::client_auth::ClientCredential;
    use serde_json::{Value, json};

    const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
    const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

    #[test]
    fn the_request_says_what_is_exchanged_for_what() {
        let endpoint = "https://op.example/token".parse().expect("url");
        let proof = ClientCredential::Basic(Secret::from("s")).proof("c");
        let target = Target {
            scopes: &["read".to_owned()],
            audience: Some("billing"),
            resource: &[],
        };
        let form = token_exchange(&Secret::from("the/token"), ACCESS_TOKEN, JWT, target);
        let request = form
            .post(&endpoint, proof.expect("proof"))
            .expect("request");
        let parameters: Vec<(String, String)> = form_urlencoded::parse(request.body())
            .into_owned()
            .collect();
        let expected = [
            ("grant_type", GRANT_TYPE),
            ("subject_token", "the/token"),
            ("subject_token_type", ACCESS_TOKEN),
            ("requested_token_type", JWT),
            ("scope", "read"),
            ("audience", "billing"),
        ];
        assert_eq!(
            parameters,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn what_was_issued_must_be_what_was_asked_for() {
        let good = json!({
            "access_token": "at", "issued_token_type": ACCESS_TOKEN, "token_type": "Bearer",
        });
        let read = |member: &str, value: Value| {
            let mut body = good.clone();
            body[member] = value;
            let response = Response::new(Bytes::from(body.to_string()));
            read_token_exchange(&response, ACCESS_TOKEN).map(|_| ())
        };
        assert_eq!(read("expires_in", json!(60)), Ok(()));
        for (member, value, expected) in [
            ("issued_token_type", json!(JWT), TokenError::TokenType),
            ("issued_token_type", Value::Null, TokenError::Malformed),
            ("issued_token_type", json!(1), TokenError::Malformed),
            ("token_type", json!("N_A"), TokenError::TokenType),
            ("access_token", json!(""), TokenError::Malformed),
        ] {
            assert_eq!(read(member, value), Err(expected), "{member}");
        }
    }
}
