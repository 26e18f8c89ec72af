//! Which refusals send a person to the login, and how.

use crate::endpoint::authorize::Head;
use crate::error::{Error, RefreshError};
use crate::respond::LOGIN_PATH;
use crate::url::ReturnTo;

/// Whether a login can mend `error`, and if so how.
pub(super) fn login_for(error: &Error, head: &Head<'_>) -> Option<Login> {
    match error {
        Error::NoCredential
        | Error::Refresh(RefreshError::Ended | RefreshError::Spent)
        | Error::SessionExpired
        | Error::SessionRevoked => Some(Login::Any),
        // Of a session only: a token in the header is not the browser's to renew.
        Error::StepUp(_) if head.values("authorization").next().is_some() => None,
        Error::StepUp(asked) if asked.max_age.is_some() => Some(Login::Again),
        Error::StepUp(_) => Some(Login::Any),
        _ => None,
    }
}

/// What the provider is asked to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Login {
    /// To authenticate the person anew: not every provider heeds `max_age`.
    Again,
    Any,
}

/// The login looks up by itself what the route at `target` asks for: nothing in this address
/// could weaken it.
pub(super) fn login_url(target: &str, login: Login) -> String {
    let return_to = ReturnTo::parse(target);
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("return_to", return_to.as_str());
    if login == Login::Again {
        query.append_pair("prompt", "login");
    }
    format!("{LOGIN_PATH}?{}", query.finish())
}
