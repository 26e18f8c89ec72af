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
