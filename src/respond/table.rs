//! What each error looks like from outside: the one table.
//!
//! The public text is constant per row; it never repeats what came from outside.

use http::StatusCode;

use crate::error::{BodyError, Error, RefreshError};
use crate::oauth::access_token::AccessTokenError;
use crate::oauth::authorization::ProviderError;
use crate::oauth::bearer::{BearerError, Challenge, StepUpChallenge};
use crate::oauth::token::TokenError;
use crate::oidc::requirements::RequirementError;
use crate::oidc::userinfo::UserInfoError;
use crate::policy::DenialReason;
use crate::respond::page::Action;
use crate::session::cookie::CookieError;

/// One row of the table.
pub(super) struct Row {
    pub(super) status: StatusCode,
    /// What a person reads.
    pub(super) heading: &'static str,
    pub(super) message: &'static str,
    /// `detail` of the problem body.
    pub(super) detail: String,
    pub(super) challenge: Option<Challenge>,
    pub(super) action: Action,
}
/// The row of `error`: exhaustive, so that a new error must be given one.
pub(super) fn row(error: &Error) -> Row {
    const SIGN_IN: &str = "Sign-in did not work";
    const SIGN_IN_DOWN: &str = "Sign-in is not available";
    const AGAIN: &str = "Nothing is lost. Please start again.";
    let page = |status, heading, message: &'static str, action| Row {
        status,
        heading,
        message,
        detail: message.to_owned(),
        challenge: None,
        action,
    };
    let sign_in = |status, message| page(status, SIGN_IN, message, Action::StartAgain);
    let token = |description: Option<&str>| Row {
        challenge: Some(Challenge {
            error: Some("invalid_token"),
            description: description.map(str::to_owned),
            ..Challenge::default()
        }),
        detail: description
            .unwrap_or("The access token is not valid here.")
            .to_owned(),
        ..page(
            StatusCode::UNAUTHORIZED,
            "Please sign in",
            "Your sign-in is not valid any more.",
            Action::SignIn,
        )
    };
    let forbidden = || {
        page(
            StatusCode::FORBIDDEN,
            "You may not see this",
            "Your account has no permission for it. Signing in again does not change that.",
            Action::Home,
        )
    };
    // RFC 9470 section 3.
    let step_up = |asked| {
        const MORE: &str = "A fresher or stronger sign-in is needed for this request.";
        Row {
            challenge: Some(Challenge {
                error: Some("insufficient_user_authentication"),
                description: Some(MORE.to_owned()),
                step_up: Some(asked),
                ..Challenge::default()
            }),
            message: "This page needs a fresher or stronger sign-in.",
            ..token(Some(MORE))
        }
    };
    let later = |heading| {
        page(
            StatusCode::SERVICE_UNAVAILABLE,
            heading,
            "A service that is needed here does not answer. Please try again in a moment.",
            Action::Reload,
        )
    };
    // The code of the attempt is used or lost: the same address would not work again.
    let sign_in_later = || Row {
        action: Action::StartAgain,
        ..later(SIGN_IN_DOWN)
    };
    let internal = || {
        page(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Something went wrong",
            "This is not your fault. Please try again later.",
            Action::Home,
        )
    };
    match error {
        Error::AccessToken(error) => match error {
            AccessTokenError::Expired => token(Some("The access token expired.")),
            AccessTokenError::Claims
            | AccessTokenError::Inactive
            | AccessTokenError::Issuer
            | AccessTokenError::Jws(_)
            | AccessTokenError::NotYetValid
            | AccessTokenError::RequiredClaim
            | AccessTokenError::TokenType
            | AccessTokenError::Typ => token(Some("The access token is not valid here.")),
        },
        Error::Account(error) => page(
            StatusCode::FORBIDDEN,
            "This account may not come in",
            match error {
                RequirementError::EmailDomain => {
                    "Its e-mail address is of another organisation. Another account may do."
                }
                RequirementError::EmailUnverified => {
                    "Its e-mail address has not been verified where you signed in. Verify it there, or use another account."
                }
                RequirementError::EssentialClaim => {
                    "The sign-in service does not say enough about it. Another account may do."
                }
            },
            Action::OtherAccount,
        ),
        Error::AttemptDone => page(
            StatusCode::BAD_REQUEST,
            "You are signed in already",
            "This page was the end of a sign-in that is over.",
            Action::Home,
        ),
        Error::AttemptExpired => sign_in(
            StatusCode::BAD_REQUEST,
            "This sign-in took longer than ten minutes. Please start again.",
        ),
        Error::AttemptUnknown => sign_in(
            StatusCode::BAD_REQUEST,
            "This sign-in was already used, or began in another browser. Please start again.",
        ),
        Error::AuthorizationResponse(_)
        | Error::CallbackIssuer
        | Error::CallbackPath
        | Error::IdToken(_) => sign_in(StatusCode::BAD_REQUEST, AGAIN),
        Error::Body(error) => page(
            match error {
                BodyError::Broken | BodyError::Framing => StatusCode::BAD_REQUEST,
                BodyError::Timeout => StatusCode::REQUEST_TIMEOUT,
                BodyError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            },
            "The request does not fit",
            "It did not arrive whole, or is too long.",
            Action::Home,
        ),
        Error::Cookie(CookieError::Duplicate | CookieError::HeaderTooLarge) => page(
            StatusCode::BAD_REQUEST,
            "Your browser's cookies do not fit",
            "The session cookies of this site are damaged and were removed. Please sign in again.",
            Action::SignIn,
        ),
        Error::Cookie(CookieError::SessionTooLarge) => page(
            StatusCode::INTERNAL_SERVER_ERROR,
            SIGN_IN,
            "Your account has more data than this site can keep. Please tell its operator.",
            Action::Home,
        ),
        Error::Cors => page(
            StatusCode::FORBIDDEN,
            "This request came from another site",
            "That site may not do this.",
            Action::Home,
        ),
        Error::Credential(BearerError::Scheme) => Row {
            challenge: Some(Challenge::default()),
            detail: "Expected an Authorization header with the Bearer scheme.".to_owned(),
            ..page(
                StatusCode::UNAUTHORIZED,
                "Please sign in",
                "This page needs a sign-in.",
                Action::SignIn,
            )
        },
        Error::Credential(BearerError::Duplicate | BearerError::Malformed) => Row {
            challenge: Some(Challenge {
                error: Some("invalid_request"),
                description: Some(
                    "Expected one Authorization header with one bearer token.".to_owned(),
                ),
                ..Challenge::default()
            }),
            detail: "Expected one Authorization header with one bearer token.".to_owned(),
            ..page(
                StatusCode::BAD_REQUEST,
                "The request does not fit",
                "It carries a credential that cannot be read.",
                Action::Home,
            )
        },
        Error::Credential(BearerError::InQuery) => {
            const HEADER: &str =
                "An access token belongs in the Authorization header, never in the address.";
            Row {
                challenge: Some(Challenge {
                    error: Some("invalid_request"),
                    description: Some(HEADER.to_owned()),
                    ..Challenge::default()
                }),
                detail: HEADER.to_owned(),
                ..page(
                    StatusCode::BAD_REQUEST,
                    "The request does not fit",
                    "Its address carries a credential, which must not be there.",
                    Action::Home,
                )
            }
        }
        Error::CrossSite => page(
            StatusCode::FORBIDDEN,
            "This request came from another site",
            "For your safety it was not carried out.",
            Action::Home,
        ),
        Error::Denied { reason, scopes } => match reason {
            DenialReason::Scope => {
                let needed = scopes.join(" ");
                Row {
                    challenge: Some(Challenge {
                        error: Some("insufficient_scope"),
                        description: Some(
                            "The access token lacks a scope that this request needs.".to_owned(),
                        ),
                        scope: Some(needed.clone()),
                        ..Challenge::default()
                    }),
                    detail: format!(
                        "The access token lacks a scope that this request needs: {needed}"
                    ),
                    ..forbidden()
                }
            }
            DenialReason::Claim => {
                const CLAIM: &str = "The access token lacks a right that this request needs.";
                Row {
                    challenge: Some(Challenge {
                        error: Some("insufficient_scope"),
                        description: Some(CLAIM.to_owned()),
                        ..Challenge::default()
                    }),
                    detail: CLAIM.to_owned(),
                    ..forbidden()
                }
            }
            DenialReason::Authentication => step_up(StepUpChallenge::default()),
            DenialReason::Expired => token(Some("The access token expired.")),
            DenialReason::Audience => token(Some("The access token is addressed to another API.")),
            DenialReason::Issuer => token(Some("The access token is not valid here.")),
        },
        Error::Discovery(_) => later(SIGN_IN_DOWN),
        Error::Envelope | Error::NoRoute => page(
            StatusCode::NOT_FOUND,
            "There is nothing here",
            "The address may be mistyped.",
            Action::Home,
        ),
        Error::IdTokenAtApi { client_id } => {
            let addressee = match client_id {
                Some(client_id) => format!("It is addressed to the client {client_id}, "),
                None => "It is addressed to a client, ".to_owned(),
            };
            token(Some(&format!(
                "This is an ID token. {addressee}not to this API: send the access token instead."
            )))
        }
        Error::ClientKeyId | Error::Internal | Error::SigningKey(_) => internal(),
        Error::Introspection { .. } => later(SIGN_IN_DOWN),
        Error::LoginRequest => sign_in(
            StatusCode::BAD_REQUEST,
            "The link to this sign-in is damaged. Please start again.",
        ),
        Error::LogoutState => page(
            StatusCode::BAD_REQUEST,
            "This is not the end of a sign-out",
            "The address did not come from a sign-out of this site. Whether you are signed in has not changed.",
            Action::Home,
        ),
        Error::LogoutToken(_) => page(
            StatusCode::BAD_REQUEST,
            "The request does not fit",
            "The logout token is not valid here.",
            Action::Home,
        ),
        Error::MethodNotAllowed { .. } => page(
            StatusCode::METHOD_NOT_ALLOWED,
            "The request does not fit",
            "This address does not know that method.",
            Action::Home,
        ),
        Error::NoCredential => Row {
            // RFC 6750 section 3.1: no error attribute when no credential came.
            challenge: Some(Challenge::default()),
            detail: "An access token is needed.".to_owned(),
            ..page(
                StatusCode::UNAUTHORIZED,
                "Please sign in",
                "This page needs a sign-in.",
                Action::SignIn,
            )
        },
        Error::NotYet | Error::RevocationOff => page(
            StatusCode::NOT_IMPLEMENTED,
            "Not available",
            "This is not available yet.",
            Action::Home,
        ),
        Error::Path(_) => page(
            StatusCode::BAD_REQUEST,
            "The address does not fit",
            "It can be read in more than one way, so it was not followed.",
            Action::Home,
        ),
        Error::Provider(error) => match error {
            ProviderError::AccessDenied => sign_in(
                StatusCode::FORBIDDEN,
                "It was cancelled, or your account may not use this site.",
            ),
            ProviderError::InteractionRequired => sign_in(
                StatusCode::FORBIDDEN,
                "The sign-in service needs something from you first. Please start again.",
            ),
            ProviderError::Other => sign_in(
                StatusCode::BAD_REQUEST,
                "The sign-in service refused. Please start again.",
            ),
            ProviderError::Unavailable => sign_in_later(),
        },
        Error::Refresh(RefreshError::Ended | RefreshError::Spent) => Row {
            heading: "Your session ended",
            message: "It does so after a while, for your safety. Please sign in again.",
            ..token(Some("The session ended."))
        },
        Error::Refresh(RefreshError::Busy | RefreshError::Provider | RefreshError::Store) => {
            later(SIGN_IN_DOWN)
        }
        Error::SessionStore => later("This site cannot tell whether you are signed in"),
        Error::RevocationUnavailable => later("This site cannot tell whether you are signed in"),
        Error::Push(_) => later(SIGN_IN_DOWN),
        Error::SessionExpired => Row {
            heading: "Your session ended",
            message: "It does so after a while, for your safety. Please sign in again.",
            ..token(Some("The session expired."))
        },
        Error::SessionRevoked => Row {
            heading: "You are signed out",
            message: "This session was ended by a sign-out. Please sign in again.",
            ..token(Some("The session was ended."))
        },
        Error::SessionTokenNotForThisApi(_) => Row {
            challenge: Some(Challenge {
                error: Some("insufficient_scope"),
                description: Some("The session holds no access token for this API.".to_owned()),
                ..Challenge::default()
            }),
            detail: "The session holds no access token for this API.".to_owned(),
            ..page(
                StatusCode::FORBIDDEN,
                "You are signed in, but this part is closed",
                "Your sign-in gives no access to this part of the site, and signing in again will not change that. Please tell the operator.",
                Action::Home,
            )
        },
        Error::Token(TokenError::InvalidGrant) => sign_in(StatusCode::BAD_REQUEST, AGAIN),
        Error::Token(
            TokenError::InvalidClient
            | TokenError::Malformed
            | TokenError::Refused
            | TokenError::TokenType
            | TokenError::Unavailable,
        ) => sign_in_later(),
        Error::StepUp(asked) => step_up(asked.clone()),
        Error::StepUpFailed => page(
            StatusCode::FORBIDDEN,
            "This needs a stronger sign-in",
            "You signed in, but not in the way that this page asks for. Please use a second factor if you have one, or tell the operator.",
            Action::StartAgain,
        ),
        Error::TargetLinkUri => sign_in(
            StatusCode::BAD_REQUEST,
            "The link to this sign-in leads to another site.",
        ),
        Error::Tokens(_) => later(SIGN_IN_DOWN),
        Error::UnknownProvider => sign_in(
            StatusCode::BAD_REQUEST,
            "There is no such sign-in service here.",
        ),
        Error::Upgrade => page(
            StatusCode::NOT_IMPLEMENTED,
            "Not available",
            "Connections of this kind (WebSocket) are not supported here.",
            Action::Home,
        ),
        Error::UserInfo(UserInfoError::Unavailable) => sign_in_later(),
        Error::UserInfo(_) => sign_in(StatusCode::BAD_REQUEST, AGAIN),
        Error::UpstreamCredential { refused: true, .. } => Row {
            status: StatusCode::BAD_GATEWAY,
            ..later("The application does not answer")
        },
        Error::UpstreamCredential { refused: false, .. } => {
            later("The application does not answer")
        }
        Error::UpstreamTimeout => Row {
            status: StatusCode::GATEWAY_TIMEOUT,
            ..later("The application does not answer")
        },
        Error::UpstreamUnavailable => Row {
            status: StatusCode::BAD_GATEWAY,
            ..later("The application does not answer")
        },
        Error::WrongToken(_) => token(Some("The access token is not valid here.")),
    }
}
