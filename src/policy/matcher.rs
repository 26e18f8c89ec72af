//! Finds the route of a request: a tree by whole path segments, whose cost does not grow
//! with the number of routes.
//!
//! An exact path beats a prefix, a longer prefix beats a shorter one. The path alone chooses:
//! a method that the chosen path has no route for is refused, and never falls through to a
//! shorter path that asks for less.

use std::collections::HashMap;

use http::Method;

use crate::policy::path::CheckedPath;
use crate::policy::rule::Route;

/// The routes, ready for matching.
#[derive(Debug, Default)]
pub struct Matcher {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    children: HashMap<Vec<u8>, Node>,
    exact: Vec<usize>,
    prefix: Vec<usize>,
}

/// The outcome of matching.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// The route with this index.
    Route(usize),
    /// The path has routes, but none for the method (405); these are its routes.
    OtherMethods(Vec<usize>),
    /// No route (404).
    None,
}

impl Matcher {
    /// Builds the tree.
    pub fn new(routes: &[Route]) -> Self {
        let mut matcher = Matcher::default();
        for (index, route) in routes.iter().enumerate() {
            let mut node = &mut matcher.root;
            // `/` is one empty segment; the base of `/*` is no segment at all.
            for segment in route.path.base.split('/').skip(1) {
                count_step();
                node = node
                    .children
                    .entry(segment.as_bytes().to_vec())
                    .or_default();
            }
            if route.path.prefix {
                node.prefix.push(index)
            } else {
                node.exact.push(index)
            }
        }
        matcher
    }

    /// Finds the route for `path` and `method` among the `routes` that the tree was built from.
    pub fn find(&self, routes: &[Route], path: &CheckedPath<'_>, method: &Method) -> Match {
        let candidates = self.candidates(path);
        let fits = |index: &&usize| {
            routes
                .get(**index)
                .is_some_and(|route| route.allows(method))
        };
        match candidates.iter().find(fits) {
            Some(index) => Match::Route(*index),
            None if candidates.is_empty() => Match::None,
            None => Match::OtherMethods(candidates.to_vec()),
        }
    }

    fn candidates(&self, path: &CheckedPath<'_>) -> &[usize] {
        let mut node = &self.root;
        let mut longest: &[usize] = &node.prefix;
        for segment in path.segments() {
            count_step();
            match node.children.get(segment.as_ref()) {
                Some(child) => node = child,
                None => return longest,
            }
            if !node.prefix.is_empty() {
                longest = &node.prefix;
            }
        }
        if node.exact.is_empty() {
            longest
        } else {
            &node.exact
        }
    }
}

/// Counted in tests, so that they can say what matching costs without a clock.
#[inline]
pub(crate) fn count_step() {
    #[cfg(test)]
    steps::STEPS.with(|steps| steps.set(steps.get() + 1));
}

#[cfg(test)]
pub(crate) mod steps {
    use std::cell::Cell;

    thread_local! {
        pub(super) static STEPS: Cell<usize> = const { Cell::new(0) };
    }

    /// How many steps `work` takes.
    pub(crate) fn of<T>(work: impl FnOnce() -> T) -> usize {
        STEPS.with(|steps| steps.set(0));
        work();
        STEPS.with(Cell::get)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::rule::Access;

    fn routes(list: &[(&str, &[&str])]) -> Vec<Route> {
        list.iter()
            .map(|(path, methods)| Route {
                path: path.parse().expect("pattern"),
                methods: (!methods.is_empty())
                    .then(|| methods.iter().map(|m| m.parse().expect("method")).collect()),
                access: Access::Public,
                step_up: Default::default(),
                resource: None,
                upstream: 0,
                proxying: Default::default(),
            })
            .collect()
    }

    #[track_caller]
    fn check(routes: &[Route], method: &str, path: &str, expected: Match) {
        let path = CheckedPath::parse(path).expect("path");
        let method = method.parse().expect("method");
        assert_eq!(
            Matcher::new(routes).find(routes, &path, &method),
            expected,
            "{path:?}"
        );
    }

    #[test]
    fn exact_beats_prefix_and_longest_wins() {
        let routes = routes(&[
            ("/*", &[]),
            ("/a/*", &[]),
            ("/a/b", &[]),
            ("/a/b/*", &[]),
            ("/", &[]),
        ]);
        check(&routes, "GET", "/x", Match::Route(0));
        check(&routes, "GET", "/a", Match::Route(1));
        check(&routes, "GET", "/a/", Match::Route(1));
        check(&routes, "GET", "/a/x/y", Match::Route(1));
        check(&routes, "GET", "/a/b", Match::Route(2));
        check(&routes, "GET", "/a/b/", Match::Route(3));
        check(&routes, "GET", "/", Match::Route(4));
    }

    #[test]
    fn prefixes_are_whole_segments_and_case_counts() {
        let routes = routes(&[("/api/*", &[])]);
        check(&routes, "GET", "/api/x", Match::Route(0));
        check(&routes, "GET", "/%61pi/x", Match::Route(0));
        for other in ["/apix", "/ap", "/", "/API/x"] {
            check(&routes, "GET", other, Match::None);
        }
    }

    #[test]
    fn a_method_without_route_never_falls_through_to_a_shorter_path() {
        let routes = routes(&[("/*", &[]), ("/a/*", &["GET"]), ("/a/*", &["POST"])]);
        check(&routes, "GET", "/a/x", Match::Route(1));
        check(&routes, "HEAD", "/a/x", Match::Route(1));
        check(&routes, "POST", "/a/x", Match::Route(2));
        check(&routes, "DELETE", "/a/x", Match::OtherMethods(vec![1, 2]));
    }

    #[test]
    fn ten_thousand_routes_match_as_fast_as_ten() {
        let many = |count: usize| -> Vec<Route> {
            let patterns: Vec<String> = (0..count)
                .map(|n| match n % 3 {
                    0 => format!("/api/v{}/*", n),
                    1 => format!("/api/v{}/items/all", n),
                    _ => format!("/site{n}"),
                })
                .collect();
            let list: Vec<(&str, &[&str])> = patterns
                .iter()
                .map(|pattern| (pattern.as_str(), &[][..]))
                .collect();
            routes(&list)
        };
        let (few, many) = (many(10), many(10_000));
        let (small, large) = (Matcher::new(&few), Matcher::new(&many));
        for target in [
            "/api/v9/x",
            "/api/v1/items/all",
            "/site2",
            "/nothing",
            "/api/v9/a/b/c/d",
        ] {
            let path = CheckedPath::parse(target).expect("path");
            let steps = |matcher: &Matcher, routes: &[Route]| {
                steps::of(|| matcher.find(routes, &path, &Method::GET))
            };
            let (one, other) = (steps(&small, &few), steps(&large, &many));
            assert_eq!(one, other, "{target}");
            assert!((1..=path.segments().count()).contains(&one), "{target}");
            assert_eq!(
                small.find(&few, &path, &Method::GET),
                large.find(&many, &path, &Method::GET)
            );
        }
        // One step for each segment of each route.
        let segments: usize = many
            .iter()
            .map(|r| r.path.base.split('/').count() - 1)
            .sum();
        assert_eq!(steps::of(|| Matcher::new(&many)), segments);
    }
}
