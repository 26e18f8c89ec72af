//! Whole seconds, with arithmetic that can neither overflow nor panic.

use serde::{Deserialize, Serialize};

/// Seconds since 1970-01-01T00:00:00Z (a JWT `NumericDate` without fraction, RFC 7519 section 2).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct UnixTime(u64);

impl UnixTime {
    /// The time that many seconds after the epoch.
    pub const fn from_secs(seconds: u64) -> Self {
        UnixTime(seconds)
    }

    /// Seconds since the epoch.
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// This time plus `lifetime`, at most the end of the number range.
    pub const fn plus(self, lifetime: Lifetime) -> Self {
        UnixTime(self.0.saturating_add(lifetime.0))
    }

    /// This time minus `lifetime`, at least the epoch.
    pub const fn minus(self, lifetime: Lifetime) -> Self {
        UnixTime(self.0.saturating_sub(lifetime.0))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub const fn since(self, earlier: UnixTime) -> Lifetime {
        Lifetime(self.0.saturating_sub(earlier.0))
    }
}

/// A length of time in whole seconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Lifetime(u64);

impl Lifetime {
    /// That many seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Lifetime(seconds)
    }

    /// In seconds.
    pub const fn as_secs(self) -> u64 {
        self.0
    }
}

/// How far two clocks may differ before a time claim is refused (RFC 7519 section 4.1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leeway(Lifetime);

impl Leeway {
    /// 60 seconds: providers' clocks are synchronised, and a library's default of many
    /// minutes would lengthen the life of every stolen token.
    pub const DEFAULT: Leeway = Leeway::from_secs(60);

    /// That many seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Leeway(Lifetime::from_secs(seconds))
    }

    /// As a length of time.
    pub const fn as_lifetime(self) -> Lifetime {
        self.0
    }

    /// True when something that ends at `exp` has ended at `now` (`now` is not before `exp`).
    pub const fn is_past(self, exp: UnixTime, now: UnixTime) -> bool {
        exp.plus(self.0).as_secs() <= now.as_secs()
    }

    /// True when something that starts at `start` has not started at `now`.
    pub const fn is_future(self, start: UnixTime, now: UnixTime) -> bool {
        start.as_secs() > now.plus(self.0).as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leeway_ends_on_the_second() {
        let exp = UnixTime::from_secs(1_000);
        assert!(!Leeway::DEFAULT.is_past(exp, UnixTime::from_secs(1_059)));
        assert!(Leeway::DEFAULT.is_past(exp, UnixTime::from_secs(1_060)));
        assert!(!Leeway::DEFAULT.is_future(exp, UnixTime::from_secs(940)));
        assert!(Leeway::DEFAULT.is_future(exp, UnixTime::from_secs(939)));
    }

    #[test]
    fn arithmetic_saturates() {
        let end = UnixTime::from_secs(u64::MAX);
        assert_eq!(end.plus(Lifetime::from_secs(1)), end);
        assert_eq!(
            UnixTime::default().minus(Lifetime::from_secs(1)),
            UnixTime::default()
        );
        assert_eq!(UnixTime::default().since(end), Lifetime::default());
    }
}
