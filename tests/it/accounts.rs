//! Who may come in: what the login asks for, UserInfo, and the rules for accounts.

use airside::ports::HttpError;
use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};

use crate::app::{App, ISSUER, body, check, code};

const USERINFO: &str = "https://op.example/me";

/// With these keys of the provider.
fn app(keys: &'static str) -> App {
    App::with(move |config| config.replace("audience =", &format!("{keys}\naudience =")))
}

/// A login whose ID token has `more` claims, and how it ends.
fn log_in(app: &App, more: Value) -> Response<Bytes> {
    let attempt = app.begin("");
    let mut claims = app.claims(&attempt);
    let laid = claims.as_object_mut().expect("object");
    laid.extend(more.as_object().expect("object").clone());
    app.grant(&claims);
    app.come_back(&attempt, "&code=c")
}

#[track_caller]
fn check_login(app: &App, more: Value, expected: Result<(), &'static str>, name: &str) {
    app.set_cookie("__Host-airside", None);
    let response = log_in(app, more);
    let found = match code(&response) {
        None => Ok(()),
        Some(code) => Err(code),
    };
    assert_eq!(found, expected, "{name}");
    assert_eq!(app.has_session(), expected.is_ok(), "{name}");
    assert_eq!(app.attempts(), 0, "{name}");
}

#[test]
fn an_account_without_an_essential_claim_stays_outside() {
    let app = app(r#"essential_claims = ["department"]"#);
    check_login(&app, json!({"department": "x"}), Ok(()), "there");
    let missing = Err("account_essential_claim");
    check_login(&app, json!({}), missing, "missing");
    check_login(&app, json!({"department": ""}), missing, "empty");
    let response = log_in(&app, json!({}));
    assert_eq!(response.status(), 403);
    let page = body(&response);
    assert!(page.contains("Use another account"), "{page}");
    let link = "/auth/login?provider=op&amp;return_to=%2F&amp;prompt=select_account";
    assert!(page.contains(link), "{page}");
}

#[test]
fn an_essential_claim_is_kept_in_the_session() {
    let app = app(r#"essential_claims = ["department"]"#);
    check_login(&app, json!({"department": "x", "other": 1}), Ok(()), "in");
    let session = app.navigate("/auth/session");
    assert!(body(&session).contains("\"department\":\"x\""));
    assert!(!body(&session).contains("other"));
}

#[test]
fn only_a_verified_address_of_the_domain_comes_in() {
    let app = app(r#"email_domains = ["example.com"]"#);
    let account = |email: &str, verified: bool| json!({"email": email, "email_verified": verified});
    check_login(&app, account("a@example.com", true), Ok(()), "fits");
    let unverified = Err("account_email_unverified");
    check_login(
        &app,
        account("a@example.com", false),
        unverified,
        "typed in",
    );
    let other = Err("account_email_domain");
    check_login(&app, account("a@evil.example", true), other, "another");
    let two = account("a@evil.example@example.com", true);
    check_login(&app, two, other, "two at signs");
}

#[test]
fn require_verified_email_does_what_it_says() {
    let app = app("require_verified_email = true");
    let verified = json!({"email": "a@b.example", "email_verified": true});
    check_login(&app, verified, Ok(()), "verified");
    let unverified = Err("account_email_unverified");
    check_login(&app, json!({"email": "a@b.example"}), unverified, "silent");
}

#[test]
fn max_age_is_sent_and_held_to() {
    let app = app("max_age_seconds = 600");
    assert_eq!(app.begin("").get("max_age"), "600");
    app.come_back(&app.begin(""), "&error=access_denied");
    let app = self::app("max_age_seconds = 600");
    let now = app.world.now().as_secs();
    check_login(&app, json!({"auth_time": now - 660}), Ok(()), "recent");
    let refused = Err("id_token_auth_time");
    check_login(&app, json!({"auth_time": now - 661}), refused, "long ago");
    check_login(&app, json!({}), refused, "missing");
}

#[test]
fn acr_values_are_sent_and_held_to() {
    let app = app(r#"acr_values = ["mfa", "phr"]"#);
    assert_eq!(
        self::app(r#"acr_values = ["mfa", "phr"]"#)
            .begin("")
            .get("acr_values"),
        "mfa phr"
    );
    check_login(&app, json!({"acr": "phr"}), Ok(()), "one of them");
    let refused = Err("id_token_acr");
    check_login(&app, json!({"acr": "pwd"}), refused, "another");
    check_login(&app, json!({}), refused, "missing");
}

#[test]
fn claims_are_asked_for_where_the_provider_understands_it() {
    let keys = "essential_claims = [\"email\"]\nclaims = [\"name\"]\nuserinfo = true";
    let app = app(keys);
    assert_eq!(app.begin("").get("claims"), "");
    let app = self::app(keys);
    app.advertise(json!({"claims_parameter_supported": true, "userinfo_endpoint": USERINFO}));
    let asked: Value = serde_json::from_str(app.begin("").get("claims")).expect("JSON");
    let members = json!({"email": {"essential": true}, "name": null});
    assert_eq!(asked, json!({"id_token": members, "userinfo": members}));
}

#[test]
fn prompt_and_extra_parameters_are_sent() {
    let app = app("prompt = \"login\"\nauthorization_parameters = { domain_hint = \"x y\" }");
    let attempt = app.begin("prompt=select_account");
    assert_eq!(attempt.get("prompt"), "login", "the configuration wins");
    assert_eq!(attempt.get("domain_hint"), "x y");
    let plain = App::new();
    assert_eq!(
        plain.begin("prompt=select_account").get("prompt"),
        "select_account"
    );
    assert_eq!(plain.begin("prompt=none").get("prompt"), "");
}

/// With UserInfo, which answers so.
fn app_with_userinfo(body: impl Into<String>, media_type: &'static str) -> App {
    let app =
        app("userinfo = true\nessential_claims = [\"email\"]\nemail_domains = [\"example.com\"]");
    app.advertise(json!({"userinfo_endpoint": USERINFO}));
    let body = body.into();
    app.world.http.on(USERINFO, move |_| {
        let response = Response::builder().header("content-type", media_type);
        Ok(response.body(Bytes::from(body.clone())).expect("response"))
    });
    app
}

const JSON: &str = "application/json";

#[test]
fn userinfo_adds_claims_about_the_same_person() {
    let alice = json!({"sub": "alice", "email": "a@example.com", "email_verified": true});
    let app = app_with_userinfo(alice.to_string(), JSON);
    check_login(&app, json!({}), Ok(()), "alice");
    let sent = app.world.http.requests();
    let sent = sent
        .iter()
        .find(|sent| sent.uri() == USERINFO)
        .expect("sent");
    assert_eq!(
        sent.headers().get("authorization").expect("header"),
        "Bearer at-secret"
    );
    let bob = json!({"sub": "bob", "email": "a@example.com", "email_verified": true});
    let app = app_with_userinfo(bob.to_string(), JSON);
    check_login(&app, json!({}), Err("userinfo_subject"), "bob");
}

#[test]
fn an_address_of_the_id_token_is_not_vouched_for_by_userinfo() {
    let other = json!({"sub": "alice", "email": "b@example.com", "email_verified": true});
    let app = app_with_userinfo(other.to_string(), JSON);
    check_login(&app, json!({"email": "b@example.com"}), Ok(()), "the same");
    let refused = Err("account_email_unverified");
    check_login(&app, json!({"email": "a@example.com"}), refused, "another");
}

#[test]
fn a_signed_userinfo_is_verified() {
    let claims = json!({
        "sub": "alice", "iss": ISSUER, "aud": "the-client",
        "email": "a@example.com", "email_verified": true,
    });
    let app = app_with_userinfo("", JSON);
    let (good, forged) = (
        app.idp.sign(&claims),
        airside::testing::Idp::new(ISSUER).sign(&claims),
    );
    let answer = |body: String| {
        app.world.http.on(USERINFO, move |_| {
            let response = Response::builder().header("content-type", "application/jwt");
            Ok(response.body(Bytes::from(body.clone())).expect("response"))
        });
    };
    answer(good);
    check_login(&app, json!({}), Ok(()), "signed");
    answer(forged);
    check_login(&app, json!({}), Err("userinfo_signature"), "forged");
    answer(claims.to_string());
    check_login(&app, json!({}), Err("userinfo_signature"), "not signed");
}

#[test]
fn a_login_fails_without_the_userinfo_it_needs() {
    let app = app_with_userinfo("[]", JSON);
    check_login(&app, json!({}), Err("userinfo_malformed"), "a list");
    app.world.http.fail(USERINFO, HttpError::Timeout);
    check_login(&app, json!({}), Err("userinfo_unavailable"), "slow");
    app.world.http.fail(USERINFO, HttpError::NotAllowed);
    check_login(
        &app,
        json!({}),
        Err("provider_host_not_allowed"),
        "not granted",
    );
    let app = self::app("userinfo = true");
    check_login(&app, json!({}), Err("metadata_endpoint"), "no endpoint");
}

#[test]
fn a_refusal_offers_the_same_login_again() {
    let app = App::new();
    let attempt = app.begin("return_to=/a?b=c");
    let response = app.come_back(&attempt, "&error=access_denied");
    check(&response, 403, "provider_access_denied", "denied");
    let link = "href=\"/auth/login?provider=op&amp;return_to=%2Fa%3Fb%3Dc\">Start again";
    assert!(body(&response).contains(link), "{}", body(&response));
}
