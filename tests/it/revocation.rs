//! Revocation marks on fakes: who is refused, when, and at what price.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use airside::encoding::base64url_encode;
use airside::endpoint::{self, Instance};
use airside::ports::KeyValue;
use airside::session::revocation::WATERMARK;
use airside::testing::block_on;
use http::{Method, Response};

use crate::app::{App, check, code, location};

const SAME: [(&str, &str); 1] = [("sec-fetch-site", "same-origin")];
const MARKS: &str = "airside/revocation/";

fn get(app: &App, instance: &Instance, target: &str) -> Response<bytes::Bytes> {
    app.send_to(instance, Method::GET, target, &[], "")
}

/// What a program with the session cookie `sealed` gets, at the gate and at `/auth/session`.
fn with_cookie(app: &App, instance: &Instance, sealed: &str) -> [(u16, Option<&'static str>); 2] {
    ["/invoices", "/auth/session"].map(|target| {
        app.set_cookie("__Host-airside", Some(sealed));
        let response = get(app, instance, target);
        (response.status().as_u16(), code(&response))
    })
}

const GOOD: [(u16, Option<&str>); 2] = [(200, None); 2];
const REVOKED: [(u16, Option<&str>); 2] = [(401, Some("session_revoked")); 2];
const UNKNOWN: [(u16, Option<&str>); 2] = [(503, Some("revocation_unavailable")); 2];

fn log_out(app: &App) -> Response<bytes::Bytes> {
    app.send(Method::POST, "/auth/logout", &SAME, "")
}

fn sealed(app: &App) -> String {
    app.cookie("__Host-airside").expect("a session")
}

#[test]
fn a_copied_cookie_dies_with_the_logout_on_every_machine() {
    let app = App::new();
    let other = app.machine();
    app.log_in();
    let copy = sealed(&app);
    // Both know the session as good.
    assert_eq!(with_cookie(&app, &app.instance, &copy), GOOD);
    assert_eq!(with_cookie(&app, &other, &copy), GOOD);
    // Another person, or the same one elsewhere.
    app.log_in();
    let elsewhere = sealed(&app);

    app.set_cookie("__Host-airside", Some(&copy));
    assert_eq!(log_out(&app).status(), 303);
    assert_eq!(with_cookie(&app, &other, &copy), REVOKED);
    assert_eq!(with_cookie(&app, &app.instance, &copy), REVOKED);
    assert_eq!(with_cookie(&app, &app.machine(), &copy), REVOKED);
    assert!(!app.has_session(), "a dead cookie is deleted");
    assert_eq!(with_cookie(&app, &other, &elsewhere), GOOD);
    app.log_in();
    assert_eq!(with_cookie(&app, &other, &sealed(&app)), GOOD);
}

#[test]
fn a_person_with_a_dead_cookie_goes_to_the_login() {
    let app = App::new();
    app.log_in();
    let copy = sealed(&app);
    log_out(&app);
    app.set_cookie("__Host-airside", Some(&copy));
    let response = app.navigate("/invoices");
    assert_eq!(location(&response), "/auth/login?return_to=%2Finvoices");
    assert!(!app.has_session());
    // And learns no name.
    app.set_cookie("__Host-airside", Some(&copy));
    let page = app.navigate("/auth/logout");
    assert!(!crate::app::body(&page).contains("Alice"));
}

#[test]
fn a_warm_request_reads_the_watermark_and_nothing_else() {
    let app = App::new();
    app.log_in();
    let copy = sealed(&app);
    let reads = |instance: &Instance| {
        let before = app.world.key_value.gets();
        app.set_cookie("__Host-airside", Some(&copy));
        assert_eq!(get(&app, instance, "/invoices").status(), 200);
        app.world.key_value.gets() - before
    };
    assert_eq!(
        reads(&app.instance),
        4,
        "the first look: id, sid or none, sub"
    );
    assert_eq!((reads(&app.instance), reads(&app.instance)), (1, 1));
    // Somebody else logs out.
    app.log_in();
    log_out(&app);
    assert_eq!((reads(&app.instance), reads(&app.instance)), (4, 1));
    assert_eq!(reads(&app.machine()), 4, "an instance of its own");
    // The marks are not asked for where the header decides, or nobody is there.
    let before = app.world.key_value.gets();
    app.set_cookie("__Host-airside", None);
    get(&app, &app.instance, "/invoices");
    assert_eq!(app.world.key_value.gets(), before);
}

#[test]
fn without_the_store_nobody_passes_by_session() {
    let app = App::new();
    app.log_in();
    let copy = sealed(&app);
    assert_eq!(with_cookie(&app, &app.instance, &copy), GOOD);
    app.world.key_value.set_broken(true);
    assert_eq!(with_cookie(&app, &app.instance, &copy), UNKNOWN);
    assert!(app.has_session(), "the cookie stays");
    let attempt = app.begin("");
    app.grant(&app.claims(&attempt));
    let response = app.come_back(&attempt, "&code=c");
    check(
        &response,
        503,
        "revocation_unavailable",
        "nor by a new login",
    );
    app.world.key_value.set_broken(false);
    assert_eq!(with_cookie(&app, &app.instance, &copy), GOOD);
}

#[test]
fn a_logout_that_cannot_be_recorded_says_so_and_still_takes_the_cookies() {
    let app = App::new();
    app.log_in();
    let copy = sealed(&app);
    app.connect_tokens("revoke", Rc::new(App::new()));
    app.connect_tokens("expire", Rc::new(App::new()));
    app.world.key_value.set_broken(true);
    app.world.events.take();
    let response = log_out(&app);
    check(&response, 503, "logout_not_recorded", "");
    assert!(!app.has_session());
    let page = crate::app::body(&response);
    assert!(page.contains("in this browser only"), "{page}");
    // The way to the provider's own logout stays open.
    assert!(
        page.contains("https://op.example/logout?id_token_hint="),
        "{page}"
    );
    let events = app.world.events.take();
    let logged: Vec<&str> = events.iter().map(|event| event.code).collect();
    assert_eq!(logged, ["logout_not_recorded"]);
    assert!(
        events[0]
            .fields
            .contains(&("cause", "revocation_unavailable".to_owned()))
    );
    // It is as the page says.
    app.world.key_value.set_broken(false);
    assert_eq!(with_cookie(&app, &app.instance, &copy), GOOD);
}

#[test]
fn danger_skip_revocation_asks_no_store_and_revokes_nothing() {
    let line = "[providers.op]";
    let on = "[session]\ndanger_skip_revocation = true\n\n[providers.op]";
    let app = App::with(|config| config.replace(line, on));
    assert_eq!(app.world.events.codes(), ["danger_on"]);
    app.log_in();
    let copy = sealed(&app);
    app.world.key_value.set_broken(true);
    let before = app.world.key_value.gets();
    assert_eq!(with_cookie(&app, &app.instance, &copy), GOOD);
    assert_eq!(app.world.key_value.gets(), before);
    assert_eq!(log_out(&app).status(), 303);
    assert_eq!(with_cookie(&app, &app.instance, &copy), GOOD);
}

#[test]
fn a_store_that_lies_ends_sessions_but_brings_none_back_in_silence() {
    let app = App::new();
    app.log_in();
    let copy = sealed(&app);
    log_out(&app);
    app.log_in();
    let other = sealed(&app);
    let machine = app.machine();
    let marks = || -> Vec<String> {
        let keys = app.world.key_value.keys().into_iter();
        keys.filter(|key| key.starts_with(MARKS) && key != WATERMARK)
            .collect()
    };
    let [mark] = marks().try_into().expect("one mark");
    for (name, change) in [
        (
            "changed",
            Box::new(|value: &mut Vec<u8>| value[0] ^= 1) as Box<dyn Fn(&mut Vec<u8>)>,
        ),
        ("cut", Box::new(|value: &mut Vec<u8>| value.truncate(20))),
        ("emptied", Box::new(|value: &mut Vec<u8>| value.clear())),
    ] {
        app.world.key_value.tamper(|key, value| {
            if key == mark {
                change(value);
            }
        });
        app.world.events.take();
        assert_eq!(with_cookie(&app, &machine, &copy), REVOKED, "{name}");
        assert!(
            app.world
                .events
                .codes()
                .contains(&"revocation_mark_unverified"),
            "{name}"
        );
        assert_eq!(with_cookie(&app, &machine, &other), GOOD, "{name}");
    }
    // A changed, emptied or deleted watermark makes everybody look again.
    for change in [
        |value: &mut Vec<u8>| value[0] ^= 1,
        |value: &mut Vec<u8>| value.clear(),
    ] {
        app.world.key_value.tamper(|key, value| {
            if key == WATERMARK {
                change(value);
            }
        });
        assert_eq!(with_cookie(&app, &machine, &copy), REVOKED);
        assert_eq!(with_cookie(&app, &machine, &other), GOOD);
    }
    app.world.key_value.remove(WATERMARK);
    assert_eq!(with_cookie(&app, &machine, &copy), REVOKED);
    // What it can do, as SECURITY.md says: delete the mark.
    app.world.key_value.remove(&mark);
    assert_eq!(with_cookie(&app, &app.machine(), &copy), GOOD);
}

/// A request that stays under way until the test lets it end.
fn request(
    app: &App,
    method: Method,
    target: &str,
    more: (&'static str, &str),
    body: &str,
) -> http::Request<bytes::Bytes> {
    let sealed = app.cookie("__Host-airside").unwrap_or_default();
    let request = http::Request::builder().method(method).uri(target);
    let request = request.header("cookie", format!("__Host-airside={sealed}"));
    let request = request.header(more.0, more.1);
    request
        .body(bytes::Bytes::from(body.to_owned()))
        .expect("request")
}

#[test]
fn a_request_that_looks_while_a_logout_writes_does_not_keep_the_session_alive() {
    let app = App::new();
    app.log_in();
    let copy = sealed(&app);
    app.connect_tokens("revoke", Rc::new(App::new()));
    let out = request(&app, Method::POST, "/auth/logout", SAME[0], "");
    let mut logout = pin!(endpoint::logout(out, &app.instance, app.world.ports()));
    let mut context = Context::from_waker(Waker::noop());
    // Between each two writes of the logout another machine looks at the session, anew each time.
    let machine = app.machine();
    for _ in 0..50 {
        app.world.key_value.answer_after(1);
        if logout.as_mut().poll(&mut context).is_ready() {
            break;
        }
        app.world.key_value.answer_after(0);
        with_cookie(&app, &machine, &copy);
    }
    assert_eq!(with_cookie(&app, &machine, &copy), REVOKED);
}

#[test]
fn the_wheel_takes_a_mark_when_its_session_would_be_over_in_any_case() {
    let app = App::new();
    let tokens = Rc::new(App::new());
    app.connect_tokens("expire", Rc::clone(&tokens));
    app.log_in();
    let over = (app.world.now().as_secs() + 24 * 3_600) / 3_600 + 1;
    log_out(&app);
    let read = |app: &App, key: &str| block_on(app.world.key_value.get(key)).expect("store");
    let is_mark = |key: &String| key.starts_with(MARKS) && key != WATERMARK;
    let keys = app.world.key_value.keys();
    let mark = keys.iter().find(|key| is_mark(key)).expect("mark");
    let value = read(&app, mark).expect("value");
    // By its own id: an older entry does not take a later mark.
    let entry = format!("{}.{mark}", base64url_encode(&value[..12]));
    let slot = read(&tokens, &format!("airside/wheel/{over}/1"));
    assert_eq!(slot, Some(entry.into_bytes()));
    assert!(!app.world.events.codes().contains(&"mark_stays"));

    // Without the wheel the session ends all the same.
    let app = App::new();
    app.log_in();
    let copy = sealed(&app);
    log_out(&app);
    assert!(app.world.events.codes().contains(&"mark_stays"));
    assert_eq!(with_cookie(&app, &app.instance, &copy), REVOKED);
}
