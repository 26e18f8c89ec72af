//! Proof Key for Code Exchange (RFC 7636). S256 only: `plain` protects nothing against who
//! reads the authorization request.

use hmac_sha256::Hash;

use crate::encoding::base64url_encode;
use crate::secret::Secret;

/// `code_challenge_method`.
pub const CODE_CHALLENGE_METHOD: &str = "S256";

/// A `code_verifier` of 43 characters from 32 unpredictable bytes (RFC 7636 section 4.1).
pub fn code_verifier(random: &[u8; 32]) -> Secret<String> {
    Secret::new(base64url_encode(random))
}

/// The `code_challenge` for `code_verifier` (RFC 7636 section 4.2).
pub fn code_challenge(code_verifier: &Secret<String>) -> String {
    base64url_encode(&Hash::hash(code_verifier.expose().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7636 appendix B.
    #[test]
    fn the_example_of_the_specification() {
        let verifier = Secret::from("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(
            code_challenge(&verifier),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
        assert_eq!(code_verifier(&[0; 32]).expose().len(), 43);
    }
}
