//! The UserInfo response (OpenID Connect Core section 5.3): more claims about the person whose
//! ID token was verified.
//!
//! Not here: fetching it, and the choice of the key set for a signed response
//! (`endpoint::callback`). Encrypted responses are not supported.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::jose::{Algorithm, Claims, ClaimsError, JwkSet, Jws, JwsError};
use crate::oidc::id_token::VerifiedIdToken;
use crate::secret::Secret;
use crate::time::{Leeway, UnixTime};
use crate::url::HttpsUrl;

/// Why a UserInfo response does not count.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum UserInfoError {
    /// `aud` of a signed response does not contain the `client_id`.
    #[error("aud does not match")]
    Audience,
    /// A signed response whose time is over, or has not come.
    #[error("not valid now")]
    Expired,
    /// `iss` of a signed response is not the provider's.
    #[error("iss does not match")]
    Issuer,
    /// A signed response that is not well-formed, or does not verify.
    #[error(transparent)]
    Jws(#[from] JwsError),
    /// Neither a JSON object nor a signed one, or a claim of a wrong type.
    #[error("not a UserInfo response")]
    Malformed,
    /// The provider refused the access token.
    #[error("provider refused the access token")]
    Refused,
    /// `sub` is missing or of another person (section 5.3.2).
    #[error("sub is not the ID token's")]
    Subject,
    /// A 5xx or a redirect.
    #[error("provider failed")]
    Unavailable,
}

impl From<ClaimsError> for UserInfoError {
    fn from(_: ClaimsError) -> Self {
        UserInfoError::Malformed
    }
}

/// The UserInfo request: the access token in the header, never in body or query (section 5.3.1).
///
/// # Errors
/// [`UserInfoError::Malformed`] when the access token cannot stand in a header.
pub fn request(
    userinfo_endpoint: &HttpsUrl,
    access_token: &Secret<String>,
) -> Result<Request<Bytes>, UserInfoError> {
    let bearer = format!("Bearer {}", access_token.expose());
    let mut bearer = HeaderValue::try_from(bearer).map_err(|_| UserInfoError::Malformed)?;
    bearer.set_sensitive(true);
    Request::get(userinfo_endpoint.as_str())
        .header(ACCEPT, "application/json, application/jwt")
        .header(AUTHORIZATION, bearer)
        .body(Bytes::new())
        .map_err(|_| UserInfoError::Malformed)
}

/// What the provider sent, by its media type.
#[derive(Debug)]
pub enum Answer<'a> {
    /// Claims, protected by TLS.
    Json(Claims),
    /// A signed claims set, not verified yet.
    Signed(Jws<'a>),
}

/// Reads the response. `application/jwt` is a signed response and never taken for JSON, nor the
/// other way round.
///
/// # Errors
/// [`UserInfoError`]; free text of the provider is not kept.
pub fn read(response: &Response<Bytes>) -> Result<Answer<'_>, UserInfoError> {
    match response.status() {
        StatusCode::OK => {}
        status if status.is_client_error() => return Err(UserInfoError::Refused),
        _ => return Err(UserInfoError::Unavailable),
    }
    let media_type = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or_default();
    if media_type.trim().eq_ignore_ascii_case("application/jwt") {
        let text = std::str::from_utf8(response.body()).map_err(|_| UserInfoError::Malformed)?;
        Ok(Answer::Signed(Jws::parse(text.trim())?))
    } else {
        Ok(Answer::Json(Claims::parse(response.body())?))
    }
}

/// Who a signed response must be from and for.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Accepted algorithms.
    pub algorithms: &'a [Algorithm],
    /// The client it must be addressed to.
    pub client_id: &'a str,
    /// For the time claims.
    pub leeway: Leeway,
}

/// The claims of a signed response about the person of `id_token` (section 5.3.2): signed by a
/// key of the issuer; `iss`, `aud`, `exp` and `nbf` fit where they are there, as they should be
/// but need not.
///
/// # Errors
/// [`UserInfoError`], the first that applies.
pub fn verify_signed(
    jws: Jws<'_>,
    id_token: &VerifiedIdToken,
    expected: &Expected<'_>,
    keys: &JwkSet,
    now: UnixTime,
) -> Result<Map<String, Value>, UserInfoError> {
    let claims = jws.verify(expected.algorithms, keys)?;
    if claims
        .string("iss")?
        .is_some_and(|iss| iss != id_token.issuer())
    {
        return Err(UserInfoError::Issuer);
    }
    let audience = claims.audience()?;
    if !audience.is_empty() && !audience.contains(&expected.client_id) {
        return Err(UserInfoError::Audience);
    }
    let over = claims
        .time("exp")?
        .is_some_and(|exp| expected.leeway.is_past(exp, now));
    let early = claims
        .time("nbf")?
        .is_some_and(|nbf| expected.leeway.is_future(nbf, now));
    if over || early {
        return Err(UserInfoError::Expired);
    }
    of_same_person(&claims, id_token)
}

/// The claims of a JSON response about the person of `id_token`.
///
/// # Errors
/// [`UserInfoError::Subject`] for another person, [`UserInfoError::Malformed`].
pub fn verify_json(
    claims: &Claims,
    id_token: &VerifiedIdToken,
) -> Result<Map<String, Value>, UserInfoError> {
    of_same_person(claims, id_token)
}

/// Section 5.3.2: `sub` must be there and be exactly the ID token's, or nothing of the response
/// may be used (token substitution).
fn of_same_person(
    claims: &Claims,
    id_token: &VerifiedIdToken,
) -> Result<Map<String, Value>, UserInfoError> {
    if claims.string("sub")? != Some(id_token.subject()) {
        return Err(UserInfoError::Subject);
    }
    Ok(claims.filtered(|_| true))
}

/// Adds what `userinfo` says beyond the ID token. The ID token's claims win. A value and the
/// claim that it was verified come from one source, or agree: an address of one source is never
/// vouched for by the other.
pub fn merge(mut id_token: Map<String, Value>, userinfo: Map<String, Value>) -> Map<String, Value> {
    const VOUCHED: [(&str, &str); 2] = [
        ("email", "email_verified"),
        ("phone_number", "phone_number_verified"),
    ];
    let differs: Vec<&str> = VOUCHED
        .into_iter()
        .filter(|(value, verified)| {
            (id_token.contains_key(*value) || id_token.contains_key(*verified))
                && id_token.get(*value) != userinfo.get(*value)
        })
        .flat_map(|(value, verified)| [value, verified])
        .collect();
    for (name, value) in userinfo {
        if !differs.contains(&name.as_str()) {
            id_token.entry(name).or_insert(value);
        }
    }
    id_token
}

#[cfg(test)]
mod tests;
