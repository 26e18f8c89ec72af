//! What one request may cost, and what an instance may remember. The caches are filled beyond
//! their limits, and what they really hold is read from the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use airside::endpoint::{self, Decision, Head, Instance, authorize};
use airside::jose::Algorithm;
use airside::jose::jwk::checks;
use airside::ports::{FetchLimits, HttpClient, HttpError, KeyValue, PortFuture, Ports};
use airside::respond::Code;
use airside::secret::Secret;
use airside::session::Session;
use airside::testing::session::{cookie_line, session};
use airside::testing::{Idp, World, block_on};
use airside::time::{Lifetime, UnixTime};
use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};

const ISSUER: &str = "https://op.example";
const API: &str = "https://api.example.com";

const CONFIG: &str = r#"
public_url = "https://app.example"

[providers.op]
issuer = "https://op.example"
client_id = "the-client"
client_authentication = "none"
refresh = true

[issuers.op]
issuer = "https://op.example"
introspection = true
client_id = "the-gate"
client_authentication = "client_secret_basic"
client_secret_variable = "gate_secret"

[upstreams.api]
url = "https://api.internal.example"

[upstreams.asserted]
url = "https://asserted.internal.example"
assertion = true

[upstreams.exchanged]
url = "https://exchanged.internal.example"
credential = "token_exchange"
credential_issuer = "op"

[[routes]]
path = "/api/*"
access = "token"
issuer = "op"
audience = "https://api.example.com"
upstream = "api"

[[routes]]
path = "/asserted/*"
access = "token"
issuer = "op"
audience = "https://api.example.com"
upstream = "asserted"

[[routes]]
path = "/exchanged/*"
access = "token"
issuer = "op"
audience = "https://api.example.com"
upstream = "exchanged"

[[routes]]
path = "/*"
access = "login"
upstream = "api"
"#;

/// A gate, the `tokens` beside it, and one provider.
struct Gate {
    world: World,
    gate: Instance,
    tokens: Instance,
    idp: Idp,
    /// What the token endpoint answers.
    given: Rc<RefCell<Value>>,
    /// Signatures that `tokens` judged.
    checked_by_tokens: Cell<usize>,
}

/// What a request did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Work {
    metadata: usize,
    key_sets: usize,
    refreshes: usize,
    /// By the gate.
    signatures: usize,
    /// By `tokens`.
    id_tokens: usize,
}

/// `tokens` is beside the gate, everything else is far away.
struct Network<'a>(&'a Gate);

impl HttpClient for Network<'_> {
    fn send(
        &self,
        request: Request<Bytes>,
        limits: FetchLimits,
    ) -> PortFuture<'_, Result<Response<Bytes>, HttpError>> {
        let Network(all) = *self;
        if request.uri().host() != Some("tokens.spin.internal") {
            return all.world.http.send(request, limits);
        }
        Box::pin(async move {
            let before = checks::so_far();
            let answer = endpoint::tokens(request, &all.tokens, all.world.ports()).await;
            let judged = all.checked_by_tokens.get() + checks::so_far() - before;
            all.checked_by_tokens.set(judged);
            Ok(answer)
        })
    }
}

impl Gate {
    fn new() -> Self {
        Self::with(CONFIG)
    }

    fn with(config: &str) -> Self {
        let world = World::default();
        let key = airside::encoding::base64url_encode(&[7; 32]);
        world.variables.set("session_keys", &format!("k:{key}"));
        world.variables.set("gate_secret", "hush");
        let pair = jwt_simple::prelude::Ed25519KeyPair::generate().with_key_id("a");
        let keys = format!("{{\"keys\":[{}]}}", pair.to_jwk());
        world.variables.set("assertion_keys", &keys);
        let idp = Idp::with_key(ISSUER, Algorithm::EdDsa, "key-1");
        let mut metadata = idp.metadata();
        metadata["introspection_endpoint"] = format!("{ISSUER}/introspect").into();
        let url = idp.issuer().openid_configuration();
        world.http.json(&url, metadata.to_string());
        world.http.json(&idp.url("/jwks"), idp.jwks().to_string());
        let given = Rc::new(RefCell::new(Value::Null));
        for path in ["/token", "/introspect"] {
            let given = Rc::clone(&given);
            world.http.on(&idp.url(path), move |_| {
                Ok(Response::new(Bytes::from(given.borrow().to_string())))
            });
        }
        let start = || block_on(Instance::start_gate(Some(config.into()), world.ports()));
        let [gate, tokens] = [start(), start()].map(|started| started.expect("instance"));
        Gate {
            world,
            gate,
            tokens,
            idp,
            given,
            checked_by_tokens: Cell::new(0),
        }
    }

    /// A good access token but for `change`, signed by `idp`.
    fn token_of(&self, idp: &Idp, change: &Value) -> String {
        let now = self.world.now().as_secs();
        let mut claims = json!({
            "iss": ISSUER, "sub": "alice", "aud": API, "client_id": "c", "iat": now,
            "exp": now + 300,
        });
        let members = claims.as_object_mut().expect("object");
        members.extend(change.as_object().expect("object").clone());
        idp.sign_typ(&claims, "at+jwt")
    }

    fn token(&self, change: &Value) -> String {
        self.token_of(&self.idp, change)
    }

    /// A session with this access token, that can be refreshed.
    fn session(&self, access_token: &str) -> Session {
        let found = session(&self.gate, "op", "alice", access_token, self.world.ports());
        Session {
            refresh_token: Some(Secret::from("rt")),
            ..found.expect("a session")
        }
    }

    fn cookie(&self, session: &Session) -> String {
        cookie_line(session, &self.gate, self.world.ports()).expect("cookies")
    }

    /// The status and code of the answer; 200 for what is passed on.
    fn ask(&self, path: &str, name: &str, value: &str) -> (u16, Option<&'static str>) {
        let request = Request::get(path).header(name, value);
        let head = request.body(()).expect("request").into_parts().0;
        let network = Network(self);
        let ports = Ports {
            http: &network,
            ..self.world.ports()
        };
        match block_on(authorize(&mut Head::from(&head), &self.gate, ports)) {
            Decision::Forward(_) => (200, None),
            Decision::Respond(response) => {
                let code = response.extensions().get::<Code>().map(|code| code.0);
                (response.status().as_u16(), code)
            }
        }
    }

    fn bearer(&self, path: &str, token: &str) -> (u16, Option<&'static str>) {
        self.ask(path, "authorization", &format!("Bearer {token}"))
    }

    fn so_far(&self) -> Work {
        let count = |path: &str| self.world.http.count(&self.idp.url(path));
        let id_tokens = self.checked_by_tokens.get();
        Work {
            metadata: count("/.well-known/openid-configuration"),
            key_sets: count("/jwks"),
            refreshes: count("/token"),
            signatures: checks::so_far() - id_tokens,
            id_tokens,
        }
    }

    /// What `request` did, and what became of it.
    fn work<T>(&self, request: impl FnOnce() -> T) -> (T, Work) {
        let before = self.so_far();
        let answer = request();
        let after = self.so_far();
        let work = Work {
            metadata: after.metadata - before.metadata,
            key_sets: after.key_sets - before.key_sets,
            refreshes: after.refreshes - before.refreshes,
            signatures: after.signatures - before.signatures,
            id_tokens: after.id_tokens - before.id_tokens,
        };
        (answer, work)
    }
}

const PASSED: (u16, Option<&str>) = (200, None);

#[test]
fn a_token_costs_one_fetch_of_each_document_and_one_signature_and_nothing_when_seen_before() {
    let all = Gate::new();
    let token = all.token(&json!({}));
    let cold = Work {
        metadata: 1,
        key_sets: 1,
        signatures: 1,
        ..Work::default()
    };
    assert_eq!(all.work(|| all.bearer("/api/x", &token)), (PASSED, cold));
    let warm = Work::default();
    assert_eq!(all.work(|| all.bearer("/api/x", &token)), (PASSED, warm));
    let one = Work {
        signatures: 1,
        ..Work::default()
    };
    let next = all.token(&json!({"jti": "2"}));
    assert_eq!(all.work(|| all.bearer("/api/x", &next)), (PASSED, one));
    // A bad one costs as much, each time.
    let (signed, _) = next.rsplit_once('.').expect("a JWS");
    let (_, other) = token.rsplit_once('.').expect("a JWS");
    let bad = format!("{signed}.{other}");
    let refused = (401, Some("access_token_signature"));
    for _ in 0..2 {
        assert_eq!(all.work(|| all.bearer("/api/x", &bad)), (refused, one));
    }
}

#[test]
fn tokens_with_unknown_keys_cost_no_signature_and_one_fetch_for_all() {
    let all = Gate::new();
    let token = all.token(&json!({}));
    assert_eq!(all.bearer("/api/x", &token), PASSED);
    let unknown = Idp::with_key(ISSUER, Algorithm::EdDsa, "key-2");
    let mut whole = Work::default();
    for number in 0..20 {
        let token = all.token_of(&unknown, &json!({"jti": number.to_string()}));
        let ((status, _), work) = all.work(|| all.bearer("/api/x", &token));
        assert!(status == 401 || status == 503, "{status}");
        assert!(work.key_sets <= 1 && work.metadata <= 1, "{work:?}");
        whole.key_sets += work.key_sets;
        whole.signatures += work.signatures;
    }
    assert_eq!((whole.key_sets, whole.signatures), (1, 0));
}

#[test]
fn a_hundred_keys_that_could_fit_are_not_tried() {
    let all = Gate::new();
    let key = |number: usize| {
        let mut jwk = Idp::with_key(ISSUER, Algorithm::EdDsa, "x").jwk();
        jwk["kid"] = format!("key-{number}").into();
        jwk
    };
    let mut keys: Vec<Value> = (2..=100).map(key).collect();
    keys.push(all.idp.jwk());
    let url = all.idp.url("/jwks");
    all.world
        .http
        .json(&url, json!({ "keys": keys }).to_string());
    // One that names its key is checked with that one alone.
    let named = all.token(&json!({}));
    let (answer, work) = all.work(|| all.bearer("/api/x", &named));
    assert_eq!((answer, work.signatures), (PASSED, 1));
    let signing = jwt_simple::prelude::Ed25519KeyPair::generate();
    let unnamed = {
        use jwt_simple::prelude::*;
        let header = jwt_simple::common::HeaderOptions {
            signature_type: Some("at+jwt".to_owned()),
            ..Default::default()
        };
        let claims = json!({ "iss": ISSUER, "sub": "alice", "aud": API, "client_id": "c" });
        let claims = JWTClaims {
            issued_at: None,
            expires_at: Some(UnixTimeStamp::from_secs(all.world.now().as_secs() + 300)),
            invalid_before: None,
            issuer: None,
            subject: None,
            audiences: None,
            jwt_id: None,
            nonce: None,
            custom: claims,
        };
        signing.sign_with_options(claims, &header).expect("token")
    };
    let ((status, _), work) = all.work(|| all.bearer("/api/x", &unnamed));
    assert_eq!((status, work.signatures), (401, 0));
}

/// The worst that a request can be: its session's token has to be verified to see that it is
/// over, the provider rotated its keys, and the refresh brings an ID token and an access token
/// by the new key, which neither `tokens` nor the gate knows.
#[test]
fn the_worst_session_costs_one_fetch_one_refresh_and_two_signatures_and_one_in_tokens() {
    let all = Gate::new();
    assert_eq!(all.bearer("/api/x", &all.token(&json!({}))), PASSED);
    let now = all.world.now().as_secs();
    let over = all.token(&json!({"exp": now - 120, "iat": now - 400}));
    let session = all.session(&over);
    let rotated = Idp::with_key(ISSUER, Algorithm::EdDsa, "key-2");
    let jwks = json!({ "keys": [all.idp.jwk(), rotated.jwk()] });
    all.world.http.json(&all.idp.url("/jwks"), jwks.to_string());
    all.world.clock.advance(2);
    let access_token = all.token_of(&rotated, &json!({}));
    let id_token = rotated.sign(&json!({
        "iss": ISSUER, "sub": "alice", "aud": "the-client", "iat": now, "exp": now + 300,
    }));
    *all.given.borrow_mut() = json!({
        "access_token": access_token, "token_type": "Bearer", "id_token": id_token,
    });
    let cookie = all.cookie(&session);
    let (answer, work) = all.work(|| all.ask("/api/x", "cookie", &cookie));
    let most = Work {
        metadata: work.metadata.min(1),
        key_sets: 1,
        refreshes: 1,
        signatures: 2,
        id_tokens: 1,
    };
    assert_eq!((answer, work), (PASSED, most));
}

#[test]
fn a_refresh_that_brings_no_better_token_is_not_repeated() {
    for by_expires_in in [true, false] {
        let all = Gate::new();
        let now = all.world.now().as_secs();
        let over = json!({"exp": now - 120, "iat": now - 400});
        let again = json!({"exp": now - 100, "iat": now - 400});
        let mut session = all.session(&all.token(&over));
        session.access_token_expires_at =
            by_expires_in.then(|| UnixTime::from_secs(now).minus(Lifetime::from_secs(60)));
        *all.given.borrow_mut() = json!({
            "access_token": all.token(&again), "token_type": "Bearer", "refresh_token": "rt-2",
        });
        let cookie = all.cookie(&session);
        let ((status, _), work) = all.work(|| all.ask("/api/x", "cookie", &cookie));
        assert_ne!(status, 200);
        assert_eq!(work.refreshes, 1, "due by expires_in: {by_expires_in}");
        assert!(work.signatures <= 2 && work.key_sets == 1, "{work:?}");
    }
}

/// Counts what each thread holds: tests run one to a thread.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
}

fn held(change: isize) {
    // At the end of a thread there is nothing to count in any more.
    let _ = HELD.try_with(|held| held.set(held.get() + change));
}

#[expect(unsafe_code, reason = "there is no other way to see what is allocated")]
// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        held(layout.size().cast_signed());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        held(-layout.size().cast_signed());
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Holds that what an instance remembers of ever new requests stays within `limit` bytes, and
/// comes near it: that much was tried. `request` is what each of `count` of them does.
#[track_caller]
fn check(name: &str, limit: usize, all: &Gate, count: usize, request: impl Fn(usize)) {
    // What is there from the first request on counts for the documents.
    request(0);
    all.world.forget();
    let before = HELD.get();
    let mut most = 0;
    for number in 1..=count {
        request(number);
        all.world.forget();
        most = most.max(usize::try_from(HELD.get() - before).unwrap_or_default());
    }
    // Sizes are counted by what they are for; the table of the hash map comes on top.
    let most_allowed = limit + limit / 10;
    assert!(most <= most_allowed, "{name}: {most} bytes, above {limit}");
    assert!(most >= limit / 3, "{name}: {most} bytes, not filled");
}

const MIB: usize = 1024 * 1024;

#[test]
fn verified_tokens_stay_within_their_bytes() {
    let all = Gate::new();
    let scope = "s".repeat(4_000);
    check("verified", 2 * MIB, &all, 700, |number| {
        let token = all.token(&json!({"jti": number.to_string(), "scope": scope}));
        assert_eq!(all.bearer("/api/x", &token), PASSED);
    });
}

#[test]
fn opened_sessions_stay_within_their_bytes() {
    let all = Gate::new();
    check("opened", MIB, &all, 200, |number| {
        let mut session = all.session("opaque");
        session.id = format!("{number:022}");
        session
            .claims
            .insert("note".to_owned(), "n".repeat(3_000).into());
        let cookie = all.cookie(&session);
        assert_eq!(all.ask("/page", "cookie", &cookie), PASSED);
    });
}

#[test]
fn opened_sessions_of_the_store_stay_within_their_bytes() {
    let all = Gate::with(&format!("{CONFIG}[session]\nstore = \"key-value\"\n"));
    check("references", MIB, &all, 250, |number| {
        let mut session = all.session(&all.token(&json!({"jti": number.to_string()})));
        session.id = format!("{number:022}");
        session
            .claims
            .insert("note".to_owned(), "n".repeat(3_000).into());
        let network = Network(&all);
        let ports = Ports {
            http: &network,
            ..all.world.ports()
        };
        let cookie = cookie_line(&session, &all.gate, ports).expect("cookie");
        for _ in 0..2 {
            assert_eq!(all.ask("/page", "cookie", &cookie), PASSED);
        }
        // The store itself is kept small by the expiry wheel.
        let store = &all.world.key_value;
        for key in store.keys() {
            block_on(store.delete(&key)).expect("deleted");
        }
    });
}

#[test]
fn answers_about_opaque_tokens_stay_within_their_bytes() {
    let all = Gate::new();
    let now = all.world.now().as_secs();
    *all.given.borrow_mut() = json!({
        "active": true, "aud": API, "client_id": "c", "exp": now + 300, "iss": ISSUER,
        "scope": "s".repeat(4_000), "sub": "alice", "token_type": "Bearer",
    });
    check("introspected", MIB, &all, 350, |number| {
        let token = format!("opaque-{number}");
        assert_eq!(all.bearer("/api/x", &token), PASSED);
    });
    *all.given.borrow_mut() = json!({"active": false});
    let refused = (401, Some("access_token_inactive"));
    for number in 0..10 {
        let token = format!("refused-{number}");
        assert_eq!(all.bearer("/api/x", &token), refused);
    }
    // They have a room of their own: the good ones are still there.
    let asked = all.world.http.requests().len();
    assert_eq!(all.bearer("/api/x", "opaque-350"), PASSED);
    assert_eq!(all.world.http.requests().len(), asked, "remembered");
}

#[test]
fn assertions_stay_within_their_bytes() {
    let all = Gate::new();
    let scope = "s".repeat(4_000);
    // The tokens are remembered too.
    check("assertions", 3 * MIB, &all, 400, |number| {
        let change = json!({"sub": format!("user-{number}"), "scope": scope});
        let token = all.token(&change);
        assert_eq!(all.bearer("/asserted/x", &token), PASSED);
    });
}

#[test]
fn tokens_for_upstreams_stay_within_their_bytes() {
    let all = Gate::new();
    *all.given.borrow_mut() = json!({
        "access_token": "x".repeat(8_000), "token_type": "Bearer", "expires_in": 300,
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
    });
    // The tokens are remembered too.
    check("credentials", MIB + MIB / 4, &all, 250, |number| {
        let token = all.token(&json!({"sub": format!("user-{number}")}));
        assert_eq!(all.bearer("/exchanged/x", &token), PASSED);
        // They are in the store too, which the expiry wheel keeps small.
        let store = &all.world.key_value;
        for key in store.keys() {
            block_on(store.delete(&key)).expect("deleted");
        }
    });
}
