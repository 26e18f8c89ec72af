//! The path that is decided on, which is the path that is forwarded.
//!
//! A path that an upstream could read as another one is refused: encoded slashes and
//! backslashes, dot segments in any disguise, empty segments, control characters, and double
//! encodings of any of them. What remains is matched by its percent-decoded segments, so that
//! `/%61pi` is judged as the `/api` that an upstream will see.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use thiserror::Error;

/// Longer request targets are refused.
pub const MAX_TARGET_BYTES: usize = 16 * 1024;
const MAX_SEGMENTS: usize = 128;

/// Why a path is refused (400).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PathError {
    /// An upstream might read it as another path.
    #[error("path is ambiguous")]
    Ambiguous,
    /// Not a path: no leading slash, characters that must be encoded, bad encoding.
    #[error("path is malformed")]
    Malformed,
    /// Over [`MAX_TARGET_BYTES`].
    #[error("path too long")]
    TooLong,
}

/// A path and query that mean one thing only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedPath<'a> {
    target: &'a str,
    /// The path without its first slash and without the query.
    rest: &'a str,
}

impl<'a> CheckedPath<'a> {
    /// Checks `target`, a path with an optional query.
    ///
    /// # Errors
    /// [`PathError`].
    pub fn parse(target: &'a str) -> Result<Self, PathError> {
        if target.len() > MAX_TARGET_BYTES {
            return Err(PathError::TooLong);
        }
        let path = target.split('?').next().unwrap_or_default();
        let rest = path.strip_prefix('/').ok_or(PathError::Malformed)?;
        // A loop, since this is on the way of every request and the library is built for size.
        for byte in target.bytes() {
            if !byte.is_ascii_graphic() || byte == b'#' {
                return Err(PathError::Malformed);
            }
        }
        // Most paths have nothing in them that could be read in two ways.
        if is_plain(rest) {
            return Ok(CheckedPath { target, rest });
        }
        let mut parts = rest.split('/').peekable();
        let mut count = 0;
        while let Some(part) = parts.next() {
            // Only the last segment may be empty: a trailing slash.
            if part.is_empty() && parts.peek().is_some() {
                return Err(PathError::Ambiguous);
            }
            check_segment(part)?;
            count += 1;
        }
        if count > MAX_SEGMENTS {
            return Err(PathError::TooLong);
        }
        Ok(CheckedPath { target, rest })
    }

    /// Path and query exactly as received.
    pub fn target(&self) -> &'a str {
        self.target
    }

    /// The path, decoded. No slash but those of the path itself is in it.
    pub fn decoded(&self) -> Cow<'a, [u8]> {
        let path = self.target.get(..self.rest.len() + 1).unwrap_or_default();
        percent_decode_str(path).into()
    }

    /// The decoded segments; `/` is one empty segment, and a trailing slash ends in one.
    pub fn segments(&self) -> impl Iterator<Item = Cow<'a, [u8]>> + use<'a> {
        self.rest.split('/').map(|part| match part.contains('%') {
            true => percent_decode_str(part).into(),
            false => Cow::Borrowed(part.as_bytes()),
        })
    }
}

/// True for a short path of letters, digits, `-`, `_` and `~` with no empty segment but the last:
/// none of the checks below could refuse it.
fn is_plain(rest: &str) -> bool {
    let mut before = b'/';
    for byte in rest.bytes() {
        let fits = match byte {
            b'/' => before != b'/',
            b'-' | b'_' | b'~' => true,
            _ => byte.is_ascii_alphanumeric(),
        };
        if !fits {
            return false;
        }
        before = byte;
    }
    rest.len() <= MAX_SEGMENTS
}

fn check_segment(part: &str) -> Result<(), PathError> {
    if part.contains('\\') {
        return Err(PathError::Ambiguous);
    }
    if !part.contains(['%', '.', ';']) {
        return Ok(());
    }
    let bytes = part.as_bytes();
    for (at, _) in part.match_indices('%') {
        let digits = bytes.get(at + 1..at + 3).ok_or(PathError::Malformed)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(PathError::Malformed);
        }
    }
    let decoded: Cow<'_, [u8]> = percent_decode_str(part).into();
    if is_ambiguous(&decoded) {
        return Err(PathError::Ambiguous);
    }
    // An upstream that decodes twice must not see what was hidden from us.
    if decoded.contains(&b'%') {
        let twice: Cow<'_, [u8]> = percent_encoding::percent_decode(&decoded).into();
        if is_ambiguous(&twice) {
            return Err(PathError::Ambiguous);
        }
    }
    Ok(())
}

/// True for what separates segments, moves between them, or ends a line somewhere.
fn is_ambiguous(segment: &[u8]) -> bool {
    // Some servers cut path parameters off first: `..;x` is `..` to them.
    let name = segment.split(|b| *b == b';').next().unwrap_or_default();
    matches!(name, b"." | b"..")
        || segment
            .iter()
            .any(|b| matches!(b, b'/' | b'\\' | 0..=0x1f | 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_upstream_could_read_otherwise_is_refused() {
        for bad in [
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/../a",
            "/a/..",
            "/a/.",
            "/./a",
            "/%2e/a",
            "/%2E%2e/a",
            "/.%2e/a",
            "//a",
            "/a//b",
            "/a/;/..;x/b",
            "/..;/b",
            "/.;/b",
            "/a%00",
            "/a%0d%0ab",
            "/a%7f",
            "/a%252fb",
            "/%252e%252e/b",
            "/a%255cb",
        ] {
            assert_eq!(CheckedPath::parse(bad), Err(PathError::Ambiguous), "{bad}");
        }
        for bad in [
            "",
            "a",
            "*",
            "?a",
            "/a b",
            "/é",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a#b",
            "http://a/",
            "/a\tb",
        ] {
            assert_eq!(CheckedPath::parse(bad), Err(PathError::Malformed), "{bad}");
        }
        let long = format!("/{}", "a".repeat(MAX_TARGET_BYTES));
        assert_eq!(CheckedPath::parse(&long), Err(PathError::TooLong));
        assert_eq!(
            CheckedPath::parse(&"/a".repeat(200)),
            Err(PathError::TooLong)
        );
    }

    #[test]
    fn honest_paths_pass_unchanged() {
        for good in [
            "/",
            "/a",
            "/a/",
            "/a/b?x=%2f..//\\",
            "/a.b/..c/c..",
            "/...",
            "/a%20b",
            "/%e2%82%ac",
            "/a;v=1/b",
            "/100%25",
        ] {
            assert_eq!(
                CheckedPath::parse(good).map(|path| path.target()),
                Ok(good),
                "{good}"
            );
        }
    }

    #[test]
    fn a_plain_path_is_one_that_the_checks_let_pass() {
        let random = crate::testing::SeededRandom::new(1);
        let alphabet = b"aZ09-_~//.%;\\2fF5c";
        let mut plain = 0;
        for _ in 0..50_000 {
            let rest: String = (0..random.below(9))
                .map(|_| char::from(alphabet[random.below(alphabet.len())]))
                .collect();
            if is_plain(&rest) {
                plain += 1;
                let mut parts: Vec<&str> = rest.split('/').collect();
                let last = parts.pop();
                assert!(parts.iter().all(|part| !part.is_empty()), "{rest}");
                assert!(
                    parts
                        .into_iter()
                        .chain(last)
                        .all(|part| check_segment(part).is_ok()),
                    "{rest}"
                );
            }
        }
        assert!(plain > 1_000, "{plain}");
        assert!(!is_plain("a.b") && !is_plain("/a") && !is_plain("a//b") && is_plain("a/"));
    }

    #[test]
    fn segments_are_decoded_once() {
        let path = CheckedPath::parse("/%61pi/x/").expect("path");
        let expected: [&[u8]; 3] = [b"api", b"x", b""];
        assert!(path.segments().eq(expected));
    }
}
