//! A client and a browser for tests: one request on one connection, cookies, no redirects.

use std::collections::BTreeMap;

use airside_demo::provider::{Algorithm, Provider, Settings};
use airside_demo::web::Parameters;
use bytes::Bytes;
use ct_codecs::{Base64UrlSafeNoPadding, Decoder, Encoder};
use form_urlencoded::Serializer;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

pub(crate) const API: &str = "https://api.example.com/invoices";
pub(crate) const CALLBACK: &str = "http://127.0.0.1:3000/auth/callback";
pub(crate) const SECRET: &str = "a secret: with + and %";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// Starts a provider with one ES256 key on a free port and returns its issuer.
pub(crate) async fn provider() -> String {
    provider_with(|_| {}).await
}

/// As [`provider`], with other settings.
pub(crate) async fn provider_with(change: impl FnOnce(&mut Settings)) -> String {
    let mut settings = Settings::new("127.0.0.1:0".parse().unwrap(), "http://127.0.0.1:3000");
    settings.client_secret = Some(SECRET.to_owned());
    settings.algorithms = vec![Algorithm::ES256];
    settings.default_algorithm = Algorithm::ES256;
    change(&mut settings);
    let (provider, listener) = Provider::bind(settings).await.unwrap();
    let issuer = provider.issuer().to_owned();
    tokio::spawn(provider.serve(listener));
    issuer
}

/// Sends a request and returns the whole answer.
pub(crate) async fn send(origin: &str, mut request: Request<Bytes>) -> Response<Bytes> {
    let authority = origin.strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(authority).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    if !request.headers().contains_key(header::HOST) {
        request
            .headers_mut()
            .insert(header::HOST, authority.parse().unwrap());
    }
    let (head, body) = sender
        .send_request(request.map(Full::new))
        .await
        .unwrap()
        .into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

/// Returns a request for a page.
pub(crate) fn get(target: &str) -> Request<Bytes> {
    Request::get(target).body(Bytes::new()).unwrap()
}

/// Returns a request with a form.
pub(crate) fn post(target: &str, form: &[(&str, &str)]) -> Request<Bytes> {
    Request::post(target)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Bytes::from(
            Serializer::new(String::new()).extend_pairs(form).finish(),
        ))
        .unwrap()
}

/// Adds `client_secret_basic` of the confidential client.
pub(crate) fn as_demo(mut request: Request<Bytes>) -> Request<Bytes> {
    let encoded: String = form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
    let credentials = ct_codecs::Base64::encode_to_string(format!("airside-demo:{encoded}"));
    let line = format!("Basic {}", credentials.unwrap());
    request
        .headers_mut()
        .insert(header::AUTHORIZATION, line.parse().unwrap());
    request
}

/// Returns a JSON body.
pub(crate) fn json(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

/// Returns a member of a JSON body that is a string.
#[track_caller]
pub(crate) fn text(value: &Value, name: &str) -> String {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("no {name} in {value}"))
        .to_owned()
}

/// Returns header and claims of a JWT, without a look at its signature.
pub(crate) fn decode(jwt: &str) -> (Value, Value) {
    let part = |index: usize| {
        let part = jwt.split('.').nth(index).unwrap();
        let bytes = Base64UrlSafeNoPadding::decode_to_vec(part, None).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    (part(0), part(1))
}

/// Returns the address a response redirects to, and the parameters there.
#[track_caller]
pub(crate) fn redirect(response: &Response<Bytes>) -> (String, Parameters) {
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let location = response.headers()[header::LOCATION].to_str().unwrap();
    let (address, query) = location.split_once('?').unwrap_or((location, ""));
    (address.to_owned(), Parameters::parse(query.as_bytes()))
}

/// A browser that knows one provider.
#[derive(Default)]
pub(crate) struct Browser {
    pub(crate) issuer: String,
    pub(crate) cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) fn new(issuer: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            cookies: BTreeMap::new(),
        }
    }

    pub(crate) async fn send(&mut self, mut request: Request<Bytes>) -> Response<Bytes> {
        if !self.cookies.is_empty() {
            let pairs: Vec<_> = self
                .cookies
                .iter()
                .map(|(k, v)| format!("{k}={v}"))
                .collect();
            request
                .headers_mut()
                .insert(header::COOKIE, pairs.join("; ").parse().unwrap());
        }
        let response = send(&self.issuer, request).await;
        for line in response.headers().get_all(header::SET_COOKIE) {
            let (name, rest) = line.to_str().unwrap().split_once('=').unwrap();
            let (value, attributes) = rest.split_once(';').unwrap();
            match attributes.contains("Max-Age=0") {
                true => self.cookies.remove(name),
                false => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        response
    }

    /// Sends an authorization request; `change` overrides parameters, an empty value omits.
    pub(crate) async fn authorize(&mut self, change: &[(&str, &str)]) -> Response<Bytes> {
        let mut parameters = BTreeMap::from([
            ("response_type", "code"),
            ("client_id", "airside-demo"),
            ("redirect_uri", CALLBACK),
            (
                "scope",
                "openid profile email offline_access read:invoices write:invoices",
            ),
            ("audience", API),
            ("state", "the state & more"),
            ("nonce", "the nonce"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ]);
        parameters.extend(change.iter().copied());
        parameters.retain(|_, value| !value.is_empty());
        let query = Serializer::new(String::new())
            .extend_pairs(parameters)
            .finish();
        self.send(get(&format!("/authorize?{query}"))).await
    }

    /// Picks a user on the page a response redirects to.
    pub(crate) async fn pick(&mut self, asked: &Response<Bytes>, user: &str) -> Response<Bytes> {
        let (page, parameters) = redirect(asked);
        assert_eq!(page, format!("{}/login", self.issuer));
        let interaction = parameters.one("interaction").unwrap();
        let shown = self
            .send(get(&format!("/login?interaction={interaction}")))
            .await;
        assert_eq!(shown.status(), StatusCode::OK);
        self.send(post(
            "/login",
            &[("interaction", interaction), ("user", user)],
        ))
        .await
    }

    /// Signs in and returns the code.
    pub(crate) async fn code(&mut self, user: &str, change: &[(&str, &str)]) -> String {
        let asked = self.authorize(change).await;
        let answered = self.pick(&asked, user).await;
        redirect(&answered).1.one("code").unwrap().to_owned()
    }

    /// Exchanges a code as the confidential client.
    pub(crate) async fn exchange(&self, code: &str, verifier: &str) -> Response<Bytes> {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", verifier),
        ];
        send(&self.issuer, as_demo(post("/token", &form))).await
    }

    /// Signs in and returns the token response.
    pub(crate) async fn tokens(&mut self, user: &str, change: &[(&str, &str)]) -> Value {
        let code = self.code(user, change).await;
        let answer = self.exchange(&code, VERIFIER).await;
        assert_eq!(answer.status(), StatusCode::OK);
        json(&answer)
    }
}

/// Returns the status of the userinfo endpoint for an access token.
pub(crate) async fn userinfo(issuer: &str, access_token: &str) -> Response<Bytes> {
    let mut request = get("/userinfo");
    let line = format!("Bearer {access_token}");
    request
        .headers_mut()
        .insert(header::AUTHORIZATION, line.parse().unwrap());
    send(issuer, request).await
}

/// Asserts an OAuth error response.
#[track_caller]
pub(crate) fn refused(response: &Response<Bytes>, status: StatusCode, error: &str) {
    assert_eq!(
        (response.status(), text(&json(response), "error").as_str()),
        (status, error)
    );
}
