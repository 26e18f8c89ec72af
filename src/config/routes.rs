//! The `[[routes]]` of the configuration, and what must not be said with them.

use http::Method;

use crate::config::claims;
use crate::config::entries::is_scope;
use crate::config::read::{Problems, Table};
use crate::config::table::RouteTable;
use crate::config::toml::{Spanned, Value};
use crate::config::{Config, Provider, TokenIssuer, Upstream, proxying, resource, toml};
use crate::oauth::access_token::{AudienceClaim, ClaimRule};
use crate::oauth::protected_resource::ProtectedResource;
use crate::policy::{Access, CheckedPath, Matcher, Patterns, Route, TokenRule};
use crate::url::{Origin, PathPattern};

/// What routes may refer to. All but `client_ids` in order.
#[derive(Clone)]
pub(super) struct Names<'c> {
    pub(super) public_url: Option<&'c Origin>,
    pub(super) issuers: Vec<&'c str>,
    /// What `issuers` are called in tokens.
    pub(super) issuer_urls: Vec<&'c str>,
    /// Issuers whose access tokens name the client where others have `aud`.
    pub(super) addressed_to_clients: Vec<&'c str>,
    pub(super) upstreams: Vec<&'c str>,
    /// Those that are shown a credential made from the caller's access token.
    pub(super) token_upstreams: Vec<&'c str>,
    pub(super) client_ids: Vec<&'c str>,
    pub(super) has_provider: bool,
}

impl<'c> Names<'c> {
    /// Those of a configuration that is right.
    pub(super) fn of(config: &'c Config) -> Self {
        let issuers = config.issuers.iter();
        let upstreams = config.upstreams.iter();
        Names::new(
            Some(&config.public_url),
            issuers.map(|issuer| (issuer.name.as_str(), Some(issuer))),
            upstreams.map(|upstream| (upstream.name.as_str(), Some(upstream))),
            &config.providers,
            !config.providers.is_empty(),
        )
    }

    /// Those of entries that are right, as far as they are.
    pub(super) fn new(
        public_url: Option<&'c Origin>,
        issuers: impl Iterator<Item = (&'c str, Option<&'c TokenIssuer>)>,
        upstreams: impl Iterator<Item = (&'c str, Option<&'c Upstream>)>,
        providers: &'c [Provider],
        has_provider: bool,
    ) -> Self {
        let client_ids = providers.iter().map(|provider| provider.client_id.as_str());
        let mut names = Names {
            public_url,
            issuers: Vec::new(),
            issuer_urls: Vec::new(),
            addressed_to_clients: Vec::new(),
            upstreams: Vec::new(),
            token_upstreams: Vec::new(),
            client_ids: client_ids.collect(),
            has_provider,
        };
        for (name, issuer) in issuers {
            names.issuers.push(name);
            let url = issuer.map_or("", |issuer| issuer.issuer.as_str());
            names.issuer_urls.push(url);
            if issuer.is_some_and(|issuer| issuer.shape.audience == AudienceClaim::ClientId) {
                names.addressed_to_clients.push(name);
            }
        }
        for (name, upstream) in upstreams {
            names.upstreams.push(name);
            if upstream.is_some_and(|upstream| upstream.credential.needs_access_token()) {
                names.token_upstreams.push(name);
            }
        }
        names
    }
}

/// The routes, and what they brought about.
pub(super) struct Routes {
    pub(super) table: RouteTable,
    /// The rules about claims, for each issuer by its index.
    pub(super) claim_rules: Vec<Vec<ClaimRule>>,
    pub(super) resources: Vec<ProtectedResource>,
}

/// What routes share.
#[derive(Default)]
pub(super) struct Found {
    pub(super) claim_rules: Vec<Vec<ClaimRule>>,
    pub(super) resources: Vec<ProtectedResource>,
}

impl Found {
    pub(super) fn new(names: &Names<'_>) -> Self {
        Found {
            claim_rules: vec![Vec::new(); names.issuers.len()],
            resources: Vec::new(),
        }
    }
}

impl Patterns for &[Route] {
    fn pattern(&self, route: usize) -> (&[u8], bool) {
        self.get(route).map_or((&[], false), Route::pattern)
    }
}

/// Where a route stands in the file: for problems with it.
struct Place {
    start: usize,
    path: String,
}

pub(super) fn routes(root: &Table<'_, '_>, names: &Names<'_>) -> Routes {
    let tables = root.tables("routes");
    if tables.is_empty() {
        root.problem("routes", "missing; expected at least one [[routes]]");
    }
    let mut found = Found::new(names);
    let (mut routes, mut places) = (Vec::new(), Vec::new());
    for table in &tables {
        if let Some(route) = route(table, names, &mut found) {
            routes.push(route);
            places.push(Place {
                start: table.start,
                path: table.path.clone(),
            });
        }
    }
    let matcher = Matcher::new(routes.len(), &routes.as_slice());
    overlaps(root, &routes, &places, &matcher);
    slash_twins(root, &routes, &places, &matcher);
    Routes {
        table: RouteTable::new(routes, matcher),
        claim_rules: found.claim_rules,
        resources: found.resources,
    }
}

/// The route of a piece of the file that has one and nothing else; `None` unless it is right.
pub(super) fn single(text: &str, names: &Names<'_>, found: &mut Found) -> Option<Route> {
    let problems = Problems::new(text);
    let document = toml::parse(text, |at, message| {
        problems.add(at, "airside.toml", message)
    });
    let root = Table::new(String::new(), 0, &document, &problems);
    let tables = root.tables("routes");
    root.finish();
    let [table] = tables.as_slice() else {
        return None;
    };
    let route = route(table, names, found);
    route.filter(|_| problems.count() == 0)
}

/// True for what is airside's own, or the platform's.
pub(super) fn is_reserved(base: &str) -> bool {
    let below = ["/auth", "/.well-known/spin"].map(|taken| base.strip_prefix(taken));
    let is_below = |rest: &str| rest.is_empty() || rest.starts_with('/');
    below.into_iter().flatten().any(is_below)
}

fn route(table: &Table<'_, '_>, names: &Names<'_>, found: &mut Found) -> Option<Route> {
    let expected = "a path such as /invoices (exactly this one) or /api/* (whole segments below)";
    let path: Option<PathPattern> = table.required("path", expected);
    if path.as_ref().is_some_and(|path| is_reserved(&path.base)) {
        table.problem(
            "path",
            "/auth and /.well-known/spin are taken: expected another path",
        );
    }
    let methods = table.get("methods").map(|_| {
        let list: Vec<Method> = table.list("methods", "methods such as \"GET\"", Vec::new);
        if list.is_empty()
            || list
                .iter()
                .any(|m| m.as_str().bytes().any(|b| b.is_ascii_lowercase()))
            || list.contains(&Method::TRACE)
            || list.contains(&Method::CONNECT)
        {
            table.problem(
                "methods",
                "expected at least one method, in capitals, and neither TRACE nor CONNECT",
            );
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
        Some("token") => token_rule(table, names, &mut found.claim_rules).map(Access::Token),
        Some(_) => {
            table.problem("access", "expected public, login or token");
            None
        }
        None => None,
    };
    if !matches!(access, Some(Access::Token(_)) | None) {
        for name in ["issuer", "audience", "scopes", "any_scopes", "claims"] {
            if table.get(name).is_some() {
                table.problem(name, "only routes with access = \"token\" have this");
            }
        }
    }
    let resource = resource::read(table, access.as_ref(), names, &mut found.resources);
    let step_up = claims::step_up(table);
    if matches!(access, Some(Access::Public)) && !step_up.is_empty() {
        for name in ["acr_values", "max_age_seconds"] {
            if table.get(name).is_some() {
                table.problem(name, "nobody is asked who they are at a public route");
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
        step_up,
        resource,
        upstream: upstream?,
        proxying,
    })
}

fn token_rule(
    table: &Table<'_, '_>,
    names: &Names<'_>,
    claim_rules: &mut [Vec<ClaimRule>],
) -> Option<TokenRule> {
    let issuer = reference(table, "issuer", &names.issuers);
    let issuer_name = issuer.and_then(|index| names.issuers.get(index));
    let names_client = issuer_name.is_some_and(|name| names.addressed_to_clients.contains(name));
    let audiences = audiences(table, names_client);
    let is_client = |audience: &String| names.client_ids.contains(&audience.as_str());
    if !names_client && audiences.iter().flatten().any(is_client) {
        // The idea everything serves: the two checks never share an audience. Where `client_id`
        // stands for `aud`, they do not either: a token with `aud` is refused there.
        table.problem("audience", "is a client_id: then an ID token would open this API. Expected the API's own identifier");
    }
    let scopes = |name| {
        let scopes: Vec<String> = table.list(name, "scope names", Vec::new);
        if !scopes.iter().all(|scope| is_scope(scope)) {
            let text = "expected scope names without spaces, quotes or backslashes";
            table.problem(name, text);
        }
        scopes
    };
    let (scopes, any_scopes) = (scopes("scopes"), scopes("any_scopes"));
    let claims = claims::read(table, issuer.and_then(|index| claim_rules.get_mut(index)));
    Some(TokenRule {
        issuer: issuer?,
        audiences: audiences?,
        scopes,
        any_scopes,
        claims,
    })
}

/// `audience`: a list only where clients are meant, of which an API may have several.
fn audiences(table: &Table<'_, '_>, names_client: bool) -> Option<Vec<String>> {
    let is_list = |value: &&Spanned<Value<'_>>| value.get_ref().as_array().is_some();
    if !names_client || table.get("audience").filter(is_list).is_none() {
        let text = "the API's own identifier, as in the tokens' aud";
        return Some(vec![table.required_text("audience", text)?]);
    }
    let list: Vec<String> = table.list("audience", "client_ids", Vec::new);
    if list.is_empty() || list.iter().any(|id| id.is_empty() || id.trim() != id) {
        table.problem("audience", "expected client_ids, at least one");
    }
    Some(list)
}

/// The index of the entry that `key` names.
fn reference(table: &Table<'_, '_>, key: &'static str, names: &[&str]) -> Option<usize> {
    let name = table.get(key).and_then(|value| value.get_ref().as_str());
    let found = name.and_then(|name| names.iter().position(|known| *known == name));
    if found.is_none() {
        let expected = format!("one of the {key}s: {}", names.join(", "));
        if table.required_text(key, &expected).is_some() {
            table.problem(key, format_args!("expected {expected}"));
        }
    }
    found
}

/// Refuses the same path and method twice.
fn overlaps(root: &Table<'_, '_>, routes: &[Route], places: &[Place], matcher: &Matcher) {
    for same in matcher.repeated() {
        let of = |index: &usize| Some((routes.get(*index)?, places.get(*index)?));
        for (at, (route, place)) in same.iter().filter_map(of).enumerate() {
            let mut earlier = same.iter().filter_map(of).take(at);
            if let Some((_, other)) = earlier.find(|(other, _)| overlap(route, other)) {
                let text = format_args!("overlaps {}: the same path and method twice", other.path);
                root.problems.add(place.start, place.path.clone(), text);
            }
        }
    }
}

/// True when both are for one and the same method.
pub(super) fn overlap(a: &Route, b: &Route) -> bool {
    match (&a.methods, &b.methods) {
        (Some(a), Some(b)) => a.iter().any(|method| b.contains(method)),
        _ => true,
    }
}

/// Refuses an exact path whose twin with a trailing slash asks for less: most upstreams
/// answer both alike.
fn slash_twins(root: &Table<'_, '_>, routes: &[Route], places: &[Place], matcher: &Matcher) {
    // A route for every method is tried with each method that any route names.
    let mut named = vec![&Method::GET];
    for method in routes
        .iter()
        .flat_map(|route| route.methods.iter().flatten())
    {
        let order = |known: &&Method| known.as_str().cmp(method.as_str());
        if let Err(place) = named.binary_search_by(order) {
            named.insert(place, method);
        }
    }
    for (route, place) in routes.iter().zip(places) {
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
        let is_weaker = |method: &Method| {
            let decoded = checked.decoded();
            let others = matcher.at(&decoded, &routes);
            let others = others.filter_map(|other| routes.get(other));
            let mut others = others.filter(|other| other.allows(method));
            others.next().is_some_and(|other| !other.covers(route))
        };
        let weaker = match &route.methods {
            Some(methods) => methods.iter().any(is_weaker),
            None => named.iter().any(|method| is_weaker(method)),
        };
        if weaker {
            root.problems.add(place.start, place.path.clone(), format_args!(
                "{twin} would be open to more: expected a route for it that asks for as much, or {}/* \
                 in place of this one",
                route.path.base.trim_end_matches('/')
            ));
        }
    }
}
