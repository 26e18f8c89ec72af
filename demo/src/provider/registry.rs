//! Who may use the provider: its users, clients and APIs, all of them invented.

use subtle::ConstantTimeEq;

use super::keys::Algorithm;

/// A person who can sign in, by a click and without a password.
pub(super) struct User {
    pub(super) sub: &'static str,
    pub(super) name: &'static str,
    pub(super) email: &'static str,
    pub(super) email_verified: bool,
    /// What the person sees of their own rights on the sign-in page.
    pub(super) rights: &'static str,
    access: ApiAccess,
}

enum ApiAccess {
    Everything,
    Nothing,
    ReadOnly,
}

impl User {
    /// Returns whether the user may be granted this scope of an API.
    pub(super) fn may(&self, scope: &str) -> bool {
        match self.access {
            ApiAccess::Everything => true,
            ApiAccess::Nothing => false,
            ApiAccess::ReadOnly => scope.starts_with("read:"),
        }
    }
}

/// Every user, in the order of the sign-in page.
pub(super) static USERS: [User; 3] = [
    User {
        sub: "alice",
        name: "Alice Liddell",
        email: "alice@example.com",
        email_verified: true,
        rights: "may read and write",
        access: ApiAccess::Everything,
    },
    User {
        sub: "bob",
        name: "Bob Cratchit",
        email: "bob@example.com",
        email_verified: true,
        rights: "may read",
        access: ApiAccess::ReadOnly,
    },
    User {
        sub: "carol",
        name: "Carol Kennicott",
        email: "carol@example.com",
        email_verified: false,
        rights: "has no rights on any API",
        access: ApiAccess::Nothing,
    },
];

/// Returns the user with this `sub`.
pub(super) fn user(sub: &str) -> Option<&'static User> {
    USERS.iter().find(|user| user.sub == sub)
}

/// An API access tokens can be addressed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// Its audience, an absolute URI.
    pub audience: String,
    /// The scopes it knows.
    pub scopes: Vec<String>,
    /// Whether its access tokens are opaque: it then asks the provider about them.
    pub opaque: bool,
}

impl std::str::FromStr for Api {
    type Err = NotAnApi;

    /// Reads `audience=scope scope`.
    fn from_str(text: &str) -> Result<Self, NotAnApi> {
        let (audience, scopes) = text.rsplit_once('=').ok_or(NotAnApi)?;
        let absolute = audience.contains(':') && !audience.contains('#');
        let scopes: Vec<_> = scopes
            .split(' ')
            .filter(|s| !s.is_empty())
            .map(str::to_owned)
            .collect();
        if !absolute || scopes.is_empty() {
            return Err(NotAnApi);
        }
        Ok(Self {
            audience: audience.to_owned(),
            scopes,
            opaque: false,
        })
    }
}

/// The text does not describe an API.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAnApi;

impl std::fmt::Display for NotAnApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not of the form https://api.example.com/name=scope scope")
    }
}

impl std::error::Error for NotAnApi {}

/// A registered client.
pub(super) struct Client {
    pub(super) client_id: String,
    pub(super) authentication: Authentication,
    pub(super) grants: Grants,
    /// `id_token_signed_response_alg`; its access tokens are signed with the same.
    pub(super) algorithm: Algorithm,
    redirect_uris: Vec<String>,
    loopback_redirect: bool,
    post_logout_redirect_uris: Vec<String>,
}

/// How a client proves who it is at the token endpoint.
pub(super) enum Authentication {
    /// `none`: a public client.
    None,
    /// `client_secret_basic` or `client_secret_post`.
    Secret(ClientSecret),
}

/// What a client may ask the token endpoint for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Grants {
    ClientCredentials,
    /// `authorization_code` and `refresh_token`.
    Code,
}

/// A client's secret, kept as its hash.
pub(super) struct ClientSecret([u8; 32]);

impl ClientSecret {
    fn new(secret: &str) -> Self {
        Self(hmac_sha256::Hash::hash(secret.as_bytes()))
    }

    /// Returns whether the secret is this one, in a time that does not depend on the answer.
    pub(super) fn is(&self, presented: &str) -> bool {
        self.0
            .ct_eq(&hmac_sha256::Hash::hash(presented.as_bytes()))
            .into()
    }
}

impl Client {
    /// Returns whether the URI is registered: the same string (OpenID Connect Core 1.0
    /// 3.1.2.1), but for the port of a native client's loopback address (RFC 8252 7.3).
    pub(super) fn has_redirect_uri(&self, uri: &str) -> bool {
        self.redirect_uris
            .iter()
            .any(|registered| registered == uri)
            || (self.loopback_redirect && is_loopback_callback(uri))
    }

    /// Returns whether the browser may be sent to the URI after logout.
    pub(super) fn has_post_logout_redirect_uri(&self, uri: &str) -> bool {
        self.post_logout_redirect_uris
            .iter()
            .any(|registered| registered == uri)
    }
}

fn is_loopback_callback(uri: &str) -> bool {
    let port_and_path = ["http://127.0.0.1:", "http://[::1]:"]
        .iter()
        .find_map(|host| uri.strip_prefix(host));
    let Some((port, "callback")) = port_and_path.and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

/// The clients and APIs of one provider.
pub(super) struct Registry {
    clients: Vec<Client>,
    apis: Vec<Api>,
}

impl Registry {
    /// Registers `airside-demo` and `airside-machine` where there is a secret for them, and
    /// `airside-public`, the latter once more for each algorithm (`airside-public-es256`).
    pub(super) fn new(
        gateways: &[String],
        client_secret: Option<&str>,
        apis: Vec<Api>,
        algorithms: impl Iterator<Item = Algorithm>,
        default: Algorithm,
    ) -> Self {
        let at_gateways = |paths: &[&str]| -> Vec<String> {
            let on = |gateway: &String| -> Vec<String> {
                paths
                    .iter()
                    .map(|path| format!("{gateway}{path}"))
                    .collect()
            };
            gateways.iter().flat_map(on).collect()
        };
        let redirect_uris = at_gateways(&["/auth/callback", "/auth/callback/demo"]);
        let post_logout_redirect_uris = at_gateways(&["/auth/logged-out", "/"]);
        let client = |client_id: String, authentication, grants, algorithm| Client {
            client_id,
            authentication,
            grants,
            algorithm,
            redirect_uris: redirect_uris.clone(),
            loopback_redirect: false,
            post_logout_redirect_uris: post_logout_redirect_uris.clone(),
        };
        let mut clients = Vec::new();
        if let Some(secret) = client_secret {
            let secret = || Authentication::Secret(ClientSecret::new(secret));
            clients.push(client(
                "airside-demo".to_owned(),
                secret(),
                Grants::Code,
                default,
            ));
            clients.push(Client {
                redirect_uris: Vec::new(),
                post_logout_redirect_uris: Vec::new(),
                ..client(
                    "airside-machine".to_owned(),
                    secret(),
                    Grants::ClientCredentials,
                    default,
                )
            });
        }
        let public = |client_id, algorithm| Client {
            loopback_redirect: true,
            ..client(client_id, Authentication::None, Grants::Code, algorithm)
        };
        clients.push(public("airside-public".to_owned(), default));
        for algorithm in algorithms {
            let name = format!("airside-public-{}", algorithm.name().to_ascii_lowercase());
            clients.push(public(name, algorithm));
        }
        Self { clients, apis }
    }

    pub(super) fn client(&self, client_id: &str) -> Option<&Client> {
        self.clients
            .iter()
            .find(|client| client.client_id == client_id)
    }

    pub(super) fn api(&self, audience: &str) -> Option<&Api> {
        self.apis.iter().find(|api| api.audience == audience)
    }

    /// Returns every scope some API knows, each once.
    pub(super) fn api_scopes(&self) -> Vec<&str> {
        let mut scopes: Vec<_> = self
            .apis
            .iter()
            .flat_map(|api| api.scopes.iter().map(String::as_str))
            .collect();
        scopes.sort_unstable();
        scopes.dedup();
        scopes
    }
}

#[cfg(test)]
mod tests {
    use super::{Algorithm, Api, NotAnApi, Registry};

    #[track_caller]
    fn check(client_id: &str, uri: &str, expected: bool) {
        let gateways = ["http://127.0.0.1:3000".to_owned()];
        let none = std::iter::empty();
        let registry = Registry::new(
            &gateways,
            Some("secret"),
            Vec::new(),
            none,
            Algorithm::ES256,
        );
        let client = registry.client(client_id).unwrap();
        assert_eq!(client.has_redirect_uri(uri), expected, "{client_id} {uri}");
    }

    #[test]
    fn a_redirect_uri_is_the_same_string() {
        check("airside-demo", "http://127.0.0.1:3000/auth/callback", true);
        check(
            "airside-demo",
            "http://127.0.0.1:3000/auth/callback/demo",
            true,
        );
        check(
            "airside-demo",
            "http://127.0.0.1:3000/auth/callback/",
            false,
        );
        check(
            "airside-demo",
            "http://127.0.0.1:3000/auth/callback?x=1",
            false,
        );
        check("airside-demo", "HTTP://127.0.0.1:3000/auth/callback", false);
        check("airside-demo", "http://127.0.0.1:4000/callback", false);
        check(
            "airside-machine",
            "http://127.0.0.1:3000/auth/callback",
            false,
        );
    }

    #[test]
    fn only_a_native_client_chooses_its_loopback_port() {
        check("airside-public", "http://127.0.0.1:4000/callback", true);
        check("airside-public", "http://[::1]:4000/callback", true);
        check("airside-public", "http://127.0.0.1:/callback", false);
        check("airside-public", "http://127.0.0.1:99999/callback", false);
        check(
            "airside-public",
            "http://127.0.0.1:4000@example.com/callback",
            false,
        );
        check("airside-public", "http://127.0.0.1:4000/callback/x", false);
        check("airside-public", "http://localhost:4000/callback", false);
        check("airside-public", "https://127.0.0.1:4000/callback", false);
    }

    #[test]
    fn an_api_has_an_absolute_audience_and_scopes() {
        let api: Api = "https://api.example.com/x=read:x write:x".parse().unwrap();
        assert_eq!(api.audience, "https://api.example.com/x");
        assert_eq!(api.scopes, ["read:x", "write:x"]);
        assert_eq!("https://api.example.com/x".parse::<Api>(), Err(NotAnApi));
        assert_eq!("x=read:x".parse::<Api>(), Err(NotAnApi));
        assert_eq!("https://api.example.com/x=".parse::<Api>(), Err(NotAnApi));
    }
}
