use super::*;
use serde_json::{Value, json};

use crate::testing::Idp;

const ISSUER: &str = "https://as.example";
const NOW: u64 = 1_767_225_600;

/// The claims of a good token.
fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "sub": "alice",
        "aud": "https://api.example.com",
        "client_id": "cli",
        "exp": NOW + 300,
        "iat": NOW,
        "jti": "t1",
        "scope": "read write",
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

fn trusted(danger_any_typ: bool) -> TokenIssuer {
    TokenIssuer {
        name: "as".to_owned(),
        issuer: ISSUER.parse().expect("issuer"),
        algorithms: vec![Algorithm::Es256],
        danger_any_typ,
        leeway: Leeway::DEFAULT,
        shape: TokenShape::default(),
        claim_rules: Vec::new(),
    }
}

fn key_set(idp: &Idp) -> JwkSet {
    JwkSet::parse(idp.jwks().to_string().as_bytes()).expect("key set")
}

fn verified(
    idp: &Idp,
    token: &str,
    issuer: &TokenIssuer,
    keys: &JwkSet,
) -> Result<VerifiedAccessToken, Refusal> {
    let now = UnixTime::from_secs(NOW);
    verify(Jws::parse(token)?, issuer, keys, &|_| false, now)
        .inspect(|_| assert_eq!(idp.issuer(), &issuer.issuer))
}

/// Judges a token of the trusted issuer with these claims and this `typ`.
#[track_caller]
fn check(name: &str, claims: &Value, typ: &str, expected: Result<(), AccessTokenError>) {
    let idp = Idp::new(ISSUER);
    let token = idp.sign_typ(claims, typ);
    let outcome = verified(&idp, &token, &trusted(false), &key_set(&idp));
    assert_eq!(
        outcome.map(|_| ()).map_err(|refusal| refusal.error),
        expected,
        "{name}"
    );
}

#[test]
fn typ_must_say_access_token() {
    for (typ, expected) in [
        ("at+jwt", Ok(())),
        ("AT+JWT", Ok(())),
        ("application/at+jwt", Ok(())),
        ("Application/At+Jwt", Ok(())),
        ("JWT", Err(AccessTokenError::Typ)),
        ("logout+jwt", Err(AccessTokenError::Typ)),
        ("at+jwt+jwt", Err(AccessTokenError::Typ)),
    ] {
        check(typ, &claims(), typ, expected);
    }
}

#[test]
fn the_danger_switch_lets_jwt_pass_and_no_other_typ() {
    let idp = Idp::new(ISSUER);
    let keys = key_set(&idp);
    for (typ, expected) in [
        ("at+jwt", Ok(())),
        ("JWT", Ok(())),
        ("jwt", Ok(())),
        ("logout+jwt", Err(AccessTokenError::Typ)),
        ("secevent+jwt", Err(AccessTokenError::Typ)),
    ] {
        let token = idp.sign_typ(&claims(), typ);
        let outcome = verified(&idp, &token, &trusted(true), &keys);
        assert_eq!(outcome.map(|_| ()).map_err(|r| r.error), expected, "{typ}");
    }
}

#[test]
fn issuer_is_the_trusted_one_to_the_letter() {
    let other = Err(AccessTokenError::Issuer);
    check("the same", &claims(), "at+jwt", Ok(()));
    check(
        "with a slash",
        &with(json!({"iss": "https://as.example/"})),
        "at+jwt",
        other,
    );
    check(
        "other case",
        &with(json!({"iss": "https://AS.example"})),
        "at+jwt",
        other,
    );
    check(
        "another",
        &with(json!({"iss": "https://evil.example"})),
        "at+jwt",
        other,
    );
    let claims = Err(AccessTokenError::Claims);
    check("none", &with(json!({"iss": null})), "at+jwt", claims);
    check("empty", &with(json!({"iss": ""})), "at+jwt", claims);
    check(
        "a list",
        &with(json!({"iss": [ISSUER]})),
        "at+jwt",
        Err(AccessTokenError::Claims),
    );
}

#[test]
fn audience_is_there_as_string_or_list() {
    let refused = Err(AccessTokenError::Claims);
    check("a string", &with(json!({"aud": "x"})), "at+jwt", Ok(()));
    check(
        "a list",
        &with(json!({"aud": ["x", "y"]})),
        "at+jwt",
        Ok(()),
    );
    check("none", &with(json!({"aud": null})), "at+jwt", refused);
    check(
        "a number",
        &with(json!({"aud": 1})),
        "at+jwt",
        Err(AccessTokenError::Claims),
    );
    check(
        "a list of numbers",
        &with(json!({"aud": [1]})),
        "at+jwt",
        Err(AccessTokenError::Claims),
    );
    check(
        "an object",
        &with(json!({"aud": {"x": "y"}})),
        "at+jwt",
        Err(AccessTokenError::Claims),
    );
}

#[test]
fn times_count_within_the_leeway() {
    let (expired, early) = (
        Err(AccessTokenError::Expired),
        Err(AccessTokenError::NotYetValid),
    );
    for (name, changes, expected) in [
        ("exp within the leeway", json!({"exp": NOW - 59}), Ok(())),
        ("exp at its end", json!({"exp": NOW - 60}), expired),
        ("nbf within the leeway", json!({"nbf": NOW + 60}), Ok(())),
        ("nbf beyond it", json!({"nbf": NOW + 61}), early),
        ("iat within the leeway", json!({"iat": NOW + 60}), Ok(())),
        ("iat beyond it", json!({"iat": NOW + 61}), early),
        (
            "no iat and no nbf",
            json!({"iat": null, "nbf": null}),
            Ok(()),
        ),
        (
            "exp with a fraction",
            json!({"exp": NOW as f64 + 0.5}),
            Ok(()),
        ),
    ] {
        check(name, &with(changes), "at+jwt", expected);
    }
}

#[test]
fn times_that_are_none_are_refused() {
    check("as it should be", &claims(), "at+jwt", Ok(()));
    for (name, changes) in [
        ("no exp", json!({"exp": null})),
        ("huge exp", json!({"exp": 1e300})),
    ] {
        check(
            name,
            &with(changes),
            "at+jwt",
            Err(AccessTokenError::Claims),
        );
    }
}

#[test]
fn subject_and_client_are_there_and_fit_a_header() {
    let long = "x".repeat(255);
    check("longest sub", &with(json!({"sub": long})), "at+jwt", Ok(()));
    check(
        "one character",
        &with(json!({"sub": "1"})),
        "at+jwt",
        Ok(()),
    );
    for (name, changes) in [
        ("no sub", json!({"sub": null})),
        ("empty sub", json!({"sub": ""})),
        ("sub too long", json!({"sub": format!("{long}x")})),
        (
            "sub with a line end",
            json!({"sub": "a\r\nX-Forwarded-Sub: b"}),
        ),
        ("sub not ASCII", json!({"sub": "ålice"})),
        ("no client_id", json!({"client_id": null})),
        ("empty client_id", json!({"client_id": ""})),
        ("client_id with a line end", json!({"client_id": "a\nb"})),
    ] {
        check(
            name,
            &with(changes),
            "at+jwt",
            Err(AccessTokenError::Claims),
        );
    }
}

#[test]
fn registered_claims_of_a_wrong_type_are_refused() {
    check("as it should be", &claims(), "at+jwt", Ok(()));
    for (name, changes) in [
        ("sub a number", json!({"sub": 7})),
        ("exp as text", json!({"exp": "1900000000"})),
        ("negative exp", json!({"exp": -1})),
        ("exp true", json!({"exp": true})),
        ("nbf as text", json!({"nbf": "1"})),
        ("iat as text", json!({"iat": "1"})),
        ("negative iat", json!({"iat": -5})),
    ] {
        check(
            name,
            &with(changes),
            "at+jwt",
            Err(AccessTokenError::Claims),
        );
    }
}

#[test]
fn scope_is_a_string_or_nothing() {
    let (refused, typ) = (Err(AccessTokenError::Claims), "at+jwt");
    check("none", &with(json!({"scope": null})), typ, Ok(()));
    check("empty", &with(json!({"scope": ""})), typ, Ok(()));
    check("a list", &with(json!({"scope": ["read"]})), typ, refused);
    check(
        "a line end",
        &with(json!({"scope": "read\nwrite"})),
        typ,
        refused,
    );
    let long = "x".repeat(4_096);
    check("longest", &with(json!({"scope": long})), typ, Ok(()));
    check(
        "too long",
        &with(json!({"scope": format!("{long}x")})),
        typ,
        refused,
    );
}

#[test]
fn a_scope_counts_only_whole() {
    let idp = Idp::new(ISSUER);
    let token = idp.sign_typ(&with(json!({"scope": "read:invoices write"})), "at+jwt");
    let token = verified(&idp, &token, &trusted(false), &key_set(&idp)).expect("verified");
    assert!(token.has_scope("write") && token.has_scope("read:invoices"));
    for other in [
        "read",
        "invoices",
        "WRITE",
        "write ",
        "",
        "read:invoices write",
    ] {
        assert!(!token.has_scope(other), "{other:?}");
    }
}

#[test]
fn only_a_key_of_the_issuer_and_an_accepted_algorithm_verify() {
    let (idp, other) = (Idp::new(ISSUER), Idp::new(ISSUER));
    let token = idp.sign_typ(&claims(), "at+jwt");
    let outcome = |issuer: &TokenIssuer, keys: &JwkSet| {
        verified(&idp, &token, issuer, keys)
            .map(|_| ())
            .map_err(|refusal| refusal.error)
    };
    assert_eq!(outcome(&trusted(false), &key_set(&idp)), Ok(()));
    let signature = Err(AccessTokenError::Jws(JwsError::Signature));
    assert_eq!(outcome(&trusted(false), &key_set(&other)), signature);
    let strict = TokenIssuer {
        algorithms: vec![Algorithm::Rs256],
        ..trusted(false)
    };
    let algorithm = Err(AccessTokenError::Jws(JwsError::Algorithm));
    assert_eq!(outcome(&strict, &key_set(&idp)), algorithm);
}

#[test]
fn a_refusal_tells_of_the_audience_only_after_the_signature() {
    let (idp, forger) = (Idp::new(ISSUER), Idp::new(ISSUER));
    let id_token = with(json!({"aud": "web-app", "nonce": "n"}));
    let refused = |signer: &Idp| {
        let token = signer.sign_typ(&id_token, "JWT");
        verified(&idp, &token, &trusted(false), &key_set(&idp)).expect_err("refused")
    };
    let genuine = refused(&idp);
    assert_eq!(genuine.error, AccessTokenError::Typ);
    assert_eq!(genuine.audience, ["web-app"]);
    assert_eq!(genuine.kind, Some(TokenKind::Id));
    let forged = refused(&forger);
    assert_eq!(forged.error, AccessTokenError::Jws(JwsError::Signature));
    assert!(forged.audience.is_empty() && forged.kind.is_none());

    // A management token without those claims does not look like an ID token.
    let token = idp.sign_typ(&claims(), "JWT");
    let plain = verified(&idp, &token, &trusted(false), &key_set(&idp)).expect_err("refused");
    assert_eq!(plain.kind, None);
}
