//! `platform`: where the app is deployed, as far as that decides what can work there.
//!
//! Where the key-value store has no counters (`wasi:keyvalue/atomics`), the host does not start
//! `tokens`, the one component that imports them. What needs it is refused here, by its key, and
//! not by the first request that finds it missing.

use crate::config::read::Table;
use crate::config::toml::{self, Spanned, Value};

/// Where the app runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// Fermyon Wasm Functions and Akamai Functions: a store without counters.
    Functions,
    /// Spin itself, on a machine or in Kubernetes.
    Spin,
}

const WORDS: [(&str, Platform); 4] = [
    ("akamai", Platform::Functions),
    ("fermyon", Platform::Functions),
    ("spin", Platform::Spin),
    ("spinkube", Platform::Spin),
];

impl Platform {
    /// The platform that the configuration calls `name`.
    pub fn named(name: &str) -> Option<Self> {
        let found = WORDS.iter().find(|(word, _)| *word == name);
        found.map(|(_, platform)| *platform)
    }

    /// True where the component `tokens` can run.
    pub fn has_tokens(self) -> bool {
        self == Platform::Spin
    }
}

/// What needs `tokens`: a key of a section, and the words that ask for it; a switch asks when it
/// is on. Pushed requests `when_required` are not here: most providers require none.
const NEEDS: [(&str, &str, &[&str]); 6] = [
    ("issuers", "introspection", &[]),
    ("providers", "pushed_authorization_requests", &["always"]),
    ("providers", "refresh", &[]),
    ("session", "spill", &[]),
    ("session", "store", &["key-value"]),
    (
        "upstreams",
        "credential",
        &["client_credentials", "token_exchange"],
    ),
];

/// Reads `platform`, and reports what cannot work there. True where `tokens` can run.
pub(super) fn read(root: &Table<'_, '_>) -> bool {
    let platform = root.word("platform", &WORDS);
    if platform.is_none_or(Platform::has_tokens) {
        return true;
    }
    for (section, key, words) in NEEDS {
        let Some(table) = table(root.get(section)) else {
            continue;
        };
        let check = |path: &str, table: &toml::Table<'_>| {
            let Some(value) = table.get(key) else { return };
            let word = value.get_ref().as_str();
            let asks = word.is_some_and(|word| words.contains(&word));
            if asks || value.get_ref().as_bool() == Some(true) {
                root.problems.add(
                    value.span().start,
                    format!("{path}.{key}"),
                    "cannot be had on this platform, whose store has no counters: see docs/platforms.md",
                );
            }
        };
        if section == "session" {
            check(section, table);
        }
        for (name, entry) in table.iter() {
            if let Value::Table(entry) = entry.get_ref() {
                check(&format!("{section}.{}", name.get_ref()), entry);
            }
        }
    }
    false
}

fn table<'d, 't>(value: Option<&'d Spanned<Value<'t>>>) -> Option<&'d toml::Table<'t>> {
    value?.get_ref().as_table()
}
