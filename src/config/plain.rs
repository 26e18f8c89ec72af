//! Judges a route that is written as nearly all are, in one walk over its text and without making
//! anything of it: keys at the beginning of their lines, strings without escapes, lists on one
//! line. What is found right here is right for [`routes`](super::routes) too, which the tests
//! show with many thousand texts; everything else is left to it, what is wrong and what is only
//! unusual.
//!
//! A gateway with ten thousand routes starts with each instance of each component, so this is
//! written for speed, with words of eight bytes. Read in full, a route takes twenty times as long.

use crate::config::routes::{Names, is_reserved};
use crate::policy::words;
use crate::url::PathPattern;

/// A route in plain notation with which nothing is wrong, taken by itself.
#[derive(Debug)]
pub(super) struct Plain<'t> {
    /// Where the path stands, without `/*` at its end.
    pub(super) base: Span,
    pub(super) prefix: bool,
    methods: Methods,
    asks: Asks<'t>,
}

#[derive(Debug)]
enum Asks<'t> {
    Public,
    Login,
    Token {
        issuer: usize,
        audience: &'t [u8],
        /// The inside of the list.
        scopes: &'t [u8],
    },
}

/// A set of methods, by their place in [`METHODS`].
#[derive(Clone, Copy, Debug)]
struct Methods(u8);

const METHODS: [&str; 8] = [
    "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY",
];
impl Methods {
    /// Those of a list; `None` where there are none, or unusual ones.
    fn of(list: &[u8]) -> Option<Self> {
        let mut methods = 0;
        for name in strings(list) {
            let place = METHODS.iter().position(|known| known.as_bytes() == name)?;
            methods |= 1 << place;
        }
        (methods != 0).then_some(Methods(methods))
    }
}

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
fn strings(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b'"').skip(1).step_by(2)
}

/// The header of a route; what comes behind it is a table of its own.
pub(super) const HEADER: &str = "[[routes]]";

/// Reads routes, one after another.
pub(super) struct Reader<'c, 't> {
    pub(super) text: Cursor<'t>,
    names: &'c Names<'c>,
    // What was looked up last: most routes name the same.
    issuer: (Span, usize),
    upstream: (Span, usize),
}

/// A place in a text.
pub(super) struct Cursor<'t> {
    bytes: &'t [u8],
    pub(super) at: usize,
}

/// Where something stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    pub(super) fn of(self, text: &[u8]) -> &[u8] {
        text.get(self.start..self.end).unwrap_or_default()
    }
}

impl<'c, 't> Reader<'c, 't> {
    pub(super) fn new(bytes: &'t [u8], at: usize, names: &'c Names<'c>) -> Self {
        Reader {
            text: Cursor { bytes, at },
            names,
            issuer: Default::default(),
            upstream: Default::default(),
        }
    }

    /// The route whose header stands at `at`, which then is where it ends; `None` when it is not
    /// plain and right.
    #[inline(never)]
    pub(super) fn route(&mut self) -> Option<Plain<'t>> {
        let mut route = Keys::default();
        if !self.text.is_at_header() {
            return None;
        }
        self.text.at += HEADER.len();
        self.text.end_of_line()?;
        loop {
            let word = self.text.word(self.text.at);
            match word as u8 {
                b'a'..=b'z' => self.member(word, &mut route)?,
                b'\n' => self.text.at += 1,
                b'[' if self.text.is_at_header() => break,
                _ if self.text.at >= self.text.bytes.len() => break,
                _ => self.text.unusual_end_of_line()?,
            }
        }
        self.judged(&route)
    }

    fn member(&mut self, word: u64, route: &mut Keys) -> Option<()> {
        let (place, length) = match word as u8 {
            b'a' if word & const { words::low(6) } == const { words::of("access") } => (ACCESS, 6),
            b'a' if word == const { words::of("audience") } => (AUDIENCE, 8),
            b'i' if word & const { words::low(6) } == const { words::of("issuer") } => (ISSUER, 6),
            b'm' if word & const { words::low(7) } == const { words::of("methods") } => {
                (METHODS_KEY, 7)
            }
            b'p' if word & const { words::low(4) } == const { words::of("path") } => (PATH, 4),
            b's' if word & const { words::low(6) } == const { words::of("scopes") } => (SCOPES, 6),
            b'u' if word == const { words::of("upstream") } => (UPSTREAM, 8),
            _ => return None,
        };
        self.text.at += length;
        // Nearly always there is one blank on each side.
        if self.text.word(self.text.at) & const { words::low(3) } == const { words::of(" = ") } {
            self.text.at += 3;
        } else {
            self.text.skip_blanks();
            self.text.take(b'=')?;
            self.text.skip_blanks();
        }
        let value = match place {
            SCOPES => self.text.list()?,
            METHODS_KEY => {
                let list = self.text.list()?;
                route.methods = Methods::of(self.text.slice(list))?;
                list
            }
            _ => {
                let value = self.text.opened_string(b' ')?;
                if self.text.word(self.text.at) & const { words::low(2) }
                    == const { words::of("\"\n") }
                {
                    self.text.at += 2;
                    return route.set(place, value);
                }
                self.text.take(b'"')?;
                value
            }
        };
        route.set(place, value)?;
        self.text.end_of_line()
    }

    /// What must be said, and what must not, and what it must be.
    fn judged(&mut self, route: &Keys) -> Option<Plain<'t>> {
        let [path, access, upstream, issuer, audience, scopes, _] = route.values;
        let (base, prefix) = self.text.pattern(path)?;
        let upstream = self.upstream(upstream)?;
        let of_token = issuer.end | audience.end | scopes.end != 0;
        const TOKEN: u64 = words::of("token");
        const LOGIN: u64 = words::of("login");
        const PUBLIC: u64 = words::of("public");
        let length = access.end - access.start;
        let asks = match self.text.word(access.start) & words::low(length) {
            TOKEN => {
                let (issuer, audience) = (self.issuer(issuer)?, self.text.slice(audience));
                let is_blank = |byte: Option<&u8>| byte.is_none_or(|byte| *byte == b' ');
                let is = |client_id: &&str| client_id.as_bytes() == audience;
                if is_blank(audience.first())
                    || is_blank(audience.last())
                    || self.names.client_ids.iter().any(is)
                {
                    return None;
                }
                Asks::Token {
                    issuer,
                    audience,
                    scopes: self.text.slice(scopes),
                }
            }
            LOGIN if !of_token && self.names.has_provider => {
                let name = self.names.upstreams.get(upstream)?;
                if self.names.token_upstreams.contains(name) {
                    return None;
                }
                Asks::Login
            }
            PUBLIC if !of_token => Asks::Public,
            _ => return None,
        };
        Some(Plain {
            base,
            prefix,
            methods: route.methods,
            asks,
        })
    }

    fn issuer(&mut self, name: Span) -> Option<usize> {
        if !self.text.is_same(self.issuer.0, name) {
            self.issuer = (name, index(&self.names.issuers, self.text.slice(name))?);
        }
        Some(self.issuer.1)
    }

    fn upstream(&mut self, name: Span) -> Option<usize> {
        if !self.text.is_same(self.upstream.0, name) {
            self.upstream = (name, index(&self.names.upstreams, self.text.slice(name))?);
        }
        Some(self.upstream.1)
    }
}

impl<'t> Cursor<'t> {
    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline(always)]
    fn take(&mut self, byte: u8) -> Option<()> {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there.then_some(())
    }

    /// The eight bytes from `at` on, zeros behind the end.
    #[inline(always)]
    fn word(&self, at: usize) -> u64 {
        words::at(self.bytes, at)
    }

    fn slice(&self, span: Span) -> &'t [u8] {
        span.of(self.bytes)
    }

    #[inline(always)]
    fn is_at_header(&self) -> bool {
        const FIRST: u64 = words::of("[[routes");
        const LAST: u64 = words::of("routes]]");
        self.word(self.at) == FIRST && self.word(self.at + 2) == LAST
    }

    #[inline(always)]
    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    /// Blanks, a comment, and the end of the line or of the text.
    #[inline(always)]
    fn end_of_line(&mut self) -> Option<()> {
        match self.take(b'\n') {
            Some(()) => Some(()),
            None => self.unusual_end_of_line(),
        }
    }

    #[inline(always)]
    fn unusual_end_of_line(&mut self) -> Option<()> {
        self.at = unusual_end_of_line(self.bytes, self.at)?;
        Some(())
    }

    /// A string of printable ASCII characters without escapes, none before `least`.
    #[inline(always)]
    fn string(&mut self, least: u8) -> Option<Span> {
        let string = self.opened_string(least)?;
        self.take(b'"')?;
        Some(string)
    }

    /// The same up to where its closing quote must be.
    #[inline(always)]
    fn opened_string(&mut self, least: u8) -> Option<Span> {
        self.take(b'"')?;
        let start = self.at;
        loop {
            let special = words::special(self.word(self.at), least);
            if special != 0 {
                let end = self.at + special.trailing_zeros() as usize / 8;
                self.at = end;
                return Some(Span { start, end });
            }
            self.at += 8;
        }
    }

    /// A list of strings that may be scopes: its inside. As `is_scope`; quotes and backslashes are
    /// not plain.
    #[inline(always)]
    fn list(&mut self) -> Option<Span> {
        let start = self.at + 1;
        self.at = list(self.bytes, self.at)?;
        let end = self.at - 1;
        Some(Span { start, end })
    }

    /// True when the text says the same at both, and something.
    #[inline(always)]
    fn is_same(&self, one: Span, other: Span) -> bool {
        let length = one.end - one.start;
        if length == 0 || length != other.end - other.start {
            return false;
        }
        let mut at = 0;
        while at < length {
            let differs = self.word(one.start + at) ^ self.word(other.start + at);
            if differs & words::low(length - at) != 0 {
                return false;
            }
            at += 8;
        }
        true
    }

    /// As [`PathPattern::split`], which is asked where it is not obvious.
    #[inline(always)]
    fn pattern(&self, path: Span) -> Option<(Span, bool)> {
        let Span { start, end } = path;
        let prefix = end - start > 2
            && self.word(end - 2) & const { words::low(2) } == const { words::of("/*") };
        let end = if prefix { end - 2 } else { end };
        // Two of slash and slash, or slash and dot, beside each other, or what is never in a path.
        let (mut at, mut wrong, mut before) = (start, 0, 0);
        while at < end {
            let own = words::low(end - at);
            let word = (self.word(at) & own) | (words::all(b'a') & !own);
            let slashes = words::equal(word, b'/');
            // A dot differs from a slash in its lowest bit.
            let both = words::equal(word | words::all(1), b'/');
            wrong |= words::obtrusive(word) | (((slashes << 8) | before) & both);
            before = slashes >> 56;
            at += 8;
        }
        let first = self.word(start);
        let obvious = end - start > 1
            && wrong == 0
            && first as u8 == b'/'
            && self.bytes.get(end - 1) != Some(&b'/')
            && first & const { words::low(5) } != const { words::of("/auth") };
        if obvious {
            return Some((Span { start, end }, prefix));
        }
        let text = std::str::from_utf8(self.slice(path)).ok()?;
        let (base, prefix) = PathPattern::split(text).ok()?;
        let end = start + base.len();
        (!is_reserved(base)).then_some((Span { start, end }, prefix))
    }
}

/// The index of the name in `names`, which are in order.
#[inline(never)]
fn index(names: &[&str], name: &[u8]) -> Option<usize> {
    let index = names.binary_search_by(|known| known.as_bytes().cmp(name));
    index.ok().filter(|_| !name.is_empty())
}

// What is not part of the walk itself is told where it is and says where it goes on: a reader that
// nothing else refers to is kept in registers.

/// Where the list that begins at `at` ends. See [`Reader::list`].
#[inline(never)]
fn list(bytes: &[u8], at: usize) -> Option<usize> {
    let mut cursor = Cursor { bytes, at };
    cursor.take(b'[')?;
    loop {
        cursor.skip_blanks();
        if cursor.peek() == Some(b'"') {
            let scope = cursor.string(b'!')?;
            if scope.start == scope.end {
                return None;
            }
            cursor.skip_blanks();
            if cursor.take(b',').is_some() {
                continue;
            }
        }
        cursor.take(b']')?;
        return Some(cursor.at);
    }
}

/// Where the line goes on that ends at `at` with blanks or a comment in front of its end.
#[inline(never)]
fn unusual_end_of_line(bytes: &[u8], at: usize) -> Option<usize> {
    let mut cursor = Cursor { bytes, at };
    cursor.skip_blanks();
    if cursor.peek() == Some(b'#') {
        // Quotes are rare in comments.
        while words::special(words::at(bytes, cursor.at), b' ') == 0 {
            cursor.at += 8;
        }
        let rest = bytes.get(cursor.at..)?;
        let ends = |byte: &u8| matches!(byte, 0..=8 | 10..=31 | 127);
        let comment = rest.get(..rest.iter().position(ends).unwrap_or(rest.len()))?;
        std::str::from_utf8(comment).ok()?;
        cursor.at += comment.len();
    }
    let _ = cursor.take(b'\r');
    match cursor.peek() {
        None if bytes.last() != Some(&b'\r') => Some(cursor.at),
        _ => cursor.take(b'\n').map(|()| cursor.at),
    }
}

/// Where the values of a table stand, by the places below; nothing where there are none.
struct Keys {
    values: [Span; 7],
    methods: Methods,
}

impl Keys {
    /// The same key twice is not right.
    #[inline(always)]
    fn set(&mut self, place: usize, value: Span) -> Option<()> {
        let known = self.values.get_mut(place)?;
        // No value is at the beginning of the text.
        let first = known.end == 0;
        *known = value;
        first.then_some(())
    }
}

impl Default for Keys {
    fn default() -> Self {
        Keys {
            values: Default::default(),
            methods: EVERY,
        }
    }
}

const PATH: usize = 0;
const ACCESS: usize = 1;
const UPSTREAM: usize = 2;
const ISSUER: usize = 3;
const AUDIENCE: usize = 4;
const SCOPES: usize = 5;
const METHODS_KEY: usize = 6;
