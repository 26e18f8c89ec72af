//! Routes as the configuration states them.

use http::Method;

use crate::policy::proxying::Proxying;
use crate::policy::step_up::StepUp;
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
    /// How, and how long ago, whoever passes must have authenticated.
    pub step_up: StepUp,
    /// Index of the protected resource (RFC 9728) in the configuration, if the route is of one.
    pub resource: Option<usize>,
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

    /// The base of its path, and whether that is a prefix.
    pub(crate) fn pattern(&self) -> (&[u8], bool) {
        (self.path.base.as_bytes(), self.path.prefix)
    }

    /// True when whoever passes this route passes `other` too: it asks for as much at least.
    pub(crate) fn covers(&self, other: &Route) -> bool {
        let access_covers = match (&self.access, &other.access) {
            (Access::Token(own), Access::Token(other)) => own.covers(other),
            (own, other) => own.strength() >= other.strength(),
        };
        access_covers && self.step_up.covers(&other.step_up)
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
    /// How much is asked, roughly.
    fn strength(&self) -> u8 {
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
    /// The API's own identifier: the token must be addressed to it (RFC 9068 section 4). Where
    /// the client stands for the audience, the clients one of which it must be.
    pub audiences: Vec<String>,
    /// All of these scopes are needed.
    pub scopes: Vec<String>,
    /// One of these scopes is needed; empty needs none.
    pub any_scopes: Vec<String>,
    /// All of these rules about claims must be met: indices into the issuer's `claim_rules`.
    pub claims: Vec<usize>,
}

impl TokenRule {
    fn covers(&self, other: &TokenRule) -> bool {
        let any_covers = other.any_scopes.is_empty()
            || self.scopes.iter().any(|one| other.any_scopes.contains(one))
            || !self.any_scopes.is_empty()
                && self
                    .any_scopes
                    .iter()
                    .all(|one| other.any_scopes.contains(one));
        self.issuer == other.issuer
            && self
                .audiences
                .iter()
                .all(|one| other.audiences.contains(one))
            && other.scopes.iter().all(|one| self.scopes.contains(one))
            && any_covers
            && other.claims.iter().all(|one| self.claims.contains(one))
    }
}
