//! The keys of a route that say what a token's claims must be, and how its person must have
//! authenticated.

use crate::config::login;
use crate::config::read::Table;
use crate::config::toml::{self, Spanned};
use crate::oauth::access_token::{ClaimRule, ClaimTest};
use crate::policy::StepUp;
use serde_json::Value;

/// More rules for one route are none that anybody could review.
const MAX_RULES: usize = 16;
/// Each remembered token has the outcome of each rule of its issuer.
const MAX_RULES_OF_ISSUER: usize = 1_024;
/// Deeper claims are refused when a token is read.
const MAX_DEPTH: usize = 8;

/// Reads `claims`; adds to `rules`, those of the issuer, what is not there yet, and returns the
/// indices of the rules of this route.
pub(super) fn read(table: &Table<'_, '_>, rules: Option<&mut Vec<ClaimRule>>) -> Vec<usize> {
    let tables = table.tables("claims");
    if tables.len() > MAX_RULES {
        table.problem("claims", format_args!("expected at most {MAX_RULES} rules"));
    }
    let found: Vec<ClaimRule> = tables.iter().filter_map(rule).collect();
    let Some(rules) = rules else {
        return Vec::new();
    };
    let mut indices = Vec::new();
    for rule in found {
        let known = rules.iter().position(|known| *known == rule);
        indices.push(known.unwrap_or(rules.len()));
        if known.is_none() {
            rules.push(rule);
        }
    }
    if rules.len() > MAX_RULES_OF_ISSUER {
        let text =
            format_args!("expected at most {MAX_RULES_OF_ISSUER} different rules per issuer");
        table.problem("claims", text);
    }
    indices
}

fn rule(table: &Table<'_, '_>) -> Option<ClaimRule> {
    let path = path(table);
    let equals = table.get("equals").map(|value| literal(table, value));
    let contains = table.non_empty("contains", "a string");
    let test = match (equals, table.get("contains").is_some()) {
        (Some(_), true) | (None, false) => {
            table.problem("claim", "expected either equals or contains beside it");
            None
        }
        (Some(value), false) => value.map(ClaimTest::Equals),
        (None, true) => contains.map(ClaimTest::Contains),
    };
    table.finish();
    Some(ClaimRule {
        path: path?,
        test: test?,
    })
}

/// `claim`: a name, a name with dots for a member of a member, or a list of names. A URI, as
/// some providers want it for claims of one's own, is one name in spite of its dots.
fn path(table: &Table<'_, '_>) -> Option<Vec<String>> {
    let expected = "a claim such as groups or realm_access.roles, or a list of names";
    let path: Vec<String> = match table.get("claim").map(Spanned::get_ref) {
        None => {
            table.problem("claim", format_args!("missing; expected {expected}"));
            return None;
        }
        Some(value) if value.as_array().is_some() => table.list("claim", "names", Vec::new),
        Some(_) => {
            let text = table.non_empty("claim", expected)?;
            if text.contains(':') {
                vec![text]
            } else {
                text.split('.').map(str::to_owned).collect()
            }
        }
    };
    let fits = (1..=MAX_DEPTH).contains(&path.len()) && path.iter().all(|name| !name.is_empty());
    if !fits {
        let text = format_args!("expected {expected}, none empty, at most {MAX_DEPTH} deep");
        table.problem("claim", text);
    }
    fits.then_some(path)
}

fn literal(table: &Table<'_, '_>, value: &Spanned<toml::Value<'_>>) -> Option<Value> {
    let value = value.get_ref();
    let text = value.as_str().map(Value::from);
    let found = text
        .or(value.as_bool().map(Value::from))
        .or(value.as_integer().map(Value::from));
    if found.is_none() {
        table.problem("equals", "expected a string, a whole number, true or false");
    }
    found
}

/// Reads `acr_values` and `max_age_seconds`.
pub(super) fn step_up(table: &Table<'_, '_>) -> StepUp {
    let (acr_values, max_age) = login::authentication(table);
    if acr_values.len() > 8 || acr_values.iter().any(|acr| acr.len() > 255) {
        table.problem("acr_values", "expected at most 8, none longer than 255");
    }
    StepUp {
        acr_values,
        max_age,
    }
}
