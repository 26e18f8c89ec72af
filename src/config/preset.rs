//! What is peculiar to providers that many people use. A preset changes defaults and finds
//! mistakes; it never weakens a check. `docs/providers.md` says where each fact is from.

use crate::config::AssertionAudience;
use crate::config::read::Table;
use crate::url::{Issuer, Origin};

/// A provider known by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preset {
    Auth0,
    Cognito,
    Entra,
    Google,
    Keycloak,
    Logto,
    Okta,
}

const WORDS: [(&str, Option<Preset>); 8] = [
    ("auth0", Some(Preset::Auth0)),
    ("cognito", Some(Preset::Cognito)),
    ("entra", Some(Preset::Entra)),
    // Known, so that it can be refused with a reason.
    ("github", None),
    ("google", Some(Preset::Google)),
    ("keycloak", Some(Preset::Keycloak)),
    ("logto", Some(Preset::Logto)),
    ("okta", Some(Preset::Okta)),
];

const GOOGLE: &str = "https://accounts.google.com";

/// Reads `preset` and judges `issuer`, `audience` and `resource` by it.
pub(super) fn read(table: &Table<'_, '_>, issuer: Option<&Issuer>) -> Option<Preset> {
    let word = table.word("preset", &WORDS);
    let host = issuer.map(|issuer| issuer.url().origin().authority());
    if word == Some(None) || host == Some("github.com") {
        let key = if word == Some(None) {
            "preset"
        } else {
            "issuer"
        };
        table.problem(
            key,
            "GitHub issues no ID token, so that nobody can be logged in with it by OpenID \
             Connect: expected a provider that does, which may itself offer GitHub to people",
        );
    }
    let preset = word.flatten()?;
    if let Some(issuer) = issuer
        && !issuer_fits(preset, issuer.as_str())
    {
        table.problem("issuer", format_args!("expected {}", issuer_form(preset)));
    }
    let (refused, reason) = needless(preset);
    for key in refused {
        if table.get(key).is_some() {
            table.problem(key, reason);
        }
    }
    Some(preset)
}

/// Reads `preset` of a token issuer and judges `issuer` by it.
pub(super) fn of_issuer(table: &Table<'_, '_>, issuer: Option<&Issuer>) -> Option<Preset> {
    let words = [
        ("auth0", Preset::Auth0),
        ("cognito", Preset::Cognito),
        ("entra", Preset::Entra),
        ("keycloak", Preset::Keycloak),
        ("logto", Preset::Logto),
        ("okta", Preset::Okta),
    ];
    let preset = table.word("preset", &words)?;
    if let Some(issuer) = issuer
        && !issuer_fits(preset, issuer.as_str())
        && !(preset == Preset::Entra && is_entra_v1(issuer.as_str()))
    {
        table.problem("issuer", format_args!("expected {}", issuer_form(preset)));
    }
    Some(preset)
}

/// The issuer of access tokens of an API that is registered for version 1.
fn is_entra_v1(issuer: &str) -> bool {
    let tenant = issuer.strip_prefix("https://sts.windows.net/");
    tenant
        .and_then(|tenant| tenant.strip_suffix('/'))
        .is_some_and(is_guid)
}

fn issuer_fits(preset: Preset, issuer: &str) -> bool {
    let segments: Vec<&str> = issuer.split('/').skip(2).collect();
    match (preset, segments.as_slice()) {
        // The slash at the end is part of the name, and left out by most people.
        (Preset::Auth0, [host, ""]) => !host.is_empty(),
        (Preset::Cognito, [host, pool]) => {
            host.starts_with("cognito-idp.")
                && (host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn"))
                && pool.contains('_')
        }
        // `common`, `organizations` and `consumers` are no issuers: tokens name the tenant.
        (Preset::Entra, [_, tenant, "v2.0"]) => is_guid(tenant),
        (Preset::Google, _) => issuer == GOOGLE,
        (Preset::Keycloak, [_, path @ .., "realms", realm]) => {
            !realm.is_empty() && !path.contains(&"")
        }
        (Preset::Logto, [_, "oidc"]) => true,
        (Preset::Okta, [_] | [_, "oauth2", _]) => !issuer.ends_with('/'),
        _ => false,
    }
}

fn is_guid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

fn issuer_form(preset: Preset) -> &'static str {
    match preset {
        Preset::Auth0 => "https://<tenant>/ with the slash at its end, as Auth0 writes it",
        Preset::Cognito => "https://cognito-idp.<region>.amazonaws.com/<user pool id>",
        Preset::Entra => {
            "https://login.microsoftonline.com/<tenant id, a GUID>/v2.0: tokens name the tenant, \
             never common, organizations or consumers"
        }
        Preset::Google => GOOGLE,
        Preset::Keycloak => "https://<host>/realms/<realm>, without a slash at its end",
        Preset::Logto => "https://<tenant>/oidc",
        Preset::Okta => {
            "https://<org> or https://<org>/oauth2/<server id>, without a slash at its end"
        }
    }
}

/// Keys that do not work there, and what to do instead.
fn needless(preset: Preset) -> (&'static [&'static str], &'static str) {
    match preset {
        Preset::Entra => (
            &["audience", "resource"],
            "not understood by Entra ID: the scopes choose the API, expected one such as \
             api://<application id>/<scope> among them",
        ),
        Preset::Google => (
            &["audience", "resource"],
            "not understood by Google, whose access tokens are for Google's own APIs only",
        ),
        Preset::Logto => (
            &["audience"],
            "not understood by Logto: expected resource = [\"<the API's identifier>\"]",
        ),
        Preset::Auth0 | Preset::Cognito | Preset::Keycloak | Preset::Okta => (&[], ""),
    }
}

/// How a provider is asked for a refresh token.
pub(super) struct Offline {
    /// By the scope `offline_access`.
    pub(super) scope: bool,
    /// By this parameter.
    pub(super) parameter: Option<(&'static str, &'static str)>,
    /// With `prompt=consent`, which it does not give one without.
    pub(super) consent: bool,
}

/// How each is asked.
pub(super) fn offline(preset: Option<Preset>) -> Offline {
    let (scope, parameter, consent) = match preset {
        // OpenID Connect Core section 11.
        None | Some(Preset::Logto) => (true, None, true),
        Some(Preset::Auth0 | Preset::Entra | Preset::Okta) => (true, None, false),
        // They give one anyway. Keycloak's offline_access is for when the person is not there.
        Some(Preset::Cognito | Preset::Keycloak) => (false, None, false),
        Some(Preset::Google) => (false, Some(("access_type", "offline")), true),
    };
    Offline {
        scope,
        parameter,
        consent,
    }
}

/// Why clients cannot authenticate with `private_key_jwt` there, if they cannot.
pub(super) fn without_private_key_jwt(preset: Preset) -> Option<&'static str> {
    match preset {
        Preset::Cognito | Preset::Google => {
            Some("not understood there: expected client_secret_basic or client_secret_post")
        }
        Preset::Entra => Some(
            "Entra ID wants the thumbprint of a certificate in the assertion, which is not built: \
             expected client_secret_basic or client_secret_post",
        ),
        Preset::Auth0 | Preset::Keycloak | Preset::Logto | Preset::Okta => None,
    }
}

/// Whom client assertions are for, unless the configuration says.
pub(super) fn assertion_audience(preset: Option<Preset>) -> AssertionAudience {
    match preset {
        Some(Preset::Okta) => AssertionAudience::TokenEndpoint,
        _ => AssertionAudience::Issuer,
    }
}

/// Where endpoints are that are not at the issuer's own origin, as far as it is known.
pub(super) fn endpoint_origins(preset: Option<Preset>) -> Vec<Origin> {
    let origins: &[&str] = match preset {
        Some(Preset::Entra) => &["https://graph.microsoft.com"],
        Some(Preset::Google) => &[
            "https://oauth2.googleapis.com",
            "https://openidconnect.googleapis.com",
            "https://www.googleapis.com",
        ],
        _ => &[],
    };
    origins
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect()
}

/// True for an issuer whose access tokens nobody but itself can read.
pub(super) fn has_no_access_tokens(issuer: &Issuer) -> bool {
    issuer.as_str() == GOOGLE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_preset_knows_the_form_of_its_issuer() {
        let cases: [(Preset, &[&str], &[&str]); 7] = [
            (
                Preset::Auth0,
                &["https://acme.eu.auth0.com/", "https://login.acme.example/"],
                &["https://acme.eu.auth0.com", "https://acme.eu.auth0.com/x/"],
            ),
            (
                Preset::Cognito,
                &["https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbC123"],
                &[
                    "https://acme.auth.eu-west-1.amazoncognito.com",
                    "https://cognito-idp.eu-west-1.amazonaws.com/",
                    "https://cognito-idp.eu-west-1.amazonaws.com.evil.example/eu-west-1_A",
                ],
            ),
            (
                Preset::Entra,
                &["https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0"],
                &[
                    "https://login.microsoftonline.com/common/v2.0",
                    "https://login.microsoftonline.com/organizations/v2.0",
                    "https://sts.windows.net/72f988bf-86f1-41af-91ab-2d7cd011db47/",
                    "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47",
                ],
            ),
            (Preset::Google, &[GOOGLE], &["https://accounts.google.com/"]),
            (
                Preset::Keycloak,
                &[
                    "https://sso.acme.example/realms/staff",
                    "https://sso.acme.example/auth/realms/staff",
                ],
                &[
                    "https://sso.acme.example/realms/staff/",
                    "https://sso.acme.example/staff",
                ],
            ),
            (
                Preset::Logto,
                &["https://acme.logto.app/oidc"],
                &["https://acme.logto.app/", "https://acme.logto.app/oidc/"],
            ),
            (
                Preset::Okta,
                &[
                    "https://acme.okta.com",
                    "https://acme.okta.com/oauth2/default",
                ],
                &[
                    "https://acme.okta.com/",
                    "https://acme.okta.com/oauth2/default/",
                ],
            ),
        ];
        for (preset, good, bad) in cases {
            for issuer in good {
                assert!(issuer_fits(preset, issuer), "{issuer}");
            }
            for issuer in bad {
                assert!(!issuer_fits(preset, issuer), "{issuer}");
            }
        }
    }
}
