//! RP-initiated logout.

use form_urlencoded::Serializer;
use http::{StatusCode, header};

use crate::browser::{Browser, get, post, provider, provider_with, redirect, text};

const LOGGED_OUT: &str = "http://127.0.0.1:3000/auth/logged-out";
const SESSION: &str = "airside_demo_session";

fn logout(parameters: &[(&str, &str)]) -> http::Request<bytes::Bytes> {
    let query = Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish();
    get(&format!("/logout?{query}"))
}

#[tokio::test]
async fn a_hint_about_the_signed_in_user_ends_the_session_at_once() {
    let issuer = provider().await;
    let mut browser = Browser::new(&issuer);
    let id_token = text(&browser.tokens("alice", &[]).await, "id_token");
    assert!(browser.cookies.contains_key(SESSION));
    let parameters = [
        ("id_token_hint", &*id_token),
        ("post_logout_redirect_uri", LOGGED_OUT),
        ("state", "s&t"),
    ];
    let (address, answer) = redirect(&browser.send(logout(&parameters)).await);
    assert_eq!(address, LOGGED_OUT);
    assert_eq!(answer.one("state"), Some("s&t"));
    assert!(!browser.cookies.contains_key(SESSION));
    let (address, _) = redirect(&browser.authorize(&[]).await);
    assert_eq!(address, format!("{issuer}/login"));
}

#[tokio::test]
async fn an_expired_hint_is_as_good() {
    let issuer = provider_with(|settings| settings.lifetimes.id_token = 0).await;
    let mut browser = Browser::new(&issuer);
    let id_token = text(&browser.tokens("alice", &[]).await, "id_token");
    let parameters = [
        ("id_token_hint", &*id_token),
        ("post_logout_redirect_uri", LOGGED_OUT),
    ];
    let (address, _) = redirect(&browser.send(logout(&parameters)).await);
    assert_eq!(address, LOGGED_OUT);
}

#[tokio::test]
async fn without_a_hint_the_person_is_asked() {
    let issuer = provider().await;
    let mut browser = Browser::new(&issuer);
    browser.code("alice", &[]).await;
    let parameters = [
        ("client_id", "airside-demo"),
        ("post_logout_redirect_uri", LOGGED_OUT),
    ];
    let (page, asked) = redirect(&browser.send(logout(&parameters)).await);
    assert_eq!(page, format!("{issuer}/logout/confirm"));
    assert!(browser.cookies.contains_key(SESSION));
    let interaction = asked.one("interaction").unwrap();
    let shown = browser
        .send(get(&format!("/logout/confirm?interaction={interaction}")))
        .await;
    assert_eq!(shown.status(), StatusCode::OK);
    let form = [("interaction", interaction), ("logout", "1")];
    let (address, _) = redirect(&browser.send(post("/logout/confirm", &form)).await);
    assert_eq!(address, LOGGED_OUT);
    assert!(!browser.cookies.contains_key(SESSION));
}

#[tokio::test]
async fn who_stays_stays() {
    let issuer = provider().await;
    let mut browser = Browser::new(&issuer);
    browser.code("alice", &[]).await;
    let (_, asked) = redirect(&browser.send(logout(&[])).await);
    let form = [
        ("interaction", asked.one("interaction").unwrap()),
        ("stay", "1"),
    ];
    assert_eq!(
        browser.send(post("/logout/confirm", &form)).await.status(),
        StatusCode::OK
    );
    let (_, answer) = redirect(&browser.authorize(&[("prompt", "none")]).await);
    assert!(answer.one("code").is_some());
}

#[tokio::test]
async fn a_hint_about_somebody_else_is_asked_about() {
    let issuer = provider().await;
    let id_token = text(&Browser::new(&issuer).tokens("bob", &[]).await, "id_token");
    let mut browser = Browser::new(&issuer);
    browser.code("alice", &[]).await;
    let (page, _) = redirect(&browser.send(logout(&[("id_token_hint", &id_token)])).await);
    assert_eq!(page, format!("{issuer}/logout/confirm"));
}

#[tokio::test]
async fn a_bad_logout_request_changes_nothing_and_redirects_nowhere() {
    let issuer = provider().await;
    let mut browser = Browser::new(&issuer);
    let id_token = text(&browser.tokens("alice", &[]).await, "id_token");
    let spoiled = format!("{}x", id_token.strip_suffix(|_: char| true).unwrap());
    let evil = "https://evil.example/";
    for parameters in [
        &[
            ("id_token_hint", &*id_token),
            ("post_logout_redirect_uri", evil),
        ][..],
        &[
            ("id_token_hint", &*spoiled),
            ("post_logout_redirect_uri", LOGGED_OUT),
        ],
        &[
            ("id_token_hint", &*id_token),
            ("client_id", "airside-public"),
        ],
        &[("post_logout_redirect_uri", LOGGED_OUT)],
        &[("state", "1"), ("state", "2")],
    ] {
        let answer = browser.send(logout(parameters)).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{parameters:?}");
        assert!(
            !answer.headers().contains_key(header::LOCATION),
            "{parameters:?}"
        );
    }
    let (_, answer) = redirect(&browser.authorize(&[("prompt", "none")]).await);
    assert!(answer.one("code").is_some());
}
