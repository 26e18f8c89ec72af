//! The private `tokens` component on fakes: a private route is never the only proof.

use airside::endpoint::tokens::{ENVELOPE_LIFETIME, OPERATIONS};
use airside::session::Purpose;
use http::Method;
use serde_json::{Value, json};

use crate::app::{App, body, check};

fn envelope(app: &App, purpose: Purpose) -> String {
    let exp = app.world.now().plus(ENVELOPE_LIFETIME);
    app.instance
        .ring
        .seal_at(purpose, &json!({"id": "call-1"}), exp)
        .expect("sealed")
}

fn post(app: &App, target: &str, sealed: &str) -> http::Response<bytes::Bytes> {
    app.send(Method::POST, target, &[], sealed)
}

#[test]
fn a_sealed_call_gets_a_sealed_answer_to_this_very_call() {
    let app = App::new();
    for operation in OPERATIONS {
        let sealed = envelope(&app, Purpose::TokensRequest(operation));
        let response = post(&app, &format!("/tokens/{operation}"), &sealed);
        assert_eq!(response.status(), 501, "{operation}");
        let answer: Value = serde_json::from_str(body(&response)).expect("JSON");
        let sealed = answer["sealed"].as_str().expect("sealed");
        let now = app.world.now();
        let open = |purpose| app.instance.ring.open_at::<Value>(purpose, sealed, now);
        let expected = json!({"id": "call-1", "error": "not_yet"});
        assert_eq!(
            open(Purpose::TokensReply(operation)),
            Ok(expected),
            "{operation}"
        );
        assert!(
            open(Purpose::TokensRequest(operation)).is_err(),
            "an answer is no request"
        );
    }
}

#[test]
fn everything_else_is_as_if_nothing_were_there() {
    let app = App::new();
    let good = envelope(&app, Purpose::TokensRequest("refresh"));
    for (name, target, sealed) in [
        ("for another operation", "/tokens/revoke", good.as_str()),
        (
            "an answer",
            "/tokens/refresh",
            &envelope(&app, Purpose::TokensReply("refresh")),
        ),
        (
            "a session",
            "/tokens/refresh",
            &envelope(&app, Purpose::Session),
        ),
        ("nothing", "/tokens/refresh", ""),
        ("no envelope", "/tokens/refresh", "{\"id\":\"x\"}"),
        ("no operation", "/tokens/", &good),
        ("an unknown operation", "/tokens/everything", &good),
        ("a longer path", "/tokens/refresh/", &good),
    ] {
        check(&post(&app, target, sealed), 404, "envelope_invalid", name);
    }
    let get = app.send(Method::GET, "/tokens/refresh", &[], &good);
    check(&get, 404, "envelope_invalid", "GET");

    app.world.clock.advance(9);
    assert_eq!(
        post(&app, "/tokens/refresh", &good).status(),
        501,
        "the last second"
    );
    app.world.clock.advance(1);
    check(
        &post(&app, "/tokens/refresh", &good),
        404,
        "envelope_invalid",
        "too late",
    );
}

#[test]
fn an_envelope_of_other_keys_does_not_open() {
    let (app, other) = (App::new(), App::new());
    let text = format!("k:{}", airside::encoding::base64url_encode(&[8; 32]));
    let ring = airside::session::KeyRing::parse(&airside::secret::Secret::new(text)).expect("ring");
    let exp = other.world.now().plus(ENVELOPE_LIFETIME);
    let purpose = Purpose::TokensRequest("refresh");
    let forged = ring
        .seal_at(purpose, &json!({"id": "x"}), exp)
        .expect("sealed");
    check(
        &post(&app, "/tokens/refresh", &forged),
        404,
        "envelope_invalid",
        "other keys",
    );
}
