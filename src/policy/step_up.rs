//! How, and how long ago, a person must have authenticated (RFC 9470).

use crate::time::{Leeway, Lifetime, UnixTime};

/// What a route asks for beyond a token or session. The default asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepUp {
    /// `acr` must be one of these; empty asks for none.
    pub acr_values: Vec<String>,
    /// `auth_time` may be that long ago at most.
    pub max_age: Option<Lifetime>,
}

/// What is known about an authentication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Authentication<'a> {
    /// When it happened.
    pub auth_time: Option<UnixTime>,
    /// Its class.
    pub acr: Option<&'a str>,
}

impl StepUp {
    /// True when nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.acr_values.is_empty() && self.max_age.is_none()
    }

    /// True when `known` is enough at `now`. What is not known is not enough.
    pub fn is_met(&self, known: Authentication<'_>, leeway: Leeway, now: UnixTime) -> bool {
        // An age of exactly `max_age` is allowed.
        const ONE_SECOND: Lifetime = Lifetime::from_secs(1);
        let acr_fits = self.acr_values.is_empty()
            || known
                .acr
                .is_some_and(|acr| self.acr_values.iter().any(|wanted| wanted == acr));
        let is_fresh = self.max_age.is_none_or(|max_age| {
            known.auth_time.is_some_and(|auth_time| {
                let end = auth_time.plus(max_age).plus(ONE_SECOND);
                !leeway.is_past(end, now) && !leeway.is_future(auth_time, now)
            })
        });
        acr_fits && is_fresh
    }

    /// True when whoever meets this meets `other` too.
    pub fn covers(&self, other: &StepUp) -> bool {
        let acr_covers = other.acr_values.is_empty()
            || !self.acr_values.is_empty()
                && self
                    .acr_values
                    .iter()
                    .all(|acr| other.acr_values.contains(acr));
        let age_covers = match (self.max_age, other.max_age) {
            (_, None) => true,
            (Some(own), Some(other)) => own <= other,
            (None, Some(_)) => false,
        };
        acr_covers && age_covers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step_up(acr_values: &[&str], max_age: Option<u64>) -> StepUp {
        StepUp {
            acr_values: acr_values.iter().map(|acr| (*acr).to_owned()).collect(),
            max_age: max_age.map(Lifetime::from_secs),
        }
    }

    #[track_caller]
    fn check(asked: &StepUp, auth_time: Option<u64>, acr: Option<&str>, expected: bool) {
        let known = Authentication {
            auth_time: auth_time.map(UnixTime::from_secs),
            acr,
        };
        let met = asked.is_met(known, Leeway::from_secs(10), UnixTime::from_secs(1_000));
        assert_eq!(met, expected, "{asked:?} {known:?}");
    }

    #[test]
    fn acr_is_one_of_the_values_and_auth_time_recent() {
        check(&step_up(&[], None), None, None, true);
        let mfa = step_up(&["mfa", "hwk"], None);
        check(&mfa, None, Some("hwk"), true);
        check(&mfa, None, Some("MFA"), false);
        check(&mfa, None, Some("mfa hwk"), false);
        check(&mfa, None, None, false);
        let recent = step_up(&[], Some(60));
        check(&recent, Some(930), None, true);
        check(&recent, Some(929), None, false);
        check(&recent, Some(1_010), None, true);
        check(&recent, Some(1_011), None, false);
        check(&recent, None, None, false);
        let both = step_up(&["mfa"], Some(60));
        check(&both, Some(1_000), Some("mfa"), true);
        check(&both, Some(1_000), Some("pwd"), false);
        check(&both, Some(900), Some("mfa"), false);
        check(&step_up(&[], Some(0)), Some(990), None, true);
        check(&step_up(&[], Some(0)), Some(989), None, false);
    }

    #[test]
    fn what_asks_for_more_covers_what_asks_for_less() {
        let none = step_up(&[], None);
        let mfa = step_up(&["mfa"], Some(60));
        assert!(mfa.covers(&none) && mfa.covers(&mfa) && none.covers(&none));
        assert!(!none.covers(&mfa));
        assert!(mfa.covers(&step_up(&["pwd", "mfa"], Some(61))));
        assert!(!mfa.covers(&step_up(&["mfa"], Some(59))));
        assert!(!step_up(&["pwd", "mfa"], Some(60)).covers(&mfa));
    }
}
