//! Walks the TOML document and collects every problem with its line.

use std::cell::RefCell;
#[cfg(any(test, feature = "diagnostics"))]
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr;

use crate::config::toml::{Spanned, Value};
use crate::config::{Problem, toml};

/// Everything wrong so far.
pub(super) struct Problems<'t> {
    text: &'t str,
    found: RefCell<Vec<Problem>>,
}

impl<'t> Problems<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Problems {
            text,
            found: RefCell::default(),
        }
    }

    /// By line and key.
    pub(super) fn into_found(self) -> Vec<Problem> {
        self.found.into_inner()
    }

    pub(super) fn count(&self) -> usize {
        self.found.borrow().len()
    }

    pub(super) fn add(&self, at: usize, key: impl Into<String>, expected: impl Display) {
        let before = self
            .text
            .as_bytes()
            .get(..at)
            .unwrap_or(self.text.as_bytes());
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        #[cfg(not(any(test, feature = "diagnostics")))]
        let _ = expected;
        let problem = Problem {
            line,
            key: key.into(),
            #[cfg(any(test, feature = "diagnostics"))]
            expected: expected.to_string(),
        };
        let mut found = self.found.borrow_mut();
        // By line and key. They come nearly in that order.
        let place =
            found.partition_point(|known| (known.line, &known.key) <= (problem.line, &problem.key));
        found.insert(place, problem);
    }
}

/// One table of the document, with the keys that were asked for.
pub(super) struct Table<'d, 't> {
    pub(super) path: String,
    pub(super) start: usize,
    table: &'d toml::Table<'t>,
    /// Which of its members were asked for.
    asked: RefCell<Vec<bool>>,
    #[cfg(any(test, feature = "diagnostics"))]
    known: RefCell<BTreeSet<&'static str>>,
    pub(super) problems: &'d Problems<'t>,
}

impl<'d, 't> Table<'d, 't> {
    pub(super) fn new(
        path: String,
        start: usize,
        table: &'d toml::Table<'t>,
        problems: &'d Problems<'t>,
    ) -> Self {
        Table {
            path,
            start,
            table,
            asked: RefCell::new(vec![false; table.len()]),
            #[cfg(any(test, feature = "diagnostics"))]
            known: RefCell::default(),
            problems,
        }
    }

    fn key(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    pub(super) fn get(&self, name: &'static str) -> Option<&'d Spanned<Value<'t>>> {
        #[cfg(any(test, feature = "diagnostics"))]
        self.known.borrow_mut().insert(name);
        let (index, value) = self.table.member(name)?;
        if let Some(asked) = self.asked.borrow_mut().get_mut(index) {
            *asked = true;
        }
        Some(value)
    }

    /// Where `name` stands, or else the table.
    pub(super) fn place(&self, name: &str) -> usize {
        self.table
            .get(name)
            .map_or(self.start, |value| value.span().start)
    }

    pub(super) fn problem(&self, name: &str, expected: impl Display) {
        self.problems
            .add(self.place(name), self.key(name), expected);
    }

    /// A string that parses, if the key is there.
    pub(super) fn parsed<T: FromStr>(&self, name: &'static str, expected: &str) -> Option<T>
    where
        T::Err: Display,
    {
        let Some(text) = self.get(name)?.get_ref().as_str() else {
            self.problem(name, format_args!("expected {expected}"));
            return None;
        };
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(name, format_args!("expected {expected}: {error}"));
                None
            }
        }
    }

    pub(super) fn required<T: FromStr>(&self, name: &'static str, expected: &str) -> Option<T>
    where
        T::Err: Display,
    {
        if self.get(name).is_none() {
            self.problem(name, format_args!("missing; expected {expected}"));
        }
        self.parsed(name, expected)
    }

    pub(super) fn non_empty(&self, name: &'static str, expected: &str) -> Option<String> {
        let text: String = self.parsed(name, expected)?;
        // Most are visible ASCII, and nothing is wrong with that.
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !plain && (text.is_empty() || text.trim() != text || text.chars().any(char::is_control))
        {
            self.problem(
                name,
                format_args!("expected {expected}, not empty and without spaces around it"),
            );
            return None;
        }
        Some(text)
    }

    pub(super) fn required_text(&self, name: &'static str, expected: &str) -> Option<String> {
        if self.get(name).is_none() {
            self.problem(name, format_args!("missing; expected {expected}"));
        }
        self.non_empty(name, expected)
    }

    /// A list of strings; absent is the default.
    pub(super) fn list<T: FromStr>(
        &self,
        name: &'static str,
        expected: &str,
        default: impl FnOnce() -> Vec<T>,
    ) -> Vec<T>
    where
        T::Err: Display,
    {
        let Some(value) = self.get(name) else {
            return default();
        };
        let Some(items) = value.get_ref().as_array() else {
            self.problem(name, format_args!("expected a list of {expected}"));
            return Vec::new();
        };
        let mut list = Vec::new();
        for item in items {
            match item.get_ref().as_str().map(str::parse::<T>) {
                Some(Ok(value)) => list.push(value),
                _ => self.problems.add(
                    item.span().start,
                    self.key(name),
                    format_args!("expected a list of {expected}"),
                ),
            }
        }
        list
    }

    pub(super) fn number(&self, name: &'static str, range: Range<u64>, default: u64) -> u64 {
        let Some(value) = self.get(name) else {
            return default;
        };
        let number = value
            .get_ref()
            .as_integer()
            .and_then(|integer| u64::try_from(integer).ok());
        match number {
            Some(number) if range.contains(&number) => number,
            _ => {
                let end = range.end.saturating_sub(1);
                self.problem(
                    name,
                    format_args!("expected a whole number from {} to {end}", range.start),
                );
                default
            }
        }
    }

    /// A switch, off by default, that weakens something.
    pub(super) fn danger(&self, name: &'static str, dangers: &mut Vec<String>) -> bool {
        let on = self.flag(name);
        if on {
            dangers.push(self.key(name));
        }
        on
    }

    /// A switch, off by default.
    pub(super) fn flag(&self, name: &'static str) -> bool {
        let Some(value) = self.get(name) else {
            return false;
        };
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.problem(name, "expected true or false");
            false
        })
    }

    /// One of `words`, by its place in the list.
    pub(super) fn word<T: Clone>(&self, name: &'static str, words: &[(&str, T)]) -> Option<T> {
        let value = self.get(name)?;
        let text = value.get_ref().as_str();
        let found = words.iter().find(|(word, _)| Some(*word) == text);
        if found.is_none() {
            let names: Vec<String> = words
                .iter()
                .map(|(word, _)| format!("\"{word}\""))
                .collect();
            self.problem(name, format_args!("expected {}", names.join(" or ")));
        }
        found.map(|(_, value)| value.clone())
    }

    /// The members of the table `name`, which must all be strings; `refusal` says why one may
    /// not be there.
    pub(super) fn strings(
        &self,
        name: &'static str,
        refusal: impl Fn(&str) -> Option<&'static str>,
    ) -> Vec<(String, String)> {
        let Some(value) = self.get(name) else {
            return Vec::new();
        };
        let Some(table) = value.get_ref().as_table() else {
            self.problem(name, "expected a table of strings");
            return Vec::new();
        };
        let mut members = Vec::new();
        for (key, value) in table.iter() {
            let member = key.get_ref().to_string();
            let problem = |expected| {
                let key_name = format!("{}.{member}", self.key(name));
                self.problems.add(key.span().start, key_name, expected);
            };
            match (refusal(&member), value.get_ref().as_str()) {
                (Some(reason), _) => problem(reason),
                (None, Some(text)) => members.push((member, text.to_owned())),
                (None, None) => problem("expected a string"),
            }
        }
        members
    }

    /// Reports what nobody asked for.
    pub(super) fn finish(&self) {
        #[cfg(any(test, feature = "diagnostics"))]
        let known = {
            let names: Vec<&str> = self.known.borrow().iter().copied().collect();
            names.join(", ")
        };
        #[cfg(not(any(test, feature = "diagnostics")))]
        let known = "";
        for ((name, _), asked) in self.table.iter().zip(self.asked.borrow().iter()) {
            if !asked {
                let text = format_args!("unknown key; known here: {known}");
                let key = self.key(name.get_ref());
                self.problems.add(name.span().start, key, text);
            }
        }
    }

    /// The named tables below `name`, each with its name, in the order of their names.
    pub(super) fn named(&self, name: &'static str) -> Vec<(String, Table<'d, 't>)> {
        let Some(value) = self.get(name) else {
            return Vec::new();
        };
        let Some(table) = value.get_ref().as_table() else {
            self.problem(name, format_args!("expected tables [{name}.<name>]"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (key, value) in table.iter() {
            let entry = key.get_ref().to_string();
            let path = [name, ".", &entry].concat();
            let fits = !entry.is_empty()
                && entry.len() <= 32
                && entry.bytes().all(|b| {
                    b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_'
                });
            if !fits {
                self.problems.add(
                    key.span().start,
                    path.clone(),
                    "expected a name of a-z, 0-9, - and _, at most 32 long",
                );
            }
            match value.get_ref().as_table() {
                Some(inner) => {
                    // A table's span is that of its header; a key's is better to point at.
                    let table = Table::new(path, key.span().start, inner, self.problems);
                    tables.push((entry, table));
                }
                None => self
                    .problems
                    .add(key.span().start, path, "expected a table"),
            }
        }
        tables
    }

    /// The entries of the list of tables `name`.
    pub(super) fn tables(&self, name: &'static str) -> Vec<Table<'d, 't>> {
        let Some(value) = self.get(name) else {
            return Vec::new();
        };
        let Some(items) = value.get_ref().as_array() else {
            self.problem(name, format_args!("expected [[{name}]]"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        let key = self.key(name);
        for (index, item) in items.iter().enumerate() {
            match item.get_ref().as_table() {
                Some(table) => tables.push(Table::new(
                    format!("{key}[{index}]"),
                    item.span().start,
                    table,
                    self.problems,
                )),
                None => self.problem(name, format_args!("expected [[{name}]]")),
            }
        }
        tables
    }
}
