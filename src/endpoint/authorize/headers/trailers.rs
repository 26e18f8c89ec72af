//! What a request says about trailers, the fields behind a body (RFC 9110 section 6.5).
//!
//! The trailers themselves stay with the body's stream. Over HTTP/1.1 a host sends those that
//! `Trailer` announces and no others: there a client's identity must not come in from behind.

use crate::config::Config;
use crate::endpoint::authorize::headers::names::{is, is_stripped};

/// What goes on of a header that is else dropped. `TE` is about one connection, and the next one
/// can have trailers too (section 10.1.4); `Trailer` may name what a client may say itself.
pub(super) fn kept(name: &str, value: &[u8], config: &Config) -> Option<Vec<u8>> {
    if name.eq_ignore_ascii_case("te") {
        let accepts = members(value).any(|member| {
            let coding = member.split(';').next().unwrap_or_default();
            coding.trim().eq_ignore_ascii_case("trailers")
        });
        return accepts.then(|| b"trailers".to_vec());
    }
    if !name.eq_ignore_ascii_case("trailer") {
        return None;
    }
    let own = |name: &str| config.identity_names.iter().any(|own| is(name, own));
    let harmless: Vec<&str> = members(value)
        .filter(|name| !is_stripped(name) && !own(name) && !is(name, "authorization"))
        .collect();
    (!harmless.is_empty()).then(|| harmless.join(", ").into_bytes())
}

fn members(value: &[u8]) -> impl Iterator<Item = &str> {
    let list = std::str::from_utf8(value).unwrap_or_default().split(',');
    list.map(str::trim).filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, value: &str, expected: Option<&str>) {
        let config = Config::parse(
            "public_url = \"https://app.example\"\n[upstreams.a]\nurl = \"https://a.example\"\n\
             identity_headers = { subject = \"X-User-Id\" }\n\
             [[routes]]\npath = \"/*\"\naccess = \"public\"\nupstream = \"a\"\n",
        );
        let found = kept(name, value.as_bytes(), &config.expect("config"));
        let found = found
            .as_deref()
            .map(|value| std::str::from_utf8(value).expect("text"));
        assert_eq!(found, expected, "{value}");
    }

    #[test]
    fn te_says_no_more_than_that_trailers_are_welcome() {
        check("Te", "trailers", Some("trailers"));
        check("Te", "gzip, Trailers;q=0.5", Some("trailers"));
        check("Te", "gzip", None);
        check("Te", "xtrailers", None);
        check("Te", "", None);
    }

    #[test]
    fn no_trailer_is_announced_that_could_say_who_calls() {
        check("Trailer", "X-Sum", Some("X-Sum"));
        check("Trailer", "X-Sum,Expires , ", Some("X-Sum, Expires"));
        for stripped in [
            "X-Forwarded-Sub",
            "x_forwarded_sub",
            "Airside-Assertion",
            "X-User-Id",
            "x_user-ID",
            "Authorization",
            "Cookie",
            "Host",
            "Trailer",
            "Transfer-Encoding",
        ] {
            let list = format!("X-Sum, {stripped}");
            check("trailer", &list, Some("X-Sum"));
            check("trailer", stripped, None);
        }
        check("connection", "trailers", None);
    }
}
