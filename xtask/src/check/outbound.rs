//! `allowed_outbound_hosts` as Spin reads it, as far as the doctor must judge it.

use std::collections::BTreeSet;

/// Whether an origin may be reached.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// An entry allows it.
    Allowed,
    /// No entry does, but one with a variable might.
    DependsOnVariable,
    /// No entry does.
    Missing,
}

/// Judges an origin (`scheme://host[:port]`) by a list.
pub(crate) fn allows(list: &BTreeSet<String>, origin: &str) -> Verdict {
    if list.iter().any(|entry| entry_allows(entry, origin)) {
        Verdict::Allowed
    } else if list.iter().any(|entry| entry.contains("{{")) {
        Verdict::DependsOnVariable
    } else {
        Verdict::Missing
    }
}

/// The origin of an http or https URL, in lower case, without a default port.
pub(crate) fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let authority = rest.split(['/', '?', '#']).next()?.to_ascii_lowercase();
    let default = default_port(&scheme)?;
    if authority.is_empty() || authority.contains('@') {
        return None;
    }
    let authority = authority
        .strip_suffix(&format!(":{default}"))
        .unwrap_or(&authority);
    Some(format!("{scheme}://{authority}"))
}

fn entry_allows(entry: &str, origin: &str) -> bool {
    if entry == "insecure:allow-all" {
        return true;
    }
    let (Some((scheme, rest)), Some((wanted_scheme, wanted))) =
        (entry.split_once("://"), origin.split_once("://"))
    else {
        return false;
    };
    let (host, port) = split_port(rest.trim_end_matches('/'));
    let (wanted_host, wanted_port) = split_port(wanted);
    let default = default_port(wanted_scheme);
    let Some(wanted_port) = wanted_port.map_or(default, |port| port.parse().ok()) else {
        return false;
    };
    (scheme == "*" || scheme.eq_ignore_ascii_case(wanted_scheme))
        && host_allows(host, wanted_host)
        && match port {
            Some(port) => port_allows(port, wanted_port),
            None => default == Some(wanted_port),
        }
}

fn host_allows(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(domain) => host
            .strip_suffix(&domain.to_ascii_lowercase())
            .and_then(|rest| rest.strip_suffix('.'))
            .is_some_and(|label| !label.is_empty()),
        None => pattern == "*" || pattern.eq_ignore_ascii_case(host),
    }
}

fn port_allows(pattern: &str, port: u16) -> bool {
    let number = |text: &str| text.parse::<u16>().ok();
    match pattern.split_once("..") {
        // As in Rust, the end is not included.
        Some((first, end)) => {
            number(first).is_some_and(|first| first <= port)
                && number(end).is_some_and(|end| port < end)
        }
        None => pattern == "*" || number(pattern) == Some(port),
    }
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        // The colons of an IPv6 address are inside brackets.
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
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
    fn check(entry: &str, origin: &str, expected: Verdict) {
        assert_eq!(
            allows(&BTreeSet::from([entry.to_owned()]), origin),
            expected,
            "{entry}"
        );
    }

    #[test]
    fn an_entry_allows_its_scheme_host_and_port_only() {
        check(
            "https://idp.example",
            "https://idp.example",
            Verdict::Allowed,
        );
        check(
            "https://idp.example:443/",
            "https://idp.example",
            Verdict::Allowed,
        );
        check(
            "https://idp.example",
            "http://idp.example",
            Verdict::Missing,
        );
        check(
            "https://idp.example",
            "https://idp.example:8443",
            Verdict::Missing,
        );
        check(
            "https://idp.example",
            "https://xidp.example",
            Verdict::Missing,
        );
        check(
            "http://127.0.0.1:3001",
            "http://127.0.0.1:3001",
            Verdict::Allowed,
        );
        check(
            "http://127.0.0.1:3001",
            "http://127.0.0.1:3002",
            Verdict::Missing,
        );
        check("http://[::1]:3001", "http://[::1]:3001", Verdict::Allowed);
        check("nonsense", "https://idp.example", Verdict::Missing);
    }

    #[test]
    fn wildcards_allow_what_spin_allows() {
        check(
            "*://idp.example:*",
            "https://idp.example:8443",
            Verdict::Allowed,
        );
        check("https://*:443", "https://idp.example", Verdict::Allowed);
        check("https://*.example", "https://idp.example", Verdict::Allowed);
        check(
            "https://*.idp.example",
            "https://idp.example",
            Verdict::Missing,
        );
        check("https://*.ample", "https://idp.example", Verdict::Missing);
        check(
            "http://127.0.0.1:3000..3002",
            "http://127.0.0.1:3001",
            Verdict::Allowed,
        );
        check(
            "http://127.0.0.1:3000..3002",
            "http://127.0.0.1:3002",
            Verdict::Missing,
        );
        check(
            "insecure:allow-all",
            "https://idp.example",
            Verdict::Allowed,
        );
        check(
            "https://{{ idp }}",
            "https://idp.example",
            Verdict::DependsOnVariable,
        );
    }

    #[test]
    fn an_origin_has_no_path_and_no_default_port() {
        assert_eq!(
            origin("https://IdP.example:443/a?b").as_deref(),
            Some("https://idp.example")
        );
        assert_eq!(origin("http://[::1]:80").as_deref(), Some("http://[::1]"));
        assert_eq!(origin("ftp://idp.example"), None);
        assert_eq!(origin("https://"), None);
        assert_eq!(origin("https://user@idp.example"), None);
    }
}
