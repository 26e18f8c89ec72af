//! airside as a client: how it proves itself, and what it is at a token issuer.

use crate::config::read::Table;
use crate::config::{ClientAuthentication, Introspection, IssuerClient};

/// Whether `client_authentication = "none"` will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Public {
    /// A login proves possession of the code by PKCE.
    Allowed,
    /// The client acts for itself (RFC 6749 section 4.4, RFC 7662 section 2.1).
    Refused,
}

/// `client_authentication` with what belongs to it.
pub(super) fn authentication(
    table: &Table<'_, '_>,
    public: Public,
) -> Option<ClientAuthentication> {
    let secret = table.non_empty("client_secret_variable", "the name of a Spin variable");
    let variable_expected =
        "missing; expected the name of the Spin variable that holds the client secret";
    let need = |variable: Option<String>| {
        if table.get("client_secret_variable").is_none() {
            table.problem("client_secret_variable", variable_expected);
        }
        variable
    };
    let methods = match public {
        Public::Allowed => "client_secret_basic, client_secret_post or none",
        Public::Refused => "client_secret_basic or client_secret_post",
    };
    let method: String = table.required("client_authentication", methods)?;
    match method.as_str() {
        "client_secret_basic" => {
            need(secret).map(|variable| ClientAuthentication::ClientSecretBasic { variable })
        }
        "client_secret_post" => {
            need(secret).map(|variable| ClientAuthentication::ClientSecretPost { variable })
        }
        "none" if public == Public::Allowed => {
            if table.get("client_secret_variable").is_some() {
                table.problem(
                    "client_secret_variable",
                    "not used with client_authentication = \"none\"",
                );
            }
            Some(ClientAuthentication::None)
        }
        _ => {
            table.problem("client_authentication", format_args!("expected {methods}"));
            None
        }
    }
}

/// What airside is at a token issuer, if it is anything there.
pub(super) fn of_issuer(table: &Table<'_, '_>) -> Option<IssuerClient> {
    let introspection = table.flag("introspection");
    let endpoint = table.parsed(
        "introspection_endpoint",
        "the https URL of the introspection endpoint",
    );
    let without_sub = table.flag("introspection_client_tokens");
    if !introspection {
        for name in ["introspection_endpoint", "introspection_client_tokens"] {
            if table.get(name).is_some() {
                table.problem(name, "only issuers with introspection = true have this");
            }
        }
    }
    let keys = ["client_authentication", "client_secret_variable"];
    if table.get("client_id").is_none() && !introspection {
        for name in keys {
            if table.get(name).is_some() {
                table.problem(name, "needs client_id: who airside is at this issuer");
            }
        }
        return None;
    }
    let expected = "the client_id of airside at this issuer";
    let client_id = table.required_text("client_id", expected);
    let authentication = authentication(table, Public::Refused);
    Some(IssuerClient {
        client_id: client_id?,
        client_authentication: authentication?,
        introspection: introspection.then_some(Introspection {
            endpoint,
            client_tokens: without_sub,
        }),
    })
}
