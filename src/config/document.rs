//! The configuration as a whole: what its tables are, and whether its routes are read by
//! themselves.

use crate::config::entries::{issuer, provider, session, upstream};
use crate::config::read::{Problems, Table};
use crate::config::routes::Routes;
use crate::config::{
    Config, Problem, Provider, TokenIssuer, Upstream, login, platform, proxying, routes, table,
    toml,
};
use crate::url::Origin;

/// Reads the configuration, each route by itself where that is the same as reading all of it.
/// `None` when it is no text.
pub(super) fn config(text: Vec<u8>) -> Option<Result<Config, Vec<Problem>>> {
    match in_pieces(&text) {
        Some(mut config) => {
            config.routes.keep(text);
            Some(Ok(config))
        }
        None => std::str::from_utf8(&text).ok().map(whole),
    }
}

/// `None` where the whole text has to be read.
pub(super) fn in_pieces(text: &[u8]) -> Option<Config> {
    let first = table::next(text, 0)?;
    let head = std::str::from_utf8(text.get(..first)?).ok()?;
    let problems = Problems::new(head);
    let judged = judged(head, &problems, &|_, names| table::read(text, first, names));
    judged.filter(|_| problems.count() == 0)
}

/// Reads the whole text at once.
pub(super) fn whole(text: &str) -> Result<Config, Vec<Problem>> {
    let problems = Problems::new(text);
    let judged = judged(text, &problems, &|root, names| {
        Some(routes::routes(root, names))
    });
    let mut found = problems.into_found();
    match judged {
        Some(config) if found.is_empty() => Ok(config),
        _ => {
            found.dedup();
            Err(found)
        }
    }
}

/// The configuration, as far as nothing is missing; what is wrong is added to `problems`.
fn judged<'t>(
    text: &'t str,
    problems: &Problems<'t>,
    routes: &dyn Fn(&Table<'_, '_>, &routes::Names<'_>) -> Option<Routes>,
) -> Option<Config> {
    let document = toml::parse(text, |at, message| {
        problems.add(at, "airside.toml", message)
    });
    if problems.count() > 0 {
        // What is missing may stand in a line that could not be read.
        return None;
    }
    let root = Table::new(String::new(), 0, &document, problems);
    let mut dangers = Vec::new();

    let public_url: Option<Origin> =
        root.required("public_url", "an origin such as https://app.example.com");
    let has_tokens = platform::read(&root);
    let trusted_proxies = root.list(
        "trusted_proxies",
        "addresses or networks of your own proxies, such as \"10.0.0.0/8\", without bits beyond \
         their length",
        Vec::new,
    );
    let session = session(&root, &mut dangers);
    let provider_tables = root.named("providers");
    let several = provider_tables.len() > 1;
    let providers: Vec<Provider> = provider_tables
        .iter()
        .filter_map(|(name, table)| provider(name, table, several))
        .collect();
    login::sharing(&provider_tables, &providers);
    let mut issuers: Vec<(String, Option<TokenIssuer>)> = Vec::new();
    let mut issuer_clients = Vec::new();
    for (name, table) in root.named("issuers") {
        let (issuer, client) = issuer(name.clone(), &table, &mut dangers).unzip();
        // Said there, even if not right: one problem is enough.
        let is_client = table.get("client_id").is_some();
        issuer_clients.push((client.flatten(), is_client));
        let same = |other: &TokenIssuer| issuer.as_ref().is_some_and(|i| i.issuer == other.issuer);
        if issuers
            .iter()
            .filter_map(|(_, other)| other.as_ref())
            .any(same)
        {
            // A token names its issuer; it must not depend on the order by whose rules it counts.
            table.problem("issuer", "expected an issuer that no other table has");
        }
        issuers.push((name, issuer));
    }
    let known: Vec<(&str, bool)> = issuers
        .iter()
        .zip(&issuer_clients)
        .map(|((name, _), (_, is_client))| (name.as_str(), *is_client))
        .collect();
    let upstreams: Vec<(String, Option<Upstream>)> = root
        .named("upstreams")
        .into_iter()
        .map(|(name, table)| (name.clone(), upstream(name, &table, &known, &mut dangers)))
        .collect();
    let names = routes::Names::new(
        public_url.as_ref(),
        issuers
            .iter()
            .map(|(name, issuer)| (name.as_str(), issuer.as_ref())),
        upstreams
            .iter()
            .map(|(name, upstream)| (name.as_str(), upstream.as_ref())),
        &providers,
        !provider_tables.is_empty(),
    );
    let routes = routes(&root, &names);
    root.finish();
    let Routes {
        table: routes,
        claim_rules,
        resources,
    } = routes?;
    Some(Config {
        public_url: public_url?,
        trusted_proxies,
        session,
        providers,
        issuers: issuers
            .into_iter()
            .zip(claim_rules)
            .filter_map(|((_, issuer), claim_rules)| {
                issuer.map(|issuer| TokenIssuer {
                    claim_rules,
                    ..issuer
                })
            })
            .collect(),
        issuer_clients: issuer_clients
            .into_iter()
            .map(|(client, _)| client)
            .collect(),
        identity_names: proxying::identity_names(&upstreams),
        upstreams: upstreams
            .into_iter()
            .filter_map(|(_, upstream)| upstream)
            .collect(),
        routes,
        resources,
        has_tokens,
        dangers,
    })
}
