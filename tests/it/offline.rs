//! How refresh tokens are asked for, and whether one that comes is kept.

use airside::session::{Cookies, Session};
use http::HeaderMap;
use http::header::COOKIE;

use crate::app::App;

/// `scope`, `prompt` and `access_type` of a login with these lines more.
fn asked(lines: &str, query: &str) -> (String, String, String) {
    let app = App::with(|config| config.replacen("audience =", &format!("{lines}\naudience ="), 1));
    let attempt = app.begin(query);
    let get = |name| attempt.get(name).to_owned();
    (get("scope"), get("prompt"), get("access_type"))
}

#[track_caller]
fn check(lines: &str, query: &str, scope: &str, prompt: &str) {
    let expected = (scope.to_owned(), prompt.to_owned(), String::new());
    assert_eq!(asked(lines, query), expected, "{lines} {query}");
}

const PLAIN: &str = "openid profile email";
const OFFLINE: &str = "openid profile email offline_access";

#[test]
fn offline_access_is_asked_for_when_refresh_is_on_with_consent() {
    check("", "", PLAIN, "");
    check("refresh = false", "", PLAIN, "");
    check("refresh = true", "", OFFLINE, "consent");
    check(
        "refresh = true\nrefresh_consent = \"never\"",
        "",
        OFFLINE,
        "",
    );
    let said = "refresh = true\nscopes = [\"openid\", \"offline_access\"]";
    check(said, "", "openid offline_access", "consent");
}

#[test]
fn consent_is_added_to_what_else_is_prompted() {
    check(
        "refresh = true\nprompt = \"login\"",
        "",
        OFFLINE,
        "login consent",
    );
    check(
        "refresh = true\nprompt = \"consent\"",
        "",
        OFFLINE,
        "consent",
    );
    check(
        "refresh = true",
        "prompt=select_account",
        OFFLINE,
        "select_account consent",
    );
    check("refresh = true", "prompt=consent", OFFLINE, "consent");
    check("", "prompt=select_account", PLAIN, "select_account");
}

/// Whether a login leads to a session with a refresh token; the provider sends one.
fn kept(app: &App) -> bool {
    app.log_in();
    let cookie = app.cookie("__Host-airside").expect("a session");
    let line = format!("__Host-airside={cookie}").parse().expect("line");
    let headers = HeaderMap::from_iter([(COOKIE, line)]);
    let cookies = Cookies::parse(&headers).expect("cookies");
    let sealed = String::from_utf8(cookies.session().expect("sealed").into_owned());
    let sealed = sealed.expect("text");
    let limits = &app.instance.config.session;
    let session = Session::open(&sealed, &app.instance.ring, limits, app.world.now());
    session.expect("session").refresh_token.is_some()
}

#[test]
fn a_refresh_token_that_nobody_uses_is_not_kept() {
    assert!(kept(&App::refreshing()));
    assert!(!kept(&App::new()));
}
