//! Token revocation (RFC 7009).

use bytes::Bytes;
use http::{Response, StatusCode};

use crate::oauth::form::Form;
use crate::oauth::token::{TokenError, refusal};
use crate::secret::Secret;

/// What kind of token is revoked (RFC 7009 section 2.1). The server may ignore it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenTypeHint {
    /// `access_token`.
    AccessToken,
    /// `refresh_token`.
    RefreshToken,
}

impl TokenTypeHint {
    /// As in the request.
    pub fn as_str(self) -> &'static str {
        match self {
            TokenTypeHint::AccessToken => "access_token",
            TokenTypeHint::RefreshToken => "refresh_token",
        }
    }
}

/// The request to revoke `token` (RFC 7009 section 2.1).
pub fn revocation(token: &Secret<String>, hint: TokenTypeHint) -> Form {
    Form::new("token", token.expose()).with("token_type_hint", hint.as_str())
}

/// Reads the response. A token that the server did not know is revoked as well (section 2.2);
/// one of a type that it does not revoke is left to its expiry, which is no failure either: it
/// is what servers say of access tokens that are JWTs (section 2.2.1).
///
/// # Errors
/// [`TokenError`]: the token may still be valid.
pub fn read_revocation(response: &Response<Bytes>) -> Result<(), TokenError> {
    if response.status() == StatusCode::OK {
        return Ok(());
    }
    let (error, name) = refusal(response);
    match name.as_deref() {
        Some("unsupported_token_type") => Ok(()),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, expected: Result<(), TokenError>) {
        let body = Bytes::from(body.to_owned());
        let response = Response::builder().status(status).body(body);
        assert_eq!(
            read_revocation(&response.expect("response")),
            expected,
            "{status}"
        );
    }

    #[test]
    fn a_token_is_revoked_or_of_a_type_that_is_not() {
        check(200, "", Ok(()));
        check(200, "anything", Ok(()));
        check(400, r#"{"error":"unsupported_token_type"}"#, Ok(()));
        check(
            503,
            r#"{"error":"unsupported_token_type"}"#,
            Err(TokenError::Unavailable),
        );
        check(
            400,
            r#"{"error":"invalid_request"}"#,
            Err(TokenError::Refused),
        );
        check(400, "", Err(TokenError::Refused));
        check(
            401,
            r#"{"error":"invalid_client"}"#,
            Err(TokenError::InvalidClient),
        );
        check(503, "", Err(TokenError::Unavailable));
        check(302, "", Err(TokenError::Unavailable));
    }
}
