//! airside as a client: how it proves itself, and what it is at a token issuer.

use crate::config::preset::{self, Preset};
use crate::config::read::Table;
use crate::config::{AssertionAudience, ClientAuthentication, Introspection, IssuerClient};
use crate::jose::Algorithm;

/// Whether `client_authentication = "none"` will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Public {
    /// A login proves possession of the code by PKCE.
    Allowed,
    /// The client acts for itself (RFC 6749 section 4.4, RFC 7662 section 2.1).
    Refused,
}

const SECRET: &str = "client_secret_variable";
const KEY: &str = "client_key_variable";
const ALGORITHM: &str = "client_assertion_algorithm";
const AUDIENCE: &str = "client_assertion_audience";

/// `client_authentication` with what belongs to it.
pub(super) fn authentication(
    table: &Table<'_, '_>,
    public: Public,
    preset: Option<Preset>,
) -> Option<ClientAuthentication> {
    let methods = match public {
        Public::Allowed => "client_secret_basic, client_secret_post, private_key_jwt or none",
        Public::Refused => "client_secret_basic, client_secret_post or private_key_jwt",
    };
    let method: Option<String> = table.required("client_authentication", methods);
    let secret = table.non_empty(SECRET, "the name of a Spin variable");
    let key = table.non_empty(KEY, "the name of a Spin variable");
    let algorithms = [
        ("ES256", Algorithm::Es256),
        ("EdDSA", Algorithm::EdDsa),
        ("RS256", Algorithm::Rs256),
    ];
    let algorithm = table.word(ALGORITHM, &algorithms);
    let audiences = [
        ("issuer", AssertionAudience::Issuer),
        ("token_endpoint", AssertionAudience::TokenEndpoint),
    ];
    let audience = table.word(AUDIENCE, &audiences);
    let mut needs = None;
    let made = match method.as_deref()? {
        "client_secret_basic" => {
            needs = Some((SECRET, "client secret"));
            secret.map(|variable| ClientAuthentication::ClientSecretBasic { variable })
        }
        "client_secret_post" => {
            needs = Some((SECRET, "client secret"));
            secret.map(|variable| ClientAuthentication::ClientSecretPost { variable })
        }
        "private_key_jwt" => {
            if let Some(reason) = preset.and_then(preset::without_private_key_jwt) {
                table.problem("client_authentication", reason);
            }
            needs = Some((KEY, "client's private key"));
            key.map(|variable| ClientAuthentication::PrivateKeyJwt {
                variable,
                algorithm: algorithm.unwrap_or(Algorithm::Es256),
                audience: audience.unwrap_or(preset::assertion_audience(preset)),
            })
        }
        "none" if public == Public::Allowed => Some(ClientAuthentication::None),
        _ => {
            table.problem("client_authentication", format_args!("expected {methods}"));
            return None;
        }
    };
    if let Some((name, what)) = needs
        && table.get(name).is_none()
    {
        table.problem(
            name,
            format_args!("missing; expected the name of the Spin variable that holds the {what}"),
        );
    }
    let needs = needs.map(|(name, _)| name);
    for (name, belongs_to) in [
        (SECRET, SECRET),
        (KEY, KEY),
        (ALGORITHM, KEY),
        (AUDIENCE, KEY),
    ] {
        if needs != Some(belongs_to) && table.get(name).is_some() {
            table.problem(name, "not used with that client_authentication");
        }
    }
    made
}

/// What airside is at a token issuer, if it is anything there.
pub(super) fn of_issuer(table: &Table<'_, '_>) -> Option<IssuerClient> {
    let introspection = table.flag("introspection");
    let endpoint = table.parsed(
        "introspection_endpoint",
        "the https URL of the introspection endpoint",
    );
    let client_tokens = table.flag("introspection_client_tokens");
    let origins = "origins such as https://login.example";
    let endpoint_origins = table.list("endpoint_origins", origins, Vec::new);
    if !introspection {
        for name in ["introspection_endpoint", "introspection_client_tokens"] {
            if table.get(name).is_some() {
                table.problem(name, "only issuers with introspection = true have this");
            }
        }
    }
    if table.get("client_id").is_none() && !introspection {
        let keys = ["client_authentication", SECRET, KEY, ALGORITHM, AUDIENCE];
        for name in keys.into_iter().chain(["endpoint_origins"]) {
            if table.get(name).is_some() {
                table.problem(name, "needs client_id: who airside is at this issuer");
            }
        }
        return None;
    }
    let expected = "the client_id of airside at this issuer";
    let client_id = table.required_text("client_id", expected);
    let authentication = authentication(table, Public::Refused, None);
    Some(IssuerClient {
        client_id: client_id?,
        client_authentication: authentication?,
        introspection: introspection.then_some(Introspection {
            endpoint,
            client_tokens,
        }),
        endpoint_origins,
    })
}
