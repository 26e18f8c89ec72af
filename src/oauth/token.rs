//! The token request that exchanges the code, and its response (RFC 6749 sections 4.1.3, 5.1
//! and 5.2, OpenID Connect Core section 3.1.3).

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::encoding::parse_json_object;
use crate::oauth::form::Form;
use crate::secret::Secret;
use crate::time::Lifetime;

/// Token responses over this size are refused.
pub const MAX_TOKEN_RESPONSE_BYTES: usize = 128 * 1024;

/// Why there are no tokens.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TokenError {
    /// `invalid_client`: the credential is wrong.
    #[error("provider refused the client credential")]
    InvalidClient,
    /// `invalid_grant`: the code is over, used, or another's.
    #[error("provider refused the grant")]
    InvalidGrant,
    /// A 200 that is not a token response: not JSON, members missing or of the wrong type.
    #[error("token response malformed")]
    Malformed,
    /// Another refusal of the provider.
    #[error("provider refused the token request")]
    Refused,
    /// `token_type` is not Bearer.
    #[error("token type not supported")]
    TokenType,
    /// A 5xx or a redirect.
    #[error("provider failed")]
    Unavailable,
}

/// What the provider issued.
#[derive(Clone, Debug)]
pub struct TokenResponse {
    /// For the API; opaque here.
    pub access_token: Secret<String>,
    /// Its life, if the provider said.
    pub expires_in: Option<Lifetime>,
    /// For the client; not verified yet.
    pub id_token: Secret<String>,
    /// For the token endpoint.
    pub refresh_token: Option<Secret<String>>,
    /// What was granted, if the provider said.
    pub scope: Option<String>,
}

/// The token request for an authorization code.
pub fn code_exchange(
    code: &Secret<String>,
    redirect_uri: &str,
    code_verifier: &Secret<String>,
    resource: &[String],
) -> Form {
    Form::new("grant_type", "authorization_code")
        .with("code", code.expose())
        .with("redirect_uri", redirect_uri)
        .with("code_verifier", code_verifier.expose())
        .with_each("resource", resource)
}

/// What a response means that is no success, by status and `error` (RFC 6749 section 5.2), and
/// that `error`, for endpoints that know further ones. Free text of the provider is not kept.
pub fn refusal(response: &Response<Bytes>) -> (TokenError, Option<String>) {
    if !response.status().is_client_error() {
        return (TokenError::Unavailable, None);
    }
    let object = parse_json_object(response.body(), MAX_TOKEN_RESPONSE_BYTES).unwrap_or_default();
    let name = object.get("error").and_then(Value::as_str);
    let error = match name {
        Some("invalid_client") => TokenError::InvalidClient,
        Some("invalid_grant") => TokenError::InvalidGrant,
        _ => TokenError::Refused,
    };
    (error, name.map(str::to_owned))
}

/// What every grant is answered with (RFC 6749 section 5.1).
#[derive(Clone, Debug)]
pub struct Granted {
    /// Opaque here; visible ASCII.
    pub access_token: Secret<String>,
    /// Its life, if the provider said.
    pub expires_in: Option<Lifetime>,
}

/// Reads what every grant is answered with, and the whole answer.
///
/// # Errors
/// [`TokenError`]; free text of the provider is not kept.
pub(super) fn read_grant(
    response: &Response<Bytes>,
) -> Result<(Granted, Map<String, Value>), TokenError> {
    if response.status() != StatusCode::OK {
        return Err(refusal(response).0);
    }
    let object = parse_json_object(response.body(), MAX_TOKEN_RESPONSE_BYTES)
        .map_err(|_| TokenError::Malformed)?;
    // RFC 6749 section 7.1: a client must not use a token whose type it does not know. The
    // name compares without regard to case (section 5.1).
    let token_type = text(&object, "token_type")?.ok_or(TokenError::Malformed)?;
    if !token_type.eq_ignore_ascii_case("bearer") {
        return Err(TokenError::TokenType);
    }
    let expires_in = match object.get("expires_in") {
        None | Some(Value::Null) => None,
        // Some providers send a decimal string.
        Some(Value::String(text)) => Some(text.parse().map_err(|_| TokenError::Malformed)?),
        Some(value) => Some(value.as_u64().ok_or(TokenError::Malformed)?),
    };
    let access_token = text(&object, "access_token")?.ok_or(TokenError::Malformed)?;
    // RFC 6749 appendix A.12: only such a token can stand in a header.
    if !access_token.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return Err(TokenError::Malformed);
    }
    let granted = Granted {
        access_token: Secret::from(access_token),
        expires_in: expires_in.map(Lifetime::from_secs),
    };
    Ok((granted, object))
}

/// Reads the response to a code exchange.
///
/// # Errors
/// [`TokenError`].
pub fn read_code_exchange(response: &Response<Bytes>) -> Result<TokenResponse, TokenError> {
    let (granted, object) = read_grant(response)?;
    let secret = |name| Ok::<_, TokenError>(text(&object, name)?.map(Secret::<String>::from));
    Ok(TokenResponse {
        access_token: granted.access_token,
        expires_in: granted.expires_in,
        id_token: secret("id_token")?.ok_or(TokenError::Malformed)?,
        refresh_token: secret("refresh_token")?,
        scope: text(&object, "scope")?.map(str::to_owned),
    })
}

/// The string `name`; an empty one counts as absent.
pub(super) fn text<'a>(
    object: &'a Map<String, Value>,
    name: &str,
) -> Result<Option<&'a str>, TokenError> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::client_auth::ClientCredential;
    use serde_json::json;

    fn response(status: u16, body: &Value) -> Response<Bytes> {
        let body = Bytes::from(body.to_string());
        Response::builder()
            .status(status)
            .body(body)
            .expect("response")
    }

    fn good() -> Value {
        json!({"access_token": "at", "token_type": "Bearer", "id_token": "it", "expires_in": 60, "extra": {}})
    }

    fn read(body: &Value) -> Result<TokenResponse, TokenError> {
        read_code_exchange(&response(200, body))
    }

    #[test]
    fn the_request_carries_code_verifier_and_proof() {
        let endpoint = "https://op.example/token".parse().expect("url");
        let proof = ClientCredential::Post(Secret::from("s&s"))
            .proof("c")
            .expect("proof");
        let request = code_exchange(
            &Secret::from("the code"),
            "https://app.example/auth/callback",
            &Secret::from("v"),
            &["urn:api".to_owned()],
        )
        .post(&endpoint, proof)
        .expect("request");
        assert_eq!(
            std::str::from_utf8(request.body()),
            Ok(
                "grant_type=authorization_code&code=the+code&redirect_uri=https%3A%2F%2Fapp.example%2Fauth%2Fcallback&code_verifier=v&resource=urn%3Aapi&client_id=c&client_secret=s%26s"
            )
        );
    }

    #[test]
    fn the_shape_of_the_response_is_checked() {
        let tokens = read(&good()).expect("tokens");
        assert_eq!(tokens.expires_in, Some(Lifetime::from_secs(60)));
        for (name, value) in [
            ("token_type", json!("bearer")),
            ("expires_in", Value::Null),
            ("expires_in", json!("60")),
            ("refresh_token", json!("rt")),
            ("scope", json!("a b")),
        ] {
            let mut body = good();
            body[name] = value;
            assert!(read(&body).is_ok(), "{body}");
        }
        for (name, value, expected) in [
            ("token_type", json!("mac"), TokenError::TokenType),
            ("token_type", json!("DPoP"), TokenError::TokenType),
            ("token_type", Value::Null, TokenError::Malformed),
            ("access_token", Value::Null, TokenError::Malformed),
            ("access_token", json!(""), TokenError::Malformed),
            ("access_token", json!(1), TokenError::Malformed),
            ("access_token", json!("a\r\nb"), TokenError::Malformed),
            ("id_token", Value::Null, TokenError::Malformed),
            ("expires_in", json!(-1), TokenError::Malformed),
            ("expires_in", json!("soon"), TokenError::Malformed),
            ("refresh_token", json!([]), TokenError::Malformed),
            ("scope", json!(["a"]), TokenError::Malformed),
        ] {
            let mut body = good();
            body[name] = value;
            assert_eq!(read(&body).map(|_| ()), Err(expected), "{body}");
        }
    }

    #[test]
    fn refusals_are_told_apart_without_the_providers_words() {
        let refused =
            |status, body: Value| read_code_exchange(&response(status, &body)).map(|_| ());
        assert_eq!(
            refused(400, json!({"error": "invalid_grant"})),
            Err(TokenError::InvalidGrant)
        );
        assert_eq!(
            refused(401, json!({"error": "invalid_client"})),
            Err(TokenError::InvalidClient)
        );
        assert_eq!(
            refused(400, json!({"error": "<b>"})),
            Err(TokenError::Refused)
        );
        assert_eq!(refused(404, json!([])), Err(TokenError::Refused));
        assert_eq!(refused(302, json!({})), Err(TokenError::Unavailable));
        assert_eq!(refused(503, json!({})), Err(TokenError::Unavailable));
        assert_eq!(refused(200, json!([])), Err(TokenError::Malformed));
    }
}
