use super::*;
use serde_json::json;

use crate::oidc::id_token;
use crate::testing::Idp;

const ISSUER: &str = "https://op.example";
const NOW: u64 = 1_767_225_600;

fn alice(idp: &Idp) -> VerifiedIdToken {
    let token = idp.sign(&json!({
        "iss": ISSUER, "sub": "alice", "aud": "web-app", "exp": NOW + 300, "iat": NOW, "nonce": "n",
    }));
    let expected = id_token::Expected {
        issuer: &ISSUER.parse().expect("issuer"),
        client_id: "web-app",
        additional_audiences: &[],
        algorithms: &Algorithm::DEFAULT,
        nonce: Some(&Secret::from("n")),
        access_token: &Secret::from("at"),
        max_age: None,
        acr_values: &[],
        leeway: Leeway::DEFAULT,
    };
    let jws = Jws::parse(&token).expect("token");
    id_token::verify(jws, &expected, &keys(idp), UnixTime::from_secs(NOW)).expect("verified")
}

fn keys(idp: &Idp) -> JwkSet {
    JwkSet::parse(idp.jwks().to_string().as_bytes()).expect("key set")
}

fn response(status: u16, media_type: &str, body: &str) -> Response<Bytes> {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, media_type)
        .body(Bytes::from(body.to_owned()))
        .expect("response")
}

/// What becomes of an answer to the web-app about alice.
fn outcome(idp: &Idp, response: &Response<Bytes>) -> Result<(), UserInfoError> {
    let id_token = alice(idp);
    let expected = Expected {
        algorithms: &Algorithm::DEFAULT,
        client_id: "web-app",
        leeway: Leeway::DEFAULT,
    };
    match read(response)? {
        Answer::Json(claims) => verify_json(&claims, &id_token).map(|_| ()),
        Answer::Signed(jws) => {
            let now = UnixTime::from_secs(NOW);
            verify_signed(jws, &id_token, &expected, &keys(idp), now).map(|_| ())
        }
    }
}

#[track_caller]
fn check_json(body: &str, expected: Result<(), UserInfoError>) {
    let idp = Idp::new(ISSUER);
    let media_type = "application/json; charset=utf-8";
    let found = outcome(&idp, &response(200, media_type, body));
    assert_eq!(found, expected, "{body}");
}

#[test]
fn the_access_token_travels_in_the_header() {
    let endpoint = "https://op.example/me".parse().expect("url");
    let request = request(&endpoint, &Secret::from("at")).expect("request");
    assert_eq!(request.uri(), "https://op.example/me");
    let authorization = request.headers().get(AUTHORIZATION).expect("header");
    assert_eq!(authorization, "Bearer at");
    assert!(authorization.is_sensitive());
    assert!(request.body().is_empty());
    let broken = super::request(&endpoint, &Secret::from("a\nb"));
    assert_eq!(broken.map(|_| ()), Err(UserInfoError::Malformed));
}

#[test]
fn a_json_response_is_about_the_same_person() {
    check_json(r#"{"sub":"alice","email":"a@b.example"}"#, Ok(()));
    for other in [
        r#"{"sub":"Alice"}"#,
        r#"{"sub":""}"#,
        "{}",
        r#"{"sub":null}"#,
    ] {
        check_json(other, Err(UserInfoError::Subject));
    }
    for bad in [
        r#"{"sub":["alice"]}"#,
        r#"[{"sub":"alice"}]"#,
        r#"{"sub":"alice","sub":"bob"}"#,
        "null",
        "",
    ] {
        check_json(bad, Err(UserInfoError::Malformed));
    }
}

#[test]
fn a_status_other_than_200_gives_no_claims() {
    let idp = Idp::new(ISSUER);
    let of = |status| {
        outcome(
            &idp,
            &response(status, "application/json", r#"{"sub":"alice"}"#),
        )
    };
    assert_eq!(of(200), Ok(()));
    assert_eq!(of(401), Err(UserInfoError::Refused));
    assert_eq!(of(302), Err(UserInfoError::Unavailable));
    assert_eq!(of(500), Err(UserInfoError::Unavailable));
}

#[track_caller]
fn check_signed(name: &str, claims: Value, expected: Result<(), UserInfoError>) {
    let idp = Idp::new(ISSUER);
    let body = idp.sign(&claims);
    let found = outcome(&idp, &response(200, "application/jwt", &body));
    assert_eq!(found, expected, "{name}");
}

#[test]
fn a_signed_response_is_by_the_issuer_for_the_client_about_the_person() {
    let full = json!({"sub": "alice", "iss": ISSUER, "aud": ["web-app", "x"], "exp": NOW + 1});
    check_signed("in full", full, Ok(()));
    check_signed(
        "without the claims that may be left out",
        json!({"sub": "alice"}),
        Ok(()),
    );
    for (name, claims, error) in [
        (
            "another person",
            json!({"sub": "bob", "iss": ISSUER}),
            UserInfoError::Subject,
        ),
        ("nobody", json!({"iss": ISSUER}), UserInfoError::Subject),
        (
            "another issuer",
            json!({"sub": "alice", "iss": "https://x.example"}),
            UserInfoError::Issuer,
        ),
        (
            "another client",
            json!({"sub": "alice", "aud": "other"}),
            UserInfoError::Audience,
        ),
        (
            "over",
            json!({"sub": "alice", "exp": NOW - 60}),
            UserInfoError::Expired,
        ),
        (
            "early",
            json!({"sub": "alice", "nbf": NOW + 61}),
            UserInfoError::Expired,
        ),
    ] {
        check_signed(name, claims, Err(error));
    }
}

#[test]
fn a_signature_of_another_key_does_not_count() {
    let (idp, forger) = (Idp::new(ISSUER), Idp::new(ISSUER));
    let body = forger.sign(&json!({"sub": "alice"}));
    let signature = Err(UserInfoError::Jws(JwsError::Signature));
    assert_eq!(
        outcome(&idp, &response(200, "application/jwt", &body)),
        signature
    );
}

#[test]
fn a_signed_response_never_falls_back_to_json_nor_the_other_way() {
    let idp = Idp::new(ISSUER);
    let json = r#"{"sub":"alice"}"#;
    let as_jwt = outcome(&idp, &response(200, "Application/JWT", json));
    assert_eq!(as_jwt, Err(UserInfoError::Jws(JwsError::Malformed)));
    let jwt = idp.sign(&json!({"sub": "alice"}));
    let as_json = outcome(&idp, &response(200, "application/json", &jwt));
    assert_eq!(as_json, Err(UserInfoError::Malformed));
}

#[track_caller]
fn check_merge(id_token: Value, userinfo: Value, expected: Value) {
    let map = |value: Value| value.as_object().expect("object").clone();
    let merged = merge(map(id_token), map(userinfo));
    assert_eq!(Value::Object(merged), expected);
}

#[test]
fn the_id_token_wins() {
    check_merge(
        json!({"sub": "alice", "name": "A"}),
        json!({"sub": "alice", "name": "B", "zoneinfo": "Z"}),
        json!({"sub": "alice", "name": "A", "zoneinfo": "Z"}),
    );
}

#[test]
fn an_address_is_vouched_for_by_its_own_source() {
    let both = json!({"email": "a@x.example", "email_verified": true});
    check_merge(json!({}), both.clone(), both.clone());
    check_merge(json!({"email": "a@x.example"}), both.clone(), both.clone());
    // Another address was verified, not this one.
    let other = json!({"email": "evil@x.example"});
    check_merge(other.clone(), both.clone(), other);
    // Something was verified, but not what UserInfo says.
    let verified = json!({"email_verified": true});
    check_merge(
        verified.clone(),
        json!({"email": "evil@x.example"}),
        verified,
    );
}
