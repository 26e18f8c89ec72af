//! What loads, and yet is hardly meant.

use airside::config::Config;
use airside::policy::{Access, Route};

use crate::check::Problem;

/// All of a configuration that is right.
pub(super) fn of(config: &Config) -> Vec<Problem> {
    let routes = (0..config.routes.len()).filter_map(|index| config.route(index));
    routes.flat_map(|route| step_up(route, config)).collect()
}

/// Providers whose people never pass: of the `acr_values` of a provider one must be in each of its
/// ID tokens, and of those of a route one too. What a provider supports only its metadata says.
fn step_up(route: &Route, config: &Config) -> Vec<Problem> {
    let wanted = &route.step_up.acr_values;
    let issuer = match &route.access {
        Access::Public => return Vec::new(),
        Access::Login => None,
        Access::Token(rule) => config.issuers.get(rule.issuer),
    };
    let logs_in = |provider: &&airside::config::Provider| {
        issuer.is_none_or(|issuer| issuer.issuer == provider.issuer)
    };
    let never = |provider: &&airside::config::Provider| {
        let asked = &provider.request.acr_values;
        !wanted.is_empty() && !asked.is_empty() && !asked.iter().any(|acr| wanted.contains(acr))
    };
    let providers = config.providers.iter().filter(logs_in).filter(never);
    let problem = |provider: &airside::config::Provider| {
        let path = format!(
            "{}{}",
            route.path.base,
            if route.path.prefix { "/*" } else { "" }
        );
        let text = format!(
            "nobody who signs in at providers.{} passes: its own acr_values ({}) have none of the \
             route's ({})",
            provider.name,
            provider.request.acr_values.join(" "),
            wanted.join(" ")
        );
        Problem::new(&format!("airside.toml: acr_values of {path}"), text)
    };
    providers.map(problem).collect()
}
