//! The authorization code flow, and what it refuses.

use airside_demo::provider::{Algorithm, NotAnOrigin, Provider, Settings};
use airside_demo::token::{self, Wish};
use airside_demo::web::ListenError;
use ct_codecs::{Base64UrlSafeNoPadding, Encoder};
use http::{StatusCode, header};
use jwt_simple::prelude::*;
use serde_json::{Map, Value, json as value};

use crate::browser::{
    API, Browser, CALLBACK, SECRET, VERIFIER, as_demo, decode, get, json, post, provider,
    provider_with, redirect, refused, send, text, userinfo,
};

#[tokio::test]
async fn a_login_gives_an_id_token_and_an_access_token_for_the_api() {
    let issuer = provider().await;
    let mut browser = Browser::new(&issuer);
    let asked = browser.authorize(&[]).await;
    let answered = browser.pick(&asked, "alice").await;

    let (address, answer) = redirect(&answered);
    assert_eq!(address, CALLBACK);
    assert_eq!(answer.one("state"), Some("the state & more"));
    assert_eq!(answer.one("iss"), Some(issuer.as_str()));

    let tokens = json(
        &browser
            .exchange(answer.one("code").unwrap(), VERIFIER)
            .await,
    );
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["expires_in"], 300);
    let granted = "openid profile email offline_access read:invoices write:invoices";
    assert_eq!(tokens["scope"], granted);

    let access_token = text(&tokens, "access_token");
    let (header, claims) = decode(&access_token);
    assert_eq!(header["typ"], "at+jwt");
    assert_eq!(claims["iss"], issuer.as_str());
    assert_eq!(claims["sub"], "alice");
    assert_eq!(claims["aud"], value!([API, format!("{issuer}/userinfo")]));
    assert_eq!(claims["client_id"], "airside-demo");
    assert_eq!(claims["scope"], granted);
    let issued = claims["iat"].as_u64().unwrap();
    assert_eq!(claims["exp"].as_u64(), Some(issued + 300));

    let (header, claims) = decode(&text(&tokens, "id_token"));
    assert_eq!(header["typ"], "JWT");
    assert_eq!(claims["iss"], issuer.as_str());
    assert_eq!(claims["sub"], "alice");
    assert_eq!(claims["aud"], "airside-demo");
    assert_eq!(claims["nonce"], "the nonce");
    assert_eq!(claims["name"], "Alice Liddell");
    assert_eq!(claims["email"], "alice@example.com");
    assert_eq!(claims["email_verified"], true);
    let hash = hmac_sha256::Hash::hash(access_token.as_bytes());
    let left = Base64UrlSafeNoPadding::encode_to_string(&hash[..16]).unwrap();
    assert_eq!(claims["at_hash"], left.as_str());

    let about = userinfo(&issuer, &access_token).await;
    assert_eq!(about.status(), StatusCode::OK);
    assert_eq!(json(&about)["sub"], "alice");
}

#[tokio::test]
async fn a_resource_gives_a_token_for_that_api_alone() {
    let issuer = provider().await;
    let change = [("audience", ""), ("resource", API)];
    let tokens = Browser::new(&issuer).tokens("alice", &change).await;
    let access_token = text(&tokens, "access_token");
    assert_eq!(decode(&access_token).1["aud"], API);
    assert_eq!(
        userinfo(&issuer, &access_token).await.status(),
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn without_an_audience_the_access_token_is_opaque() {
    let issuer = provider().await;
    let tokens = Browser::new(&issuer)
        .tokens("alice", &[("audience", "")])
        .await;
    let access_token = text(&tokens, "access_token");
    assert_eq!(access_token.split('.').count(), 1);
    assert_eq!(tokens["scope"], "openid profile email offline_access");
    assert_eq!(
        userinfo(&issuer, &access_token).await.status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn users_are_granted_what_they_may() {
    let issuer = provider().await;
    let scope = |tokens: &Value| tokens["scope"].as_str().unwrap().to_owned();
    let bob = Browser::new(&issuer).tokens("bob", &[]).await;
    assert_eq!(
        scope(&bob),
        "openid profile email offline_access read:invoices"
    );
    let carol = Browser::new(&issuer).tokens("carol", &[]).await;
    assert_eq!(scope(&carol), "openid profile email offline_access");
}

#[tokio::test]
async fn a_wrong_verifier_is_refused() {
    let issuer = provider().await;
    let mut browser = Browser::new(&issuer);
    let code = browser.code("alice", &[]).await;
    let wrong = browser.exchange(&code, &VERIFIER.replace('d', "e")).await;
    refused(&wrong, StatusCode::BAD_REQUEST, "invalid_grant");
    // The attempt spent the code: there is no second guess.
    let late = browser.exchange(&code, VERIFIER).await;
    refused(&late, StatusCode::BAD_REQUEST, "invalid_grant");

    let code = browser.code("alice", &[("prompt", "login")]).await;
    assert_eq!(
        browser.exchange(&code, VERIFIER).await.status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_reused_code_is_refused_and_ends_what_it_gave() {
    let issuer = provider().await;
    let mut browser = Browser::new(&issuer);
    let code = browser.code("alice", &[]).await;
    let tokens = json(&browser.exchange(&code, VERIFIER).await);
    let access_token = text(&tokens, "access_token");
    assert_eq!(
        userinfo(&issuer, &access_token).await.status(),
        StatusCode::OK
    );

    let again = browser.exchange(&code, VERIFIER).await;
    refused(&again, StatusCode::BAD_REQUEST, "invalid_grant");
    assert_eq!(
        userinfo(&issuer, &access_token).await.status(),
        StatusCode::UNAUTHORIZED
    );
    let refresh_token = text(&tokens, "refresh_token");
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", &*refresh_token),
    ];
    let refreshed = send(&issuer, as_demo(post("/token", &form))).await;
    refused(&refreshed, StatusCode::BAD_REQUEST, "invalid_grant");
}

#[tokio::test]
async fn an_expired_code_is_refused() {
    let issuer = provider_with(|settings| settings.lifetimes.code = 0).await;
    let mut browser = Browser::new(&issuer);
    let code = browser.code("alice", &[]).await;
    let answer = browser.exchange(&code, VERIFIER).await;
    refused(&answer, StatusCode::BAD_REQUEST, "invalid_grant");
}

#[tokio::test]
async fn a_code_belongs_to_its_client_and_its_redirect_uri() {
    let issuer = provider().await;
    let mut browser = Browser::new(&issuer);
    let code = browser.code("alice", &[]).await;
    let exchange = |redirect_uri, client_id| {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", redirect_uri),
            ("code_verifier", VERIFIER),
            ("client_id", client_id),
        ];
        post("/token", &form)
    };
    let other_client = send(&issuer, exchange(CALLBACK, "airside-public")).await;
    refused(&other_client, StatusCode::BAD_REQUEST, "invalid_grant");
    // Another client's attempt did not spend it.
    let form = exchange(CALLBACK, "airside-demo");
    assert_eq!(send(&issuer, as_demo(form)).await.status(), StatusCode::OK);

    let code = browser.code("alice", &[("prompt", "login")]).await;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", "http://127.0.0.1:3000/auth/callback/demo"),
        ("code_verifier", VERIFIER),
    ];
    let other_uri = send(&issuer, as_demo(post("/token", &form))).await;
    refused(&other_uri, StatusCode::BAD_REQUEST, "invalid_grant");
}

#[tokio::test]
async fn an_unregistered_redirect_uri_is_not_redirected_to() {
    let issuer = provider().await;
    let mut browser = Browser::new(&issuer);
    for uri in [
        "http://127.0.0.1:3000/auth/callback/",
        "https://evil.example/cb",
        "",
    ] {
        let answer = browser.authorize(&[("redirect_uri", uri)]).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{uri}");
        assert!(!answer.headers().contains_key(header::LOCATION), "{uri}");
    }
    let answer = browser.authorize(&[("client_id", "nobody")]).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(browser.authorize(&[]).await.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_bad_request_is_answered_at_the_redirect_uri() {
    let issuer = provider().await;
    for (change, expected) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("response_type", ""), "invalid_request"),
        (("response_mode", "fragment"), "invalid_request"),
        (("code_challenge", ""), "invalid_request"),
        (("code_challenge", "short"), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("code_challenge_method", ""), "invalid_request"),
        (("scope", ""), "invalid_scope"),
        (
            ("audience", "https://api.example.com/unknown"),
            "invalid_target",
        ),
        (("prompt", "none"), "login_required"),
        (("prompt", "none login"), "invalid_request"),
        (("max_age", "-1"), "invalid_request"),
        (("id_token_hint", "a.b.c"), "invalid_request"),
        (("request", "a.b.c"), "request_not_supported"),
        (("request_uri", "urn:x"), "request_uri_not_supported"),
    ] {
        let answer = Browser::new(&issuer).authorize(&[change]).await;
        let (address, parameters) = redirect(&answer);
        assert_eq!(address, CALLBACK, "{change:?}");
        assert_eq!(parameters.one("error"), Some(expected), "{change:?}");
        assert_eq!(
            parameters.one("state"),
            Some("the state & more"),
            "{change:?}"
        );
        assert_eq!(parameters.one("iss"), Some(issuer.as_str()), "{change:?}");
    }
}

#[tokio::test]
async fn a_second_login_is_silent_unless_asked_otherwise() {
    let issuer = provider().await;
    let mut browser = Browser::new(&issuer);
    browser.code("alice", &[]).await;
    for change in [("prompt", ""), ("prompt", "none"), ("max_age", "60")] {
        let (address, answer) = redirect(&browser.authorize(&[change]).await);
        assert_eq!(address, CALLBACK, "{change:?}");
        assert!(answer.one("code").is_some(), "{change:?}");
    }
    for change in [("prompt", "login"), ("prompt", "consent"), ("max_age", "0")] {
        let (address, _) = redirect(&browser.authorize(&[change]).await);
        assert_eq!(address, format!("{issuer}/login"), "{change:?}");
    }
}

#[tokio::test]
async fn a_sign_in_page_works_once_and_in_its_own_browser() {
    let issuer = provider().await;
    let mut browser = Browser::new(&issuer);
    let asked = browser.authorize(&[]).await;
    let (_, parameters) = redirect(&asked);
    let interaction = parameters.one("interaction").unwrap();
    let form = [("interaction", interaction), ("user", "alice")];
    let mut other = Browser::new(&issuer);
    other.authorize(&[]).await;
    assert_eq!(
        other.send(post("/login", &form)).await.status(),
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        browser.send(post("/login", &form)).await.status(),
        StatusCode::SEE_OTHER
    );
    assert_eq!(
        browser.send(post("/login", &form)).await.status(),
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn a_cancelled_sign_in_is_access_denied() {
    let issuer = provider().await;
    let mut browser = Browser::new(&issuer);
    let (_, parameters) = redirect(&browser.authorize(&[]).await);
    let interaction = parameters.one("interaction").unwrap();
    let form = [("interaction", interaction), ("cancel", "1")];
    let (address, answer) = redirect(&browser.send(post("/login", &form)).await);
    assert_eq!(address, CALLBACK);
    assert_eq!(answer.one("error"), Some("access_denied"));
}

#[tokio::test]
async fn clients_prove_who_they_are() {
    let issuer = provider().await;
    let wish = [
        ("grant_type", "client_credentials"),
        ("audience", API),
        ("scope", "read:invoices"),
    ];
    let with = |more: &[(&str, &str)]| post("/token", &[&wish[..], more].concat());
    let machine = ("client_id", "airside-machine");
    let good = send(&issuer, with(&[machine, ("client_secret", SECRET)])).await;
    assert_eq!(good.status(), StatusCode::OK);
    let (_, claims) = decode(&text(&json(&good), "access_token"));
    assert_eq!(
        (&claims["sub"], &claims["aud"]),
        (&value!("airside-machine"), &value!(API))
    );

    for wrong in [
        &[machine][..],
        &[machine, ("client_secret", "wrong")],
        &[("client_id", "x")],
        &[],
    ] {
        let answer = send(&issuer, with(wrong)).await;
        refused(&answer, StatusCode::UNAUTHORIZED, "invalid_client");
        assert!(answer.headers().contains_key(header::WWW_AUTHENTICATE));
    }
    let public = send(&issuer, with(&[("client_id", "airside-public")])).await;
    refused(&public, StatusCode::BAD_REQUEST, "unauthorized_client");
    let twice = as_demo(with(&[("client_secret", SECRET)]));
    refused(
        &send(&issuer, twice).await,
        StatusCode::BAD_REQUEST,
        "invalid_request",
    );
}

#[tokio::test]
async fn every_algorithm_signs_with_a_key_of_the_set() {
    let issuer = provider_with(|settings| {
        settings.algorithms = Algorithm::ALL.to_vec();
        settings.default_algorithm = Algorithm::RS256;
    })
    .await;
    let jwks = json(&send(&issuer, get("/jwks")).await);
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 5);
    for algorithm in Algorithm::ALL {
        let wish = Wish {
            provider: issuer.clone(),
            client_id: format!("airside-public-{}", algorithm.name().to_lowercase()),
            user: "alice".to_owned(),
            audience: Some(API.to_owned()),
            scope: "openid read:invoices".to_owned(),
        };
        let answer = Value::Object(token::get(&wish).await.unwrap());
        for token in [text(&answer, "access_token"), text(&answer, "id_token")] {
            let (header, _) = decode(&token);
            assert_eq!(header["alg"], algorithm.name());
            let keys = jwks["keys"].as_array().unwrap().iter();
            let mut named = keys.filter(|key| key["kid"] == header["kid"]);
            let (key, None) = (named.next().unwrap(), named.next()) else {
                panic!("two keys with one kid");
            };
            assert_eq!(
                (&key["alg"], &key["use"]),
                (&value!(algorithm.name()), &value!("sig"))
            );
            assert!(key.get("d").is_none());
            verify(algorithm, &key.to_string(), &token);
        }
    }
}

#[track_caller]
fn verify(algorithm: Algorithm, jwk: &str, token: &str) {
    type Claims = Map<String, Value>;
    match algorithm {
        Algorithm::ES256 => ES256PublicKey::from_jwk(jwk)
            .unwrap()
            .verify_token::<Claims>(token, None)
            .unwrap(),
        Algorithm::ES384 => ES384PublicKey::from_jwk(jwk)
            .unwrap()
            .verify_token::<Claims>(token, None)
            .unwrap(),
        Algorithm::EdDSA => Ed25519PublicKey::from_jwk(jwk)
            .unwrap()
            .verify_token::<Claims>(token, None)
            .unwrap(),
        Algorithm::PS256 => PS256PublicKey::from_jwk(jwk)
            .unwrap()
            .verify_token::<Claims>(token, None)
            .unwrap(),
        Algorithm::RS256 => RS256PublicKey::from_jwk(jwk)
            .unwrap()
            .verify_token::<Claims>(token, None)
            .unwrap(),
    };
}

#[tokio::test]
async fn another_host_name_does_not_reach_the_provider() {
    let issuer = provider().await;
    let mut request = get("/.well-known/openid-configuration");
    request
        .headers_mut()
        .insert(header::HOST, "rebound.example".parse().unwrap());
    assert_eq!(
        send(&issuer, request).await.status(),
        StatusCode::MISDIRECTED_REQUEST
    );
    let metadata = send(&issuer, get("/.well-known/openid-configuration")).await;
    assert_eq!(json(&metadata)["issuer"], issuer.as_str());
}

#[tokio::test]
async fn only_a_free_loopback_address_is_listened_on() {
    let everywhere = Settings::new("0.0.0.0:0".parse().unwrap(), "http://127.0.0.1:3000");
    let error = Provider::bind(everywhere).await.err().unwrap();
    assert!(matches!(
        error.downcast_ref(),
        Some(ListenError::NotLoopback(_))
    ));

    let issuer = provider().await;
    let address = issuer.strip_prefix("http://").unwrap().parse().unwrap();
    let error = Provider::bind(Settings::new(address, "http://127.0.0.1:3000"))
        .await
        .err()
        .unwrap();
    assert!(matches!(error.downcast_ref(), Some(ListenError::InUse(_))));
}

#[tokio::test]
async fn issuer_and_gateways_are_origins() {
    let address = "127.0.0.1:0".parse().unwrap();
    for wrong in [
        "http://127.0.0.1:3000/",
        "http://a@127.0.0.1:3000",
        "127.0.0.1:3000",
        "http://",
    ] {
        let error = Provider::bind(Settings::new(address, wrong))
            .await
            .err()
            .unwrap();
        assert!(error.is::<NotAnOrigin>(), "{wrong}");
    }
    let named = "http://localhost:3001".to_owned();
    let issuer = provider_with(|settings| settings.issuer = Some(named.clone())).await;
    assert_eq!(issuer, named);
}
