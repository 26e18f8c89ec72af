//! A browser in front of the endpoints, on fake ports, with one identity provider.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use airside::encoding::base64url_encode;
use airside::endpoint::Head;
use airside::endpoint::{self, Decision, Instance};
use airside::respond::Code;
use airside::testing::{Idp, PlanHeaders, World, block_on};
use bytes::Bytes;
use http::header::{COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use serde_json::{Value, json};

/// The provider.
pub(crate) const ISSUER: &str = "https://op.example";
/// Its token endpoint.
pub(crate) const TOKEN: &str = "https://op.example/token";

const CONFIG: &str = r#"
public_url = "https://app.example"

[providers.op]
issuer = "https://op.example"
client_id = "the-client"
client_authentication = "client_secret_basic"
client_secret_variable = "client_secret"
audience = "https://api.example.com"

[issuers.op]
issuer = "https://op.example"

[upstreams.api]
url = "https://api.internal.example"

[[routes]]
path = "/*"
access = "login"
upstream = "api"
"#;

pub(crate) struct App {
    pub(crate) world: World,
    pub(crate) instance: Instance,
    pub(crate) idp: Rc<Idp>,
    config: String,
    jar: RefCell<BTreeMap<String, String>>,
}

/// What the provider is asked to do by the redirect of a login.
pub(crate) struct Attempt {
    pub(crate) location: String,
    pub(crate) parameters: BTreeMap<String, String>,
}

impl Attempt {
    pub(crate) fn get(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }
}

impl App {
    pub(crate) fn new() -> Self {
        Self::with(|config| config)
    }

    /// With `refresh = true`, so that sessions have refresh tokens.
    pub(crate) fn refreshing() -> Self {
        Self::with(|config| config.replacen("audience =", "refresh = true\naudience =", 1))
    }

    /// With a change of the configuration.
    pub(crate) fn with(change: impl Fn(String) -> String) -> Self {
        let world = World::default();
        let key = base64url_encode(&[7; 32]);
        world.variables.set("session_keys", &format!("k:{key}"));
        world.variables.set("client_secret", "s3cr3t:+/");
        let idp = Rc::new(Idp::new(ISSUER));
        let url = idp.issuer().openid_configuration();
        world.http.json(&url, idp.metadata().to_string());
        world
            .http
            .json("https://op.example/jwks", idp.jwks().to_string());
        let config = change(CONFIG.to_owned());
        let instance = block_on(Instance::start(Some(config.as_str().into()), world.ports()))
            .expect("instance");
        App {
            world,
            instance,
            idp,
            config,
            jar: RefCell::default(),
        }
    }

    /// The same world and browser, and an instance that remembers nothing.
    pub(crate) fn restarted(self) -> Self {
        App {
            instance: self.machine(),
            ..self
        }
    }

    /// Another instance in the same world: one more machine with the same store.
    pub(crate) fn machine(&self) -> Instance {
        let started = block_on(Instance::start(
            Some(self.config.as_str().into()),
            self.world.ports(),
        ));
        started.expect("instance")
    }

    /// A person follows a link.
    pub(crate) fn navigate(&self, target: &str) -> Response<Bytes> {
        let headers = [
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        self.send(Method::GET, target, &headers, "")
    }

    /// A request with the cookies of the jar, routed as in the manifest; cookies that come back
    /// go into the jar.
    pub(crate) fn send(
        &self,
        method: Method,
        target: &str,
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> Response<Bytes> {
        self.send_to(&self.instance, method, target, headers, body)
    }

    /// The same, to a machine of choice. What the gate passes on to the upstream is a 200.
    pub(crate) fn send_to(
        &self,
        instance: &Instance,
        method: Method,
        target: &str,
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> Response<Bytes> {
        let mut request = Request::new(Bytes::from(body.to_owned()));
        *request.method_mut() = method;
        *request.uri_mut() = target.parse().expect("target");
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).expect("header value");
            request.headers_mut().append(*name, value);
        }
        let line = self.cookie_line();
        if !line.is_empty() {
            let line = HeaderValue::from_str(&line).expect("cookie line");
            request.headers_mut().insert(COOKIE, line);
        }
        let path = request.uri().path().to_owned();
        let ports = self.world.ports();
        let response = match path.as_str() {
            "/auth/login" => block_on(endpoint::login(request, instance, ports)),
            "/auth/session" => block_on(endpoint::session(request, instance, ports)),
            path if path.starts_with("/auth/callback") || path == "/auth/client-jwks.json" => {
                block_on(endpoint::callback(request, instance, ports))
            }
            path if path.starts_with("/auth/") => {
                block_on(endpoint::logout(request, instance, ports))
            }
            path if path.starts_with("/tokens") => {
                block_on(endpoint::tokens(request, instance, ports))
            }
            _ => {
                let (head, _) = request.into_parts();
                match block_on(endpoint::authorize(&mut Head::from(&head), instance, ports)) {
                    Decision::Respond(response) => response,
                    Decision::Forward(plan) => {
                        self.store(&plan.response_headers(HeaderMap::new()));
                        return Response::new(Bytes::new());
                    }
                }
            }
        };
        check_own_answer(&response);
        self.store(response.headers());
        response
    }

    pub(crate) fn cookie_line(&self) -> String {
        let jar = self.jar.borrow();
        let pairs: Vec<String> = jar.iter().map(|(n, v)| format!("{n}={v}")).collect();
        pairs.join("; ")
    }

    fn store(&self, headers: &HeaderMap) {
        for value in headers.get_all(SET_COOKIE) {
            let text = value.to_str().expect("text");
            let (name, rest) = text.split_once('=').expect("pair");
            let value = rest.split(';').next().expect("value");
            if text.contains("Max-Age=0") {
                self.jar.borrow_mut().remove(name);
            } else {
                self.jar
                    .borrow_mut()
                    .insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// Puts a cookie into the jar, or takes it away.
    pub(crate) fn set_cookie(&self, name: &str, value: Option<&str>) {
        let mut jar = self.jar.borrow_mut();
        match value {
            Some(value) => jar.insert(name.to_owned(), value.to_owned()),
            None => jar.remove(name),
        };
    }

    /// A cookie of the jar.
    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        self.jar.borrow().get(name).cloned()
    }

    /// How many login attempts the jar holds.
    pub(crate) fn attempts(&self) -> usize {
        let jar = self.jar.borrow();
        jar.keys()
            .filter(|name| name.starts_with("__Host-airside-tx-"))
            .count()
    }

    /// True when the jar holds a session.
    pub(crate) fn has_session(&self) -> bool {
        self.jar.borrow().contains_key("__Host-airside")
    }

    /// Begins a login.
    #[track_caller]
    pub(crate) fn begin(&self, query: &str) -> Attempt {
        let response = self.navigate(&format!("/auth/login?{query}"));
        assert_eq!(response.status(), 303);
        let location = location(&response);
        let (_, query) = location.split_once('?').expect("query");
        let parameters = form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        Attempt {
            location,
            parameters,
        }
    }

    /// The claims of a good ID token for `attempt`.
    pub(crate) fn claims(&self, attempt: &Attempt) -> Value {
        let now = self.world.now().as_secs();
        json!({
            "iss": ISSUER, "sub": "alice", "aud": "the-client", "name": "Alice <b>",
            "iat": now, "exp": now + 300, "nonce": attempt.get("nonce"),
        })
    }

    /// Lets the token endpoint give tokens with these ID token claims.
    pub(crate) fn grant(&self, claims: &Value) {
        let tokens = json!({
            "access_token": "at-secret", "token_type": "Bearer", "expires_in": 300,
            "refresh_token": "rt-secret", "id_token": self.idp.sign(claims),
        });
        self.answer_token(200, tokens.to_string());
    }

    /// Lets the token endpoint answer so.
    pub(crate) fn answer_token(&self, status: u16, body: String) {
        self.world.http.on(TOKEN, move |_| {
            let response = Response::builder().status(status);
            Ok(response.body(Bytes::from(body.clone())).expect("response"))
        });
    }

    /// The provider sends the browser back.
    pub(crate) fn come_back(&self, attempt: &Attempt, more: &str) -> Response<Bytes> {
        let state = attempt.get("state");
        self.navigate(&format!("/auth/callback?state={state}{more}"))
    }

    /// Lets calls to `tokens` for `operation` reach the component of `other`.
    pub(crate) fn connect_tokens(&self, operation: &str, other: Rc<App>) {
        let url = format!("{}/tokens/{operation}", endpoint::tokens::TOKENS_ORIGIN);
        self.world.http.on(&url, move |request| {
            let mut request = request.clone();
            // The host shows a chained request so.
            *request.uri_mut() = request.uri().path().parse().expect("path");
            let (instance, ports) = (&other.instance, other.world.ports());
            Ok(block_on(endpoint::tokens(request, instance, ports)))
        });
    }

    /// Lays `members` over the provider's metadata.
    pub(crate) fn advertise(&self, members: Value) {
        let mut metadata = self.idp.metadata();
        let laid = metadata.as_object_mut().expect("object");
        laid.extend(members.as_object().expect("object").clone());
        let url = self.idp.issuer().openid_configuration();
        self.world.http.json(&url, metadata.to_string());
    }

    /// A whole login.
    #[track_caller]
    pub(crate) fn log_in(&self) {
        let attempt = self.begin("");
        self.grant(&self.claims(&attempt));
        let response = self.come_back(&attempt, "&code=c");
        assert_eq!((response.status().as_u16(), code(&response)), (303, None));
    }
}

/// The code of a refusal.
pub(crate) fn code(response: &Response<Bytes>) -> Option<&'static str> {
    response.extensions().get::<Code>().map(|code| code.0)
}

#[track_caller]
pub(crate) fn check(response: &Response<Bytes>, status: u16, expected: &'static str, name: &str) {
    let found = (response.status().as_u16(), code(response));
    assert_eq!(found, (status, Some(expected)), "{name}");
}

pub(crate) fn location(response: &Response<Bytes>) -> String {
    let location = response
        .headers()
        .get(LOCATION)
        .and_then(|value| value.to_str().ok());
    location.unwrap_or_default().to_owned()
}

pub(crate) fn body(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).expect("text")
}

/// What holds for every answer of airside's own.
#[track_caller]
fn check_own_answer(response: &Response<Bytes>) {
    let one = |name: &str| {
        let mut values = response.headers().get_all(name).iter();
        let first = values.next().and_then(|value| value.to_str().ok());
        assert!(values.next().is_none(), "{name} twice");
        first.unwrap_or_default().to_owned()
    };
    assert_eq!(one("content-length"), response.body().len().to_string());
    assert_eq!(one("cache-control"), "no-store");
    assert_eq!(one("x-content-type-options"), "nosniff");
    assert!(one("content-security-policy").contains("default-src 'none'"));
    assert!(matches!(
        one("referrer-policy").as_str(),
        "no-referrer" | "same-origin"
    ));
    for cookie in response.headers().get_all(SET_COOKIE) {
        let text = cookie.to_str().expect("text");
        assert!(text.starts_with("__Host-airside"), "{text}");
        assert!(
            text.contains("; HttpOnly; Secure; SameSite=Lax; Path=/; Max-Age="),
            "{text}"
        );
        assert!(!text.contains("Domain") && text.len() < 4_096, "{text}");
    }
}
