//! JSON Object Signing: algorithms, keys, key sets, signatures and claims
//! (RFC 7515, RFC 7517, RFC 7518, RFC 7519, RFC 8037, RFC 8725).
//!
//! Pure functions of bytes and settings. What a token *means* (issuer, audience, expiry) is
//! judged by `oauth::access_token` and `oidc::id_token`, which accept nothing but
//! [`jws::Signed`].

pub mod alg;
pub mod claims;
pub mod jwk;
pub mod jwks;
pub mod jws;
mod montgomery;
mod rsa;
pub mod signing;

pub use alg::Algorithm;
pub use claims::{Claims, ClaimsError};
pub use jwk::Jwk;
pub use jwks::{JwkSet, JwksError, KeySelectionError};
pub use jws::{Jws, JwsError, JwsHeader, Signed};
pub use signing::{SigningKey, SigningKeyError};
