//! One login attempt between the redirect to the provider and the callback.
//!
//! It lives in a sealed cookie of its own, so that attempts in several tabs do not break
//! each other. There is no store row per attempt: anyone could fill the store.

use hmac_sha256::Hash;
use http::HeaderValue;
use serde::{Deserialize, Serialize};

use crate::encoding::base64url_encode;
use crate::secret::Secret;
use crate::session::cookie::{
    Cookies, MAX_TRANSACTIONS, TRANSACTION_BUDGET, TRANSACTION_PREFIX, delete_cookie, set_cookie,
};
use crate::session::seal::{KeyRing, Purpose, SealError};
use crate::time::{Lifetime, UnixTime};
use crate::url::ReturnTo;

/// How long a person may take at the provider.
pub const TRANSACTION_LIFETIME: Lifetime = Lifetime::from_secs(600);

/// A login attempt.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// Ties the callback to this browser (RFC 6749 section 10.12).
    pub state: Secret<String>,
    /// Ties the ID token to this attempt (OpenID Connect Core section 15.5.2).
    pub nonce: Secret<String>,
    /// PKCE (RFC 7636 section 4.1).
    pub code_verifier: Secret<String>,
    /// Name of the provider the browser was sent to.
    pub provider: String,
    /// Where to go after the login.
    pub return_to: ReturnTo,
    /// When the attempt began.
    pub created_at: UnixTime,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    s: String,
    n: String,
    c: String,
    p: String,
    r: String,
    t: UnixTime,
}

impl Transaction {
    /// The name of the cookie for the attempt with this `state`. The state itself does not show.
    pub fn cookie_name(state: &Secret<String>) -> String {
        let digest = Hash::hash(state.expose().as_bytes());
        format!(
            "{TRANSACTION_PREFIX}{}",
            base64url_encode(digest.get(..9).unwrap_or_default())
        )
    }

    /// `Set-Cookie` values for this attempt, and for the deletion of the oldest ones beyond
    /// [`MAX_TRANSACTIONS`] or the budget.
    ///
    /// # Errors
    /// [`SealError::Unsealable`].
    pub fn set(
        &self,
        present: &Cookies<'_>,
        ring: &KeyRing,
        now: UnixTime,
    ) -> Result<Vec<HeaderValue>, SealError> {
        let wire = Wire {
            s: self.state.expose().clone(),
            n: self.nonce.expose().clone(),
            c: self.code_verifier.expose().clone(),
            p: self.provider.clone(),
            r: self.return_to.as_str().to_owned(),
            t: self.created_at,
        };
        let sealed = ring.seal_at(Purpose::Transaction, &wire, now.plus(TRANSACTION_LIFETIME))?;
        let name = Self::cookie_name(&self.state);
        let mut headers = Vec::new();
        let mut used = name.len() + sealed.len();
        headers.extend(set_cookie(&name, &sealed, TRANSACTION_LIFETIME));

        // Newest first; what does not open is as good as infinitely old.
        let mut others: Vec<(Option<UnixTime>, &str, usize)> = present
            .transactions()
            .filter(|(other, _)| *other != name)
            .map(|(other, value)| {
                let opened = ring.open_at::<Wire>(Purpose::Transaction, value, now).ok();
                (
                    opened.map(|wire| wire.t),
                    other,
                    other.len() + value.len() + "=; ".len(),
                )
            })
            .collect();
        // Browsers send older cookies first (RFC 6265 section 5.4): that tells those of one
        // second apart.
        others.reverse();
        others.sort_by_key(|(opened, _, _)| std::cmp::Reverse(*opened));
        for (index, (opened, other, size)) in others.into_iter().enumerate() {
            used = used.saturating_add(size);
            if opened.is_none() || index + 1 >= MAX_TRANSACTIONS || used > TRANSACTION_BUDGET {
                headers.extend(delete_cookie(other));
            }
        }
        Ok(headers)
    }

    /// Opens the attempt that belongs to `state`.
    ///
    /// # Errors
    /// [`SealError::Unreadable`] when there is none, or it is another's; [`SealError::Expired`].
    pub fn open(
        state: &Secret<String>,
        cookies: &Cookies<'_>,
        ring: &KeyRing,
        now: UnixTime,
    ) -> Result<Self, SealError> {
        let name = Self::cookie_name(state);
        let sealed = cookies
            .transactions()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
            .ok_or(SealError::Unreadable)?;
        let wire: Wire = ring.open_at(Purpose::Transaction, sealed, now)?;
        let sealed_state = Secret::new(wire.s);
        if sealed_state != *state {
            return Err(SealError::Unreadable);
        }
        Ok(Transaction {
            state: sealed_state,
            nonce: Secret::new(wire.n),
            code_verifier: Secret::new(wire.c),
            provider: wire.p,
            // Validated again: the rules may have become stricter since.
            return_to: ReturnTo::parse(&wire.r),
            created_at: wire.t,
        })
    }

    /// `Set-Cookie` value that ends the attempt with this `state`.
    pub fn clear(state: &Secret<String>) -> Option<HeaderValue> {
        delete_cookie(&Self::cookie_name(state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> KeyRing {
        let key = base64url_encode(&[7; 32]);
        KeyRing::parse(&Secret::new(format!("a:{key}"))).expect("ring")
    }

    fn attempt(state: &str, at: u64, return_to: &str) -> Transaction {
        Transaction {
            state: Secret::from(state),
            nonce: Secret::new("n".repeat(22)),
            code_verifier: Secret::new("v".repeat(43)),
            provider: "demo".to_owned(),
            return_to: ReturnTo::parse(return_to),
            created_at: UnixTime::from_secs(at),
        }
    }

    /// A browser's jar after the given `Set-Cookie` values.
    fn apply(jar: &mut Vec<(String, String)>, set: &[HeaderValue]) {
        for value in set {
            let text = value.to_str().expect("text");
            let (name, value) = text
                .split(';')
                .next()
                .expect("pair")
                .split_once('=')
                .expect("=");
            jar.retain(|(known, _)| known != name);
            if !value.is_empty() {
                jar.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    fn cookies(jar: &[(String, String)]) -> Cookies<'static> {
        let line: Vec<String> = jar.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let line: &'static str = line.join("; ").leak();
        Cookies::of_lines(std::iter::once(line.as_bytes())).expect("cookies")
    }

    #[test]
    fn tabs_do_not_break_each_other_and_the_oldest_goes() {
        let (ring, mut jar) = (ring(), Vec::new());
        for tab in 0..7_u64 {
            // Two and two within one second.
            let at = 1_000 + tab / 2;
            let now = UnixTime::from_secs(at);
            let state = format!("state-of-tab-number-{tab:02}");
            let set = attempt(&state, at, "/invoices").set(&cookies(&jar), &ring, now);
            apply(&mut jar, &set.expect("set"));
        }
        let open = |tab: u64| {
            let state = Secret::new(format!("state-of-tab-number-{tab:02}"));
            Transaction::open(&state, &cookies(&jar), &ring, UnixTime::from_secs(1_100))
                .map(|t| t.state)
        };
        assert_eq!(jar.len(), MAX_TRANSACTIONS);
        let bytes: usize = jar
            .iter()
            .map(|(name, value)| name.len() + value.len() + 3)
            .sum();
        assert!(bytes <= TRANSACTION_BUDGET, "{bytes}");
        assert_eq!(open(0), Err(SealError::Unreadable));
        assert_eq!(open(1), Err(SealError::Unreadable));
        for tab in 2..7 {
            assert!(open(tab).is_ok(), "{tab}");
        }
    }

    #[test]
    fn long_return_paths_keep_to_the_budget() {
        let (ring, mut jar) = (ring(), Vec::new());
        for tab in 0..4_u64 {
            let now = UnixTime::from_secs(1_000 + tab);
            let path = format!("/{}", "p".repeat(1_000));
            let set = attempt(&format!("state-{tab}"), 1_000 + tab, &path).set(
                &cookies(&jar),
                &ring,
                now,
            );
            apply(&mut jar, &set.expect("set"));
            let bytes: usize = jar
                .iter()
                .map(|(name, value)| name.len() + value.len() + 3)
                .sum();
            assert!(bytes <= TRANSACTION_BUDGET, "{bytes}");
        }
        let newest = Transaction::open(
            &Secret::from("state-3"),
            &cookies(&jar),
            &ring,
            UnixTime::from_secs(1_010),
        );
        assert_eq!(newest.map(|t| t.return_to.as_str().len()), Ok(1_001));
    }

    #[test]
    fn an_attempt_opens_with_its_state_for_ten_minutes() {
        let (ring, mut jar) = (ring(), Vec::new());
        let now = UnixTime::from_secs(1_000);
        apply(
            &mut jar,
            &attempt("mine", 1_000, "/a")
                .set(&Cookies::default(), &ring, now)
                .expect("set"),
        );
        let open = |state: &str, at| {
            Transaction::open(
                &Secret::from(state),
                &cookies(&jar),
                &ring,
                UnixTime::from_secs(at),
            )
            .map(|t| t.return_to.as_str().to_owned())
        };
        assert_eq!(open("mine", 1_599).as_deref(), Ok("/a"));
        assert_eq!(open("mine", 1_600), Err(SealError::Expired));
        assert_eq!(open("yours", 1_001), Err(SealError::Unreadable));
    }

    #[test]
    fn a_renamed_cookie_of_another_attempt_does_not_open() {
        let (ring, mut jar) = (ring(), Vec::new());
        let now = UnixTime::from_secs(1_000);
        apply(
            &mut jar,
            &attempt("mine", 1_000, "/")
                .set(&Cookies::default(), &ring, now)
                .expect("set"),
        );
        jar[0].0 = Transaction::cookie_name(&Secret::from("yours"));
        let opened =
            Transaction::open(&Secret::from("yours"), &cookies(&jar), &ring, now).map(|t| t.state);
        assert_eq!(opened, Err(SealError::Unreadable));
    }
}
