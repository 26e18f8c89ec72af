use super::*;
use crate::encoding::base64url_encode;
use jwt_simple::prelude::*;
use serde_json::json;

/// A type of key that can verify.
#[derive(Clone, Copy, Debug)]
pub(in crate::jose) enum Kind {
    Ed25519,
    P256,
    P384,
    Rsa,
}

const KINDS: [Kind; 4] = [Kind::Ed25519, Kind::P256, Kind::P384, Kind::Rsa];

/// A key of nothing but its numbers: fresh, but for RSA, whose modulus no verifier factors.
pub(in crate::jose) fn key(kind: Kind) -> Value {
    let (jwk, names) = match kind {
        Kind::Ed25519 => (Ed25519KeyPair::generate().public_key().to_jwk(), 3),
        Kind::P256 => (ES256KeyPair::generate().public_key().to_jwk(), 4),
        Kind::P384 => (ES384KeyPair::generate().public_key().to_jwk(), 4),
        Kind::Rsa => return rsa(2_048),
    };
    let all: Value = serde_json::from_str(&jwk).expect("json");
    let numbers = ["kty", "crv", "x", "y"].iter().take(names);
    numbers
        .map(|name| ((*name).to_owned(), all[*name].clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// An RSA key whose modulus has `bits` bits.
pub(in crate::jose) fn rsa(bits: usize) -> Value {
    let mut n = vec![0xff; bits.div_ceil(8)];
    // The top bit alone in the first byte, as far down as the length says.
    n[0] = 0xff >> (n.len() * 8 - bits);
    json!({ "kty": "RSA", "n": base64url_encode(&n), "e": "AQAB" })
}

/// `key` with `members` laid over it; a member that is null is taken away.
pub(in crate::jose) fn laid(key: &Value, members: &Value) -> Value {
    let mut key = key.as_object().expect("object").clone();
    for (name, value) in members.as_object().expect("object") {
        match value {
            Value::Null => key.remove(name),
            value => key.insert(name.clone(), value.clone()),
        };
    }
    key.into()
}

#[track_caller]
fn check(name: &str, key: &Value, usable: bool) {
    assert_eq!(
        Jwk::from_value(key).is_some_and(|key| key.is_usable()),
        usable,
        "{name}: {key}"
    );
}

/// The bytes of the number `name` of `key`.
fn number(key: &Value, name: &str) -> Vec<u8> {
    base64url_decode(key[name].as_str().expect("text")).expect("base64url")
}

#[test]
fn members_that_speak_against_verifying_are_heard() {
    for kind in KINDS {
        let plain = key(kind);
        for (members, usable) in [
            (json!({}), true),
            (json!({ "use": "sig" }), true),
            (json!({ "use": "enc" }), false),
            (json!({ "use": "SIG" }), false),
            (json!({ "use": "" }), false),
            (json!({ "use": 1 }), false),
            (json!({ "use": ["sig"] }), false),
            (json!({ "key_ops": ["verify"] }), true),
            (json!({ "key_ops": ["sign", "verify"] }), true),
            (json!({ "key_ops": ["sign"] }), false),
            (json!({ "key_ops": ["encrypt", "wrapKey"] }), false),
            (json!({ "key_ops": ["Verify"] }), false),
            (json!({ "key_ops": [] }), false),
            (json!({ "key_ops": [["verify"]] }), false),
            (json!({ "key_ops": "verify" }), false),
            (json!({ "key_ops": { "verify": true } }), false),
            (json!({ "use": "sig", "key_ops": ["verify"] }), true),
            (json!({ "use": "enc", "key_ops": ["verify"] }), false),
            (json!({ "use": "sig", "key_ops": ["deriveKey"] }), false),
            (json!({ "kid": "a" }), true),
            (json!({ "kid": "" }), true),
            (json!({ "kid": 7 }), false),
            (json!({ "kid": ["a"] }), false),
            (json!({ "alg": "a name that nobody knows" }), true),
            (json!({ "alg": 256 }), false),
            (
                json!({ "x5c": ["x"], "x5t#S256": 3, "x": plain["x"] }),
                true,
            ),
        ] {
            check(
                &format!("{kind:?} {members}"),
                &laid(&plain, &members),
                usable,
            );
        }
    }
}

#[test]
fn a_null_member_is_no_absent_one() {
    for name in ["use", "key_ops", "kid", "alg"] {
        let mut doubtful = key(Kind::P256);
        check(name, &doubtful, true);
        doubtful[name] = Value::Null;
        check(name, &doubtful, false);
    }
}

#[test]
fn other_types_of_keys_are_left_out() {
    let ec = key(Kind::P256);
    let okp = key(Kind::Ed25519);
    check("EC twin", &ec, true);
    check("OKP twin", &okp, true);
    for (name, value) in [
        (
            "a MAC key",
            json!({ "kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMko" }),
        ),
        (
            "a MAC key with alg",
            json!({ "kty": "oct", "k": "AyM1", "alg": "HS256" }),
        ),
        (
            "a MAC key in an EC key",
            laid(&ec, &json!({ "kty": "oct", "k": "AyM1" })),
        ),
        ("a type in another case", laid(&ec, &json!({ "kty": "ec" }))),
        ("no type", laid(&ec, &json!({ "kty": null }))),
        ("a type that is a number", laid(&ec, &json!({ "kty": 2 }))),
        ("the type of the other", laid(&ec, &json!({ "kty": "OKP" }))),
        ("EC of Ed25519", laid(&okp, &json!({ "kty": "EC" }))),
        ("no curve", laid(&ec, &json!({ "crv": null }))),
        ("P-521", laid(&ec, &json!({ "crv": "P-521" }))),
        ("secp256k1", laid(&ec, &json!({ "crv": "secp256k1" }))),
        ("a longer curve", laid(&ec, &json!({ "crv": "P-384" }))),
        (
            "a shorter curve",
            laid(&key(Kind::P384), &json!({ "crv": "P-256" })),
        ),
        ("X25519", laid(&okp, &json!({ "crv": "X25519" }))),
        ("Ed448", laid(&okp, &json!({ "crv": "Ed448" }))),
        (
            "AKP",
            json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AA" }),
        ),
    ] {
        check(name, &value, false);
    }
}

#[test]
fn rsa_keys_have_2048_to_4096_bits() {
    for (bits, usable) in [
        (512, false),
        (1_024, false),
        (2_040, false),
        (2_047, false),
        (2_048, true),
        (2_049, true),
        (3_072, true),
        (4_096, true),
        (4_097, false),
        (8_192, false),
    ] {
        check(&format!("{bits} bits"), &rsa(bits), usable);
    }
    // Zeros in front make a number no larger.
    for (bits, usable) in [(1_024, false), (2_047, false), (2_048, true)] {
        let short = rsa(bits);
        let padded = [vec![0; 300], number(&short, "n")].concat();
        let n = json!({ "n": base64url_encode(&padded) });
        check(
            &format!("{bits} bits behind zeros"),
            &laid(&short, &n),
            usable,
        );
    }
}

#[test]
fn rsa_numbers_are_whole_odd_and_in_base64url() {
    let good = rsa(2_048);
    let text = good["n"].as_str().expect("text");
    let mut even = number(&good, "n");
    even[255] = 0xfe;
    for (name, n) in [
        ("even", json!(base64url_encode(&even))),
        ("zero", json!("AA")),
        ("empty", json!("")),
        ("absent", Value::Null),
        ("a number", json!(65_537)),
        ("with padding", json!(format!("{text}=="))),
        ("base64", json!(format!("+/{}", &text[2..]))),
        ("with a line end", json!(format!("{text}\n"))),
        ("cut", json!(&text[1..])),
    ] {
        check(name, &laid(&good, &json!({ "n": n })), false);
    }
    check("twin", &good, true);
}

#[test]
fn the_rsa_exponent_is_65537() {
    for (name, e, usable) in [
        ("65537", json!("AQAB"), true),
        ("65537 behind a zero", json!("AAEAAQ"), true),
        ("0", json!("AA"), false),
        ("1", json!("AQ"), false),
        ("2", json!("Ag"), false),
        ("3", json!("Aw"), false),
        ("17", json!("EQ"), false),
        ("65535", json!("__8"), false),
        ("65536", json!("AQAA"), false),
        ("65539", json!("AQAD"), false),
        ("2^32 + 1", json!("AQAAAAE"), false),
        ("as long as the modulus", rsa(2_048)["n"].clone(), false),
        ("empty", json!(""), false),
        ("absent", Value::Null, false),
        ("a number", json!(65_537), false),
        ("with padding", json!("AQAB=="), false),
    ] {
        check(name, &laid(&rsa(2_048), &json!({ "e": e })), usable);
    }
}

#[test]
fn coordinates_have_their_full_length() {
    for (kind, names) in [
        (Kind::P256, ["x", "y"].as_slice()),
        (Kind::P384, &["x", "y"]),
        (Kind::Ed25519, &["x"]),
    ] {
        let good = key(kind);
        check("twin", &good, true);
        for name in names {
            let bytes = number(&good, name);
            let one_less = bytes.len() - 1;
            for (form, number) in [
                ("without its first byte", bytes[1..].to_vec()),
                ("without its last byte", bytes[..one_less].to_vec()),
                ("behind a zero", [&[0], bytes.as_slice()].concat()),
                ("before a zero", [bytes.as_slice(), &[0]].concat()),
                ("empty", Vec::new()),
                ("twice", [bytes.as_slice(), &bytes].concat()),
            ] {
                let changed = json!({ *name: base64url_encode(&number) });
                check(
                    &format!("{kind:?} {name} {form}"),
                    &laid(&good, &changed),
                    false,
                );
            }
            let text = good[*name].as_str().expect("text");
            for (form, value) in [
                ("absent", Value::Null),
                ("a number", json!(5)),
                ("with padding", json!(format!("{text}="))),
                ("with a space", json!(format!(" {text}"))),
            ] {
                let changed = laid(&good, &json!({ *name: value }));
                check(&format!("{kind:?} {name} {form}"), &changed, false);
            }
        }
    }
}

/// A coordinate that begins with a zero byte is the one that some providers send short.
#[test]
fn a_coordinate_that_lost_its_leading_zero_is_short() {
    let found = std::iter::repeat_with(|| key(Kind::P256)).find(|key| number(key, "x")[0] == 0);
    let good = found.expect("one key in 256");
    check("whole", &good, true);
    let short = base64url_encode(&number(&good, "x")[1..]);
    check("short", &laid(&good, &json!({ "x": short })), false);
}

/// The bytes of the point are the same, yet neither number is a coordinate.
#[test]
fn a_byte_of_x_does_not_count_for_y() {
    for (kind, length) in [(Kind::P256, 32), (Kind::P384, 48)] {
        let good = key(kind);
        let point = [number(&good, "x"), number(&good, "y")].concat();
        for (at, usable) in [(length - 1, false), (length, true), (length + 1, false)] {
            let (x, y) = point.split_at(at);
            let members = json!({ "x": base64url_encode(x), "y": base64url_encode(y) });
            check(&format!("{kind:?} {at}"), &laid(&good, &members), usable);
        }
    }
}

#[test]
fn points_lie_on_their_curve() {
    for (kind, length) in [(Kind::P256, 32), (Kind::P384, 48)] {
        let good = key(kind);
        let mut y = number(&good, "y");
        y[length - 1] ^= 1;
        let zeros = base64url_encode(&vec![0; length]);
        let ones = base64url_encode(&vec![0xff; length]);
        for (name, members) in [
            ("another y", json!({ "y": base64url_encode(&y) })),
            (
                "x and y exchanged",
                json!({ "x": good["y"], "y": good["x"] }),
            ),
            ("zeros", json!({ "x": zeros, "y": zeros })),
            ("over the prime", json!({ "x": ones })),
        ] {
            check(&format!("{kind:?} {name}"), &laid(&good, &members), false);
        }
        check("twin", &good, true);
    }
}

#[test]
fn a_key_fits_the_algorithms_of_its_type_and_alg() {
    use Algorithm::{EdDsa, Es256, Es384, Ps256, Rs256};
    for (kind, alg, expected) in [
        (Kind::Rsa, None, vec![Rs256, Ps256]),
        (Kind::Rsa, Some("RS256"), vec![Rs256]),
        (Kind::Rsa, Some("PS256"), vec![Ps256]),
        (Kind::Rsa, Some("RS512"), vec![]),
        (Kind::Rsa, Some("RSA-OAEP"), vec![]),
        (Kind::Rsa, Some("HS256"), vec![]),
        (Kind::Rsa, Some("none"), vec![]),
        (Kind::Rsa, Some("rs256"), vec![]),
        (Kind::Rsa, Some(""), vec![]),
        (Kind::Rsa, Some("ES256"), vec![]),
        (Kind::P256, None, vec![Es256]),
        (Kind::P256, Some("ES256"), vec![Es256]),
        (Kind::P256, Some("ES384"), vec![]),
        (Kind::P256, Some("ECDH-ES"), vec![]),
        (Kind::P256, Some("HS256"), vec![]),
        (Kind::P384, None, vec![Es384]),
        (Kind::P384, Some("ES384"), vec![Es384]),
        (Kind::P384, Some("ES256"), vec![]),
        (Kind::Ed25519, None, vec![EdDsa]),
        (Kind::Ed25519, Some("EdDSA"), vec![EdDsa]),
        (Kind::Ed25519, Some("Ed25519"), vec![EdDsa]),
        (Kind::Ed25519, Some("ES256"), vec![]),
    ] {
        let value = laid(
            &key(kind),
            &alg.map_or(json!({}), |alg| json!({ "alg": alg })),
        );
        let key = Jwk::from_value(&value).expect("key");
        let fitting = Algorithm::DEFAULT.into_iter().filter(|alg| key.fits(*alg));
        assert_eq!(fitting.collect::<Vec<_>>(), expected, "{kind:?} {alg:?}");
    }
}
