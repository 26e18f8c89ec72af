use super::*;
use crate::jose::jwk::tests::{Kind, key, laid, rsa};
use serde_json::json;

fn set(keys: &[Value]) -> JwkSet {
    JwkSet::parse(json!({ "keys": keys }).to_string().as_bytes()).expect("set")
}

/// What selection finds: the `kid` of the one key, or why there is none.
#[track_caller]
fn check(
    name: &str,
    keys: &[Value],
    wanted: (Algorithm, Option<&str>),
    expected: Result<Option<&str>, KeySelectionError>,
) {
    let set = set(keys);
    let found = set.select(wanted.0, wanted.1).map(Jwk::kid);
    assert_eq!(found, expected, "{name}");
}

#[test]
fn exactly_one_key_must_fit_algorithm_and_kid() {
    use KeySelectionError::{NoKey, SeveralKeys};
    let named = |kind, kid: &str| laid(&key(kind), &json!({ "kid": kid }));
    let a = named(Kind::P256, "a");
    let b = named(Kind::P256, "b");
    let rsa_a = named(Kind::Rsa, "a");
    let ed_a = named(Kind::Ed25519, "a");
    let nameless = key(Kind::P256);
    let es256 = Algorithm::Es256;
    for (name, keys, kid, expected) in [
        ("by kid", vec![&a, &b], Some("a"), Ok(Some("a"))),
        ("by the other kid", vec![&a, &b], Some("b"), Ok(Some("b"))),
        ("unknown kid", vec![&a, &b], Some("c"), Err(NoKey)),
        ("kid in another case", vec![&a, &b], Some("A"), Err(NoKey)),
        ("empty kid", vec![&a, &b], Some(""), Err(NoKey)),
        ("no kid, one key", vec![&a], None, Ok(Some("a"))),
        ("no kid, several keys", vec![&a, &b], None, Err(SeveralKeys)),
        (
            "no kid, one key of the type",
            vec![&a, &rsa_a, &ed_a],
            None,
            Ok(Some("a")),
        ),
        (
            "kid of several types",
            vec![&rsa_a, &a, &ed_a],
            Some("a"),
            Ok(Some("a")),
        ),
        (
            "kid of another type only",
            vec![&rsa_a, &b],
            Some("a"),
            Err(NoKey),
        ),
        ("kid twice", vec![&a, &a], Some("a"), Err(SeveralKeys)),
        ("no kid anywhere", vec![&nameless], None, Ok(None)),
        (
            "no kid at several keys",
            vec![&nameless, &nameless],
            None,
            Err(SeveralKeys),
        ),
        (
            "a nameless key has not the kid",
            vec![&nameless],
            Some("a"),
            Err(NoKey),
        ),
        (
            "a nameless key beside the right one",
            vec![&nameless, &a],
            Some("a"),
            Ok(Some("a")),
        ),
        (
            "a nameless key beside another",
            vec![&nameless, &a],
            None,
            Err(SeveralKeys),
        ),
        ("no key", vec![], None, Err(NoKey)),
    ] {
        let keys: Vec<Value> = keys.into_iter().cloned().collect();
        check(name, &keys, (es256, kid), expected);
    }
}

#[test]
fn the_alg_of_a_key_chooses_between_keys_of_one_type() {
    let rsa = |alg: &str| laid(&key(Kind::Rsa), &json!({ "kid": alg, "alg": alg }));
    let both = [rsa("RS256"), rsa("PS256")];
    check("RS256", &both, (Algorithm::Rs256, None), Ok(Some("RS256")));
    check("PS256", &both, (Algorithm::Ps256, None), Ok(Some("PS256")));
    // The kid does not outweigh the alg.
    let wanted = (Algorithm::Ps256, Some("RS256"));
    check(
        "RS256 for PS256",
        &both,
        wanted,
        Err(KeySelectionError::NoKey),
    );
    let open = [
        laid(&key(Kind::Rsa), &json!({ "kid": "open" })),
        rsa("RS512"),
    ];
    check(
        "without alg",
        &open,
        (Algorithm::Ps256, None),
        Ok(Some("open")),
    );
}

#[test]
fn a_key_of_another_use_does_not_make_the_choice_ambiguous() {
    let good = laid(&key(Kind::P256), &json!({ "kid": "good" }));
    let wanted = (Algorithm::Es256, None);
    for (name, members) in [
        ("use", json!({ "use": "enc" })),
        ("key_ops", json!({ "key_ops": ["sign"] })),
        ("alg", json!({ "alg": "ECDH-ES" })),
        ("crv", json!({ "crv": "P-384" })),
        ("kty", json!({ "kty": "oct", "k": "AAAA" })),
    ] {
        let other = laid(&key(Kind::P256), &members);
        check(name, &[other, good.clone()], wanted, Ok(Some("good")));
    }
    let second = laid(
        &key(Kind::P256),
        &json!({ "use": "sig", "key_ops": ["verify"] }),
    );
    let several = Err(KeySelectionError::SeveralKeys);
    check("twin", &[second, good], wanted, several);
}

#[test]
fn one_bad_key_does_not_drop_the_set() {
    let good = laid(&key(Kind::P256), &json!({ "kid": "good" }));
    for bad in [
        json!({}),
        json!(3),
        json!(null),
        json!("key"),
        json!([good]),
        json!({ "kty": "oct", "k": "AAAA", "kid": "good" }),
        json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "good" }),
        json!({ "kty": "EC", "crv": "secp256k1", "kid": "good" }),
        json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AA", "kid": "good" }),
        laid(&good, &json!({ "kid": 7 })),
        laid(&rsa(1_024), &json!({ "kid": "good" })),
    ] {
        for keys in [[bad.clone(), good.clone()], [good.clone(), bad.clone()]] {
            assert_eq!(set(&keys).len(), 1, "{bad}");
            let wanted = (Algorithm::Es256, Some("good"));
            check("beside a bad key", &keys, wanted, Ok(Some("good")));
        }
    }
    assert!(set(&[json!({}), json!(3)]).is_empty());
    // One that looks like a key until it is computed with.
    let off = laid(
        &good,
        &json!({ "x": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" }),
    );
    assert!(set(std::slice::from_ref(&off)).is_empty() && !set(&[off, good]).is_empty());
}

#[test]
fn a_document_is_an_object_with_an_array_of_keys() {
    let parse = |document: &str| JwkSet::parse(document.as_bytes()).map(|set| set.len());
    for good in [r#"{"keys":[]}"#, r#"{"keys":[],"more":{"x":[1]}}"#] {
        assert_eq!(parse(good), Ok(0), "{good}");
    }
    for bad in [
        "",
        "{}",
        "[]",
        "null",
        r#"{"keys":{}}"#,
        r#"{"keys":null}"#,
        r#"{"keys":"[]"}"#,
        r#"{"Keys":[]}"#,
        r#"{"keys":[],"keys":[]}"#,
        r#"{"keys":[]} {}"#,
        r#"{"keys":["#,
    ] {
        assert_eq!(parse(bad), Err(JwksError), "{bad}");
    }
}

#[test]
fn a_set_is_bounded_in_bytes_and_keys() {
    let padded = |length: usize| {
        let frame = json!({ "keys": [key(Kind::P256)], "x": "" }).to_string();
        let filling = "a".repeat(length - frame.len());
        frame.replace("\"x\":\"\"", &format!("\"x\":\"{filling}\""))
    };
    let parse = |document: &str| JwkSet::parse(document.as_bytes()).map(|set| set.len());
    assert_eq!(padded(MAX_JWKS_BYTES).len(), MAX_JWKS_BYTES);
    assert_eq!(parse(&padded(MAX_JWKS_BYTES)), Ok(1));
    assert_eq!(parse(&padded(MAX_JWKS_BYTES + 1)), Err(JwksError));
    let good = laid(&key(Kind::P256), &json!({ "kid": "last" }));
    let wanted = (Algorithm::Es256, Some("last"));
    let mut keys = vec![json!({}); MAX_KEYS - 1];
    keys.push(good);
    check("the hundredth key", &keys, wanted, Ok(Some("last")));
    keys.insert(0, json!({}));
    check("one more", &keys, wanted, Err(KeySelectionError::NoKey));
}

#[test]
fn a_certificate_chain_does_not_cost_the_key() {
    // jwt-simple refuses a JWK over 8,192 bytes; a chain of three certificates is longer.
    for kind in [Kind::P256, Kind::Ed25519, Kind::Rsa] {
        for length in [1_000, 8_192, 20_000, 100_000] {
            let chain = json!({ "x5c": ["A".repeat(length)], "x5t": "AA", "x5u": "x" });
            let with_chain = laid(&key(kind), &chain);
            assert!(with_chain.to_string().len() > length);
            assert_eq!(set(&[with_chain]).len(), 1, "{length}");
        }
    }
}

#[test]
fn an_unknown_key_fetches_once_per_cooldown_even_right_after_a_fetch() {
    let at = UnixTime::from_secs;
    let fresh = Freshness {
        fetched_at: Some(at(1_000)),
        ..Freshness::default()
    };
    assert_eq!(decide(fresh, false, at(1_001)), Use::Cached);
    assert_eq!(decide(fresh, true, at(1_001)), Use::Fetch);
    let asked = Freshness {
        last_extra_fetch: Some(at(1_001)),
        ..fresh
    };
    assert_eq!(decide(asked, true, at(1_060)), Use::CoolingDown);
    assert_eq!(decide(asked, true, at(1_061)), Use::Fetch);
    assert_eq!(decide(asked, false, at(1_060)), Use::Cached);
    // The scheduled fetch is not held up by a question for an unknown key.
    let late = Freshness {
        last_extra_fetch: Some(at(1_590)),
        ..fresh
    };
    assert_eq!(decide(late, false, at(1_600)), Use::Fetch);
}

#[test]
fn a_failed_fetch_is_not_repeated_at_once() {
    let at = UnixTime::from_secs;
    let down = Freshness {
        last_failure: Some(at(900)),
        ..Freshness::default()
    };
    assert_eq!(decide(Freshness::default(), false, at(900)), Use::Fetch);
    assert_eq!(decide(down, false, at(909)), Use::CoolingDown);
    assert_eq!(decide(down, false, at(910)), Use::Fetch);
    assert!(usable_when_stale(at(0), at(86_399)));
    assert!(!usable_when_stale(at(0), at(86_400)));
}

#[test]
fn a_stored_set_is_the_same_set() {
    let named = |kind| laid(&key(kind), &json!({ "kid": "a", "alg": "none of ours" }));
    let kinds = [Kind::Ed25519, Kind::P256, Kind::P384, Kind::Rsa];
    let mut keys: Vec<Value> = kinds.map(key).to_vec();
    keys.extend(kinds.map(named));
    keys.push(laid(&key(Kind::P256), &json!({ "kid": "" })));
    // No point of the curve: kept, and never usable.
    keys.push(laid(&key(Kind::P256), &json!({ "kid": "b", "x": "AA" })));
    let set = set(&keys);
    let stored = set.to_stored();
    let read = JwkSet::from_stored(&stored).expect("set");
    assert_eq!((read.keys.len(), read.len()), (10, 9));
    for (one, other) in set.keys.iter().zip(&read.keys) {
        assert_eq!(format!("{one:?}"), format!("{other:?}"));
        assert_eq!(one.material(), other.material());
        assert_eq!(one.is_usable(), other.is_usable());
        let algorithms = Algorithm::DEFAULT.iter();
        assert!(
            algorithms
                .into_iter()
                .all(|alg| one.fits(*alg) == other.fits(*alg))
        );
    }
    // The exponent is in no other form.
    assert_eq!(read.to_stored(), stored);
    // Only whole keys are read.
    let whole: Vec<usize> = (0..stored.len())
        .filter(|end| JwkSet::from_stored(&stored[..*end]).is_some())
        .collect();
    assert_eq!(whole.len(), 10, "{whole:?}");
    assert!(JwkSet::from_stored(br#"{"keys":[]}"#).is_none());
}
