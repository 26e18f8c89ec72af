//! `GET /auth/login` on fakes.

use airside::ports::HttpError;
use http::Method;

use crate::app::{App, ISSUER, body, check, location};

const PERSON: [(&str, &str); 2] = [
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
];

#[test]
fn a_person_is_sent_to_the_provider() {
    let app = App::new();
    // Whatever Host says: the way back is from the configuration.
    let headers = [PERSON[0], PERSON[1], ("host", "evil.example")];
    let response = app.send(Method::GET, "/auth/login?return_to=/a", &headers, "");
    assert_eq!(response.status(), 303);
    assert!(location(&response).starts_with("https://op.example/authorize?"));
    let attempt = app.begin("login_hint=alice%26prompt%3Dnone");
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "the-client"),
        ("redirect_uri", "https://app.example/auth/callback"),
        ("scope", "openid profile email"),
        ("code_challenge_method", "S256"),
        ("audience", "https://api.example.com"),
        ("login_hint", "alice&prompt=none"),
        ("prompt", ""),
    ] {
        assert_eq!(attempt.get(name), value, "{name}");
    }
    for name in ["state", "nonce", "code_challenge"] {
        assert!(attempt.get(name).len() >= 22, "{name}");
        assert!(!attempt.location.contains("code_verifier"));
    }
}

#[test]
fn each_attempt_has_secrets_of_its_own() {
    let app = App::new();
    let (one, two) = (app.begin(""), app.begin(""));
    for name in ["state", "nonce", "code_challenge"] {
        assert_ne!(one.get(name), two.get(name), "{name}");
    }
    assert_ne!(one.get("state"), one.get("nonce"));
    assert_eq!(app.attempts(), 2);
}

#[test]
fn attempts_do_not_pile_up() {
    let app = App::new();
    for _ in 0..9 {
        app.begin("");
        app.world.clock.advance(1);
    }
    assert_eq!(app.attempts(), 5);
}

#[test]
fn programs_get_401_and_no_cookie() {
    let app = App::new();
    for (name, method, headers) in [
        (
            "fetch",
            Method::GET,
            vec![("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")],
        ),
        (
            "iframe",
            Method::GET,
            vec![("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
        ),
        (
            "prefetch",
            Method::GET,
            vec![PERSON[0], PERSON[1], ("sec-purpose", "prefetch")],
        ),
        ("curl", Method::GET, vec![("accept", "*/*")]),
    ] {
        let response = app.send(method, "/auth/login", &headers, "");
        check(&response, 401, "no_credential", name);
    }
    let response = app.send(Method::PUT, "/auth/login", &PERSON, "");
    check(&response, 405, "method_not_allowed", "put");
    let script = [("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "empty")];
    let response = app.send(Method::POST, "/auth/login", &script, "");
    check(&response, 401, "no_credential", "a script's post");
    assert_eq!(app.attempts(), 0);
    let old_browser = [("accept", "text/html,*/*;q=0.8")];
    let response = app.send(Method::GET, "/auth/login", &old_browser, "");
    assert_eq!((response.status().as_u16(), app.attempts()), (303, 1));
}

#[test]
fn parameters_are_sent_once_and_name_a_provider() {
    let app = App::new();
    let twice = app.navigate("/auth/login?return_to=/a&return_to=//evil.example");
    check(&twice, 400, "login_request_malformed", "return_to twice");
    let unknown = app.navigate("/auth/login?provider=nobody");
    check(&unknown, 400, "unknown_provider", "unknown provider");
    assert_eq!(app.attempts(), 0);
    assert!(
        app.begin("provider=op&login_hint=")
            .location
            .starts_with(ISSUER)
    );
}

#[test]
fn a_login_hint_that_is_too_long_is_dropped() {
    let app = App::new();
    let hint = |length: usize| app.begin(&format!("login_hint={}", "x".repeat(length)));
    assert_eq!(hint(256).get("login_hint").len(), 256);
    assert_eq!(hint(257).get("login_hint"), "");
}

#[test]
fn several_providers_are_a_choice() {
    let second = r#"
[providers.second]
issuer = "https://second.example"
client_id = "another-client"
client_authentication = "none"
"#;
    let app = App::with(|config| config + second);
    let response = app.navigate("/auth/login?return_to=%2Fa%22%3E%3Cscript%3E");
    assert_eq!((response.status().as_u16(), app.attempts()), (200, 0));
    let page = body(&response);
    assert!(
        page.contains("provider=op&amp;") && page.contains("provider=second&amp;"),
        "{page}"
    );
    assert!(!page.contains("<script"), "{page}");
    assert!(app.begin("provider=op").location.starts_with(ISSUER));
}

#[test]
fn without_provider_or_randomness_there_is_no_attempt() {
    let app = App::new();
    app.world.random.break_down();
    check(
        &app.navigate("/auth/login"),
        500,
        "internal",
        "no randomness",
    );

    let app = App::new();
    let url = app.idp.issuer().openid_configuration();
    app.world.http.fail(&url, HttpError::Unreachable);
    let response = app.navigate("/auth/login");
    check(&response, 503, "provider_unreachable", "provider down");
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(app.attempts(), 0);
}

#[test]
fn our_cookie_sent_twice_is_refused_and_removed() {
    let app = App::new();
    app.set_cookie("__Host-airside", Some("1~a; __Host-airside=1~b"));
    check(
        &app.navigate("/auth/login"),
        400,
        "cookie_duplicate",
        "twice",
    );
    assert!(!app.has_session(), "the next request works");
    app.begin("");
}
