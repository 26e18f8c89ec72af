//! Where a request comes from, as the upstream is told: `X-Forwarded-For`, `-Host`, `-Proto`, and
//! the same as `Forwarded` (RFC 7239).
//!
//! Host and protocol are those of `public_url`. The address is that of who is connected, or,
//! where that is a proxy of ours (`trusted_proxies`), whom that one names. Nothing else of what
//! comes under these names is believed, or goes on.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use crate::config::Config;
use crate::endpoint::authorize::Head;
use crate::endpoint::authorize::headers::Edited;

/// Proxies in a row; more are not believed.
const MAX_HOPS: usize = 8;

/// The values of the headers about a request.
pub(super) struct Whence {
    /// `X-Forwarded-For`; empty where no address is known.
    list: String,
    /// `Forwarded`.
    forwarded: String,
}

impl Whence {
    /// Of the request with `head`.
    pub(super) fn of(head: &Head<'_>, config: &Config) -> Self {
        let (host, proto) = (config.public_url.authority(), config.public_url.scheme());
        let mut list = String::new();
        let mut forwarded = String::with_capacity(64 + host.len());
        for (address, text) in chain(head, config).iter().rev() {
            if !list.is_empty() {
                list.push_str(", ");
                forwarded.push_str(", ");
            }
            // Section 6.1: an IPv6 address is in brackets, and then quoted.
            let (before, after) = match address {
                IpAddr::V4(_) => ("for=", ""),
                IpAddr::V6(_) => ("for=\"[", "]\""),
            };
            for part in [before, text, after] {
                forwarded.push_str(part);
            }
            if list.is_empty() {
                // The first proxy saw what the client asked for.
                about(&mut forwarded, host, proto);
            }
            list.push_str(text);
        }
        if list.is_empty() {
            // Section 6.2.
            forwarded.push_str("for=unknown");
            about(&mut forwarded, host, proto);
        }
        Whence { list, forwarded }
    }

    /// Writes them, and the host and protocol of `public_url`. All of it is fit for headers.
    pub(super) fn write(&self, fields: &mut Edited, config: &Config) {
        if !self.list.is_empty() {
            fields.add("x-forwarded-for", self.list.as_bytes());
        }
        fields.add("forwarded", self.forwarded.as_bytes());
        let (host, proto) = (config.public_url.authority(), config.public_url.scheme());
        fields.add("x-forwarded-host", host.as_bytes());
        fields.add("x-forwarded-proto", proto.as_bytes());
    }
}

fn about(forwarded: &mut String, host: &str, proto: &str) {
    for part in [";host=\"", host, "\";proto=", proto] {
        forwarded.push_str(part);
    }
}

/// An address, and its text.
type Hop<'h> = (IpAddr, Cow<'h, str>);

/// Who is connected, and whom trusted proxies name, from the nearest to the client.
fn chain<'h>(head: &'h Head<'_>, config: &Config) -> Vec<Hop<'h>> {
    // The host appends its own value after any that the client sent.
    let host = head.values("spin-client-addr").last();
    let host = host.and_then(|value| {
        let text = std::str::from_utf8(value).ok()?;
        Some((text, text.parse::<SocketAddr>().ok()?))
    });
    // A component that calls has none.
    let Some((text, socket)) = host.filter(|(_, socket)| !is_unspecified(*socket)) else {
        return Vec::new();
    };
    let peer = match text.rsplit_once(':') {
        // There is one way only to write it that can be read (no leading zeros).
        Some((text, _)) if socket.is_ipv4() => (socket.ip(), Cow::Borrowed(text)),
        _ => hop(socket.ip()),
    };
    let trusted = |address| {
        config
            .trusted_proxies
            .iter()
            .any(|net| net.contains(address))
    };
    let is_trusted = trusted(peer.0);
    let mut chain = vec![peer];
    if !is_trusted {
        return chain;
    }
    // Each proxy appends whom it saw. The first that is none of ours is the client: what stands
    // before it, it may have written itself.
    let lines: Vec<&[u8]> = head.values("x-forwarded-for").collect();
    let text = |line| std::str::from_utf8(line).unwrap_or_default();
    let named = lines
        .into_iter()
        .rev()
        .flat_map(|line| text(line).rsplit(','));
    for text in named.take(MAX_HOPS) {
        let Some(address) = address(text.trim()) else {
            break;
        };
        chain.push(hop(address));
        if !trusted(address) {
            break;
        }
    }
    chain
}

fn is_unspecified(socket: SocketAddr) -> bool {
    socket.ip().to_canonical().is_unspecified()
}

fn hop(address: IpAddr) -> Hop<'static> {
    let address = address.to_canonical();
    (address, Cow::Owned(address.to_string()))
}

/// An address as proxies write it: some with a port.
fn address(text: &str) -> Option<IpAddr> {
    let alone = || text.parse::<IpAddr>().ok();
    let with_port = || Some(text.parse::<SocketAddr>().ok()?.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address = alone().or_else(with_port).or_else(in_brackets)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::authorize::header_map;
    use http::Method;

    #[track_caller]
    fn check(trusted: &str, sent: &[(&'static str, &str)], list: Option<&str>, forwarded: &str) {
        let text = format!(
            "public_url = \"https://app.example:8443\"\ntrusted_proxies = {trusted}\n\
             [upstreams.a]\nurl = \"https://a.example\"\n\
             [[routes]]\npath = \"/*\"\naccess = \"public\"\nupstream = \"a\"\n"
        );
        let config = Config::parse(&text).expect("config");
        let sent = sent.iter();
        let sent = sent.map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_owned()));
        let head = Head::new(Method::GET, "/", sent.collect());
        let mut fields = Edited::of(Vec::new(), |_| true);
        Whence::of(&head, &config).write(&mut fields, &config);
        let headers = header_map(&fields.done());
        let text = |name: &str| headers.get(name).map(|value| value.to_str().expect("text"));
        assert_eq!(text("x-forwarded-for"), list);
        assert_eq!(text("forwarded"), Some(forwarded));
        assert_eq!(text("x-forwarded-host"), Some("app.example:8443"));
        assert_eq!(text("x-forwarded-proto"), Some("https"));
    }

    const ABOUT: &str = ";host=\"app.example:8443\";proto=https";
    const FROM: &str = "spin-client-addr";
    const LIST: &str = "x-forwarded-for";

    #[test]
    fn nobody_is_believed_by_default() {
        let sent = [
            (FROM, "6.6.6.6:1"),
            (FROM, "192.0.2.1:99"),
            (LIST, "6.6.6.6"),
            ("forwarded", "for=6.6.6.6"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-proto", "http"),
        ];
        check(
            "[]",
            &sent,
            Some("192.0.2.1"),
            &format!("for=192.0.2.1{ABOUT}"),
        );
        // The trusted one is another.
        check(
            "[\"192.0.2.2\"]",
            &sent,
            Some("192.0.2.1"),
            &format!("for=192.0.2.1{ABOUT}"),
        );
    }

    #[test]
    fn an_ipv6_address_is_quoted_and_one_of_ipv4_written_so_is_not() {
        let v6 = [(FROM, "[2001:db8::1]:99")];
        check(
            "[]",
            &v6,
            Some("2001:db8::1"),
            &format!("for=\"[2001:db8::1]\"{ABOUT}"),
        );
        let v4 = [(FROM, "[::ffff:192.0.2.1]:99")];
        check(
            "[]",
            &v4,
            Some("192.0.2.1"),
            &format!("for=192.0.2.1{ABOUT}"),
        );
    }

    #[test]
    fn a_component_that_calls_and_a_host_that_does_not_say_have_no_address() {
        let unknown = format!("for=unknown{ABOUT}");
        for sent in [
            &[][..],
            &[(FROM, "0.0.0.0:0")],
            &[(FROM, "[::]:0")],
            &[(FROM, "x")],
        ] {
            let sent = [sent, &[(LIST, "6.6.6.6")]].concat();
            check("[\"0.0.0.0\", \"::\"]", &sent, None, &unknown);
        }
    }

    #[test]
    fn a_trusted_proxy_names_the_client_and_the_client_nobody() {
        let trusted = "[\"10.0.0.0/8\", \"2001:db8::/32\"]";
        let peer = (FROM, "10.0.0.1:99");
        for (sent, expected) in [
            (&["192.0.2.1"][..], &["192.0.2.1", "10.0.0.1"][..]),
            (&["6.6.6.6, 192.0.2.1"], &["192.0.2.1", "10.0.0.1"]),
            (&["6.6.6.6", "192.0.2.1"], &["192.0.2.1", "10.0.0.1"]),
            (&["10.6.6.6, 192.0.2.1"], &["192.0.2.1", "10.0.0.1"]),
            (&["192.0.2.1:4711"], &["192.0.2.1", "10.0.0.1"]),
            (
                &["192.0.2.1, 10.0.0.2"],
                &["192.0.2.1", "10.0.0.2", "10.0.0.1"],
            ),
            (
                &["6.6.6.6,192.0.2.1 ,10.0.0.2"],
                &["192.0.2.1", "10.0.0.2", "10.0.0.1"],
            ),
            (
                &["192.0.2.1", "10.0.0.2"],
                &["192.0.2.1", "10.0.0.2", "10.0.0.1"],
            ),
            (&["10.0.0.3"], &["10.0.0.3", "10.0.0.1"]),
            // Where it cannot be read on, nobody stands.
            (&["192.0.2.1, evil"], &["10.0.0.1"]),
            (&["192.0.2.1,"], &["10.0.0.1"]),
            (&[""], &["10.0.0.1"]),
            (&[], &["10.0.0.1"]),
            (&["192.0.2.1, evil, 10.0.0.2"], &["10.0.0.2", "10.0.0.1"]),
        ] {
            let mut headers = vec![peer];
            headers.extend(sent.iter().map(|value| (LIST, *value)));
            let list = expected.join(", ");
            let forwarded: Vec<String> = expected
                .iter()
                .enumerate()
                .map(|(at, one)| format!("for={one}{}", if at == 0 { ABOUT } else { "" }))
                .collect();
            check(trusted, &headers, Some(&list), &forwarded.join(", "));
        }
        let v6 = [
            (FROM, "[2001:db8::1]:99"),
            (LIST, "[2001:db9::7]:1, [2001:db8::2]"),
        ];
        check(
            trusted,
            &v6,
            Some("2001:db9::7, 2001:db8::2, 2001:db8::1"),
            &format!("for=\"[2001:db9::7]\"{ABOUT}, for=\"[2001:db8::2]\", for=\"[2001:db8::1]\""),
        );
    }

    #[test]
    fn a_row_of_proxies_has_an_end() {
        let sent = ["10.0.0.2"; 100].join(",");
        let expected = ["10.0.0.2"; MAX_HOPS].join(", ");
        let forwarded: String = [", for=10.0.0.2"; MAX_HOPS - 1].concat();
        check(
            "[\"10.0.0.0/8\"]",
            &[(FROM, "10.0.0.1:99"), (LIST, &sent)],
            Some(&format!("{expected}, 10.0.0.1")),
            &format!("for=10.0.0.2{ABOUT}{forwarded}, for=10.0.0.1"),
        );
    }
}
