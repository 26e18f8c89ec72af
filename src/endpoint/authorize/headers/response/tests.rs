use super::*;
use crate::config::Config;
use crate::endpoint::authorize::{header_map, list};
use crate::time::Lifetime;
use http::header::*;
use http::{HeaderMap, HeaderName, HeaderValue};

const CONFIG: &str = r#"
public_url = "https://app.example"
[upstreams.api]
url = "https://api.internal.example"
[[routes]]
path = "/app/*"
access = "public"
upstream = "api"
upstream_path = "/v2/*"
[[routes]]
path = "/cors/*"
access = "public"
upstream = "api"
cors = { origins = ["https://spa.example"], expose_headers = ["x-total"], credentials = true }
"#;

fn map(list: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in list {
        let name: HeaderName = name.parse().expect("name");
        headers.append(name, HeaderValue::from_str(value).expect("value"));
    }
    headers
}

fn config() -> Config {
    Config::parse(CONFIG).expect("config")
}

fn plan(config: &Config, route: usize) -> Forward<'_> {
    Forward {
        scheme: "https",
        authority: "api.internal.example",
        path_and_query: "/".to_owned(),
        fields: Vec::new(),
        body: crate::endpoint::authorize::forward::Body::None,
        connect_timeout: Lifetime::from_secs(1),
        first_byte_timeout: Lifetime::from_secs(1),
        between_bytes_timeout: Lifetime::from_secs(1),
        route: config.route(route).expect("route"),
        upstream: &config.upstreams[0],
        public_url: &config.public_url,
        by_session: false,
        set_cookies: Vec::new(),
        allowed_origin: None,
    }
}

fn response(plan: &Forward<'_>, upstream: HeaderMap) -> HeaderMap {
    let upstream = list(&upstream);
    let mut fields = upstream.clone();
    let changed = super::response(plan, &mut fields);
    assert!(changed || fields == upstream, "it is handed on as it came");
    header_map(&fields)
}

#[test]
fn an_upstream_cannot_set_our_cookies_nor_touch_the_connection() {
    let config = config();
    let upstream = map(&[
        ("set-cookie", "a=1"),
        ("set-cookie", "__Host-airside=1~evil; Path=/"),
        ("set-cookie", " __Host-airside-tx-1 = evil"),
        ("set-cookie", "=__Host-airside=evil"),
        ("set-cookie", "__Host-airside"),
        ("connection", "X-Hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("content-length", "3"),
    ]);
    let headers = response(&plan(&config, 0), upstream);
    let cookies: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
    assert_eq!(cookies, ["a=1"]);
    assert!(!headers.contains_key("keep-alive") && !headers.contains_key("x-hop"));
    assert_eq!(headers["content-length"], "3");
}

#[test]
fn answers_to_a_session_are_private_and_those_with_a_cookie_not_stored() {
    let config = config();
    let control = |by_session, ours: &[HeaderValue], upstream: &[(&str, &str)]| {
        let mut plan = plan(&config, 0);
        plan.by_session = by_session;
        plan.set_cookies = ours.to_vec();
        let headers = response(&plan, map(upstream));
        assert_eq!(
            headers.contains_key("cdn-cache-control"),
            !by_session && upstream.len() > 1
        );
        headers["cache-control"].to_str().expect("text").to_owned()
    };
    let public = ("cache-control", "public, max-age=60, s-maxage=9");
    let cdn = ("cdn-cache-control", "max-age=60");
    assert_eq!(control(false, &[], &[public, cdn]), public.1);
    assert_eq!(control(true, &[], &[public, cdn]), "private, max-age=60");
    // What is private already stays as it is; what only looks so does not.
    for (upstream, expected) in [
        ("no-store", "no-store"),
        ("Private, max-age=5", "Private, max-age=5"),
        (
            "no-store, must-understand",
            "private, no-store, must-understand",
        ),
        ("private=\"x-a\"", "private"),
        ("private, public", "private"),
        ("private, S-MaxAge = 9", "private"),
        ("private, proxy-revalidate", "private"),
        ("max-age=5", "private, max-age=5"),
        ("", "private"),
    ] {
        assert_eq!(control(true, &[], &[("cache-control", upstream)]), expected);
    }
    let no_store = ("cache-control", "no-store");
    assert_eq!(control(true, &[], &[no_store, cdn]), "private, no-store");
    assert_eq!(
        control(true, &[], &[no_store, public]),
        "private, no-store, max-age=60"
    );
    let ours = [HeaderValue::from_static("a=b")];
    assert_eq!(control(true, &ours, &[public]), "no-store");
    // Private is not enough where a cookie is set.
    let private = ("cache-control", "private");
    assert_eq!(control(true, &ours, &[private]), "no-store");
    assert_eq!(
        control(true, &[], &[private, ("set-cookie", "x=1")]),
        "no-store"
    );
    assert_eq!(
        control(true, &[], &[public, ("set-cookie", "x=1")]),
        "no-store"
    );
    assert_eq!(
        control(false, &[], &[public, ("set-cookie", "x=1"), cdn]),
        public.1
    );
}

#[test]
fn an_address_of_the_upstream_becomes_one_of_the_public_site() {
    let config = config();
    #[track_caller]
    fn check(config: &Config, route: usize, location: &str, expected: &str) {
        let both = [("location", location), ("content-location", location)];
        let headers = response(&plan(config, route), map(&both));
        assert_eq!(headers["location"], expected, "{location}");
        assert_eq!(headers["content-location"], expected, "{location}");
    }
    for (route, location, expected) in [
        (
            1,
            "https://api.internal.example/x?y#z",
            "https://app.example/x?y#z",
        ),
        (
            1,
            "HTTPS://API.internal.example:443/x",
            "https://app.example/x",
        ),
        (1, "//api.internal.example/x", "https://app.example/x"),
        (1, "https://api.internal.example", "https://app.example/"),
        (
            1,
            "https://api.internal.example?a",
            "https://app.example/?a",
        ),
        (
            0,
            "https://api.internal.example/v2/x",
            "https://app.example/app/x",
        ),
        (
            0,
            "https://api.internal.example/other",
            "https://app.example/other",
        ),
        (0, "/v2/x", "/app/x"),
        (0, "/v2", "/app"),
        // Of another site, or relative to the path at hand: as they are.
        (0, "/v20", "/v20"),
        (0, "v2/x", "v2/x"),
        (0, "?page=2", "?page=2"),
        (1, "/x", "/x"),
        (
            1,
            "http://api.internal.example/x",
            "http://api.internal.example/x",
        ),
        (
            1,
            "https://api.internal.example:8443/x",
            "https://api.internal.example:8443/x",
        ),
        (
            1,
            "https://api.internal.example.evil.example/",
            "https://api.internal.example.evil.example/",
        ),
        (
            1,
            "https://api.internal.example@evil.example/",
            "https://api.internal.example@evil.example/",
        ),
        (1, "//evil.example/x", "//evil.example/x"),
        (
            1,
            "mailto:someone@app.example",
            "mailto:someone@app.example",
        ),
    ] {
        check(&config, route, location, expected);
    }
}

#[test]
fn the_path_of_a_cookie_is_that_of_the_route() {
    let text = CONFIG.replace("/cors/*", "/strip/*").replace(
        "cors = { origins",
        "upstream_path = \"/*\"\ncors = { origins",
    );
    let text = format!(
        "{text}[[routes]]\npath = \"/\"\naccess = \"public\"\nupstream = \"api\"\nupstream_path = \"/in/health\"\n\
         [[routes]]\npath = \"/as-is/*\"\naccess = \"public\"\nupstream = \"api\"\n"
    );
    let config = Config::parse(&text).expect("config");
    let check = |route, cookie: &str, expected: &str| {
        let headers = response(&plan(&config, route), map(&[("set-cookie", cookie)]));
        assert_eq!(headers["set-cookie"], expected, "{cookie}");
    };
    for (route, path, expected) in [
        (0, "/", "/app"),
        (0, "/v2", "/app"),
        (0, "/v2/", "/app"),
        (0, "/v2/x", "/app/x"),
        (0, "/v2/x/", "/app/x/"),
        // Nowhere that this route leads to.
        (0, "/v", "/v"),
        (0, "/v20", "/v20"),
        (0, "/other", "/other"),
        (1, "/", "/strip"),
        (1, "/x", "/strip/x"),
        (2, "/", "/"),
        (2, "/in", "/"),
        (2, "/in/health", "/"),
        (2, "/in/healthy", "/in/healthy"),
        (3, "/", "/"),
        (3, "/x", "/x"),
        (0, "x", "x"),
        (0, "", ""),
    ] {
        let cookie = |path| format!("a=1; HttpOnly; Path={path}; Secure");
        check(route, &cookie(path), &cookie(expected));
    }
    check(0, "a=1", "a=1");
    check(0, "a=Path=/; Secure", "a=Path=/; Secure");
    check(0, "a=1;path=/v2/x;PATH = /", "a=1; Path=/app/x; Path=/app");
    // These say of themselves that they are for all paths.
    check(
        0,
        "__Host-b=1; Secure; Path=/",
        "__Host-b=1; Secure; Path=/",
    );
    check(
        0,
        "__host-b=1; Secure; Path=/",
        "__host-b=1; Secure; Path=/",
    );
    check(0, "__Secure-b=1; Path=/", "__Secure-b=1; Path=/app");
}

#[test]
fn on_a_route_with_cors_the_gate_alone_says_who_may_read() {
    let config = config();
    let upstream = || map(&[("access-control-allow-origin", "*"), ("vary", "Accept")]);
    let mut plan = plan(&config, 1);
    let headers = response(&plan, upstream());
    assert!(!headers.contains_key("access-control-allow-origin"));
    let vary: Vec<_> = headers.get_all("vary").iter().collect();
    assert_eq!(vary, ["Accept", "Origin"]);
    plan.allowed_origin = Some(HeaderValue::from_static("https://spa.example"));
    let headers = response(&plan, upstream());
    assert_eq!(
        headers["access-control-allow-origin"],
        "https://spa.example"
    );
    assert_eq!(headers["access-control-allow-credentials"], "true");
    assert_eq!(
        headers["access-control-expose-headers"],
        "www-authenticate, x-total"
    );
    // Elsewhere the upstream's own word counts.
    plan.route = config.route(0).expect("route");
    plan.allowed_origin = None;
    assert_eq!(
        response(&plan, upstream())["access-control-allow-origin"],
        "*"
    );
}
