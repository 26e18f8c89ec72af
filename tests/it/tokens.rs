//! The private `tokens` component on fakes: a private route is never the only proof.

use std::rc::Rc;

use airside::endpoint::tokens::{ENVELOPE_LIFETIME, OPERATIONS, REFUSALS, Revoke, call, revoke};
use airside::error::{Error, TokensError};
use airside::oauth::token::TokenError;
use airside::ports::HttpError;
use airside::secret::Secret;
use airside::session::{Cookies, KeyRing, Purpose, Session};
use airside::testing::block_on;
use bytes::Bytes;
use http::header::COOKIE;
use http::{HeaderMap, Method, Response};
use serde_json::{Value, json};

use crate::app::{App, body, check, code};

const REVOKE: &str = "http://tokens.spin.internal/tokens/revoke";
const REVOCATION: &str = "https://op.example/revoke";

fn envelope(app: &App, purpose: Purpose) -> String {
    let exp = app.world.now().plus(ENVELOPE_LIFETIME);
    // What `client-credentials` can read, and refuses.
    let content = json!({"id": "call-1", "content": {"upstream": "nobody"}});
    app.instance
        .ring
        .seal_at(purpose, &content, exp)
        .expect("sealed")
}

fn post(app: &App, target: &str, sealed: &str) -> Response<Bytes> {
    app.send(Method::POST, target, &[], sealed)
}

fn revocation(provider: &str) -> Revoke {
    let request = json!({
        "provider": provider, "access_token": "at-secret", "refresh_token": "rt-secret",
    });
    serde_json::from_value(request).expect("request")
}

/// A caller and a `tokens` that share the session keys and nothing else, at a provider that
/// revokes with these answers, by `token_type_hint`.
fn two(answers: &[(&'static str, u16, &'static str)]) -> (App, Rc<App>) {
    let (caller, tokens) = (App::refreshing(), Rc::new(App::new()));
    tokens.advertise(json!({"revocation_endpoint": REVOCATION}));
    let answers = answers.to_vec();
    tokens.world.http.on(REVOCATION, move |request| {
        let form = String::from_utf8_lossy(request.body()).into_owned();
        let hinted = |hint: &str| form.contains(&format!("token_type_hint={hint}"));
        let found = answers.iter().find(|(hint, _, _)| hinted(hint));
        let (_, status, body) = found.ok_or(HttpError::Unreachable)?;
        let response = Response::builder().status(*status);
        Ok(response
            .body(Bytes::from_static(body.as_bytes()))
            .expect("response"))
    });
    caller.connect_tokens("revoke", Rc::clone(&tokens));
    (caller, tokens)
}

fn ask(app: &App, request: &Revoke) -> Result<(), Error> {
    block_on(call(request, 1_000, &app.instance, app.world.ports()))
}

#[test]
fn a_refusal_is_sealed_and_to_this_very_call() {
    let app = App::new();
    let sealed = envelope(&app, Purpose::TokensRequest("client-credentials"));
    let response = post(&app, "/tokens/client-credentials", &sealed);
    assert_eq!(response.status(), 500);
    let now = app.world.now();
    let open = |purpose| {
        app.instance
            .ring
            .open_at::<Value>(purpose, body(&response), now)
    };
    let expected = json!({"id": "call-1", "error": "internal"});
    assert_eq!(
        open(Purpose::TokensReply("client-credentials")),
        Ok(expected)
    );
    let another = open(Purpose::TokensRequest("client-credentials"));
    assert!(another.is_err(), "an answer is no request");
    assert!(
        open(Purpose::TokensReply("refresh")).is_err(),
        "nor one of another operation"
    );
}

#[test]
fn every_operation_opens_its_own_envelope_only() {
    let app = App::new();
    for operation in OPERATIONS {
        for purpose in OPERATIONS {
            let sealed = envelope(&app, Purpose::TokensRequest(purpose));
            let response = post(&app, &format!("/tokens/{operation}"), &sealed);
            let refused = code(&response) == Some("envelope_invalid");
            assert_eq!(refused, operation != purpose, "{purpose} to {operation}");
        }
    }
}

#[test]
fn a_call_gets_what_the_operation_answers() {
    let done = [("refresh_token", 200, ""), ("access_token", 200, "")];
    let (caller, tokens) = two(&done);
    assert_eq!(ask(&caller, &revocation("op")), Ok(()));
    assert_eq!(tokens.world.http.count(REVOCATION), 2);

    let refused = [
        ("refresh_token", 401, r#"{"error":"invalid_client"}"#),
        ("access_token", 200, ""),
    ];
    let (caller, tokens) = two(&refused);
    let expected = Err(Error::Token(TokenError::InvalidClient));
    assert_eq!(ask(&caller, &revocation("op")), expected);
    assert_eq!(
        tokens.world.http.count(REVOCATION),
        2,
        "one failure does not keep the other"
    );

    let (caller, _) = two(&[]);
    let expected = Err(Error::Token(TokenError::Unavailable));
    assert_eq!(ask(&caller, &revocation("op")), expected);
}

#[test]
fn the_codes_of_refusals_are_their_own() {
    for (index, error) in REFUSALS.iter().enumerate() {
        let same = REFUSALS
            .iter()
            .position(|other| other.code() == error.code());
        assert_eq!(same, Some(index), "{}", error.code());
    }
}

#[test]
fn a_refusal_that_no_caller_knows_is_an_invalid_reply() {
    let (caller, _) = two(&[]);
    let expected = Err(Error::Tokens(TokensError::Reply));
    assert_eq!(ask(&caller, &revocation("nobody")), expected);
}

#[test]
fn the_secrets_are_inside_the_envelope_only() {
    let (caller, _) = two(&[("refresh_token", 200, ""), ("access_token", 200, "")]);
    assert_eq!(ask(&caller, &revocation("op")), Ok(()));
    let requests = caller.world.http.requests();
    let request = requests.last().expect("request");
    assert_eq!(request.uri(), REVOKE);
    let text = format!("{request:?}");
    assert!(
        !text.contains("at-secret") && !text.contains("rt-secret"),
        "{text}"
    );
}

#[test]
fn a_reply_fits_one_call_only() {
    let (caller, _) = two(&[("refresh_token", 200, ""), ("access_token", 200, "")]);
    assert_eq!(ask(&caller, &revocation("op")), Ok(()), "the twin");
    let seal = |purpose, id: &str| {
        let exp = caller.world.now().plus(ENVELOPE_LIFETIME);
        let reply = json!({"id": id, "content": null});
        caller
            .instance
            .ring
            .seal_at(purpose, &reply, exp)
            .expect("sealed")
    };
    let reply = Purpose::TokensReply("revoke");
    let of_another_call = seal(reply, "call-1");
    let request = caller.world.http.requests().pop().expect("request");
    let echo = String::from_utf8(request.body().to_vec()).expect("text");
    for (name, answer) in [
        ("of another call", of_another_call),
        (
            "of another operation",
            seal(Purpose::TokensReply("refresh"), "call-1"),
        ),
        ("an old request", echo),
        ("nothing", String::new()),
        (
            "no envelope",
            json!({"id": "x", "content": null}).to_string(),
        ),
    ] {
        caller.world.http.json(REVOKE, answer);
        let expected = Err(Error::Tokens(TokensError::Reply));
        assert_eq!(ask(&caller, &revocation("op")), expected, "{name}");
    }
}

#[test]
fn a_call_that_nobody_answers_is_a_503() {
    for (cause, expected) in [
        (HttpError::NotAllowed, TokensError::NotAllowed),
        (HttpError::Timeout, TokensError::Unavailable),
        (HttpError::TooLarge, TokensError::Reply),
        (HttpError::Unreachable, TokensError::Unavailable),
    ] {
        let app = App::new();
        app.world.http.fail(REVOKE, cause);
        let error = ask(&app, &revocation("op")).expect_err("refused");
        assert_eq!(error, Error::Tokens(expected));
        assert_eq!(airside::respond::status(&error), 503, "{cause}");
    }
}

#[test]
fn a_call_is_sealed_when_it_is_sent_and_not_when_the_request_came() {
    let (caller, tokens) = two(&[("refresh_token", 200, ""), ("access_token", 200, "")]);
    caller.world.clock.advance(60);
    tokens.world.clock.advance(60);
    assert_eq!(ask(&caller, &revocation("op")), Ok(()));
    tokens.world.clock.advance(10);
    let expected = Err(Error::Tokens(TokensError::Reply));
    assert_eq!(
        ask(&caller, &revocation("op")),
        expected,
        "ten seconds on the way"
    );
}

#[test]
fn long_tokens_fit_into_an_envelope() {
    let (caller, tokens) = two(&[("refresh_token", 200, ""), ("access_token", 200, "")]);
    let long = |kib: usize| {
        let request = json!({
            "provider": "op", "access_token": "a".repeat(24 * 1024), "refresh_token": "r".repeat(kib * 1024),
        });
        serde_json::from_value::<Revoke>(request).expect("request")
    };
    assert_eq!(ask(&caller, &long(24)), Ok(()));
    assert_eq!(tokens.world.http.count(REVOCATION), 2);
    let expected = Err(Error::Tokens(TokensError::Reply));
    assert_eq!(ask(&caller, &long(60)), expected);
}

/// The session in the jar.
fn session(app: &App) -> Session {
    let cookie = app.cookie("__Host-airside").expect("a session");
    let line = format!("__Host-airside={cookie}").parse().expect("line");
    let headers = HeaderMap::from_iter([(COOKIE, line)]);
    let cookies = Cookies::parse(&headers).expect("cookies");
    let sealed = String::from_utf8(cookies.session().expect("sealed").into_owned());
    let sealed = sealed.expect("text");
    let limits = &app.instance.config.session;
    Session::open(&sealed, &app.instance.ring, limits, app.world.now()).expect("open")
}

fn revoke_session(app: &App) {
    let provider = app.instance.config.provider("op").expect("provider");
    block_on(revoke(
        &session(app),
        provider,
        &app.instance,
        app.world.ports(),
    ));
}

#[test]
fn both_tokens_of_a_session_are_revoked_with_the_clients_credential() {
    let (caller, tokens) = two(&[
        ("refresh_token", 200, ""),
        ("access_token", 400, r#"{"error":"unsupported_token_type"}"#),
    ]);
    caller.log_in();
    caller.world.events.take();
    revoke_session(&caller);
    assert!(caller.world.events.codes().is_empty());
    let mut sent = tokens.world.http.requests();
    sent.retain(|request| request.uri() == REVOCATION);
    let bodies: Vec<_> = sent.iter().map(|request| request.body().clone()).collect();
    assert_eq!(
        bodies,
        [
            "token=rt-secret&token_type_hint=refresh_token",
            "token=at-secret&token_type_hint=access_token"
        ]
    );
    assert!(
        sent.iter()
            .all(|request| request.headers().contains_key("authorization"))
    );
}

#[test]
fn a_revocation_that_fails_is_a_line_of_the_log() {
    let (caller, _) = two(&[("refresh_token", 200, "")]);
    caller.log_in();
    caller.world.events.take();
    revoke_session(&caller);
    let events = caller.world.events.take();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].code, "revocation_failed");
    assert_eq!(
        events[0].fields[0],
        ("cause", "token_endpoint_unavailable".to_owned())
    );
    assert!(!format!("{events:?}").contains("secret"), "{events:?}");
}

#[test]
fn a_provider_without_revocation_is_not_asked() {
    let (caller, tokens) = two(&[]);
    tokens.advertise(json!({}));
    assert_eq!(ask(&caller, &revocation("op")), Ok(()));
    assert_eq!(tokens.world.http.count(REVOCATION), 0);
}

#[test]
fn everything_else_is_as_if_nothing_were_there() {
    let app = App::new();
    let good = envelope(&app, Purpose::TokensRequest("client-credentials"));
    for (name, target, sealed) in [
        ("for another operation", "/tokens/revoke", good.as_str()),
        (
            "an answer",
            "/tokens/client-credentials",
            &envelope(&app, Purpose::TokensReply("client-credentials")),
        ),
        (
            "a session",
            "/tokens/client-credentials",
            &envelope(&app, Purpose::Session),
        ),
        ("nothing", "/tokens/client-credentials", ""),
        (
            "no envelope",
            "/tokens/client-credentials",
            "{\"id\":\"x\"}",
        ),
        ("no operation", "/tokens/", &good),
        ("an unknown operation", "/tokens/everything", &good),
        ("a longer path", "/tokens/client-credentials/", &good),
    ] {
        check(&post(&app, target, sealed), 404, "envelope_invalid", name);
    }
    let get = app.send(Method::GET, "/tokens/client-credentials", &[], &good);
    check(&get, 404, "envelope_invalid", "GET");

    app.world.clock.advance(9);
    assert_eq!(
        post(&app, "/tokens/client-credentials", &good).status(),
        500,
        "the last second"
    );
    app.world.clock.advance(1);
    check(
        &post(&app, "/tokens/client-credentials", &good),
        404,
        "envelope_invalid",
        "too late",
    );
}

#[test]
fn an_envelope_of_other_keys_does_not_open() {
    let (app, other) = (App::new(), App::new());
    let text = format!("k:{}", airside::encoding::base64url_encode(&[8; 32]));
    let ring = KeyRing::parse(&Secret::new(text)).expect("ring");
    let exp = other.world.now().plus(ENVELOPE_LIFETIME);
    let purpose = Purpose::TokensRequest("client-credentials");
    let forged = ring
        .seal_at(purpose, &json!({"id": "x"}), exp)
        .expect("sealed");
    check(
        &post(&app, "/tokens/client-credentials", &forged),
        404,
        "envelope_invalid",
        "other keys",
    );
}
