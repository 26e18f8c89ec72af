use super::*;
use crate::jose::KeySelectionError;
use crate::testing::Idp;
use serde_json::json;

const NOW: UnixTime = UnixTime::from_secs(1_000_000);
const ISSUER: &str = "https://op.example";

fn idp() -> Idp {
    Idp::new(ISSUER)
}

fn keys(idp: &Idp) -> JwkSet {
    JwkSet::parse(idp.jwks().to_string().as_bytes()).expect("keys")
}

/// A good logout token with changes: `null` takes a claim out.
fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "aud": "the-client", "sub": "alice", "sid": "p1", "jti": "j1",
        "iat": 1_000_000, "exp": 1_000_120, "events": { EVENT: {} },
    });
    let members = claims.as_object_mut().expect("object");
    for (name, value) in changes.as_object().expect("object") {
        match value {
            Value::Null => members.remove(name),
            value => members.insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn judge(token: &str, keys: &JwkSet) -> Result<VerifiedLogoutToken, LogoutTokenError> {
    let issuer: Issuer = ISSUER.parse().expect("issuer");
    let expected = Expected {
        issuer: &issuer,
        client_id: "the-client",
        additional_audiences: &["https://api.example".to_owned()],
        algorithms: &[Algorithm::Es256],
        leeway: Leeway::DEFAULT,
    };
    verify(Jws::parse(token)?, &expected, keys, NOW)
}

#[track_caller]
fn check_typ(name: &str, typ: &str, changes: Value, expected: Result<(), LogoutTokenError>) {
    let idp = idp();
    let token = idp.sign_typ(&claims(changes), typ);
    assert_eq!(judge(&token, &keys(&idp)).map(|_| ()), expected, "{name}");
}

#[track_caller]
fn check(name: &str, changes: Value, expected: Result<(), LogoutTokenError>) {
    check_typ(name, "logout+jwt", changes, expected);
}

#[test]
fn a_good_token_says_who_and_until_when() {
    let idp = idp();
    let token = idp.sign_typ(&claims(json!({})), "logout+jwt");
    let verified = judge(&token, &keys(&idp)).expect("verified");
    assert_eq!(
        (verified.subject(), verified.sid()),
        (Some("alice"), Some("p1"))
    );
    assert_eq!(verified.jti(), "j1");
    assert_eq!(verified.ends_at(), UnixTime::from_secs(1_000_180));
}

#[test]
fn steps_2_and_3_the_signature_by_a_key_of_the_issuer() {
    let (idp, other) = (idp(), idp());
    let token = other.sign_typ(&claims(json!({})), "logout+jwt");
    let found = judge(&token, &keys(&idp)).map(|_| ());
    assert_eq!(found, Err(LogoutTokenError::Jws(JwsError::Signature)));

    let stranger = Idp::with_key(ISSUER, Algorithm::Es256, "another");
    let token = stranger.sign_typ(&claims(json!({})), "logout+jwt");
    let found = judge(&token, &keys(&idp)).map(|_| ());
    let no_key = JwsError::Key(KeySelectionError::NoKey);
    assert_eq!(found, Err(LogoutTokenError::Jws(no_key)));

    // An algorithm that is good elsewhere, but not on this list.
    let eddsa = Idp::with_key(ISSUER, Algorithm::EdDsa, "key-1");
    let token = eddsa.sign_typ(&claims(json!({})), "logout+jwt");
    let found = judge(&token, &keys(&eddsa)).map(|_| ());
    assert_eq!(found, Err(LogoutTokenError::Jws(JwsError::Algorithm)));
}

#[test]
fn section_2_4_typ_is_that_of_logout_tokens_or_says_nothing() {
    for typ in [
        "logout+jwt",
        "LOGOUT+JWT",
        "application/logout+jwt",
        "JWT",
        "jwt",
    ] {
        check_typ(typ, typ, json!({}), Ok(()));
    }
    for typ in ["at+jwt", "secevent+jwt", "id+jwt"] {
        check_typ(typ, typ, json!({}), Err(LogoutTokenError::Typ));
    }
}

#[test]
fn step_4_iss_aud_iat_and_exp() {
    use LogoutTokenError::*;
    check(
        "another issuer",
        json!({"iss": "https://op.example/"}),
        Err(Issuer),
    );
    check("no issuer", json!({"iss": null}), Err(Claims));
    check("our list", json!({"aud": ["the-client"]}), Ok(()));
    check(
        "a known other",
        json!({"aud": ["https://api.example", "the-client"]}),
        Ok(()),
    );
    check(
        "a stranger too",
        json!({"aud": ["the-client", "x"]}),
        Err(Audience),
    );
    check("another client", json!({"aud": "the-clien"}), Err(Audience));
    check("no audience", json!({"aud": null}), Err(Audience));
    check("no iat", json!({"iat": null}), Err(Claims));
    check("iat as text", json!({"iat": "1000000"}), Err(Claims));
    check("iat within the leeway", json!({"iat": 1_000_060}), Ok(()));
    check(
        "iat in the future",
        json!({"iat": 1_000_061}),
        Err(NotYetValid),
    );
    check("exp within the leeway", json!({"exp": 999_941}), Ok(()));
    check("exp over", json!({"exp": 999_940}), Err(Expired));
    check(
        "no exp, young",
        json!({"exp": null, "iat": 999_641}),
        Ok(()),
    );
    check(
        "no exp, old",
        json!({"exp": null, "iat": 999_640}),
        Err(Expired),
    );
    check(
        "exp far away, young",
        json!({"exp": 9_000_000, "iat": 996_341}),
        Ok(()),
    );
    check(
        "exp far away, old",
        json!({"exp": 9_000_000, "iat": 996_340}),
        Err(Expired),
    );
}

#[test]
fn step_5_sub_or_sid_or_both() {
    use LogoutTokenError::*;
    check("sub alone", json!({"sid": null}), Ok(()));
    check("sid alone", json!({"sub": null}), Ok(()));
    check("neither", json!({"sid": null, "sub": null}), Err(Subject));
    check("an empty sub", json!({"sub": ""}), Err(Subject));
    check("an empty sid", json!({"sid": ""}), Err(Subject));
    check("a number", json!({"sid": 1}), Err(Claims));
}

#[test]
fn step_6_the_event_of_a_logout() {
    let refused = || Err(LogoutTokenError::Events);
    check(
        "another one beside it",
        json!({"events": {EVENT: {}, "urn:x": {}}}),
        Ok(()),
    );
    check("with members", json!({"events": {EVENT: {"a": 1}}}), Ok(()));
    check("none", json!({"events": null}), refused());
    check("empty", json!({"events": {}}), refused());
    check("another one", json!({"events": {"urn:x": {}}}), refused());
    check(
        "https",
        json!({"events": {EVENT.replace("http:", "https:"): {}}}),
        refused(),
    );
    check("a string", json!({"events": EVENT}), refused());
    check("an array", json!({"events": [EVENT]}), refused());
    for value in [json!(null), json!(true), json!("{}"), json!([])] {
        check(
            &value.to_string(),
            json!({"events": {EVENT: value}}),
            refused(),
        );
    }
}

#[test]
fn step_7_no_nonce() {
    check("one", json!({"nonce": "n"}), Err(LogoutTokenError::Nonce));
    check(
        "an empty one",
        json!({"nonce": ""}),
        Err(LogoutTokenError::Nonce),
    );
    let idp = idp();
    let mut claims = claims(json!({}));
    claims["nonce"] = Value::Null;
    let token = idp.sign_typ(&claims, "logout+jwt");
    let found = judge(&token, &keys(&idp)).map(|_| ());
    assert_eq!(found, Err(LogoutTokenError::Nonce), "null");
}

#[test]
fn step_8_needs_a_jti() {
    use LogoutTokenError::Claims;
    check("none", json!({"jti": null}), Err(Claims));
    check("empty", json!({"jti": ""}), Err(Claims));
}

#[test]
fn an_id_token_is_no_logout_token() {
    let id_token = json!({"events": null, "nonce": "n", "jti": "j", "sid": "p1"});
    check_typ(
        "an ID token",
        "JWT",
        id_token,
        Err(LogoutTokenError::Events),
    );
    let access = json!({"events": null, "client_id": "the-client"});
    check_typ(
        "an access token",
        "at+jwt",
        access,
        Err(LogoutTokenError::Typ),
    );
}
