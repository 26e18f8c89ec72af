//! Unguessable identifiers.

use ct_codecs::{Base64UrlSafeNoPadding, Encoder};

/// Returns 256 random bits as 43 characters of base64url.
///
/// # Errors
/// The operating system has no random numbers to give.
pub(crate) fn identifier() -> std::io::Result<String> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Base64UrlSafeNoPadding::encode_to_string(bytes).map_err(std::io::Error::other)
}
