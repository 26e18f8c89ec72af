//! The entries of the configuration but the routes: session, providers, issuers, upstreams.

use crate::config::client::{self, Public};
use crate::config::credential::{self, Credential};
use crate::config::read::Table;
use crate::config::{
    IdTokenHint, IssuerClient, Logout, Provider, TokenIssuer, Upstream, login, preset, proxying,
    shape,
};
use crate::jose::Algorithm;
use crate::session::cookie::MAX_CHUNKS;
use crate::session::{Place, SessionLimits};
use crate::time::{Leeway, Lifetime};
use crate::url::{Issuer, Origin, UrlError};

pub(super) fn session(root: &Table<'_, '_>, dangers: &mut Vec<String>) -> SessionLimits {
    // Eight hours without a request and a day in all: a working day fits, a stolen laptop less so.
    const IDLE: u64 = 8 * 3_600;
    const ABSOLUTE: u64 = 24 * 3_600;
    const YEAR: u64 = 366 * 24 * 3_600;
    let mut limits = SessionLimits {
        idle: Lifetime::from_secs(IDLE),
        absolute: Lifetime::from_secs(ABSOLUTE),
        max_chunks: 2,
        place: Place::Cookie,
        spill: false,
        skip_revocation: false,
    };
    let Some(value) = root.get("session") else {
        return limits;
    };
    let Some(table) = value.get_ref().as_table() else {
        root.problem("session", "expected a table");
        return limits;
    };
    let table = Table::new(
        "session".to_owned(),
        value.span().start,
        table,
        root.problems,
    );
    let before = table.problems.count();
    limits.idle = Lifetime::from_secs(table.number("idle_seconds", 60..YEAR, IDLE));
    limits.absolute = Lifetime::from_secs(table.number("absolute_seconds", 60..YEAR, ABSOLUTE));
    // Where one of them is no number, that is problem enough.
    if limits.idle > limits.absolute && table.problems.count() == before {
        table.problem("idle_seconds", "expected at most absolute_seconds");
    }
    limits.max_chunks = table.number("max_chunks", 1..MAX_CHUNKS as u64 + 1, 2) as usize;
    let stores = [("cookie", Place::Cookie), ("key-value", Place::KeyValue)];
    limits.place = table.word("store", &stores).unwrap_or(Place::Cookie);
    limits.spill = table.flag("spill");
    limits.skip_revocation = table.danger("danger_skip_revocation", dangers);
    table.finish();
    limits
}

fn leeway(table: &Table<'_, '_>) -> Leeway {
    Leeway::from_secs(table.number("leeway_seconds", 0..301, 60))
}

fn algorithms(table: &Table<'_, '_>, name: &'static str) -> Vec<Algorithm> {
    let expected = "EdDSA, ES256, ES384, PS256 or RS256";
    let list = table.list(name, expected, || Algorithm::DEFAULT.to_vec());
    if table
        .get(name)
        .is_some_and(|value| value.get_ref().as_array().is_some_and(|a| a.is_empty()))
    {
        table.problem(name, "expected at least one algorithm");
    }
    list
}

pub(super) fn provider(name: &str, table: &Table<'_, '_>, several: bool) -> Option<Provider> {
    let issuer: Option<Issuer> = table.required(
        "issuer",
        "the provider's issuer, exactly as in its discovery document",
    );
    let preset = preset::read(table, issuer.as_ref());
    let client_id = table.required_text("client_id", "the client_id registered at the provider");
    let client_authentication = client::authentication(table, Public::Allowed, preset);
    let scope_list = || {
        vec![
            "openid".to_owned(),
            "profile".to_owned(),
            "email".to_owned(),
        ]
    };
    let mut scopes: Vec<String> = table.list("scopes", "scope names", scope_list);
    if !scopes.iter().any(|scope| scope == "openid") {
        table.problem(
            "scopes",
            "expected \"openid\" among them: without it there is no ID token",
        );
    }
    if !scopes.iter().all(|scope| is_scope(scope)) {
        table.problem(
            "scopes",
            "expected scope names without spaces, quotes or backslashes",
        );
    }
    let audience = table.non_empty("audience", "the API's identifier");
    let resource = resources(table, "resource");
    let id_token_algorithms = algorithms(table, "id_token_algorithms");
    let additional_audiences = table.list("additional_audiences", "audiences", Vec::new);
    let claims = table.list("claims", "claim names", || {
        ["name", "email", "email_verified", "preferred_username"]
            .map(str::to_owned)
            .to_vec()
    });
    let leeway = leeway(table);
    let words = [
        ("always", IdTokenHint::Always),
        ("never", IdTokenHint::Never),
        ("when_it_fits", IdTokenHint::WhenItFits),
    ];
    let hint = table.word("id_token_hint", &words);
    let logout = login::logout(table, preset);
    let (callback_path, response_iss) = login::callback(name, table, several);
    let mut request = login::request(table);
    let refresh = login::refresh(table, preset, &mut scopes, &mut request);
    let pushed_authorization_requests = login::push(table);
    let requirements = login::requirements(table);
    let userinfo = table.flag("userinfo");
    let title = table.non_empty("title", "a name that people know it by");
    let endpoint_origins = table.list(
        "endpoint_origins",
        "origins such as https://login.example",
        || preset::endpoint_origins(preset),
    );
    table.finish();
    Some(Provider {
        name: name.to_owned(),
        title: title.unwrap_or_else(|| name.to_owned()),
        callback_path,
        response_iss,
        request,
        requirements,
        pushed_authorization_requests,
        refresh,
        userinfo,
        logout,
        endpoint_origins,
        issuer: issuer?,
        client_id: client_id?,
        client_authentication: client_authentication?,
        scopes,
        audience,
        resource,
        id_token_algorithms,
        additional_audiences,
        claims,
        leeway,
        // The other kinds of logout have no use for it.
        id_token_hint: match logout {
            Logout::Oidc => hint.unwrap_or(IdTokenHint::Always),
            Logout::Cognito | Logout::None => IdTokenHint::Never,
        },
    })
}

/// A list of `resource` values (RFC 8707 section 2).
pub(super) fn resources(table: &Table<'_, '_>, name: &'static str) -> Vec<String> {
    let list: Vec<String> = table.list(name, "absolute URIs (RFC 8707)", Vec::new);
    if list
        .iter()
        .any(|uri| uri.contains('#') || !uri.contains(':'))
    {
        table.problem(name, "expected absolute URIs without fragment (RFC 8707)");
    }
    list
}

/// RFC 6749 section 3.3: `scope-token`.
pub(super) fn is_scope(scope: &str) -> bool {
    !scope.is_empty()
        && scope
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
}

pub(super) fn issuer(
    name: String,
    table: &Table<'_, '_>,
    dangers: &mut Vec<String>,
) -> Option<(TokenIssuer, Option<IssuerClient>)> {
    let issuer: Option<Issuer> =
        table.required("issuer", "the issuer, exactly as in its access tokens");
    if issuer.as_ref().is_some_and(preset::has_no_access_tokens) {
        table.problem(
            "issuer",
            "Google's access tokens are opaque and for Google's own APIs: expected another issuer",
        );
    }
    let algorithms = algorithms(table, "algorithms");
    let danger_any_typ = table.danger("danger_any_typ", dangers);
    let leeway = leeway(table);
    let client = client::of_issuer(table);
    let shape = shape::read(table, issuer.as_ref(), danger_any_typ);
    table.finish();
    let issuer = TokenIssuer {
        name,
        issuer: issuer?,
        algorithms,
        danger_any_typ,
        leeway,
        shape,
        claim_rules: Vec::new(),
    };
    Some((issuer, client))
}

pub(super) fn upstream(
    name: String,
    table: &Table<'_, '_>,
    issuers: &[(&str, bool)],
    dangers: &mut Vec<String>,
) -> Option<Upstream> {
    let plaintext = table.danger("danger_plaintext", dangers);
    let expected = "an origin such as https://invoices.internal.example";
    let text = table.required_text("url", expected);
    let origin = text.and_then(|text| {
        let parsed = if plaintext {
            Origin::parse_plaintext(&text)
        } else {
            text.parse()
        };
        parsed
            .map_err(|error| {
                let hint = match error {
                    UrlError::Insecure => {
                        "; plain http to another machine needs danger_plaintext = true"
                    }
                    _ => "",
                };
                table.problem("url", format_args!("expected {expected}: {error}{hint}"));
            })
            .ok()
    });
    let seconds = |name, default| Lifetime::from_secs(table.number(name, 1..3_601, default));
    let connect_timeout = seconds("connect_timeout_seconds", 5);
    let first_byte_timeout = seconds("first_byte_timeout_seconds", 60);
    let between_bytes_timeout = seconds("between_bytes_timeout_seconds", 60);
    let credential = credential::read(table, issuers);
    let plaintext_credential = table.danger("danger_plaintext_credential", dangers);
    let exposed = |origin: &Origin| origin.as_str().parse::<Origin>().is_err();
    if credential != Credential::None
        && !plaintext_credential
        && origin.as_ref().is_some_and(exposed)
    {
        table.problem(
            "credential",
            "a token over plain http to another machine needs danger_plaintext_credential = true",
        );
    }
    let identity_headers = proxying::identity_headers(table);
    let assertion = proxying::assertion(table, origin.as_ref());
    table.finish();
    Some(Upstream {
        name,
        origin: origin?,
        connect_timeout,
        first_byte_timeout,
        between_bytes_timeout,
        credential,
        identity_headers,
        assertion,
    })
}
