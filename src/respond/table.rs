//! What each error looks like from outside: the one table.
//!
//! The public text is constant per row; it never repeats what came from outside.

mod row;

use http::StatusCode;

use crate::error::{BodyError, Error, RefreshError};
use crate::oauth::access_token::AccessTokenError;
use crate::oauth::authorization::ProviderError;
use crate::oauth::bearer::BearerError;
use crate::oauth::token::TokenError;
use crate::oidc::requirements::RequirementError;
use crate::oidc::userinfo::UserInfoError;
use crate::policy::DenialReason;
pub(super) use crate::respond::table::row::Row;
use crate::respond::table::row::*;
use crate::session::cookie::CookieError;

/// The row of `error`: exhaustive, so that a new error must be given one.
pub(super) fn row(error: &Error) -> &'static Row {
    match error {
        Error::AccessToken(error) => match error {
            AccessTokenError::Expired => const { &token(EXPIRED) },
            AccessTokenError::Claims
            | AccessTokenError::Inactive
            | AccessTokenError::Issuer
            | AccessTokenError::Jws(_)
            | AccessTokenError::NotYetValid
            | AccessTokenError::RequiredClaim
            | AccessTokenError::TokenType
            | AccessTokenError::Typ => const { &token(NOT_VALID) },
        },
        Error::Account(error) => match error {
            RequirementError::EmailDomain => {
                const {
                    &account(
                        "Its e-mail address is of another organisation. Another account may do.",
                    )
                }
            }
            RequirementError::EmailUnverified => {
                const {
                    &account(
                        "Its e-mail address has not been verified where you signed in. Verify it there, or use another account.",
                    )
                }
            }
            RequirementError::EssentialClaim => {
                const {
                    &account(
                        "The sign-in service does not say enough about it. Another account may do.",
                    )
                }
            }
        },
        Error::AttemptDone => {
            const {
                &page(
                    StatusCode::BAD_REQUEST,
                    "You are signed in already",
                    "This page was the end of a sign-in that is over.",
                    Next::Home,
                )
            }
        }
        Error::AttemptExpired => {
            const {
                &sign_in(
                    StatusCode::BAD_REQUEST,
                    "This sign-in took longer than ten minutes. Please start again.",
                )
            }
        }
        Error::AttemptUnknown => {
            const {
                &sign_in(
                    StatusCode::BAD_REQUEST,
                    "This sign-in was already used, or began in another browser. Please start again.",
                )
            }
        }
        Error::AuthorizationResponse(_)
        | Error::CallbackIssuer
        | Error::CallbackPath
        | Error::IdToken(_) => const { &sign_in(StatusCode::BAD_REQUEST, AGAIN) },
        Error::Body(BodyError::Broken | BodyError::Framing) => {
            const { &body(StatusCode::BAD_REQUEST) }
        }
        Error::Body(BodyError::Timeout) => const { &body(StatusCode::REQUEST_TIMEOUT) },
        Error::Body(BodyError::TooLarge) => const { &body(StatusCode::PAYLOAD_TOO_LARGE) },
        Error::Cookie(CookieError::Duplicate | CookieError::HeaderTooLarge) => {
            const {
                &page(
                    StatusCode::BAD_REQUEST,
                    "Your browser's cookies do not fit",
                    "The session cookies of this site are damaged and were removed. Please sign in again.",
                    Next::SignIn,
                )
            }
        }
        Error::Cookie(CookieError::SessionTooLarge) => {
            const {
                &page(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    SIGN_IN,
                    "Your account has more data than this site can keep. Please tell its operator.",
                    Next::Home,
                )
            }
        }
        Error::Cors => {
            const {
                &page(
                    StatusCode::FORBIDDEN,
                    "This request came from another site",
                    "That site may not do this.",
                    Next::Home,
                )
            }
        }
        Error::Credential(BearerError::Scheme) => {
            const { &wanting("Expected an Authorization header with the Bearer scheme.") }
        }
        Error::Credential(BearerError::Duplicate | BearerError::Malformed) => {
            const {
                &credential(
                    "It carries a credential that cannot be read.",
                    "Expected one Authorization header with one bearer token.",
                )
            }
        }
        Error::Credential(BearerError::InQuery) => {
            const {
                &credential(
                    "Its address carries a credential, which must not be there.",
                    "An access token belongs in the Authorization header, never in the address.",
                )
            }
        }
        Error::CrossSite => {
            const {
                &page(
                    StatusCode::FORBIDDEN,
                    "This request came from another site",
                    "For your safety it was not carried out.",
                    Next::Home,
                )
            }
        }
        Error::Denied { reason, .. } => match reason {
            DenialReason::Scope => const { &forbidden(LACKS_SCOPE) },
            DenialReason::Claim => {
                const { &forbidden("The access token lacks a right that this request needs.") }
            }
            DenialReason::Authentication => &STEP_UP,
            DenialReason::Expired => const { &token(EXPIRED) },
            DenialReason::Audience => {
                const { &token("The access token is addressed to another API.") }
            }
            DenialReason::Issuer => const { &token(NOT_VALID) },
        },
        Error::Discovery(_) => const { &later(SIGN_IN_DOWN) },
        Error::Envelope | Error::NoRoute => {
            const {
                &page(
                    StatusCode::NOT_FOUND,
                    "There is nothing here",
                    "The address may be mistyped.",
                    Next::Home,
                )
            }
        }
        Error::IdTokenAtApi { .. } => {
            const {
                &token(
                    "This is an ID token. It is addressed to a client, not to this API: send the access token instead.",
                )
            }
        }
        Error::ClientKeyId | Error::Internal | Error::SigningKey(_) => {
            const {
                &page(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "Something went wrong",
                    "This is not your fault. Please try again later.",
                    Next::Home,
                )
            }
        }
        Error::Introspection { .. } => const { &later(SIGN_IN_DOWN) },
        Error::LoginRequest => {
            const {
                &sign_in(
                    StatusCode::BAD_REQUEST,
                    "The link to this sign-in is damaged. Please start again.",
                )
            }
        }
        Error::LogoutState => {
            const {
                &page(
                    StatusCode::BAD_REQUEST,
                    "This is not the end of a sign-out",
                    "The address did not come from a sign-out of this site. Whether you are signed in has not changed.",
                    Next::Home,
                )
            }
        }
        Error::LogoutToken(_) => {
            const {
                &page(
                    StatusCode::BAD_REQUEST,
                    "The request does not fit",
                    "The logout token is not valid here.",
                    Next::Home,
                )
            }
        }
        Error::MethodNotAllowed { .. } => {
            const {
                &page(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "The request does not fit",
                    "This address does not know that method.",
                    Next::Home,
                )
            }
        }
        Error::NoCredential => const { &wanting("An access token is needed.") },
        Error::NotYet | Error::RevocationOff => {
            const {
                &page(
                    StatusCode::NOT_IMPLEMENTED,
                    "Not available",
                    "This is not available yet.",
                    Next::Home,
                )
            }
        }
        Error::Path(_) => {
            const {
                &page(
                    StatusCode::BAD_REQUEST,
                    "The address does not fit",
                    "It can be read in more than one way, so it was not followed.",
                    Next::Home,
                )
            }
        }
        Error::Provider(error) => match error {
            ProviderError::AccessDenied => {
                const {
                    &sign_in(
                        StatusCode::FORBIDDEN,
                        "It was cancelled, or your account may not use this site.",
                    )
                }
            }
            ProviderError::InteractionRequired => {
                const {
                    &sign_in(
                        StatusCode::FORBIDDEN,
                        "The sign-in service needs something from you first. Please start again.",
                    )
                }
            }
            ProviderError::Other => {
                const {
                    &sign_in(
                        StatusCode::BAD_REQUEST,
                        "The sign-in service refused. Please start again.",
                    )
                }
            }
            ProviderError::Unavailable => const { &sign_in_later() },
        },
        Error::Refresh(RefreshError::Ended | RefreshError::Spent) => {
            const { &ended(ENDED, ENDED_WHY, "The session ended.") }
        }
        Error::Refresh(RefreshError::Busy | RefreshError::Provider | RefreshError::Store) => {
            const { &later(SIGN_IN_DOWN) }
        }
        Error::SessionStore | Error::RevocationUnavailable => const { &later(UNKNOWN_SESSION) },
        Error::Push(_) => const { &later(SIGN_IN_DOWN) },
        Error::SessionExpired => const { &ended(ENDED, ENDED_WHY, "The session expired.") },
        Error::SessionRevoked => {
            const {
                &ended(
                    "You are signed out",
                    "This session was ended by a sign-out. Please sign in again.",
                    "The session was ended.",
                )
            }
        }
        Error::SessionTokenNotForThisApi(_) => {
            const {
                &Row {
                    challenge: Demand::Error(INSUFFICIENT_SCOPE),
                    detail: Some("The session holds no access token for this API."),
                    ..page(
                        StatusCode::FORBIDDEN,
                        "You are signed in, but this part is closed",
                        "Your sign-in gives no access to this part of the site, and signing in again will not change that. Please tell the operator.",
                        Next::Home,
                    )
                }
            }
        }
        Error::Token(TokenError::InvalidGrant) => {
            const { &sign_in(StatusCode::BAD_REQUEST, AGAIN) }
        }
        Error::Token(
            TokenError::InvalidClient
            | TokenError::Malformed
            | TokenError::Refused
            | TokenError::TokenType
            | TokenError::Unavailable,
        ) => const { &sign_in_later() },
        Error::StepUp(_) => &STEP_UP,
        Error::StepUpFailed => {
            const {
                &page(
                    StatusCode::FORBIDDEN,
                    "This needs a stronger sign-in",
                    "You signed in, but not in the way that this page asks for. Please use a second factor if you have one, or tell the operator.",
                    Next::StartAgain,
                )
            }
        }
        Error::TargetLinkUri => {
            const {
                &sign_in(
                    StatusCode::BAD_REQUEST,
                    "The link to this sign-in leads to another site.",
                )
            }
        }
        Error::Tokens(_) => const { &later(SIGN_IN_DOWN) },
        Error::UnknownProvider => {
            const {
                &sign_in(
                    StatusCode::BAD_REQUEST,
                    "There is no such sign-in service here.",
                )
            }
        }
        Error::Upgrade => {
            const {
                &page(
                    StatusCode::NOT_IMPLEMENTED,
                    "Not available",
                    "Connections of this kind (WebSocket) are not supported here.",
                    Next::Home,
                )
            }
        }
        Error::UserInfo(UserInfoError::Unavailable) => const { &sign_in_later() },
        Error::UserInfo(_) => const { &sign_in(StatusCode::BAD_REQUEST, AGAIN) },
        Error::UpstreamCredential { refused: true, .. } | Error::UpstreamUnavailable => {
            const { &upstream(StatusCode::BAD_GATEWAY) }
        }
        Error::UpstreamCredential { refused: false, .. } => const { &later(APPLICATION_DOWN) },
        Error::UpstreamTimeout => const { &upstream(StatusCode::GATEWAY_TIMEOUT) },
        Error::WrongToken(_) => const { &token(NOT_VALID) },
    }
}
