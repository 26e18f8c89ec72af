//! Strict decoding of what strangers send: base64url without padding (RFC 4648 section 5,
//! RFC 7515 section 2) and JSON with limits on size, depth and members, refusing duplicate
//! member names (RFC 7515 section 4, RFC 7519 section 4).

use std::fmt;

use ct_codecs::{Base64UrlSafeNoPadding, Decoder, Encoder};
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use thiserror::Error;

/// Nesting deeper than this is refused: no JOSE or OAuth document needs half of it.
pub const MAX_JSON_DEPTH: usize = 16;

/// Why a text could not be decoded.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Not base64url without padding.
    #[error("not base64url")]
    Base64Url,
    /// Not JSON, nested too deep, or with a duplicate member name.
    #[error("not acceptable JSON")]
    Json,
    /// JSON, but not an object.
    #[error("not a JSON object")]
    NotAnObject,
    /// Longer than the caller's limit.
    #[error("too long")]
    TooLong,
}

/// Decodes base64url without padding; refuses padding, white space and stray bits. How long it takes
/// tells what it reads to whoever can watch the processor: for keys there is
/// [`base64url_decode_secret`].
///
/// # Errors
/// [`DecodeError::Base64Url`].
pub fn base64url_decode(text: &str) -> Result<Vec<u8>, DecodeError> {
    let (groups, rest) = text.as_bytes().as_chunks::<4>();
    let mut bytes = vec![0; groups.len() * 3];
    // Has the bit of `NONE` once a character was not in the alphabet.
    let mut seen = 0;
    for (four, three) in groups.iter().zip(bytes.as_chunks_mut().0) {
        *three = three_of(*four, &mut seen);
    }
    // Two or three characters are one or two bytes, and bits that stand for nothing.
    let mut four = *b"AAAA";
    for (to, from) in four.iter_mut().zip(rest) {
        *to = *from;
    }
    let last = three_of(four, &mut seen);
    let (whole, none) = match rest.len() {
        0 => last.split_at(0),
        2 => last.split_at(1),
        3 => last.split_at(2),
        _ => return Err(DecodeError::Base64Url),
    };
    if seen & NONE != 0 || none.iter().any(|byte| *byte != 0) {
        return Err(DecodeError::Base64Url);
    }
    bytes.extend_from_slice(whole);
    Ok(bytes)
}

/// What four characters stand for; `seen` gets the bits of all their values.
#[inline(always)]
fn three_of(four: [u8; 4], seen: &mut u8) -> [u8; 3] {
    let [a, b, c, d] = four;
    let value = |character: u8| VALUES[usize::from(character)];
    let (a, b, c, d) = (value(a), value(b), value(c), value(d));
    *seen |= a | b | c | d;
    [(a << 2) | (b >> 4), (b << 4) | (c >> 2), (c << 6) | d]
}

/// Stands for what is not in the alphabet.
const NONE: u8 = 1 << 7;

/// What each character of base64url stands for (RFC 4648 section 5).
const VALUES: [u8; 256] = {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut values = [NONE; 256];
    let mut value = 0;
    while value < 64 {
        values[alphabet[value] as usize] = value as u8;
        value += 1;
    }
    values
};

/// The same in constant time.
///
/// # Errors
/// [`DecodeError::Base64Url`].
pub fn base64url_decode_secret(text: &str) -> Result<Vec<u8>, DecodeError> {
    Base64UrlSafeNoPadding::decode_to_vec(text, None).map_err(|_| DecodeError::Base64Url)
}

/// Encodes as base64url without padding.
pub fn base64url_encode(bytes: &[u8]) -> String {
    // Fails only on a length overflow, which memory does not allow.
    Base64UrlSafeNoPadding::encode_to_string(bytes).unwrap_or_default()
}

/// Parses a JSON object of at most `max_bytes`, refusing duplicate member names at any depth.
///
/// # Errors
/// [`DecodeError::TooLong`], [`DecodeError::Json`] or [`DecodeError::NotAnObject`].
pub fn parse_json_object(
    bytes: &[u8],
    max_bytes: usize,
) -> Result<Map<String, Value>, DecodeError> {
    if bytes.len() > max_bytes {
        return Err(DecodeError::TooLong);
    }
    parse_json_to(MAX_JSON_DEPTH, bytes)
}

/// The same for what airside wrote itself: what came from strangers is in it, and lies deeper.
///
/// # Errors
/// [`DecodeError::Json`] or [`DecodeError::NotAnObject`].
pub(crate) fn parse_own_json_object(bytes: &[u8]) -> Result<Map<String, Value>, DecodeError> {
    parse_json_to(2 * MAX_JSON_DEPTH, bytes)
}

fn parse_json_to(depth: usize, bytes: &[u8]) -> Result<Map<String, Value>, DecodeError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = StrictValue { depth }
        .deserialize(&mut deserializer)
        .map_err(|_| DecodeError::Json)?;
    deserializer.end().map_err(|_| DecodeError::Json)?;
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(DecodeError::NotAnObject),
    }
}

/// Builds a [`Value`] like serde_json does, but with the refusals of this module.
struct StrictValue {
    depth: usize,
}

impl StrictValue {
    fn deeper<E: de::Error>(&self) -> Result<StrictValue, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(StrictValue { depth }),
            None => Err(E::custom("nested too deep")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for StrictValue {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self.deeper()?)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let value = access.next_value_seed(self.deeper()?)?;
            if map.insert(name, value).is_some() {
                return Err(de::Error::custom("duplicate member name"));
            }
        }
        Ok(Value::Object(map))
    }
}

/// The four words of `block`, for what goes over some thousand bytes on the way of every request.
pub(crate) fn words(block: &[u8; 32]) -> [u64; 4] {
    let word = |word: &[u8; 8]| u64::from_ne_bytes(*word);
    match block.as_chunks::<8>().0 {
        [a, b, c, d] => [word(a), word(b), word(c), word(d)],
        _ => [0; 4],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_is_strict() {
        assert_eq!(base64url_decode("aGk"), Ok(b"hi".to_vec()));
        for bad in ["aGk=", "aG k", "aGl", "a+/k", "a"] {
            assert_eq!(base64url_decode(bad), Err(DecodeError::Base64Url), "{bad}");
        }
        assert_eq!(base64url_encode(b"hi"), "aGk");
    }

    #[test]
    fn base64url_is_decoded_as_in_constant_time() {
        let check = |text: &str| {
            let (quick, constant) = (base64url_decode(text), base64url_decode_secret(text));
            assert_eq!(quick, constant, "{text:?}");
            quick.is_ok()
        };
        assert!(check(""));
        // Every character at every place of the last group, whole or not, behind none and one more.
        let mut good = 0;
        for before in ["", "AbC_"] {
            for length in 1..5 {
                for place in 0..length {
                    for character in (0..=0xff).map(char::from) {
                        for other in ['A', '_', 'g'] {
                            let mut group = vec![other; length];
                            group[place] = character;
                            let group: String = group.into_iter().collect();
                            good += usize::from(check(&format!("{before}{group}")));
                        }
                    }
                }
            }
        }
        assert!((2_000..6_000).contains(&good), "{good}");
        // And of a group in front of another.
        for place in 0..4 {
            for byte in 0..0x80_u8 {
                let mut text = *b"AbC_AbC_";
                text[place] = byte;
                check(std::str::from_utf8(&text).expect("ASCII"));
            }
        }
    }

    #[test]
    fn a_duplicate_member_is_refused_at_any_depth() {
        assert!(parse_json_object(br#"{"a":1,"b":{"a":1}}"#, 100).is_ok());
        for bad in [
            &br#"{"a":1,"a":1}"#[..],
            br#"{"b":{"a":1,"a":2}}"#,
            br#"{"b":[{"a":1,"a":2}]}"#,
        ] {
            assert_eq!(parse_json_object(bad, 100), Err(DecodeError::Json));
        }
    }

    #[test]
    fn depth_size_and_type_are_bounded() {
        let nested = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert!(parse_json_object(nested(MAX_JSON_DEPTH - 1).as_bytes(), 1_000).is_ok());
        let deep = nested(MAX_JSON_DEPTH + 2);
        assert_eq!(
            parse_json_object(deep.as_bytes(), 1_000),
            Err(DecodeError::Json)
        );
        assert_eq!(parse_json_object(b"{}", 1), Err(DecodeError::TooLong));
        assert_eq!(parse_json_object(b"[]", 9), Err(DecodeError::NotAnObject));
        assert_eq!(parse_json_object(b"{} x", 9), Err(DecodeError::Json));
    }
}
