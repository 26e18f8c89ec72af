//! A development OpenID Provider.
//!
//! Its protocol is that of a real one: authorization code flow with PKCE, exact redirect
//! URIs, codes and refresh tokens for one use, access tokens as RFC 9068 describes them for a
//! named API and opaque ones otherwise. Its people are invented, have no passwords, and
//! everything is in memory: keys and sessions end with the process.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use tokio::net::TcpListener;

use crate::html::STYLESHEET;
use crate::web::{self, Body, Parameters};
use keys::Keys;
use registry::Registry;
use store::Store;

pub use keys::{Algorithm, UnknownAlgorithm};
pub use registry::{Api, NotAnApi};

mod authorize;
mod client_auth;
mod error;
mod keys;
mod login;
mod logout;
mod pages;
mod registry;
mod store;
mod tokens;

/// How to run the provider.
pub struct Settings {
    /// Where to listen; loopback only, port 0 takes a free one.
    pub listen: SocketAddr,
    /// The issuer; the address it listens on when absent.
    pub issuer: Option<String>,
    /// Origins of the gateways whose callbacks are registered.
    pub gateways: Vec<String>,
    /// The secret of `airside-demo` and `airside-machine`, which do not exist without.
    pub client_secret: Option<String>,
    /// The APIs tokens can be addressed to.
    pub apis: Vec<Api>,
    /// The algorithms to have a key for.
    pub algorithms: Vec<Algorithm>,
    /// What signs for clients that do not name an algorithm.
    pub default_algorithm: Algorithm,
    /// How many keys the key set has, where that is more than one for each algorithm: the others
    /// sign nothing.
    pub keys: usize,
    /// How long things are valid.
    pub lifetimes: Lifetimes,
}

/// Lifetimes in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// Of an access token.
    pub access_token: u64,
    /// Of an authorization code.
    pub code: u64,
    /// Of an ID token.
    pub id_token: u64,
    /// Of each refresh token.
    pub refresh_token: u64,
    /// Of a sign-in at the provider.
    pub session: u64,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            access_token: 300,
            code: 60,
            id_token: 300,
            refresh_token: 28_800,
            session: 28_800,
        }
    }
}

impl Settings {
    /// Returns the demo's settings for one gateway: two APIs, a key for every algorithm, RS256
    /// for clients that name none.
    pub fn new(listen: SocketAddr, gateway: &str) -> Self {
        Self {
            listen,
            issuer: None,
            gateways: vec![gateway.to_owned()],
            client_secret: None,
            apis: Self::demo_apis(),
            algorithms: Algorithm::ALL.to_vec(),
            default_algorithm: Algorithm::RS256,
            keys: 0,
            lifetimes: Lifetimes::default(),
        }
    }

    /// Returns the API the demo protects, and another one whose tokens it must refuse.
    pub fn demo_apis() -> Vec<Api> {
        let api = |audience: &str, scopes: [&str; 2]| Api {
            audience: audience.to_owned(),
            scopes: scopes.map(str::to_owned).to_vec(),
            opaque: false,
        };
        vec![
            api(
                "https://api.example.com/invoices",
                ["read:invoices", "write:invoices"],
            ),
            api(
                "https://api.example.com/reports",
                ["read:reports", "write:reports"],
            ),
        ]
    }
}

/// A provider that listens; [`Provider::serve`] makes it answer.
pub struct Provider {
    issuer: String,
    authorities: Vec<String>,
    keys: Keys,
    lifetimes: Lifetimes,
    registry: Registry,
    store: Store,
}

impl Provider {
    /// Takes the address and makes the keys.
    ///
    /// # Errors
    /// A [`web::ListenError`], or [`NotAnOrigin`] for the issuer or a gateway.
    pub async fn bind(settings: Settings) -> Result<(Self, TcpListener)> {
        let (listener, address) = web::listen(settings.listen).await?;
        let issuer = settings
            .issuer
            .unwrap_or_else(|| format!("http://{address}"));
        let authority = origin_authority(&issuer)?;
        for gateway in &settings.gateways {
            origin_authority(gateway)?;
        }
        let (algorithms, default) = (settings.algorithms, settings.default_algorithm);
        let all = settings.keys;
        let generate = move || Keys::generate(&algorithms, default, all);
        let keys = tokio::task::spawn_blocking(generate).await??;
        let registry = Registry::new(
            &settings.gateways,
            settings.client_secret.as_deref(),
            settings.apis,
            keys.algorithms(),
            keys.default_algorithm(),
        );
        let authorities = vec![
            authority,
            address.to_string(),
            format!("localhost:{}", address.port()),
        ];
        let lifetimes = settings.lifetimes;
        let provider = Self {
            issuer,
            authorities,
            keys,
            lifetimes,
            registry,
            store: Store::default(),
        };
        Ok((provider, listener))
    }

    /// Returns the issuer.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Answers until the future is dropped.
    pub async fn serve(self, listener: TcpListener) {
        let provider = Arc::new(self);
        let handler = move |request| {
            let provider = Arc::clone(&provider);
            async move { provider.handle(request).await }
        };
        web::serve(listener, handler).await;
    }

    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let mut response = match self.route(request).await {
            Ok(response) => response,
            Err(error) => {
                eprintln!("airside-demo: internal error: {error:#}");
                web::json(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    &json!({ "error": "server_error" }),
                )
            }
        };
        let headers = response.headers_mut();
        // Codes, tokens and pages for one person only; what may be kept says so itself.
        if !headers.contains_key(header::CACHE_CONTROL) {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        response
    }

    async fn route(&self, request: Request<Incoming>) -> Result<Response<Body>> {
        let (head, body) = request.into_parts();
        // A name that somebody else pointed at this machine must not reach the provider.
        let host = head
            .headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        if !host.is_some_and(|host| self.authorities.iter().any(|known| known == host)) {
            return Ok(web::response(
                StatusCode::MISDIRECTED_REQUEST,
                TEXT,
                "not this host\n",
            ));
        }
        let query = Parameters::parse(head.uri.query().unwrap_or_default().as_bytes());
        let headers = &head.headers;
        let form = match head.method {
            Method::POST => {
                if !web::has_media_type(headers, "application/x-www-form-urlencoded") {
                    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
                    return Ok(web::response(status, TEXT, "a form is expected\n"));
                }
                match web::read_body(body, MAX_FORM_BYTES).await {
                    Ok(form) => Parameters::parse(&form),
                    Err(status) => return Ok(web::response(status, TEXT, "unreadable form\n")),
                }
            }
            _ => Parameters::default(),
        };
        let response = match (head.method.as_str(), head.uri.path()) {
            ("GET", "/") => pages::message(
                "airside demo provider",
                "An OpenID Provider for development. Applications send you here to sign in.",
            ),
            ("GET", "/style.css") => web::response(StatusCode::OK, "text/css", STYLESHEET),
            (
                "GET",
                "/.well-known/openid-configuration" | "/.well-known/oauth-authorization-server",
            ) => web::json(StatusCode::OK, &self.metadata()),
            ("GET", "/jwks") => self.jwks()?,
            ("GET", "/authorize") => self.authorize(headers, &query)?,
            ("POST", "/authorize") => self.authorize(headers, &form)?,
            ("GET", "/login") => self.login_page(headers, &query),
            ("POST", "/login") => self.login(headers, &form)?,
            ("POST", "/token") => self.token(headers, &form)?,
            ("GET" | "POST", "/userinfo") => self.userinfo(headers),
            ("POST", "/introspect") => self.introspect(headers, &form),
            ("POST", "/revoke") => self.revoke(headers, &form),
            ("GET", "/logout") => self.logout(headers, &query)?,
            ("POST", "/logout") => self.logout(headers, &form)?,
            ("GET", "/logout/confirm") => self.confirm_logout_page(headers, &query),
            ("POST", "/logout/confirm") => self.confirm_logout(headers, &form)?,
            _ => web::response(StatusCode::NOT_FOUND, TEXT, "not found\n"),
        };
        Ok(response)
    }

    /// OpenID Connect Discovery 1.0 3, RFC 8414 2.
    fn metadata(&self) -> serde_json::Value {
        let issuer = &self.issuer;
        let algorithms: Vec<_> = self.keys.algorithms().map(Algorithm::name).collect();
        let mut scopes = authorize::OIDC_SCOPES.to_vec();
        scopes.extend(self.registry.api_scopes());
        let client_authentication = ["client_secret_basic", "client_secret_post", "none"];
        json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "userinfo_endpoint": self.userinfo_endpoint(),
            "jwks_uri": format!("{issuer}/jwks"),
            "end_session_endpoint": format!("{issuer}/logout"),
            "revocation_endpoint": format!("{issuer}/revoke"),
            "introspection_endpoint": format!("{issuer}/introspect"),
            "scopes_supported": scopes,
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": algorithms,
            "token_endpoint_auth_methods_supported": client_authentication,
            "revocation_endpoint_auth_methods_supported": client_authentication,
            "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "code_challenge_methods_supported": ["S256"],
            "prompt_values_supported": ["none", "login", "consent", "select_account"],
            "claims_supported": [
                "iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "at_hash",
                "name", "email", "email_verified",
            ],
            "claims_parameter_supported": false,
            "request_parameter_supported": false,
            "request_uri_parameter_supported": false,
            "authorization_response_iss_parameter_supported": true,
        })
    }

    fn jwks(&self) -> Result<Response<Body>> {
        let mut response = web::json(StatusCode::OK, &self.keys.jwks()?);
        // The keys live as long as the process.
        let lifetime = HeaderValue::from_static("public, max-age=60");
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, lifetime);
        Ok(response)
    }

    fn userinfo_endpoint(&self) -> String {
        format!("{}/userinfo", self.issuer)
    }
}

/// An issuer or a gateway is not an origin.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAnOrigin(String);

impl std::fmt::Display for NotAnOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} is not an origin such as http://127.0.0.1:3001, without a path",
            self.0
        )
    }
}

impl std::error::Error for NotAnOrigin {}

/// Returns the authority of an origin.
fn origin_authority(origin: &str) -> Result<String, NotAnOrigin> {
    let authority = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    let parsed = authority.and_then(|authority| authority.parse::<http::uri::Authority>().ok());
    match parsed {
        Some(parsed) if !parsed.as_str().contains('@') => Ok(parsed.to_string()),
        _ => Err(NotAnOrigin(origin.to_owned())),
    }
}

fn redirect(location: &str) -> io::Result<Response<Body>> {
    let mut response = Response::new(web::full(""));
    *response.status_mut() = StatusCode::SEE_OTHER;
    let location = HeaderValue::try_from(location).map_err(io::Error::other)?;
    response.headers_mut().insert(header::LOCATION, location);
    // The location may carry a code: it is nobody else's business.
    response.headers_mut().insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    Ok(response)
}

fn set_cookie(response: &mut Response<Body>, name: &str, value: &str) -> io::Result<()> {
    let line = format!("{name}={value}; {COOKIE_ATTRIBUTES}");
    let line = HeaderValue::try_from(line).map_err(io::Error::other)?;
    response.headers_mut().append(header::SET_COOKIE, line);
    Ok(())
}

fn delete_cookie(response: &mut Response<Body>, name: &str) -> io::Result<()> {
    let line = format!("{name}=; Max-Age=0; {COOKIE_ATTRIBUTES}");
    let line = HeaderValue::try_from(line).map_err(io::Error::other)?;
    response.headers_mut().append(header::SET_COOKIE, line);
    Ok(())
}

/// Browsers do not keep cookies of different ports apart: the names must not meet those of
/// the gateway.
const BROWSER_COOKIE: &str = "airside_demo_browser";
const SESSION_COOKIE: &str = "airside_demo_session";
// No `Secure`: Safari would not take it from an http address, loopback or not.
const COOKIE_ATTRIBUTES: &str = "Path=/; HttpOnly; SameSite=Lax";
const MAX_FORM_BYTES: usize = 64 * 1024;
const TEXT: &str = "text/plain; charset=utf-8";
