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

/// The cookies of one request that are airside's own.
#[derive(Clone, Default)]
pub struct Cookies<'h> {
    own: Vec<(&'h str, &'h str)>,
}

impl std::fmt::Debug for Cookies<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.own.iter().map(|(name, _)| name))
            .finish()
    }
}

/// True for the names of airside's own cookies.
pub fn is_own(name: &str) -> bool {
    name.starts_with(SESSION_COOKIE)
}

/// The cookies of one header line, each with its name.
fn pairs(line: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let (pair, after) = match position(b';', line) {
            Some(at) => (line.get(..at)?, line.get(at + 1..)),
            None => (line, None),
        };
        rest = after;
        let pair = pair.trim_ascii();
        // What has no `=` is a value without a name.
        let name = position(b'=', pair).and_then(|at| pair.get(..at));
        Some((name.unwrap_or_default().trim_ascii(), pair))
    })
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
        let mut own: Vec<(&str, &str)> = Vec::new();
        let mut bytes = 0_usize;
        for line in lines {
            bytes = bytes.saturating_add(line.len());
            if bytes > MAX_COOKIE_BYTES {
                return Err(CookieError::HeaderTooLarge);
            }
            for (name, pair) in pairs(line) {
                if !name.starts_with(SESSION_COOKIE.as_bytes()) {
                    continue;
                }
                let Some((name, value)) = text(name, pair) else {
                    continue;
                };
                if own.iter().any(|(known, _)| *known == name) {
                    return Err(CookieError::Duplicate);
                }
                own.push((name, value));
            }
        }
        Ok(Cookies { own })
    }

    fn value(&self, name: &str) -> Option<&'h str> {
        self.own
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| *value)
    }

    /// The sealed session; `None` when there is none or a chunk is missing.
    pub fn session(&self) -> Option<Cow<'h, str>> {
        let (count, first) = self.value(SESSION_COOKIE)?.split_once('~')?;
        let count: usize = match count.as_bytes() {
            [digit @ b'1'..=b'8'] => usize::from(digit - b'0'),
            _ => return None,
        };
        let mut sealed = Cow::Borrowed(first);
        for index in 1..count {
            sealed.to_mut().push_str(self.value(&chunk_name(index))?);
        }
        Some(sealed)
    }

    /// The sealed reference to a session in the key-value store.
    pub fn reference(&self) -> Option<&'h str> {
        self.value(SESSION_COOKIE)?.strip_prefix(REFERENCE)
    }

    /// True when any part of a session cookie is there, readable or not.
    pub fn has_session(&self) -> bool {
        self.session_names().next().is_some()
    }

    fn session_names(&self) -> impl Iterator<Item = &str> {
        self.own
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| *name == SESSION_COOKIE || name.starts_with("__Host-airside."))
    }

    /// Name and sealed value of each login attempt.
    pub fn transactions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.own
            .iter()
            .filter(|(name, _)| name.starts_with(TRANSACTION_PREFIX))
            .map(|(name, value)| (*name, *value))
    }
}

/// Where the first `byte` is. Eight at a time: a session is some thousand bytes, and every request
/// with one is searched.
fn position(byte: u8, line: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let wanted = u64::from_ne_bytes([byte; 8]);
    let (words, _) = line.as_chunks::<8>();
    let mut start = 0;
    for word in words {
        let differ = u64::from_ne_bytes(*word) ^ wanted;
        // Not zero if and only if some byte of `differ` is.
        if differ.wrapping_sub(ONES) & !differ & (ONES << 7) != 0 {
            break;
        }
        start += 8;
    }
    let rest = line.get(start..)?.iter();
    rest.enumerate()
        .find(|(_, found)| **found == byte)
        .map(|(at, _)| start + at)
}

/// Name and value of a cookie that is text.
fn text<'h>(name: &'h [u8], pair: &'h [u8]) -> Option<(&'h str, &'h str)> {
    let value = position(b'=', pair).and_then(|at| pair.get(at + 1..))?;
    let text = |bytes: &'h [u8]| std::str::from_utf8(bytes).ok();
    Some((text(name)?, text(value.trim_ascii())?))
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

/// The cookies of those lines without airside's own, for the upstream; `None` when none is left.
/// Cookies of others keep their bytes and their order.
pub fn without_own<'h>(lines: impl Iterator<Item = &'h [u8]>) -> Option<Vec<u8>> {
    let mut kept: Vec<u8> = Vec::new();
    for (_, pair) in lines.flat_map(pairs) {
        // With or without a name: a cookie that has none may look like one that has.
        let start = pair.strip_prefix(b"=").unwrap_or(pair).trim_ascii_start();
        if pair.is_empty() || start.starts_with(SESSION_COOKIE.as_bytes()) {
            continue;
        }
        if !kept.is_empty() {
            kept.extend_from_slice(b"; ");
        }
        kept.extend_from_slice(pair);
    }
    (!kept.is_empty()).then_some(kept)
}

#[cfg(test)]
mod tests;
