//! The routes of a configuration: all judged at its start, and each made when a request first
//! comes to it.
//!
//! What begins with `[[routes]]` at the beginning of a line, up to the next such line, is read
//! by itself. That is the same as reading the whole text where each of these pieces, and what
//! stands before the first, is right by itself and says nothing but its own: then no string, list
//! or table goes from one into another. In every other case the whole text is read, which also
//! says what is wrong and where.

use std::cell::OnceCell;

use http::Method;

use crate::config::Config;
use crate::config::plain::{HEADER, Plain, Reader, Span};
use crate::config::routes::{Found, Names, Routes, overlap, single};
use crate::policy::{CheckedPath, Match, Matcher, Patterns, Route, words};

/// The routes, in the order of the file.
#[derive(Debug)]
pub struct RouteTable {
    /// What the entries' places are in.
    text: Vec<u8>,
    entries: Vec<Entry>,
    matcher: Matcher,
}

/// A route.
#[derive(Debug)]
struct Entry {
    start: usize,
    end: usize,
    /// Where its path stands in the text, without `/*` at its end; nowhere when it is one that
    /// was not read from there but made.
    base: Span,
    prefix: bool,
    made: OnceCell<Box<Route>>,
}

impl RouteTable {
    /// Of routes that are made already.
    pub(super) fn new(routes: Vec<Route>, matcher: Matcher) -> Self {
        let entries = routes.into_iter().map(|route| Entry {
            start: 0,
            end: 0,
            base: Span::default(),
            prefix: false,
            made: OnceCell::from(Box::new(route)),
        });
        RouteTable {
            text: Vec::new(),
            entries: entries.collect(),
            matcher,
        }
    }

    /// Keeps the text that the routes were read from.
    pub(super) fn keep(&mut self, text: Vec<u8>) {
        self.text = text;
    }

    fn places(&self) -> Places<'_> {
        Places {
            text: &self.text,
            entries: &self.entries,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True where there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Config {
    /// The route with that index.
    pub fn route(&self, index: usize) -> Option<&Route> {
        let entry = self.routes.entries.get(index)?;
        let names = || Names::of(self);
        entry.made(&self.routes.text, names)
    }

    /// The route for a path and a method.
    pub fn find(&self, path: &CheckedPath<'_>, method: &Method) -> Match {
        let allows = |index| self.route(index).is_some_and(|route| route.allows(method));
        let table = &self.routes;
        table.matcher.find(path, &table.places(), allows)
    }
}

impl Entry {
    /// The route, made now if it was not before. `None` cannot be: it was judged.
    fn made<'n>(&self, text: &[u8], names: impl FnOnce() -> Names<'n>) -> Option<&Route> {
        if let Some(known) = self.made.get() {
            return Some(known);
        }
        let block = std::str::from_utf8(text.get(self.start..self.end)?).ok()?;
        let route = single(block, &names(), &mut Found::default())?;
        Some(self.made.get_or_init(|| Box::new(route)))
    }
}

/// Where the next line begins that begins like a route, from `at` on.
pub(super) fn next(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let rest = text.get(at..)?;
        if rest.starts_with(HEADER.as_bytes()) {
            return Some(at);
        }
        at = 1 + words::find(text, at, b'\n')?;
    }
}

/// Judges the routes of `text` that begin at `first`; `None` when they must be read with the
/// whole text.
pub(super) fn read(text: &[u8], first: usize, names: &Names<'_>) -> Option<Routes> {
    let mut found = Found::new(names);
    // Most are longer: making room twice takes longer than room that nothing needs.
    let mut entries = Vec::with_capacity(text.len().saturating_sub(first) / 120);
    let mut reader = Reader::new(text, first, names);
    while reader.text.at < text.len() {
        let start = reader.text.at;
        let made = OnceCell::new();
        let plain = reader.route().map(|plain| (plain.base, plain.prefix));
        if plain.is_none() {
            reader.text.at = next(text, start + HEADER.len()).unwrap_or(text.len());
            let block = std::str::from_utf8(text.get(start..reader.text.at)?).ok()?;
            let _ = made.set(Box::new(single(block, names, &mut found)?));
        }
        let (base, prefix) = plain.unwrap_or_default();
        let end = reader.text.at;
        entries.push(Entry {
            start,
            end,
            base,
            prefix,
            made,
        });
    }
    let places = Places {
        text,
        entries: &entries,
    };
    let matcher = Matcher::new(entries.len(), &places);
    let judged = Judged { places, names };
    if judged.overlaps(&matcher) || judged.open_twins(&matcher) {
        return None;
    }
    Some(Routes {
        table: RouteTable {
            text: Vec::new(),
            entries,
            matcher,
        },
        claim_rules: found.claim_rules,
        resources: found.resources,
    })
}

/// Where the routes of a text stand.
#[derive(Clone, Copy)]
struct Places<'a> {
    text: &'a [u8],
    entries: &'a [Entry],
}

impl Patterns for Places<'_> {
    #[inline(always)]
    fn pattern(&self, route: usize) -> (&[u8], bool) {
        match self.entries.get(route) {
            // Nothing of a route stands at the beginning of the text.
            Some(entry) if entry.base.end > 0 => (entry.base.of(self.text), entry.prefix),
            Some(entry) => entry
                .made
                .get()
                .map_or((&[], false), |route| route.pattern()),
            None => (&[], false),
        }
    }
}

/// Routes each right by itself. What follows is quick where they are plain; where it says that
/// something is wrong, the whole text is judged again.
struct Judged<'a> {
    places: Places<'a>,
    names: &'a Names<'a>,
}

impl<'a> Judged<'a> {
    /// Read once more: few have others at their path.
    fn plain(&self, index: usize) -> Option<Plain<'a>> {
        let entry = self.places.entries.get(index)?;
        let is_plain = entry.base.end > 0;
        is_plain.then(|| Reader::new(self.places.text, entry.start, self.names).route())?
    }

    fn made(&self, index: usize) -> Option<&'a Route> {
        let entry = self.places.entries.get(index)?;
        entry.made(self.places.text, || self.names.clone())
    }

    /// True when two routes are for the same path and method.
    fn overlaps(&self, matcher: &Matcher) -> bool {
        let overlap = |one: usize, other: usize| match (self.plain(one), self.plain(other)) {
            (Some(one), Some(other)) => one.overlaps(&other),
            _ => match (self.made(one), self.made(other)) {
                (Some(one), Some(other)) => overlap(one, other),
                _ => true,
            },
        };
        matcher.repeated().any(|same| {
            let mut pairs = same.iter().enumerate();
            pairs.any(|(at, one)| same.iter().take(at).any(|other| overlap(*one, *other)))
        })
    }

    /// True when an exact path may have a twin with a trailing slash that asks for less.
    fn open_twins(&self, matcher: &Matcher) -> bool {
        let mut twin = Vec::new();
        (0..self.places.entries.len()).any(|index| {
            let (base, prefix) = self.places.pattern(index);
            if prefix || base == b"/" {
                return false;
            }
            twin.clear();
            match base.strip_suffix(b"/") {
                Some(without) => twin.extend_from_slice(without),
                None => twin.extend(base.iter().chain(b"/")),
            }
            let weaker = |other| match (self.plain(other), self.plain(index)) {
                (Some(other), Some(own)) => other.shares_methods_with(&own) && !other.covers(&own),
                _ => match (self.made(other), self.made(index)) {
                    (Some(other), Some(own)) => {
                        let comes = |method| other.allows(method);
                        let shared = own.methods.as_ref();
                        shared.is_none_or(|methods| methods.iter().any(comes)) && !other.covers(own)
                    }
                    _ => true,
                },
            };
            matcher.at(&twin, &self.places).any(weaker)
        })
    }
}

#[cfg(test)]
mod tests;
