//! The decision: a token and a rule in, a [`Permit`] or a [`DenialReason`] out.
//!
//! Judged at every request, also for a token that was verified before: its time, its issuer,
//! its audience, its scope, its claims, and how its person authenticated.

use std::rc::Rc;

use thiserror::Error;

use crate::oauth::access_token::{TokenIssuer, VerifiedAccessToken};
use crate::policy::rule::TokenRule;
use crate::policy::step_up::{Authentication, StepUp};
use crate::session::Session;
use crate::time::{Leeway, UnixTime};

/// Leave to pass, and who passes. Only this module makes one; the headers for the upstream
/// are written from it and from nothing else.
#[derive(Clone, Debug)]
pub struct Permit(Evidence);

/// What the caller showed.
#[derive(Clone, Debug)]
enum Evidence {
    /// A session alone.
    Session(Rc<Session>),
    /// An access token, and the session that it is from if both are about the same person.
    Token(Rc<VerifiedAccessToken>, Option<Rc<Session>>),
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
    fn token(&self) -> Option<&VerifiedAccessToken> {
        match &self.0 {
            Evidence::Session(_) => None,
            Evidence::Token(token, _) => Some(token),
        }
    }

    /// The session of the very person that the permit is for; none for a mere token.
    pub fn session(&self) -> Option<&Session> {
        match &self.0 {
            Evidence::Session(session) => Some(session),
            Evidence::Token(_, session) => session.as_deref(),
        }
    }

    /// `iss`: the subject is unique together with it only.
    pub fn issuer(&self) -> &str {
        match &self.0 {
            Evidence::Session(session) => &session.issuer,
            Evidence::Token(token, _) => token.issuer(),
        }
    }

    /// `sub`.
    pub fn subject(&self) -> &str {
        match &self.0 {
            Evidence::Session(session) => &session.subject,
            Evidence::Token(token, _) => token.subject(),
        }
    }

    /// `client_id` of the access token; none for a mere session.
    pub fn client_id(&self) -> Option<&str> {
        self.token().map(VerifiedAccessToken::client_id)
    }

    /// `scope` of the access token; none for a mere session.
    pub fn scope(&self) -> Option<&str> {
        self.token().map(VerifiedAccessToken::scope)
    }

    /// Person or program.
    pub fn subject_type(&self) -> SubjectType {
        match self.token() {
            // RFC 9068 section 2.2: without a resource owner, `sub` is the client itself.
            Some(token) if token.subject_is_client() => SubjectType::Client,
            _ => SubjectType::User,
        }
    }

    // What the token does not say about the authentication, the ID token of the same login does.

    /// When the person authenticated, if that is known.
    pub fn auth_time(&self) -> Option<UnixTime> {
        let by_token = self.token().and_then(VerifiedAccessToken::auth_time);
        by_token.or(self.session().and_then(|session| session.auth_time))
    }

    /// How the person authenticated, by its class, if that is known.
    pub fn acr(&self) -> Option<&str> {
        let by_token = self.token().and_then(VerifiedAccessToken::acr);
        by_token.or(self.session().and_then(|session| session.acr.as_deref()))
    }

    /// By what methods the person authenticated, as far as that is known.
    pub fn amr(&self) -> &[String] {
        let by_token = self.token().map_or(&[][..], VerifiedAccessToken::amr);
        match self.session() {
            Some(session) if by_token.is_empty() => &session.amr,
            _ => by_token,
        }
    }

    /// `exp` of the access token; none for a mere session.
    pub fn expires_at(&self) -> Option<UnixTime> {
        self.token().map(VerifiedAccessToken::expires_at)
    }

    fn authentication(&self) -> Authentication<'_> {
        Authentication {
            auth_time: self.auth_time(),
            acr: self.acr(),
        }
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
    token: &Rc<VerifiedAccessToken>,
    session: Option<&Rc<Session>>,
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
    let session = session
        .filter(|session| session.issuer == token.issuer() && session.subject == token.subject());
    let permit = Permit(Evidence::Token(Rc::clone(token), session.cloned()));
    if !step_up.is_met(permit.authentication(), issuer.leeway, now) {
        return Err(DenialReason::Authentication);
    }
    Ok(permit)
}

/// Judges a running session on a `login` route. `leeway` is that of its provider.
///
/// # Errors
/// [`DenialReason::Authentication`].
pub fn decide_session(
    step_up: &StepUp,
    session: &Rc<Session>,
    leeway: Leeway,
    now: UnixTime,
) -> Result<Permit, DenialReason> {
    let permit = Permit(Evidence::Session(Rc::clone(session)));
    if !step_up.is_met(permit.authentication(), leeway, now) {
        return Err(DenialReason::Authentication);
    }
    Ok(permit)
}

/// What the ID token of a session said about the authentication.
pub fn authentication(session: &Session) -> Authentication<'_> {
    Authentication {
        auth_time: session.auth_time,
        acr: session.acr.as_deref(),
    }
}
