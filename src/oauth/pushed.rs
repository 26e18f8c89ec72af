//! Pushed authorization requests (RFC 9126).

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::Value;

use crate::encoding::parse_json_object;
use crate::oauth::form::Form;
use crate::oauth::token::{MAX_TOKEN_RESPONSE_BYTES, TokenError, refusal};

/// It travels in the redirect.
const MAX_REQUEST_URI_BYTES: usize = 2 * 1024;

/// The request that pushes the parameters of an authorization request (section 2.1), without
/// `client_id`: that comes with the client's proof.
pub fn pushed_request(parameters: &[(String, String)]) -> Form {
    let with = |form: Form, (name, value): &(String, String)| form.with(name, value);
    parameters.iter().fold(Form::default(), with)
}

/// The `request_uri` of the response (section 2.2). Its `expires_in` does not matter: the
/// browser is sent there at once.
///
/// # Errors
/// [`TokenError`]; free text of the provider is not kept.
pub fn read_pushed(response: &Response<Bytes>) -> Result<String, TokenError> {
    // 201 by the specification; some servers answer 200.
    if !matches!(response.status(), StatusCode::CREATED | StatusCode::OK) {
        return Err(refusal(response).0);
    }
    let object = parse_json_object(response.body(), MAX_TOKEN_RESPONSE_BYTES)
        .map_err(|_| TokenError::Malformed)?;
    let request_uri = object.get("request_uri").and_then(Value::as_str);
    request_uri
        .filter(|uri| !uri.is_empty() && uri.len() <= MAX_REQUEST_URI_BYTES)
        .map(str::to_owned)
        .ok_or(TokenError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, expected: Result<&str, TokenError>) {
        let response = Response::builder().status(status);
        let response = response
            .body(Bytes::from(body.to_owned()))
            .expect("response");
        let found = read_pushed(&response);
        assert_eq!(
            found.as_deref().map_err(|error| *error),
            expected,
            "{status} {body}"
        );
    }

    #[test]
    fn the_request_uri_is_read_and_nothing_else() {
        check(
            201,
            r#"{"request_uri":"urn:x:1","expires_in":60}"#,
            Ok("urn:x:1"),
        );
        check(200, r#"{"request_uri":"urn:x:1"}"#, Ok("urn:x:1"));
        let long = |length: usize| format!("{{\"request_uri\":\"{}\"}}", "u".repeat(length));
        check(201, &long(2_048), Ok(&"u".repeat(2_048)));
        let malformed = Err(TokenError::Malformed);
        check(201, &long(2_049), malformed);
        check(201, r#"{"request_uri":""}"#, malformed);
        check(201, r#"{"request_uri":7}"#, malformed);
        check(201, r#"{"expires_in":60}"#, malformed);
        check(201, "", malformed);
        check(
            400,
            r#"{"error":"invalid_request"}"#,
            Err(TokenError::Refused),
        );
        check(
            401,
            r#"{"error":"invalid_client"}"#,
            Err(TokenError::InvalidClient),
        );
        check(
            302,
            r#"{"request_uri":"urn:x:1"}"#,
            Err(TokenError::Unavailable),
        );
        check(500, "", Err(TokenError::Unavailable));
    }
}
