//! Sessions in the key-value store on fakes, and what becomes of one that is too large for its
//! cookies.

use std::rc::Rc;

use airside::endpoint;
use airside::ports::{HttpError, KeyValue};
use airside::session::Purpose;
use airside::testing::{block_on, block_on_both};
use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::{Value, json};

use crate::app::{App, body, check, code};

const EXPIRE: &str = "http://tokens.spin.internal/tokens/expire";
const SAME: [(&str, &str); 1] = [("sec-fetch-site", "same-origin")];
const RECORDS: &str = "airside/session/";

/// A gateway with these lines under `[session]`, and its `tokens`.
fn with_session(lines: &str, change: impl Fn(String) -> String) -> App {
    let app = App::with(|config| {
        let config = change(config);
        config.replacen(
            "[providers.op]",
            &format!("[session]\n{lines}\n[providers.op]"),
            1,
        )
    });
    app.connect_tokens("expire", Rc::new(App::new()));
    app
}

fn stored() -> App {
    with_session("store = \"key-value\"", |config| config)
}

fn get(app: &App, target: &str) -> Response<Bytes> {
    app.send(Method::GET, target, &[], "")
}

#[track_caller]
fn passes(app: &App) {
    let gate = get(app, "/invoices");
    assert_eq!((gate.status().as_u16(), code(&gate)), (200, None));
    assert_eq!(get(app, "/auth/session").status(), 200);
}

fn cookie(app: &App) -> String {
    app.cookie("__Host-airside").expect("a session")
}

fn records(app: &App) -> Vec<String> {
    let mut keys = app.world.key_value.keys();
    keys.retain(|key| key.starts_with(RECORDS));
    keys
}

fn read(app: &App, key: &str) -> Vec<u8> {
    block_on(app.world.key_value.get(key))
        .expect("store")
        .expect("value")
}

/// Logs in with claims beside the usual ones.
fn log_in_with(app: &App, more: Value) -> Response<Bytes> {
    let attempt = app.begin("");
    let mut claims = app.claims(&attempt);
    let all = claims.as_object_mut().expect("object");
    all.extend(more.as_object().expect("object").clone());
    app.grant(&claims);
    app.come_back(&attempt, "&code=c")
}

#[test]
fn the_cookie_is_a_reference_and_a_copy_of_the_store_reads_nothing() {
    let app = stored();
    app.log_in();
    passes(&app);
    let reference = cookie(&app);
    assert!(
        reference.starts_with("k~") && reference.len() < 500,
        "{}",
        reference.len()
    );
    let keys = records(&app);
    assert_eq!(keys.len(), 1);
    let record = read(&app, &keys[0]);
    let text = String::from_utf8(record).expect("text");
    for secret in ["alice", "at-secret", "Alice"] {
        assert!(!text.contains(secret));
    }
    // Not even with the session keys: the record has a key of its own.
    let now = app.world.now();
    for purpose in [Purpose::SessionRecord, Purpose::Session] {
        let opened = app.instance.ring.open_at::<Value>(purpose, &text, now);
        assert!(opened.is_err());
    }
    let inside =
        app.instance
            .ring
            .open_at::<Value>(Purpose::SessionReference, &reference[2..], now);
    assert_eq!(
        inside.expect("ours").as_object().map(serde_json::Map::len),
        Some(3)
    );
}

#[test]
fn what_is_remembered_of_a_session_is_of_its_reference_and_its_record() {
    // Another record under the same reference is not the one that was opened.
    let app = stored();
    app.log_in();
    passes(&app);
    let key = records(&app).remove(0);
    let changed = |value: &mut Vec<u8>| {
        if let Some(last) = value.last_mut() {
            *last = if *last == b'A' { b'Q' } else { b'A' };
        }
    };
    app.world.key_value.tamper(|name, value| {
        if name == key {
            changed(value);
        }
    });
    assert_eq!(code(&get(&app, "/invoices")), Some("no_credential"));

    // A renewed reference to the same record says when the session was used last.
    let app = stored();
    app.log_in();
    passes(&app);
    app.world.clock.advance(7_201);
    let former = cookie(&app);
    get(&app, "/invoices");
    let renewed = cookie(&app);
    assert_ne!(former, renewed, "due for renewal");
    for _ in 0..2 {
        get(&app, "/invoices");
        assert_eq!(cookie(&app), renewed, "and not again");
    }
}

#[test]
fn who_can_write_into_the_store_makes_no_session_and_changes_none() {
    let app = stored();
    app.log_in();
    let (alice, first) = (cookie(&app), records(&app));
    app.log_in();
    let both = records(&app);
    assert_eq!(both.len(), 2, "each login has a record of its own");
    let second = both
        .iter()
        .find(|key| !first.contains(key))
        .expect("second");
    let good = read(&app, &first[0]);
    // Another session's record in its place.
    app.world.key_value.copy(second, &first[0]);
    app.set_cookie("__Host-airside", Some(&alice));
    check(&get(&app, "/invoices"), 401, "no_credential", "exchanged");
    // Changed.
    let mut changed = good.clone();
    changed[200] ^= 1;
    block_on(app.world.key_value.set(&first[0], &changed)).expect("set");
    app.set_cookie("__Host-airside", Some(&alice));
    check(&get(&app, "/invoices"), 401, "no_credential", "changed");
    block_on(app.world.key_value.set(&first[0], b"\xff")).expect("set");
    app.set_cookie("__Host-airside", Some(&alice));
    check(&get(&app, "/invoices"), 401, "no_credential", "no text");
    // As it was.
    block_on(app.world.key_value.set(&first[0], &good)).expect("set");
    app.set_cookie("__Host-airside", Some(&alice));
    passes(&app);
    let flipped = if alice.ends_with('A') { "Q" } else { "A" };
    // A reference is sealed by the session keys; a session is no reference, nor the other way.
    for wrong in [
        alice.replacen("k~", "1~", 1),
        format!("{}{flipped}", &alice[..alice.len() - 1]),
        "k~".to_owned(),
        "k~a.b.c.d.e".to_owned(),
    ] {
        app.set_cookie("__Host-airside", Some(&wrong));
        check(&get(&app, "/invoices"), 401, "no_credential", &wrong);
        assert!(!app.has_session(), "and it goes");
    }
    let plain = App::new();
    plain.log_in();
    let sealed = cookie(&plain).replacen("1~", "k~", 1);
    app.set_cookie("__Host-airside", Some(&sealed));
    check(
        &get(&app, "/invoices"),
        401,
        "no_credential",
        "a session as a reference",
    );
}

#[test]
fn idle_and_absolute_limits_hold_and_prolonging_writes_nothing() {
    let app = stored();
    app.log_in();
    let keys = records(&app);
    let record = read(&app, &keys[0]);
    let first = cookie(&app);
    // Six hours in a row without eight of rest: each is a renewal.
    for hour in 0..3 {
        app.world.clock.advance(6 * 3_600);
        passes(&app);
        assert_ne!(cookie(&app), first, "renewed, {hour}");
    }
    assert_eq!(records(&app), keys);
    assert_eq!(read(&app, &keys[0]), record, "nothing was written");
    let renewed = cookie(&app);
    // The cookie of the first hour is over, though its session is not.
    app.set_cookie("__Host-airside", Some(&first));
    check(&get(&app, "/invoices"), 401, "session_expired", "idle");
    app.set_cookie("__Host-airside", Some(&renewed));
    app.world.clock.advance(6 * 3_600 - 1);
    passes(&app);
    app.world.clock.advance(1);
    check(
        &get(&app, "/invoices"),
        401,
        "session_expired",
        "a day in all",
    );
}

#[test]
fn limits_that_were_shortened_hold_for_what_is_remembered_too() {
    for place in ["cookie", "key-value"] {
        let before = with_session(&format!("store = \"{place}\""), |config| config);
        before.log_in();
        let first = cookie(&before);
        let lines = format!("store = \"{place}\"\nidle_seconds = 3600");
        let app = with_session(&lines, |config| config);
        for key in records(&before) {
            let record = read(&before, &key);
            block_on(app.world.key_value.set(&key, &record)).expect("set");
        }
        let ask = |code: Option<&str>| {
            app.set_cookie("__Host-airside", Some(&first));
            let answer = get(&app, "/invoices");
            assert_eq!(self::code(&answer), code, "{place}");
        };
        ask(None);
        app.world.clock.advance(3_599);
        ask(None);
        app.world.clock.advance(1);
        ask(Some("session_expired"));
    }
}

#[test]
fn a_logout_ends_it_and_no_late_write_brings_it_back() {
    for lines in [
        "store = \"key-value\"",
        "store = \"key-value\"\ndanger_skip_revocation = true",
    ] {
        let app = with_session(lines, |config| config);
        app.log_in();
        let (copy, key) = (cookie(&app), records(&app).remove(0));
        let record = read(&app, &key);
        passes(&app);
        let out = app.send(Method::POST, "/auth/logout", &SAME, "");
        assert_eq!(out.status(), 303, "{lines}");
        assert!(records(&app).is_empty(), "{lines}");
        app.set_cookie("__Host-airside", Some(&copy));
        check(&get(&app, "/invoices"), 401, "session_expired", lines);
        // A request that began before the logout writes the record once more.
        block_on(app.world.key_value.set(&key, &record)).expect("set");
        app.set_cookie("__Host-airside", Some(&copy));
        check(&get(&app, "/invoices"), 401, "session_revoked", lines);
        app.set_cookie("__Host-airside", Some(&copy));
        check(&get(&app, "/auth/session"), 401, "session_revoked", lines);
        // Another session of the same person goes on.
        app.log_in();
        passes(&app);
    }
}

#[test]
fn a_logout_wins_over_a_renewal_however_they_interleave() {
    for (store_polls, late) in (0..6).flat_map(|a| (0..2).map(move |b| (a, b))) {
        let app = stored();
        app.log_in();
        app.world.clock.advance(6 * 3_600);
        let copy = cookie(&app);
        app.world.key_value.answer_after(store_polls);
        let request = |method: Method, target: &str| {
            let request = Request::builder().method(method).uri(target);
            let request = request.header("sec-fetch-site", "same-origin");
            let line = format!("__Host-airside={copy}");
            let request = request.header("cookie", line);
            request.body(Bytes::new()).expect("request")
        };
        let ports = app.world.ports();
        let (head, _) = request(Method::GET, "/invoices").into_parts();
        let mut head = endpoint::Head::from(&head);
        let renewal = endpoint::authorize(&mut head, &app.instance, ports);
        let logout = endpoint::logout(request(Method::POST, "/auth/logout"), &app.instance, ports);
        if late == 0 {
            block_on_both(renewal, logout);
        } else {
            block_on_both(logout, renewal);
        }
        app.world.key_value.answer_after(0);
        assert!(records(&app).is_empty(), "{store_polls} {late}");
        app.set_cookie("__Host-airside", Some(&copy));
        let after = get(&app, "/invoices");
        assert_eq!(after.status(), 401, "{store_polls} {late}");
    }
}

#[test]
fn without_the_store_nobody_passes_and_only_a_logout_takes_the_cookie() {
    let app = stored();
    app.log_in();
    let copy = cookie(&app);
    app.world.key_value.set_broken(true);
    for target in ["/invoices", "/auth/session", "/auth/logout"] {
        check(&get(&app, target), 503, "session_store_unavailable", target);
    }
    assert_eq!(cookie(&app), copy);
    app.world.key_value.set_broken(false);
    passes(&app);
    // Who asks for it loses the cookie, and is told that this is all.
    app.world.key_value.set_broken(true);
    let out = app.send(Method::POST, "/auth/logout", &SAME, "");
    check(&out, 503, "logout_not_recorded", "logout");
    assert!(!app.has_session());
    app.world.key_value.set_broken(false);
    app.set_cookie("__Host-airside", Some(&copy));
    passes(&app);
}

#[test]
fn what_the_wheel_does_not_know_is_not_stored() {
    let app = stored();
    app.world.http.fail(EXPIRE, HttpError::Unreachable);
    let attempt = app.begin("");
    app.grant(&app.claims(&attempt));
    let refused = app.come_back(&attempt, "&code=c");
    assert_eq!(refused.status(), 503);
    assert!(records(&app).is_empty() && !app.has_session());

    // A platform without counters: `tokens` answers that it cannot.
    let app = App::with(|config| {
        config.replacen(
            "[providers.op]",
            "[session]\nstore = \"key-value\"\n[providers.op]",
            1,
        )
    });
    let tokens = Rc::new(App::new());
    tokens.world.key_value.set_uncounted(true);
    app.connect_tokens("expire", tokens);
    let attempt = app.begin("");
    app.grant(&app.claims(&attempt));
    let refused = app.come_back(&attempt, "&code=c");
    check(&refused, 503, "session_store_unavailable", "no counters");
    assert!(records(&app).is_empty() && !app.has_session());
}

#[test]
fn the_wheel_knows_each_record_by_its_absolute_end() {
    let app = App::with(|config| {
        config.replacen(
            "[providers.op]",
            "[session]\nstore = \"key-value\"\n[providers.op]",
            1,
        )
    });
    let tokens = Rc::new(App::new());
    app.connect_tokens("expire", Rc::clone(&tokens));
    app.log_in();
    let hour = (app.world.now().as_secs() + 86_400) / 3_600 + 1;
    let slot = read(&tokens, &format!("airside/wheel/{hour}/1"));
    assert_eq!(slot, format!(".{}", records(&app)[0]).into_bytes());
}

#[test]
fn changing_the_store_logs_nobody_out() {
    let (cookies, stored) = (App::new(), stored());
    cookies.log_in();
    stored.log_in();
    // Sessions in cookies, at a gateway that is now to use the store.
    let (in_cookie, reference) = (cookie(&cookies), cookie(&stored));
    stored.set_cookie("__Host-airside", Some(&in_cookie));
    passes(&stored);
    // And the other way, with the same store.
    for key in records(&stored) {
        let record = read(&stored, &key);
        block_on(cookies.world.key_value.set(&key, &record)).expect("set");
    }
    cookies.set_cookie("__Host-airside", Some(&reference));
    passes(&cookies);
    cookies.world.clock.advance(6 * 3_600);
    passes(&cookies);
    assert!(cookie(&cookies).starts_with("k~"), "it stays where it is");
}

/// A text that no compression makes shorter: nothing here compresses.
fn long(length: usize) -> String {
    "x".repeat(length)
}

#[test]
fn a_session_that_is_too_large_loses_the_claims_named_last() {
    let claims =
        "claims = [\"name\", \"email\", \"role\", \"team\"]\nessential_claims = [\"team\"]";
    let change = |hint: &'static str| {
        move |config: String| {
            let lines = format!("{claims}\nid_token_hint = \"{hint}\"\naudience =");
            config.replacen("audience =", &lines, 1)
        }
    };
    let told = |app: &App| -> Vec<String> {
        let session = get(app, "/auth/session");
        let told: Value = serde_json::from_str(body(&session)).expect("JSON");
        let claims = told["claims"].as_object().expect("object");
        claims.keys().cloned().collect()
    };
    let dropped = |app: &App| -> Option<String> {
        let events = app.world.events.take();
        let event = events
            .into_iter()
            .find(|event| event.code == "session_reduced")?;
        Some(event.fields[0].1.clone())
    };
    let sizes = |name, email, role, team| {
        json!({
            "name": long(name), "email": long(email), "role": long(role), "team": long(team),
        })
    };
    for (label, hint, claims, kept, lost) in [
        (
            "all fits",
            "never",
            sizes(9, 9, 9, 9),
            "email name role team",
            None,
        ),
        (
            "the last voluntary one",
            "never",
            sizes(900, 900, 3_000, 900),
            "email name team",
            Some("role"),
        ),
        (
            "two of them",
            "never",
            sizes(900, 3_000, 900, 900),
            "name team",
            Some("role email"),
        ),
        (
            "all of them",
            "never",
            sizes(4_000, 0, 0, 900),
            "team",
            Some("role email name"),
        ),
        (
            "the hint, and no claim",
            "when_it_fits",
            sizes(700, 700, 700, 700),
            "email name role team",
            Some("id_token_hint"),
        ),
    ] {
        let app = with_session("", change(hint));
        let response = log_in_with(&app, claims);
        assert_eq!(
            (response.status().as_u16(), code(&response)),
            (303, None),
            "{label}"
        );
        assert_eq!(dropped(&app).as_deref(), lost, "{label}");
        assert_eq!(told(&app).join(" "), kept, "{label}");
    }
    // An essential one cannot go, nor a hint that is always wanted.
    for (label, hint, claims) in [
        ("essential", "never", sizes(9, 9, 9, 5_000)),
        ("hint", "always", sizes(0, 0, 0, 3_000)),
    ] {
        let app = with_session("", change(hint));
        let response = log_in_with(&app, claims.clone());
        check(&response, 500, "session_too_large", label);
        assert!(!app.has_session());
        // Where it may go into the store, it does, whole.
        let app = with_session("spill = true", change(hint));
        assert_eq!(log_in_with(&app, claims).status(), 303, "{label}");
        assert!(cookie(&app).starts_with("k~"), "{label}");
        assert_eq!(told(&app).join(" "), "email name role team", "{label}");
    }
    // And what fits stays in cookies there.
    let app = with_session("spill = true", |config| config);
    app.log_in();
    assert!(cookie(&app).starts_with("1~"));
}

#[test]
fn a_record_has_a_limit_too_and_the_old_chunks_go() {
    let app = stored();
    let log_in = |access_token: usize| {
        let attempt = app.begin("");
        let tokens = json!({
            "access_token": long(access_token), "token_type": "Bearer",
            "id_token": app.idp.sign(&app.claims(&attempt)),
        });
        app.answer_token(200, tokens.to_string());
        app.come_back(&attempt, "&code=c")
    };
    assert_eq!(
        log_in(68_000).status(),
        303,
        "three tokens of the largest size"
    );
    passes(&app);
    check(&log_in(74_000), 500, "session_too_large", "over 96 KiB");

    // From two chunks to a reference.
    let app = with_session("spill = true", |config| config);
    assert_eq!(
        log_in_with(&app, json!({"name": long(1_800)})).status(),
        303
    );
    assert!(app.cookie("__Host-airside.1").is_some());
    assert_eq!(
        log_in_with(&app, json!({"name": long(9_000)})).status(),
        303
    );
    assert!(app.cookie("__Host-airside.1").is_none(), "stale");
    passes(&app);
}
