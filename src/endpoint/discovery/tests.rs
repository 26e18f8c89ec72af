use http::Response;
use serde_json::json;

use super::*;
use crate::encoding::base64url_encode;
use crate::endpoint::instance::SESSION_KEYS;
use crate::testing::{Idp, World, block_on, block_on_both};

const ISSUER: &str = "https://op.example/tenant";
const METADATA: &str = "https://op.example/tenant/.well-known/openid-configuration";
const JWKS: &str = "https://op.example/tenant/jwks";
const CONFIG: &str = include_str!("../../../airside.toml");

/// A world with a provider whose keys are called `kids`.
fn world(kids: &[&str]) -> World {
    let world = World::default();
    let key = base64url_encode(&[7; 32]);
    world.variables.set(SESSION_KEYS, &format!("a:{key}"));
    let provider = Idp::new(ISSUER);
    world.http.json(METADATA, provider.metadata().to_string());
    publish(&world, kids);
    world
}

/// Replaces the provider's key set.
fn publish(world: &World, kids: &[&str]) {
    let keys: Vec<_> = kids
        .iter()
        .map(|kid| Idp::with_key(ISSUER, Algorithm::Es256, kid).jwk())
        .collect();
    world.http.json(JWKS, json!({ "keys": keys }).to_string());
}

fn take_down(world: &World) {
    world.http.fail(METADATA, HttpError::Unreachable);
    world.http.fail(JWKS, HttpError::Unreachable);
}

fn instance(world: &World) -> Instance {
    block_on(Instance::start(Some(CONFIG.into()), world.ports())).expect("starts")
}

fn issuer() -> Issuer {
    ISSUER.parse().expect("issuer")
}

/// Whether the key set that a request for `kid` gets has that key.
async fn ask(world: &World, instance: &Instance, kid: &str) -> Result<bool, DiscoveryError> {
    let (alg, kid) = (Algorithm::Es256, Some(kid));
    let set = key_set(&issuer(), alg, kid, instance, world.ports(), world.now()).await?;
    Ok(set.select(alg, kid).is_ok())
}

#[track_caller]
fn check(world: &World, instance: &Instance, kid: &str, expected: Result<bool, DiscoveryError>) {
    assert_eq!(block_on(ask(world, instance, kid)), expected);
}

#[test]
fn a_document_is_fetched_once_for_all_instances() {
    let world = world(&["a"]);
    let one = instance(&world);
    check(&world, &one, "a", Ok(true));
    let gets = world.key_value.gets();
    check(&world, &one, "a", Ok(true));
    assert_eq!(world.key_value.gets(), gets, "the warm path reads no store");

    let two = instance(&world);
    check(&world, &two, "a", Ok(true));
    assert_eq!((world.http.count(METADATA), world.http.count(JWKS)), (1, 1));

    world.clock.advance(600);
    check(&world, &two, "a", Ok(true));
    assert_eq!(world.http.count(JWKS), 2, "fetched again when not fresh");
}

#[test]
fn the_issuer_of_the_document_must_be_the_configured_one() {
    for (name, issuer, expected) in [
        ("the same", ISSUER, Ok(true)),
        (
            "with a slash",
            "https://op.example/tenant/",
            Err(DiscoveryError::Metadata(
                crate::oauth::metadata::MetadataError::Issuer,
            )),
        ),
    ] {
        let world = world(&["a"]);
        let mut document = Idp::new(ISSUER).metadata();
        document["issuer"] = issuer.into();
        world.http.json(METADATA, document.to_string());
        let outcome = block_on(ask(&world, &instance(&world), "a"));
        assert_eq!(outcome, expected, "{name}");
    }
}

#[test]
fn what_somebody_changed_in_the_store_is_not_believed() {
    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, Change, usize); 5] = [
        ("nothing", |_| {}, 1),
        ("a byte", |value| value[40] ^= 1, 2),
        ("the time", |value| value[7] ^= 1, 2),
        ("cut", |value| value.truncate(20), 2),
        ("emptied", Vec::clear, 2),
    ];
    for (name, change, fetches) in changes {
        let world = world(&["a"]);
        check(&world, &instance(&world), "a", Ok(true));
        world.key_value.tamper(|_, value| change(value));
        check(&world, &instance(&world), "a", Ok(true));
        assert_eq!(world.http.count(JWKS), fetches, "{name}");
    }
}

#[test]
fn a_new_instance_reads_one_row_where_that_is_enough() {
    let world = world(&["a"]);
    check(&world, &instance(&world), "a", Ok(true));
    let reads = |kid: &str, found: bool| {
        let before = world.key_value.gets();
        check(&world, &instance(&world), kid, Ok(found));
        world.key_value.gets() - before
    };
    assert_eq!(reads("a", true), 1);
    // Whether others asked for an unknown key, or found the provider down, is in another.
    assert!(reads("x", false) > 1);
    world.clock.advance(600);
    assert!(reads("a", true) > 1);
}

#[test]
fn a_document_of_another_issuer_is_not_believed() {
    const OTHER: &str = "https://evil.example";
    let world = world(&["a"]);
    let evil = Idp::with_key(OTHER, Algorithm::Es256, "a");
    let at = |path: &str| format!("{OTHER}{path}");
    let metadata_url = at("/.well-known/openid-configuration");
    world.http.json(&metadata_url, evil.metadata().to_string());
    world.http.json(&at("/jwks"), evil.jwks().to_string());
    let other: Issuer = OTHER.parse().expect("issuer");
    let (alg, now) = (Algorithm::Es256, world.now());
    let theirs = block_on(key_set(
        &other,
        alg,
        Some("a"),
        &instance(&world),
        world.ports(),
        now,
    ));
    assert!(theirs.is_ok());
    let theirs = world.key_value.keys();
    check(&world, &instance(&world), "a", Ok(true));

    // Their key set in the place of ours, under the keys of the store.
    let ours: Vec<String> = world
        .key_value
        .keys()
        .into_iter()
        .filter(|key| !theirs.contains(key) && key.contains("/jwks/"))
        .collect();
    assert_eq!(ours.len(), 1);
    let their_set = theirs.iter().find(|key| key.contains("/jwks/"));
    world
        .key_value
        .copy(their_set.expect("their set"), &ours[0]);
    check(&world, &instance(&world), "a", Ok(true));
    assert_eq!(world.http.count(JWKS), 2, "ours was fetched again");
}

#[test]
fn a_time_from_the_future_is_not_believed() {
    let world = world(&["a"]);
    world.clock.advance(301);
    check(&world, &instance(&world), "a", Ok(true));
    world
        .clock
        .set(UnixTime::from_secs(world.now().as_secs() - 301));
    check(&world, &instance(&world), "a", Ok(true));
    assert_eq!(world.http.count(JWKS), 2);
    // The nearest that is believed: clocks differ.
    world
        .clock
        .set(UnixTime::from_secs(world.now().as_secs() - 300));
    check(&world, &instance(&world), "a", Ok(true));
    assert_eq!(world.http.count(JWKS), 2);
}

#[test]
fn a_key_rotated_right_after_a_fetch_is_found() {
    let world = world(&["a"]);
    let one = instance(&world);
    check(&world, &one, "a", Ok(true));
    publish(&world, &["a", "b"]);
    check(&world, &one, "b", Ok(true));
    assert_eq!(world.http.count(JWKS), 2);
}

#[test]
fn a_flood_of_unknown_keys_causes_one_fetch_per_cooldown() {
    let world = world(&["a"]);
    check(&world, &instance(&world), "a", Ok(true));
    for flood in 0..20 {
        // A new instance each time: the throttle is kept in the store.
        let kid = format!("x{flood}");
        check(&world, &instance(&world), &kid, Ok(false));
    }
    assert_eq!(world.http.count(JWKS), 2);
    world.clock.advance(60);
    check(&world, &instance(&world), "y", Ok(false));
    check(&world, &instance(&world), "z", Ok(false));
    assert_eq!(world.http.count(JWKS), 3);
}

#[test]
fn without_the_store_an_unknown_key_is_not_fetched_and_a_known_one_serves() {
    let world = world(&["a"]);
    world.key_value.set_broken(true);
    let one = instance(&world);
    check(&world, &one, "a", Ok(true));
    publish(&world, &["b"]);
    check(&world, &one, "b", Err(DiscoveryError::Throttle));
    check(&world, &one, "a", Ok(true));
    assert_eq!(world.http.count(JWKS), 1);
    world.key_value.set_broken(false);
    check(&world, &one, "b", Ok(true));
}

#[test]
fn an_outage_is_bridged_until_the_hard_maximum() {
    let world = world(&["a"]);
    check(&world, &instance(&world), "a", Ok(true));
    take_down(&world);
    world.clock.advance(86_399);
    let one = instance(&world);
    check(&world, &one, "a", Ok(true));
    assert_eq!(
        world.events.codes(),
        ["provider_document_stale", "provider_document_stale"]
    );
    check(&world, &one, "b", Err(DiscoveryError::CoolingDown));
    world.clock.advance(10);
    check(&world, &one, "a", Err(DiscoveryError::Unreachable));
}

#[test]
fn a_provider_that_is_down_is_asked_every_ten_seconds_by_all_together() {
    let world = world(&["a"]);
    take_down(&world);
    check(
        &world,
        &instance(&world),
        "a",
        Err(DiscoveryError::Unreachable),
    );
    let asked = world.http.requests().len();
    for _ in 0..5 {
        let outcome = block_on(ask(&world, &instance(&world), "a"));
        assert_eq!(outcome, Err(DiscoveryError::CoolingDown));
    }
    assert_eq!(world.http.requests().len(), asked);
    world.clock.advance(10);
    world
        .http
        .json(METADATA, Idp::new(ISSUER).metadata().to_string());
    publish(&world, &["a"]);
    check(&world, &instance(&world), "a", Ok(true));
}

#[test]
fn an_unusable_answer_does_not_replace_a_good_set() {
    let good = Idp::with_key(ISSUER, Algorithm::Es256, "b")
        .jwks()
        .to_string();
    for (name, status, body, expected) in [
        ("another set", 200, good.as_str(), Ok(false)),
        ("a redirect with a set", 302, &good, Ok(true)),
        ("an error with a set", 404, &good, Ok(true)),
        ("a failure with a set", 500, &good, Ok(true)),
        ("no keys", 200, r#"{"keys":[]}"#, Ok(true)),
        (
            "no usable key",
            200,
            r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#,
            Ok(true),
        ),
        ("no set", 200, "[]", Ok(true)),
    ] {
        let world = world(&["a"]);
        let one = instance(&world);
        check(&world, &one, "a", Ok(true));
        let body = Bytes::from(body.to_owned());
        world.http.on(JWKS, move |_| {
            let response = Response::builder().status(status);
            Ok(response.body(body.clone()).expect("response"))
        });
        world.clock.advance(600);
        assert_eq!(block_on(ask(&world, &one, "a")), expected, "{name}");
        let stale = world.events.codes() == ["provider_document_stale"];
        assert_eq!(stale, expected == Ok(true), "{name}");
    }
}

#[test]
fn an_unknown_key_is_unknown_only_once_the_provider_said_so() {
    let world = world(&["a"]);
    check(&world, &instance(&world), "a", Ok(true));
    world.http.fail(JWKS, HttpError::Timeout);
    check(
        &world,
        &instance(&world),
        "b",
        Err(DiscoveryError::Unreachable),
    );
    // Within the cooldown of failures, and then of unknown keys: nobody knows.
    for _ in 0..2 {
        check(
            &world,
            &instance(&world),
            "b",
            Err(DiscoveryError::CoolingDown),
        );
        check(&world, &instance(&world), "a", Ok(true));
        world.clock.advance(30);
    }
    publish(&world, &["c"]);
    check(&world, &instance(&world), "b", Ok(false));
    check(&world, &instance(&world), "b", Ok(false));
    assert_eq!(world.http.count(JWKS), 3);
}

#[test]
fn while_one_request_asks_for_an_unknown_key_another_does_not_call_it_unknown() {
    // In the same instance within the same second, and in another one later.
    for (name, seconds) in [("here", 0), ("elsewhere", 1)] {
        let world = world(&["a"]);
        let (one, two) = (instance(&world), instance(&world));
        check(&world, &one, "a", Ok(true));
        world.clock.advance(seconds);
        publish(&world, &["a", "b"]);
        world.http.answer_after(3);
        let other = if seconds == 0 { &one } else { &two };
        let both = block_on_both(ask(&world, &one, "b"), ask(&world, other, "b"));
        assert_eq!(both, (Ok(true), Err(DiscoveryError::CoolingDown)), "{name}");
    }
}

#[test]
fn requests_that_wait_for_the_store_ask_for_unknown_keys_once() {
    // A store over the network: all of them read it before the first has written.
    let world = world(&["a"]);
    let one = instance(&world);
    check(&world, &one, "a", Ok(true));
    publish(&world, &["a", "b"]);
    world.key_value.answer_after(3);
    let both = block_on_both(ask(&world, &one, "b"), ask(&world, &one, "x"));
    assert_eq!(both, (Ok(true), Err(DiscoveryError::CoolingDown)));
    assert_eq!(world.http.count(JWKS), 2);
}

#[test]
fn errors_of_the_network_keep_their_reason() {
    for (error, expected) in [
        (HttpError::NotAllowed, DiscoveryError::NotAllowed),
        (HttpError::Timeout, DiscoveryError::Unreachable),
        (HttpError::TooLarge, DiscoveryError::Unreachable),
    ] {
        let world = world(&["a"]);
        world.http.fail(JWKS, error);
        check(&world, &instance(&world), "a", Err(expected));
    }
    let world = world(&["a"]);
    world.http.json(JWKS, vec![b' '; MAX_JWKS_BYTES + 1]);
    check(
        &world,
        &instance(&world),
        "a",
        Err(DiscoveryError::Unreachable),
    );
}

#[test]
fn interleaved_requests_fetch_for_themselves() {
    let world = world(&["a"]);
    world.http.answer_after(3);
    let one = instance(&world);
    let both = block_on_both(ask(&world, &one, "a"), ask(&world, &one, "a"));
    assert_eq!(both, (Ok(true), Ok(true)));
}

#[test]
fn a_request_dropped_while_it_fetches_leaves_nothing_behind() {
    let world = world(&["a"]);
    world.http.answer_after(3);
    let one = instance(&world);
    {
        let mut dropped = std::pin::pin!(ask(&world, &one, "a"));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(dropped.as_mut().poll(&mut context).is_pending());
    }
    check(&world, &one, "a", Ok(true));
}

#[test]
fn while_one_request_refreshes_the_others_use_what_is_there() {
    let world = world(&["a"]);
    let one = instance(&world);
    check(&world, &one, "a", Ok(true));
    world.clock.advance(600);
    world.http.answer_after(3);
    let both = block_on_both(ask(&world, &one, "a"), ask(&world, &one, "a"));
    assert_eq!(both, (Ok(true), Ok(true)));
    assert_eq!(world.http.count(JWKS), 2);
}

#[test]
fn the_memory_of_verified_tokens_follows_the_key_set() {
    let world = world(&["a"]);
    let one = instance(&world);
    let in_force = |world: &World| keys_in_force(ISSUER, &one, world.now());
    assert_eq!(in_force(&world), None);
    check(&world, &one, "a", Ok(true));
    let fetched_at = world.now();
    assert_eq!(in_force(&world), Some(fetched_at));
    world.clock.advance(600);
    assert_eq!(in_force(&world), None, "due for a fetch");
    take_down(&world);
    check(&world, &one, "a", Ok(true));
    assert_eq!(in_force(&world), Some(fetched_at), "the provider is down");
}
