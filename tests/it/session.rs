//! `GET /auth/session` on fakes.

use http::Method;
use serde_json::{Value, json};

use crate::app::{App, body, check};

fn get(app: &App) -> http::Response<bytes::Bytes> {
    app.send(
        Method::GET,
        "/auth/session",
        &[("sec-fetch-mode", "cors")],
        "",
    )
}

#[test]
fn it_tells_who_is_signed_in_and_never_a_token() {
    let app = App::new();
    app.log_in();
    let response = get(&app);
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["vary"], "cookie");
    let told: Value = serde_json::from_str(body(&response)).expect("JSON");
    let expected = json!({
        "provider": "op",
        "issuer": "https://op.example",
        "subject": "alice",
        "claims": {"name": "Alice <b>"},
        "auth_time": null,
        "acr": null,
        "expires_at": app.world.now().as_secs() + 28_800,
        "expires_in": 28_800,
        "access_token_expires_at": app.world.now().as_secs() + 300,
        "access_token_expires_in": 300,
    });
    assert_eq!(told, expected);
}

#[test]
fn without_a_running_session_it_is_401() {
    let app = App::new();
    let nobody = get(&app);
    check(&nobody, 401, "no_credential", "none");
    assert_eq!(nobody.headers()["vary"], "cookie");

    app.log_in();
    app.world.clock.advance(28_799);
    assert_eq!(get(&app).status(), 200, "the last second");
    app.world.clock.advance(1);
    check(&get(&app), 401, "session_expired", "idle for too long");
    assert!(!app.has_session(), "and the cookie is gone");

    app.log_in();
    let sealed = app.cookie("__Host-airside").expect("session");
    let flipped = if sealed.ends_with('A') { "B" } else { "A" };
    let changed = format!("{}{flipped}", &sealed[..sealed.len() - 1]);
    app.set_cookie("__Host-airside", Some(&changed));
    check(&get(&app), 401, "no_credential", "changed");
}

#[test]
fn a_login_attempt_is_no_session() {
    let app = App::new();
    let state = app.begin("").get("state").to_owned();
    let name = airside::session::Transaction::cookie_name(&airside::secret::Secret::new(state));
    let sealed = app.cookie(&name).expect("attempt");
    app.set_cookie("__Host-airside", Some(&format!("1~{sealed}")));
    check(
        &get(&app),
        401,
        "no_credential",
        "sealed for another purpose",
    );
}

#[test]
fn it_only_reads() {
    let app = App::new();
    app.log_in();
    for method in [Method::POST, Method::DELETE, Method::OPTIONS] {
        let response = app.send(method.clone(), "/auth/session", &[], "");
        check(&response, 405, "method_not_allowed", method.as_str());
    }
}

#[test]
fn it_says_which_login_a_request_needs_first() {
    let app = App::with(|config| {
        let route = |path: &str, more: &str| {
            format!(
                "[[routes]]\npath = \"{path}\"\naccess = \"login\"\nupstream = \"api\"\n{more}\n\n"
            )
        };
        let strong = route("/pay/*", "methods = [\"POST\"]\nacr_values = [\"mfa\"]");
        let fresh = route("/fresh/*", "max_age_seconds = 60");
        config.replace("[[routes]]", &format!("{strong}{fresh}[[routes]]"))
    });
    let ask = |wanted: &str| {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("for", wanted)
            .finish();
        let response = app.send(Method::GET, &format!("/auth/session?{query}"), &[], "");
        assert_eq!(response.status(), 200, "{wanted}");
        let told: Value = serde_json::from_str(body(&response)).expect("JSON");
        assert_eq!(told["for"]["request"], wanted);
        told["for"]["step_up"].clone()
    };
    let log_in = |acr: Value| {
        let attempt = app.begin("");
        let mut claims = app.claims(&attempt);
        claims["acr"] = acr;
        claims["auth_time"] = app.world.now().as_secs().into();
        app.grant(&claims);
        assert_eq!(app.come_back(&attempt, "&code=c").status(), 303);
    };
    log_in(Value::Null);
    assert_eq!(ask("POST /pay"), "/auth/login?for=POST+%2Fpay");
    for enough in ["/other", "GET /other", "/fresh", "GET /fresh?a=b"] {
        assert_eq!(ask(enough), Value::Null, "{enough}");
    }
    // What is no request of a route asks for nothing.
    for other in [
        "",
        " ",
        "/pay",
        "post /pay",
        "//evil.example",
        "/%2e%2e/pay",
        "https://evil.example/",
    ] {
        assert_eq!(ask(other), Value::Null, "{other}");
    }
    app.world.clock.advance(121);
    assert_eq!(ask("/fresh"), "/auth/login?for=%2Ffresh");
    log_in("mfa".into());
    assert_eq!(
        (ask("POST /pay"), ask("/fresh")),
        (Value::Null, Value::Null)
    );
    let twice = app.send(Method::GET, "/auth/session?for=/a&for=/b", &[], "");
    check(&twice, 400, "login_request_malformed", "twice");

    // The login asks the provider for it, and comes back to where the page is.
    let asked = |query: &str| {
        let attempt = app.begin(query);
        let of = |name: &str| attempt.parameters.get(name).cloned();
        (of("acr_values"), of("max_age"))
    };
    let (mfa, minute) = (Some("mfa".to_owned()), Some("60".to_owned()));
    assert_eq!(asked("for=POST+/pay&return_to=/app"), (mfa.clone(), None));
    assert_eq!(asked("for=/fresh&return_to=/app"), (None, minute.clone()));
    assert_eq!(asked("for=POST+/pay&return_to=/fresh"), (mfa, minute));
    assert_eq!(asked("for=/pay&return_to=/app"), (None, None));
}
