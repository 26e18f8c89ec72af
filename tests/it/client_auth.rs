//! `private_key_jwt` and the published keys, on fakes.

use std::collections::BTreeMap;

use airside::encoding::base64url_decode;
use airside::jose::{Algorithm, JwkSet, Jws};
use http::Method;
use jwt_simple::prelude::{ES256KeyPair, Ed25519KeyPair, RS256KeyPair};
use serde_json::{Value, json};

use crate::app::{App, ISSUER, TOKEN, body, check, code};

const JWKS: &str = "/auth/client-jwks.json";

fn key(algorithm: Algorithm, kid: &str) -> String {
    match algorithm {
        Algorithm::EdDsa => Ed25519KeyPair::generate().with_key_id(kid).to_jwk(),
        Algorithm::Es256 => ES256KeyPair::generate().with_key_id(kid).to_jwk(),
        _ => RS256KeyPair::generate(2_048)
            .expect("key")
            .with_key_id(kid)
            .to_jwk(),
    }
}

/// With `private_key_jwt` and these further keys of the provider.
fn app(keys: &str, jwk: &str) -> App {
    let app = App::with(|config| {
        let secret = "client_authentication = \"client_secret_basic\"\nclient_secret_variable = \"client_secret\"";
        assert!(config.contains(secret));
        let key = format!(
            "client_authentication = \"private_key_jwt\"\nclient_key_variable = \"client_key\"\n{keys}"
        );
        config.replace(secret, &key)
    });
    app.world.variables.set("client_key", jwk);
    app
}

fn published(app: &App) -> Vec<Value> {
    let response = app.send(Method::GET, JWKS, &[], "");
    assert_eq!(response.status(), 200);
    let document: Value = serde_json::from_str(body(&response)).expect("JSON");
    document["keys"].as_array().expect("keys").clone()
}

/// The parameters of the last request to the token endpoint, none of them twice.
fn sent(app: &App) -> BTreeMap<String, String> {
    let mut requests = app.world.http.requests();
    requests.retain(|request| request.uri() == TOKEN);
    let request = requests.pop().expect("a token request");
    assert!(!request.headers().contains_key("authorization"));
    let mut parameters = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(request.body()).into_owned() {
        let before = parameters.insert(name.clone(), value);
        assert_eq!(before, None, "{name} twice");
    }
    parameters
}

fn claims(assertion: &str) -> Value {
    let payload = assertion.split('.').nth(1).expect("payload");
    serde_json::from_slice(&base64url_decode(payload).expect("base64url")).expect("JSON")
}

#[test]
fn a_login_is_proved_by_an_assertion_that_the_published_key_verifies() {
    for (algorithm, keys) in [
        (Algorithm::Es256, ""),
        (Algorithm::Es256, "client_assertion_algorithm = \"ES256\""),
        (Algorithm::EdDsa, "client_assertion_algorithm = \"EdDSA\""),
        (Algorithm::Rs256, "client_assertion_algorithm = \"RS256\""),
    ] {
        let app = app(keys, &key(algorithm, "k1"));
        app.log_in();
        let parameters = sent(&app);
        assert_eq!(parameters["client_id"], "the-client");
        assert_eq!(
            parameters["client_assertion_type"],
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        );
        let assertion = &parameters["client_assertion"];
        let set = json!({ "keys": published(&app) }).to_string();
        let set = JwkSet::parse(set.as_bytes()).expect("set");
        let jws = Jws::parse(assertion).expect("JWS");
        assert_eq!(jws.header().kid.as_deref(), Some("k1"));
        assert!(jws.verify(&[algorithm], &set).is_ok(), "{algorithm}");
        let now = app.world.now().as_secs();
        let mut claims = claims(assertion);
        assert!(claims["jti"].as_str().is_some_and(|jti| jti.len() == 22));
        claims.as_object_mut().expect("object").remove("jti");
        let expected = json!({
            "iss": "the-client", "sub": "the-client", "aud": ISSUER, "iat": now, "exp": now + 60,
        });
        assert_eq!(claims, expected);
    }
}

#[test]
fn the_audience_is_the_issuer_or_the_token_endpoint() {
    for (keys, expected) in [
        ("", ISSUER),
        ("client_assertion_audience = \"issuer\"", ISSUER),
        ("client_assertion_audience = \"token_endpoint\"", TOKEN),
    ] {
        let app = app(keys, &key(Algorithm::Es256, "k1"));
        app.log_in();
        assert_eq!(claims(&sent(&app)["client_assertion"])["aud"], expected);
    }
}

#[test]
fn no_assertion_is_used_twice() {
    let app = app("", &key(Algorithm::Es256, "k1"));
    let jti = || {
        app.log_in();
        claims(&sent(&app)["client_assertion"])["jti"].clone()
    };
    assert_ne!(jti(), jti());
}

#[test]
fn a_key_that_is_none_opens_no_session() {
    for (name, jwk) in [
        ("no key", "s3cret".to_owned()),
        ("for another algorithm", key(Algorithm::EdDsa, "k1")),
    ] {
        let app = app("", &jwk);
        let attempt = app.begin("");
        app.grant(&app.claims(&attempt));
        let response = app.come_back(&attempt, "&code=c");
        check(&response, 500, "signing_key_malformed", name);
        assert!(!app.has_session());
        assert_eq!(app.world.http.count(TOKEN), 0, "{name}");
        let events = format!("{:?}", app.world.events.take());
        assert!(!events.contains("s3cret"), "{events}");
        let response = app.send(Method::GET, JWKS, &[], "");
        check(&response, 500, "signing_key_malformed", name);
    }
}

#[test]
fn only_public_members_are_published() {
    for (algorithm, members) in [
        (Algorithm::Es256, "alg crv kid kty use x y"),
        (Algorithm::EdDsa, "alg crv kid kty use x"),
        (Algorithm::Rs256, "alg e kid kty n use"),
    ] {
        let keys = format!("client_assertion_algorithm = \"{algorithm}\"");
        let app = app(&keys, &key(algorithm, "k1"));
        let keys = published(&app);
        assert_eq!(keys.len(), 1);
        let object = keys[0].as_object().expect("object");
        let names: Vec<&str> = object.keys().map(String::as_str).collect();
        assert_eq!(names.join(" "), members);
        assert_eq!(object["use"], "sig");
    }
}

/// With a second provider that knows airside by the key in `second_key`.
fn two(first: &str, second: &str) -> App {
    let app = app(
        r#"
[providers.second]
issuer = "https://second.example"
client_id = "the-client"
client_authentication = "private_key_jwt"
client_key_variable = "second_key"
client_assertion_algorithm = "EdDSA"

[providers.third]
issuer = "https://third.example"
client_id = "the-client"
client_authentication = "private_key_jwt"
client_key_variable = "client_key"

[issuers.second]
issuer = "https://second.example"
client_id = "the-client"
client_authentication = "private_key_jwt"
client_key_variable = "issuer_key"

[providers.fourth]
issuer = "https://fourth.example"
client_id = "the-client"
client_authentication = "client_secret_post"
client_secret_variable = "client_secret"
"#,
        &key(Algorithm::Es256, first),
    );
    let issuer_key = key(Algorithm::Es256, "k3");
    app.world.variables.set("issuer_key", &issuer_key);
    app.world
        .variables
        .set("second_key", &key(Algorithm::EdDsa, second));
    app
}

#[test]
fn every_client_key_is_published_once() {
    let app = two("k1", "k2");
    let names: Vec<Value> = published(&app)
        .iter()
        .map(|jwk| jwk["kid"].clone())
        .collect();
    assert_eq!(names, ["k1", "k2", "k3"]);
}

#[test]
fn two_keys_of_one_name_are_not_published() {
    let app = two("k1", "k1");
    let response = app.send(Method::GET, JWKS, &[], "");
    check(&response, 500, "client_key_id", "the same kid");
}

#[test]
fn without_client_keys_there_is_nothing() {
    let app = App::new();
    let response = app.send(Method::GET, JWKS, &[], "");
    check(&response, 404, "no_route", "no client key");
    let app = self::app("", &key(Algorithm::Es256, "k1"));
    let response = app.send(Method::POST, JWKS, &[], "");
    check(&response, 405, "method_not_allowed", "POST");
    let head = app.send(Method::HEAD, JWKS, &[], "");
    assert_eq!((head.status().as_u16(), code(&head)), (200, None));
}
