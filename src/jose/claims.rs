//! A JWT claims set, read strictly (RFC 7519 section 4). Unknown claims are ignored; known
//! ones of a wrong type are errors, never absent.

use serde_json::{Map, Value};
use thiserror::Error;

use crate::encoding::{DecodeError, parse_json_object};
use crate::time::UnixTime;

/// Claims sets over this size are refused: no honest token is near it.
pub const MAX_CLAIMS_BYTES: usize = 32 * 1024;

/// Why a claim could not be read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ClaimsError {
    /// Not an acceptable JSON object.
    #[error("claims set is not acceptable JSON")]
    Malformed,
    /// Present, but of another type than the specification says.
    #[error("claim of the wrong type")]
    WrongType,
}

impl From<DecodeError> for ClaimsError {
    fn from(_: DecodeError) -> Self {
        ClaimsError::Malformed
    }
}

/// A claims set. Nothing is verified by reading it.
#[derive(Clone, PartialEq)]
pub struct Claims(Map<String, Value>);

impl std::fmt::Debug for Claims {
    /// Names only: values are personal data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl From<Map<String, Value>> for Claims {
    fn from(members: Map<String, Value>) -> Self {
        Claims(members)
    }
}

impl Claims {
    /// All of them.
    pub fn into_members(self) -> Map<String, Value> {
        self.0
    }

    /// Reads a claims set.
    ///
    /// # Errors
    /// [`ClaimsError::Malformed`] for anything but a JSON object without duplicate members.
    pub fn parse(json: &[u8]) -> Result<Self, ClaimsError> {
        Ok(Claims(parse_json_object(json, MAX_CLAIMS_BYTES)?))
    }

    /// The raw value of `name`; JSON `null` counts as absent.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// True when the member `name` is there, JSON `null` included.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The string claim `name`.
    ///
    /// # Errors
    /// [`ClaimsError::WrongType`] when present and not a string.
    pub fn string(&self, name: &str) -> Result<Option<&str>, ClaimsError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ClaimsError::WrongType),
        }
    }

    /// `aud`: a string or an array of strings (RFC 7519 section 4.1.3). Absent is empty.
    ///
    /// # Errors
    /// [`ClaimsError::WrongType`] for anything else.
    pub fn audience(&self) -> Result<Vec<&str>, ClaimsError> {
        self.strings("aud")
    }

    /// The claim `name` as a string or an array of strings; absent is empty.
    ///
    /// # Errors
    /// [`ClaimsError::WrongType`] for anything else.
    pub fn strings(&self, name: &str) -> Result<Vec<&str>, ClaimsError> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text]),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| item.as_str().ok_or(ClaimsError::WrongType))
                .collect(),
            Some(_) => Err(ClaimsError::WrongType),
        }
    }

    /// The `NumericDate` claim `name` (RFC 7519 section 2), without its fraction.
    ///
    /// # Errors
    /// [`ClaimsError::WrongType`] for strings, negative numbers and numbers beyond 2^53, which
    /// would not be a time at all.
    pub fn time(&self, name: &str) -> Result<Option<UnixTime>, ClaimsError> {
        const END: f64 = 9_007_199_254_740_992.0;
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        if let Some(seconds) = value.as_u64() {
            return if seconds <= END as u64 {
                Ok(Some(UnixTime::from_secs(seconds)))
            } else {
                Err(ClaimsError::WrongType)
            };
        }
        match value.as_f64() {
            // Rounded down: an expiry must not move into the future.
            Some(seconds) if (0.0..END).contains(&seconds) => {
                Ok(Some(UnixTime::from_secs(seconds as u64)))
            }
            _ => Err(ClaimsError::WrongType),
        }
    }

    /// The claims for which `keep` is true, to be stored in a session.
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Map<String, Value> {
        let mut members = self.0.clone();
        members.retain(|name, _| keep(name));
        members
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(json: &str) -> Claims {
        Claims::parse(json.as_bytes()).expect("claims")
    }

    #[test]
    fn times_are_non_negative_numbers() {
        let time = |json: &str| claims(&format!("{{\"exp\":{json}}}")).time("exp");
        assert_eq!(time("10"), Ok(Some(UnixTime::from_secs(10))));
        assert_eq!(time("10.9"), Ok(Some(UnixTime::from_secs(10))));
        assert_eq!(time("null"), Ok(None));
        for bad in [
            "-1",
            "-0.5",
            "1e300",
            "\"10\"",
            "true",
            "[]",
            "18446744073709551615",
        ] {
            assert_eq!(time(bad), Err(ClaimsError::WrongType), "{bad}");
        }
    }

    #[test]
    fn audience_is_a_string_or_an_array_of_strings() {
        assert_eq!(claims(r#"{"aud":"a"}"#).audience(), Ok(vec!["a"]));
        assert_eq!(
            claims(r#"{"aud":["a","b"]}"#).audience(),
            Ok(vec!["a", "b"])
        );
        assert_eq!(claims("{}").audience(), Ok(vec![]));
        assert_eq!(
            claims(r#"{"aud":["a",1]}"#).audience(),
            Err(ClaimsError::WrongType)
        );
        assert_eq!(
            claims(r#"{"aud":{"a":1}}"#).audience(),
            Err(ClaimsError::WrongType)
        );
    }

    #[test]
    fn a_duplicate_claim_is_refused() {
        assert_eq!(
            Claims::parse(br#"{"sub":"a","sub":"b"}"#),
            Err(ClaimsError::Malformed)
        );
        assert!(Claims::parse(br#"{"sub":"a","sud":"b"}"#).is_ok());
    }

    #[test]
    fn debug_shows_names_only() {
        assert_eq!(
            format!("{:?}", claims(r#"{"email":"a@b.example"}"#)),
            r#"{"email"}"#
        );
    }
}
