//! JWT access tokens (RFC 9068), as the resource server sees them.
//!
//! Not checked here, because they depend on the route: audience, scope, and which issuer is
//! trusted for it. See `policy::decision`.

mod claim_rule;
mod kind;
mod shape;

pub use claim_rule::{ClaimRule, ClaimTest};
pub use kind::TokenKind;
pub use shape::{AudienceClaim, ScopeClaim, TokenShape};

use thiserror::Error;

use crate::jose::{Algorithm, Claims, ClaimsError, Jwk, JwkSet, Jws, JwsError, Signed};
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
    /// False accepts only `typ: at+jwt` (RFC 9068 section 4), or what `shape` says instead.
    pub danger_any_typ: bool,
    /// For the time claims of access tokens.
    pub leeway: Leeway,
    /// Where its claims are.
    pub shape: TokenShape,
    /// What routes ask of its claims. They cannot change within a token, so each token is
    /// judged by them once.
    pub claim_rules: Vec<ClaimRule>,
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
    /// The issuer says that it is not active: over, revoked, or never issued (RFC 7662
    /// section 2.2).
    #[error("token not active")]
    Inactive,
    /// `iss` is not the issuer whose key signed it, or that was asked about it.
    #[error("iss does not match")]
    Issuer,
    /// Not well-formed, or the signature does not verify.
    #[error(transparent)]
    Jws(#[from] JwsError),
    /// `nbf` or `iat` is in the future.
    #[error("token not valid yet")]
    NotYetValid,
    /// A claim is not what the issuer's access tokens have there.
    #[error("a required claim has another value")]
    RequiredClaim,
    /// By what the issuer says of it, it is no bearer token: a refresh token, or one that is
    /// bound to a key.
    #[error("not a bearer token")]
    TokenType,
    /// `typ` is not `at+jwt`.
    #[error("not an access token by its typ")]
    Typ,
}

impl From<ClaimsError> for AccessTokenError {
    fn from(_: ClaimsError) -> Self {
        AccessTokenError::Claims
    }
}

/// An access token whose signature, type, issuer and times were verified, or of which its issuer
/// said as much when asked.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifiedAccessToken {
    issuer: String,
    subject: String,
    client_id: String,
    audience: Vec<String>,
    scope: String,
    expires_at: UnixTime,
    subject_is_client: bool,
    says_access_token: bool,
    auth_time: Option<UnixTime>,
    acr: Option<String>,
    amr: Vec<String>,
    /// For each of the issuer's `claim_rules`.
    rules_met: Box<[bool]>,
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
    /// What a token whose signature is good is instead, if its claims tell.
    pub kind: Option<TokenKind>,
}

impl<E: Into<AccessTokenError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Refusal {
            error: error.into(),
            audience: Vec::new(),
            kind: None,
        }
    }
}

/// Verifies `jws` as an access token of `issuer` (RFC 9068 section 4). `vouched` is whether its
/// signature was verified before with the key that fits, see [`Jws::verify_unless`].
///
/// # Errors
/// [`Refusal`]; its audience and kind are filled only once the signature verified.
pub fn verify(
    jws: Jws<'_>,
    issuer: &TokenIssuer,
    keys: &JwkSet,
    vouched: &dyn Fn(&Jwk) -> bool,
    now: UnixTime,
) -> Result<VerifiedAccessToken, Refusal> {
    // 1. Encrypted tokens: refused by `Jws::parse`, with their own code.
    // 2. The signature, by a key of the issuer, with an algorithm of the allow-list.
    let signed = jws.verify_unless(vouched, &issuer.algorithms, keys)?;
    judge(&signed, issuer, now).map_err(|error| Refusal {
        error,
        kind: TokenKind::of_claims(&signed),
        audience: owned(signed.audience().unwrap_or_default()),
    })
}

fn judge(
    token: &Signed<Claims>,
    issuer: &TokenIssuer,
    now: UnixTime,
) -> Result<VerifiedAccessToken, AccessTokenError> {
    let shape = &issuer.shape;
    // 3. The issuer says that it is an access token: by `typ`, whose media types compare
    //    without regard to case (RFC 9068 section 4, RFC 7515 section 4.1.9), or by a claim
    //    that tells its tokens apart.
    let typ = token.header().typ.as_deref().unwrap_or_default();
    let is_at_jwt = ["at+jwt", "application/at+jwt"]
        .iter()
        .any(|known| typ.eq_ignore_ascii_case(known));
    let is_untold = typ.is_empty() || typ.eq_ignore_ascii_case("JWT");
    let tolerated = issuer.danger_any_typ || shape.kind.is_some();
    if !(is_at_jwt || is_untold && tolerated) {
        return Err(AccessTokenError::Typ);
    }
    if let Some((name, values)) = shape.kind
        && !token
            .string(name)?
            .is_some_and(|value| values.contains(&value))
    {
        return Err(AccessTokenError::RequiredClaim);
    }
    // `client_id` stands for `aud` only where `token_use` is required to say it.
    let by_claim = shape.kind.is_some() || shape.audience == AudienceClaim::ClientId;
    let says_access_token = is_at_jwt || by_claim;
    // Nobody says it, and it looks like an ID token: then it counts as one.
    if !says_access_token && kind::has_id_token_claims(token) {
        return Err(AccessTokenError::Typ);
    }
    claims(token, issuer, says_access_token, now)
}

/// Judges what is said of a token, by itself or by its issuer when asked about it.
pub(super) fn claims(
    token: &Claims,
    issuer: &TokenIssuer,
    says_access_token: bool,
    now: UnixTime,
) -> Result<VerifiedAccessToken, AccessTokenError> {
    let shape = &issuer.shape;
    let text = |name| -> Result<Option<&str>, AccessTokenError> {
        Ok(token.string(name)?.filter(|text| !text.is_empty()))
    };
    let required = |name| text(name)?.ok_or(AccessTokenError::Claims);
    // 4. `iss` is exactly the issuer (RFC 9068 section 4), and the claims that the
    //    configuration wants are what it wants.
    if required("iss")? != issuer.issuer.as_str() {
        return Err(AccessTokenError::Issuer);
    }
    for (name, value) in &shape.required {
        if token.string(name)? != Some(value) {
            return Err(AccessTokenError::RequiredClaim);
        }
    }
    // 5. `aud` is there, a string or an array of strings; that it names the API is judged by
    //    the route's rule. Where `client_id` stands for it, `aud` must not be there: the token
    //    would be addressed to somebody in particular.
    let audience = match (shape.audience, token.audience()?) {
        (AudienceClaim::Aud, audience) if !audience.is_empty() => audience,
        (AudienceClaim::ClientId, audience) if audience.is_empty() => vec![required("client_id")?],
        _ => return Err(AccessTokenError::Claims),
    };
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
    let mut client_id = None;
    for name in &shape.client_id {
        client_id = client_id.or(text(name)?);
    }
    let client_id = client_id.ok_or(AccessTokenError::Claims)?;
    // These become header values for the upstream.
    let fits =
        |text: &str| text.len() <= 255 && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    // 9. The scopes (RFC 9068 section 2.2.3). Absent means none.
    let scope = scope(token, shape.scope)?;
    let scope_fits =
        scope.len() <= 4_096 && scope.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if !fits(subject) || !fits(client_id) || !scope_fits {
        return Err(AccessTokenError::Claims);
    }
    // 10. How the person authenticated (RFC 9068 section 2.2.1). What is of the wrong type or
    //     too long is not known, and so never enough.
    let short = |text: &str| text.len() <= 255;
    let acr = token.string("acr").ok().flatten().filter(|acr| short(acr));
    let amr = token.strings("amr").unwrap_or_default();
    let amr = amr.into_iter().filter(|one| short(one)).take(16);
    Ok(VerifiedAccessToken {
        issuer: issuer.issuer.as_str().to_owned(),
        subject: subject.to_owned(),
        client_id: client_id.to_owned(),
        audience: owned(audience),
        scope,
        expires_at,
        subject_is_client: subject == client_id || is_of_client(token, subject),
        says_access_token,
        auth_time: token.time("auth_time").ok().flatten(),
        acr: acr.map(str::to_owned),
        amr: owned(amr.collect()),
        rules_met: issuer
            .claim_rules
            .iter()
            .map(|rule| rule.is_met(token))
            .collect(),
    })
}

fn owned(list: Vec<&str>) -> Vec<String> {
    list.into_iter().map(str::to_owned).collect()
}

fn scope(token: &Claims, claim: ScopeClaim) -> Result<String, AccessTokenError> {
    match claim {
        ScopeClaim::Scope => Ok(token.string("scope")?.unwrap_or_default().to_owned()),
        ScopeClaim::Scp => {
            let is_list = token.get("scp").is_some_and(serde_json::Value::is_array);
            let scopes = token.strings("scp")?;
            // One member of a list is one scope, whatever it contains.
            if is_list && scopes.iter().any(|one| one.is_empty() || one.contains(' ')) {
                return Err(AccessTokenError::Claims);
            }
            Ok(scopes.join(" "))
        }
    }
}

/// True when the claims say that a client acts for itself although its `sub` is another than
/// its `client_id`. In doubt a client: it must not pose as a person.
fn is_of_client(token: &Claims, subject: &str) -> bool {
    let is = |name: &str, value: &str| token.string(name) == Ok(Some(value));
    let username = token.string("preferred_username").ok().flatten();
    // Auth0.
    is("gty", "client-credentials")
        || subject.ends_with("@clients")
        // Entra ID: `idtyp` has to be asked for; without it, a token that grants no scopes and
        // whose `sub` is an object of the directory.
        || is("idtyp", "app")
        || (is("oid", subject) && token.get("scp").is_none())
        // Keycloak: a client acts as a user of its own.
        || username.is_some_and(|name| name.starts_with("service-account-"))
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
        // By bytes: quicker than by characters, and no character but the space has that byte.
        let mut granted = self.scope.as_bytes().split(|byte| *byte == b' ');
        granted.any(|granted| granted == scope.as_bytes())
    }

    /// `exp`.
    pub fn expires_at(&self) -> UnixTime {
        self.expires_at
    }

    /// True when a client acts for itself (client_credentials), not a person.
    pub fn subject_is_client(&self) -> bool {
        self.subject_is_client
    }

    /// True when the issuer says that it is an access token, by `typ` or by a claim; false
    /// where `danger_any_typ` lets pass what says nothing.
    pub fn says_access_token(&self) -> bool {
        self.says_access_token
    }

    /// `auth_time`.
    pub fn auth_time(&self) -> Option<UnixTime> {
        self.auth_time
    }

    /// `acr`, at most 255 bytes.
    pub fn acr(&self) -> Option<&str> {
        self.acr.as_deref()
    }

    /// `amr`, at most 16 entries.
    pub fn amr(&self) -> &[String] {
        &self.amr
    }

    /// True when its claims are as the issuer's rule with this index wants them.
    pub fn meets(&self, claim_rule: usize) -> bool {
        self.rules_met.get(claim_rule) == Some(&true)
    }

    /// A bound for how much memory it takes.
    pub fn size(&self) -> usize {
        let list = |list: &[String]| -> usize {
            list.iter()
                .map(|entry| entry.len() + size_of::<String>())
                .sum()
        };
        size_of::<Self>()
            + self.issuer.len()
            + self.subject.len()
            + self.client_id.len()
            + self.scope.len()
            + list(&self.audience)
            + self.acr.as_ref().map_or(0, String::len)
            + list(&self.amr)
            + self.rules_met.len()
    }
}

#[cfg(test)]
mod tests;
