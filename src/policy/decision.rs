//! The decision: a token and a rule in, a [`Permit`] or a [`DenialReason`] out.
//!
//! Judged at every request, also for a token that was verified before: its time, its issuer,
//! its audience, its scope.

use thiserror::Error;

use crate::oauth::access_token::VerifiedAccessToken;
use crate::policy::rule::TokenRule;
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
    /// Leave for a person with a running session, on a `login` route.
    pub fn for_session(session: &Session) -> Self {
        Permit {
            issuer: session.issuer.clone(),
            subject: session.subject.clone(),
            client_id: None,
            scope: None,
            subject_type: SubjectType::User,
        }
    }

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
}

/// Why a verified token does not pass.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DenialReason {
    /// Not addressed to the API of this route.
    #[error("token is not addressed to this API")]
    Audience,
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

/// Judges `token` by `rule`.
///
/// # Errors
/// [`DenialReason`], the first that applies in the order expiry, issuer, audience, scope.
pub fn decide(
    rule: &TokenRule,
    rule_issuer: &str,
    token: &VerifiedAccessToken,
    leeway: Leeway,
    now: UnixTime,
) -> Result<Permit, DenialReason> {
    if leeway.is_past(token.expires_at(), now) {
        return Err(DenialReason::Expired);
    }
    if token.issuer() != rule_issuer {
        return Err(DenialReason::Issuer);
    }
    // RFC 9068 section 4: the resource server must find itself in `aud`.
    if !token.audience().contains(&rule.audience) {
        return Err(DenialReason::Audience);
    }
    if !rule.scopes.iter().all(|scope| token.has_scope(scope)) {
        return Err(DenialReason::Scope);
    }
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
    })
}
