//! OAuth errors, by the codes of RFC 6749, OpenID Connect Core 1.0 and RFC 8707.

use http::Response;
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use crate::web::{self, Body};

/// An error code and a constant text for developers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OAuthError {
    pub(super) code: Code,
    pub(super) description: &'static str,
}

/// The registered error codes this provider uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    AccessDenied,
    InvalidClient,
    InvalidGrant,
    InvalidRequest,
    InvalidScope,
    InvalidTarget,
    LoginRequired,
    RegistrationNotSupported,
    RequestNotSupported,
    RequestUriNotSupported,
    UnauthorizedClient,
    UnsupportedGrantType,
    UnsupportedResponseType,
}

impl Code {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::AccessDenied => "access_denied",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::InvalidRequest => "invalid_request",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::LoginRequired => "login_required",
            Self::RegistrationNotSupported => "registration_not_supported",
            Self::RequestNotSupported => "request_not_supported",
            Self::RequestUriNotSupported => "request_uri_not_supported",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
        }
    }

    pub(super) fn because(self, description: &'static str) -> OAuthError {
        OAuthError {
            code: self,
            description,
        }
    }
}

impl OAuthError {
    /// Returns the answer of the token and revocation endpoints (RFC 6749 5.2).
    pub(super) fn respond(self) -> Response<Body> {
        let status = match self.code {
            Code::InvalidClient => StatusCode::UNAUTHORIZED,
            _ => StatusCode::BAD_REQUEST,
        };
        let body = json!({ "error": self.code.name(), "error_description": self.description });
        let mut response = web::json(status, &body);
        if self.code == Code::InvalidClient {
            let challenge = HeaderValue::from_static("Basic realm=\"token\"");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
