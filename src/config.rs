//! The configuration, `airside.toml`: parsed once into types in which nothing invalid can be
//! said. Every problem is reported at once. Unset means refuse; what weakens a check is named
//! `danger_*`.

mod claims;
mod client;
mod credential;
mod document;
mod entries;
mod login;
mod network;
mod plain;
mod platform;
mod preset;
mod proxying;
mod read;
mod resource;
mod routes;
mod shape;
mod table;
mod toml;

use std::fmt;

use http::Method;

pub use crate::config::credential::{Credential, Grant};
pub use crate::config::network::Network;
pub use crate::config::platform::Platform;
pub use crate::config::proxying::{Assertion, Identity, IdentityHeaders};
pub use crate::config::table::RouteTable;
use crate::jose::Algorithm;
pub use crate::oauth::access_token::TokenIssuer;
use crate::oauth::authorization::Prompt;
use crate::oauth::protected_resource::ProtectedResource;
use crate::oidc::requirements::Requirements;
use crate::policy::{CheckedPath, Match, StepUp};
use crate::session::SessionLimits;
use crate::time::{Leeway, Lifetime};
use crate::url::{HttpsUrl, Issuer, Origin};

/// The whole configuration.
#[derive(Debug)]
pub struct Config {
    /// Where browsers reach the gateway.
    pub public_url: Origin,
    /// The proxies in front of the gateway that are believed whom they saw.
    pub trusted_proxies: Vec<Network>,
    /// How long sessions live.
    pub session: SessionLimits,
    /// Who may vouch for a person, in the order of their names.
    pub providers: Vec<Provider>,
    /// Whose access tokens count, in the order of their names.
    pub issuers: Vec<TokenIssuer>,
    /// What airside is at each of `issuers`, in their order.
    pub issuer_clients: Vec<Option<IssuerClient>>,
    /// Where requests go, in the order of their names.
    pub upstreams: Vec<Upstream>,
    /// What each path needs.
    pub routes: RouteTable,
    /// The APIs that have metadata.
    pub resources: Vec<ProtectedResource>,
    /// Names of identity headers, in lower case and with `-` for `_`: what a client sends under
    /// one of them goes no further.
    pub identity_names: Vec<String>,
    /// False where the platform cannot run `tokens`.
    pub has_tokens: bool,
    /// Keys named `danger_*` that are on, to be logged at start.
    pub dangers: Vec<String>,
}

/// An OpenID provider, and airside as its client.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its name in the configuration.
    pub name: String,
    /// What people read on the page to choose a provider.
    pub title: String,
    /// The path of its `redirect_uri`.
    pub callback_path: String,
    /// Whether its authorization responses must have `iss`.
    pub response_iss: ResponseIss,
    /// What the authorization request asks for beyond the protocol's own.
    pub request: LoginRequest,
    /// What an account must have to come in.
    pub requirements: Requirements,
    /// Whether authorization requests are pushed (RFC 9126).
    pub pushed_authorization_requests: Push,
    /// Whether a refresh token is kept. How it is asked for is in `scopes` and `request`.
    pub refresh: bool,
    /// Whether UserInfo is asked for more claims.
    pub userinfo: bool,
    /// How its session is ended.
    pub logout: Logout,
    /// Where its endpoints are, beside the issuer's own origin: for the doctor, which compares
    /// them with `allowed_outbound_hosts`.
    pub endpoint_origins: Vec<Origin>,
    /// Its issuer identifier.
    pub issuer: Issuer,
    /// Who airside is there.
    pub client_id: String,
    /// How airside proves it.
    pub client_authentication: ClientAuthentication,
    /// `scope` of the authorization request; contains `openid`.
    pub scopes: Vec<String>,
    /// `audience` of the authorization request: who the access token is for.
    pub audience: Option<String>,
    /// `resource` of the authorization and token requests (RFC 8707): the same in other words.
    pub resource: Vec<String>,
    /// Accepted for ID tokens.
    pub id_token_algorithms: Vec<Algorithm>,
    /// Audiences an ID token may have beside `client_id`.
    pub additional_audiences: Vec<String>,
    /// Claims of the ID token kept in the session.
    pub claims: Vec<String>,
    /// For the time claims of ID tokens.
    pub leeway: Leeway,
    /// Whether logout sends the ID token as a hint.
    pub id_token_hint: IdTokenHint,
}

/// airside as a client of an authorization server.
#[derive(Clone, Copy, Debug)]
pub struct Client<'c> {
    /// The server's issuer identifier; its metadata names the endpoints.
    pub issuer: &'c Issuer,
    /// Who airside is there.
    pub client_id: &'c str,
    /// How airside proves it.
    pub authentication: &'c ClientAuthentication,
}

impl Provider {
    /// airside as its client.
    pub fn client(&self) -> Client<'_> {
        Client {
            issuer: &self.issuer,
            client_id: &self.client_id,
            authentication: &self.client_authentication,
        }
    }
}

/// How a client authenticates at the token endpoint (OpenID Connect Core section 9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// HTTP Basic, the parts form-encoded first (RFC 6749 section 2.3.1).
    ClientSecretBasic {
        /// The Spin variable that holds the secret.
        variable: String,
    },
    /// In the request body.
    ClientSecretPost {
        /// The Spin variable that holds the secret.
        variable: String,
    },
    /// A public client: PKCE alone.
    None,
    /// An assertion signed for each request (RFC 7523).
    PrivateKeyJwt {
        /// The Spin variable that holds the private JWK.
        variable: String,
        /// How the assertion is signed.
        algorithm: Algorithm,
        /// Whom it is for.
        audience: AssertionAudience,
    },
}

/// `aud` of a client assertion: a single string, at every endpoint of a server the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssertionAudience {
    /// The issuer identifier, as OpenID Connect Core section 9 now asks.
    Issuer,
    /// The token endpoint, as it used to be.
    TokenEndpoint,
}

/// What an authorization request asks for beyond the protocol's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginRequest {
    /// Whether `prompt` is to contain `consent`, whatever else it contains.
    pub consent: bool,
    /// `acr_values`, each good enough; empty does not ask.
    pub acr_values: Vec<String>,
    /// `max_age`.
    pub max_age: Option<Lifetime>,
    /// `prompt`.
    pub prompt: Option<Prompt>,
    /// Parameters peculiar to the provider, none of ours among them.
    pub extra: Vec<(String, String)>,
}

/// When authorization requests are pushed to the provider (RFC 9126).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// Each of them.
    Always,
    /// None.
    Never,
    /// Where the provider's metadata says that it accepts no others.
    WhenRequired,
}

/// Whether an authorization response must have `iss` (RFC 9207).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseIss {
    /// In any case: the provider shares its `redirect_uri` with others (RFC 9700 section 4.4).
    Required,
    /// When the provider's metadata says that it is there.
    WhenAdvertised,
}

/// How the provider's own session is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logout {
    /// As Amazon Cognito does it: `client_id` and `logout_uri`.
    Cognito,
    /// Not at all: only the session here ends.
    None,
    /// OpenID Connect RP-Initiated Logout, where the metadata has an endpoint for it.
    Oidc,
}

/// Whether the ID token stands in the logout URL, the single token that may stand in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdTokenHint {
    /// The provider logs out without asking.
    Always,
    /// The provider asks the person; the session needs no room for the ID token.
    Never,
    /// As `Always`, unless the session is then too large for its cookies.
    WhenItFits,
}

/// A service behind the gate.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its name in the configuration.
    pub name: String,
    /// Where it is.
    pub origin: Origin,
    /// How long a connection may take to come about.
    pub connect_timeout: Lifetime,
    /// How long it may think before the first byte of its answer.
    pub first_byte_timeout: Lifetime,
    /// How long it may pause within its answer.
    pub between_bytes_timeout: Lifetime,
    /// What airside shows to it.
    pub credential: Credential,
    /// The names under which it learns who calls.
    pub identity_headers: IdentityHeaders,
    /// Whether it is told in a way that it can verify.
    pub assertion: Option<Assertion>,
}

/// airside as a client of a token issuer: it asks about tokens there, or for tokens of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerClient {
    /// Who airside is there.
    pub client_id: String,
    /// How airside proves it; never `None`.
    pub client_authentication: ClientAuthentication,
    /// Whether opaque tokens of the issuer are asked about.
    pub introspection: Option<Introspection>,
    /// Where its endpoints are, beside the issuer's own origin: for the doctor.
    pub endpoint_origins: Vec<Origin>,
}

/// How a token issuer is asked about opaque tokens (RFC 7662).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introspection {
    /// Where, if not where the metadata says.
    pub endpoint: Option<HttpsUrl>,
    /// An answer without `sub` is about a token of the client itself.
    pub client_tokens: bool,
}

/// One thing wrong with the configuration. Never shows a secret: none is in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the file, from 1.
    pub line: usize,
    /// The key, with its table: `providers.demo.issuer`.
    pub key: String,
    /// What was expected there.
    #[cfg(any(test, feature = "diagnostics"))]
    pub expected: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[cfg(any(test, feature = "diagnostics"))]
        let expected = &self.expected;
        #[cfg(not(any(test, feature = "diagnostics")))]
        let expected = "cargo xtask check says what was expected";
        write!(f, "line {}: {}: {expected}", self.line, self.key)
    }
}

impl Config {
    /// Reads the text of `airside.toml`.
    ///
    /// # Errors
    /// All problems at once, in the order of the file.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        Config::from_bytes(text.into()).unwrap_or_else(|| Err(Vec::new()))
    }

    /// Reads the bytes of `airside.toml`; `None` when they are not UTF-8.
    ///
    /// # Errors
    /// As [`Config::parse`].
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Result<Self, Vec<Problem>>> {
        document::config(bytes)
    }

    /// The provider called `name`.
    pub fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.name == name)
    }

    /// The token issuer with that index, and what airside is there, if it is anything.
    pub fn issuer_client(&self, index: usize) -> Option<(Client<'_>, &IssuerClient)> {
        let issuer = &self.issuers.get(index)?.issuer;
        let client = self.issuer_clients.get(index)?.as_ref()?;
        let as_client = Client {
            issuer,
            client_id: &client.client_id,
            authentication: &client.client_authentication,
        };
        Some((as_client, client))
    }

    /// True when opaque tokens of the token issuer with that index are asked about.
    pub fn introspects(&self, index: usize) -> bool {
        self.issuer_client(index)
            .is_some_and(|(_, client)| client.introspection.is_some())
    }

    /// What the route at the local address `target` asks of an authentication, for a login that
    /// leads there.
    pub fn step_up_at(&self, target: &str) -> Option<&StepUp> {
        self.step_up_of(&Method::GET, target)
    }

    /// What a request that a front end names asks of an authentication: a local address, or a
    /// method, a space and the address. `None` where no route is.
    pub fn step_up_for(&self, request: &str) -> Option<&StepUp> {
        match request.split_once(' ') {
            Some((method, target)) => {
                let method = Method::from_bytes(method.as_bytes()).ok()?;
                self.step_up_of(&method, target)
            }
            None => self.step_up_of(&Method::GET, request),
        }
    }

    fn step_up_of(&self, method: &Method, target: &str) -> Option<&StepUp> {
        let path = CheckedPath::parse(target).ok()?;
        match self.find(&path, method) {
            Match::Route(index) => self.route(index).map(|route| &route.step_up),
            Match::OtherMethods(_) | Match::None => None,
        }
    }

    /// Which `client_id` of the configuration is in `audience`, if any: then the token is an
    /// ID token, a letter addressed to the client.
    pub fn client_id_in(&self, audience: &[String]) -> Option<&str> {
        self.providers
            .iter()
            .map(|provider| provider.client_id.as_str())
            .find(|client_id| audience.iter().any(|entry| entry == client_id))
    }
}

#[cfg(test)]
mod tests;
