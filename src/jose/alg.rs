//! The signature algorithms that airside knows (RFC 7518 section 3.1, RFC 8037 section 3.1,
//! RFC 9864 for `Ed25519`). All are asymmetric: `none` and `HS*` cannot even be named, so
//! neither can be configured, nor can a public key be used as a MAC key (RFC 8725 section 3.1).

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A digital signature algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// Ed25519; the names `EdDSA` and `Ed25519` both mean it.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

impl Algorithm {
    /// Accepted where the configuration names none.
    pub const DEFAULT: [Algorithm; 5] = [
        Algorithm::Rs256,
        Algorithm::Ps256,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::EdDsa,
    ];

    /// The JOSE name.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::EdDsa => "EdDSA",
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
            Algorithm::Ps256 => "PS256",
            Algorithm::Rs256 => "RS256",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Not an algorithm that airside accepts.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not an accepted signature algorithm")]
pub struct UnknownAlgorithm;

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        Ok(match name {
            "EdDSA" | "Ed25519" => Algorithm::EdDsa,
            "ES256" => Algorithm::Es256,
            "ES384" => Algorithm::Es384,
            "PS256" => Algorithm::Ps256,
            "RS256" => Algorithm::Rs256,
            _ => return Err(UnknownAlgorithm),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_asymmetric_algorithms_have_names() {
        for name in ["EdDSA", "ES256", "ES384", "PS256", "RS256"] {
            assert_eq!(name.parse::<Algorithm>().map(Algorithm::name), Ok(name));
        }
        assert_eq!("Ed25519".parse(), Ok(Algorithm::EdDsa));
        for name in [
            "none", "None", "HS256", "HS512", "rs256", "", "ES256K", "RS512",
        ] {
            assert_eq!(name.parse::<Algorithm>(), Err(UnknownAlgorithm), "{name}");
        }
    }
}
