//! The URLs of the protocol, each parsed once into a type of its own.
//!
//! `http::Uri` splits, these types decide. The original text is kept wherever equality is by
//! exact string (issuer: OpenID Connect Discovery section 4.3; redirect_uri: RFC 9700 section 2.1).

use std::fmt;
use std::str::FromStr;

use http::Uri;
use percent_encoding::{percent_decode, percent_decode_str};
use thiserror::Error;

/// Why a text is not the URL it should be.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum UrlError {
    /// Has a fragment, a query or user information where none may be.
    #[error("must have no fragment, query or user information")]
    ExtraPart,
    /// Not `https`, and not `http` on a loopback address.
    #[error("must be https (or http on a loopback address, for development)")]
    Insecure,
    /// Not an absolute URL with a host.
    #[error("must be an absolute URL")]
    Malformed,
    /// Not a path of whole segments.
    #[error("must be whole segments, none empty, without dots only, escapes or other wildcards")]
    NotAPath,
    /// Has a path where only an origin may be.
    #[error("must be an origin, without a path")]
    NotAnOrigin,
}

/// An absolute `https` URL, or `http` on a loopback address (development). No fragment, no
/// user information; a query is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpsUrl {
    text: String,
    origin: Origin,
    path_start: usize,
}

impl HttpsUrl {
    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Path and query as given; may be empty.
    pub fn path_and_query(&self) -> &str {
        self.text.get(self.path_start..).unwrap_or_default()
    }

    /// True when the URL has a query.
    pub fn has_query(&self) -> bool {
        self.text.contains('?')
    }
}

impl FromStr for HttpsUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if text.contains('#') || text.contains('\\') || !text.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(if text.contains('#') {
                UrlError::ExtraPart
            } else {
                UrlError::Malformed
            });
        }
        let uri: Uri = text.parse().map_err(|_| UrlError::Malformed)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(UrlError::Malformed);
        };
        if authority.as_str().contains('@') {
            return Err(UrlError::ExtraPart);
        }
        if authority.host().is_empty() || authority.as_str().ends_with(':') {
            return Err(UrlError::Malformed);
        }
        match scheme {
            "https" => {}
            "http" if is_loopback(authority.host()) => {}
            _ => return Err(UrlError::Insecure),
        }
        let path_start = scheme.len() + "://".len() + authority.as_str().len();
        let origin = Origin::new(scheme, authority.host(), authority.port_u16());
        Ok(HttpsUrl {
            text: text.to_owned(),
            origin,
            path_start,
        })
    }
}

impl fmt::Display for HttpsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// True for `localhost` and the loopback addresses.
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

/// Scheme, host and port (RFC 6454), in lower case and without the scheme's default port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin(String);

impl Origin {
    fn new(scheme: &str, host: &str, port: Option<u16>) -> Self {
        let host = host.to_ascii_lowercase();
        let default = if scheme == "https" { 443 } else { 80 };
        match port {
            Some(port) if port != default => Origin(format!("{scheme}://{host}:{port}")),
            _ => Origin(format!("{scheme}://{host}")),
        }
    }

    /// An origin that may be plain `http` on another machine. Only for upstreams, and only
    /// where the configuration says `danger_plaintext`.
    ///
    /// # Errors
    /// [`UrlError`], as for the secure kind.
    pub fn parse_plaintext(text: &str) -> Result<Self, UrlError> {
        match text.strip_prefix("http://") {
            // Checked by the same rules as https, then put back.
            Some(rest) => {
                let port = rest
                    .trim_end_matches('/')
                    .rsplit_once(':')
                    .and_then(|(_, p)| p.parse().ok());
                let secure: Origin = format!("https://{rest}").parse()?;
                let host = secure
                    .authority()
                    .rsplit_once(':')
                    .filter(|_| port.is_some());
                let host = host.map_or(secure.authority(), |(host, _)| host);
                Ok(Origin::new("http", host, port))
            }
            None => text.parse(),
        }
    }

    /// As in an `Origin` header: `https://host` or `https://host:port`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Host and port as in a `Host` header.
    pub fn authority(&self) -> &str {
        // Not searched for: it is asked several times in every request.
        self.0
            .get(self.scheme().len() + "://".len()..)
            .unwrap_or_default()
    }

    /// `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        match self.0.starts_with("https:") {
            true => "https",
            false => "http",
        }
    }
}

impl FromStr for Origin {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let url: HttpsUrl = text.parse()?;
        match url.path_and_query() {
            "" | "/" => Ok(url.origin),
            _ => Err(UrlError::NotAnOrigin),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An issuer identifier, compared as the exact string it was given as.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Issuer(HttpsUrl);

impl Issuer {
    /// The identifier as given.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// As a URL.
    pub fn url(&self) -> &HttpsUrl {
        &self.0
    }

    /// Where the provider's metadata is (OpenID Connect Discovery section 4.1): a trailing
    /// slash of the issuer is removed before the well-known path is added.
    pub fn openid_configuration(&self) -> String {
        format!(
            "{}/.well-known/openid-configuration",
            self.as_str().trim_end_matches('/')
        )
    }
}

impl FromStr for Issuer {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let url: HttpsUrl = text.parse()?;
        // OpenID Connect Core section 2, `iss`: no query or fragment components.
        if url.has_query() {
            Err(UrlError::ExtraPart)
        } else {
            Ok(Issuer(url))
        }
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where to go after login or logout: a path on this very site, never another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnTo(String);

impl ReturnTo {
    /// Longer values are dropped: they would crowd the transaction cookie.
    pub const MAX_BYTES: usize = 1_024;

    /// The start page.
    pub fn root() -> Self {
        ReturnTo("/".to_owned())
    }

    /// The local path and query in `text`, or the start page when it is anything else.
    ///
    /// Accepted is one leading slash followed by visible ASCII without backslash, without empty
    /// segments, and without a path below `/auth/`, where it would loop. No segment may be dots,
    /// or have a slash, a backslash or a control character, not even when it is decoded once or
    /// twice. What a browser would read as another host never passes.
    pub fn parse(text: &str) -> Self {
        if Self::is_local(text) {
            ReturnTo(text.to_owned())
        } else {
            Self::root()
        }
    }

    /// Path and query, starting with exactly one slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_local(text: &str) -> bool {
        let path = text.split(['?', '#']).next().unwrap_or_default();
        text.len() <= Self::MAX_BYTES
            && text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
            && !path.contains("//")
            && path.strip_prefix('/').is_some_and(|rest| {
                let mut segments = rest.split('/').map(decoded_twice);
                segments.clone().all(|segment| is_plain(&segment))
                    && segments.next().is_some_and(|first| name(&first) != b"auth")
            })
    }
}

/// A path segment as a server sees it that decodes twice. Decoding takes escapes away and nothing
/// else, so what a browser, or a server that decodes once, would stumble over is still there.
fn decoded_twice(segment: &str) -> Vec<u8> {
    let once: Vec<u8> = percent_decode_str(segment).collect();
    percent_decode(&once).collect()
}

/// True when the segment moves nowhere, separates nothing and ends no line.
fn is_plain(segment: &[u8]) -> bool {
    let breaks = |b: &u8| matches!(b, b'/' | b'\\' | 0..=0x1f | 0x7f);
    !matches!(name(segment), b"." | b"..") && !segment.iter().any(breaks)
}

/// The segment without parameters. Some servers cut them off first: `..;x` is `..` to them.
fn name(segment: &[u8]) -> &[u8] {
    segment.split(|b| *b == b';').next().unwrap_or_default()
}

/// A route's path: exact, or everything at and below whole segments (`/api/*`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern {
    /// The path without the trailing `/*`; `/` for everything is the empty string.
    pub base: String,
    /// True for `/*`.
    pub prefix: bool,
}

impl PathPattern {
    /// Base and prefix of a pattern, where they stand in the text.
    pub(crate) fn split(text: &str) -> Result<(&str, bool), UrlError> {
        let (base, prefix) = match text.strip_suffix("/*") {
            Some(base) => (base, true),
            None => (text, false),
        };
        // Of the segment so far: its bytes, and how many of them are dots.
        let (mut length, mut dots) = (0, 0);
        for (at, byte) in base.bytes().enumerate() {
            match byte {
                b'/' if at == 0 => {}
                _ if at == 0 => return Err(UrlError::NotAPath),
                // An empty segment, or one that moves.
                b'/' if length == dots && length < 3 => return Err(UrlError::NotAPath),
                b'/' => (length, dots) = (0, 0),
                b'\\' | b'*' | b'?' | b'#' | b'%' => return Err(UrlError::NotAPath),
                b'.' => (length, dots) = (length + 1, dots + 1),
                b'!'..=b'~' => length += 1,
                _ => return Err(UrlError::NotAPath),
            }
        }
        let moves = length == dots && matches!(length, 1 | 2);
        // The base of `/*` is empty, and other bases of prefixes end in a segment.
        let whole = if prefix {
            base.is_empty() || length > 0
        } else {
            !base.is_empty()
        };
        if whole && !moves {
            Ok((base, prefix))
        } else {
            Err(UrlError::NotAPath)
        }
    }
}

impl FromStr for PathPattern {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (base, prefix) = PathPattern::split(text)?;
        Ok(PathPattern {
            base: base.to_owned(),
            prefix,
        })
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.base, if self.prefix { "/*" } else { "" })
    }
}

#[cfg(test)]
mod tests;
