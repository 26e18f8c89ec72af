//! Where a login and a logout may lead, and what a link to the login may change: the corpus of
//! `testdata/return_to` through the endpoints.

use std::collections::BTreeMap;

use airside::oauth::authorization::RESERVED_PARAMETERS;
use airside::url::ReturnTo;
use bytes::Bytes;
use http::{Method, Response};

use crate::app::{App, Attempt, ISSUER, body, check, code, location};

const HOSTILE: &str = include_str!("../../testdata/return_to/hostile.txt");
const LOCAL: &str = include_str!("../../testdata/return_to/local.txt");
const OURS: &str = "https://app.example";

/// The values of a file of `testdata/return_to`: one JSON string per line.
fn values(file: &str) -> Vec<String> {
    file.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

/// Each value of the corpus and where it must lead.
fn corpus() -> Vec<(String, String)> {
    let hostile = values(HOSTILE).into_iter().map(|v| (v, "/".to_owned()));
    let local = values(LOCAL).into_iter().map(|v| (v.clone(), v));
    hostile.chain(local).collect()
}

fn query(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

fn pairs(url: &str) -> Vec<(String, String)> {
    let (_, query) = url.split_once('?').expect("query");
    form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect()
}

/// The parameters of `url`, none of them twice.
#[track_caller]
fn once(url: &str) -> BTreeMap<String, String> {
    let pairs = pairs(url);
    let parameters: BTreeMap<String, String> = pairs.iter().cloned().collect();
    assert_eq!(parameters.len(), pairs.len(), "{url}");
    parameters
}

fn two_providers() -> App {
    let second = r#"
[providers.second]
issuer = "https://second.example"
client_id = "another-client"
client_authentication = "none"
"#;
    App::with(|config| config + second)
}

/// The addresses of the links on a page, as a browser reads them.
fn links(response: &Response<Bytes>) -> Vec<String> {
    let link = |rest: &str| {
        let (text, _) = rest.split_once('"').expect("end of the attribute");
        let text = text.replace("&lt;", "<").replace("&gt;", ">");
        let text = text.replace("&quot;", "\"").replace("&#39;", "'");
        text.replace("&amp;", "&")
    };
    body(response).split("href=\"").skip(1).map(link).collect()
}

/// The page offers a login with each of `providers`, and each leads to `expected`.
#[track_caller]
fn check_links(response: &Response<Bytes>, providers: &[&str], expected: &str, name: &str) {
    let links = links(response);
    assert_eq!(links.len(), providers.len(), "{name:?}: {links:?}");
    for (link, provider) in links.iter().zip(providers) {
        assert!(link.starts_with("/auth/login?"), "{name:?}: {link}");
        let parameters = once(link);
        let found = ["provider", "return_to"].map(|key| parameters.get(key).map(String::as_str));
        assert_eq!(found, [Some(*provider), Some(expected)], "{name:?}");
        assert_eq!(parameters.len(), 2, "{name:?}: {link}");
    }
}

#[test]
fn a_login_ends_on_this_site_whatever_it_was_asked_for() {
    let app = App::new();
    for (value, expected) in corpus() {
        let attempt = app.begin(&query(&[("return_to", &value)]));
        app.grant(&app.claims(&attempt));
        let response = app.come_back(&attempt, "&code=c");
        let found = (response.status().as_u16(), code(&response));
        assert_eq!(found, (303, None), "{value:?}");
        assert_eq!(location(&response), expected, "{value:?}");
    }
}

#[test]
fn the_choice_of_a_provider_links_to_this_site_only() {
    let app = two_providers();
    for (value, expected) in corpus() {
        let response = app.navigate(&format!("/auth/login?{}", query(&[("return_to", &value)])));
        assert_eq!(response.status(), 200, "{value:?}");
        check_links(&response, &["op", "second"], &expected, &value);
    }
}

#[test]
fn the_page_of_a_failed_login_links_to_this_site_only() {
    let app = App::new();
    for (value, expected) in corpus() {
        let attempt = app.begin(&query(&[("return_to", &value)]));
        let response = app.come_back(&attempt, "&error=access_denied");
        check(&response, 403, "provider_access_denied", &value);
        check_links(&response, &["op"], &expected, &value);
    }
}

#[test]
fn a_third_partys_target_is_a_path_of_this_site() {
    let app = two_providers();
    let (mut accepted, mut refused) = (0, 0);
    for (value, _) in corpus() {
        for target in [value.clone(), format!("{OURS}{value}")] {
            let query = query(&[("target_link_uri", &target)]);
            let response = app.navigate(&format!("/auth/login?{query}"));
            if response.status() != 200 {
                check(&response, 400, "target_link_uri", &target);
                refused += 1;
                continue;
            }
            let read = url::Url::parse(&target).expect("a browser reads it too");
            assert_eq!(read.origin().ascii_serialization(), OURS, "{target:?}");
            let path = once(&links(&response)[0])["return_to"].clone();
            let local = ReturnTo::parse(&path);
            assert_eq!(local.as_str(), path, "{target:?}");
            let kept = read.join(&path).expect("path");
            assert!(path == "/" || kept == read, "{target:?}: {path}");
            accepted += 1;
        }
    }
    assert!(accepted > 100 && refused > 1_000, "{accepted}, {refused}");
}

/// What a login sends to the provider, whatever the link to it asked for.
#[track_caller]
fn check_own_parameters(attempt: &Attempt, name: &str) -> BTreeMap<String, String> {
    assert!(
        attempt
            .location
            .starts_with(&format!("{ISSUER}/authorize?")),
        "{name}: {}",
        attempt.location
    );
    // A semicolon separates nothing, yet some servers say it does.
    assert!(!attempt.location.contains([';', '#', ' ']), "{name}");
    let mut parameters = once(&attempt.location);
    for (key, expected) in [
        ("audience", "https://api.example.com"),
        ("client_id", "the-client"),
        ("code_challenge_method", "S256"),
        ("redirect_uri", "https://app.example/auth/callback"),
        ("response_type", "code"),
        ("scope", "openid profile email"),
    ] {
        let found = parameters.remove(key);
        assert_eq!(found.as_deref(), Some(expected), "{name}: {key}");
    }
    for (key, length) in [("code_challenge", 43), ("nonce", 22), ("state", 22)] {
        let found = parameters.remove(key).map(|value| value.len());
        assert_eq!(found, Some(length), "{name}: {key}");
    }
    parameters
}

/// Values that would be further parameters if they were not encoded.
const INJECTIONS: [&str; 16] = [
    "a&client_id=evil",
    "a&redirect_uri=https://evil.example/",
    "a%26state%3Devil",
    "a%2526state%253Devil",
    "a;state=evil",
    "a&state=evil&nonce=evil&code_challenge=evil&code_challenge_method=plain",
    "&response_type=token",
    "&&scope=admin",
    "=&=",
    "?client_id=evil",
    "a#&client_id=evil",
    "a\r\nLocation: https://evil.example/",
    "a\u{0}&prompt=none",
    "a+b%20c",
    "\u{ff06}client_id\u{ff1d}evil",
    "\"><script>",
];

#[test]
fn a_login_hint_is_one_parameter_or_none() {
    let app = App::new();
    let hostile = values(HOSTILE);
    let injections = INJECTIONS.iter().map(|hint| (*hint).to_owned());
    for hint in injections.chain(hostile) {
        let attempt = app.begin(&query(&[("login_hint", &hint)]));
        let mut more = check_own_parameters(&attempt, &hint);
        let kept = more.remove("login_hint");
        let wanted = !hint.is_empty() && hint.len() <= 256 && !hint.contains(char::is_control);
        assert_eq!(kept, wanted.then_some(hint), "the hint or nothing");
        assert!(more.is_empty(), "{more:?}");
    }
}

#[test]
fn languages_and_prompt_are_of_their_kind_or_absent() {
    let app = App::new();
    let hostile = values(HOSTILE);
    let injections = INJECTIONS.iter().map(|value| (*value).to_owned());
    for value in injections.chain(hostile) {
        let query = query(&[("ui_locales", &value), ("prompt", &value)]);
        let mut more = check_own_parameters(&app.begin(&query), &value);
        let tag = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ' ');
        if let Some(kept) = more.remove("ui_locales") {
            assert_eq!(kept, value);
            assert!(kept.chars().all(tag), "{kept:?}");
        }
        assert!(more.is_empty(), "{more:?}");
    }
    for prompt in [
        "none",
        "none login",
        "login none",
        "LOGIN",
        "login\u{0}",
        "create",
        "",
    ] {
        let query = query(&[("prompt", prompt)]);
        let more = check_own_parameters(&app.begin(&query), prompt);
        assert!(more.is_empty(), "{prompt:?}: {more:?}");
    }
    let good = query(&[("ui_locales", "de-CH en"), ("prompt", "login")]);
    let more = check_own_parameters(&app.begin(&good), "good");
    let expected = [("prompt", "login"), ("ui_locales", "de-CH en")];
    assert!(
        more.iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .eq(expected)
    );
}

#[test]
fn a_provider_is_named_exactly() {
    let app = App::new();
    let injections = INJECTIONS.iter().map(|value| (*value).to_owned());
    let near = [
        "OP",
        " op",
        "op ",
        "op\u{0}",
        "op&client_id=evil",
        "op/",
        "o",
        "opp",
        "",
    ];
    let near = near.iter().map(|value| (*value).to_owned());
    for value in injections.chain(near).chain(values(HOSTILE)) {
        let response = app.navigate(&format!("/auth/login?{}", query(&[("provider", &value)])));
        check(&response, 400, "unknown_provider", &value);
    }
    let more = check_own_parameters(&app.begin("provider=op"), "op");
    assert!(more.is_empty(), "{more:?}");
}

#[test]
fn a_link_to_the_login_sets_none_of_our_parameters() {
    let app = App::new();
    let wishes = ["login_hint", "prompt", "ui_locales"];
    let others = RESERVED_PARAMETERS
        .iter()
        .filter(|name| !wishes.contains(name));
    let more = [
        "code",
        "display",
        "id_token",
        "registration",
        "x",
        "return_to[]",
        "state[]",
    ];
    for name in others.chain(&more) {
        let one = check_own_parameters(&app.begin(&query(&[(name, "evil")])), name);
        assert!(one.is_empty(), "{name}: {one:?}");
        let hint = format!("a&{name}=evil");
        let pairs = [("login_hint", hint.as_str()), (name, "evil")];
        let two = check_own_parameters(&app.begin(&query(&pairs)), name);
        assert_eq!(
            two.into_iter().collect::<Vec<_>>(),
            [("login_hint".to_owned(), hint)]
        );
    }
    for name in wishes {
        let twice = format!("/auth/login?{name}=login&{name}=login");
        check(&app.navigate(&twice), 400, "login_request_malformed", name);
        check_own_parameters(&app.begin(&format!("{name}=login")), name);
    }
}

#[test]
fn the_choice_of_a_provider_keeps_each_wish_in_its_place() {
    let app = two_providers();
    for hint in INJECTIONS {
        let asked = query(&[("return_to", "/a"), ("login_hint", hint), ("prompt", hint)]);
        let response = app.navigate(&format!("/auth/login?{asked}"));
        let links = links(&response);
        assert_eq!(links.len(), 2, "{links:?}");
        for link in links {
            let mut parameters = once(&link);
            assert_eq!(parameters.remove("return_to").as_deref(), Some("/a"));
            assert!(parameters.remove("provider").is_some());
            let wanted = !hint.contains(char::is_control);
            assert_eq!(
                parameters.remove("login_hint").as_deref(),
                wanted.then_some(hint)
            );
            assert!(parameters.is_empty(), "{parameters:?}");
        }
    }
}

/// Names under which other software takes the address after a logout.
const RETURNS: [&str; 14] = [
    "client_id",
    "continue",
    "id_token_hint",
    "logout_uri",
    "next",
    "post_logout_redirect_uri",
    "rd",
    "redirect",
    "redirect_uri",
    "return_to",
    "returnTo",
    "service",
    "target_link_uri",
    "url",
];

#[test]
fn nothing_in_a_request_changes_where_a_logout_ends() {
    let app = App::new();
    let same = [
        ("sec-fetch-site", "same-origin"),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    for name in RETURNS {
        for value in [
            "https://evil.example/",
            "//evil.example",
            "/\\evil.example",
            "/invoices",
        ] {
            let asked = query(&[(name, value)]);
            app.log_in();
            let target = format!("/auth/logout?{asked}");
            let page = app.navigate(&target);
            assert!(body(&page).contains("action=\"/auth/logout\""), "{asked}");
            assert!(!body(&page).contains("<input"), "{asked}");
            assert_eq!(links(&page), ["/"], "{asked}");
            let response = app.send(Method::POST, &target, &same, &asked);
            let url = location(&response);
            assert!(
                url.starts_with(&format!("{ISSUER}/logout?")),
                "{asked}: {url}"
            );
            let sent = once(&url);
            assert_eq!(sent["client_id"], "the-client", "{asked}");
            assert_eq!(
                sent["post_logout_redirect_uri"],
                format!("{OURS}/auth/logged-out")
            );
            assert!(sent["id_token_hint"].starts_with("ey"), "{asked}");
            assert_eq!(sent.len(), 4, "{asked}: {url}");
            // Without a session there is no provider to go to.
            let response = app.send(Method::POST, &target, &same, &asked);
            assert_eq!(location(&response), "/auth/logged-out", "{asked}");
            let page = app.navigate(&format!("/auth/logged-out?{asked}"));
            assert_eq!(
                (page.status().as_u16(), location(&page)),
                (200, String::new())
            );
            assert_eq!(links(&page), ["/auth/login"], "{asked}");
        }
    }
}
