use super::*;
use crate::encoding::base64url_encode;
use jwt_simple::prelude::*;
use serde_json::json;

/// Signs `claims` with a fresh key per algorithm and returns the token and the key set.
fn signed(alg: Algorithm, claims: &Value) -> (String, JwkSet) {
    let standard = JWTClaims {
        issued_at: None,
        expires_at: None,
        invalid_before: None,
        issuer: None,
        subject: None,
        audiences: None,
        jwt_id: None,
        nonce: None,
        custom: claims.clone(),
    };
    let (token, jwk) = match alg {
        Algorithm::EdDsa => {
            let key = Ed25519KeyPair::generate();
            (key.sign(standard), key.public_key().to_jwk())
        }
        Algorithm::Es256 => {
            let key = ES256KeyPair::generate();
            (key.sign(standard), key.public_key().to_jwk())
        }
        Algorithm::Es384 => {
            let key = ES384KeyPair::generate();
            (key.sign(standard), key.public_key().to_jwk())
        }
        Algorithm::Rs256 => {
            let key = RS256KeyPair::generate(2_048).expect("key");
            (key.sign(standard), key.public_key().to_jwk())
        }
        Algorithm::Ps256 => {
            let key = PS256KeyPair::generate(2_048).expect("key");
            (key.sign(standard), key.public_key().to_jwk())
        }
    };
    let set = format!("{{\"keys\":[{jwk}]}}");
    (
        token.expect("token"),
        JwkSet::parse(set.as_bytes()).expect("set"),
    )
}

fn verify(token: &str, keys: &JwkSet) -> Result<(), JwsError> {
    Jws::parse(token)?
        .verify(&Algorithm::DEFAULT, keys)
        .map(|_| ())
}

/// `token` with its header replaced.
fn with_header(token: &str, header: &str) -> String {
    let (_, rest) = token.split_once('.').expect("dot");
    format!("{}.{rest}", base64url_encode(header.as_bytes()))
}

#[test]
fn each_algorithm_accepts_its_signature_and_refuses_a_changed_one() {
    for alg in Algorithm::DEFAULT {
        let (token, keys) = signed(alg, &json!({"sub": "a", "exp": 1}));
        assert_eq!(verify(&token, &keys), Ok(()), "{alg}");

        let (head, signature) = token.rsplit_once('.').expect("dot");
        let mut bytes = base64url_decode(signature).expect("signature");
        bytes[10] ^= 1;
        let flipped = format!("{head}.{}", base64url_encode(&bytes));
        assert_eq!(verify(&flipped, &keys), Err(JwsError::Signature), "{alg}");

        let header = token.split('.').next().expect("header");
        let other = base64url_encode(json!({"sub": "b", "exp": 1}).to_string().as_bytes());
        let swapped = format!("{header}.{other}.{signature}");
        assert_eq!(verify(&swapped, &keys), Err(JwsError::Signature), "{alg}");
        assert_eq!(
            verify(&format!("{head}."), &keys),
            Err(JwsError::Signature),
            "{alg}"
        );
    }
}

#[test]
fn another_key_does_not_verify() {
    let (token, _) = signed(Algorithm::Es256, &json!({"sub": "a"}));
    let (_, others) = signed(Algorithm::Es256, &json!({"sub": "a"}));
    assert_eq!(verify(&token, &others), Err(JwsError::Signature));
}

#[test]
fn an_algorithm_outside_the_allow_list_is_refused() {
    let (token, keys) = signed(Algorithm::Es256, &json!({"sub": "a"}));
    let only = |alg| {
        Jws::parse(&token)
            .expect("jws")
            .verify(&[alg], &keys)
            .map(|_| ())
    };
    assert_eq!(only(Algorithm::Es256), Ok(()));
    assert_eq!(only(Algorithm::Rs256), Err(JwsError::Algorithm));
}

#[test]
fn none_and_macs_are_refused() {
    let (token, keys) = signed(Algorithm::Es256, &json!({"sub": "a"}));
    for alg in ["none", "NONE", "HS256", "HS512", "ES512", ""] {
        let forged = with_header(&token, &json!({ "alg": alg }).to_string());
        assert_eq!(verify(&forged, &keys), Err(JwsError::Algorithm), "{alg}");
    }
    assert_eq!(
        verify(&with_header(&token, "{}"), &keys),
        Err(JwsError::Algorithm)
    );
}

#[test]
fn a_mac_made_with_the_public_key_is_refused() {
    let (_, keys) = signed(Algorithm::Es256, &json!({}));
    let claims = JWTClaims {
        issued_at: None,
        expires_at: None,
        invalid_before: None,
        issuer: None,
        subject: None,
        audiences: None,
        jwt_id: None,
        nonce: None,
        custom: json!({"sub": "a"}),
    };
    let token = HS256Key::from_bytes(b"the public key as pem")
        .authenticate(claims)
        .expect("mac");
    assert_eq!(verify(&token, &keys), Err(JwsError::Algorithm));
}

#[test]
fn header_oddities_are_refused() {
    let (token, keys) = signed(Algorithm::Es256, &json!({"sub": "a"}));
    let cases = [
        (r#"{"alg":"ES256","crit":[]}"#, JwsError::Critical),
        (r#"{"alg":"ES256","crit":["exp"]}"#, JwsError::Critical),
        (r#"{"alg":"ES256","b64":false}"#, JwsError::Critical),
        (r#"{"alg":"ES256","alg":"none"}"#, JwsError::Malformed),
        (r#"{"alg":"ES256","kid":3}"#, JwsError::Malformed),
        (r#"["alg"]"#, JwsError::Malformed),
        // Same algorithm, other header: the signature covers it.
        (r#"{"alg":"ES256","typ":"at+jwt"}"#, JwsError::Signature),
        (
            r#"{"alg":"ES256","jku":"https://evil.example/jwks"}"#,
            JwsError::Signature,
        ),
    ];
    for (header, expected) in cases {
        assert_eq!(
            verify(&with_header(&token, header), &keys),
            Err(expected),
            "{header}"
        );
    }
    assert_eq!(verify(&token, &keys), Ok(()));
}

#[test]
fn shapes_that_are_no_jws_are_refused() {
    let (token, keys) = signed(Algorithm::EdDsa, &json!({"sub": "a"}));
    for (bad, expected) in [
        (String::new(), JwsError::Malformed),
        ("a.b".into(), JwsError::Malformed),
        (format!("{token}.x"), JwsError::Malformed),
        (format!("{token}.x.y"), JwsError::Encrypted),
        (format!(" {token}"), JwsError::Malformed),
        (token.replacen('.', "=.", 1), JwsError::Malformed),
        ("a".repeat(MAX_TOKEN_BYTES + 1), JwsError::TooLong),
    ] {
        assert_eq!(verify(&bad, &keys), Err(expected), "{bad}");
    }
}

#[test]
fn no_time_is_judged_here() {
    for claims in [
        json!({"exp": 1}),
        json!({"nbf": 4_000_000_000_u64, "iat": 4_000_000_000_u64}),
    ] {
        let (token, keys) = signed(Algorithm::Es256, &claims);
        assert_eq!(verify(&token, &keys), Ok(()), "{claims}");
    }
}

/// RFC 7515 appendix A.3: ES256.
#[test]
fn the_example_of_rfc_7515_verifies() {
    let keys = JwkSet::parse(
        br#"{"keys":[{"kty":"EC","crv":"P-256",
            "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#,
    )
    .expect("set");
    let token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    assert_eq!(verify(token, &keys), Ok(()));
    let jws = Jws::parse(token).expect("jws");
    assert_eq!(jws.unverified_issuer(), Some("joe"));
}
