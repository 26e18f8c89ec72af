//! Routes as the configuration states them.

use http::Method;

use crate::policy::proxying::Proxying;
use crate::url::PathPattern;

/// What a request to some paths needs, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Exact path, or whole segments below one.
    pub path: PathPattern,
    /// The methods the route is for; `None` is every method.
    pub methods: Option<Vec<Method>>,
    /// Who may pass.
    pub access: Access,
    /// Index of the upstream in the configuration.
    pub upstream: usize,
    /// How its requests are passed on.
    pub proxying: Proxying,
}

impl Route {
    /// True when the route is for `method`. HEAD counts as GET (RFC 9110 section 9.3.2).
    pub fn allows(&self, method: &Method) -> bool {
        self.methods.as_ref().is_none_or(|methods| {
            methods.contains(method) || (method == Method::HEAD && methods.contains(&Method::GET))
        })
    }
}

/// Who may pass a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Public,
    /// A person with a session.
    Login,
    /// Whoever holds an access token for the API, in the header or in a session.
    Token(TokenRule),
}

impl Access {
    /// How much is asked: a path must not ask for less than its twin with a trailing slash.
    pub(crate) fn strength(&self) -> u8 {
        match self {
            Access::Public => 0,
            Access::Login => 1,
            Access::Token(_) => 2,
        }
    }
}

/// What an access token must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRule {
    /// Index of the token issuer in the configuration.
    pub issuer: usize,
    /// The API's own identifier: the token must be addressed to it (RFC 9068 section 4).
    pub audience: String,
    /// All of these scopes are needed.
    pub scopes: Vec<String>,
}
