//! The decision: a token and a rule in, a [`Permit`] or a [`DenialReason`] out.
//!
//! Judged at every request, also for a token that was verified before: its time, its issuer,
//! its audience, its scope, its claims, and how its person authenticated.

use thiserror::Error;

use crate::oauth::access_token::{TokenIssuer, VerifiedAccessToken};
use crate::policy::rule::TokenRule;
use crate::policy::step_up::{Authentication, StepUp};
use crate::session::Session;
use crate::time::{Leeway, UnixTime};

/// Leave to pass, and who passes. Only this module makes one; the headers for the upstream
/// are written from it and from nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    issuer: String,
    subject: String,
    client_id: Option<String>,
    scope: Option<String>,
    subject_type: SubjectType,
    auth_time: Option<UnixTime>,
    acr: Option<String>,
    amr: Vec<String>,
    expires_at: Option<UnixTime>,
}

/// Whether a person or a program acts for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectType {
    /// A client with a token of its own (client_credentials): it must not pose as a person.
    Client,
    /// A person.
    User,
}

impl Permit {
    /// `iss`: the subject is unique together with it only.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `sub`.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// `client_id` of the access token; none for a mere session.
    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// `scope` of the access token; none for a mere session.
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }

    /// Person or program.
    pub fn subject_type(&self) -> SubjectType {
        self.subject_type
    }

    /// When the person authenticated, if that is known.
    pub fn auth_time(&self) -> Option<UnixTime> {
        self.auth_time
    }

    /// How the person authenticated, by its class, if that is known.
    pub fn acr(&self) -> Option<&str> {
        self.acr.as_deref()
    }

    /// By what methods the person authenticated, as far as that is known.
    pub fn amr(&self) -> &[String] {
        &self.amr
    }

    /// `exp` of the access token; none for a mere session.
    pub fn expires_at(&self) -> Option<UnixTime> {
        self.expires_at
    }
}

/// Why a verified token, or a session, does not pass.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DenialReason {
    /// Not addressed to the API of this route.
    #[error("token is not addressed to this API")]
    Audience,
    /// The person did not authenticate in the way, or as recently, as the route wants.
    #[error("authentication is not enough")]
    Authentication,
    /// A claim is not as a rule of the route wants it.
    #[error("token lacks a claim")]
    Claim,
    /// Its time is over.
    #[error("token expired")]
    Expired,
    /// By an issuer that is trusted, but not for this route.
    #[error("token issuer is not trusted for this route")]
    Issuer,
    /// Not all of the scopes that the route needs.
    #[error("token lacks a scope")]
    Scope,
}

/// Judges `token` by `rule` and `step_up`. `session` is the one that the token is from, if it
/// is from one.
///
/// # Errors
/// [`DenialReason`], the first that applies in the order expiry, issuer, audience, scope,
/// claims, authentication.
pub fn decide(
    rule: &TokenRule,
    step_up: &StepUp,
    issuer: &TokenIssuer,
    token: &VerifiedAccessToken,
    session: Option<&Session>,
    now: UnixTime,
) -> Result<Permit, DenialReason> {
    if issuer.leeway.is_past(token.expires_at(), now) {
        return Err(DenialReason::Expired);
    }
    if token.issuer() != issuer.issuer.as_str() {
        return Err(DenialReason::Issuer);
    }
    // RFC 9068 section 4: the resource server must find itself in `aud`.
    let addressed = |audience| token.audience().contains(audience);
    if !rule.audiences.iter().any(addressed) {
        return Err(DenialReason::Audience);
    }
    let has = |scope: &String| token.has_scope(scope);
    if !rule.scopes.iter().all(has)
        || !(rule.any_scopes.is_empty() || rule.any_scopes.iter().any(has))
    {
        return Err(DenialReason::Scope);
    }
    if !rule.claims.iter().all(|index| token.meets(*index)) {
        return Err(DenialReason::Claim);
    }
    // What the token does not say about the authentication, the ID token of the same login
    // does, if both are about the same person.
    let session = session
        .filter(|session| session.issuer == token.issuer() && session.subject == token.subject());
    let auth_time = token
        .auth_time()
        .or(session.and_then(|session| session.auth_time));
    let acr = token
        .acr()
        .or(session.and_then(|session| session.acr.as_deref()));
    if !step_up.is_met(Authentication { auth_time, acr }, issuer.leeway, now) {
        return Err(DenialReason::Authentication);
    }
    let amr = match session {
        Some(session) if token.amr().is_empty() => &session.amr,
        _ => token.amr(),
    };
    Ok(Permit {
        issuer: token.issuer().to_owned(),
        subject: token.subject().to_owned(),
        client_id: Some(token.client_id().to_owned()),
        scope: Some(token.scope().to_owned()),
        // RFC 9068 section 2.2: without a resource owner, `sub` is the client itself.
        subject_type: if token.subject_is_client() {
            SubjectType::Client
        } else {
            SubjectType::User
        },
        auth_time,
        acr: acr.map(str::to_owned),
        amr: amr.to_vec(),
        expires_at: Some(token.expires_at()),
    })
}

/// Judges a running session on a `login` route. `leeway` is that of its provider.
///
/// # Errors
/// [`DenialReason::Authentication`].
pub fn decide_session(
    step_up: &StepUp,
    session: &Session,
    leeway: Leeway,
    now: UnixTime,
) -> Result<Permit, DenialReason> {
    if !step_up.is_met(authentication(session), leeway, now) {
        return Err(DenialReason::Authentication);
    }
    Ok(Permit {
        issuer: session.issuer.clone(),
        subject: session.subject.clone(),
        client_id: None,
        scope: None,
        subject_type: SubjectType::User,
        auth_time: session.auth_time,
        acr: session.acr.clone(),
        amr: session.amr.clone(),
        expires_at: None,
    })
}

/// What the ID token of a session said about the authentication.
pub fn authentication(session: &Session) -> Authentication<'_> {
    Authentication {
        auth_time: session.auth_time,
        acr: session.acr.as_deref(),
    }
}
