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

/// Decodes base64url without padding; refuses padding, white space and stray bits.
///
/// # Errors
/// [`DecodeError::Base64Url`].
pub fn base64url_decode(text: &str) -> Result<Vec<u8>, DecodeError> {
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
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = StrictValue {
        depth: MAX_JSON_DEPTH,
    }
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
