//! `allowed_outbound_hosts`: `scheme://host[:port]`, each part possibly `*`.

use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};
use http::Uri;

/// The hosts a component may call.
#[derive(Debug, Default)]
pub struct AllowedHosts(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    scheme: Option<String>,
    host: Host,
    ports: Option<Range<u32>>,
}

#[derive(Debug)]
enum Host {
    Any,
    Exact(String),
    /// With its leading dot.
    Subdomain(String),
}

impl AllowedHosts {
    /// Reads the entries of one component, templates already resolved.
    ///
    /// # Errors
    ///
    /// Names the entry that is not `scheme://host[:port]`.
    pub fn parse<S: AsRef<str>>(entries: &[S]) -> Result<Self> {
        let rules = entries.iter().map(|entry| {
            let entry = entry.as_ref();
            Rule::parse(entry).with_context(|| format!("allowed_outbound_hosts: `{entry}`"))
        });
        rules.collect::<Result<_>>().map(Self)
    }

    /// Whether a request to `uri` may leave the component.
    pub fn allows(&self, uri: &Uri) -> bool {
        let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
            return false;
        };
        let Some(port) = uri.port_u16().or_else(|| default_port(scheme)) else {
            return false;
        };
        let host = host.to_ascii_lowercase();
        self.0.iter().any(|rule| rule.allows(scheme, &host, port))
    }
}

impl Rule {
    fn parse(entry: &str) -> Result<Self> {
        let (scheme, rest) = entry.trim().split_once("://").context("has no scheme")?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        ensure!(!rest.contains('/'), "has a path");
        ensure!(
            scheme == "*" || scheme.chars().all(|c| c.is_ascii_alphabetic()),
            "has a malformed scheme"
        );
        let (host, port) = match rest.rsplit_once(':') {
            // The colons of an address in brackets do not begin a port.
            Some((host, port)) if !port.contains(']') => (host, port),
            _ => (rest, ""),
        };
        Ok(Self {
            scheme: (scheme != "*").then(|| scheme.to_owned()),
            host: Host::parse(host)?,
            ports: ports(port, scheme)?,
        })
    }

    fn allows(&self, scheme: &str, host: &str, port: u16) -> bool {
        self.scheme.as_ref().is_none_or(|allowed| allowed == scheme)
            && self.host.allows(host)
            && self
                .ports
                .as_ref()
                .is_none_or(|allowed| allowed.contains(&u32::from(port)))
    }
}

impl Host {
    fn parse(host: &str) -> Result<Self> {
        ensure!(!host.is_empty(), "has no host");
        ensure!(
            !host.starts_with('{'),
            "is a list, which Spin does not have"
        );
        ensure!(
            host != "self" && host != "self.alt",
            "means the application, not had by devhost"
        );
        let host = host.to_ascii_lowercase();
        if host == "*" {
            return Ok(Self::Any);
        }
        if let Some(domain) = host.strip_prefix('*') {
            ensure!(
                domain.starts_with('.') && !domain.contains('*'),
                "has a misplaced `*`"
            );
            return Ok(Self::Subdomain(domain.to_owned()));
        }
        ensure!(!host.contains('*'), "has a misplaced `*`");
        Ok(Self::Exact(host))
    }

    fn allows(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(allowed) => allowed == host,
            Self::Subdomain(domain) => host.ends_with(domain),
        }
    }
}

/// The ports an entry allows, `None` for all of them; without a port, the scheme's own.
fn ports(port: &str, scheme: &str) -> Result<Option<Range<u32>>> {
    let number = |text: &str| {
        text.parse::<u16>()
            .map(u32::from)
            .context("has a malformed port")
    };
    if port == "*" {
        return Ok(None);
    }
    if port.is_empty() {
        let Some(port) = default_port(scheme) else {
            bail!("needs a port: the scheme has no default");
        };
        return Ok(Some(u32::from(port)..u32::from(port) + 1));
    }
    if let Some((start, end)) = port.split_once("..") {
        return Ok(Some(number(start)?..number(end)?));
    }
    let port = number(port)?;
    Ok(Some(port..port + 1))
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(entry: &str, uri: &str, expected: bool) {
        let hosts = AllowedHosts::parse(&[entry]).unwrap();
        assert_eq!(
            hosts.allows(&uri.parse().unwrap()),
            expected,
            "{entry} {uri}"
        );
    }

    #[test]
    fn each_part_must_be_equal() {
        check("http://127.0.0.1:3001", "http://127.0.0.1:3001/x", true);
        check("http://127.0.0.1:3001", "http://127.0.0.1:3002/x", false);
        check("http://127.0.0.1:3001", "https://127.0.0.1:3001/x", false);
        check("http://127.0.0.1:3001", "http://127.0.0.2:3001/x", false);
        check("http://[::1]:3001", "http://[::1]:3001/", true);
    }

    #[test]
    fn without_a_port_the_schemes_own_is_meant() {
        check("https://example.com", "https://example.com/", true);
        check("https://example.com", "https://EXAMPLE.com:443/", true);
        check("https://example.com", "https://example.com:8443/", false);
        check(
            "http://tokens.spin.internal",
            "http://tokens.spin.internal/x",
            true,
        );
    }

    #[test]
    fn an_asterisk_stands_for_one_part() {
        check("*://*:*", "https://example.com:8443/", true);
        check("http://*.spin.internal", "http://a.spin.internal/", true);
        check("http://*.spin.internal", "http://spin.internal/", false);
        check("http://*:80", "http://example.com/", true);
        check("http://*:80", "http://example.com:81/", false);
        check(
            "http://localhost:8000..8002",
            "http://localhost:8001/",
            true,
        );
        check(
            "http://localhost:8000..8002",
            "http://localhost:8002/",
            false,
        );
    }

    #[test]
    fn what_is_not_a_host_is_refused() {
        for entry in [
            "example.com",
            "http://",
            "http://a/b",
            "http://a.*",
            "*://a",
            "http://self",
        ] {
            assert!(AllowedHosts::parse(&[entry]).is_err(), "{entry}");
        }
        assert!(AllowedHosts::parse(&["http://a/"]).is_ok());
    }
}
