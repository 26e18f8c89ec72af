//! Step-up for people (RFC 9470): the gate sends them to the login, the login asks for what
//! the route wants, the callback verifies it, and nothing loops.

use airside::endpoint::{Decision, Head, authorize};
use airside::testing::block_on;
use http::{Request, Response};
use serde_json::{Value, json};

use crate::app::{App, code, location};

const API: &str = "https://api.example.com";
const NAVIGATE: [(&str, &str); 2] = [
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
];

fn app() -> App {
    App::with(|config| {
        config
            + r#"
            [[routes]]
            path = "/admin/*"
            access = "login"
            acr_values = ["mfa", "hwk"]
            upstream = "api"

            [[routes]]
            path = "/pay/*"
            access = "login"
            max_age_seconds = 120
            upstream = "api"

            [[routes]]
            path = "/api/*"
            access = "token"
            issuer = "op"
            audience = "https://api.example.com"
            acr_values = ["mfa"]
            upstream = "api"
            "#
    })
}

/// What the gate does with a request of this browser.
enum Outcome {
    Forwarded,
    Refused(u16, Option<&'static str>, String),
}

fn gate(app: &App, path: &str, headers: &[(&str, &str)]) -> Outcome {
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let line = app.cookie_line();
    if !line.is_empty() {
        request = request.header("cookie", line);
    }
    let head = request.body(()).expect("request").into_parts().0;
    match block_on(authorize(
        &mut Head::from(&head),
        &app.instance,
        app.world.ports(),
    )) {
        Decision::Forward(_) => Outcome::Forwarded,
        Decision::Respond(response) => refused(&response),
    }
}

fn refused(response: &Response<bytes::Bytes>) -> Outcome {
    let challenge = response.headers().get("www-authenticate");
    let text = match challenge {
        Some(value) => value.to_str().expect("text").to_owned(),
        None => location(response),
    };
    Outcome::Refused(response.status().as_u16(), code(response), text)
}

#[track_caller]
fn forwarded(app: &App, path: &str) {
    match gate(app, path, &NAVIGATE) {
        Outcome::Forwarded => {}
        Outcome::Refused(status, code, _) => panic!("{path}: {status} {code:?}"),
    }
}

#[track_caller]
fn check(outcome: Outcome, status: u16, code: Option<&'static str>) -> String {
    match outcome {
        Outcome::Refused(found, found_code, text) => {
            assert_eq!((found, found_code), (status, code));
            text
        }
        Outcome::Forwarded => panic!("forwarded"),
    }
}

/// A whole login that leads to `path`, with these claims over the usual ones, and the callback's
/// status and code.
fn log_in(app: &App, path: &str, over: Value) -> (u16, Option<&'static str>) {
    log_in_with(app, path, over, None)
}

fn log_in_with(
    app: &App,
    path: &str,
    over: Value,
    access_token: Option<String>,
) -> (u16, Option<&'static str>) {
    let attempt = app.begin(&format!("return_to={path}"));
    let mut claims = app.claims(&attempt);
    for (name, value) in over.as_object().expect("object") {
        claims[name] = value.clone();
    }
    match access_token {
        Some(access_token) => {
            let tokens = json!({
                "access_token": access_token, "token_type": "Bearer", "expires_in": 300,
                "id_token": app.idp.sign(&claims),
            });
            app.answer_token(200, tokens.to_string());
        }
        None => app.grant(&claims),
    }
    let response = app.come_back(&attempt, "&code=c");
    (response.status().as_u16(), code(&response))
}

#[test]
fn the_login_asks_for_what_the_route_wants_and_no_link_asks_for_less() {
    let app = app();
    let asked = |query: &str| {
        let attempt = app.begin(query);
        (
            attempt.get("acr_values").to_owned(),
            attempt.get("max_age").to_owned(),
        )
    };
    let pair = |acr: &str, age: &str| (acr.to_owned(), age.to_owned());
    for link in [
        "return_to=/admin/x",
        "return_to=%2Fadmin",
        "return_to=/%2561dmin/x",
        "return_to=/admin/x?acr_values=pwd",
        "return_to=/admin/x&acr_values=pwd&max_age=99999",
    ] {
        assert_eq!(asked(link), pair("mfa hwk", ""), "{link}");
    }
    assert_eq!(asked("return_to=/pay/1"), pair("", "120"));
    assert_eq!(asked("return_to=/elsewhere"), pair("", ""));
    assert_eq!(asked(""), pair("", ""));
}

#[test]
fn the_callback_takes_only_what_was_asked_for() {
    let failed = (403, Some("step_up_failed"));
    let app = app();
    assert_eq!(log_in(&app, "/admin/x", json!({})), failed);
    assert_eq!(log_in(&app, "/admin/x", json!({ "acr": "pwd" })), failed);
    assert!(!app.has_session());
    assert_eq!(
        log_in(&app, "/admin/x", json!({ "acr": "hwk" })),
        (303, None)
    );
    forwarded(&app, "/admin/x");

    let now = app.world.now().as_secs();
    for over in [json!({}), json!({ "auth_time": now - 120 - 61 })] {
        assert_eq!(log_in(&app, "/pay/1", over), failed);
    }
    let just = json!({ "auth_time": now - 120 - 60 });
    assert_eq!(log_in(&app, "/pay/1", just), (303, None));
    forwarded(&app, "/pay/1");
    // What another route wants is no matter here.
    assert_eq!(log_in(&app, "/elsewhere", json!({})), (303, None));
}

#[test]
fn a_session_that_is_not_enough_is_sent_to_the_login_and_kept() {
    let app = app();
    app.log_in();
    forwarded(&app, "/elsewhere");
    let before = app.cookie("__Host-airside");
    let login = check(gate(&app, "/admin/x?y=1", &NAVIGATE), 303, None);
    assert_eq!(login, "/auth/login?return_to=%2Fadmin%2Fx%3Fy%3D1");
    let login = check(gate(&app, "/pay/1", &NAVIGATE), 303, None);
    assert_eq!(login, "/auth/login?return_to=%2Fpay%2F1&prompt=login");
    let attempt = app.begin("return_to=%2Fpay%2F1&prompt=login");
    assert_eq!(
        (attempt.get("prompt"), attempt.get("max_age")),
        ("login", "120")
    );

    // A script is told, and gets no redirect.
    let expected = (401, Some("insufficient_user_authentication"));
    let told = check(gate(&app, "/admin/x", &[]), expected.0, expected.1);
    assert!(told.contains("acr_values=\"mfa hwk\""), "{told}");
    let told = check(
        gate(&app, "/pay/1", &[("sec-purpose", "prefetch")]),
        expected.0,
        expected.1,
    );
    assert!(told.contains("max_age=\"120\""), "{told}");

    // The login fails: a page, and the session is still there.
    assert_eq!(
        log_in(&app, "/admin/x", json!({ "acr": "pwd" })),
        (403, Some("step_up_failed"))
    );
    assert_eq!(app.cookie("__Host-airside"), before);
    forwarded(&app, "/elsewhere");
    assert_eq!(
        log_in(&app, "/admin/x", json!({ "acr": "mfa" })),
        (303, None)
    );
    forwarded(&app, "/admin/x");
}

#[test]
fn what_was_recent_enough_is_not_for_ever() {
    let app = app();
    let now = app.world.now().as_secs();
    assert_eq!(
        log_in(&app, "/pay/1", json!({ "auth_time": now })),
        (303, None)
    );
    app.world.clock.advance(180);
    forwarded(&app, "/pay/1");
    app.world.clock.advance(1);
    check(gate(&app, "/pay/1", &NAVIGATE), 303, None);
}

#[test]
fn a_token_that_contradicts_its_login_ends_on_a_page_and_never_in_a_loop() {
    let app = app();
    let now = app.world.now().as_secs();
    let access_token = |over: Value| {
        let mut claims = json!({
            "iss": "https://op.example", "sub": "alice", "aud": API, "client_id": "the-client",
            "iat": now, "exp": now + 300,
        });
        for (name, value) in over.as_object().expect("object") {
            claims[name] = value.clone();
        }
        Some(app.idp.sign_typ(&claims, "at+jwt"))
    };
    let good = json!({ "acr": "mfa" });

    // The access token says nothing: the ID token of the same login counts.
    let plain = access_token(json!({}));
    assert_eq!(
        log_in_with(&app, "/api/x", good.clone(), plain.clone()),
        (303, None)
    );
    forwarded(&app, "/api/x");
    // It says something else: signing in again would bring the same.
    let weaker = access_token(json!({ "acr": "pwd" }));
    assert_eq!(
        log_in_with(&app, "/api/x", good.clone(), weaker),
        (303, None)
    );
    let misfit = Some("session_token_not_for_this_api");
    check(gate(&app, "/api/x", &NAVIGATE), 403, misfit);
    assert!(app.has_session());
    // Another person's token does not borrow the authentication of this one.
    let other = access_token(json!({ "sub": "bob" }));
    assert_eq!(log_in_with(&app, "/api/x", good, other), (303, None));
    check(gate(&app, "/api/x", &NAVIGATE), 403, misfit);
    // The session is not enough: the login can help.
    assert_eq!(
        log_in_with(&app, "/elsewhere", json!({}), plain.clone()),
        (303, None)
    );
    let login = check(gate(&app, "/api/x", &NAVIGATE), 303, None);
    assert_eq!(login, "/auth/login?return_to=%2Fapi%2Fx");
    // In the header it is the caller's own affair, navigation or not.
    let header = format!("Bearer {}", plain.unwrap_or_default());
    let headers = [NAVIGATE[0], NAVIGATE[1], ("authorization", header.as_str())];
    let expected = Some("insufficient_user_authentication");
    check(gate(&app, "/api/x", &headers), 401, expected);
}
