//! The ID token (OpenID Connect Core sections 2 and 3.1.3.7), a letter addressed to the client.

use serde_json::{Map, Value};
use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::encoding::base64url_encode;
use crate::jose::{Algorithm, Claims, ClaimsError, JwkSet, Jws, JwsError, Signed};
use crate::secret::Secret;
use crate::session::Session;
use crate::time::{Leeway, Lifetime, UnixTime};
use crate::url::Issuer;

/// Why an ID token opens no session.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum IdTokenError {
    /// `acr` is missing, or none of those that were asked for.
    #[error("acr is not one that was asked for")]
    Acr,
    /// `at_hash` does not belong to the access token that came with it.
    #[error("at_hash does not match")]
    AtHash,
    /// `aud` does not contain the `client_id`, or something that is not expected.
    #[error("aud does not match")]
    Audience,
    /// `azp` is not the `client_id`, or missing where several audiences need it.
    #[error("azp does not match")]
    AuthorizedParty,
    /// `auth_time` is missing although `max_age` was sent, or longer ago than that.
    #[error("authenticated too long ago")]
    AuthTime,
    /// A claim is missing or of the wrong type.
    #[error("claim missing or of the wrong type")]
    Claims,
    /// `exp` is over.
    #[error("ID token expired")]
    Expired,
    /// `iss` is not the provider's.
    #[error("iss does not match")]
    Issuer,
    /// Not well-formed, or the signature does not verify.
    #[error(transparent)]
    Jws(#[from] JwsError),
    /// `nonce` is not the one of this login attempt.
    #[error("nonce does not match")]
    Nonce,
    /// `iat` or `nbf` is in the future.
    #[error("ID token not valid yet")]
    NotYetValid,
    /// `sub` is not the session's: the ID token of a refresh is about another person.
    #[error("sub of another person")]
    OtherSubject,
    /// `iat` is before the login: the ID token of a refresh is an old one.
    #[error("issued before the session began")]
    Stale,
    /// `sub` is not 1 to 255 ASCII characters.
    #[error("sub not acceptable")]
    Subject,
    /// `typ` says that it is something else, such as an access token.
    #[error("not an ID token by its typ")]
    Typ,
}

impl From<ClaimsError> for IdTokenError {
    fn from(_: ClaimsError) -> Self {
        IdTokenError::Claims
    }
}

/// What the ID token must be.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The provider.
    pub issuer: &'a Issuer,
    /// The client it must be addressed to.
    pub client_id: &'a str,
    /// Audiences it may have beside `client_id`.
    pub additional_audiences: &'a [String],
    /// Accepted algorithms.
    pub algorithms: &'a [Algorithm],
    /// The `nonce` of the login attempt. None for the ID token of a refresh, which is then
    /// compared with the session by [`VerifiedIdToken::continues`].
    pub nonce: Option<&'a Secret<String>>,
    /// The access token that came with it.
    pub access_token: &'a Secret<String>,
    /// The `max_age` that was sent, if one was.
    pub max_age: Option<Lifetime>,
    /// The `acr_values` that were sent; empty when none were.
    pub acr_values: &'a [String],
    /// For the time claims.
    pub leeway: Leeway,
}

/// An ID token that was verified. Only [`verify`] makes one, and only one of these opens a
/// session.
#[derive(Clone, Debug)]
pub struct VerifiedIdToken {
    claims: Signed<Claims>,
    subject: String,
    issuer: String,
    auth_time: Option<UnixTime>,
    issued_at: UnixTime,
}

/// Verifies `jws` by the rules of OpenID Connect Core section 3.1.3.7.
///
/// # Errors
/// [`IdTokenError`], the first that applies.
pub fn verify(
    jws: Jws<'_>,
    expected: &Expected<'_>,
    keys: &JwkSet,
    now: UnixTime,
) -> Result<VerifiedIdToken, IdTokenError> {
    // 3.1.3.7 step 1: decrypt. Not supported here: `Jws::parse` refuses encrypted tokens.
    // Steps 6, 7 and 8, done first so that nothing unsigned is judged: the signature by a key
    // of discovery's jwks_uri. TLS instead of a signature (step 6) is not taken; the algorithm
    // is on the allow-list (step 7); MAC algorithms (step 8) do not exist here.
    let token = jws.verify(expected.algorithms, keys)?;

    // RFC 8725 section 3.11: where a `typ` tells tokens apart, it is heeded. ID tokens carry
    // `JWT` or none.
    let typ = token.header().typ.as_deref().unwrap_or("JWT");
    if !typ.eq_ignore_ascii_case("JWT") {
        return Err(IdTokenError::Typ);
    }
    // Step 2: `iss` is exactly the issuer of discovery.
    let issuer = token.string("iss")?.ok_or(IdTokenError::Claims)?;
    if issuer != expected.issuer.as_str() {
        return Err(IdTokenError::Issuer);
    }
    // Step 3: `aud` contains the client_id, and nobody who is not expected.
    let audience = token.audience()?;
    if !audience.contains(&expected.client_id) {
        return Err(IdTokenError::Audience);
    }
    let known = |entry: &&str| {
        *entry == expected.client_id || expected.additional_audiences.iter().any(|a| a == entry)
    };
    if !audience.iter().all(known) {
        return Err(IdTokenError::Audience);
    }
    // Steps 4 and 5: with several audiences `azp` must be there; when there, it is the client_id.
    match token.string("azp")? {
        Some(azp) if azp != expected.client_id => return Err(IdTokenError::AuthorizedParty),
        None if audience.len() > 1 => return Err(IdTokenError::AuthorizedParty),
        _ => {}
    }
    // Step 9: now is before `exp`, within the leeway.
    let exp = token.time("exp")?.ok_or(IdTokenError::Claims)?;
    if expected.leeway.is_past(exp, now) {
        return Err(IdTokenError::Expired);
    }
    // Step 10: `iat` is there and not in the future; so is `nbf` if there (RFC 7519 section
    // 4.1.5). No token is too old as long as it has not expired: the nonce stops replays.
    let iat = token.time("iat")?.ok_or(IdTokenError::Claims)?;
    let nbf = token.time("nbf")?.unwrap_or(iat);
    if [iat, nbf]
        .into_iter()
        .any(|start| expected.leeway.is_future(start, now))
    {
        return Err(IdTokenError::NotYetValid);
    }
    // Step 11: `nonce` is the one that was sent.
    let nonce = token.string("nonce")?.map(Secret::<String>::from);
    if let Some(sent) = expected.nonce
        && nonce.as_ref() != Some(sent)
    {
        return Err(IdTokenError::Nonce);
    }
    // Step 12: `acr` is one that was asked for. Asking with `acr_values` makes it voluntary
    // (section 5.5.1.1); who configures it wants it kept.
    let acr = token.string("acr")?;
    let wanted = |acr: &str| expected.acr_values.iter().any(|value| value == acr);
    if !expected.acr_values.is_empty() && !acr.is_some_and(wanted) {
        return Err(IdTokenError::Acr);
    }
    // Step 13: with `max_age`, `auth_time` is there and not too long ago.
    let auth_time = token.time("auth_time")?;
    if let Some(max_age) = expected.max_age {
        let auth_time = auth_time.ok_or(IdTokenError::AuthTime)?;
        if expected
            .leeway
            .is_past(auth_time.plus(max_age).plus(ONE_SECOND), now)
        {
            return Err(IdTokenError::AuthTime);
        }
    }
    // Section 3.1.3.8: `at_hash`, when there, belongs to the access token.
    if let Some(at_hash) = token.string("at_hash")? {
        let own = at_hash_of(token.header().alg, expected.access_token);
        if !bool::from(own.as_bytes().ct_eq(at_hash.as_bytes())) {
            return Err(IdTokenError::AtHash);
        }
    }
    // Section 2: `sub` is 1 to 255 ASCII characters. Visible ones: it becomes a header.
    let subject = token.string("sub")?.ok_or(IdTokenError::Subject)?;
    if !(1..=255).contains(&subject.len()) || !subject.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Err(IdTokenError::Subject);
    }
    // Unknown claims are ignored (section 2).
    let (subject, issuer) = (subject.to_owned(), issuer.to_owned());
    Ok(VerifiedIdToken {
        claims: token,
        subject,
        issuer,
        auth_time,
        issued_at: iat,
    })
}

/// What is kept of `nonce` in a session: enough to know it again.
pub fn nonce_hash(nonce: &str) -> String {
    let digest = hmac_sha256::Hash::hash(nonce.as_bytes());
    base64url_encode(digest.get(..16).unwrap_or_default())
}

/// The left half of the hash of `access_token`, by the hash function of `algorithm` (OpenID
/// Connect Core section 3.1.3.6; SHA-512 for Ed25519, as providers do).
fn at_hash_of(algorithm: Algorithm, access_token: &Secret<String>) -> String {
    let text = access_token.expose().as_bytes();
    let left = |digest: &[u8]| base64url_encode(digest.get(..digest.len() / 2).unwrap_or_default());
    match algorithm {
        Algorithm::Es256 | Algorithm::Ps256 | Algorithm::Rs256 => {
            left(&hmac_sha256::Hash::hash(text))
        }
        Algorithm::Es384 => left(&hmac_sha512::sha384::Hash::hash(text)),
        Algorithm::EdDsa => left(&hmac_sha512::Hash::hash(text)),
    }
}

/// An age of exactly `max_age` is allowed.
const ONE_SECOND: Lifetime = Lifetime::from_secs(1);

impl VerifiedIdToken {
    /// Refuses an ID token of a refresh that does not continue `session` (OpenID Connect Core
    /// section 12.2).
    ///
    /// # Errors
    /// [`IdTokenError`], the first that applies.
    pub fn continues(&self, session: &Session, leeway: Leeway) -> Result<(), IdTokenError> {
        // `iss` and `sub` are those of the login.
        if self.issuer != session.issuer {
            return Err(IdTokenError::Issuer);
        }
        if self.subject != session.subject {
            return Err(IdTokenError::OtherSubject);
        }
        // `iat` is when it was issued: after the login, or it is of another one.
        if leeway.is_past(self.issued_at, session.created_at) {
            return Err(IdTokenError::Stale);
        }
        // `aud` contains the client_id and nobody who is not expected: `verify`, as at login.
        // `auth_time` is the time of the original authentication, not that of the refresh.
        if let (Some(then), Some(now)) = (session.auth_time, self.auth_time)
            && then != now
        {
            return Err(IdTokenError::AuthTime);
        }
        // `nonce` need not be there; when it is, it is the login's.
        if let Some(nonce) = self.claims.string("nonce")?
            && session.nonce_hash.as_deref() != Some(&nonce_hash(nonce))
        {
            return Err(IdTokenError::Nonce);
        }
        Ok(())
    }

    /// `iss`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `sub`, 1 to 255 ASCII characters, unique together with `iss` only.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// `auth_time`.
    pub fn auth_time(&self) -> Option<UnixTime> {
        self.auth_time
    }

    /// `acr`.
    pub fn acr(&self) -> Option<&str> {
        self.claims.string("acr").ok().flatten()
    }

    /// `amr`; entries that are not strings count as none.
    pub fn amr(&self) -> Vec<String> {
        self.claims
            .strings("amr")
            .unwrap_or_default()
            .into_iter()
            .map(str::to_owned)
            .collect()
    }

    /// `nonce`.
    pub fn nonce(&self) -> Option<&str> {
        self.claims.string("nonce").ok().flatten()
    }

    /// `sid`, the provider's session.
    pub fn sid(&self) -> Option<&str> {
        self.claims.string("sid").ok().flatten()
    }

    /// All claims, the protocol's own included.
    pub fn claims(&self) -> Map<String, Value> {
        self.claims.filtered(|_| true)
    }
}

#[cfg(test)]
mod tests;
