//! Client authentication at the token and revocation endpoints: RFC 6749 2.3.

use ct_codecs::{Base64, Decoder};
use http::header::{self, HeaderMap};
use percent_encoding::percent_decode_str;

use super::error::{Code, OAuthError};
use super::registry::{Authentication, Client, Registry};
use crate::web::Parameters;

/// Returns the client that makes the request: `client_secret_basic`, `client_secret_post` or,
/// for a public client, `none`.
pub(super) fn client<'a>(
    registry: &'a Registry,
    headers: &HeaderMap,
    form: &Parameters,
) -> Result<&'a Client, OAuthError> {
    let invalid = Code::InvalidClient.because("the client is unknown or not authenticated");
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let (client_id, secret) = match (lines.next(), lines.next()) {
        (None, _) => {
            let client_id = form.one("client_id").ok_or(invalid)?;
            (
                client_id.to_owned(),
                form.one("client_secret").map(str::to_owned),
            )
        }
        (Some(line), None) => {
            // RFC 6749 2.3: one method in one request.
            if form.one("client_secret").is_some() {
                return Err(Code::InvalidRequest.because("two ways of client authentication"));
            }
            let (client_id, secret) = line.to_str().ok().and_then(basic).ok_or(invalid)?;
            if form
                .one("client_id")
                .is_some_and(|other| other != client_id)
            {
                return Err(Code::InvalidRequest.because("two values of client_id"));
            }
            (client_id, Some(secret))
        }
        (Some(_), Some(_)) => {
            return Err(Code::InvalidRequest.because("Authorization is repeated"));
        }
    };
    let client = registry.client(&client_id).ok_or(invalid)?;
    match (&client.authentication, secret) {
        (Authentication::None, None) => Ok(client),
        (Authentication::Secret(expected), Some(secret)) if expected.is(&secret) => Ok(client),
        (Authentication::None | Authentication::Secret(_), _) => Err(invalid),
    }
}

/// RFC 6749 2.3.1: both halves are form-encoded before they are joined.
fn basic(value: &str) -> Option<(String, String)> {
    let (scheme, credentials) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = Base64::decode_to_vec(credentials.trim(), None).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (client_id, secret) = decoded.split_once(':')?;
    Some((form_decoded(client_id)?, form_decoded(secret)?))
}

fn form_decoded(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    Some(percent_decode_str(&spaced).decode_utf8().ok()?.into_owned())
}

#[cfg(test)]
mod tests {
    use ct_codecs::{Base64, Encoder};

    use super::basic;

    #[track_caller]
    fn check(credentials: &str, expected: Option<(&str, &str)>) {
        let encoded = Base64::encode_to_string(credentials).unwrap();
        let read = basic(&format!("Basic {encoded}"));
        assert_eq!(
            read,
            expected.map(|(id, secret)| (id.to_owned(), secret.to_owned()))
        );
    }

    #[test]
    fn both_halves_are_form_decoded() {
        check("id:secret", Some(("id", "secret")));
        check("a%3Ab:c%25+d%2B", Some(("a:b", "c% d+")));
        check("id:a:b", Some(("id", "a:b")));
        check("id", None);
    }

    #[test]
    fn another_scheme_is_not_basic() {
        assert_eq!(basic("Bearer aWQ6c2VjcmV0"), None);
        assert_eq!(
            basic("bAsIc aWQ6c2VjcmV0"),
            Some(("id".to_owned(), "secret".to_owned()))
        );
    }
}
