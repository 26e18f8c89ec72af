//! What airside shows to an upstream: nothing, the caller's access token, or a token of its own.

use crate::config::entries::{is_scope, resources};
use crate::config::read::Table;

/// The credential in the `Authorization` header of requests to an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// None.
    None,
    /// The access token that the request was judged by.
    AccessToken,
    /// A token for airside itself (RFC 6749 section 4.4).
    ClientCredentials(Grant),
    /// A token that the caller's access token is exchanged for (RFC 8693).
    TokenExchange {
        /// Where and for what.
        grant: Grant,
        /// What kind of token the caller's is said to be.
        subject_token_type: String,
        /// What kind of token it must be exchanged for.
        requested_token_type: String,
    },
}

/// Where a token is asked for, and what it is to be good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Index of the token issuer in the configuration; airside is a client there.
    pub issuer: usize,
    /// `scope`; empty does not ask.
    pub scopes: Vec<String>,
    /// `audience`: where the token is to be used, by name (RFC 8693 section 2.1; others too).
    pub audience: Option<String>,
    /// `resource`: the same as URIs (RFC 8707).
    pub resource: Vec<String>,
}

impl Credential {
    /// True when it is made from the caller's access token, which `token` routes alone have.
    pub fn needs_access_token(&self) -> bool {
        match self {
            Credential::AccessToken | Credential::TokenExchange { .. } => true,
            Credential::None | Credential::ClientCredentials(_) => false,
        }
    }
}

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// Reads `credential` and what belongs to it. `issuers` are the names of the token issuers, each
/// with whether airside is a client there.
pub(super) fn read(table: &Table<'_, '_>, issuers: &[(&str, bool)]) -> Credential {
    const WORDS: [(&str, Kind); 4] = [
        ("none", Kind::None),
        ("access_token", Kind::AccessToken),
        ("client_credentials", Kind::ClientCredentials),
        ("token_exchange", Kind::TokenExchange),
    ];
    let kind = table.word("credential", &WORDS).unwrap_or(Kind::None);
    let types = |name| {
        let words = [("access_token", ACCESS_TOKEN), ("jwt", JWT)];
        table.word(name, &words).unwrap_or(ACCESS_TOKEN).to_owned()
    };
    let subject_token_type = types("credential_subject_token_type");
    let requested_token_type = types("credential_requested_token_type");
    if kind != Kind::TokenExchange {
        for name in [
            "credential_subject_token_type",
            "credential_requested_token_type",
        ] {
            if table.get(name).is_some() {
                table.problem(name, "needs credential = \"token_exchange\"");
            }
        }
    }
    if matches!(kind, Kind::None | Kind::AccessToken) {
        for name in [
            "credential_issuer",
            "credential_scopes",
            "credential_audience",
            "credential_resource",
        ] {
            if table.get(name).is_some() {
                table.problem(
                    name,
                    "needs credential = \"client_credentials\" or \"token_exchange\"",
                );
            }
        }
        return match kind {
            Kind::AccessToken => Credential::AccessToken,
            _ => Credential::None,
        };
    }
    // Where it is refused the whole configuration is: the value then does not matter.
    let Some(grant) = grant(table, issuers) else {
        return Credential::None;
    };
    if kind == Kind::ClientCredentials {
        Credential::ClientCredentials(grant)
    } else {
        Credential::TokenExchange {
            grant,
            subject_token_type,
            requested_token_type,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    None,
    AccessToken,
    ClientCredentials,
    TokenExchange,
}

fn grant(table: &Table<'_, '_>, issuers: &[(&str, bool)]) -> Option<Grant> {
    let names: Vec<&str> = issuers.iter().map(|(name, _)| *name).collect();
    let expected = format!("one of the issuers: {}", names.join(", "));
    let name = table.required_text("credential_issuer", &expected);
    let issuer = name.and_then(|name| issuers.iter().position(|(known, _)| *known == name));
    match issuer.and_then(|index| issuers.get(index)) {
        Some((_, true)) => {}
        Some((name, false)) => table.problem(
            "credential_issuer",
            format_args!("airside is no client there: issuers.{name} needs client_id"),
        ),
        None if table.get("credential_issuer").is_some() => {
            table.problem("credential_issuer", format_args!("expected {expected}"));
        }
        None => {}
    }
    let scopes: Vec<String> = table.list("credential_scopes", "scope names", Vec::new);
    if !scopes.iter().all(|scope| is_scope(scope)) {
        table.problem(
            "credential_scopes",
            "expected scope names without spaces, quotes or backslashes",
        );
    }
    Some(Grant {
        issuer: issuer?,
        scopes,
        audience: table.non_empty("credential_audience", "the upstream's identifier"),
        resource: resources(table, "credential_resource"),
    })
}
