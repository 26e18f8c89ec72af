use super::*;
use crate::policy::PathError;
use crate::respond::page::Action;

fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
    list.iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).expect("value"),
            )
        })
        .collect()
}

#[test]
fn only_top_level_navigations_are_browsers() {
    type Case<'a> = (&'a str, &'a [(&'static str, &'a str)], Audience);
    let cases: &[Case<'_>] = &[
        (
            "GET",
            &[
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "document"),
            ],
            Audience::Browser,
        ),
        (
            "HEAD",
            &[
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "document"),
            ],
            Audience::Browser,
        ),
        (
            "GET",
            &[("accept", "text/html,application/xhtml+xml,*/*;q=0.8")],
            Audience::Browser,
        ),
        (
            "POST",
            &[
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "document"),
            ],
            Audience::Api,
        ),
        (
            "GET",
            &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
            Audience::Api,
        ),
        (
            "GET",
            &[("sec-fetch-mode", "cors"), ("accept", "text/html")],
            Audience::Api,
        ),
        (
            "GET",
            &[("sec-fetch-dest", "empty"), ("accept", "text/html")],
            Audience::Api,
        ),
        (
            "GET",
            &[
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "document"),
                ("sec-purpose", "prefetch"),
            ],
            Audience::Api,
        ),
        (
            "GET",
            &[("purpose", "prefetch"), ("accept", "text/html")],
            Audience::Api,
        ),
        (
            "GET",
            &[("accept", "application/json, text/html")],
            Audience::Api,
        ),
        ("GET", &[("accept", "*/*")], Audience::Api),
        ("GET", &[], Audience::Api),
    ];
    for (method, list, expected) in cases {
        assert_eq!(
            audience(&headers(list), &method.parse().expect("method")),
            *expected,
            "{method} {list:?}"
        );
    }
}

#[test]
fn same_origin_is_proved_by_the_browser() {
    let origin = "https://app.example";
    for good in [
        &[("sec-fetch-site", "same-origin"), ("origin", "null")][..],
        &[("origin", origin)],
    ] {
        assert!(is_same_origin(&headers(good), origin), "{good:?}");
    }
    for bad in [
        &[][..],
        &[("origin", "null")],
        &[("origin", "https://app.example.evil.example")],
        &[("sec-fetch-site", "same-site"), ("origin", origin)],
        &[("sec-fetch-site", "cross-site"), ("origin", origin)],
        &[("sec-fetch-site", "none")],
    ] {
        assert!(!is_same_origin(&headers(bad), origin), "{bad:?}");
    }
    let mut twice = headers(&[("origin", origin)]);
    twice.append("origin", HeaderValue::from_static("https://evil.example"));
    assert!(!is_same_origin(&twice, origin));
}

#[test]
fn every_own_answer_has_its_length_and_is_not_stored() {
    for who in [Audience::Api, Audience::Browser] {
        let response = error(&Error::Path(PathError::Ambiguous), who, "id", Vec::new());
        assert_eq!(response.status(), 400);
        assert_eq!(
            response.headers()[CONTENT_LENGTH],
            response.body().len().to_string().as_str()
        );
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(response.headers()[REFERRER_POLICY], "no-referrer");
        assert_eq!(response.extensions().get(), Some(&Code("path_ambiguous")));
    }
}

#[test]
fn no_credential_gets_a_bare_challenge() {
    let response = error(&Error::NoCredential, Audience::Api, "id", Vec::new());
    assert_eq!(response.status(), 401);
    assert_eq!(
        response.headers()[WWW_AUTHENTICATE],
        "Bearer realm=\"airside\""
    );
}

#[test]
fn an_id_token_is_told_whom_it_is_for() {
    let named = Error::IdTokenAtApi {
        client_id: Some("app\"\r\n".into()),
    };
    let response = error(&named, Audience::Api, "id", Vec::new());
    assert_eq!(
        response.headers()[WWW_AUTHENTICATE],
        "Bearer realm=\"airside\", error=\"invalid_token\", error_description=\"This is an ID token. It is addressed to the client app, not to this API: send the access token instead.\""
    );
}

#[test]
fn pages_escape_everything() {
    let page = Page {
        status: StatusCode::OK,
        heading: "<script>",
        message: "a & b",
        details: &[("\"", "'")],
        action: Action::Choose(vec![("<b>".into(), "\"><script>".into())]),
        request_id: Some("<i>"),
        form_targets: &[],
    };
    let response = page::render(&page);
    let body = std::str::from_utf8(response.body()).expect("text");
    for bad in ["<script>", "<b>", "<i>", "\">\"", "& b"] {
        assert!(!body.contains(bad), "{bad}");
    }
    assert!(body.contains("a &amp; b"));
}

#[test]
fn a_location_that_cannot_stand_in_a_header_is_no_redirect() {
    assert_eq!(see_other("/ok", Vec::new()).status(), 303);
    let bad = see_other("/a\r\nset-cookie: x", Vec::new());
    assert_eq!(bad.status(), 500);
    assert!(!bad.headers().contains_key(LOCATION));
}
