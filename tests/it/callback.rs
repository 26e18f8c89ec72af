//! `GET /auth/callback` on fakes.

use airside::ports::HttpError;
use airside::testing::{Idp, SeededRandom};
use http::Method;
use serde_json::{Value, json};

use crate::app::{App, Attempt, ISSUER, TOKEN, body, check, code, location};

/// A change of the good ID token claims; null takes a claim away.
fn with(mut claims: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().expect("object") {
        match value {
            Value::Null => claims.as_object_mut().expect("object").remove(name),
            value => claims
                .as_object_mut()
                .expect("object")
                .insert(name.clone(), value.clone()),
        };
    }
    claims
}

/// Comes back from a good login, with `more` in the query.
fn come_back(app: &App, more: &str) -> http::Response<bytes::Bytes> {
    let attempt = app.begin("return_to=/invoices%3Fpage%3D2");
    app.grant(&app.claims(&attempt));
    app.come_back(&attempt, more)
}

#[test]
fn a_login_ends_with_a_session_where_it_began() {
    let app = App::new();
    let attempt = app.begin("return_to=/invoices%3Fpage%3D2");
    app.grant(&app.claims(&attempt));
    let response = app.come_back(&attempt, "&code=the-code&session_state=x");
    assert_eq!((response.status().as_u16(), code(&response)), (303, None));
    assert_eq!(location(&response), "/invoices?page=2");
    assert!(app.has_session() && app.attempts() == 0);

    let requests = app.world.http.requests();
    let sent = requests
        .iter()
        .find(|request| request.uri() == TOKEN)
        .expect("token request");
    assert_eq!(sent.method(), Method::POST);
    let form: Vec<(String, String)> = form_urlencoded::parse(sent.body()).into_owned().collect();
    let field = |name: &str| {
        let mut values = form
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, v)| v.as_str());
        let first = values.next().unwrap_or_default();
        assert_eq!(values.next(), None, "{name} twice");
        first
    };
    assert_eq!(field("grant_type"), "authorization_code");
    assert_eq!(field("code"), "the-code");
    assert_eq!(field("redirect_uri"), attempt.get("redirect_uri"));
    // RFC 7636 section 4.6.
    let digest = hmac_sha256::Hash::hash(field("code_verifier").as_bytes());
    let challenge = airside::encoding::base64url_encode(&digest);
    assert_eq!(challenge, attempt.get("code_challenge"));
    // RFC 6749 section 2.3.1: form-encoded, then Basic.
    let authorization = sent
        .headers()
        .get("authorization")
        .and_then(|v| v.to_str().ok());
    assert_eq!(
        authorization,
        Some("Basic dGhlLWNsaWVudDpzM2NyM3QlM0ElMkIlMkY=")
    );
    assert_eq!(field("client_secret"), "");
}

#[test]
fn the_way_back_never_leaves_the_site() {
    for evil in [
        "//evil.example",
        "/%5Cevil.example",
        "https://evil.example",
        "/auth/logout",
    ] {
        let app = App::new();
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("return_to", evil)
            .finish();
        let attempt = app.begin(&query);
        app.grant(&app.claims(&attempt));
        let response = app.come_back(&attempt, "&code=c");
        assert_eq!(
            (response.status().as_u16(), location(&response).as_str()),
            (303, "/"),
            "{evil}"
        );
    }
}

#[test]
fn a_login_replaces_the_session_that_was_there() {
    let app = App::new();
    app.log_in();
    let first = app.cookie("__Host-airside");
    app.log_in();
    assert!(first.is_some() && app.cookie("__Host-airside") != first);
    let sessions: Vec<String> = app
        .world
        .events
        .take()
        .into_iter()
        .filter(|event| event.code == "login")
        .flat_map(|event| event.fields)
        .filter(|(name, _)| *name == "session")
        .map(|(_, id)| id)
        .collect();
    assert_eq!(sessions.len(), 2);
    assert_ne!(sessions[0], sessions[1]);
}

#[test]
fn an_attempt_is_good_once_in_its_browser_for_ten_minutes() {
    let app = App::new();
    let attempt = app.begin("");
    app.grant(&app.claims(&attempt));
    // Another browser has no cookie of the attempt.
    let mut other = App::new();
    other.world.random = SeededRandom::new(9);
    other.begin("");
    check(
        &other.come_back(&attempt, "&code=c"),
        400,
        "attempt_unknown",
        "another browser",
    );
    assert_eq!(other.attempts(), 1, "its own attempt stays");

    assert_eq!(app.come_back(&attempt, "&code=c").status(), 303);
    check(
        &app.come_back(&attempt, "&code=c"),
        400,
        "attempt_done",
        "again, with the session",
    );
    app.set_cookie("__Host-airside", None);
    check(
        &app.come_back(&attempt, "&code=c"),
        400,
        "attempt_unknown",
        "again, without",
    );
    assert_eq!(app.world.http.count(TOKEN), 1);

    let late = app.begin("");
    app.world.clock.advance(600);
    check(
        &app.come_back(&late, "&code=c"),
        400,
        "attempt_expired",
        "late",
    );
    let in_time = app.begin("");
    app.world.clock.advance(599);
    app.grant(&app.claims(&in_time));
    assert_eq!(app.come_back(&in_time, "&code=c").status(), 303);
}

#[test]
fn tabs_do_not_break_each_other() {
    let app = App::new();
    let (one, two) = (app.begin("return_to=/1"), app.begin("return_to=/2"));
    for (attempt, path) in [(&two, "/2"), (&one, "/1")] {
        app.grant(&app.claims(attempt));
        assert_eq!(location(&app.come_back(attempt, "&code=c")), path);
    }
    // The nonce of one tab does not do for the other.
    let (one, two) = (app.begin(""), app.begin(""));
    app.grant(&app.claims(&one));
    check(
        &app.come_back(&two, "&code=c"),
        400,
        "id_token_nonce",
        "crossed",
    );
}

#[test]
fn the_response_is_from_the_provider_the_browser_was_sent_to() {
    let advertise = |app: &App| {
        let mut metadata = app.idp.metadata();
        metadata["authorization_response_iss_parameter_supported"] = true.into();
        let url = app.idp.issuer().openid_configuration();
        app.world.http.json(&url, metadata.to_string());
    };
    let right = "&iss=https%3A%2F%2Fop.example";
    let wrong = "&iss=https%3A%2F%2Fevil.example";
    for (name, advertised, iss, expected) in [
        ("none, not advertised", false, "", None),
        ("right, not advertised", false, right, None),
        ("wrong, not advertised", false, wrong, Some("callback_iss")),
        ("none, advertised", true, "", Some("callback_iss")),
        ("right, advertised", true, right, None),
        ("wrong, advertised", true, wrong, Some("callback_iss")),
    ] {
        let app = App::new();
        if advertised {
            advertise(&app);
        }
        let response = come_back(&app, &format!("&code=c{iss}"));
        assert_eq!(code(&response), expected, "{name}");
        assert_eq!(app.has_session(), expected.is_none(), "{name}");
        assert_eq!(
            app.world.http.count(TOKEN),
            usize::from(expected.is_none()),
            "{name}"
        );
        assert_eq!(app.attempts(), 0, "{name}: the attempt is over");
    }
    let app = App::new();
    let response = come_back(&app, &format!("&error=access_denied{wrong}"));
    check(
        &response,
        400,
        "callback_iss",
        "a wrong iss in an error response",
    );
}

#[test]
fn a_query_that_is_not_one_answer_is_refused() {
    let app = App::new();
    for (query, expected) in [
        ("", "callback_state_missing"),
        ("?code=c", "callback_state_missing"),
        ("?state=s", "callback_malformed"),
        ("?state=s&code=c&error=x", "callback_malformed"),
        ("?state=s&state=s&code=c", "callback_duplicate_parameter"),
        ("?state=s&code=c&code=c", "callback_duplicate_parameter"),
        ("?state=s&code=c", "attempt_unknown"),
    ] {
        let response = app.navigate(&format!("/auth/callback{query}"));
        check(&response, 400, expected, query);
    }
    let long = format!("/auth/callback?state=s&code={}", "c".repeat(16 * 1_024));
    check(&app.navigate(&long), 400, "callback_too_long", "long");
    check(
        &app.navigate("/auth/callback/other"),
        404,
        "no_route",
        "another path",
    );
    let post = app.send(Method::POST, "/auth/callback", &[], "state=s&code=c");
    check(&post, 405, "method_not_allowed", "a form post");
}

#[test]
fn a_refusal_of_the_provider_is_told_without_its_words() {
    for (error, status, expected) in [
        ("access_denied", 403, "provider_access_denied"),
        ("login_required", 403, "provider_interaction_required"),
        ("temporarily_unavailable", 503, "provider_unavailable"),
        ("%3Cscript%3Ealert(1)%3C%2Fscript%3E", 400, "provider_error"),
    ] {
        let app = App::new();
        let words = "&error_description=%3Cimg%20onerror%3Dx%3E%20words";
        let response = come_back(&app, &format!("&error={error}{words}"));
        check(&response, status, expected, error);
        let page = body(&response);
        assert!(
            !page.contains("words") && !page.contains("<script"),
            "{page}"
        );
        assert_eq!((app.attempts(), app.has_session()), (0, false), "{error}");
        assert_eq!(app.world.http.count(TOKEN), 0, "{error}");
    }
}

/// A login whose code exchange goes wrong.
#[track_caller]
fn check_exchange(
    name: &str,
    arrange: impl Fn(&App, &Attempt),
    status: u16,
    expected: &'static str,
) {
    let app = App::new();
    let attempt = app.begin("");
    arrange(&app, &attempt);
    let response = app.come_back(&attempt, "&code=c");
    check(&response, status, expected, name);
    assert_eq!((app.attempts(), app.has_session()), (0, false), "{name}");
}

#[test]
fn while_the_metadata_is_out_of_reach_the_attempt_waits() {
    let app = App::new();
    let attempt = app.begin("");
    app.grant(&app.claims(&attempt));
    let url = app.idp.issuer().openid_configuration();
    let fresh = |app: &App| {
        let text = app.idp.metadata().to_string();
        app.world.http.json(&url, text);
    };
    // Another instance, with nothing remembered.
    let app = app.restarted();
    app.world.http.fail(&url, HttpError::Unreachable);
    app.world.key_value.set_broken(true);
    let response = app.come_back(&attempt, "&code=c");
    check(&response, 503, "provider_unreachable", "down");
    assert_eq!((app.attempts(), app.world.http.count(TOKEN)), (1, 0));
    assert!(response.headers().contains_key("retry-after"));

    fresh(&app);
    app.world.key_value.set_broken(false);
    app.world.clock.advance(60);
    let response = app.come_back(&attempt, "&code=c");
    assert_eq!((response.status().as_u16(), code(&response)), (303, None));
    assert_eq!((app.attempts(), app.has_session()), (0, true));
}

#[test]
fn a_code_exchange_that_goes_wrong_opens_no_session() {
    let answer = |status, body: Value| {
        move |app: &App, _: &Attempt| app.answer_token(status, body.to_string())
    };
    let grant = answer(400, json!({"error": "invalid_grant"}));
    check_exchange("invalid_grant", grant, 400, "token_invalid_grant");
    let client = answer(401, json!({"error": "invalid_client"}));
    check_exchange("invalid_client", client, 503, "token_invalid_client");
    check_exchange("another", answer(400, json!({})), 503, "token_refused");
    check_exchange(
        "an error",
        answer(500, json!({})),
        503,
        "token_endpoint_unavailable",
    );
    check_exchange(
        "empty",
        answer(200, json!({})),
        503,
        "token_response_malformed",
    );
    let mac = json!({"access_token": "a", "id_token": "b", "token_type": "mac"});
    check_exchange("token_type", answer(200, mac), 503, "token_type");
    let no_id_token = json!({"access_token": "a", "token_type": "Bearer"});
    check_exchange(
        "no ID token",
        answer(200, no_id_token),
        503,
        "token_response_malformed",
    );
    for error in [HttpError::Timeout, HttpError::Unreachable] {
        let down = move |app: &App, _: &Attempt| app.world.http.fail(TOKEN, error);
        check_exchange("down", down, 503, "token_endpoint_unavailable");
    }
    let forbidden = |app: &App, _: &Attempt| app.world.http.fail(TOKEN, HttpError::NotAllowed);
    check_exchange("not allowed", forbidden, 503, "provider_host_not_allowed");
    let no_secret = |app: &App, attempt: &Attempt| {
        app.world.variables.remove("client_secret");
        app.grant(&app.claims(attempt));
    };
    check_exchange("no secret", no_secret, 500, "internal");
}

#[test]
fn an_id_token_that_does_not_fit_opens_no_session() {
    let claims = |changes: Value| {
        move |app: &App, attempt: &Attempt| app.grant(&with(app.claims(attempt), changes.clone()))
    };
    for (name, changes, expected) in [
        ("another client", json!({"aud": "other"}), "id_token_aud"),
        (
            "another issuer",
            json!({"iss": "https://evil.example"}),
            "id_token_iss",
        ),
        ("another nonce", json!({"nonce": "n"}), "id_token_nonce"),
        ("expired", json!({"exp": 1}), "id_token_expired"),
        (
            "from the future",
            json!({"iat": 4_000_000_000_u64}),
            "id_token_not_yet_valid",
        ),
        (
            "another's hash",
            json!({"at_hash": "x"}),
            "id_token_at_hash",
        ),
        ("no subject", json!({"sub": null}), "id_token_sub"),
    ] {
        check_exchange(name, claims(changes), 400, expected);
    }
    let forged = |app: &App, attempt: &Attempt| {
        let tokens = json!({
            "access_token": "a", "token_type": "bearer",
            "id_token": Idp::new(ISSUER).sign(&app.claims(attempt)),
        });
        app.answer_token(200, tokens.to_string());
    };
    check_exchange("another's key", forged, 400, "id_token_signature");
    let app = App::new();
    assert_eq!(
        come_back(&app, "&code=c").status(),
        303,
        "and as it should be"
    );
}

#[test]
fn a_session_too_large_for_its_cookies_is_an_error_and_no_loop() {
    let huge = |app: &App, attempt: &Attempt| {
        let tokens = json!({
            "access_token": "a".repeat(9_000), "token_type": "Bearer",
            "id_token": app.idp.sign(&app.claims(attempt)),
        });
        app.answer_token(200, tokens.to_string());
    };
    check_exchange("too large", huge, 500, "session_too_large");
}

#[test]
fn nothing_secret_is_logged_or_shown() {
    let app = App::new();
    let response = come_back(&app, "&code=the-code");
    assert_eq!(response.status(), 303);
    let refused = app.begin("");
    app.answer_token(
        400,
        json!({"error": "invalid_grant", "error_description": "the-words"}).to_string(),
    );
    let page = app.come_back(&refused, "&code=the-code");
    let log = format!("{:?}", app.world.events.take());
    let secrets = [
        "the-code",
        "at-secret",
        "rt-secret",
        "s3cr3t",
        "the-words",
        refused.get("state"),
    ];
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} in {log}");
        assert!(!body(&page).contains(secret), "{secret} in {page:?}");
    }
}
