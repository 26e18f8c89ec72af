//! Compact JWS (RFC 7515 section 7.1): the strict header, and the only place where a
//! [`Signed`] value comes into being.
//!
//! The signature is judged over the very bytes that header and claims were read from.
//!
//! Not checked here: issuer, audience, times, `typ`. See `oauth::access_token` and
//! `oidc::id_token`.

use std::ops::Deref;

use serde_json::Value;
use thiserror::Error;

use crate::encoding::{base64url_decode, parse_json_object};
use crate::jose::alg::Algorithm;
use crate::jose::claims::Claims;
use crate::jose::jwk::Jwk;
use crate::jose::jwks::{JwkSet, KeySelectionError};

/// Tokens longer than this are refused before any work.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;
const MAX_HEADER_BYTES: usize = 4 * 1024;

/// Why a token is not accepted as signed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum JwsError {
    /// `alg` is not on the allow-list, `none`, a MAC, or unknown.
    #[error("algorithm not accepted")]
    Algorithm,
    /// `crit` is present: no extension is understood (RFC 7515 section 4.1.11).
    #[error("critical header parameters not understood")]
    Critical,
    /// The payload is not an acceptable claims set.
    #[error("claims set malformed")]
    Claims,
    /// A JWE where a JWS must be.
    #[error("token is encrypted")]
    Encrypted,
    /// No key, or several keys, of the issuer fit.
    #[error("no single key fits: {0}")]
    Key(KeySelectionError),
    /// Not three base64url parts, or a header that is not acceptable JSON.
    #[error("not a compact JWS")]
    Malformed,
    /// The signature is not by the issuer's key.
    #[error("signature not valid")]
    Signature,
    /// Over [`MAX_TOKEN_BYTES`].
    #[error("token too long")]
    TooLong,
}

/// The protected header as far as airside uses it. `jwk`, `jku`, `x5u` and `x5c` are not
/// even read: keys come from the issuer's key set only (RFC 8725 sections 3.9 and 3.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwsHeader {
    /// The algorithm.
    pub alg: Algorithm,
    /// Content type of the payload.
    pub cty: Option<String>,
    /// Which key of the set.
    pub kid: Option<String>,
    /// Media type of the token.
    pub typ: Option<String>,
}

/// A well-formed token whose signature has not been checked.
#[derive(Clone)]
pub struct Jws<'a> {
    token: &'a str,
    header: JwsHeader,
    claims: Claims,
}

impl std::fmt::Debug for Jws<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jws")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

/// A value whose signature was verified with a key of the issuer that the caller named.
/// Only [`Jws::verify`] makes one.
#[derive(Clone, Debug)]
pub struct Signed<T> {
    header: JwsHeader,
    value: T,
}

impl<T> Signed<T> {
    /// The verified header.
    pub fn header(&self) -> &JwsHeader {
        &self.header
    }
}

impl<T> Deref for Signed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// True when `token` has the shape of a JWS or JWE: only then may it be treated as a JWT.
pub fn looks_like_jwt(token: &str) -> bool {
    matches!(token.split('.').count(), 3 | 5) && token.starts_with("ey")
}

impl<'a> Jws<'a> {
    /// Reads header and claims without trusting either.
    ///
    /// # Errors
    /// [`JwsError`], any but `Key` and `Signature`.
    pub fn parse(token: &'a str) -> Result<Self, JwsError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(JwsError::TooLong);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(_)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(JwsError::Malformed);
        };
        match parts.count() {
            0 => {}
            2 => return Err(JwsError::Encrypted),
            _ => return Err(JwsError::Malformed),
        }
        let header = parse_header(header)?;
        let payload = base64url_decode(payload).map_err(|_| JwsError::Malformed)?;
        let claims = Claims::parse(&payload).map_err(|_| JwsError::Claims)?;
        Ok(Jws {
            token,
            header,
            claims,
        })
    }

    /// The header, unverified.
    pub fn header(&self) -> &JwsHeader {
        &self.header
    }

    /// The claimed issuer. It may choose the key set to verify with, nothing else.
    pub fn unverified_issuer(&self) -> Option<&str> {
        self.claims.string("iss").ok().flatten()
    }

    /// Verifies the signature with the one key of `keys` that fits.
    ///
    /// # Errors
    /// [`JwsError::Algorithm`] when the algorithm is not in `allowed`, [`JwsError::Key`] when
    /// not exactly one key fits, [`JwsError::Signature`] when it does not verify.
    pub fn verify(self, allowed: &[Algorithm], keys: &JwkSet) -> Result<Signed<Claims>, JwsError> {
        self.verify_unless(&|_| false, allowed, keys)
    }

    /// The same, without the signature check where `verified_before` knows that exactly this
    /// token's signature was verified with exactly that key. The key is chosen first: a word for
    /// one that is not in the set counts for nothing.
    ///
    /// # Errors
    /// As [`Jws::verify`].
    pub fn verify_unless(
        self,
        verified_before: &dyn Fn(&Jwk) -> bool,
        allowed: &[Algorithm],
        keys: &JwkSet,
    ) -> Result<Signed<Claims>, JwsError> {
        if !allowed.contains(&self.header.alg) {
            return Err(JwsError::Algorithm);
        }
        let key = keys
            .select(self.header.alg, self.header.kid.as_deref())
            .map_err(JwsError::Key)?;
        let signed_by = || {
            let (signed, signature) = self.token.rsplit_once('.')?;
            let signature = base64url_decode(signature).ok()?;
            let alg = self.header.alg;
            key.verifies(alg, signed.as_bytes(), &signature)
                .then_some(())
        };
        if !verified_before(key) && signed_by().is_none() {
            return Err(JwsError::Signature);
        }
        Ok(Signed {
            header: self.header,
            value: self.claims,
        })
    }
}

fn parse_header(part: &str) -> Result<JwsHeader, JwsError> {
    let bytes = base64url_decode(part).map_err(|_| JwsError::Malformed)?;
    let members = parse_json_object(&bytes, MAX_HEADER_BYTES).map_err(|_| JwsError::Malformed)?;
    if members.contains_key("crit") {
        return Err(JwsError::Critical);
    }
    // RFC 7797: an unencoded payload is signed over other bytes than those read here.
    if members.contains_key("b64") {
        return Err(JwsError::Critical);
    }
    let string = |name: &str| match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(JwsError::Malformed),
    };
    let alg = string("alg")?.ok_or(JwsError::Algorithm)?;
    Ok(JwsHeader {
        alg: alg.parse().map_err(|_| JwsError::Algorithm)?,
        cty: string("cty")?,
        kid: string("kid")?,
        typ: string("typ")?,
    })
}

#[cfg(test)]
mod tests;
