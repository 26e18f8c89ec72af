//! Judges a route that is written as nearly all are, in one walk over its text and without making
//! anything of it: keys at the beginning of their lines, strings without escapes, lists on one
//! line. What is found right here is right for [`routes`](super::routes) too, which the tests
//! show with many thousand texts; everything else is left to it, what is wrong and what is only
//! unusual.
//!
//! A gateway with ten thousand routes starts with each instance of each component. Read in full,
//! a route takes twenty times as long.

use crate::config::routes::{Names, is_reserved};
use crate::url::PathPattern;

/// A route in plain notation with which nothing is wrong, taken by itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plain<'t> {
    pub(super) base: &'t str,
    pub(super) prefix: bool,
    methods: Methods,
    asks: Asks<'t>,
}

#[derive(Debug, PartialEq, Eq)]
enum Asks<'t> {
    Public,
    Login,
    Token {
        issuer: usize,
        audience: &'t str,
        /// The inside of the list.
        scopes: &'t str,
    },
}

/// A set of methods, by their place in [`METHODS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Methods(u8);

const METHODS: [&str; 8] = [
    "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY",
];
const EVERY: Methods = Methods(u8::MAX);
const GET: u8 = 1 << 1;
const HEAD: u8 = 1 << 2;

impl Plain<'_> {
    /// True when some request of a method of `other` comes to this route, by the same path.
    pub(super) fn shares_methods_with(&self, other: &Self) -> bool {
        // HEAD counts as GET.
        let head = if self.methods.0 & GET != 0 { HEAD } else { 0 };
        (self.methods.0 | head) & other.methods.0 != 0
    }

    /// True when both are for one and the same method.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.methods.0 & other.methods.0 != 0
    }

    /// As [`Route::covers`](crate::policy::Route): whoever passes this passes `other` too.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (&self.asks, &other.asks) {
            (_, Asks::Public) | (Asks::Login | Asks::Token { .. }, Asks::Login) => true,
            (
                Asks::Token {
                    issuer,
                    audience,
                    scopes,
                },
                Asks::Token {
                    issuer: other_issuer,
                    audience: other_audience,
                    scopes: other_scopes,
                },
            ) => {
                let has = |one| strings(scopes).any(|own| own == one);
                issuer == other_issuer
                    && audience == other_audience
                    && (scopes == other_scopes || strings(other_scopes).all(has))
            }
            (Asks::Public | Asks::Login, _) => false,
        }
    }
}

/// The strings of a list that was found right.
fn strings(list: &str) -> impl Iterator<Item = &str> {
    list.split('"').skip(1).step_by(2)
}

/// The header of a route; what comes behind it is a table of its own.
pub(super) const HEADER: &str = "[[routes]]";

/// Reads routes, one after another.
pub(super) struct Reader<'c, 't> {
    pub(super) text: &'t str,
    /// Where the next route begins: at its header.
    pub(super) at: usize,
    pub(super) names: &'c Names<'c>,
    /// What was looked up last: most routes name the same.
    pub(super) issuer: (&'t str, usize),
    pub(super) upstream: (&'t str, usize),
}

impl<'t> Reader<'_, 't> {
    /// The next route, and goes behind it; `None` when it is not plain and right.
    pub(super) fn route(&mut self) -> Option<Plain<'t>> {
        let mut route = Keys::default();
        self.take_all(HEADER)?;
        self.end_of_line()?;
        loop {
            match self.peek() {
                None => break,
                Some(b'a'..=b'z') => self.member(&mut route)?,
                Some(b'[') if self.rest().starts_with(HEADER.as_bytes()) => break,
                Some(_) => self.end_of_line()?,
            }
        }
        self.judged(route)
    }

    fn rest(&self) -> &'t [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline(always)]
    fn take(&mut self, byte: u8) -> Option<()> {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there.then_some(())
    }

    fn take_all(&mut self, word: &str) -> Option<()> {
        let there = self.rest().starts_with(word.as_bytes());
        self.at += if there { word.len() } else { 0 };
        there.then_some(())
    }

    #[inline(always)]
    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    /// Blanks, a comment, and the end of the line or of the text.
    fn end_of_line(&mut self) -> Option<()> {
        self.skip_blanks();
        if self.peek() == Some(b'#') {
            let fits = |byte: &u8| !matches!(byte, 0..=8 | 10..=31 | 127);
            let rest = self.rest();
            self.at += rest
                .iter()
                .position(|byte| !fits(byte))
                .unwrap_or(rest.len());
        }
        match self.peek() {
            None => Some(()),
            Some(b'\r') => {
                self.at += 1;
                self.take(b'\n')
            }
            Some(_) => self.take(b'\n'),
        }
    }

    fn member(&mut self, route: &mut Keys<'t>) -> Option<()> {
        let mut key = 0_u64;
        while let Some(byte @ b'a'..=b'z') = self.peek() {
            if key >> 56 != 0 {
                return None;
            }
            key = key << 8 | u64::from(byte);
            self.at += 1;
        }
        self.skip_blanks();
        self.take(b'=')?;
        self.skip_blanks();
        let bit = match key {
            ACCESS => {
                route.access = self.string()?;
                1
            }
            AUDIENCE => {
                route.audience = self.string()?;
                AUDIENCE_BIT
            }
            ISSUER => {
                route.issuer = self.string()?;
                ISSUER_BIT
            }
            METHODS_KEY => {
                route.methods = self.methods()?;
                8
            }
            PATH => {
                route.path = self.string()?;
                16
            }
            SCOPES => {
                route.scopes = self.list(|scope| {
                    // As `is_scope`; quotes and backslashes are not plain.
                    let fits = !scope.is_empty() && scope.bytes().all(|byte| byte != b' ');
                    fits.then_some(())
                })?;
                SCOPES_BIT
            }
            UPSTREAM => {
                route.upstream = self.string()?;
                64
            }
            _ => return None,
        };
        // The same key twice is not right.
        if route.seen & bit != 0 {
            return None;
        }
        route.seen |= bit;
        self.end_of_line()
    }

    /// A string of printable ASCII characters without escapes.
    #[inline(always)]
    fn string(&mut self) -> Option<&'t str> {
        self.take(b'"')?;
        let start = self.at;
        self.at += plain_run(self.rest());
        let text = self.text.get(start..self.at);
        self.take(b'"')?;
        text
    }

    /// A list of such strings, each of which `fits`: its inside.
    fn list(&mut self, mut fits: impl FnMut(&'t str) -> Option<()>) -> Option<&'t str> {
        self.take(b'[')?;
        let start = self.at;
        loop {
            self.skip_blanks();
            if self.peek() == Some(b'"') {
                fits(self.string()?)?;
                self.skip_blanks();
                if self.take(b',').is_some() {
                    continue;
                }
            }
            let inside = self.text.get(start..self.at);
            self.take(b']')?;
            return inside;
        }
    }

    fn methods(&mut self) -> Option<Methods> {
        let mut methods = 0;
        self.list(|name| {
            let place = METHODS.iter().position(|known| *known == name)?;
            methods |= 1 << place;
            Some(())
        })?;
        (methods != 0).then_some(Methods(methods))
    }

    /// What must be said, and what must not, and what it must be.
    fn judged(&mut self, route: Keys<'t>) -> Option<Plain<'t>> {
        let (base, prefix) = PathPattern::split(route.path).ok()?;
        let upstream = found(&self.names.upstreams, &mut self.upstream, route.upstream)?;
        let of_token = route.seen & (AUDIENCE_BIT | ISSUER_BIT | SCOPES_BIT);
        let asks = match route.access {
            "public" if of_token == 0 => Asks::Public,
            "login" if of_token == 0 && self.names.has_provider => {
                let name = self.names.upstreams.get(upstream)?;
                if self.names.token_upstreams.contains(name) {
                    return None;
                }
                Asks::Login
            }
            "token" => {
                let audience = route.audience;
                let is_blank = |byte: Option<&u8>| byte.is_none_or(|byte| *byte == b' ');
                let bytes = audience.as_bytes();
                if is_blank(bytes.first())
                    || is_blank(bytes.last())
                    || self.names.client_ids.contains(&audience)
                {
                    return None;
                }
                Asks::Token {
                    issuer: found(&self.names.issuers, &mut self.issuer, route.issuer)?,
                    audience,
                    scopes: route.scopes,
                }
            }
            _ => return None,
        };
        (!is_reserved(base)).then_some(Plain {
            base,
            prefix,
            methods: route.methods,
            asks,
        })
    }
}

/// The index of `name` in `names`, which are in order.
fn found<'t>(names: &[&str], last: &mut (&'t str, usize), name: &'t str) -> Option<usize> {
    if name.is_empty() {
        return None;
    }
    if last.0 != name {
        *last = (name, names.binary_search(&name).ok()?);
    }
    Some(last.1)
}

/// What a table says, as it stands there; empty what it does not say.
struct Keys<'t> {
    seen: u8,
    access: &'t str,
    audience: &'t str,
    issuer: &'t str,
    methods: Methods,
    path: &'t str,
    scopes: &'t str,
    upstream: &'t str,
}

impl Default for Keys<'_> {
    fn default() -> Self {
        Keys {
            seen: 0,
            access: "",
            audience: "",
            issuer: "",
            methods: EVERY,
            path: "",
            scopes: "",
            upstream: "",
        }
    }
}

const AUDIENCE_BIT: u8 = 2;
const ISSUER_BIT: u8 = 4;
const SCOPES_BIT: u8 = 32;

/// A key of at most eight letters as one number.
const fn word(key: &str) -> u64 {
    let (bytes, mut at, mut word) = (key.as_bytes(), 0, 0);
    while at < bytes.len() {
        word = word << 8 | bytes[at] as u64;
        at += 1;
    }
    word
}

const ACCESS: u64 = word("access");
const AUDIENCE: u64 = word("audience");
const ISSUER: u64 = word("issuer");
const METHODS_KEY: u64 = word("methods");
const PATH: u64 = word("path");
const SCOPES: u64 = word("scopes");
const UPSTREAM: u64 = word("upstream");

/// How many printable ASCII characters but quotes and backslashes stand at the beginning, eight
/// at a time.
#[inline(always)]
fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let mut run = 0;
    while let Some(eight) = bytes.get(run..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*eight);
        // The high bit of the first byte that is zero, and perhaps of later ones.
        let zero = |word: u64| word.wrapping_sub(ONES) & !word;
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let special = word
            | control
            | zero(word ^ ONES * b'"' as u64)
            | zero(word ^ ONES * b'\\' as u64)
            | zero(word ^ ONES * 0x7f);
        if special & HIGH != 0 {
            return run + (special & HIGH).trailing_zeros() as usize / 8;
        }
        run += 8;
    }
    let plain = |byte: &&u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    run + bytes.iter().skip(run).take_while(plain).count()
}
