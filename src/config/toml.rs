//! Reads TOML (version 1.1), as far as `airside.toml` needs it: strings, whole numbers,
//! booleans, lists and tables, each with its place. Dates and fractions are recognised and
//! nothing more: no key has one.
//!
//! Every component reads the file when an instance starts, with a thousand times the speed that
//! a file deserves that nobody has changed; and it is loaded on many machines. The `toml` crate
//! is 45 kB larger and reads 10,000 routes in several times as long. It is what this is held to
//! by the tests: the same texts accepted, the same values read.

mod reader;

use std::borrow::Cow;
use std::ops::Range;

use crate::config::toml::reader::{Keys, Reader};

/// Lists and inline tables in each other, at most that deep.
const MAX_DEPTH: usize = 32;

/// A value or a key, and where it begins.
#[derive(Debug)]
pub(super) struct Spanned<T> {
    start: usize,
    value: T,
}

impl<T> Spanned<T> {
    pub(super) fn get_ref(&self) -> &T {
        &self.value
    }

    /// Where it is; only the beginning is known.
    pub(super) fn span(&self) -> Range<usize> {
        self.start..self.start
    }
}

/// A value.
#[derive(Debug)]
pub(super) enum Value<'t> {
    /// A list in brackets.
    Array(Vec<Spanned<Value<'t>>>),
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number of 64 bits.
    Integer(i64),
    /// A fraction, a date or a larger number.
    Other,
    /// Any kind of string.
    String(Cow<'t, str>),
    /// A table, by a header or in braces.
    Table(Table<'t>),
    /// The tables of `[[name]]`.
    Tables(Vec<Spanned<Value<'t>>>),
}

impl<'t> Value<'t> {
    pub(super) fn as_array(&self) -> Option<&[Spanned<Value<'t>>]> {
        match self {
            Value::Array(items) | Value::Tables(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn as_integer(&self) -> Option<i64> {
        match self {
            Value::Integer(value) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_table(&self) -> Option<&Table<'t>> {
        match self {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }
}

/// How a table came about: that says who may add to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// By `name.key = value`: further such keys may add to it.
    Dotted,
    /// By a header of its own.
    Header,
    /// As a part of the header of another: its own may follow.
    Implied,
    /// In braces: complete.
    Inline,
}

/// A table, in the order of its keys.
#[derive(Debug)]
pub(super) struct Table<'t> {
    members: Vec<(Spanned<Cow<'t, str>>, Spanned<Value<'t>>)>,
    /// A bit of the name of each: most that are asked for are not there.
    bits: u64,
    origin: Origin,
}

impl<'t> Table<'t> {
    fn new(origin: Origin) -> Self {
        Table {
            members: Vec::new(),
            bits: 0,
            origin,
        }
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.members
            .binary_search_by(|(key, _)| key.value.as_ref().cmp(name))
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Spanned<Value<'t>>> {
        self.member(name).map(|(_, value)| value)
    }

    /// The value of `name`, and the place it has among the members.
    pub(super) fn member(&self, name: &str) -> Option<(usize, &Spanned<Value<'t>>)> {
        if self.bits & bit(name) == 0 {
            return None;
        }
        // Most tables are small, and most names of another length.
        let at = if self.members.len() < 16 {
            let mut keys = self.members.iter().map(|(key, _)| key.value.as_ref());
            keys.position(|key| key.len() == name.len() && key == name)
        } else {
            self.find(name).ok()
        }?;
        self.members.get(at).map(|(_, value)| (at, value))
    }

    pub(super) fn iter(
        &self,
    ) -> impl Iterator<Item = (&Spanned<Cow<'t, str>>, &Spanned<Value<'t>>)> {
        self.members.iter().map(|(key, value)| (key, value))
    }

    /// The value of `key`, put there by `make` if there was none.
    fn entry(
        &mut self,
        key: Spanned<Cow<'t, str>>,
        make: impl FnOnce() -> Value<'t>,
    ) -> Option<&mut Spanned<Value<'t>>> {
        let at = match self.find(&key.value) {
            Ok(at) => at,
            Err(at) => {
                let start = key.start;
                let value = make();
                self.bits |= bit(&key.value);
                self.members.insert(at, (key, Spanned { start, value }));
                at
            }
        };
        self.members.get_mut(at).map(|(_, value)| value)
    }

    fn insert(&mut self, key: Spanned<Cow<'t, str>>, value: Spanned<Value<'t>>) -> Outcome<()> {
        match self.find(&key.value) {
            Ok(_) => Err((key.start, DUPLICATE)),
            Err(at) => {
                self.bits |= bit(&key.value);
                self.members.insert(at, (key, value));
                Ok(())
            }
        }
    }

    /// The table that `keys` lead to by dots in front of a value.
    fn by_dots(&mut self, keys: Vec<Spanned<Cow<'t, str>>>) -> Outcome<&mut Table<'t>> {
        let mut table = self;
        for key in keys {
            let start = key.start;
            let made = || Value::Table(Table::new(Origin::Dotted));
            table = match table.entry(key, made).map(|entry| &mut entry.value) {
                Some(Value::Table(inner)) if inner.origin == Origin::Dotted => inner,
                _ => return Err((start, DUPLICATE)),
            };
        }
        Ok(table)
    }

    /// The table that a header opens.
    fn by_header(
        &mut self,
        keys: Keys<'t>,
        repeated: bool,
        start: usize,
    ) -> Outcome<&mut Table<'t>> {
        let mut table = self;
        let Keys { above, last } = keys;
        for key in above {
            let start = key.start;
            let made = || Value::Table(Table::new(Origin::Implied));
            table = match table.entry(key, made).map(|entry| &mut entry.value) {
                Some(Value::Table(inner)) if inner.origin != Origin::Inline => inner,
                Some(Value::Tables(items)) => match items.last_mut().map(|last| &mut last.value) {
                    Some(Value::Table(inner)) => inner,
                    _ => return Err((start, DUPLICATE)),
                },
                _ => return Err((start, DUPLICATE)),
            };
        }
        let fault = Err((last.start, DUPLICATE));
        if repeated {
            let made = || Value::Tables(Vec::new());
            let Some(Value::Tables(items)) = table.entry(last, made).map(|entry| &mut entry.value)
            else {
                return fault;
            };
            items.push(Spanned {
                start,
                value: Value::Table(Table::new(Origin::Header)),
            });
            return match items.last_mut().map(|last| &mut last.value) {
                Some(Value::Table(inner)) => Ok(inner),
                _ => fault,
            };
        }
        let made = || Value::Table(Table::new(Origin::Implied));
        match table.entry(last, made) {
            Some(Spanned {
                start: place,
                value: Value::Table(inner),
            }) if inner.origin == Origin::Implied => {
                *place = start;
                inner.origin = Origin::Header;
                Ok(inner)
            }
            _ => fault,
        }
    }
}

/// One of 64 bits, by the length of a name and its first letter.
fn bit(name: &str) -> u64 {
    let first = name.as_bytes().first().copied().unwrap_or_default();
    1 << ((usize::from(first) + 5 * name.len()) % 64)
}

const DUPLICATE: &str = "is there already";

/// What is wrong, and where.
type Outcome<T> = Result<T, (usize, &'static str)>;

/// Reads `text`. What is wrong goes to `report` with its place, and the rest of its line is
/// left out.
pub(super) fn parse<'t>(text: &'t str, mut report: impl FnMut(usize, &'static str)) -> Table<'t> {
    let mut root = Table::new(Origin::Header);
    // Where a header is wrong, what stands below it goes nowhere.
    let mut nowhere = Table::new(Origin::Header);
    // A byte order mark says nothing.
    let at = if text.starts_with('\u{feff}') { 3 } else { 0 };
    let mut reader = Reader { text, at };
    let mut table = &mut root;
    loop {
        reader.skip_lines();
        let start = reader.at;
        let outcome = match reader.peek() {
            None => break,
            Some(b'[') => match reader.header() {
                Ok((keys, repeated)) => match root.by_header(keys, repeated, start) {
                    Ok(opened) => {
                        table = opened;
                        reader.end_of_line()
                    }
                    Err(fault) => {
                        table = &mut nowhere;
                        Err(fault)
                    }
                },
                Err(fault) => {
                    table = &mut nowhere;
                    Err(fault)
                }
            },
            Some(_) => reader.member(table, 0).and_then(|()| reader.end_of_line()),
        };
        if let Err((at, message)) = outcome {
            report(at, message);
            reader.skip_rest_of_line();
        }
        // A reader that stands still would never end.
        if reader.at == start {
            reader.at += 1;
        }
    }
    root
}

#[cfg(test)]
mod tests;
