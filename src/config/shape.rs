//! The keys of an issuer that say what its access tokens look like, and what its `preset` sets.

use crate::config::preset::{self, Preset};
use crate::config::read::Table;
use crate::oauth::access_token::{AudienceClaim, ScopeClaim, TokenShape};
use crate::url::Issuer;

/// Reads the shape of access tokens. A preset is a starting point; each key beside it counts.
pub(super) fn read(table: &Table<'_, '_>, issuer: Option<&Issuer>, any_typ: bool) -> TokenShape {
    let mut shape = match preset::of_issuer(table, issuer) {
        Some(preset) => of_preset(preset),
        None => TokenShape::default(),
    };
    if any_typ && let Some((name, _)) = shape.kind {
        let text = format_args!("not needed: the preset tells access tokens by their claim {name}");
        table.problem("danger_any_typ", text);
    }
    let words = [
        ("aud", AudienceClaim::Aud),
        ("client_id", AudienceClaim::ClientId),
    ];
    shape.audience = table
        .word("audience_claim", &words)
        .unwrap_or(shape.audience);
    let names = ["appid", "azp", "cid", "client_id"];
    if let Some(name) = table.word("client_id_claim", &names.map(|name| (name, name))) {
        shape.client_id = vec![name];
    }
    let words = [("scope", ScopeClaim::Scope), ("scp", ScopeClaim::Scp)];
    shape.scope = table.word("scope_claim", &words).unwrap_or(shape.scope);
    shape.required = table.strings("required_claims", |name| {
        ["aud", "exp", "iat", "iss", "nbf"]
            .contains(&name)
            .then_some("is checked anyway: expected other claims")
    });
    let wanted = |name: &str| shape.required.iter().find(|(known, _)| known == name);
    // What the preset knows is not to be contradicted.
    if let Some((name, values)) = shape.kind
        && let Some((_, value)) = wanted(name)
        && !values.contains(&value.as_str())
    {
        table.problem(
            "required_claims",
            format_args!("{name} of an access token is {} there", values.join(" or ")),
        );
    }
    let is_access = |(_, value): &(String, String)| value == "access";
    let told = shape.kind.is_some_and(|(name, _)| name == "token_use")
        || wanted("token_use").is_some_and(is_access);
    if shape.audience == AudienceClaim::ClientId && !told {
        // Both kinds of token would name the client; the issuer must say which one it is.
        table.problem(
            "audience_claim",
            "\"client_id\" needs required_claims = { token_use = \"access\" }: nothing else would \
             keep ID tokens out (preset = \"cognito\" has it)",
        );
    }
    shape
}

fn of_preset(preset: Preset) -> TokenShape {
    let standard = TokenShape::default();
    match preset {
        // `azp`, or `client_id` where the API has the RFC 9068 profile.
        Preset::Auth0 => TokenShape {
            client_id: vec!["client_id", "azp"],
            ..standard
        },
        Preset::Cognito => TokenShape {
            audience: AudienceClaim::ClientId,
            kind: Some(("token_use", &["access"])),
            ..standard
        },
        // Version 2 and version 1.
        Preset::Entra => TokenShape {
            client_id: vec!["azp", "appid"],
            scope: ScopeClaim::Scp,
            ..standard
        },
        Preset::Keycloak => TokenShape {
            client_id: vec!["client_id", "azp"],
            kind: Some(("typ", &["Bearer", "DPoP"])),
            ..standard
        },
        Preset::Okta => TokenShape {
            client_id: vec!["cid"],
            scope: ScopeClaim::Scp,
            ..standard
        },
        Preset::Google | Preset::Logto => standard,
    }
}
