//! The logout token (OpenID Connect Back-Channel Logout 1.0 sections 2.4 and 2.6): the provider
//! says, behind the browser's back, that a session is over.
//!
//! Tokens of older drafts are accepted where they can be told apart: `typ` may be `JWT` or
//! missing, since `events` is there and `nonce` is not; `exp` may be missing, and the token then
//! counts for five minutes from `iat`.
//!
//! Not here: the choice of the key set, replays of `jti`, and what is ended
//! (`endpoint::backchannel_logout`, `session::revocation`).

use serde_json::Value;
use thiserror::Error;

use crate::jose::{Algorithm, Claims, ClaimsError, JwkSet, Jws, JwsError, Signed};
use crate::time::{Leeway, Lifetime, UnixTime};
use crate::url::Issuer;

/// The member of `events` that makes a token a logout token.
pub const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// How long a token without `exp` counts, from `iat`.
const WITHOUT_EXP: Lifetime = Lifetime::from_secs(300);
/// No token counts longer than this from `iat`, whatever its `exp`: so long its `jti` is kept.
/// Section 2.4 asks for two minutes.
const LONGEST: Lifetime = Lifetime::from_secs(3_600);

/// Why a logout token ends nothing.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum LogoutTokenError {
    /// `aud` does not contain the `client_id`, or something that is not expected.
    #[error("aud does not match")]
    Audience,
    /// A claim is missing or of the wrong type.
    #[error("claim missing or of the wrong type")]
    Claims,
    /// `events` is missing, or lacks the event of a logout.
    #[error("no logout event")]
    Events,
    /// `exp` is over, or `iat` too long ago.
    #[error("logout token expired")]
    Expired,
    /// `iss` is not the provider's.
    #[error("iss does not match")]
    Issuer,
    /// Not well-formed, or the signature does not verify.
    #[error(transparent)]
    Jws(#[from] JwsError),
    /// Not a form with one `logout_token`.
    #[error("not a logout request")]
    Malformed,
    /// `nonce` is there: an ID token passed off as a logout token.
    #[error("nonce is there")]
    Nonce,
    /// `iat` is in the future.
    #[error("logout token not valid yet")]
    NotYetValid,
    /// `jti` was used before.
    #[error("logout token used before")]
    Replayed,
    /// Neither `sub` nor `sid`.
    #[error("neither sub nor sid")]
    Subject,
    /// `typ` says that it is something else, such as an access token.
    #[error("not a logout token by its typ")]
    Typ,
}

impl From<ClaimsError> for LogoutTokenError {
    fn from(_: ClaimsError) -> Self {
        LogoutTokenError::Claims
    }
}

/// What a logout token must be.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The provider.
    pub issuer: &'a Issuer,
    /// The client it must be addressed to.
    pub client_id: &'a str,
    /// Audiences it may have beside `client_id`.
    pub additional_audiences: &'a [String],
    /// Accepted algorithms: those of ID tokens.
    pub algorithms: &'a [Algorithm],
    /// For the time claims.
    pub leeway: Leeway,
}

/// A logout token that was verified. Only [`verify`] makes one.
#[derive(Clone, Debug)]
pub struct VerifiedLogoutToken {
    claims: Signed<Claims>,
    jti: String,
    ends_at: UnixTime,
}

/// Verifies `jws` by the rules of section 2.6.
///
/// # Errors
/// [`LogoutTokenError`], the first that applies.
pub fn verify(
    jws: Jws<'_>,
    expected: &Expected<'_>,
    keys: &JwkSet,
    now: UnixTime,
) -> Result<VerifiedLogoutToken, LogoutTokenError> {
    // Step 1: decrypt. Not supported here: `Jws::parse` refuses encrypted tokens.
    // Steps 2 and 3: the signature and its algorithm, as of ID tokens; never `none`, which
    // cannot be named here.
    let token = jws.verify(expected.algorithms, keys)?;

    // Section 2.4: `typ` should be `logout+jwt`; it need not be.
    let typ = token.header().typ.as_deref().unwrap_or("JWT");
    let known = ["logout+jwt", "application/logout+jwt", "JWT"];
    if !known.iter().any(|known| typ.eq_ignore_ascii_case(known)) {
        return Err(LogoutTokenError::Typ);
    }
    // Step 4: `iss`, `aud`, `iat` and `exp`, as of ID tokens. `azp` is no claim of logout tokens.
    if token.string("iss")?.ok_or(LogoutTokenError::Claims)? != expected.issuer.as_str() {
        return Err(LogoutTokenError::Issuer);
    }
    let audience = token.audience()?;
    let known = |entry: &&str| {
        *entry == expected.client_id || expected.additional_audiences.iter().any(|a| a == entry)
    };
    if !audience.contains(&expected.client_id) || !audience.iter().all(known) {
        return Err(LogoutTokenError::Audience);
    }
    let iat = token.time("iat")?.ok_or(LogoutTokenError::Claims)?;
    if expected.leeway.is_future(iat, now) {
        return Err(LogoutTokenError::NotYetValid);
    }
    let exp = token.time("exp")?.unwrap_or(iat.plus(WITHOUT_EXP));
    let ends_at = exp.min(iat.plus(LONGEST));
    if expected.leeway.is_past(ends_at, now) {
        return Err(LogoutTokenError::Expired);
    }
    // Step 5: `sub` or `sid` or both. Empty ones name nobody.
    let subject = token.string("sub")?;
    let sid = token.string("sid")?;
    if subject == Some("") || sid == Some("") || (subject.is_none() && sid.is_none()) {
        return Err(LogoutTokenError::Subject);
    }
    // Step 6: `events` is an object that has this member, which is an object.
    let event = token.get("events").and_then(|events| events.get(EVENT));
    if !event.is_some_and(Value::is_object) {
        return Err(LogoutTokenError::Events);
    }
    // Step 7: no `nonce`, whatever its value.
    if token.has("nonce") {
        return Err(LogoutTokenError::Nonce);
    }
    // Section 2.4: `jti` is required. Step 8, replays, is the caller's, who has the store.
    let jti = token.string("jti")?.filter(|jti| !jti.is_empty());
    let jti = jti.ok_or(LogoutTokenError::Claims)?.to_owned();
    // Steps 9 to 11 compare with recent sessions: the marks do, whenever one comes along.
    Ok(VerifiedLogoutToken {
        claims: token,
        jti,
        ends_at: ends_at.plus(expected.leeway.as_lifetime()),
    })
}

impl VerifiedLogoutToken {
    /// `sub`.
    pub fn subject(&self) -> Option<&str> {
        self.claims.string("sub").ok().flatten()
    }

    /// `sid`.
    pub fn sid(&self) -> Option<&str> {
        self.claims.string("sid").ok().flatten()
    }

    /// `jti`, unique for the issuer.
    pub fn jti(&self) -> &str {
        &self.jti
    }

    /// From when on the token would be refused as expired: so long its `jti` must be remembered.
    pub fn ends_at(&self) -> UnixTime {
        self.ends_at
    }
}

#[cfg(test)]
mod tests;
