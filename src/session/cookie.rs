//! airside's own cookies (RFC 6265): the session in numbered chunks, and one cookie per login
//! attempt.
//!
//! All carry the `__Host-` prefix, `HttpOnly; Secure; SameSite=Lax; Path=/`, and are deleted
//! with identical attributes. The first chunk begins with the number of chunks, so that a
//! stale chunk of a longer session is never joined to a shorter one.

use std::borrow::Cow;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use thiserror::Error;

use crate::encoding::words;
use crate::time::Lifetime;

/// Name of the first chunk; the others have `.1`, `.2`, ... behind it.
pub const SESSION_COOKIE: &str = "__Host-airside";
/// What the names of login attempts begin with.
pub const TRANSACTION_PREFIX: &str = "__Host-airside-tx-";
/// A value of this size keeps name, value and attributes under the 4,096 bytes of browsers.
pub const MAX_CHUNK_BYTES: usize = 3_900;
/// All session chunks together, with the default number of chunks: with five login attempts
/// the whole `Cookie` line stays under 8,000 bytes, where front proxies stop.
pub const SESSION_BUDGET: usize = 5_300;
/// All login attempts together.
pub const TRANSACTION_BUDGET: usize = 2_650;
/// More login attempts than this at once: the oldest is dropped.
pub const MAX_TRANSACTIONS: usize = 5;
/// No configuration may ask for more chunks.
pub const MAX_CHUNKS: usize = 8;
/// `Cookie` headers over this size are refused, all lines together.
const MAX_COOKIE_BYTES: usize = 64 * 1024;

/// Cookies of airside's own in one request, beside the first chunk. No browser has so many; each is
/// compared with all others, so that without an end one request could cost millions of comparisons.
const MAX_OWN_COOKIES: usize = 64;

/// What the value of a reference begins with, where a session has the number of its chunks.
const REFERENCE: &str = "k~";

const ATTRIBUTES: &str = "; HttpOnly; Secure; SameSite=Lax; Path=/";

/// Why the `Cookie` header is refused, or a cookie cannot be set.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CookieError {
    /// One of our cookies is there twice: only an attacker or a broken proxy does that.
    #[error("cookie sent twice")]
    Duplicate,
    /// The header is larger than any browser sends.
    #[error("cookie header too large")]
    HeaderTooLarge,
    /// The sealed session does not fit into the permitted chunks.
    #[error("session too large for its cookies")]
    SessionTooLarge,
}

/// The cookies of one request: airside's own, and those of others.
///
/// Every byte is looked at once. That a value is text is for who reads it: a session that was
/// opened before is recognised by its bytes.
#[derive(Clone, Default)]
pub struct Cookies<'h> {
    /// What [`SESSION_COOKIE`] holds.
    first: Option<&'h [u8]>,
    /// The other chunks, and the login attempts.
    more: Vec<(&'h str, &'h [u8])>,
    others: Vec<&'h [u8]>,
}

impl std::fmt::Debug for Cookies<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let first = self.first.map(|_| SESSION_COOKIE);
        let more = self.more.iter().map(|(name, _)| *name);
        f.debug_list()
            .entries(first.into_iter().chain(more))
            .finish()
    }
}

/// True for the names of airside's own cookies.
pub fn is_own(name: &str) -> bool {
    name.starts_with(SESSION_COOKIE)
}

/// The cookies of one header line, without what is around them.
fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    let pairs = std::iter::from_fn(move || {
        let line = rest?;
        let (pair, after) = match position(b';', line) {
            Some(at) => (line.get(..at)?, line.get(at + 1..)),
            None => (line, None),
        };
        rest = after;
        Some(pair.trim_ascii())
    });
    pairs.filter(|pair| !pair.is_empty())
}

/// True for a cookie of airside's own, and for one without a name that may look like one: no
/// upstream sees either.
fn is_own_pair(pair: &[u8]) -> bool {
    let start = pair.strip_prefix(b"=").unwrap_or(pair).trim_ascii_start();
    start.starts_with(SESSION_COOKIE.as_bytes())
}

impl<'h> Cookies<'h> {
    /// Reads airside's own cookies and ignores all others.
    ///
    /// # Errors
    /// [`CookieError::Duplicate`] or [`CookieError::HeaderTooLarge`].
    pub fn parse(headers: &'h HeaderMap) -> Result<Self, CookieError> {
        Self::of_lines(headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes))
    }

    /// The same of the values of the `Cookie` header.
    ///
    /// # Errors
    /// [`CookieError::Duplicate`] or [`CookieError::HeaderTooLarge`].
    pub fn of_lines(lines: impl Iterator<Item = &'h [u8]>) -> Result<Self, CookieError> {
        let mut cookies = Cookies::default();
        let mut bytes = 0_usize;
        for line in lines {
            bytes = bytes.saturating_add(line.len());
            if bytes > MAX_COOKIE_BYTES {
                return Err(CookieError::HeaderTooLarge);
            }
            for pair in pairs(line) {
                if !is_own_pair(pair) {
                    cookies.others.push(pair);
                    continue;
                }
                let Some((name, value)) = named(pair) else {
                    continue;
                };
                let is_twice = if name == SESSION_COOKIE {
                    cookies.first.replace(value).is_some()
                } else {
                    if cookies.more.len() >= MAX_OWN_COOKIES {
                        return Err(CookieError::HeaderTooLarge);
                    }
                    let is_twice = cookies.value(name).is_some();
                    cookies.more.push((name, value));
                    is_twice
                };
                if is_twice {
                    return Err(CookieError::Duplicate);
                }
            }
        }
        Ok(cookies)
    }

    fn value(&self, name: &str) -> Option<&'h [u8]> {
        self.more
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| *value)
    }

    /// The sealed session; `None` when there is none or a chunk is missing.
    pub fn session(&self) -> Option<Cow<'h, [u8]>> {
        let [digit @ b'1'..=b'8', b'~', first @ ..] = self.first? else {
            return None;
        };
        let mut sealed = Cow::Borrowed(first);
        for index in 1..usize::from(digit - b'0') {
            let chunk = self.value(&chunk_name(index))?;
            sealed.to_mut().extend_from_slice(chunk);
        }
        Some(sealed)
    }

    /// The sealed reference to a session in the key-value store.
    pub fn reference(&self) -> Option<&'h [u8]> {
        self.first?.strip_prefix(REFERENCE.as_bytes())
    }

    /// The cookies of others, for the upstream; `None` when there is none. They keep their bytes
    /// and their order.
    pub fn of_others(&self) -> Option<Vec<u8>> {
        joined(&self.others)
    }

    /// True when any part of a session cookie is there, readable or not.
    pub fn has_session(&self) -> bool {
        self.session_names().next().is_some()
    }

    fn session_names(&self) -> impl Iterator<Item = &str> {
        let more = self.more.iter().map(|(name, _)| *name);
        let chunks = more.filter(|name| name.starts_with("__Host-airside."));
        let first = self.first.map(|_| SESSION_COOKIE);
        first.into_iter().chain(chunks)
    }

    /// Name and sealed value of each login attempt.
    pub fn transactions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.more
            .iter()
            .filter(|(name, _)| name.starts_with(TRANSACTION_PREFIX))
            .filter_map(|(name, value)| Some((*name, text(value)?)))
    }
}

/// Where the first `byte` is. By words: a session is some thousand bytes, and every request with
/// one is searched.
fn position(byte: u8, line: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    let wanted = u64::from_ne_bytes([byte; 8]);
    // Where `byte` is, `word ^ wanted` is zero, and one less than that has the high bit.
    let less = |word: u64| (word ^ wanted).wrapping_sub(ONES);
    let mut start = 0;
    // Four words at a time, as long as there is neither `byte` nor anything but ASCII.
    for block in line.as_chunks::<32>().0 {
        let [a, b, c, d] = words(block);
        if (less(a) | less(b) | less(c) | less(d)) & HIGH != 0 {
            break;
        }
        start += 32;
    }
    // One word at a time, whatever is in it: a byte that had the high bit before does not count.
    for word in line.get(start..)?.as_chunks::<8>().0 {
        let word = u64::from_ne_bytes(*word);
        if less(word) & !(word ^ wanted) & HIGH != 0 {
            break;
        }
        start += 8;
    }
    let rest = line.get(start..)?.iter();
    rest.enumerate()
        .find(|(_, found)| **found == byte)
        .map(|(at, _)| start + at)
}

/// Name and value of a cookie that has a name, and one that is text.
fn named(pair: &[u8]) -> Option<(&str, &[u8])> {
    let at = position(b'=', pair).filter(|at| *at > 0)?;
    let name = text(pair.get(..at)?.trim_ascii())?;
    Some((name, pair.get(at + 1..)?.trim_ascii()))
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn chunk_name(index: usize) -> String {
    if index == 0 {
        SESSION_COOKIE.to_owned()
    } else {
        format!("{SESSION_COOKIE}.{index}")
    }
}

/// `Set-Cookie` values for `sealed`, and for the deletion of chunks it no longer needs.
///
/// # Errors
/// [`CookieError::SessionTooLarge`] when it needs more than `max_chunks`, or with the default
/// of two more than [`SESSION_BUDGET`].
pub fn session_cookies(
    sealed: &str,
    present: &Cookies<'_>,
    max_age: Lifetime,
    max_chunks: usize,
) -> Result<Vec<HeaderValue>, CookieError> {
    let budget = if max_chunks <= 2 {
        SESSION_BUDGET
    } else {
        MAX_CHUNK_BYTES * MAX_CHUNKS
    };
    let chunks: Vec<&[u8]> = sealed.as_bytes().chunks(MAX_CHUNK_BYTES).collect();
    if chunks.is_empty() || chunks.len() > max_chunks.min(MAX_CHUNKS) || sealed.len() > budget {
        return Err(CookieError::SessionTooLarge);
    }
    let mut headers = Vec::with_capacity(chunks.len());
    let mut names: Vec<String> = Vec::with_capacity(chunks.len());
    for (index, chunk) in chunks.iter().enumerate() {
        let chunk = std::str::from_utf8(chunk).map_err(|_| CookieError::SessionTooLarge)?;
        let count = if index == 0 {
            format!("{}~", chunks.len())
        } else {
            String::new()
        };
        let name = chunk_name(index);
        headers.extend(set_cookie(&name, &format!("{count}{chunk}"), max_age));
        names.push(name);
    }
    headers.extend(stale(present, &names));
    Ok(headers)
}

/// `Set-Cookie` values for a reference to a session in the key-value store, and for the deletion
/// of chunks that are there.
pub fn reference_cookies(
    reference: &str,
    present: &Cookies<'_>,
    max_age: Lifetime,
) -> Vec<HeaderValue> {
    let value = format!("{REFERENCE}{reference}");
    let mut headers: Vec<HeaderValue> = set_cookie(SESSION_COOKIE, &value, max_age)
        .into_iter()
        .collect();
    headers.extend(stale(present, &[SESSION_COOKIE.to_owned()]));
    headers
}

/// Deletions of what is there of a session beside `names`.
fn stale<'c>(present: &'c Cookies<'_>, names: &'c [String]) -> impl Iterator<Item = HeaderValue> {
    present
        .session_names()
        .filter(|name| !names.iter().any(|new| new == name))
        .filter_map(delete_cookie)
}

/// `Set-Cookie` values that delete every part of the session that the browser sent.
pub fn clear_session(present: &Cookies<'_>) -> Vec<HeaderValue> {
    present.session_names().filter_map(delete_cookie).collect()
}

/// `Set-Cookie` values that delete every part a session may have, for when the browser's
/// cookies cannot be read.
pub fn delete_session() -> Vec<HeaderValue> {
    (0..MAX_CHUNKS)
        .filter_map(|index| delete_cookie(&chunk_name(index)))
        .collect()
}

/// A `Set-Cookie` value with airside's attributes; `None` when `value` cannot stand in a header.
pub fn set_cookie(name: &str, value: &str, max_age: Lifetime) -> Option<HeaderValue> {
    let text = format!("{name}={value}{ATTRIBUTES}; Max-Age={}", max_age.as_secs());
    let mut header = HeaderValue::from_str(&text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// A `Set-Cookie` value that deletes `name`, with the attributes it was set with.
pub fn delete_cookie(name: &str) -> Option<HeaderValue> {
    set_cookie(name, "", Lifetime::default())
}

/// The cookies of those lines without airside's own, as [`Cookies::of_others`], for requests
/// whose own are not read: there may be too many of them, or the same one twice.
pub fn without_own<'h>(lines: impl Iterator<Item = &'h [u8]>) -> Option<Vec<u8>> {
    let others = lines.flat_map(pairs).filter(|pair| !is_own_pair(pair));
    joined(&others.collect::<Vec<_>>())
}

fn joined(pairs: &[&[u8]]) -> Option<Vec<u8>> {
    (!pairs.is_empty()).then(|| pairs.join(b"; ".as_slice()))
}

#[cfg(test)]
mod tests;
