//! Opaque access tokens, and what the provider says of them (RFC 7662); larger key sets.

use http::StatusCode;
use serde_json::json;

use crate::browser::{
    API, Browser, as_demo, get, json as read, post, provider_with, refused, send, text,
};

#[tokio::test]
async fn an_opaque_api_learns_from_the_provider_what_its_tokens_stand_for() {
    let issuer = provider_with(|settings| {
        for api in &mut settings.apis {
            api.opaque = true;
        }
    })
    .await;
    let tokens = Browser::new(&issuer).tokens("alice", &[]).await;
    let token = text(&tokens, "access_token");
    assert!(!token.contains('.'), "not a JWT");
    let ask = async |token: &str| {
        let asked = send(&issuer, as_demo(post("/introspect", &[("token", token)]))).await;
        assert_eq!(asked.status(), StatusCode::OK);
        read(&asked)
    };
    let answer = ask(&token).await;
    assert_eq!(answer["active"], true);
    assert_eq!(answer["sub"], "alice");
    assert_eq!(answer["client_id"], "airside-demo");
    assert_eq!(answer["aud"], json!([API]));
    let scopes = answer["scope"].as_str().unwrap();
    assert!(scopes.split(' ').any(|scope| scope == "read:invoices"));
    assert_eq!(ask("unknown").await, json!({ "active": false }));

    // As a public client anybody could ask.
    let form = [("token", token.as_str()), ("client_id", "airside-public")];
    let public = send(&issuer, post("/introspect", &form)).await;
    refused(&public, StatusCode::UNAUTHORIZED, "invalid_client");

    let form = [("token", token.as_str())];
    send(&issuer, as_demo(post("/revoke", &form))).await;
    assert_eq!(ask(&token).await, json!({ "active": false }));
}

#[tokio::test]
async fn a_key_set_is_as_large_as_asked_for() {
    let issuer = provider_with(|settings| {
        settings.algorithms = vec![settings.default_algorithm];
        settings.keys = 3;
    })
    .await;
    let answer = send(&issuer, get("/jwks")).await;
    assert_eq!(read(&answer)["keys"].as_array().unwrap().len(), 3);
}
