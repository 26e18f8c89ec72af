//! What each component is for: its routes, whom it may reach and which secrets it may read.
//! The table of the design, in one place: the doctor judges configurations by it, and a test
//! holds spin.toml to it.

use std::collections::{BTreeMap, BTreeSet};

/// One row of the table.
pub(crate) struct Permissions {
    /// The component's name.
    pub(crate) component: &'static str,
    /// Its routes; none means private.
    pub(crate) routes: &'static [&'static str],
    /// Whom it may reach.
    pub(crate) outbound: &'static [Peer],
    /// Which secrets it may read.
    pub(crate) secrets: &'static [Secret],
}

/// Somebody a component talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    /// Endpoints of issuers of access tokens that are not at the issuer's own origin.
    IssuerEndpoints,
    /// Providers of ID tokens: metadata, key sets, their endpoints.
    Providers,
    /// Issuers of access tokens: key sets.
    TokenIssuers,
    /// The private component.
    Tokens,
    /// Where the gate forwards to.
    Upstreams,
}

/// A kind of secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Secret {
    /// What signs the assertions to upstreams.
    AssertionKeys,
    /// What proves airside to a provider.
    ClientCredential,
    /// What proves airside to a token issuer: for introspection and for tokens of its own.
    IssuerClientCredential,
    /// What seals sessions and transactions.
    SessionKeys,
}

/// The hosts and variables that a configuration stands for.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// Origins, and the keys of airside.toml they come from.
    pub(crate) hosts: BTreeMap<Peer, BTreeMap<String, String>>,
    /// Variable names, and where they come from.
    pub(crate) variables: BTreeMap<Secret, BTreeMap<String, String>>,
    /// Names of variables that the configuration does without. They may be granted to who may
    /// read them, and to nobody else.
    pub(crate) unused: BTreeSet<String>,
    /// The name of the platform, where it does not start `tokens`.
    pub(crate) without_tokens: Option<String>,
}

impl Permissions {
    /// The origins this component must reach under a configuration, with their reason.
    pub(crate) fn hosts(&self, needs: &Needs) -> BTreeMap<String, String> {
        chosen(self.outbound, &needs.hosts)
    }

    /// The variables this component must be granted under a configuration, with their reason.
    pub(crate) fn variables(&self, needs: &Needs) -> BTreeMap<String, String> {
        chosen(self.secrets, &needs.variables)
    }

    /// The variables this component must never be granted under a configuration.
    pub(crate) fn forbidden_variables(&self, needs: &Needs) -> BTreeSet<String> {
        let own = self.variables(needs);
        let all = needs.variables.values().flat_map(BTreeMap::keys);
        all.filter(|name| !own.contains_key(*name))
            .cloned()
            .collect()
    }
}

fn chosen<K: Ord>(
    kinds: &[K],
    all: &BTreeMap<K, BTreeMap<String, String>>,
) -> BTreeMap<String, String> {
    kinds
        .iter()
        .filter_map(|kind| all.get(kind))
        .flatten()
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

/// The private component, the only one that imports counters (`wasi:keyvalue/atomics`).
pub(crate) const TOKENS: &str = "tokens";
/// Its origin.
pub(crate) const TOKENS_ORIGIN: &str = "http://tokens.spin.internal";

/// The table.
pub(crate) const TABLE: [Permissions; 6] = [
    Permissions {
        component: "login",
        routes: &["/auth/login"],
        outbound: &[Peer::Providers, Peer::Tokens],
        secrets: &[Secret::SessionKeys],
    },
    Permissions {
        component: "callback",
        routes: &[
            "/auth/callback",
            "/auth/callback/...",
            "/auth/client-jwks.json",
        ],
        outbound: &[Peer::Providers, Peer::Tokens],
        secrets: &[Secret::SessionKeys, Secret::ClientCredential],
    },
    Permissions {
        component: "logout",
        routes: &[
            "/auth/logout",
            "/auth/logged-out",
            "/auth/backchannel-logout",
        ],
        outbound: &[Peer::Providers, Peer::Tokens],
        secrets: &[Secret::SessionKeys],
    },
    Permissions {
        component: "session",
        routes: &["/auth/session"],
        outbound: &[],
        secrets: &[Secret::SessionKeys],
    },
    Permissions {
        component: TOKENS,
        routes: &[],
        outbound: &[Peer::IssuerEndpoints, Peer::Providers, Peer::TokenIssuers],
        secrets: &[
            Secret::SessionKeys,
            Secret::ClientCredential,
            Secret::IssuerClientCredential,
        ],
    },
    Permissions {
        component: "authorize",
        routes: &[
            "/...",
            "/.well-known/oauth-protected-resource/...",
            "/.well-known/jwks.json",
            "/auth/verify",
        ],
        outbound: &[Peer::TokenIssuers, Peer::Upstreams, Peer::Tokens],
        // Never a client credential: the gate only judges tokens.
        secrets: &[Secret::SessionKeys, Secret::AssertionKeys],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check;
    use crate::manifest::{Component, Manifest};
    use crate::workspace::Workspace;

    #[test]
    fn spin_toml_grants_exactly_what_the_table_says() {
        let workspace = Workspace::find().unwrap();
        let read = |name: &str| std::fs::read_to_string(workspace.path(name)).unwrap();
        let manifest = Manifest::parse(&read("spin.toml")).unwrap();
        let needs = check::needs(&read("airside.toml")).unwrap();
        let names: BTreeSet<_> = manifest.components.keys().map(String::as_str).collect();
        let table_names: BTreeSet<_> = TABLE.iter().map(|row| row.component).collect();
        assert_eq!(names, table_names);
        for row in &TABLE {
            let template = |name: &String| (name.clone(), format!("{{{{ {name} }}}}"));
            let expected = Component {
                allowed_outbound_hosts: row.hosts(&needs).into_keys().collect(),
                files: BTreeSet::from(["airside.toml".to_owned()]),
                key_value_stores: BTreeSet::from(["default".to_owned()]),
                private: row.routes.is_empty(),
                routes: row.routes.iter().map(|&route| route.to_owned()).collect(),
                variables: row.variables(&needs).keys().map(template).collect(),
            };
            assert_eq!(
                manifest.components[row.component], expected,
                "{}",
                row.component
            );
        }
        let variables = needs.variables.into_values().flat_map(BTreeMap::into_keys);
        assert_eq!(manifest.variables, variables.collect());
    }

    #[test]
    fn the_gate_is_never_given_a_client_credential() {
        for row in &TABLE {
            let may = row.secrets.contains(&Secret::ClientCredential);
            assert_eq!(
                may,
                ["callback", "tokens"].contains(&row.component),
                "{}",
                row.component
            );
            let may = row.secrets.contains(&Secret::IssuerClientCredential);
            assert_eq!(may, row.component == "tokens", "{}", row.component);
        }
    }
}
