//! The keys of a provider that say how to log in there and who may come in.

use crate::config::preset::{self, Preset};
use crate::config::read::Table;
use crate::config::{LoginRequest, Logout, Provider, Push, ResponseIss};
use crate::oauth::authorization::{Prompt, RESERVED_PARAMETERS};
use crate::oidc::requirements::Requirements;
use crate::time::Lifetime;

/// The path of the `redirect_uri` that providers may share.
const SHARED: &str = "/auth/callback";

/// Where the provider sends the browser back, and whether it must say who it is.
pub(super) fn callback(name: &str, table: &Table<'_, '_>, several: bool) -> (String, ResponseIss) {
    let words = [
        ("required", ResponseIss::Required),
        ("when_advertised", ResponseIss::WhenAdvertised),
    ];
    let response_iss = table
        .word("authorization_response_iss", &words)
        .unwrap_or(ResponseIss::WhenAdvertised);
    let own = table
        .word("callback", &[("own", true), ("shared", false)])
        .unwrap_or(several);
    let path = if own {
        format!("{SHARED}/{name}")
    } else {
        SHARED.to_owned()
    };
    (path, response_iss)
}

/// Refuses two providers at one `redirect_uri` unless each says in `iss` who it is: else a
/// dishonest one gets at the codes of the other (RFC 9700 section 4.4.2).
pub(super) fn sharing(tables: &[(String, Table<'_, '_>)], providers: &[Provider]) {
    let sharing = |provider: &&Provider| provider.callback_path == SHARED;
    if providers.iter().filter(sharing).count() < 2 {
        return;
    }
    for provider in providers.iter().filter(sharing) {
        let table = tables.iter().find(|(name, _)| *name == provider.name);
        if let Some((_, table)) = table
            && provider.response_iss != ResponseIss::Required
        {
            table.problem(
                "callback",
                "/auth/callback is shared with another provider: expected \
                 authorization_response_iss = \"required\" (where its metadata says \
                 authorization_response_iss_parameter_supported), or callback = \"own\"",
            );
        }
    }
}

/// What the authorization request asks for.
pub(super) fn request(table: &Table<'_, '_>) -> LoginRequest {
    let (acr_values, max_age) = authentication(table);
    let prompts = [Prompt::Consent, Prompt::Login, Prompt::SelectAccount];
    let prompt = table.word("prompt", &prompts.map(|prompt| (prompt.as_str(), prompt)));
    let extra = table.strings("authorization_parameters", |name| {
        RESERVED_PARAMETERS
            .contains(&name)
            .then_some("is airside's own parameter: expected others")
    });
    LoginRequest {
        consent: false,
        acr_values,
        max_age,
        prompt,
        extra,
    }
}

/// Whether refresh tokens are wanted: asks for them, in the provider's own way, by `scopes` and
/// `request`.
pub(super) fn refresh(
    table: &Table<'_, '_>,
    preset: Option<Preset>,
    scopes: &mut Vec<String>,
    request: &mut LoginRequest,
) -> bool {
    const OFFLINE: &str = "offline_access";
    let refresh = table.flag("refresh");
    let asking = preset::offline(preset);
    let consent = table
        .word("refresh_consent", &[("always", true), ("never", false)])
        .unwrap_or(asking.consent);
    let has_scope = scopes.iter().any(|scope| scope == OFFLINE);
    if !refresh {
        if has_scope {
            table.problem("scopes", "offline_access is asked for by refresh = true");
        }
        if table.get("refresh_consent").is_some() {
            table.problem("refresh_consent", "needs refresh = true");
        }
        return false;
    }
    request.consent = consent;
    if asking.scope && !has_scope {
        scopes.push(OFFLINE.to_owned());
    }
    if let Some((name, value)) = asking.parameter
        && !request.extra.iter().any(|(known, _)| known == name)
    {
        request.extra.push((name.to_owned(), value.to_owned()));
    }
    true
}

/// When authorization requests are pushed.
pub(super) fn push(table: &Table<'_, '_>) -> Push {
    let words = [
        ("always", Push::Always),
        ("never", Push::Never),
        ("when_required", Push::WhenRequired),
    ];
    let word = table.word("pushed_authorization_requests", &words);
    word.unwrap_or(Push::WhenRequired)
}

/// `acr_values` and `max_age_seconds`, of a provider or of a route.
pub(super) fn authentication(table: &Table<'_, '_>) -> (Vec<String>, Option<Lifetime>) {
    const YEAR: u64 = 366 * 24 * 3_600;
    let acr_values: Vec<String> = table.list("acr_values", "acr values", Vec::new);
    if acr_values
        .iter()
        .any(|acr| acr.is_empty() || acr.contains(char::is_whitespace))
    {
        table.problem("acr_values", "expected acr values without spaces");
    }
    let max_age = table.get("max_age_seconds").map(|_| {
        let seconds = table.number("max_age_seconds", 0..YEAR, 0);
        Lifetime::from_secs(seconds)
    });
    (acr_values, max_age)
}

/// What an account must have.
pub(super) fn requirements(table: &Table<'_, '_>) -> Requirements {
    Requirements {
        essential_claims: table.list("essential_claims", "claim names", Vec::new),
        verified_email: table.flag("require_verified_email"),
        email_domains: table.list(
            "email_domains",
            "domains such as example.com (itself) or *.example.com (below it)",
            Vec::new,
        ),
    }
}

/// How the provider's session is ended.
pub(super) fn logout(table: &Table<'_, '_>, preset: Option<Preset>) -> Logout {
    let words = [
        ("cognito", Logout::Cognito),
        ("none", Logout::None),
        ("oidc", Logout::Oidc),
    ];
    let default = match preset {
        Some(Preset::Cognito) => Logout::Cognito,
        Some(Preset::Google) => Logout::None,
        _ => Logout::Oidc,
    };
    table.word("logout", &words).unwrap_or(default)
}
