use super::*;
use crate::jose::Algorithm;
use crate::oauth::access_token::{AudienceClaim, TokenShape};
use crate::oauth::client_auth::ClientCredential;
use crate::time::{Leeway, Lifetime};
use serde_json::json;

const NOW: UnixTime = UnixTime::from_secs(10_000);
const UNTIL: UnixTime = UnixTime::from_secs(10_030);

fn issuer() -> TokenIssuer {
    TokenIssuer {
        name: "op".into(),
        issuer: "https://op.example".parse().expect("issuer"),
        algorithms: vec![Algorithm::Es256],
        danger_any_typ: false,
        leeway: Leeway::from_secs(0),
        shape: TokenShape::default(),
        claim_rules: Vec::new(),
    }
}

fn response(status: u16, body: &str) -> Response<Bytes> {
    let body = Bytes::from(body.to_owned());
    Response::builder()
        .status(status)
        .body(body)
        .expect("response")
}

fn good() -> Value {
    json!({
        "active": true, "aud": "https://api.example", "client_id": "the-client", "exp": 10_100,
        "iss": "https://op.example", "scope": "read write", "sub": "alice",
        "token_type": "Bearer", "username": "alice",
    })
}

/// The good answer with these members laid over it, `null` taking out.
fn with(members: Value) -> Claims {
    let mut answer = good();
    for (name, value) in members.as_object().expect("object") {
        answer[name] = value.clone();
    }
    Claims::parse(answer.to_string().as_bytes()).expect("claims")
}

fn judged(members: Value, client_tokens: bool) -> Result<VerifiedAccessToken, AccessTokenError> {
    verify(with(members), &issuer(), client_tokens, UNTIL, NOW)
}

#[track_caller]
fn check(name: &str, members: Value, expected: Result<(), AccessTokenError>) {
    assert_eq!(judged(members, false).map(|_| ()), expected, "{name}");
}

#[test]
fn the_request_is_a_form_with_the_token_in_its_body() {
    let endpoint = "https://op.example/introspect".parse().expect("url");
    let proof = ClientCredential::Basic(Secret::from("s")).proof("c");
    let request = introspection(&Secret::from("the/token"))
        .post(&endpoint, proof.expect("proof"))
        .expect("request");
    assert_eq!(request.uri(), "https://op.example/introspect");
    assert_eq!(
        request.body(),
        "token=the%2Ftoken&token_type_hint=access_token"
    );
}

#[test]
fn active_must_be_said_in_so_many_words() {
    let read = |status, body: &str| {
        let answer = read_introspection(&response(status, body));
        answer.map(|answer| answer.is_some())
    };
    assert_eq!(read(200, r#"{"active":true}"#), Ok(true));
    assert_eq!(read(200, r#"{"active":false,"sub":"alice"}"#), Ok(false));
    for malformed in [
        r#"{"active":"true"}"#,
        r#"{"active":1}"#,
        r#"{"active":null}"#,
        r#"{"sub":"alice"}"#,
        r#"{"active":false,"active":true}"#,
        "[true]",
        "true",
        "",
    ] {
        assert_eq!(
            read(200, malformed),
            Err(TokenError::Malformed),
            "{malformed}"
        );
    }
    let long = format!(r#"{{"active":true,"x":"{}"}}"#, "x".repeat(40_000));
    assert_eq!(read(200, &long), Err(TokenError::Malformed), "too long");
    let active = r#"{"active":true}"#;
    assert_eq!(read(401, active), Err(TokenError::Refused));
    assert_eq!(
        read(401, r#"{"error":"invalid_client"}"#),
        Err(TokenError::InvalidClient)
    );
    let unsupported = r#"{"error":"unsupported_token_type"}"#;
    assert_eq!(read(400, unsupported), Ok(false));
    assert_eq!(read(500, unsupported), Err(TokenError::Unavailable));
    assert_eq!(read(201, active), Err(TokenError::Unavailable));
    assert_eq!(read(302, active), Err(TokenError::Unavailable));
    assert_eq!(read(500, active), Err(TokenError::Unavailable));
}

#[test]
fn an_answer_is_judged_like_the_claims_of_a_jwt() {
    use AccessTokenError::{Claims, Expired, Inactive, Issuer, NotYetValid};
    let token = judged(json!({}), false).expect("good");
    assert_eq!(token.subject(), "alice");
    assert_eq!(token.client_id(), "the-client");
    assert_eq!(token.audience(), ["https://api.example"]);
    assert!(token.has_scope("write") && !token.has_scope("writ"));
    assert_eq!(token.expires_at(), UnixTime::from_secs(10_100));

    check("not active", json!({"active": false}), Err(Inactive));
    check("active as text", json!({"active": "true"}), Err(Inactive));
    check("no active", json!({"active": null}), Err(Inactive));
    check("two audiences", json!({"aud": ["a", "b"]}), Ok(()));
    check("no audience", json!({"aud": null}), Err(Claims));
    check("an empty audience", json!({"aud": []}), Err(Claims));
    check("a number as audience", json!({"aud": 1}), Err(Claims));
    check("the last second", json!({"exp": 10_001}), Ok(()));
    check("over", json!({"exp": 10_000}), Err(Expired));
    check("exp as text", json!({"exp": "10100"}), Err(Claims));
    check("nbf now", json!({"nbf": 10_000}), Ok(()));
    check("nbf later", json!({"nbf": 10_001}), Err(NotYetValid));
    check("iat later", json!({"iat": 10_001}), Err(NotYetValid));
    let other = json!({"iss": "https://op.example/"});
    check("another issuer", other, Err(Issuer));
    check("no issuer", json!({"iss": null}), Ok(()));
    check("iss as a list", json!({"iss": []}), Err(Claims));
    check("no client", json!({"client_id": null}), Err(Claims));
    check("no scope", json!({"scope": null}), Ok(()));
    check("a line break", json!({"sub": "alice\r\nx: y"}), Err(Claims));
}

#[test]
fn without_exp_a_token_lives_as_long_as_the_answer_counts() {
    let token = judged(json!({"exp": null}), false).expect("good");
    assert_eq!(token.expires_at(), UNTIL);
}

#[test]
fn only_a_bearer_token_counts() {
    use AccessTokenError::{Claims, TokenType};
    check("lower case", json!({"token_type": "bearer"}), Ok(()));
    check("no type", json!({"token_type": null}), Ok(()));
    check("bound", json!({"token_type": "DPoP"}), Err(TokenType));
    check("mac", json!({"token_type": "mac"}), Err(TokenType));
    check("type as a number", json!({"token_type": 1}), Err(Claims));
    check(
        "bound to a key",
        json!({"cnf": {"jkt": "x"}}),
        Err(TokenType),
    );
    check("bound to nothing", json!({"cnf": null}), Ok(()));
    for word in ["access", "access_token"] {
        check(word, json!({"token_use": word}), Ok(()));
    }
    for word in ["refresh", "refresh_token", "id"] {
        check(word, json!({"token_use": word}), Err(TokenType));
    }
}

#[test]
fn where_no_token_has_aud_one_must_be_called_an_access_token() {
    let mut issuer = issuer();
    issuer.shape.audience = AudienceClaim::ClientId;
    let check = |name, members, expected| {
        let judged = verify(with(members), &issuer, false, UNTIL, NOW);
        let audience = judged.map(|token| token.audience().to_vec());
        assert_eq!(audience, expected, "{name}");
    };
    let client = vec!["the-client".to_owned()];
    check("bearer", json!({"aud": null}), Ok(client.clone()));
    let untold = || json!({"aud": null, "token_type": null});
    check("untold", untold(), Err(AccessTokenError::TokenType));
    let mut told = untold();
    told["token_use"] = "access".into();
    check("by token_use", told, Ok(client));
    check("with aud", json!({}), Err(AccessTokenError::Claims));
}

#[test]
fn a_token_of_a_client_itself_does_not_pose_as_a_person() {
    let of_client = |members: Value| judged(members, true).map(|token| token.subject().to_owned());
    let without_sub = || json!({"sub": null, "username": null});
    check("no sub", without_sub(), Err(AccessTokenError::Claims));
    assert_eq!(of_client(without_sub()).as_deref(), Ok("the-client"));
    // Somebody is there, and is not said: it could be anybody.
    let hidden = of_client(json!({"sub": null}));
    assert_eq!(hidden, Err(AccessTokenError::Claims));
    assert_eq!(of_client(json!({})).as_deref(), Ok("alice"), "as it is");
    let empty = of_client(json!({"sub": "", "username": null}));
    assert_eq!(empty, Err(AccessTokenError::Claims));
    let until = judged(json!({"exp": null}), true)
        .expect("good")
        .expires_at();
    assert_eq!(until.since(NOW), Lifetime::from_secs(30));
}
