//! Several providers, and logins that a third party initiates.

use airside::testing::Idp;
use http::Method;

use crate::app::{App, ISSUER, body, check, code, location};

const PERSON: [(&str, &str); 2] = [
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
];
const SECOND: &str = "https://second.example";

/// Two providers; `keys` are the second's.
fn two(keys: &'static str) -> App {
    let app = App::with(move |config| {
        let second = format!(
            "\n[providers.second]\nissuer = \"{SECOND}\"\nclient_id = \"another-client\"\n\
             client_authentication = \"none\"\ntitle = \"Second & Sons\"\n{keys}\n"
        );
        config + &second
    });
    let idp = Idp::new(SECOND);
    let url = idp.issuer().openid_configuration();
    app.world.http.json(&url, idp.metadata().to_string());
    app.world
        .http
        .json(&idp.url("/jwks"), idp.jwks().to_string());
    app
}

#[test]
fn each_provider_has_a_redirect_uri_of_its_own() {
    let app = two("");
    let redirect_uri = |name: &str| {
        let attempt = app.begin(&format!("provider={name}"));
        attempt.get("redirect_uri").to_owned()
    };
    assert_eq!(redirect_uri("op"), "https://app.example/auth/callback/op");
    let second = "https://app.example/auth/callback/second";
    assert_eq!(redirect_uri("second"), second);
}

#[test]
fn a_response_counts_at_its_providers_redirect_uri_only() {
    let app = two("");
    for path in ["/auth/callback/second", "/auth/callback/op/"] {
        let attempt = app.begin("provider=op");
        app.grant(&app.claims(&attempt));
        let state = attempt.get("state");
        let response = app.navigate(&format!("{path}?state={state}&code=c"));
        if path.contains("op") {
            assert_eq!((response.status().as_u16(), code(&response)), (303, None));
        } else {
            check(&response, 400, "callback_path", path);
            assert_eq!((app.attempts(), app.has_session()), (0, false));
        }
    }
    for path in ["/auth/callback", "/auth/callback/", "/auth/callback/third"] {
        let attempt = app.begin("provider=op");
        let state = attempt.get("state");
        let response = app.navigate(&format!("{path}?state={state}&code=c"));
        check(&response, 404, "no_route", path);
    }
    // The code was spent once.
    assert_eq!(app.world.http.count("https://op.example/token"), 1);
}

#[test]
fn who_shares_a_redirect_uri_must_name_itself() {
    let app = App::with(|config| {
        config.replace(
            "audience =",
            "authorization_response_iss = \"required\"\naudience =",
        )
    });
    let attempt = app.begin("");
    app.grant(&app.claims(&attempt));
    let silent = app.come_back(&attempt, "&code=c");
    check(&silent, 400, "callback_iss", "silent");
    let attempt = app.begin("");
    app.grant(&app.claims(&attempt));
    let named = app.come_back(&attempt, "&code=c&iss=https%3A%2F%2Fop.example");
    assert_eq!((named.status().as_u16(), code(&named)), (303, None));
}

#[test]
fn the_choice_keeps_what_was_asked_for() {
    let app = two("");
    let query = "return_to=/a&login_hint=a%22b&ui_locales=de%20en&prompt=login";
    let response = app.navigate(&format!("/auth/login?{query}"));
    assert_eq!((response.status().as_u16(), app.attempts()), (200, 0));
    let page = body(&response);
    let link = "/auth/login?provider=second&amp;return_to=%2Fa&amp;login_hint=a%22b&amp;ui_locales=de+en&amp;prompt=login";
    assert!(page.contains(link), "{page}");
    assert!(page.contains("Sign in with Second &amp; Sons"), "{page}");
}

#[test]
fn a_third_party_may_initiate_a_login_by_link_or_form() {
    let app = two("");
    let target = "https%3A%2F%2Fapp.example%2Finvoices%3Fpage%3D2";
    let query = format!("iss=https%3A%2F%2Fop.example&login_hint=alice&target_link_uri={target}");
    let by_link = app.begin(&query);
    assert_eq!(by_link.get("login_hint"), "alice");
    assert!(by_link.location.starts_with(ISSUER));
    let form = [
        PERSON[0],
        PERSON[1],
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let by_form = app.send(Method::POST, "/auth/login", &form, &query);
    assert_eq!(by_form.status(), 303);
    assert!(location(&by_form).starts_with(ISSUER));
    app.grant(&app.claims(&by_link));
    let state = by_link.get("state");
    let back = app.navigate(&format!("/auth/callback/op?state={state}&code=c"));
    assert_eq!(location(&back), "/invoices?page=2");
}

#[test]
fn an_unknown_issuer_is_a_page() {
    let app = two("");
    for query in [
        "iss=https%3A%2F%2Fevil.example",
        "iss=https%3A%2F%2Fop.example%2F",
        "iss=",
        "iss=https%3A%2F%2Fop.example&provider=second",
    ] {
        let response = app.navigate(&format!("/auth/login?{query}"));
        check(&response, 400, "unknown_provider", query);
    }
    app.begin("iss=https%3A%2F%2Fop.example&provider=op");
}

#[test]
fn the_target_is_of_this_site() {
    let app = two("");
    let target = |uri: &str| {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("iss", ISSUER)
            .append_pair("target_link_uri", uri)
            .finish();
        app.navigate(&format!("/auth/login?{query}"))
    };
    for good in [
        "https://app.example",
        "https://APP.example:443/a",
        "https://app.example/a?b=c",
    ] {
        assert_eq!(target(good).status(), 303, "{good}");
    }
    for bad in [
        "https://evil.example/",
        "https://app.example.evil.example/",
        "https://app.example@evil.example/",
        "https://evil.example/#https://app.example",
        "http://app.example/",
        "https://app.example:444/",
        "//app.example/",
        "/a",
        "javascript:alert(1)",
        "https://app.example\\@evil.example",
        "",
    ] {
        check(&target(bad), 400, "target_link_uri", bad);
    }
}

#[test]
fn a_form_that_is_not_one_is_refused() {
    let app = App::new();
    let post = |body: &str| app.send(Method::POST, "/auth/login", &PERSON, body);
    check(
        &post("iss=a&iss=b"),
        400,
        "login_request_malformed",
        "twice",
    );
    assert_eq!(post("").status(), 303);
}
