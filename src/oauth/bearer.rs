//! Bearer credentials in requests and challenges in answers (RFC 6750, RFC 9110 section 11).

use std::fmt;

use thiserror::Error;

use crate::time::Lifetime;

/// Why the `Authorization` header cannot be used.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BearerError {
    /// The header is there more than once.
    #[error("several Authorization headers")]
    Duplicate,
    /// An `access_token` in the query (RFC 6750 section 2.3).
    #[error("access token in the query")]
    InQuery,
    /// Not `Bearer` followed by one `b64token` (RFC 6750 section 2.1).
    #[error("malformed bearer credential")]
    Malformed,
    /// Another scheme.
    #[error("authentication scheme not supported")]
    Scheme,
}

/// The token that a request shows, still in its header. Never printed.
#[derive(Clone, Copy)]
pub struct BearerToken<'h>(&'h str);

impl<'h> BearerToken<'h> {
    /// The token itself. The caller must not log it or put it into an error.
    pub fn expose(self) -> &'h str {
        self.0
    }
}

impl fmt::Debug for BearerToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(..)")
    }
}

/// The bearer token in the values of the `Authorization` header, if there is one at all; by
/// [`is_b64token`] it is still to be judged, unless it is known. Tokens in the query or the body
/// are never looked at (RFC 6750 sections 2.2 and 2.3 are not supported).
///
/// # Errors
/// [`BearerError`]; a credential that is there but unusable is never ignored.
pub fn bearer_token<'h>(
    mut values: impl Iterator<Item = &'h [u8]>,
) -> Result<Option<BearerToken<'h>>, BearerError> {
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(BearerError::Duplicate);
    }
    let text = std::str::from_utf8(value.trim_ascii()).map_err(|_| BearerError::Malformed)?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(BearerError::Scheme);
    }
    let token = token.trim_start_matches(' ');
    if token.is_empty() {
        return Err(BearerError::Malformed);
    }
    Ok(Some(BearerToken(token)))
}

/// True for a `b64token` (RFC 6750 section 2.1).
pub fn is_b64token(token: &str) -> bool {
    let body = token.trim_end_matches('=');
    let fits =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    !body.is_empty() && body.bytes().all(fits)
}

/// True when `query` has a parameter `access_token`, in whatever encoding: a way to send tokens
/// that is not supported, and must not be (RFC 9700 section 4.3.2).
pub fn has_token_in_query(query: Option<&str>) -> bool {
    let query = query.unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "access_token")
}

/// A `WWW-Authenticate: Bearer` challenge (RFC 6750 section 3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// `error`; none when no credential came at all (RFC 6750 section 3.1).
    pub error: Option<&'static str>,
    /// `error_description`: printable ASCII without quotes and backslashes.
    pub description: Option<String>,
    /// `scope`: what would be needed.
    pub scope: Option<String>,
    /// `acr_values` and `max_age`: how the person should authenticate (RFC 9470 section 3).
    pub step_up: Option<StepUpChallenge>,
}

/// What an authentication should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepUpChallenge {
    /// `acr_values`, in order of preference.
    pub acr_values: Vec<String>,
    /// `max_age`.
    pub max_age: Option<Lifetime>,
}

impl Challenge {
    /// The header's value.
    pub fn header(&self) -> String {
        let mut parts = vec!["realm=\"airside\"".to_owned()];
        if let Some(error) = self.error {
            parts.push(format!("error=\"{error}\""));
        }
        if let Some(description) = &self.description {
            parts.push(format!("error_description=\"{}\"", quotable(description)));
        }
        if let Some(scope) = &self.scope {
            parts.push(format!("scope=\"{}\"", quotable(scope)));
        }
        if let Some(step_up) = &self.step_up {
            if !step_up.acr_values.is_empty() {
                let acr_values = step_up.acr_values.join(" ");
                parts.push(format!("acr_values=\"{}\"", quotable(&acr_values)));
            }
            if let Some(max_age) = step_up.max_age {
                parts.push(format!("max_age=\"{}\"", max_age.as_secs()));
            }
        }
        format!("Bearer {}", parts.join(", "))
    }
}

/// Leaves out what may not stand in these attributes (RFC 6750 section 3).
fn quotable(text: &str) -> String {
    text.chars()
        .filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token<'v>(values: &[&'v str]) -> Result<Option<&'v str>, BearerError> {
        let token = bearer_token(values.iter().map(|value| value.as_bytes()))?;
        let token = token.map(BearerToken::expose);
        match token {
            Some(token) if !is_b64token(token) => Err(BearerError::Malformed),
            token => Ok(token),
        }
    }

    #[test]
    fn one_well_formed_bearer_credential_is_taken() {
        assert_eq!(token(&[]), Ok(None));
        for good in [
            "Bearer abc.d-_~+/==",
            "bearer abc.d-_~+/==",
            "BEARER   abc.d-_~+/==",
        ] {
            assert_eq!(token(&[good]), Ok(Some("abc.d-_~+/==")), "{good}");
        }
        assert_eq!(
            token(&["Bearer a", "Bearer a"]),
            Err(BearerError::Duplicate)
        );
        for bad in [
            "Bearer",
            "Bearer ",
            "Bearer =",
            "Bearer a b",
            "Bearer a,b",
            "Bearer \"a\"",
            "Bearer a=b",
            "Bearer \u{e9}",
        ] {
            assert_eq!(token(&[bad]), Err(BearerError::Malformed), "{bad}");
        }
        for other in ["Basic YTpi", "DPoP abc", "", "Bearerabc"] {
            assert_eq!(token(&[other]), Err(BearerError::Scheme), "{other}");
        }
    }

    #[test]
    fn a_token_in_the_query_is_seen_in_any_encoding() {
        for bad in [
            "access_token=x",
            "a=b&access_token=",
            "access%5ftoken=x",
            "%61ccess_token",
        ] {
            assert!(has_token_in_query(Some(bad)), "{bad}");
        }
        for good in [
            None,
            Some(""),
            Some("a=access_token"),
            Some("access_token_x=1"),
            Some("Access_Token=1"),
        ] {
            assert!(!has_token_in_query(good), "{good:?}");
        }
    }

    #[test]
    fn a_challenge_cannot_be_broken_out_of() {
        let bare = Challenge::default().header();
        assert_eq!(bare, "Bearer realm=\"airside\"");
        let full = Challenge {
            error: Some("insufficient_scope"),
            description: Some("say \"hi\"\r\nX: y\\".into()),
            scope: Some("a b".into()),
            step_up: None,
        };
        assert_eq!(
            full.header(),
            "Bearer realm=\"airside\", error=\"insufficient_scope\", error_description=\"say hiX: y\", scope=\"a b\""
        );
        let step_up = Challenge {
            error: Some("insufficient_user_authentication"),
            step_up: Some(StepUpChallenge {
                acr_values: vec!["mfa\"".into(), "hwk".into()],
                max_age: Some(Lifetime::from_secs(0)),
            }),
            ..Challenge::default()
        };
        assert_eq!(
            step_up.header(),
            "Bearer realm=\"airside\", error=\"insufficient_user_authentication\", acr_values=\"mfa hwk\", max_age=\"0\""
        );
    }
}
