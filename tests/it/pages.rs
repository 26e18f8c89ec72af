//! Every page a person may see. With `AIRSIDE_PAGES=<directory>` they are written there, to be
//! looked at in a browser.

use airside::error::{DiscoveryError, Error, SessionTokenMisfit};
use airside::oauth::authorization::{AuthorizationResponseError, ProviderError};
use airside::oauth::token::TokenError;
use airside::oidc::requirements::RequirementError;
use airside::oidc::userinfo::UserInfoError;
use airside::policy::{DenialReason, PathError};
use airside::respond::{self, Audience};
use airside::session::cookie::CookieError;
use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY};

use crate::app::{App, body};

const REQUEST_ID: &str = "Zk3vQ0mB7sW1xT9a";

fn errors() -> Vec<(&'static str, Error)> {
    let scopes = vec!["read:invoices".to_owned()];
    let denied = Error::Denied {
        reason: DenialReason::Scope,
        scopes,
    };
    let misfit = SessionTokenMisfit::Opaque;
    let method = Error::MethodNotAllowed {
        allow: "GET".to_owned(),
    };
    let duplicate = AuthorizationResponseError::Duplicate;
    vec![
        ("account", Error::Account(RequirementError::EmailDomain)),
        ("attempt-done", Error::AttemptDone),
        ("attempt-expired", Error::AttemptExpired),
        ("attempt-unknown", Error::AttemptUnknown),
        ("callback-path", Error::CallbackPath),
        ("cookies", Error::Cookie(CookieError::Duplicate)),
        ("cross-site", Error::CrossSite),
        ("denied", denied),
        ("internal", Error::Internal),
        ("login-request", Error::LoginRequest),
        ("logout-state", Error::LogoutState),
        ("method", method),
        ("no-credential", Error::NoCredential),
        ("no-route", Error::NoRoute),
        ("not-yet", Error::NotYet),
        ("path", Error::Path(PathError::Ambiguous)),
        (
            "provider-down",
            Error::Discovery(DiscoveryError::Unreachable),
        ),
        ("provider-no", Error::Provider(ProviderError::AccessDenied)),
        ("provider-other", Error::Provider(ProviderError::Other)),
        ("session-ended", Error::SessionExpired),
        ("session-large", Error::Cookie(CookieError::SessionTooLarge)),
        ("session-token", Error::SessionTokenNotForThisApi(misfit)),
        ("sign-in", Error::AuthorizationResponse(duplicate)),
        ("target-link", Error::TargetLinkUri),
        ("token-endpoint", Error::Token(TokenError::Unavailable)),
        ("unknown-provider", Error::UnknownProvider),
        ("upgrade", Error::Upgrade),
        ("userinfo", Error::UserInfo(UserInfoError::Subject)),
        ("upstream", Error::UpstreamUnavailable),
    ]
}

/// The pages that are no errors, and whether they post.
fn answers() -> Vec<(&'static str, Response<Bytes>, bool)> {
    let second = r#"
[providers.second]
issuer = "https://second.example"
client_id = "another-client"
client_authentication = "none"
"#;
    let several = App::with(|config| config + second);
    let app = App::new();
    let logged_out = app.navigate("/auth/logged-out");
    app.log_in();
    vec![
        ("chooser", several.navigate("/auth/login"), false),
        ("logged-out", logged_out, false),
        ("logout", app.navigate("/auth/logout"), true),
    ]
}

#[track_caller]
fn header<'a>(response: &'a Response<Bytes>, name: &http::HeaderName) -> &'a str {
    response
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// What holds for every page.
#[track_caller]
fn check_page(name: &str, response: &Response<Bytes>, posts: bool) {
    let page = body(response);
    let policy = header(response, &CONTENT_SECURITY_POLICY);
    for directive in [
        "default-src 'none'",
        "style-src 'sha256-",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        if posts {
            "form-action 'self'"
        } else {
            "form-action 'none'"
        },
    ] {
        assert!(
            policy.contains(directive),
            "{name}: {directive} in {policy}"
        );
    }
    assert!(!policy.contains("unsafe"), "{name}: {policy}");
    let referrer = if posts { "same-origin" } else { "no-referrer" };
    assert_eq!(header(response, &REFERRER_POLICY), referrer, "{name}");
    assert!(
        page.starts_with("<!doctype html><html lang=\"en\">"),
        "{name}"
    );
    // The policy would block both: a page that has one is broken.
    assert!(
        !page.contains(" style=") && !page.contains("<script"),
        "{name}"
    );
    if let Ok(directory) = std::env::var("AIRSIDE_PAGES") {
        let path = std::path::Path::new(&directory).join(format!("{name}.html"));
        std::fs::write(path, page).expect("written");
    }
}

#[test]
fn every_error_page_has_one_next_click_and_its_request_id() {
    for (name, error) in errors() {
        let response = respond::error(&error, Audience::Browser, REQUEST_ID, Vec::new());
        check_page(name, &response, false);
        let page = body(&response);
        assert_eq!(page.matches("class=\"button\"").count(), 1, "{name}");
        assert!(page.contains(REQUEST_ID), "{name}");
        // The code is for the log and for programs: a person cannot do anything with it.
        assert!(!page.contains(error.code()), "{name}");
        let problem = respond::error(&error, Audience::Api, REQUEST_ID, Vec::new());
        assert_eq!(problem.status(), response.status(), "{name}");
    }
}

#[test]
fn a_sign_in_that_cannot_go_on_starts_again_and_keeps_nothing() {
    for (name, error) in errors() {
        let response = respond::error(&error, Audience::Browser, REQUEST_ID, Vec::new());
        let again = body(&response).contains("href=\"/auth/login\">Start again</a>");
        let expected = matches!(
            error,
            Error::AttemptExpired
                | Error::AttemptUnknown
                | Error::AuthorizationResponse(_)
                | Error::CallbackPath
                | Error::LoginRequest
                | Error::Provider(_)
                | Error::TargetLinkUri
                | Error::Token(_)
                | Error::UnknownProvider
                | Error::UserInfo(_)
        );
        assert_eq!(again, expected, "{name}");
    }
}

#[test]
fn pages_that_are_no_errors_carry_no_request_id() {
    for (name, response, posts) in answers() {
        check_page(name, &response, posts);
        assert_eq!(response.status(), 200, "{name}");
        assert!(!body(&response).contains("<footer>"), "{name}");
    }
}
