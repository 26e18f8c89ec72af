//! The `[[routes]]` of the configuration, and what must not be said with them.

use http::Method;

use crate::config::entries::is_scope;
use crate::config::proxying;
use crate::config::read::Table;
use crate::policy::{Access, CheckedPath, Match, Matcher, Route, TokenRule};
use crate::url::PathPattern;

/// What routes may refer to.
pub(super) struct Names<'c> {
    pub(super) issuers: Vec<&'c str>,
    /// Issuers whose access tokens name the client where others have `aud`.
    pub(super) addressed_to_clients: Vec<&'c str>,
    pub(super) upstreams: Vec<&'c str>,
    /// Those that are shown a credential made from the caller's access token.
    pub(super) token_upstreams: Vec<&'c str>,
    pub(super) client_ids: Vec<&'c str>,
    pub(super) has_provider: bool,
}

pub(super) fn routes(root: &Table<'_, '_>, names: &Names<'_>) -> Vec<Route> {
    let tables = root.tables("routes");
    if tables.is_empty() {
        root.problem("routes", "missing; expected at least one [[routes]]");
    }
    let mut routes: Vec<(Route, usize, String)> = Vec::new();
    for table in &tables {
        if let Some(route) = route(table, names) {
            routes.push((route, table.start, table.path.clone()));
        }
    }
    overlaps(root, &routes);
    slash_twins(root, &routes);
    routes.into_iter().map(|(route, _, _)| route).collect()
}

fn route(table: &Table<'_, '_>, names: &Names<'_>) -> Option<Route> {
    let expected = "a path such as /invoices (exactly this one) or /api/* (whole segments below)";
    let path: Option<PathPattern> = table.required("path", expected);
    if let Some(path) = &path {
        let reserved = |of: &str| path.base == of || path.base.starts_with(&format!("{of}/"));
        if reserved("/auth") || reserved("/.well-known/spin") {
            table.problem(
                "path",
                "/auth and /.well-known/spin are taken: expected another path",
            );
        }
    }
    let methods = table.get("methods").map(|_| {
        let list: Vec<Method> = table.list("methods", "methods such as \"GET\"", Vec::new);
        if list.is_empty()
            || list
                .iter()
                .any(|m| m.as_str().bytes().any(|b| b.is_ascii_lowercase()))
        {
            table.problem("methods", "expected at least one method, in capitals");
        }
        list
    });
    let access: Option<String> = table.required("access", "public, login or token");
    let access = match access.as_deref() {
        Some("public") => Some(Access::Public),
        Some("login") => {
            if !names.has_provider {
                table.problem(
                    "access",
                    "needs a provider to log in with: [providers.<name>]",
                );
            }
            Some(Access::Login)
        }
        Some("token") => token_rule(table, names).map(Access::Token),
        Some(_) => {
            table.problem("access", "expected public, login or token");
            None
        }
        None => None,
    };
    if !matches!(access, Some(Access::Token(_)) | None) {
        for name in ["issuer", "audience", "scopes"] {
            if table.get(name).is_some() {
                table.problem(name, "only routes with access = \"token\" have this");
            }
        }
    }
    let upstream = reference(table, "upstream", &names.upstreams);
    let name = upstream.and_then(|index| names.upstreams.get(index));
    if matches!(access, Some(Access::Login))
        && name.is_some_and(|name| names.token_upstreams.contains(name))
    {
        table.problem(
            "upstream",
            "its credential is made from an access token that was checked, and login routes \
             check none: expected access = \"token\", or another upstream",
        );
    }
    let proxying = proxying::route(table, path.as_ref());
    table.finish();
    Some(Route {
        path: path?,
        methods,
        access: access?,
        upstream: upstream?,
        proxying,
    })
}

fn token_rule(table: &Table<'_, '_>, names: &Names<'_>) -> Option<TokenRule> {
    let issuer = reference(table, "issuer", &names.issuers);
    let audience = table.required_text(
        "audience",
        "the API's own identifier, as in the tokens' aud",
    );
    let issuer_name = issuer.and_then(|index| names.issuers.get(index));
    let names_client = issuer_name.is_some_and(|name| names.addressed_to_clients.contains(name));
    if let Some(audience) = &audience
        && names.client_ids.contains(&audience.as_str())
        && !names_client
    {
        // The idea everything serves: the two checks never share an audience. Where `client_id`
        // stands for `aud`, they do not either: a token with `aud` is refused there.
        table.problem("audience", "is a client_id: then an ID token would open this API. Expected the API's own identifier");
    }
    let scopes: Vec<String> = table.list("scopes", "scope names", Vec::new);
    if !scopes.iter().all(|scope| is_scope(scope)) {
        table.problem(
            "scopes",
            "expected scope names without spaces, quotes or backslashes",
        );
    }
    Some(TokenRule {
        issuer: issuer?,
        audience: audience?,
        scopes,
    })
}

/// The index of the entry that `key` names.
fn reference(table: &Table<'_, '_>, key: &'static str, names: &[&str]) -> Option<usize> {
    let expected = format!("one of the {key}s: {}", names.join(", "));
    let name = table.required_text(key, &expected)?;
    let found = names.iter().position(|known| *known == name);
    if found.is_none() {
        table.problem(key, format_args!("expected {expected}"));
    }
    found
}

/// Refuses the same path and method twice. Sorted by path, so that ten thousand routes do not
/// have to be compared with each other.
fn overlaps(root: &Table<'_, '_>, routes: &[(Route, usize, String)]) {
    let mut sorted: Vec<&(Route, usize, String)> = routes.iter().collect();
    sorted.sort_by(|(a, ..), (b, ..)| {
        (&a.path.base, a.path.prefix).cmp(&(&b.path.base, b.path.prefix))
    });
    for same in sorted.chunk_by(|(a, ..), (b, ..)| a.path == b.path) {
        for (index, (route, start, path)) in same.iter().enumerate() {
            let mut earlier = same.iter().take(index);
            if let Some((_, _, other)) = earlier.find(|(other, ..)| overlap(route, other)) {
                let text = format!("overlaps {other}: the same path and method twice");
                root.problems.add(*start, path.clone(), text);
            }
        }
    }
}

fn overlap(a: &Route, b: &Route) -> bool {
    a.path == b.path
        && match (&a.methods, &b.methods) {
            (Some(a), Some(b)) => a.iter().any(|method| b.contains(method)),
            _ => true,
        }
}

/// Refuses an exact path whose twin with a trailing slash asks for less: most upstreams
/// answer both alike.
fn slash_twins(root: &Table<'_, '_>, routes: &[(Route, usize, String)]) {
    let all: Vec<Route> = routes.iter().map(|(route, _, _)| route.clone()).collect();
    let matcher = Matcher::new(&all);
    // A route for every method is tried with each method that any route names.
    let mut named: Vec<Method> = all
        .iter()
        .flat_map(|route| route.methods.iter().flatten().cloned())
        .chain([Method::GET])
        .collect();
    named.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    named.dedup();
    for (route, start, path) in routes {
        if route.path.prefix || route.path.base == "/" {
            continue;
        }
        let twin = match route.path.base.strip_suffix('/') {
            Some(without) => without.to_owned(),
            None => format!("{}/", route.path.base),
        };
        let Ok(checked) = CheckedPath::parse(&twin) else {
            continue;
        };
        let methods = route.methods.clone().unwrap_or_else(|| named.clone());
        let weaker = methods
            .iter()
            .any(|method| match matcher.find(&all, &checked, method) {
                Match::Route(other) => all
                    .get(other)
                    .is_some_and(|other| other.access.strength() < route.access.strength()),
                Match::OtherMethods(_) | Match::None => false,
            });
        if weaker {
            let text = format!(
                "{twin} would be open to more: expected a route for it too, or {}/*",
                route.path.base.trim_end_matches('/')
            );
            root.problems.add(*start, path.clone(), text);
        }
    }
}
