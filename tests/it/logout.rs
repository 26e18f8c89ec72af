//! The `logout` component on fakes.

use std::rc::Rc;

use airside::ports::HttpError;
use http::Method;

use crate::app::{App, ISSUER, body, check, location};

const SAME: [(&str, &str); 1] = [("sec-fetch-site", "same-origin")];

fn post(app: &App, headers: &[(&'static str, &str)]) -> http::Response<bytes::Bytes> {
    app.send(Method::POST, "/auth/logout", headers, "")
}

#[test]
fn a_link_only_asks() {
    let app = App::new();
    app.log_in();
    let response = app.navigate("/auth/logout");
    assert_eq!((response.status().as_u16(), app.has_session()), (200, true));
    let page = body(&response);
    assert!(
        page.contains("Alice &lt;b&gt;") && !page.contains("Alice <b>"),
        "{page}"
    );
    let header = |name: &str| {
        let value = response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    // The browser applies form-action to the redirect after the form as well.
    let policy = header("content-security-policy");
    assert!(
        policy.contains("form-action 'self' https://op.example;"),
        "{policy}"
    );
    assert_eq!(header("referrer-policy"), "same-origin");
}

#[test]
fn a_form_of_this_site_ends_the_session_here_and_at_the_provider() {
    let app = App::new();
    app.log_in();
    let response = post(&app, &SAME);
    assert_eq!(
        (response.status().as_u16(), app.has_session()),
        (303, false)
    );
    let url = location(&response);
    assert!(url.starts_with("https://op.example/logout?"), "{url}");
    let (_, query) = url.split_once('?').expect("query");
    let sent: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let names: Vec<&str> = sent.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "id_token_hint",
        "client_id",
        "post_logout_redirect_uri",
        "state",
    ];
    assert_eq!(names, expected);
    assert_eq!(sent[2].1, "https://app.example/auth/logged-out");
    assert!(!url.contains("at-secret") && !url.contains("rt-secret"));
    // The way back is known again by its state, and by no other.
    let state = sent[3].1.as_str();
    let back = |state: &str| app.navigate(&format!("/auth/logged-out?state={state}"));
    assert_eq!(back(state).status(), 200);
    let (random, tag) = state.split_once('.').expect("randomness and tag");
    let other = app.begin("").get("state").to_owned();
    for (name, state) in [
        ("empty", String::new()),
        ("made up", "x".to_owned()),
        ("no tag", format!("{random}.")),
        ("another's tag", format!("{other}.{tag}")),
        ("a cut tag", state[..state.len() - 2].to_owned()),
        ("twice", format!("{state}&state={state}")),
    ] {
        check(&back(&state), 400, "logout_state", name);
    }
    // Set and deleted with the same attributes.
    let deleted = response
        .headers()
        .get("set-cookie")
        .and_then(|v| v.to_str().ok());
    let attributes = "__Host-airside=; HttpOnly; Secure; SameSite=Lax; Path=/; Max-Age=0";
    assert_eq!(deleted, Some(attributes));
}

#[test]
fn without_proof_of_origin_nothing_ends() {
    for (name, headers, expected) in [
        ("same origin", vec![("sec-fetch-site", "same-origin")], true),
        (
            "our Origin, old browser",
            vec![("origin", "https://app.example")],
            true,
        ),
        (
            "null Origin with proof",
            vec![("origin", "null"), SAME[0]],
            true,
        ),
        ("nothing", vec![], false),
        ("null Origin", vec![("origin", "null")], false),
        (
            "another Origin",
            vec![("origin", "https://evil.example")],
            false,
        ),
        ("same site", vec![("sec-fetch-site", "same-site")], false),
        ("cross site", vec![("sec-fetch-site", "cross-site")], false),
        ("typed", vec![("sec-fetch-site", "none")], false),
        (
            "cross site with our Origin",
            vec![
                ("sec-fetch-site", "cross-site"),
                ("origin", "https://app.example"),
            ],
            false,
        ),
        (
            "a longer Origin",
            vec![("origin", "https://app.example.evil.example")],
            false,
        ),
        (
            "two proofs",
            vec![SAME[0], ("sec-fetch-site", "cross-site")],
            false,
        ),
    ] {
        let app = App::new();
        app.log_in();
        let response = post(&app, &headers);
        assert_eq!(app.has_session(), !expected, "{name}");
        if !expected {
            check(&response, 403, "cross_site", name);
        }
    }
}

#[test]
fn the_id_token_stays_out_of_the_url_when_the_configuration_says_so() {
    let line = "client_id = \"the-client\"";
    let app =
        App::with(|config| config.replace(line, &format!("{line}\nid_token_hint = \"never\"")));
    app.log_in();
    let url = location(&post(&app, &SAME));
    assert!(
        url.starts_with("https://op.example/logout?client_id="),
        "{url}"
    );
    assert!(!url.contains("id_token_hint"), "{url}");
}

#[test]
fn a_provider_without_logout_or_down_keeps_nobody_signed_in() {
    let app = App::new();
    app.log_in();
    let mut metadata = app.idp.metadata();
    metadata["end_session_endpoint"] = serde_json::Value::Null;
    app.world.http.json(
        &app.idp.issuer().openid_configuration(),
        metadata.to_string(),
    );
    app.world.clock.advance(600);
    assert_eq!(location(&post(&app, &SAME)), "/auth/logged-out");
    assert!(!app.has_session());

    let app = App::new();
    app.log_in();
    app.world.http.fail(
        &app.idp.issuer().openid_configuration(),
        HttpError::Unreachable,
    );
    app.world.clock.advance(28_799);
    assert!(post(&app, &SAME).status() == 303 && !app.has_session());
}

#[test]
fn without_a_session_there_is_nothing_to_end() {
    let app = App::new();
    assert_eq!(app.navigate("/auth/logout").status(), 200);
    assert_eq!(location(&post(&app, &SAME)), "/auth/logged-out");
    // A damaged session is removed as well.
    app.set_cookie("__Host-airside", Some("2~half"));
    app.set_cookie("__Host-airside.7", Some("stale"));
    assert_eq!(location(&post(&app, &SAME)), "/auth/logged-out");
    assert_eq!(
        (app.has_session(), app.cookie("__Host-airside.7")),
        (false, None)
    );
}

#[test]
fn the_other_paths_and_methods_of_the_component() {
    let app = App::new();
    assert_eq!(app.navigate("/auth/logged-out").status(), 200);
    assert_eq!(app.navigate("/auth/logged-out/").status(), 200);
    check(
        &app.navigate("/auth/backchannel-logout"),
        405,
        "method_not_allowed",
        "back-channel",
    );
    check(&app.navigate("/auth/logout/x"), 404, "no_route", "below");
    let delete = app.send(Method::DELETE, "/auth/logout", &SAME, "");
    check(&delete, 405, "method_not_allowed", "DELETE");
    let allow = delete
        .headers()
        .get("allow")
        .and_then(|value| value.to_str().ok());
    assert_eq!(allow, Some("GET, HEAD, POST"));
}

#[test]
fn the_tokens_are_revoked_at_the_provider_and_nobody_waits_for_one_that_is_down() {
    let revoke = format!("{ISSUER}/revoke");
    let tokens = Rc::new(App::new());
    tokens.advertise(serde_json::json!({ "revocation_endpoint": revoke }));
    tokens.world.http.json(&revoke, "");
    let app = App::refreshing();
    app.connect_tokens("revoke", Rc::clone(&tokens));
    app.connect_tokens("expire", Rc::clone(&tokens));
    app.log_in();
    app.world.events.take();
    assert_eq!(post(&app, &SAME).status(), 303);
    assert_eq!(app.world.events.codes(), ["logout"]);
    let sent = tokens.world.http.requests();
    let sent: Vec<&[u8]> = sent
        .iter()
        .filter(|request| request.uri() == revoke.as_str())
        .map(|request| request.body().as_ref())
        .collect();
    let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
    assert_eq!(sent.len(), 2);
    assert!(text(sent[0]).starts_with("token=rt-secret&token_type_hint=refresh_token"));
    assert!(text(sent[1]).starts_with("token=at-secret&token_type_hint=access_token"));

    // Without a session there is nothing to revoke.
    assert_eq!(post(&app, &SAME).status(), 303);
    assert_eq!(tokens.world.http.count(&revoke), 2);

    tokens.world.http.fail(&revoke, HttpError::Unreachable);
    app.log_in();
    app.world.events.take();
    let response = post(&app, &SAME);
    assert!(location(&response).starts_with("https://op.example/logout?"));
    assert_eq!(app.world.events.codes(), ["revocation_failed", "logout"]);
}
