//! Back-channel logout on fakes: what a provider's logout token ends, and what is no such token.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use airside::endpoint;
use airside::oidc::backchannel_logout::EVENT;
use airside::testing::{Idp, block_on};
use http::{Method, Response};
use serde_json::{Value, json};

use crate::app::{App, ISSUER, body, check, code};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// A good logout token for alice with changes: `null` takes a claim out.
fn claims(app: &App, jti: &str, changes: Value) -> Value {
    let now = app.world.now().as_secs();
    let mut claims = json!({
        "iss": ISSUER, "aud": "the-client", "sub": "alice", "jti": jti,
        "iat": now, "exp": now + 120, "events": { EVENT: {} },
    });
    let members = claims.as_object_mut().expect("object");
    for (name, value) in changes.as_object().expect("object") {
        match value {
            Value::Null => members.remove(name),
            value => members.insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn post(app: &App, body: &str) -> Response<bytes::Bytes> {
    app.send(Method::POST, "/auth/backchannel-logout", &[FORM], body)
}

fn post_token(app: &App, token: &str) -> Response<bytes::Bytes> {
    post(app, &format!("logout_token={token}"))
}

/// Posts a token that is good but for `changes`.
fn end(app: &App, jti: &str, changes: Value) -> Response<bytes::Bytes> {
    let token = app.idp.sign_typ(&claims(app, jti, changes), "logout+jwt");
    post_token(app, &token)
}

/// Logs in with that `sid` in the ID token, and returns the session cookie.
fn log_in(app: &App, subject: &str, sid: Option<&str>) -> String {
    let attempt = app.begin("");
    let mut claims = app.claims(&attempt);
    claims["sub"] = subject.into();
    if let Some(sid) = sid {
        claims["sid"] = sid.into();
    }
    app.grant(&claims);
    let response = app.come_back(&attempt, "&code=c");
    assert_eq!((response.status().as_u16(), code(&response)), (303, None));
    app.cookie("__Host-airside").expect("session")
}

fn runs(app: &App, sealed: &str) -> bool {
    app.set_cookie("__Host-airside", Some(sealed));
    let response = app.send(Method::GET, "/invoices", &[], "");
    match (response.status().as_u16(), code(&response)) {
        (200, None) => true,
        (401, Some("session_revoked")) => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_logout_token_ends_the_sessions_it_names_and_no_other() {
    for (name, changes, expected) in [
        ("sub", json!({}), [false, false, false, true]),
        (
            "sid",
            json!({"sub": null, "sid": "p1"}),
            [false, true, true, true],
        ),
        ("both", json!({"sid": "p1"}), [false, true, false, true]),
        ("nobody we know", json!({"sub": "carol"}), [true; 4]),
    ] {
        let app = App::new();
        let sessions = [
            log_in(&app, "alice", Some("p1")),
            log_in(&app, "alice", Some("p2")),
            log_in(&app, "alice", None),
            log_in(&app, "bob", Some("p3")),
        ];
        assert_eq!(sessions.each_ref().map(|one| runs(&app, one)), [true; 4]);
        let response = end(&app, "j1", changes);
        assert_eq!(
            (response.status().as_u16(), body(&response)),
            (200, "{}"),
            "{name}"
        );
        assert_eq!(
            sessions.each_ref().map(|one| runs(&app, one)),
            expected,
            "{name}"
        );
    }
}

#[test]
fn who_logs_in_again_stays_whatever_the_clocks_say() {
    let app = App::new();
    let before = log_in(&app, "alice", None);
    assert_eq!(end(&app, "j1", json!({})).status(), 200);
    // Another machine whose clock is an hour behind opens a session, and one that is ahead
    // opened the former: only the order counts.
    app.world
        .clock
        .set(airside::time::UnixTime::from_secs(1_767_225_600 - 3_600));
    let after = log_in(&app, "alice", None);
    assert!(runs(&app, &after) && !runs(&app, &before));
    app.world
        .clock
        .set(airside::time::UnixTime::from_secs(1_767_225_600));
    assert!(runs(&app, &after) && !runs(&app, &before));
    assert_eq!(end(&app, "j2", json!({})).status(), 200);
    assert!(!runs(&app, &after), "by the next one");
    let third = log_in(&app, "alice", None);
    assert!(runs(&app, &third) && !runs(&app, &after) && !runs(&app, &before));
}

#[test]
fn a_login_at_a_session_of_the_provider_that_is_over_fails() {
    let app = App::new();
    assert_eq!(end(&app, "j1", json!({"sid": "p1"})).status(), 200);
    let attempt = app.begin("");
    let mut claims = app.claims(&attempt);
    claims["sid"] = "p1".into();
    app.grant(&claims);
    let response = app.come_back(&attempt, "&code=c");
    check(&response, 401, "session_revoked", "sid");
    assert!(!app.has_session());
    log_in(&app, "alice", Some("p2"));
}

#[test]
fn a_token_is_used_once() {
    let app = App::new();
    let token = app
        .idp
        .sign_typ(&claims(&app, "j1", json!({})), "logout+jwt");
    assert_eq!(post_token(&app, &token).status(), 200);
    let session = log_in(&app, "alice", None);
    check(
        &post_token(&app, &token),
        400,
        "logout_token_replayed",
        "the same",
    );
    assert!(
        runs(&app, &session),
        "whoever caught it logs nobody out again"
    );
    // The same jti in another token is the same token; another jti is another.
    check(
        &end(&app, "j1", json!({"iat": app.world.now().as_secs() - 1})),
        400,
        "logout_token_replayed",
        "jti",
    );
    assert_eq!(end(&app, "j2", json!({})).status(), 200);
    assert!(!runs(&app, &session));
}

#[test]
fn what_cannot_be_recorded_is_not_done_and_may_come_again() {
    let app = App::new();
    let session = log_in(&app, "alice", None);
    // So that the keys are known without the store.
    assert_eq!(end(&app, "j0", json!({"sub": "carol"})).status(), 200);
    let token = app
        .idp
        .sign_typ(&claims(&app, "j1", json!({})), "logout+jwt");
    app.world.key_value.set_broken(true);
    let response = post_token(&app, &token);
    check(&response, 503, "revocation_unavailable", "store down");
    assert!(response.headers().contains_key("retry-after"));
    app.world.key_value.set_broken(false);
    assert!(runs(&app, &session));
    assert_eq!(
        post_token(&app, &token).status(),
        200,
        "the provider tries again"
    );
    assert!(!runs(&app, &session));
}

#[test]
fn a_store_that_fails_half_way_does_not_make_the_next_try_a_replay() {
    let app = App::new();
    let session = log_in(&app, "alice", None);
    assert_eq!(end(&app, "j0", json!({"sub": "carol"})).status(), 200);
    let token = app
        .idp
        .sign_typ(&claims(&app, "j1", json!({})), "logout+jwt");
    // The store goes away after each number of its answers, until they are enough.
    let mut answers = 0;
    loop {
        let request = http::Request::post("/auth/backchannel-logout")
            .header(FORM.0, FORM.1)
            .body(bytes::Bytes::from(format!("logout_token={token}")))
            .expect("request");
        app.world.key_value.answer_after(1);
        let mut post = pin!(endpoint::logout(request, &app.instance, app.world.ports()));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..answers {
            let _ = post.as_mut().poll(&mut context);
        }
        app.world.key_value.set_broken(true);
        let response = block_on(post);
        app.world.key_value.set_broken(false);
        match (response.status().as_u16(), code(&response)) {
            (503, Some("revocation_unavailable")) => answers += 1,
            (200, None) => break,
            other => panic!("after {answers} answers: {other:?}"),
        }
    }
    assert!(answers >= 4, "jti, mark, watermark, jti: {answers}");
    app.world.key_value.answer_after(0);
    assert!(!runs(&app, &session));
}

#[test]
fn what_is_no_logout_request_ends_nothing() {
    let app = App::new();
    let session = log_in(&app, "alice", None);
    let good = |jti: &str| {
        app.idp
            .sign_typ(&claims(&app, jti, json!({})), "logout+jwt")
    };
    let send = |headers: &[(&'static str, &str)], body: &str| {
        app.send(Method::POST, "/auth/backchannel-logout", headers, body)
    };
    let token = good("j1");
    for (name, response) in [
        ("empty", post(&app, "")),
        ("another parameter", post(&app, &format!("token={token}"))),
        (
            "twice",
            post(&app, &format!("logout_token={token}&logout_token={token}")),
        ),
        (
            "not a form",
            send(
                &[("content-type", "application/json")],
                &format!("logout_token={token}"),
            ),
        ),
        ("no type", send(&[], &format!("logout_token={token}"))),
    ] {
        check(&response, 400, "logout_token_malformed", name);
        let told: Value = serde_json::from_str(body(&response)).expect("JSON");
        assert_eq!(told["error"], "invalid_request", "{name}");
    }
    let in_query = format!("/auth/backchannel-logout?logout_token={token}");
    check(
        &app.send(Method::POST, &in_query, &[FORM], ""),
        400,
        "logout_token_malformed",
        "query",
    );
    check(
        &app.send(Method::GET, &in_query, &[], ""),
        405,
        "method_not_allowed",
        "GET",
    );

    let none = "eyJhbGciOiJub25lIn0";
    let (_, rest) = token.split_once('.').expect("header");
    let (payload, _) = rest.split_once('.').expect("payload");
    let stranger = Idp::new("https://evil.example");
    let pretender = Idp::new(ISSUER);
    for (name, token, expected) in [
        ("nothing", String::new(), "logout_token_signature"),
        (
            "alg none",
            format!("{none}.{payload}."),
            "logout_token_signature",
        ),
        (
            "unsigned",
            format!("{}.", token.rsplit_once('.').expect("signature").0),
            "logout_token_signature",
        ),
        (
            "another's key",
            pretender.sign_typ(&claims(&app, "j2", json!({})), "logout+jwt"),
            "logout_token_signature",
        ),
        (
            "a stranger",
            stranger.sign_typ(
                &claims(&app, "j3", json!({"iss": "https://evil.example"})),
                "logout+jwt",
            ),
            "logout_token_iss",
        ),
        (
            "another client",
            app.idp
                .sign_typ(&claims(&app, "j4", json!({"aud": "other"})), "logout+jwt"),
            "logout_token_aud",
        ),
        (
            "an access token",
            app.idp.sign_typ(&claims(&app, "j5", json!({})), "at+jwt"),
            "logout_token_typ",
        ),
        (
            "an ID token",
            app.idp
                .sign(&claims(&app, "j6", json!({"events": null, "nonce": "n"}))),
            "logout_token_events",
        ),
        (
            "with a nonce",
            app.idp.sign(&claims(&app, "j7", json!({"nonce": "n"}))),
            "logout_token_nonce",
        ),
    ] {
        check(&post_token(&app, &token), 400, expected, name);
    }
    assert!(runs(&app, &session));
    let charset = [(
        "content-type",
        "application/x-www-form-urlencoded; charset=utf-8",
    )];
    let response = send(&charset, &format!("more=1&logout_token={token}"));
    assert_eq!(response.status(), 200);
    assert!(!runs(&app, &session));
}

#[test]
fn a_hostile_token_costs_no_fetch_unless_it_names_a_provider_and_a_likely_key() {
    let app = App::new();
    let keys = "https://op.example/jwks";
    let stranger = Idp::new("https://evil.example");
    let token = stranger.sign(&claims(&app, "j", json!({"iss": "https://evil.example"})));
    check(
        &post_token(&app, &token),
        400,
        "logout_token_iss",
        "stranger",
    );
    assert!(app.world.http.requests().is_empty());
    let line = "client_id = \"the-client\"";
    let strict = App::with(|config| {
        config.replace(line, &format!("{line}\nid_token_algorithms = [\"EdDSA\"]"))
    });
    check(
        &end(&strict, "j", json!({})),
        400,
        "logout_token_signature",
        "an algorithm that is not on the list",
    );
    assert!(strict.world.http.requests().is_empty());
    for number in 0..10 {
        let kid = format!("made-up-{number}");
        let forger = Idp::with_key(ISSUER, airside::jose::Algorithm::Es256, &kid);
        post_token(&app, &forger.sign(&claims(&app, "j", json!({}))));
    }
    assert!(
        app.world.http.count(keys) <= 2,
        "one, and one for an unknown key"
    );
}

#[test]
fn with_two_providers_each_ends_its_own() {
    let second = "https://second.example";
    let app = App::with(|config| {
        let line = "[issuers.op]";
        let more = format!(
            "[providers.second]\nissuer = \"{second}\"\nclient_id = \"the-client\"\nclient_authentication = \"none\"\n\n{line}"
        );
        config
            .replace(line, &more)
            .replace("client_id = \"the-client\"\nclient_authentication = \"client_secret_basic\"", "callback = \"shared\"\nclient_id = \"the-client\"\nclient_authentication = \"client_secret_basic\"")
    });
    let other = Idp::new(second);
    app.world.http.json(
        &other.issuer().openid_configuration(),
        other.metadata().to_string(),
    );
    app.world
        .http
        .json("https://second.example/jwks", other.jwks().to_string());
    let attempt = app.begin("provider=op");
    app.grant(&app.claims(&attempt));
    assert_eq!(app.come_back(&attempt, "&code=c").status(), 303);
    let session = app.cookie("__Host-airside").expect("session");
    // The second provider cannot log out a person of the first.
    let theirs = other.sign_typ(&claims(&app, "j1", json!({"iss": second})), "logout+jwt");
    assert_eq!(post_token(&app, &theirs).status(), 200);
    let posing = other.sign_typ(&claims(&app, "j2", json!({})), "logout+jwt");
    check(
        &post_token(&app, &posing),
        400,
        "logout_token_signature",
        "posing",
    );
    assert!(runs(&app, &session));
    // Nor use up its jti.
    assert_eq!(end(&app, "j1", json!({})).status(), 200);
    assert!(!runs(&app, &session));
}

#[test]
fn without_revocation_there_is_no_back_channel_logout() {
    let line = "[providers.op]";
    let on = "[session]\ndanger_skip_revocation = true\n\n[providers.op]";
    let app = App::with(|config| config.replace(line, on));
    check(&end(&app, "j1", json!({})), 501, "revocation_off", "off");
}
