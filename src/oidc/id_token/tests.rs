use super::*;
use serde_json::json;

use crate::testing::Idp;

const ISSUER: &str = "https://op.example";
const NOW: u64 = 1_767_225_600;
const ACCESS_TOKEN: &str = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";

/// The claims of a good token.
fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "sub": "alice",
        "aud": "web-app",
        "exp": NOW + 300,
        "iat": NOW,
        "nonce": "n-0S6_WzA2Mj",
    })
}

/// The good claims with `changes`; null takes a claim away.
fn with(changes: Value) -> Value {
    let mut claims = claims();
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

/// Verifies `token` as the client `web-app`, which also tolerates the audience `api`.
fn verified(idp: &Idp, token: &str) -> Result<VerifiedIdToken, IdTokenError> {
    verified_when_asked(idp, token, None, &[])
}

/// The same after a request with `max_age` and `acr_values`.
fn verified_when_asked(
    idp: &Idp,
    token: &str,
    max_age: Option<u64>,
    acr_values: &[String],
) -> Result<VerifiedIdToken, IdTokenError> {
    let keys = JwkSet::parse(idp.jwks().to_string().as_bytes()).expect("key set");
    let expected = Expected {
        issuer: &ISSUER.parse().expect("issuer"),
        client_id: "web-app",
        additional_audiences: &["api".to_owned()],
        algorithms: &Algorithm::DEFAULT,
        nonce: Some(&Secret::from("n-0S6_WzA2Mj")),
        access_token: &Secret::from(ACCESS_TOKEN),
        max_age: max_age.map(Lifetime::from_secs),
        acr_values,
        leeway: Leeway::DEFAULT,
    };
    verify(
        Jws::parse(token)?,
        &expected,
        &keys,
        UnixTime::from_secs(NOW),
    )
}

#[track_caller]
fn check(name: &str, changes: Value, expected: Result<(), IdTokenError>) {
    let idp = Idp::new(ISSUER);
    let outcome = verified(&idp, &idp.sign(&with(changes)));
    assert_eq!(outcome.map(|_| ()), expected, "{name}");
}

#[test]
fn issuer_is_the_provider_to_the_letter() {
    check("the same", json!({}), Ok(()));
    for other in [
        "https://op.example/",
        "https://OP.example",
        "https://evil.example",
    ] {
        check(other, json!({"iss": other}), Err(IdTokenError::Issuer));
    }
    check("none", json!({"iss": null}), Err(IdTokenError::Claims));
    check(
        "a list",
        json!({"iss": [ISSUER]}),
        Err(IdTokenError::Claims),
    );
}

#[test]
fn audience_is_the_client_and_nobody_unexpected() {
    let refused = Err(IdTokenError::Audience);
    check("a list of one", json!({"aud": ["web-app"]}), Ok(()));
    let both = json!(["web-app", "api"]);
    check(
        "one more, configured",
        json!({"aud": both, "azp": "web-app"}),
        Ok(()),
    );
    let stranger = json!({"aud": ["web-app", "stranger"], "azp": "web-app"});
    check("one more, not configured", stranger, refused);
    check("another client", json!({"aud": "other-app"}), refused);
    check(
        "only the configured one",
        json!({"aud": ["api"], "azp": "web-app"}),
        refused,
    );
    check("a part of it", json!({"aud": "web"}), refused);
    check("empty", json!({"aud": []}), refused);
    check("none", json!({"aud": null}), refused);
    check("a number", json!({"aud": 1}), Err(IdTokenError::Claims));
}

#[test]
fn azp_is_the_client_and_needed_with_several_audiences() {
    let refused = Err(IdTokenError::AuthorizedParty);
    let both = json!(["web-app", "api"]);
    check("needless, but right", json!({"azp": "web-app"}), Ok(()));
    check("another", json!({"azp": "other-app"}), refused);
    check("several and none", json!({"aud": both}), refused);
    check(
        "several and another",
        json!({"aud": both, "azp": "api"}),
        refused,
    );
    check("no text", json!({"azp": 1}), Err(IdTokenError::Claims));
}

#[test]
fn times_count_within_the_leeway() {
    let (expired, early) = (Err(IdTokenError::Expired), Err(IdTokenError::NotYetValid));
    check("exp within the leeway", json!({"exp": NOW - 59}), Ok(()));
    check("exp at its end", json!({"exp": NOW - 60}), expired);
    check("iat within the leeway", json!({"iat": NOW + 60}), Ok(()));
    check("iat beyond it", json!({"iat": NOW + 61}), early);
    let issued_later = json!({"iat": NOW + 61, "nbf": NOW});
    check("iat beyond it, nbf not", issued_later, early);
    check("nbf within the leeway", json!({"nbf": NOW + 60}), Ok(()));
    check("nbf beyond it", json!({"nbf": NOW + 61}), early);
    check("auth_time of zero", json!({"auth_time": 0}), Ok(()));
    check(
        "exp as text",
        json!({"exp": "1900000000"}),
        Err(IdTokenError::Claims),
    );
    check(
        "negative iat",
        json!({"iat": -1}),
        Err(IdTokenError::Claims),
    );
    check(
        "nbf as text",
        json!({"nbf": "1"}),
        Err(IdTokenError::Claims),
    );
    for (name, changes) in [
        ("no exp", json!({"exp": null})),
        ("huge exp", json!({"exp": 1e300})),
        ("no iat", json!({"iat": null})),
        ("auth_time as text", json!({"auth_time": "1"})),
        ("acr no text", json!({"acr": 1})),
    ] {
        check(name, changes, Err(IdTokenError::Claims));
    }
}

#[test]
fn nonce_is_the_one_that_was_sent() {
    check("the same", json!({}), Ok(()));
    for (name, nonce) in [
        ("another", json!("n-0S6_WzA2Mk")),
        ("a part", json!("n-0S6")),
        ("empty", json!("")),
        ("none", Value::Null),
    ] {
        check(name, json!({"nonce": nonce}), Err(IdTokenError::Nonce));
    }
    check("no text", json!({"nonce": 1}), Err(IdTokenError::Claims));
}

#[test]
fn at_hash_belongs_to_the_access_token() {
    // The access token and at_hash of OpenID Connect Core appendix A.3.
    check(
        "its own",
        json!({"at_hash": "77QmUPtjPfzWtF2AnpK9RQ"}),
        Ok(()),
    );
    let refused = Err(IdTokenError::AtHash);
    check(
        "another's",
        json!({"at_hash": "77QmUPtjPfzWtF2AnpK9RR"}),
        refused,
    );
    check("empty", json!({"at_hash": ""}), refused);
    check("no text", json!({"at_hash": 1}), Err(IdTokenError::Claims));
    check("none", json!({"at_hash": null}), Ok(()));
}

#[test]
fn at_hash_uses_the_hash_of_the_algorithm() {
    for algorithm in Algorithm::DEFAULT {
        let idp = Idp::with_key(ISSUER, algorithm, "k");
        let own = at_hash_of(algorithm, &Secret::from(ACCESS_TOKEN));
        let bytes = match algorithm {
            Algorithm::EdDsa => 32,
            Algorithm::Es384 => 24,
            Algorithm::Es256 | Algorithm::Ps256 | Algorithm::Rs256 => 16,
        };
        let length = crate::encoding::base64url_decode(&own).map(|hash| hash.len());
        assert_eq!(length, Ok(bytes), "{algorithm}");
        let outcome = verified(&idp, &idp.sign(&with(json!({"at_hash": own}))));
        assert_eq!(outcome.map(|_| ()), Ok(()), "{algorithm}");
    }
}

#[test]
fn subject_is_1_to_255_visible_characters() {
    let long = "x".repeat(255);
    check("the longest", json!({"sub": long}), Ok(()));
    check("the shortest", json!({"sub": "1"}), Ok(()));
    for (name, sub) in [
        ("too long", json!(format!("{long}x"))),
        ("empty", json!("")),
        ("none", Value::Null),
        ("a line end", json!("a\r\nb")),
        ("not ASCII", json!("ålice")),
    ] {
        check(name, json!({"sub": sub}), Err(IdTokenError::Subject));
    }
    check("a number", json!({"sub": 7}), Err(IdTokenError::Claims));
}

#[test]
fn an_access_token_is_no_id_token() {
    let idp = Idp::new(ISSUER);
    let outcome = |typ: &str| verified(&idp, &idp.sign_typ(&claims(), typ)).map(|_| ());
    assert_eq!(outcome("JWT"), Ok(()));
    assert_eq!(outcome("jwt"), Ok(()));
    assert_eq!(outcome("at+jwt"), Err(IdTokenError::Typ));
    assert_eq!(outcome("logout+jwt"), Err(IdTokenError::Typ));
}

#[test]
fn the_signature_comes_before_all_claims() {
    let (idp, forger) = (Idp::new(ISSUER), Idp::new(ISSUER));
    let signature = Err(IdTokenError::Jws(JwsError::Signature));
    assert_eq!(
        verified(&idp, &forger.sign(&claims())).map(|_| ()),
        signature
    );
    // Wrong in every claim: still only the signature is spoken of.
    assert_eq!(
        verified(&idp, &forger.sign(&json!({"iss": "x"}))).map(|_| ()),
        signature
    );
}

#[test]
fn with_max_age_the_authentication_is_recent() {
    let idp = Idp::new(ISSUER);
    let outcome = |max_age, changes| {
        let token = idp.sign(&with(changes));
        verified_when_asked(&idp, &token, max_age, &[]).map(|_| ())
    };
    let refused = Err(IdTokenError::AuthTime);
    assert_eq!(outcome(None, json!({})), Ok(()));
    assert_eq!(outcome(Some(600), json!({})), refused, "missing");
    // 600 seconds and 60 of leeway.
    let at = |ago: u64| json!({"auth_time": NOW - ago});
    assert_eq!(outcome(Some(600), at(660)), Ok(()));
    assert_eq!(outcome(Some(600), at(661)), refused);
    assert_eq!(outcome(None, at(661)), Ok(()));
    assert_eq!(outcome(Some(0), at(60)), Ok(()));
    assert_eq!(outcome(Some(0), at(61)), refused);
    assert_eq!(outcome(Some(600), json!({"auth_time": 0})), refused);
    let claims = Err(IdTokenError::Claims);
    assert_eq!(outcome(Some(600), json!({"auth_time": "now"})), claims);
}

#[test]
fn with_acr_values_one_of_them_is_there() {
    let idp = Idp::new(ISSUER);
    let outcome = |wanted: &[&str], changes| {
        let wanted: Vec<String> = wanted.iter().map(|acr| (*acr).to_owned()).collect();
        let token = idp.sign(&with(changes));
        verified_when_asked(&idp, &token, None, &wanted).map(|_| ())
    };
    let refused = Err(IdTokenError::Acr);
    assert_eq!(outcome(&[], json!({"acr": "0"})), Ok(()));
    assert_eq!(outcome(&["mfa", "phr"], json!({"acr": "phr"})), Ok(()));
    assert_eq!(outcome(&["mfa"], json!({"acr": "MFA"})), refused);
    assert_eq!(outcome(&["mfa"], json!({"acr": "0"})), refused);
    assert_eq!(outcome(&["mfa"], json!({})), refused);
}

#[test]
fn the_claims_are_handed_on() {
    let idp = Idp::new(ISSUER);
    let more =
        json!({"name": "Alice", "email": "a@example.com", "groups": ["g"], "amr": ["pwd", 1]});
    let token = verified(&idp, &idp.sign(&with(more))).expect("verified");
    let claims = token.claims();
    assert_eq!(claims.get("name"), Some(&json!("Alice")));
    assert_eq!(claims.get("missing"), None);
    assert_eq!(token.amr(), Vec::<String>::new(), "not all are strings");
    assert_eq!((token.issuer(), token.subject()), (ISSUER, "alice"));
    assert_eq!(token.auth_time(), None);
}
