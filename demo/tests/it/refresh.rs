//! Refresh tokens and revocation.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::Value;

use crate::browser::{
    API, Browser, as_demo, decode, json, post, provider, provider_with, refused, send, text,
    userinfo,
};

async fn refresh(issuer: &str, token: &str, more: &[(&str, &str)]) -> Response<Bytes> {
    let form = [
        &[("grant_type", "refresh_token"), ("refresh_token", token)],
        more,
    ]
    .concat();
    send(issuer, as_demo(post("/token", &form))).await
}

#[tokio::test]
async fn a_refresh_rotates_and_keeps_who_and_when() {
    let issuer = provider().await;
    let first = Browser::new(&issuer).tokens("alice", &[]).await;
    let answer = refresh(&issuer, &text(&first, "refresh_token"), &[]).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let second = json(&answer);
    assert_ne!(
        text(&first, "refresh_token"),
        text(&second, "refresh_token")
    );
    assert_ne!(text(&first, "access_token"), text(&second, "access_token"));
    let claims = |tokens: &Value| decode(&text(tokens, "id_token")).1;
    assert_eq!(claims(&first)["sub"], claims(&second)["sub"]);
    assert_eq!(claims(&first)["auth_time"], claims(&second)["auth_time"]);
    assert!(claims(&second).get("nonce").is_none());
}

#[tokio::test]
async fn a_reused_refresh_token_ends_the_family() {
    let issuer = provider().await;
    let first = Browser::new(&issuer).tokens("alice", &[]).await;
    let second = json(&refresh(&issuer, &text(&first, "refresh_token"), &[]).await);
    let again = refresh(&issuer, &text(&first, "refresh_token"), &[]).await;
    refused(&again, StatusCode::BAD_REQUEST, "invalid_grant");
    let newest = refresh(&issuer, &text(&second, "refresh_token"), &[]).await;
    refused(&newest, StatusCode::BAD_REQUEST, "invalid_grant");
}

#[tokio::test]
async fn a_refresh_may_narrow_but_not_widen() {
    let issuer = provider().await;
    let tokens = Browser::new(&issuer).tokens("bob", &[]).await;
    let token = text(&tokens, "refresh_token");
    let wider = refresh(&issuer, &token, &[("scope", "openid write:invoices")]).await;
    refused(&wider, StatusCode::BAD_REQUEST, "invalid_scope");
    let elsewhere = [("resource", "https://api.example.com/reports")];
    refused(
        &refresh(&issuer, &token, &elsewhere).await,
        StatusCode::BAD_REQUEST,
        "invalid_target",
    );
    let narrower = [("scope", "read:invoices"), ("resource", API)];
    let narrowed = json(&refresh(&issuer, &token, &narrower).await);
    assert_eq!(narrowed["scope"], "read:invoices");
    let whole = json(&refresh(&issuer, &text(&narrowed, "refresh_token"), &[]).await);
    assert_eq!(
        whole["scope"],
        "openid profile email offline_access read:invoices"
    );
}

#[tokio::test]
async fn an_expired_refresh_token_is_refused() {
    let issuer = provider_with(|settings| settings.lifetimes.refresh_token = 0).await;
    let tokens = Browser::new(&issuer).tokens("alice", &[]).await;
    let answer = refresh(&issuer, &text(&tokens, "refresh_token"), &[]).await;
    refused(&answer, StatusCode::BAD_REQUEST, "invalid_grant");
}

#[tokio::test]
async fn without_offline_access_there_is_no_refresh_token() {
    let issuer = provider().await;
    let tokens = Browser::new(&issuer)
        .tokens("alice", &[("scope", "openid")])
        .await;
    assert!(tokens.get("refresh_token").is_none());
}

#[tokio::test]
async fn a_revoked_token_ends_its_grant() {
    let issuer = provider().await;
    let tokens = Browser::new(&issuer).tokens("alice", &[]).await;
    let (access, token) = (
        text(&tokens, "access_token"),
        text(&tokens, "refresh_token"),
    );
    let form = [("token", token.as_str())];
    let foreign = [("token", token.as_str()), ("client_id", "airside-public")];
    let other = send(&issuer, post("/revoke", &foreign)).await;
    refused(&other, StatusCode::BAD_REQUEST, "invalid_grant");
    assert_eq!(userinfo(&issuer, &access).await.status(), StatusCode::OK);

    let own = send(&issuer, as_demo(post("/revoke", &form))).await;
    assert_eq!(own.status(), StatusCode::OK);
    assert_eq!(
        userinfo(&issuer, &access).await.status(),
        StatusCode::UNAUTHORIZED
    );
    refused(
        &refresh(&issuer, &token, &[]).await,
        StatusCode::BAD_REQUEST,
        "invalid_grant",
    );
    let unknown = send(&issuer, as_demo(post("/revoke", &[("token", "unknown")]))).await;
    assert_eq!(unknown.status(), StatusCode::OK);
}
