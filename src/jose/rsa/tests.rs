//! Judged against jwt-simple, whose verdict on every signature must be the same, but for one kind
//! that it accepts and RFC 8017 does not (`bits_beyond_a_pss_encoding_must_be_zero`).
//!
//! `testdata/jose/rsa-keys.json` has keys made for these tests with `openssl genpkey`, and one of
//! 2,049 bits of two primes from `openssl prime`: there an encoding of PSS is a byte shorter than
//! the modulus.

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use jwt_simple::prelude::*;

use super::*;
use crate::encoding::{base64url_decode, base64url_encode};
use crate::testing::SeededRandom;

/// A key pair, and jwt-simple's view of its public half.
struct Pair {
    public: RsaPublicKey,
    d: BoxedUint,
    rs256: RS256PublicKey,
    ps256: PS256PublicKey,
}

fn pairs() -> Vec<Pair> {
    let file = include_str!("../../../testdata/jose/rsa-keys.json");
    let keys: Vec<std::collections::HashMap<String, String>> =
        serde_json::from_str(file).expect("json");
    let number = |text: &str| base64url_decode(text).expect("base64url");
    let pair = |key: &std::collections::HashMap<String, String>| {
        let (n, e) = (number(&key["n"]), [1, 0, 1]);
        Pair {
            public: RsaPublicKey::from_components(&n, &e).expect("key"),
            d: BoxedUint::from_be_slice_vartime(&number(&key["d"])),
            rs256: RS256PublicKey::from_components(&n, &e).expect("key"),
            ps256: PS256PublicKey::from_components(&n, &e).expect("key"),
        }
    };
    keys.iter().map(pair).collect()
}

impl Pair {
    /// `encoded`, whatever it is, raised to the private exponent.
    fn sign(&self, encoded: &[u8]) -> Vec<u8> {
        let n = Odd::new(BoxedUint::from_be_slice_vartime(&self.public.n)).expect("odd");
        let parameters = BoxedMontyParams::new_vartime(n);
        let precision = parameters.bits_precision();
        let encoded = BoxedUint::from_be_slice(encoded, precision).expect("fits");
        let power = BoxedMontyForm::new(encoded, &parameters).pow(&self.d);
        let bytes = power.retrieve().to_be_bytes();
        bytes[bytes.len() - self.public.n.len()..].to_vec()
    }

    /// Our verdict on an RS256 and on a PS256 signature; jwt-simple's must be the same.
    #[track_caller]
    fn verdicts(&self, name: &str, message: &str, signature: &[u8]) -> [bool; 2] {
        let token = |alg: &str| {
            let header = base64url_encode(format!("{{\"alg\":\"{alg}\"}}").as_bytes());
            format!("{header}.{message}")
        };
        let options = || {
            Some(VerificationOptions {
                accept_future: true,
                artificial_time: Some(UnixTimeStamp::from_secs(0)),
                time_tolerance: None,
                ..Default::default()
            })
        };
        let text = base64url_encode(signature);
        let (rs, ps) = (token("RS256"), token("PS256"));
        let whole = |signed: &str| format!("{signed}.{text}");
        let ours = [
            self.public.verify_pkcs1(rs.as_bytes(), signature),
            self.public.verify_pss(ps.as_bytes(), signature),
        ];
        let rs256 = self
            .rs256
            .verify_token::<NoCustomClaims>(&whole(&rs), options());
        let ps256 = self
            .ps256
            .verify_token::<NoCustomClaims>(&whole(&ps), options());
        let theirs = [rs256.is_ok(), ps256.is_ok()];
        assert_eq!(ours, theirs, "{name}, {} bits", self.public.bits);
        ours
    }
}

/// The part of a token that `name`d claims make.
fn message(name: &str) -> String {
    base64url_encode(format!("{{\"x\":\"{name}\"}}").as_bytes())
}

fn signed(alg: &str, message: &str) -> Vec<u8> {
    let header = base64url_encode(format!("{{\"alg\":\"{alg}\"}}").as_bytes());
    format!("{header}.{message}").into_bytes()
}

/// An encoding for PKCS #1 v1.5 of its parts.
fn pkcs1(length: usize, head: [u8; 2], filler: u8, end: u8, info: &[u8], rest: &[u8]) -> Vec<u8> {
    let filled = length.saturating_sub(3 + info.len() + rest.len());
    [&head[..], &vec![filler; filled], &[end], info, rest].concat()
}

/// What an encoding for PSS is made of.
#[derive(Clone)]
struct Pss {
    salt: Vec<u8>,
    separator: u8,
    zero: u8,
    trailer: u8,
    front: u8,
    flip_h: u8,
}

const GOOD: fn() -> Pss = || Pss {
    salt: vec![7; 32],
    separator: 1,
    zero: 0,
    trailer: 0xbc,
    front: 0,
    flip_h: 0,
};

impl Pss {
    fn encode(&self, bits: usize, message: &[u8]) -> Vec<u8> {
        let bits = bits - 1;
        let length = bits.div_ceil(8);
        let mut h = Hash::hash(&[&[0; 8], &Hash::hash(message)[..], &self.salt].concat());
        let padding = length - self.salt.len() - 34;
        let mut db = [&vec![0; padding][..], &[self.separator], &self.salt].concat();
        if padding > 1 {
            db[padding / 2] = self.zero;
        }
        for (counter, block) in (0_u32..).zip(db.chunks_mut(32)) {
            let mask = Hash::hash(&[&h[..], &counter.to_be_bytes()].concat());
            block.iter_mut().zip(mask).for_each(|(b, m)| *b ^= m);
        }
        db[0] &= 0xff >> (length * 8 - bits);
        db[0] |= self.front;
        h[0] ^= self.flip_h;
        [&db[..], &h, &[self.trailer]].concat()
    }
}

/// Encodings that are right, and each way in which one can be wrong, with what is to be said
/// of it as an RS256 and as a PS256 signature.
fn encodings(bits: usize, message: &str) -> Vec<(&'static str, Vec<u8>, [bool; 2])> {
    let length = bits.div_ceil(8);
    let text = signed("RS256", message);
    let digest = Hash::hash(&text);
    let with = |info: &[u8], rest: &[u8]| pkcs1(length, [0, 1], 0xff, 0, info, rest);
    // Without the NULL parameters, and with SHA-384's identifier.
    let no_null = [
        &[0x30, 0x2f, 0x30, 0x0b, 0x06, 0x09][..],
        &DIGEST_INFO[6..15],
        &[0x04, 0x20],
    ]
    .concat();
    let mut sha384 = DIGEST_INFO;
    sha384[14] = 2;
    let mut short_filler = with(&DIGEST_INFO, &digest);
    // Bleichenbacher 2006: eight bytes of filler, garbage behind the digest.
    let garbage = [&digest[..], &vec![0x42; length - 3 - 8 - 19 - 32]].concat();
    let forged = pkcs1(length, [0, 1], 0xff, 0, &DIGEST_INFO, &garbage);
    short_filler[5] = 0xfe;
    let (rs, ps, none) = ([true, false], [false, true], [false, false]);
    let text = signed("PS256", message);
    let pss = |change: &dyn Fn(&mut Pss)| {
        let mut parts = GOOD();
        change(&mut parts);
        parts.encode(bits, &text)
    };
    let longest = (bits - 1).div_ceil(8) - 34;
    vec![
        ("pkcs1", with(&DIGEST_INFO, &digest), rs),
        ("pkcs1 without NULL", with(&no_null, &digest), none),
        ("pkcs1 of another hash", with(&sha384, &digest), none),
        ("pkcs1 without info", with(&[], &digest), none),
        (
            "pkcs1 of another digest",
            with(&DIGEST_INFO, &[9; 32]),
            none,
        ),
        (
            "pkcs1 with a short digest",
            with(&DIGEST_INFO, &digest[..31]),
            none,
        ),
        ("pkcs1 with a hole", short_filler, none),
        ("pkcs1 with garbage behind", forged, none),
        (
            "pkcs1 of block type 2",
            pkcs1(length, [0, 2], 0xff, 0, &DIGEST_INFO, &digest),
            none,
        ),
        (
            "pkcs1 of block type 0",
            pkcs1(length, [0, 0], 0, 0, &DIGEST_INFO, &digest),
            none,
        ),
        (
            "pkcs1 without separator",
            pkcs1(length, [0, 1], 0xff, 0xff, &DIGEST_INFO, &digest),
            none,
        ),
        ("nothing", vec![0; length], none),
        ("one", [&vec![0; length - 1][..], &[1]].concat(), none),
        ("pss", pss(&|_| ()), ps),
        ("pss with another salt", pss(&|p| p.salt = vec![0; 32]), ps),
        ("pss without salt", pss(&|p| p.salt.clear()), none),
        ("pss with a salt of 20", pss(&|p| p.salt.truncate(20)), none),
        ("pss with a salt of 31", pss(&|p| p.salt.truncate(31)), none),
        ("pss with a salt of 33", pss(&|p| p.salt.push(7)), none),
        (
            "pss with the longest salt",
            pss(&|p| p.salt = vec![7; longest]),
            none,
        ),
        ("pss with another trailer", pss(&|p| p.trailer = 0xcc), none),
        ("pss without separator", pss(&|p| p.separator = 0), none),
        (
            "pss with another separator",
            pss(&|p| p.separator = 2),
            none,
        ),
        ("pss with a one too early", pss(&|p| p.zero = 1), none),
        ("pss with another H", pss(&|p| p.flip_h = 1), none),
    ]
}

#[test]
fn only_the_one_right_encoding_verifies() {
    for pair in pairs() {
        for (name, encoded, expected) in encodings(pair.public.bits, &message("a")) {
            let signature = pair.sign(&encoded);
            let verdicts = pair.verdicts(name, &message("a"), &signature);
            assert_eq!(verdicts, expected, "{name}, {} bits", pair.public.bits);
        }
    }
}

#[test]
fn bits_beyond_a_pss_encoding_must_be_zero() {
    let pairs = pairs();
    assert!(pairs.iter().any(|pair| pair.public.bits % 8 == 1));
    for pair in pairs {
        let bits = pair.public.bits;
        // The encoding as it should be, and with a one in the bit in front of it. A modulus of
        // 8k + 1 bits has a whole byte there. A salt is looked for with which the number is below
        // the modulus all the same: then a power is equal to it, and nothing else is wrong.
        let found = (0..=u16::MAX).find_map(|salt| {
            let mut parts = GOOD();
            parts.salt[..2].copy_from_slice(&salt.to_be_bytes());
            let good = parts.encode(bits, &signed("PS256", &message("a")));
            let mut bad = good.clone();
            match (8 - (bits - 1) % 8) % 8 {
                0 => bad.insert(0, 1),
                spare => bad[0] |= 0x80 >> (spare - 1),
            }
            (bad < pair.public.n).then_some((good, bad))
        });
        let (good, bad) = found.expect("a salt");
        let [good, bad] = [good, bad].map(|encoded| pair.sign(&encoded));
        assert_eq!(pair.verdicts("pss", &message("a"), &good), [false, true]);
        // jwt-simple does not look at a whole byte (section 8.1.2, step 2c: too large for emLen).
        let ours = pair
            .public
            .verify_pss(&signed("PS256", &message("a")), &bad);
        assert!(!ours, "{bits} bits");
    }
}

#[test]
fn a_signature_is_a_number_below_the_modulus_as_long_as_it() {
    for pair in pairs() {
        let bits = pair.public.bits;
        for (name, encoded, expected) in encodings(bits, &message("a")) {
            if expected == [false, false] {
                continue;
            }
            let good = pair.sign(&encoded);
            let check = |name: &str, signature: &[u8], expected: [bool; 2]| {
                assert_eq!(
                    pair.verdicts(name, &message("a"), signature),
                    expected,
                    "{name}, {bits} bits"
                );
            };
            check(name, &good, expected);
            let refused = [false, false];
            check("a zero in front", &[&[0], &good[..]].concat(), refused);
            check("a zero behind", &[&good[..], &[0]].concat(), refused);
            check("cut in front", &good[1..], refused);
            check("cut behind", &good[..good.len() - 1], refused);
            check("empty", &[], refused);
            check("the modulus", &pair.public.n, refused);
            check("all ones", &vec![0xff; good.len()], refused);
            // The same number, once around the modulus.
            let n = BoxedUint::from_be_slice_vartime(&pair.public.n);
            let around = BoxedUint::from_be_slice(&good, n.bits_precision()).expect("fits");
            let (sum, carry) = (around.wrapping_add(&n), around.wrapping_add(&n) < n);
            let bytes = sum.to_be_bytes();
            let (front, rest) = bytes.split_at(bytes.len() - good.len());
            if !carry && front.iter().all(|byte| *byte == 0) {
                check("once around", rest, refused);
            }
        }
    }
}

/// Compares verdicts on `count` signatures: every kind of encoding, a third of them as they
/// are, the others with changes in one to three places, or for another message.
fn compare(seed: u64, count: usize, pairs: &[Pair]) {
    let numbers = SeededRandom::new(seed);
    let messages = ["a", "b", "c"].map(message);
    let mut pool = Vec::new();
    for (at, pair) in pairs.iter().enumerate() {
        for (index, message) in messages.iter().enumerate() {
            for (name, encoded, _) in encodings(pair.public.bits, message) {
                pool.push((at, index, name, pair.sign(&encoded)));
            }
        }
    }
    let mut accepted = 0;
    for _ in 0..count {
        let (at, index, name, signature) = &pool[numbers.below(pool.len())];
        let (mut at, mut index, mut signature) = (*at, *index, signature.clone());
        match numbers.below(6) {
            0 | 1 => {}
            2 => index = numbers.below(messages.len()),
            3 => at = numbers.below(pairs.len()),
            _ => {
                for _ in 0..=numbers.below(3) {
                    let place = numbers.below(signature.len());
                    match numbers.below(8) {
                        0 => signature.insert(place, 0),
                        1 if signature.len() > 1 => {
                            signature.remove(place);
                        }
                        2 => signature[place] = 0,
                        3 => signature[place] = 0xff,
                        bit => signature[place] ^= 1 << bit,
                    }
                }
            }
        }
        let verdicts = pairs[at].verdicts(name, &messages[index], &signature);
        accepted += usize::from(verdicts != [false, false]);
    }
    assert!(accepted * 50 > count, "{accepted} of {count} accepted");
}

#[test]
fn verdicts_are_those_of_jwt_simple() {
    // The two shortest moduli: making the signatures is what takes time.
    compare(1, 4_000, &pairs()[..2]);
}

/// A million signatures, for a release build: `cargo test --profile native -p airside --lib
/// a_million -- --ignored`.
#[test]
#[ignore = "takes an hour of processor time"]
fn a_million_verdicts_are_those_of_jwt_simple() {
    compare(2, 1_000_000, &pairs());
}
