//! What an account must have before it opens a session: essential claims, a verified e-mail
//! address, an e-mail domain.
//!
//! These rules judge claims of a verified ID token, and of a UserInfo response about the same
//! `sub`. Being *valid* says who it is; whether that person may come in is decided here.

use std::str::FromStr;

use serde_json::{Map, Value};
use thiserror::Error;

/// Why an account opens no session although its ID token is good.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RequirementError {
    /// The e-mail address is of another domain, or is none.
    #[error("e-mail address of another domain")]
    EmailDomain,
    /// The provider does not say that the e-mail address was verified.
    #[error("e-mail address not verified")]
    EmailUnverified,
    /// An essential claim is missing (OpenID Connect Core section 5.5.1).
    #[error("essential claim missing")]
    EssentialClaim,
}

/// What an account must have. The default asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    /// Claims that must be there, with a value that is not `null` and not empty.
    pub essential_claims: Vec<String>,
    /// `email` must be there, and `email_verified` true.
    pub verified_email: bool,
    /// `email` must be verified and of one of these domains; empty allows all.
    pub email_domains: Vec<EmailDomain>,
}

impl Requirements {
    /// Judges the claims of one account.
    ///
    /// # Errors
    /// [`RequirementError`], the first that applies.
    pub fn check(&self, claims: &Map<String, Value>) -> Result<(), RequirementError> {
        if !self
            .essential_claims
            .iter()
            .all(|name| claims.get(name).is_some_and(is_something))
        {
            return Err(RequirementError::EssentialClaim);
        }
        if !self.verified_email && self.email_domains.is_empty() {
            return Ok(());
        }
        // An address that anybody could have typed in says nothing about its domain.
        let email = claims.get("email").and_then(Value::as_str);
        let email = match (email, claims.get("email_verified")) {
            (Some(email), Some(verified)) if is_true(verified) => email,
            _ => return Err(RequirementError::EmailUnverified),
        };
        if self.email_domains.is_empty() {
            return Ok(());
        }
        let domain = domain_of(email).ok_or(RequirementError::EmailDomain)?;
        if self.email_domains.iter().any(|rule| rule.holds(&domain)) {
            Ok(())
        } else {
            Err(RequirementError::EmailDomain)
        }
    }
}

fn is_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => true,
    }
}

/// `email_verified` is a boolean (OpenID Connect Core section 5.1); Apple and Cognito send the
/// string.
fn is_true(value: &Value) -> bool {
    *value == Value::Bool(true) || value.as_str() == Some("true")
}

/// The domain of an address, in lower case; `None` unless it is one plain address: exactly one
/// `@`, an unquoted local part, and a domain of letters, digits, hyphens and dots.
fn domain_of(email: &str) -> Option<String> {
    let (local, domain) = email.split_once('@')?;
    let local_fits = (1..=64).contains(&local.len())
        && local
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".!#$%&'*+-/=?^_`{|}~".contains(&b));
    (local_fits && is_domain(domain)).then(|| domain.to_ascii_lowercase())
}

fn is_domain(domain: &str) -> bool {
    let label_fits = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    domain.len() <= 253 && domain.contains('.') && domain.split('.').all(label_fits)
}

/// A rule for domains: `example.com` is that domain alone, `*.example.com` every domain below
/// it and not itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailDomain {
    /// In lower case, with the dot in front where only domains below count.
    suffix: String,
}

/// The text is not a rule for domains.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("must be a domain such as example.com or *.example.com")]
pub struct EmailDomainError;

impl FromStr for EmailDomain {
    type Err = EmailDomainError;

    fn from_str(text: &str) -> Result<Self, EmailDomainError> {
        let (dot, domain) = match text.strip_prefix("*.") {
            Some(domain) => (".", domain),
            None => ("", text),
        };
        if !is_domain(domain) {
            return Err(EmailDomainError);
        }
        Ok(EmailDomain {
            suffix: format!("{dot}{}", domain.to_ascii_lowercase()),
        })
    }
}

impl EmailDomain {
    fn holds(&self, domain: &str) -> bool {
        if self.suffix.starts_with('.') {
            // `domain` never starts with a dot, so that a label is left in front of it.
            domain.ends_with(&self.suffix)
        } else {
            domain == self.suffix
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(requirements: &Requirements, claims: Value, expected: Result<(), RequirementError>) {
        let Value::Object(map) = &claims else {
            panic!("not an object")
        };
        assert_eq!(requirements.check(map), expected, "{claims}");
    }

    #[test]
    fn an_essential_claim_must_be_there_and_say_something() {
        let requirements = Requirements {
            essential_claims: vec!["department".to_owned()],
            ..Requirements::default()
        };
        for good in [json!("x"), json!(0), json!(false), json!(["a"]), json!({})] {
            check(&requirements, json!({ "department": good }), Ok(()));
        }
        let missing = Err(RequirementError::EssentialClaim);
        for bad in [json!(null), json!(""), json!([])] {
            check(&requirements, json!({ "department": bad }), missing);
        }
        check(&requirements, json!({ "Department": "x" }), missing);
        check(&Requirements::default(), json!({}), Ok(()));
    }

    #[test]
    fn an_address_counts_only_when_the_provider_verified_it() {
        let requirements = Requirements {
            verified_email: true,
            ..Requirements::default()
        };
        for good in [json!(true), json!("true")] {
            let claims = json!({ "email": "a@b.example", "email_verified": good });
            check(&requirements, claims, Ok(()));
        }
        let unverified = Err(RequirementError::EmailUnverified);
        for bad in [
            json!(false),
            json!("false"),
            json!("True"),
            json!(1),
            json!(null),
            json!([true]),
        ] {
            let claims = json!({ "email": "a@b.example", "email_verified": bad });
            check(&requirements, claims, unverified);
        }
        check(&requirements, json!({ "email_verified": true }), unverified);
        check(&requirements, json!({ "email": "a@b.example" }), unverified);
        let number = json!({ "email": 3, "email_verified": true });
        check(&requirements, number, unverified);
    }

    fn of_domain(rule: &str) -> Requirements {
        Requirements {
            email_domains: vec![rule.parse().expect("rule")],
            ..Requirements::default()
        }
    }

    #[track_caller]
    fn check_email(rule: &str, email: &str, expected: Result<(), RequirementError>) {
        let claims = json!({ "email": email, "email_verified": true });
        check(&of_domain(rule), claims, expected);
    }

    #[test]
    fn a_domain_matches_whole_or_below_a_dot() {
        check_email("example.com", "ann.b+c@example.com", Ok(()));
        check_email("example.com", "ann@EXAMPLE.com", Ok(()));
        check_email("Example.com", "ann@example.com", Ok(()));
        check_email("*.example.com", "ann@eu.example.com", Ok(()));
        check_email("*.example.com", "ann@a.eu.example.com", Ok(()));
        let other = Err(RequirementError::EmailDomain);
        for (rule, email) in [
            ("example.com", "ann@evil-example.com"),
            ("example.com", "ann@eu.example.com"),
            ("example.com", "ann@example.com.evil.example"),
            ("example.com", "ann@example.co"),
            ("*.example.com", "ann@example.com"),
            ("*.example.com", "ann@evilexample.com"),
        ] {
            check_email(rule, email, other);
        }
    }

    #[test]
    fn what_is_not_one_plain_address_has_no_domain() {
        let other = Err(RequirementError::EmailDomain);
        for email in [
            "ann@evil.example@example.com",
            "ann@example.com@evil.example",
            "\"ann@evil.example\"@example.com",
            "ann@example.com ",
            " ann@example.com",
            "ann@example.com\n",
            "ann@example.com\0",
            "ann,eve@evil.example,@example.com",
            "Ann <ann@example.com>",
            "@example.com",
            "example.com",
            "ann@",
            "ann@.example.com",
            "ann@example.com.",
            "ann@ex\u{430}mple.com",
            "ann@\u{ff45}xample.com",
            "ann@example\u{3002}com",
            "ann(comment)@example.com",
            "",
        ] {
            check_email("example.com", email, other);
        }
    }

    #[test]
    fn a_domain_rule_needs_a_verified_address() {
        let claims = json!({ "email": "ann@example.com", "email_verified": false });
        let expected = Err(RequirementError::EmailUnverified);
        check(&of_domain("example.com"), claims, expected);
    }

    #[test]
    fn a_rule_is_a_domain() {
        for bad in [
            "",
            "com",
            "*",
            "*.com",
            "*.*.example.com",
            ".example.com",
            "example.com.",
            "a@example.com",
            "exa mple.com",
            "-a.example",
            "https://example.com",
        ] {
            assert_eq!(bad.parse::<EmailDomain>(), Err(EmailDomainError), "{bad}");
        }
        assert!("a-b.example".parse::<EmailDomain>().is_ok());
    }
}
