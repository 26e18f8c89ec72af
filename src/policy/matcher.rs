//! Finds the route of a request: a hash table of whole paths, asked once for each segment of the
//! request's path, so that the cost does not grow with the number of routes.
//!
//! An exact path beats a prefix, a longer prefix beats a shorter one. The path alone chooses:
//! a method that the chosen path has no route for is refused, and never falls through to a
//! shorter path that asks for less.
//!
//! The hash needs no secret: what is in the table comes from the configuration, and a request,
//! whatever its path, looks at as many places as the table's own clusters are long, and no
//! further into the path than the longest pattern goes.

use crate::policy::path::CheckedPath;
use crate::policy::words;

/// The patterns of routes, by the routes' indices, which a [`Matcher`] asks for.
pub trait Patterns {
    /// The base, and whether it is a prefix, as in [`PathPattern`](crate::url::PathPattern).
    fn pattern(&self, route: usize) -> (&[u8], bool);
}

/// The routes, ready for matching. Their patterns are kept by somebody else, who must show the
/// same ones each time.
#[derive(Debug, Default)]
pub struct Matcher {
    /// The first route of each pattern plus one, by hash; zero is a free place. At least half are
    /// free.
    places: Vec<usize>,
    /// The next route of the same pattern plus one, by route; zero behind the last.
    next: Vec<usize>,
    /// The length of the longest base.
    longest: usize,
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
    /// Builds the table for the first `count` routes with these patterns.
    pub fn new(count: usize, patterns: &impl Patterns) -> Self {
        let places = count.saturating_mul(2).saturating_add(1);
        let mut matcher = Matcher {
            places: vec![0; places.next_power_of_two()],
            next: vec![0; count],
            longest: 0,
        };
        // From behind: so each finds those that come after it.
        for route in (0..count).rev() {
            let (base, prefix) = patterns.pattern(route);
            matcher.longest = matcher.longest.max(base.len());
            let place = match matcher.look(base, prefix, patterns) {
                Ok(place) | Err(place) => place,
            };
            if let (Some(first), Some(next)) =
                (matcher.places.get_mut(place), matcher.next.get_mut(route))
            {
                *next = std::mem::replace(first, route + 1);
            }
        }
        matcher
    }

    /// The place of that pattern, or else the place where it would be.
    fn look(&self, base: &[u8], prefix: bool, patterns: &impl Patterns) -> Result<usize, usize> {
        let mask = self.places.len().wrapping_sub(1);
        let mut at = words::hash(base, prefix.into()) as usize & mask;
        loop {
            count_step();
            match self.places.get(at) {
                None | Some(0) => return Err(at),
                Some(number) if patterns.pattern(number - 1) == (base, prefix) => return Ok(at),
                Some(_) => at = (at + 1) & mask,
            }
        }
    }

    /// Finds the route for `path` that `allows` the request's method, in the order in which the
    /// routes were given.
    pub fn find(
        &self,
        path: &CheckedPath<'_>,
        patterns: &impl Patterns,
        mut allows: impl FnMut(usize) -> bool,
    ) -> Match {
        // No slash but those of the path itself is in it.
        let Some(first) = self.first(&path.decoded(), patterns) else {
            return Match::None;
        };
        match self.routes(first).find(|index| allows(*index)) {
            Some(index) => Match::Route(index),
            None => Match::OtherMethods(self.routes(first).collect()),
        }
    }

    /// The routes for the path `decoded`, whatever the method.
    pub(crate) fn at(
        &self,
        decoded: &[u8],
        patterns: &impl Patterns,
    ) -> impl Iterator<Item = usize> {
        let first = self.first(decoded, patterns).into_iter();
        first.flat_map(|first| self.routes(first))
    }

    /// The routes of each pattern that has more than one.
    pub(crate) fn repeated(&self) -> impl Iterator<Item = Vec<usize>> {
        let firsts = self
            .places
            .iter()
            .filter_map(|number| number.checked_sub(1));
        let several = firsts.filter(|first| self.after(*first).is_some());
        several.map(|first| self.routes(first).collect())
    }

    /// That route and those behind it of the same pattern.
    fn routes(&self, first: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(first), |route| self.after(*route))
    }

    fn after(&self, route: usize) -> Option<usize> {
        self.next.get(route)?.checked_sub(1)
    }

    /// The first route of the pattern that the path belongs to.
    fn first(&self, whole: &[u8], patterns: &impl Patterns) -> Option<usize> {
        let find = |base: &[u8], prefix| self.look(base, prefix, patterns).ok();
        let number = |place: usize| self.places.get(place)?.checked_sub(1);
        let mut above = None;
        for (at, _) in whole.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            if at > self.longest {
                return number(above?);
            }
            above = find(whole.get(..at)?, true).or(above);
        }
        let own = find(whole, false).or_else(|| find(whole, true));
        number(own.or(above)?)
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
    use http::Method;

    use super::*;
    use crate::url::PathPattern;

    /// Patterns and methods; no method is all of them.
    struct Routes(Vec<(PathPattern, Vec<Method>)>);

    impl Patterns for Routes {
        fn pattern(&self, route: usize) -> (&[u8], bool) {
            let path = &self.0[route].0;
            (path.base.as_bytes(), path.prefix)
        }
    }

    impl Routes {
        fn new(list: &[(&str, &[&str])]) -> Self {
            let parsed = list.iter().map(|(path, methods)| {
                let methods = methods.iter().map(|m| m.parse().expect("method")).collect();
                (path.parse().expect("pattern"), methods)
            });
            Routes(parsed.collect())
        }

        fn matcher(&self) -> Matcher {
            Matcher::new(self.0.len(), self)
        }

        fn find(&self, matcher: &Matcher, method: &str, path: &str) -> Match {
            let method: Method = method.parse().expect("method");
            let path = CheckedPath::parse(path).expect("path");
            matcher.find(&path, self, |index| {
                let methods = &self.0[index].1;
                methods.is_empty() || methods.contains(&method)
            })
        }
    }

    #[track_caller]
    fn check(routes: &Routes, method: &str, path: &str, expected: Match) {
        assert_eq!(
            routes.find(&routes.matcher(), method, path),
            expected,
            "{path:?}"
        );
    }

    #[test]
    fn exact_beats_prefix_and_longest_wins() {
        let routes = Routes::new(&[
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
        check(&routes, "GET", "/a/b/c/d/e/f/g", Match::Route(3));
        check(&routes, "GET", "/b/b/c/d/e/f/g", Match::Route(0));
        check(&routes, "GET", "/", Match::Route(4));
    }

    #[test]
    fn prefixes_are_whole_segments_and_case_counts() {
        let routes = Routes::new(&[("/api/*", &[])]);
        check(&routes, "GET", "/api/x", Match::Route(0));
        check(&routes, "GET", "/api", Match::Route(0));
        check(&routes, "GET", "/%61pi/x", Match::Route(0));
        for other in ["/apix", "/ap", "/", "/API/x"] {
            check(&routes, "GET", other, Match::None);
        }
        check(&Routes::new(&[]), "GET", "/api", Match::None);
        let empty = Matcher::default();
        assert!(empty.first(b"/a", &Routes::new(&[])).is_none());
    }

    #[test]
    fn a_trailing_slash_is_another_path() {
        let routes = Routes::new(&[("/a", &[]), ("/b/", &[]), ("/b", &["GET"])]);
        check(&routes, "GET", "/a", Match::Route(0));
        check(&routes, "GET", "/a/", Match::None);
        check(&routes, "PUT", "/b/", Match::Route(1));
        check(&routes, "GET", "/b", Match::Route(2));
    }

    #[test]
    fn a_method_without_route_never_falls_through_to_a_shorter_path() {
        let routes = Routes::new(&[("/*", &[]), ("/a/*", &["GET"]), ("/a/*", &["POST"])]);
        check(&routes, "GET", "/a/x", Match::Route(1));
        check(&routes, "POST", "/a/x", Match::Route(2));
        check(&routes, "DELETE", "/a/x", Match::OtherMethods(vec![1, 2]));
        let repeated: Vec<Vec<usize>> = routes.matcher().repeated().collect();
        assert_eq!(repeated, [[1, 2]]);
    }

    #[test]
    fn ten_thousand_routes_match_as_fast_as_ten() {
        let many = |count: usize| -> Routes {
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
            Routes::new(&list)
        };
        let (few, many) = (many(10), many(10_000));
        let (small, large) = (few.matcher(), many.matcher());
        for (target, segments) in [
            ("/api/v9/x", 3),
            ("/api/v1/items/all", 4),
            ("/site2", 1),
            ("/nothing", 1),
            ("/api/v9/a/b/c/d", 6),
        ] {
            let steps = |routes: &Routes, matcher: &Matcher| {
                steps::of(|| routes.find(matcher, "GET", target))
            };
            for steps in [steps(&few, &small), steps(&many, &large)] {
                assert!(steps <= 2 * (segments + 2), "{target}: {steps}");
            }
            let found = few.find(&small, "GET", target);
            assert_eq!(found, many.find(&large, "GET", target));
        }
        // A place or two for each route, however many there are.
        assert!(steps::of(|| many.matcher()) < 20_000);
        // A long path costs no more than the deepest pattern.
        let long = "/a".repeat(100);
        assert!(steps::of(|| many.find(&large, "GET", &long)) < 40);
    }

    #[test]
    fn it_finds_what_a_comparison_with_each_pattern_finds() {
        let random = crate::testing::SeededRandom::new(1);
        let pick = |below: usize| {
            let mut byte = [0];
            crate::ports::Random::fill(&random, &mut byte).expect("random");
            usize::from(byte[0]) % below
        };
        let text = |last: &[&str]| {
            let mut path = String::new();
            for _ in 0..pick(4) {
                path += ["/a", "/b", "/ab"][pick(3)];
            }
            path + last[pick(last.len())]
        };
        for _ in 0..200 {
            let patterns: Vec<String> = (0..12).map(|_| text(&["/*", "/a", "/b", "/"])).collect();
            let list: Vec<(&str, &[&str])> =
                patterns.iter().map(|p| (p.as_str(), &[][..])).collect();
            let routes = Routes::new(&list);
            let matcher = routes.matcher();
            for _ in 0..20 {
                let path = text(&["/", "/a", "/b", "/ab"]);
                let rank = |pattern: &PathPattern| {
                    let exact = !pattern.prefix && pattern.base == path;
                    let below = path.strip_prefix(pattern.base.as_str());
                    let within = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
                    let fits = exact || pattern.prefix && within;
                    fits.then_some((exact, pattern.base.len()))
                };
                let ranked = routes.0.iter().enumerate();
                let ranked =
                    ranked.filter_map(|(index, (pattern, _))| Some((rank(pattern)?, index)));
                // Of equal patterns the first.
                let best = ranked.max_by_key(|(rank, index)| (*rank, std::cmp::Reverse(*index)));
                let expected = best.map_or(Match::None, |(_, index)| Match::Route(index));
                assert_eq!(
                    routes.find(&matcher, "GET", &path),
                    expected,
                    "{patterns:?} {path}"
                );
            }
        }
    }
}
