//! JWT access tokens (RFC 9068), as the resource server sees them.
//!
//! Not checked here, because they depend on the route: audience, scope, and which issuer is
//! trusted for it. See `policy::decision`.

use thiserror::Error;

use crate::jose::{Algorithm, Claims, ClaimsError, JwkSet, Jws, JwsError, Signed};
use crate::time::{Leeway, UnixTime};
use crate::url::Issuer;

/// An authorization server whose access tokens count.
#[derive(Clone, Debug)]
pub struct TokenIssuer {
    /// Its name in the configuration.
    pub name: String,
    /// Its issuer identifier.
    pub issuer: Issuer,
    /// Accepted for access tokens.
    pub algorithms: Vec<Algorithm>,
    /// False accepts only `typ: at+jwt` (RFC 9068 section 4).
    pub danger_any_typ: bool,
    /// For the time claims of access tokens.
    pub leeway: Leeway,
}

/// Why a JWT is no access token of the issuer.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AccessTokenError {
    /// A claim is missing or of the wrong type.
    #[error("claim missing or of the wrong type")]
    Claims,
    /// `exp` is over.
    #[error("token expired")]
    Expired,
    /// `iss` is not the issuer whose key signed it.
    #[error("iss does not match")]
    Issuer,
    /// Not well-formed, or the signature does not verify.
    #[error(transparent)]
    Jws(#[from] JwsError),
    /// `nbf` or `iat` is in the future.
    #[error("token not valid yet")]
    NotYetValid,
    /// `typ` is not `at+jwt`.
    #[error("not an access token by its typ")]
    Typ,
}

impl From<ClaimsError> for AccessTokenError {
    fn from(_: ClaimsError) -> Self {
        AccessTokenError::Claims
    }
}

/// An access token whose signature, type, issuer and times were verified.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifiedAccessToken {
    issuer: String,
    subject: String,
    client_id: String,
    audience: Vec<String>,
    scope: String,
    expires_at: UnixTime,
}

impl std::fmt::Debug for VerifiedAccessToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifiedAccessToken")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

/// A refusal after the signature was verified, with what it was addressed to: enough to tell
/// an ID token by its audience.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub error: AccessTokenError,
    /// `aud` of a token whose signature is good; empty before that.
    pub audience: Vec<String>,
    /// True when the signature is good and there are claims that only ID tokens have.
    pub looks_like_id_token: bool,
}

impl<E: Into<AccessTokenError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Refusal {
            error: error.into(),
            audience: Vec::new(),
            looks_like_id_token: false,
        }
    }
}

/// Verifies `jws` as an access token of `issuer` (RFC 9068 section 4).
///
/// # Errors
/// [`Refusal`]; its audience is filled only once the signature verified.
pub fn verify(
    jws: Jws<'_>,
    issuer: &TokenIssuer,
    keys: &JwkSet,
    now: UnixTime,
) -> Result<VerifiedAccessToken, Refusal> {
    // 1. Encrypted tokens: refused by `Jws::parse`, with their own code.
    // 2. The signature, by a key of the issuer, with an algorithm of the allow-list.
    let signed = jws.verify(&issuer.algorithms, keys)?;
    let audience: Vec<String> = signed
        .audience()
        .unwrap_or_default()
        .into_iter()
        .map(str::to_owned)
        .collect();
    let judged = judge(&signed, issuer, &audience, now);
    judged.map_err(|error| Refusal {
        error,
        looks_like_id_token: ["nonce", "at_hash", "c_hash"]
            .iter()
            .any(|name| signed.get(name).is_some()),
        audience,
    })
}

fn judge(
    token: &Signed<Claims>,
    issuer: &TokenIssuer,
    audience: &[String],
    now: UnixTime,
) -> Result<VerifiedAccessToken, AccessTokenError> {
    let required = |name| {
        token
            .string(name)?
            .filter(|text| !text.is_empty())
            .ok_or(AccessTokenError::Claims)
    };
    // 3. `typ` says access token; media types compare without regard to case (RFC 9068
    //    section 4, RFC 7515 section 4.1.9).
    let typ = token.header().typ.as_deref().unwrap_or_default();
    let is_at_jwt = ["at+jwt", "application/at+jwt"]
        .iter()
        .any(|known| typ.eq_ignore_ascii_case(known));
    let tolerated = issuer.danger_any_typ && (typ.is_empty() || typ.eq_ignore_ascii_case("JWT"));
    if !is_at_jwt && !tolerated {
        return Err(AccessTokenError::Typ);
    }
    // 4. `iss` is exactly the issuer (RFC 9068 section 4).
    if required("iss")? != issuer.issuer.as_str() {
        return Err(AccessTokenError::Issuer);
    }
    // 5. `aud` is there, a string or an array of strings; that it names the API is judged by
    //    the route's rule.
    if token.audience()?.is_empty() {
        return Err(AccessTokenError::Claims);
    }
    // 6. `exp` is there and not over (RFC 7519 section 4.1.4).
    let expires_at = token.time("exp")?.ok_or(AccessTokenError::Claims)?;
    if issuer.leeway.is_past(expires_at, now) {
        return Err(AccessTokenError::Expired);
    }
    // 7. `nbf` and `iat`, when there, are not in the future (RFC 7519 sections 4.1.5 and 4.1.6).
    for name in ["nbf", "iat"] {
        if token
            .time(name)?
            .is_some_and(|start| issuer.leeway.is_future(start, now))
        {
            return Err(AccessTokenError::NotYetValid);
        }
    }
    // 8. Who acts, and through which client (RFC 9068 section 2.2). `jti` identifies the token
    //    to its issuer only: not needed here.
    let subject = required("sub")?;
    let client_id = required("client_id")?;
    // These become header values for the upstream.
    let fits =
        |text: &str| text.len() <= 255 && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    // 9. `scope`, a space-separated string (RFC 9068 section 2.2.3). Absent means none.
    let scope = token.string("scope")?.unwrap_or_default();
    let scope_fits =
        scope.len() <= 4_096 && scope.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if !fits(subject) || !fits(client_id) || !scope_fits {
        return Err(AccessTokenError::Claims);
    }
    Ok(VerifiedAccessToken {
        issuer: issuer.issuer.as_str().to_owned(),
        subject: subject.to_owned(),
        client_id: client_id.to_owned(),
        audience: audience.to_vec(),
        scope: scope.to_owned(),
        expires_at,
    })
}

impl VerifiedAccessToken {
    /// `iss`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `sub`, at most 255 visible ASCII characters.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// `client_id`.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// `aud`.
    pub fn audience(&self) -> &[String] {
        &self.audience
    }

    /// `scope` as issued; may be empty.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// True when `scope` was granted.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scope.split(' ').any(|granted| granted == scope)
    }

    /// `exp`.
    pub fn expires_at(&self) -> UnixTime {
        self.expires_at
    }

    /// A bound for how much memory it takes.
    pub fn size(&self) -> usize {
        size_of::<Self>()
            + self.issuer.len()
            + self.subject.len()
            + self.client_id.len()
            + self.scope.len()
            + self
                .audience
                .iter()
                .map(|entry| entry.len() + size_of::<String>())
                .sum::<usize>()
    }
}

#[cfg(test)]
mod tests;
