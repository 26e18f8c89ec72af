//! Token introspection (RFC 7662): what the issuer says of a token that nobody else can read.
//!
//! Not checked here, because they depend on the route: audience, scope, and that the issuer is
//! that of the route. See `policy::decision`.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Map, Value};

use crate::jose::Claims;
use crate::oauth::access_token::{self, AccessTokenError, TokenIssuer, VerifiedAccessToken};
use crate::oauth::form::Form;
use crate::oauth::token::{TokenError, refusal};
use crate::secret::Secret;
use crate::time::UnixTime;

/// The request (section 2.1). Its hint is no promise: an answer may be about another kind of
/// token nevertheless.
pub fn introspection(token: &Secret<String>) -> Form {
    Form::new("token", token.expose()).with("token_type_hint", "access_token")
}

/// Reads the response (section 2.2): what the issuer says of an active token, `None` of one
/// that is not active.
///
/// # Errors
/// [`TokenError`]: nothing was said. `active` must be there and be a boolean.
pub fn read_introspection(response: &Response<Bytes>) -> Result<Option<Claims>, TokenError> {
    if response.status() != StatusCode::OK {
        return match refusal(response) {
            // What is no token of its kind is none that is active: some refuse to look at
            // anything that looks like a JWT to them.
            (_, Some(error)) if error == "unsupported_token_type" => Ok(None),
            (error, _) => Err(error),
        };
    }
    let answer = Claims::parse(response.body()).map_err(|_| TokenError::Malformed)?;
    match answer.get("active").and_then(Value::as_bool) {
        Some(true) => Ok(Some(answer)),
        Some(false) => Ok(None),
        None => Err(TokenError::Malformed),
    }
}

/// Judges what `issuer` says of an active token, by the rules for the claims of a JWT. What an
/// answer need not have (section 2.2) is filled in: `iss` by the issuer that was asked, `exp` by
/// `until`, the time until which the answer counts, and `sub`, where `client_tokens` says that
/// tokens of clients have none, by `client_id`.
///
/// # Errors
/// [`AccessTokenError`].
pub fn verify(
    answer: Claims,
    issuer: &TokenIssuer,
    client_tokens: bool,
    until: UnixTime,
    now: UnixTime,
) -> Result<VerifiedAccessToken, AccessTokenError> {
    // 1. It is active (section 2.2).
    if answer.get("active") != Some(&Value::Bool(true)) {
        return Err(AccessTokenError::Inactive);
    }
    // 2. It is an access token. A refresh token is active too, and `token_type` is what it does
    //    not have; where nothing else tells them apart, it must be there.
    let token_type = answer.string("token_type")?;
    let token_use = answer.string("token_use")?;
    let is_bearer = token_type.is_none_or(|text| text.eq_ignore_ascii_case("bearer"));
    let is_access = token_use.is_none_or(|text| matches!(text, "access" | "access_token"));
    let told = token_type.is_some() || token_use.is_some() || answer.get("aud").is_some();
    // 3. It is good for whoever holds it. One that is bound to a key (RFC 7800 section 3.1)
    //    needs a proof that nobody asked for.
    if !is_bearer || !is_access || !told || answer.get("cnf").is_some() {
        return Err(AccessTokenError::TokenType);
    }
    // 4. The rest as for a JWT.
    let of_client = client_tokens && answer.get("username").is_none();
    let mut members = answer.into_members();
    fill(&mut members, "iss", issuer.issuer.as_str().into());
    fill(&mut members, "exp", until.as_secs().into());
    if of_client && let Some(client_id) = members.get("client_id").cloned() {
        fill(&mut members, "sub", client_id);
    }
    access_token::claims(&Claims::from(members), issuer, true, now)
}

/// Puts `value` where nothing is; `null` is as good as nothing.
fn fill(members: &mut Map<String, Value>, name: &str, value: Value) {
    let member = members.entry(name).or_insert(Value::Null);
    if member.is_null() {
        *member = value;
    }
}

#[cfg(test)]
mod tests;
