//! What a row of the table of errors is, and the kinds of rows.

use std::borrow::Cow;

use http::StatusCode;

use crate::error::Error;
use crate::oauth::bearer::{Challenge, StepUpChallenge};
use crate::policy::DenialReason;
use crate::respond::page::Action;

/// One row of the table. Nothing in it is made at run time: a row is some forty bytes of data, where
/// code that makes one would be five times as much, in every component.
#[derive(Clone, Copy)]
pub(in crate::respond) struct Row {
    pub(in crate::respond) status: StatusCode,
    /// What a person reads.
    pub(in crate::respond) heading: &'static str,
    pub(in crate::respond) message: &'static str,
    pub(in crate::respond) next: Next,
    /// What a program reads, if that is not the message.
    pub(super) detail: Option<&'static str>,
    pub(super) challenge: Demand,
}

/// What a page offers to do next.
#[derive(Clone, Copy)]
pub(in crate::respond) enum Next {
    Home,
    OtherAccount,
    Reload,
    SignIn,
    StartAgain,
}

/// The challenge of an answer.
#[derive(Clone, Copy)]
pub(super) enum Demand {
    None,
    /// RFC 6750 section 3.1: no error attribute when no credential came.
    Bare,
    /// With this error code and the detail as its description.
    Error(&'static str),
}

pub(super) const SIGN_IN: &str = "Sign-in did not work";
pub(super) const SIGN_IN_DOWN: &str = "Sign-in is not available";
pub(super) const AGAIN: &str = "Nothing is lost. Please start again.";
pub(super) const APPLICATION_DOWN: &str = "The application does not answer";
pub(super) const UNKNOWN_SESSION: &str = "This site cannot tell whether you are signed in";
pub(super) const NOT_VALID: &str = "The access token is not valid here.";
pub(super) const EXPIRED: &str = "The access token expired.";
pub(super) const INVALID_REQUEST: &str = "invalid_request";
pub(super) const INSUFFICIENT_SCOPE: &str = "insufficient_scope";
pub(super) const LACKS_SCOPE: &str = "The access token lacks a scope that this request needs.";

pub(super) const fn page(
    status: StatusCode,
    heading: &'static str,
    message: &'static str,
    next: Next,
) -> Row {
    Row {
        status,
        heading,
        message,
        next,
        detail: None,
        challenge: Demand::None,
    }
}

pub(super) const fn sign_in(status: StatusCode, message: &'static str) -> Row {
    page(status, SIGN_IN, message, Next::StartAgain)
}

pub(super) const fn token(detail: &'static str) -> Row {
    Row {
        detail: Some(detail),
        challenge: Demand::Error("invalid_token"),
        ..page(
            StatusCode::UNAUTHORIZED,
            "Please sign in",
            "Your sign-in is not valid any more.",
            Next::SignIn,
        )
    }
}

pub(super) const fn ended(
    heading: &'static str,
    message: &'static str,
    detail: &'static str,
) -> Row {
    Row {
        heading,
        message,
        ..token(detail)
    }
}

pub(super) const fn forbidden(detail: &'static str) -> Row {
    Row {
        detail: Some(detail),
        challenge: Demand::Error(INSUFFICIENT_SCOPE),
        ..page(
            StatusCode::FORBIDDEN,
            "You may not see this",
            "Your account has no permission for it. Signing in again does not change that.",
            Next::Home,
        )
    }
}

pub(super) const fn later(heading: &'static str) -> Row {
    page(
        StatusCode::SERVICE_UNAVAILABLE,
        heading,
        "A service that is needed here does not answer. Please try again in a moment.",
        Next::Reload,
    )
}

pub(super) const fn upstream(status: StatusCode) -> Row {
    Row {
        status,
        ..later(APPLICATION_DOWN)
    }
}

pub(super) const ENDED: &str = "Your session ended";
pub(super) const ENDED_WHY: &str =
    "It does so after a while, for your safety. Please sign in again.";

pub(super) const fn account(message: &'static str) -> Row {
    page(
        StatusCode::FORBIDDEN,
        "This account may not come in",
        message,
        Next::OtherAccount,
    )
}

pub(super) const fn body(status: StatusCode) -> Row {
    page(
        status,
        "The request does not fit",
        "It did not arrive whole, or is too long.",
        Next::Home,
    )
}

pub(super) const fn credential(message: &'static str, detail: &'static str) -> Row {
    Row {
        detail: Some(detail),
        challenge: Demand::Error(INVALID_REQUEST),
        ..page(
            StatusCode::BAD_REQUEST,
            "The request does not fit",
            message,
            Next::Home,
        )
    }
}

pub(super) const fn wanting(detail: &'static str) -> Row {
    Row {
        detail: Some(detail),
        challenge: Demand::Bare,
        ..page(
            StatusCode::UNAUTHORIZED,
            "Please sign in",
            "This page needs a sign-in.",
            Next::SignIn,
        )
    }
}

/// The code of the attempt is used or lost: the same address would not work again.
pub(super) const fn sign_in_later() -> Row {
    Row {
        next: Next::StartAgain,
        ..later(SIGN_IN_DOWN)
    }
}

/// RFC 9470 section 3.
pub(super) const STEP_UP: Row = Row {
    challenge: Demand::Error("insufficient_user_authentication"),
    message: "This page needs a fresher or stronger sign-in.",
    ..token("A fresher or stronger sign-in is needed for this request.")
};

impl From<Next> for Action {
    fn from(next: Next) -> Self {
        match next {
            Next::Home => Action::Home,
            Next::OtherAccount => Action::OtherAccount,
            Next::Reload => Action::Reload,
            Next::SignIn => Action::SignIn,
            Next::StartAgain => Action::StartAgain,
        }
    }
}

impl Row {
    /// `detail` of the problem body.
    pub(in crate::respond) fn detail(&self, error: &Error) -> Cow<'static, str> {
        match error {
            Error::Denied {
                reason: DenialReason::Scope,
                scopes,
            } => {
                let lacks = LACKS_SCOPE.trim_end_matches('.');
                format!("{lacks}: {}", scopes.join(" ")).into()
            }
            _ => self.description(error),
        }
    }

    /// The challenge, if there is one.
    pub(in crate::respond) fn challenge(&self, error: &Error) -> Option<Challenge> {
        let mut challenge = match self.challenge {
            Demand::None => return None,
            Demand::Bare => Challenge::default(),
            Demand::Error(code) => Challenge {
                error: Some(code),
                description: Some(self.description(error).into_owned()),
                ..Challenge::default()
            },
        };
        match error {
            Error::Denied {
                reason: DenialReason::Scope,
                scopes,
            } => challenge.scope = Some(scopes.join(" ")),
            Error::Denied {
                reason: DenialReason::Authentication,
                ..
            } => challenge.step_up = Some(StepUpChallenge::default()),
            Error::StepUp(asked) => challenge.step_up = Some(asked.clone()),
            _ => {}
        }
        Some(challenge)
    }

    fn description(&self, error: &Error) -> Cow<'static, str> {
        match error {
            Error::IdTokenAtApi {
                client_id: Some(client_id),
            } => format!(
                "This is an ID token. It is addressed to the client {client_id}, not to this API: \
                 send the access token instead."
            )
            .into(),
            _ => self.detail.unwrap_or(self.message).into(),
        }
    }
}
