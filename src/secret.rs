//! A value that must not be shown: tokens, codes, verifiers, client secrets and keys.
//!
//! There is one way in ([`Secret::new`]) and one named way out ([`Secret::expose`]), so that
//! a search for `expose` finds every place where a secret leaves its wrapper.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A secret that is overwritten when dropped, never printed, and compared in constant time.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Wraps a secret.
    pub fn new(value: T) -> Self {
        Secret(value)
    }

    /// Returns the secret itself. The caller must not log it or put it into an error.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<T: Zeroize + AsRef<[u8]>> PartialEq for Secret<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ref().ct_eq(other.0.as_ref()).into()
    }
}

impl<T: Zeroize + AsRef<[u8]>> Eq for Secret<T> {}

impl From<&str> for Secret<String> {
    fn from(value: &str) -> Self {
        Secret::new(value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_the_secret() {
        assert_eq!(
            format!("{:?}", Secret::<String>::from("hunter2")),
            "Secret(..)"
        );
    }

    #[test]
    fn equality_is_by_content() {
        assert_eq!(Secret::<String>::from("a"), Secret::<String>::from("a"));
        assert_ne!(Secret::<String>::from("a"), Secret::<String>::from("b"));
        assert_ne!(Secret::<String>::from("a"), Secret::<String>::from("ab"));
    }
}
