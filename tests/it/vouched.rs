//! Signatures that one instance has verified, for the others: what is saved is the signature
//! check, and nothing else.

use std::rc::Rc;

use airside::endpoint::{Decision, Head, Instance, authorize};
use airside::jose::Algorithm;
use airside::jose::jwk::checks;
use airside::ports::KeyValue;
use airside::respond::Code;
use airside::testing::{Idp, block_on};
use http::{Request, Response};
use serde_json::{Value, json};

use crate::app::{App, ISSUER};

const API: &str = "https://api.example.com";

/// A gate whose `tokens` enters what is written into the wheel.
struct Gate {
    app: App,
    tokens: Rc<App>,
}

fn config(text: String) -> String {
    format!(
        "{text}\n[[routes]]\npath = \"/vouched/*\"\naccess = \"token\"\nissuer = \"op\"\n\
         audience = \"{API}\"\nscopes = [\"read\"]\nupstream = \"api\"\n"
    )
}

impl Gate {
    fn new() -> Self {
        let app = App::with(config);
        let tokens = Rc::new(App::with(config));
        app.connect_tokens("expire", Rc::clone(&tokens));
        Gate { app, tokens }
    }

    /// One that nobody answers, with a change of the configuration.
    fn alone(change: impl Fn(String) -> String) -> Self {
        let app = App::with(|text| change(config(text)));
        let tokens = Rc::new(App::with(config));
        Gate { app, tokens }
    }

    fn advance(&self, seconds: u64) {
        self.app.world.clock.advance(seconds);
        self.tokens.world.clock.advance(seconds);
    }

    fn token(&self, change: impl Fn(&mut Value)) -> String {
        let now = self.app.world.now().as_secs();
        let mut claims = json!({
            "iss": ISSUER, "sub": "alice", "aud": API, "client_id": "cli", "scope": "read",
            "iat": now, "exp": now + 10_000,
        });
        change(&mut claims);
        self.app.idp.sign_typ(&claims, "at+jwt")
    }

    /// What an instance says of a token, and how many signatures it judged for that.
    fn judged(&self, instance: &Instance, token: &str) -> (Option<&'static str>, usize) {
        let request = Request::get("/vouched/x").header("authorization", format!("Bearer {token}"));
        let head = request.body(()).expect("request").into_parts().0;
        let before = checks::so_far();
        let decision = block_on(authorize(
            &mut Head::from(&head),
            instance,
            self.app.world.ports(),
        ));
        let code = match decision {
            Decision::Forward(_) => None,
            Decision::Respond(response) => Some(code(&response)),
        };
        (code, checks::so_far() - before)
    }

    /// What a new instance says.
    fn anew(&self, token: &str) -> (Option<&'static str>, usize) {
        self.judged(&self.app.machine(), token)
    }

    /// Has the token's signature verified and vouched for.
    fn vouch(&self, token: &str) {
        assert_eq!(self.anew(token), (None, 1));
        assert_eq!(self.vouchers().len(), 1);
    }

    fn vouchers(&self) -> Vec<String> {
        let mut keys = self.app.world.key_value.keys();
        keys.retain(|key| key.starts_with("airside/verified/"));
        keys
    }
}

fn code(response: &Response<bytes::Bytes>) -> &'static str {
    response.extensions().get::<Code>().expect("code").0
}

#[test]
fn a_signature_is_verified_once_for_all_instances() {
    let gate = Gate::new();
    let token = gate.token(|_| {});
    gate.vouch(&token);
    for _ in 0..3 {
        assert_eq!(gate.anew(&token), (None, 0));
    }
    // Every other token is another one.
    let other = gate.token(|claims| claims["jti"] = json!("2"));
    assert_eq!(gate.anew(&other), (None, 1));
    let last = if token.ends_with('A') { 'Q' } else { 'A' };
    let forged = format!("{}{last}", token.strip_suffix(|_| true).expect("a token"));
    let (refused, checked) = gate.anew(&forged);
    assert!(refused.is_some() && checked <= 1, "{refused:?}");
}

#[test]
fn all_but_the_signature_is_judged_again() {
    let gate = Gate::new();
    let short = gate.token(|claims| claims["exp"] = json!(gate.app.world.now().as_secs() + 100));
    gate.vouch(&short);
    gate.advance(99);
    assert_eq!(
        gate.anew(&short).0,
        None,
        "within the leeway of the token itself"
    );
    gate.advance(61);
    assert_eq!(gate.anew(&short).0, Some("access_token_expired"));

    // Another rule, where the token does not fit.
    let gate = Gate::new();
    let token = gate.token(|_| {});
    gate.vouch(&token);
    let strict =
        App::with(|text| config(text).replace("scopes = [\"read\"]", "scopes = [\"write\"]"));
    let machine = strict.machine();
    assert_eq!(
        gate.judged(&machine, &token),
        (Some("insufficient_scope"), 0)
    );
    let elsewhere = App::with(|text| config(text).replace(API, "https://other.example.com"));
    let machine = elsewhere.machine();
    assert_eq!(gate.judged(&machine, &token), (Some("access_token_aud"), 0));
}

#[test]
fn a_voucher_lasts_an_hour() {
    let gate = Gate::new();
    let token = gate.token(|_| {});
    gate.vouch(&token);
    gate.advance(3_590);
    assert_eq!(gate.anew(&token), (None, 0));
    gate.advance(10);
    assert_eq!(gate.anew(&token), (None, 1));
}

#[test]
fn a_key_that_was_withdrawn_or_replaced_vouches_for_nothing() {
    for kid in ["another", "same"] {
        let gate = Gate::new();
        let token = gate.token(|_| {});
        gate.vouch(&token);
        let own = gate.app.idp.jwk()["kid"].as_str().expect("kid").to_owned();
        let kid = if kid == "same" { &own } else { kid };
        let replaced = Idp::with_key(ISSUER, Algorithm::Es256, kid);
        let uri = gate.app.idp.metadata()["jwks_uri"]
            .as_str()
            .expect("uri")
            .to_owned();
        gate.app.world.http.json(&uri, replaced.jwks().to_string());
        gate.advance(600);
        let (refused, _) = gate.anew(&token);
        let expected = if *kid == own {
            "access_token_signature"
        } else {
            "access_token_no_key"
        };
        assert_eq!(refused, Some(expected));
    }
}

#[test]
fn what_is_quick_to_check_is_checked_by_each_instance() {
    let algorithms = [
        (Algorithm::Es256, 0),
        (Algorithm::Es384, 0),
        (Algorithm::EdDsa, 1),
        (Algorithm::Ps256, 1),
        (Algorithm::Rs256, 1),
    ];
    for (alg, checked) in algorithms {
        let mut gate = Gate::new();
        let idp = Rc::new(Idp::with_key(ISSUER, alg, "another"));
        let http = &gate.app.world.http;
        http.json("https://op.example/jwks", idp.jwks().to_string());
        gate.app.idp = idp;
        let token = gate.token(|_| {});
        assert_eq!(gate.anew(&token), (None, 1), "{alg:?}");
        let machine = gate.app.machine();
        // The key set is in the store, and nothing else is asked of it.
        let before = gate.app.world.key_value.gets();
        assert_eq!(gate.judged(&machine, &token), (None, checked), "{alg:?}");
        let reads = gate.app.world.key_value.gets() - before;
        assert_eq!(reads + checked, 2, "{alg:?}");
        assert_eq!(gate.vouchers().len() + checked, 1, "{alg:?}");
    }
}

#[test]
fn what_airside_did_not_write_is_no_voucher() {
    let gate = Gate::new();
    let token = gate.token(|_| {});
    gate.vouch(&token);
    let key = gate.vouchers().remove(0);
    // Any byte of it, of the time as well.
    for at in [0, 7, 8, 39] {
        gate.app.world.key_value.tamper(|name, value| {
            if name == key {
                value[at] ^= 1;
            }
        });
        assert_eq!(gate.anew(&token), (None, 1), "byte {at}");
        // It is written anew.
        assert_eq!(gate.anew(&token), (None, 0), "byte {at}");
    }
    for end in [0, 8, 39] {
        gate.app.world.key_value.tamper(|name, value| {
            if name == key {
                value.truncate(end);
            }
        });
        assert_eq!(gate.anew(&token), (None, 1), "{end} bytes");
    }

    // That of one token under the name of another.
    let gate = Gate::new();
    let token = gate.token(|_| {});
    gate.vouch(&token);
    let mine = gate.vouchers().remove(0);
    let other = gate.token(|claims| claims["sub"] = json!("mallory"));
    gate.anew(&other);
    let theirs = gate.vouchers().into_iter().find(|name| *name != mine);
    gate.app
        .world
        .key_value
        .copy(&mine, &theirs.expect("another voucher"));
    assert_eq!(gate.anew(&other), (None, 1));
}

#[test]
fn without_store_or_tokens_signatures_are_verified() {
    let gate = Gate::new();
    let token = gate.token(|_| {});
    let machine = gate.app.machine();
    assert_eq!(gate.judged(&machine, &token), (None, 1));
    gate.app.world.key_value.set_broken(true);
    let store = &gate.app.world.key_value;
    let reads = |number: u32| {
        let other = gate.token(|claims| claims["jti"] = json!(number.to_string()));
        let before = store.gets();
        assert_eq!(gate.judged(&machine, &other), (None, 1));
        store.gets() - before
    };
    // It is not asked again for a minute: it may take its time to fail.
    assert_eq!([reads(2), reads(3)], [1, 0]);
    gate.advance(60);
    assert_eq!([reads(4), reads(5)], [1, 0]);

    // Nobody to enter it into the wheel: it is not written, and not tried for a minute.
    let gate = Gate::alone(|text| text);
    let machine = gate.app.machine();
    let asked = || {
        gate.app
            .world
            .http
            .count("http://tokens.spin.internal/tokens/expire")
    };
    for number in 0..20 {
        let token = gate.token(|claims| claims["jti"] = json!(number.to_string()));
        assert_eq!(gate.judged(&machine, &token), (None, 1));
    }
    assert_eq!((gate.vouchers().len(), asked()), (0, 1));
    gate.advance(60);
    for number in 20..40 {
        let token = gate.token(|claims| claims["jti"] = json!(number.to_string()));
        gate.judged(&machine, &token);
    }
    assert_eq!(asked(), 2);

    // A platform that has none.
    let gate = Gate::alone(|text| format!("platform = \"akamai\"\n{text}"));
    let machine = gate.app.machine();
    for number in 0..20 {
        let token = gate.token(|claims| claims["jti"] = json!(number.to_string()));
        assert_eq!(gate.judged(&machine, &token), (None, 1));
    }
    let asked = gate
        .app
        .world
        .http
        .count("http://tokens.spin.internal/tokens/expire");
    assert_eq!((gate.vouchers().len(), asked), (0, 0));
}

#[test]
fn a_voucher_is_known_to_the_wheel() {
    let gate = Gate::new();
    gate.vouch(&gate.token(|_| {}));
    let name = gate.vouchers().remove(0);
    let store = &gate.tokens.world.key_value;
    let wheel = store
        .keys()
        .into_iter()
        .filter(|key| key.starts_with("airside/wheel/"));
    let entry = |key: String| {
        block_on(store.get(&key))
            .expect("store")
            .unwrap_or_default()
    };
    let named = |value: Vec<u8>| String::from_utf8_lossy(&value).contains(&name);
    assert!(wheel.map(entry).any(named));
}
