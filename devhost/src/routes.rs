//! Which component answers a path, by Spin's rules.
//!
//! Paths are matched as received: no percent-decoding, no dot segments, no case folding. Slashes
//! at both ends do not count, so `//mw/x` matches `/mw/...` and `/auth/session/` matches
//! `/auth/session`. Spin matches with the crate `routefinder`, and so does devhost.

use anyhow::{Result, bail, ensure};
use routefinder::{RouteSpec, Router};

/// A route as the manifest writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// A path, exact or ending in `/...`.
    Path(String),
    /// Reached by service chaining only.
    Private,
}

impl Route {
    /// Reads the text of a `route` key.
    ///
    /// # Errors
    ///
    /// The path does not begin with a slash or lies where Spin answers by itself.
    pub fn parse(text: &str) -> Result<Self> {
        ensure!(
            text.starts_with('/'),
            "trigger.http: the route `{text}` must begin with `/`"
        );
        ensure!(
            !text.starts_with(WELL_KNOWN),
            "trigger.http: `{text}` is Spin's own"
        );
        Ok(Self::Path(text.to_owned()))
    }
}

/// Where Spin answers by itself.
pub const WELL_KNOWN: &str = "/.well-known/spin/";

/// The routes of an application.
pub struct Routes(Router<Target>);

struct Target {
    component: String,
    route: String,
}

/// A route that matched, with what the `spin-*` headers tell about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    /// The component to ask.
    pub component: String,
    /// The route as the manifest writes it.
    pub route: String,
    /// What the route's `/...` stands for, empty for an exact route.
    pub path_info: String,
    /// Named segments of the route (`:name`) and their text.
    pub captures: Vec<(String, String)>,
}

impl Routes {
    /// The router for `routes`, which pairs each route with its component.
    ///
    /// # Errors
    ///
    /// A route appears twice or cannot be read.
    pub fn build(routes: &[(Route, String)]) -> Result<Self> {
        let mut router = Router::new();
        let mut seen = Vec::new();
        for (route, component) in routes {
            let Route::Path(path) = route else { continue };
            if seen.contains(&path) {
                bail!("trigger.http: the route `{path}` appears twice");
            }
            seen.push(path);
            let pattern = match path.strip_suffix("/...") {
                Some(prefix) => format!("{prefix}/*"),
                None => path.trim_end_matches('/').to_owned(),
            };
            let spec: RouteSpec = pattern
                .parse()
                .map_err(|error| anyhow::anyhow!("trigger.http: route `{path}`: {error}"))?;
            let target = Target {
                component: component.clone(),
                route: path.clone(),
            };
            router
                .add(spec, target)
                .map_err(|error| anyhow::anyhow!("`{path}`: {error}"))?;
        }
        Ok(Self(router))
    }

    /// The route for `path`: exact before `/...`, longer before shorter.
    pub fn find(&self, path: &str) -> Option<Matched> {
        let found = self.0.best_match(path)?;
        let captures = found.captures();
        let path_info = captures.wildcard().map_or_else(String::new, |rest| {
            // Spin gives the slashes back that the matcher took off.
            match (rest.is_empty(), path.ends_with('/')) {
                (true, false) => String::new(),
                (true, true) => "/".to_owned(),
                (false, false) => format!("/{rest}"),
                (false, true) => format!("/{rest}/"),
            }
        });
        Some(Matched {
            component: found.component.clone(),
            route: found.route.clone(),
            path_info,
            captures: captures
                .iter()
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect(),
        })
    }
}

impl Matched {
    /// What a component called by service chaining sees: any path, as if its route were `/...`.
    pub fn chained(component: &str, path: &str) -> Self {
        Self {
            component: component.to_owned(),
            route: "/...".to_owned(),
            path_info: path.to_owned(),
            captures: Vec::new(),
        }
    }

    /// The route without its trailing `/...`.
    pub fn prefix(&self) -> &str {
        self.route.strip_suffix("/...").unwrap_or(&self.route)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: Option<(&str, &str)>) {
        let routes = [
            ("/...", "all"),
            ("/mw/...", "middleware"),
            ("/mw/deep/...", "deep"),
            ("/auth/session", "session"),
            ("/items/:id", "item"),
        ];
        let routes: Vec<_> = routes
            .iter()
            .map(|(r, c)| (Route::parse(r).unwrap(), (*c).to_owned()))
            .collect();
        let found = Routes::build(&routes).unwrap().find(path);
        let found = found
            .as_ref()
            .map(|m| (m.component.as_str(), m.path_info.as_str()));
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn the_longest_route_wins_and_exact_beats_wildcard() {
        check("/mw/x", Some(("middleware", "/x")));
        check("/mw/deep/x", Some(("deep", "/x")));
        check("/mw", Some(("middleware", "")));
        check("/mwx", Some(("all", "/mwx")));
        check("/auth/session", Some(("session", "")));
        check("/auth/session/x", Some(("all", "/auth/session/x")));
        check("/items/7", Some(("item", "")));
    }

    #[test]
    fn slashes_at_the_ends_do_not_count() {
        check("//mw/x", Some(("middleware", "/x")));
        check("/auth/session/", Some(("session", "")));
        check("//auth/session", Some(("session", "")));
    }

    #[test]
    fn paths_are_matched_as_received() {
        check("/%6dw/x", Some(("all", "/%6dw/x")));
        check("/MW/x", Some(("all", "/MW/x")));
    }

    #[test]
    fn a_private_route_is_never_found() {
        let routes = [(Route::Private, "tokens".to_owned())];
        assert_eq!(Routes::build(&routes).unwrap().find("/"), None);
        assert_eq!(Routes::build(&routes).unwrap().find("/tokens"), None);
    }

    #[test]
    fn a_route_given_twice_is_refused() {
        let route = (Route::parse("/x").unwrap(), "a".to_owned());
        assert!(Routes::build(std::slice::from_ref(&route)).is_ok());
        assert!(Routes::build(&[route.clone(), route]).is_err());
    }
}
