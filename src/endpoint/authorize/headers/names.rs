//! Which headers do not pass.

use crate::endpoint::authorize::Field;
use crate::endpoint::authorize::head::values;

/// True for headers that are about one connection only (RFC 9110 section 7.6.1). The host
/// refuses them in what a guest sends.
pub fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// True for request headers that never reach an upstream as the client sent them: who calls,
/// where from, and what the request was before. `_` counts as `-`: CGI-like servers do not
/// tell them apart.
pub fn is_stripped(name: &str) -> bool {
    const X_PREFIXES: [&str; 6] = [
        "x-airside-",
        "x-auth-request-",
        "x-envoy-",
        "x-forwarded",
        "x-original-",
        "x-remote-",
    ];
    const X_NAMES: [&str; 10] = [
        "x-client-ip",
        "x-cluster-client-ip",
        "x-host",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-real-ip",
        "x-rewrite-url",
        "x-user",
        "x-url-scheme",
    ];
    const NAMES: [&str; 17] = [
        "client-ip",
        "connection",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "remote-user",
        "te",
        "trailer",
        "transfer-encoding",
        "true-client-ip",
        "upgrade",
    ];
    // By the first letter first: this is asked of every field of every request.
    match name.as_bytes().first() {
        Some(b'x' | b'X') => {
            X_PREFIXES.iter().any(|prefix| begins(name, prefix))
                || X_NAMES.iter().any(|one| is(name, one))
        }
        Some(b'a' | b'A') => begins(name, "airside-"),
        Some(b's' | b'S') => begins(name, "spin-"),
        _ => NAMES.iter().any(|one| is(name, one)),
    }
}

/// True when `name` is one of `names`, whatever its case.
pub(super) fn is_among(name: &str, names: &[String]) -> bool {
    names.iter().any(|one| one.eq_ignore_ascii_case(name))
}

/// True when `name` is `plain` (lower case, `-`) in some spelling.
pub(super) fn is(name: &str, plain: &str) -> bool {
    name.len() == plain.len() && begins(name, plain)
}

/// True when `name` begins with `plain` in some spelling.
fn begins(name: &str, plain: &str) -> bool {
    let folded = |byte: u8| match byte {
        b'_' => b'-',
        other => other.to_ascii_lowercase(),
    };
    name.len() >= plain.len() && plain.bytes().zip(name.bytes()).all(|(p, n)| folded(n) == p)
}

/// The names that `Connection` lists: hop-by-hop for this connection.
pub(super) fn named_by_connection(fields: &[Field]) -> Vec<String> {
    values(fields, "connection")
        .filter_map(|value| std::str::from_utf8(value).ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_stripped_name_is_found_and_its_neighbours_are_not() {
        for name in [
            "X-Forwarded-Sub",
            "x_forwarded_sub",
            "X_FORWARDED-anything",
            "X-Forwarded",
            "Forwarded",
            "airside_assertion",
            "X_Real_IP",
            "REMOTE_USER",
            "X-Original-URL",
            "spin-client-addr",
            "Spin_Full_Url",
            "Host",
            "Connection",
            "Transfer_Encoding",
            "TE",
            "Trailer",
            "X-HTTP-Method-Override",
        ] {
            assert!(is_stripped(name), "{name}");
        }
        for name in [
            "x-forward",
            "forwarded-by",
            "spins",
            "tea",
            "hosts",
            "x-users",
            "accept",
            "via",
            "trailers",
            "x-real-ips",
            "",
        ] {
            assert!(!is_stripped(name), "{name}");
        }
    }

    #[test]
    fn no_hop_by_hop_header_of_a_client_passes() {
        for name in [
            "connection",
            "te",
            "upgrade",
            "keep-alive",
            "proxy-authorization",
        ] {
            assert!(is_hop_by_hop(name) && is_stripped(name), "{name}");
        }
        assert!(!is_hop_by_hop("content-length") && !is_hop_by_hop("trailer"));
    }
}
