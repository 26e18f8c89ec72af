//! The headers of a proxied request and of its answer.
//!
//! Identity comes from the [`Permit`] and from nowhere else: whatever a client sends under
//! such a name, in whatever spelling, is gone before. Hop-by-hop headers go both ways.

use http::header::{AUTHORIZATION, CACHE_CONTROL, CONNECTION, COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::error::Error;
use crate::policy::Permit;
use crate::policy::decision::SubjectType;
use crate::session::Session;
use crate::session::cookie::{is_own, without_own};
use crate::url::Origin;

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
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// True for request headers that never reach an upstream as the client sent them: who calls,
/// where from, and what the request was before. `_` counts as `-`: CGI-like servers do not
/// tell them apart.
pub fn is_stripped(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    const PREFIXES: [&str; 8] = [
        "airside-",
        "spin-",
        "x-airside-",
        "x-auth-request-",
        "x-envoy-",
        "x-forwarded",
        "x-original-",
        "x-remote-",
    ];
    is_hop_by_hop(&name)
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || matches!(
            name.as_str(),
            "client-ip"
                | "cookie"
                | "expect"
                | "forwarded"
                | "host"
                | "remote-user"
                | "true-client-ip"
                | "x-client-ip"
                | "x-cluster-client-ip"
                | "x-host"
                | "x-http-method-override"
                | "x-method-override"
                | "x-real-ip"
                | "x-rewrite-url"
                | "x-user"
        )
}

/// The names that `Connection` lists: hop-by-hop for this connection.
fn named_by_connection(headers: &HeaderMap) -> Vec<String> {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect()
}

/// The headers for the upstream. Without a permit (public routes) no identity, and the
/// caller's own `Authorization` passes; with one it is gone.
pub(super) fn request(
    incoming: &HeaderMap,
    permit: Option<&Permit>,
    session: Option<&Session>,
    public_url: &Origin,
) -> Result<HeaderMap, Error> {
    let listed = named_by_connection(incoming);
    let mut headers = HeaderMap::with_capacity(incoming.len() + 10);
    for (name, value) in incoming {
        let drop = is_stripped(name.as_str())
            || listed.iter().any(|listed| listed == name.as_str())
            || (permit.is_some() && name == AUTHORIZATION);
        if !drop {
            headers.append(name, value.clone());
        }
    }
    if let Some(cookie) = without_own(incoming) {
        headers.insert(COOKIE, cookie);
    }
    // The host appends its own value after any that the client sent.
    let address = incoming.get_all("spin-client-addr").iter().next_back();
    if let Some(ip) = address
        .and_then(|value| value.to_str().ok())
        .and_then(ip_of)
    {
        insert(&mut headers, "x-forwarded-for", &ip)?;
    }
    insert(&mut headers, "x-forwarded-host", public_url.authority())?;
    insert(&mut headers, "x-forwarded-proto", public_url.scheme())?;
    if let Some(permit) = permit {
        insert(&mut headers, "x-forwarded-sub", permit.subject())?;
        insert(&mut headers, "x-forwarded-issuer", permit.issuer())?;
        let subject_type = match permit.subject_type() {
            SubjectType::Client => "client",
            SubjectType::User => "user",
        };
        insert(&mut headers, "x-forwarded-subject-type", subject_type)?;
        if let Some(client_id) = permit.client_id() {
            insert(&mut headers, "x-forwarded-client-id", client_id)?;
        }
        if let Some(scope) = permit.scope() {
            insert(&mut headers, "x-forwarded-scope", scope)?;
        }
        if let Some(session) = session {
            person(&mut headers, permit, session)?;
        }
    }
    Ok(headers)
}

/// Name and e-mail, only when session and permit speak of the same person, and an e-mail only
/// when the provider verified it.
fn person(headers: &mut HeaderMap, permit: &Permit, session: &Session) -> Result<(), Error> {
    if session.subject != permit.subject() || session.issuer != permit.issuer() {
        return Ok(());
    }
    let text = |claim: &str| {
        session
            .claims
            .get(claim)
            .and_then(serde_json::Value::as_str)
    };
    let verified = session.claims.get("email_verified") == Some(&serde_json::Value::Bool(true));
    let encoded = |text: &str| utf8_percent_encode(text, VALUE).to_string();
    if let Some(email) = text("email").filter(|_| verified) {
        insert(headers, "x-forwarded-email", &encoded(email))?;
    }
    if let Some(name) = text("name") {
        insert(headers, "x-forwarded-name", &encoded(name))?;
    }
    Ok(())
}

/// In names and e-mail addresses everything but visible ASCII and spaces, and `%` itself, is
/// percent-encoded as UTF-8.
const VALUE: &AsciiSet = &CONTROLS.add(b'%');

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) -> Result<(), Error> {
    let value = HeaderValue::from_str(value).map_err(|_| Error::Internal)?;
    headers.insert(HeaderName::from_static(name), value);
    Ok(())
}

fn ip_of(address: &str) -> Option<String> {
    let address: std::net::SocketAddr = address.parse().ok()?;
    Some(address.ip().to_string())
}

/// The headers of the answer.
pub(super) fn response(
    upstream: HeaderMap,
    by_session: bool,
    set_cookies: &[HeaderValue],
) -> HeaderMap {
    let listed = named_by_connection(&upstream);
    let mut headers = HeaderMap::with_capacity(upstream.len() + set_cookies.len());
    for (name, value) in &upstream {
        let ours = name == SET_COOKIE && sets_own_cookie(value);
        if !is_hop_by_hop(name.as_str()) && !listed.iter().any(|l| l == name.as_str()) && !ours {
            headers.append(name, value.clone());
        }
    }
    if !set_cookies.is_empty() {
        // A shared cache that keeps a Set-Cookie gives one person's session to another.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    } else if by_session {
        privatise(&mut headers);
    }
    for cookie in set_cookies {
        headers.append(SET_COOKIE, cookie.clone());
    }
    headers
}

fn sets_own_cookie(value: &HeaderValue) -> bool {
    let name = value
        .as_bytes()
        .split(|b| *b == b'=')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    std::str::from_utf8(name).is_ok_and(is_own)
}

/// Makes an answer to a session unfit for shared caches (RFC 9111 section 5.2.2.7).
fn privatise(headers: &mut HeaderMap) {
    let mut kept: Vec<String> = vec!["private".to_owned()];
    for value in headers.get_all(CACHE_CONTROL) {
        let text = value.to_str().unwrap_or_default();
        for directive in text.split(',').map(str::trim).filter(|d| !d.is_empty()) {
            let name = directive
                .split('=')
                .next()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase();
            if !matches!(
                name.as_str(),
                "private" | "proxy-revalidate" | "public" | "s-maxage"
            ) {
                kept.push(directive.to_owned());
            }
        }
    }
    let value = HeaderValue::from_str(&kept.join(", "));
    headers.insert(
        CACHE_CONTROL,
        value.unwrap_or(HeaderValue::from_static("no-store")),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(list: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            let name: HeaderName = name.parse().expect("name");
            headers.append(name, HeaderValue::from_str(value).expect("value"));
        }
        headers
    }

    fn origin() -> Origin {
        "https://app.example".parse().expect("origin")
    }

    #[test]
    fn spoofed_identity_is_gone_in_every_spelling() {
        for name in [
            "X-Forwarded-Sub",
            "x_forwarded_sub",
            "X-Forwarded_Sub",
            "X_FORWARDED-SUB",
            "X-Forwarded-Email",
            "x-forwarded-anything",
            "X-Forwarded",
            "Forwarded",
            "Airside-Assertion",
            "airside_assertion",
            "X-Real-IP",
            "x_real_ip",
            "Remote-User",
            "REMOTE_USER",
            "X-Original-URL",
            "X_Rewrite_Url",
            "X-Auth-Request-User",
            "spin-client-addr",
            "Spin_Full_Url",
            "Host",
            "Connection",
            "TE",
        ] {
            let headers = request(
                &map(&[(name, "evil"), ("x-keep", "1")]),
                None,
                None,
                &origin(),
            )
            .expect("headers");
            assert!(!headers.values().any(|value| value == "evil"), "{name}");
            assert_eq!(headers["x-keep"], "1");
        }
    }

    #[test]
    fn what_connection_names_goes_too() {
        let incoming = map(&[
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("x-stay", "1"),
        ]);
        let headers = request(&incoming, None, None, &origin()).expect("headers");
        assert!(!headers.contains_key("x-hop") && headers.contains_key("x-stay"));
    }

    #[test]
    fn the_last_client_address_is_the_hosts() {
        let incoming = map(&[
            ("spin-client-addr", "6.6.6.6:1"),
            ("spin-client-addr", "[::1]:99"),
        ]);
        let headers = request(&incoming, None, None, &origin()).expect("headers");
        assert_eq!(headers["x-forwarded-for"], "::1");
        assert_eq!(headers["x-forwarded-host"], "app.example");
        assert_eq!(headers["x-forwarded-proto"], "https");
    }

    #[test]
    fn our_cookies_stay_here_and_an_upstream_cannot_set_them() {
        let incoming = map(&[("cookie", "a=1; __Host-airside=1~x")]);
        assert_eq!(
            request(&incoming, None, None, &origin()).expect("headers")["cookie"],
            "a=1"
        );
        let upstream = map(&[
            ("set-cookie", "a=1"),
            ("set-cookie", "__Host-airside=1~evil; Path=/"),
            ("set-cookie", " __Host-airside-tx-1 = evil"),
            ("keep-alive", "timeout=5"),
            ("content-length", "3"),
        ]);
        let headers = response(upstream, false, &[]);
        assert_eq!(
            headers.get_all(SET_COOKIE).iter().collect::<Vec<_>>(),
            ["a=1"]
        );
        assert!(!headers.contains_key("keep-alive") && headers.contains_key("content-length"));
    }

    #[test]
    fn answers_to_a_session_are_private() {
        let control = |by_session, value: &str, cookies: &[HeaderValue]| {
            let headers = response(map(&[("cache-control", value)]), by_session, cookies);
            headers["cache-control"].to_str().expect("text").to_owned()
        };
        assert_eq!(
            control(false, "public, max-age=60", &[]),
            "public, max-age=60"
        );
        assert_eq!(
            control(true, "public, max-age=60, s-maxage=9", &[]),
            "private, max-age=60"
        );
        assert_eq!(control(true, "no-store", &[]), "private, no-store");
        assert_eq!(
            control(true, "public", &[HeaderValue::from_static("a=b")]),
            "no-store"
        );
    }
}
