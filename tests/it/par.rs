//! Pushed authorization requests, on fakes: `login` asks `tokens`, which asks the provider.

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use http::{Request, Response};
use jwt_simple::prelude::ES256KeyPair;
use serde_json::json;

use crate::app::{App, Attempt, check, location};

const PAR: &str = "https://op.example/par";
const REQUEST_URI: &str = "urn:ietf:params:oauth:request_uri:a b";

/// A `login` and a `tokens` of one configuration, at a provider with a PAR endpoint.
fn two(change: impl Fn(String) -> String, required: bool) -> (App, Rc<App>) {
    let (login, tokens) = (App::with(&change), Rc::new(App::with(&change)));
    for app in [&login, &*tokens] {
        app.advertise(json!({
            "pushed_authorization_request_endpoint": PAR,
            "require_pushed_authorization_requests": required,
        }));
    }
    answer(
        &tokens,
        201,
        json!({"request_uri": REQUEST_URI, "expires_in": 60}).to_string(),
    );
    login.connect_tokens("par", Rc::clone(&tokens));
    (login, tokens)
}

fn answer(tokens: &App, status: u16, body: String) {
    tokens.world.http.on(PAR, move |_| {
        let response = Response::builder().status(status);
        Ok(response.body(Bytes::from(body.clone())).expect("response"))
    });
}

fn pushes(word: &str) -> impl Fn(String) -> String {
    let line = format!("pushed_authorization_requests = \"{word}\"\naudience =");
    move |config| config.replacen("audience =", &line, 1)
}

fn pushed(tokens: &App) -> Request<Bytes> {
    let mut requests = tokens.world.http.requests();
    requests.retain(|request| request.uri() == PAR);
    assert_eq!(requests.len(), 1);
    requests.remove(0)
}

/// The parameters that were pushed, none of them twice.
fn parameters(tokens: &App) -> BTreeMap<String, String> {
    let request = pushed(tokens);
    let mut parameters = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(request.body()).into_owned() {
        let before = parameters.insert(name.clone(), value);
        assert_eq!(before, None, "{name} twice");
    }
    parameters
}

#[test]
fn the_redirect_then_carries_the_client_and_the_request_uri_alone() {
    let (login, tokens) = two(pushes("always"), false);
    let attempt = login.begin("return_to=/x&login_hint=a");
    let expected = BTreeMap::from([
        ("client_id".to_owned(), "the-client".to_owned()),
        ("request_uri".to_owned(), REQUEST_URI.to_owned()),
    ]);
    assert_eq!(attempt.parameters, expected);
    assert!(
        attempt
            .location
            .starts_with("https://op.example/authorize?client_id=")
    );
    assert_eq!(
        login.world.http.count(PAR),
        0,
        "login itself has no credential"
    );

    // The nearest twin: the same request, not pushed.
    let (twin, _) = two(pushes("never"), false);
    let twin = twin.begin("return_to=/x&login_hint=a");
    // Randomness is seeded, so that the two attempts are alike.
    assert_eq!(parameters(&tokens), twin.parameters);
}

#[test]
fn a_login_that_was_pushed_ends_in_a_session() {
    let (login, tokens) = two(pushes("always"), false);
    login.begin("return_to=/x");
    let attempt = Attempt {
        location: String::new(),
        parameters: parameters(&tokens),
    };
    login.grant(&login.claims(&attempt));
    let response = login.come_back(&attempt, "&code=c");
    assert_eq!(
        (response.status().as_u16(), location(&response).as_str()),
        (303, "/x")
    );
    assert!(login.has_session());
}

#[test]
fn requests_are_pushed_when_it_is_required_or_asked_for() {
    for (word, required, expected) in [
        ("when_required", false, 0),
        ("when_required", true, 1),
        ("always", false, 1),
        ("always", true, 1),
        ("never", false, 0),
        ("never", true, 0),
    ] {
        let (login, tokens) = two(pushes(word), required);
        login.begin("");
        assert_eq!(tokens.world.http.count(PAR), expected, "{word} {required}");
    }
    let (login, tokens) = two(|config| config, true);
    login.begin("");
    assert_eq!(
        tokens.world.http.count(PAR),
        1,
        "the default follows the metadata"
    );
}

#[test]
fn the_client_proves_itself_and_is_named_once_whatever_its_authentication() {
    let secret = "client_authentication = \"client_secret_basic\"\nclient_secret_variable = \"client_secret\"";
    for (authentication, header, names) in [
        (secret, true, vec![]),
        (
            "client_authentication = \"client_secret_post\"\nclient_secret_variable = \"client_secret\"",
            false,
            vec!["client_secret"],
        ),
        (
            "client_authentication = \"private_key_jwt\"\nclient_key_variable = \"client_key\"",
            false,
            vec!["client_assertion", "client_assertion_type"],
        ),
        ("client_authentication = \"none\"", false, vec![]),
    ] {
        let change = |config: String| pushes("always")(config.replace(secret, authentication));
        let (login, tokens) = two(change, false);
        tokens
            .world
            .variables
            .set("client_key", &ES256KeyPair::generate().to_jwk());
        login.begin("");
        let parameters = parameters(&tokens);
        assert_eq!(parameters["client_id"], "the-client", "{authentication}");
        let proofs = ["client_assertion", "client_assertion_type", "client_secret"];
        let proofs: Vec<&str> = proofs
            .into_iter()
            .filter(|name| parameters.contains_key(*name))
            .collect();
        assert_eq!(proofs, names, "{authentication}");
        let has_header = pushed(&tokens).headers().contains_key("authorization");
        assert_eq!(has_header, header, "{authentication}");
    }
}

#[test]
fn a_request_that_cannot_be_pushed_is_a_page_and_no_attempt() {
    for (status, body, expected) in [
        (400, json!({"error": "invalid_request"}), "par_refused"),
        (
            401,
            json!({"error": "invalid_client"}),
            "token_invalid_client",
        ),
        (503, json!({}), "par_unavailable"),
        (302, json!({}), "par_unavailable"),
        (201, json!({"expires_in": 60}), "par_response_malformed"),
    ] {
        let (login, tokens) = two(pushes("always"), false);
        answer(&tokens, status, body.to_string());
        let response = login.navigate("/auth/login");
        check(&response, 503, expected, expected);
        assert_eq!(login.attempts(), 0, "{expected}");
        assert!(
            response.headers()["content-type"]
                .as_bytes()
                .starts_with(b"text/html")
        );
        answer(
            &tokens,
            201,
            json!({"request_uri": REQUEST_URI}).to_string(),
        );
        login.begin("");
        assert_eq!(login.attempts(), 1, "the twin");
    }
}

#[test]
fn what_is_missing_on_the_way_is_named() {
    let (login, tokens) = two(pushes("always"), false);
    tokens.advertise(json!({}));
    check(
        &login.navigate("/auth/login"),
        503,
        "metadata_endpoint",
        "no endpoint",
    );

    let app = App::with(pushes("always"));
    check(
        &app.navigate("/auth/login"),
        503,
        "tokens_unavailable",
        "no tokens",
    );
    assert_eq!(app.attempts(), 0);
}
