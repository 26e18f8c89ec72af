use super::*;
use crate::endpoint::authorize::{Head, header_map};
use http::{HeaderMap, Method};

const CONFIG: &str = r#"
public_url = "https://app.example"
[upstreams.api]
url = "https://api.internal.example"
identity_headers = { subject = "X-User-Id", scope = "" }
[[routes]]
path = "/*"
access = "public"
upstream = "api"
"#;

fn of(caller: Caller<'_>, list: &[(&str, &str)]) -> HeaderMap {
    let config = Config::parse(CONFIG).expect("config");
    let names = &config.upstreams[0].identity_headers;
    let fields = list
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_owned()))
        .collect();
    let mut head = Head::new(Method::GET, "/", fields);
    header_map(&request(&mut head, caller, names, &config).expect("headers"))
}

#[test]
fn spoofed_identity_is_gone_in_every_spelling() {
    for name in [
        "X-Forwarded-Sub",
        "x_forwarded_sub",
        "X_FORWARDED-SUB",
        "X-Forwarded-Email",
        "Forwarded",
        "Airside-Assertion",
        "airside_assertion",
        "X-Real-IP",
        "REMOTE_USER",
        "spin-client-addr",
        "Host",
        "Connection",
        // Named in the configuration.
        "X-User-Id",
        "x_user-id",
    ] {
        let headers = of(Caller::Anybody, &[(name, "evil"), ("x-user-ids", "1")]);
        assert!(!headers.values().any(|value| value == "evil"), "{name}");
        assert_eq!(headers["x-user-ids"], "1");
    }
}

#[test]
fn nothing_is_left_of_many_that_are_dropped() {
    let names: Vec<String> = (0..30)
        .map(|number| format!("x-forwarded-{number}"))
        .collect();
    let mut sent: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "evil")).collect();
    sent.insert(3, ("x-kept", "1"));
    sent.push(("x-kept", "2"));
    let headers = of(Caller::Anybody, &sent);
    assert!(!headers.values().any(|value| value == "evil"));
    assert!(names.iter().all(|name| !headers.contains_key(name)));
    let kept: Vec<_> = headers.get_all("x-kept").iter().collect();
    assert_eq!(kept, ["1", "2"]);
    assert_eq!(headers["x-forwarded-host"], "app.example");
}

#[test]
fn what_connection_names_goes_too() {
    let headers = of(
        Caller::Anybody,
        &[
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("x-stay", "1"),
        ],
    );
    assert!(!headers.contains_key("x-hop") && headers.contains_key("x-stay"));
}

#[test]
fn the_last_client_address_is_the_hosts() {
    let headers = of(
        Caller::Anybody,
        &[
            ("spin-client-addr", "6.6.6.6:1"),
            ("spin-client-addr", "[::1]:99"),
        ],
    );
    assert_eq!(headers["x-forwarded-for"], "::1");
    assert_eq!(headers["x-forwarded-host"], "app.example");
    assert_eq!(headers["x-forwarded-proto"], "https");
}

#[test]
fn credentials_pass_for_anybody_and_for_nobody_do_not() {
    let sent = [
        ("authorization", "Basic x"),
        ("cookie", "a=1; __Host-airside=1~x"),
    ];
    let headers = of(Caller::Anybody, &sent);
    assert_eq!(
        (&headers["authorization"], &headers["cookie"]),
        (&"Basic x".parse().expect("v"), &"a=1".parse().expect("v"))
    );
    let headers = of(Caller::Nobody, &sent);
    assert!(!headers.contains_key("authorization") && !headers.contains_key("cookie"));
}
