//! What upstreams are shown, on fakes: nothing, the caller's token, or one that `tokens` gets.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use airside::endpoint::{Decision, Head, authorize};
use airside::ports::HttpError;
use airside::respond::Code;
use airside::testing::{PlanHeaders, SeededRandom, block_on};
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use serde_json::{Value, json};

use crate::app::{App, ISSUER, TOKEN};

const API: &str = "https://api.example.com";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// Upstreams, each with the rest of its table; a route of the same name leads there.
const UPSTREAMS: [(&str, &str); 6] = [
    ("none", ""),
    ("own", "credential = \"access_token\""),
    (
        "machine",
        "credential = \"client_credentials\"\ncredential_issuer = \"op\"\n\
         credential_scopes = [\"a\", \"b\"]\ncredential_audience = \"machine\"",
    ),
    (
        "robot",
        "credential = \"client_credentials\"\ncredential_issuer = \"op\"\n\
         credential_resource = [\"urn:robot\"]",
    ),
    (
        "exchange",
        "credential = \"token_exchange\"\ncredential_issuer = \"op\"\n\
         credential_audience = \"exchange\"",
    ),
    (
        "barter",
        "credential = \"token_exchange\"\ncredential_issuer = \"op\"\n\
         credential_audience = \"barter\"",
    ),
];

fn config(text: String) -> String {
    let client = "[issuers.op]\nclient_id = \"the-gate\"\n\
                  client_authentication = \"client_secret_basic\"\n\
                  client_secret_variable = \"gate_secret\"\n";
    let mut text = text.replace("[issuers.op]\n", client);
    for (name, rest) in UPSTREAMS {
        text += &format!("\n[upstreams.{name}]\nurl = \"https://{name}.example\"\n{rest}\n");
    }
    for (name, rest) in UPSTREAMS {
        let route = |path: &str, access: &str| {
            format!(
                "\n[[routes]]\npath = \"/{path}/{name}/*\"\nupstream = \"{name}\"\naccess = {access}\n"
            )
        };
        text += &route("public", "\"public\"");
        text += &route(
            "api",
            &format!("\"token\"\nissuer = \"op\"\naudience = \"{API}\"\nscopes = [\"read\"]"),
        );
        if !rest.contains("access_token") && !rest.contains("exchange") {
            text += &route("login", "\"login\"");
        }
    }
    text
}

/// A gate, the `tokens` it calls, and an issuer that names each token it gives after what was
/// asked for.
struct Gate {
    app: App,
    tokens: Rc<App>,
    asked: Rc<RefCell<Vec<BTreeMap<String, String>>>>,
}

impl Gate {
    fn new() -> Self {
        let (app, tokens) = (App::with(config), Rc::new(App::with(config)));
        tokens.world.variables.set("gate_secret", "hush");
        for operation in ["client-credentials", "token-exchange"] {
            app.connect_tokens(operation, Rc::clone(&tokens));
        }
        let gate = Gate {
            app,
            tokens,
            asked: Rc::default(),
        };
        gate.answers(200, json!({}));
        gate
    }

    /// The same, with an instance of the gate that remembers nothing.
    fn restarted(self) -> Self {
        Gate {
            app: self.app.restarted(),
            ..self
        }
    }

    /// The keys of what the store keeps for other instances.
    fn kept(&self) -> Vec<String> {
        let mut keys = self.tokens.world.key_value.keys();
        keys.retain(|key| key.starts_with("airside/credential/"));
        keys
    }

    /// Lets the issuer answer so, `members` laid over what is right.
    fn answers(&self, status: u16, members: Value) {
        let asked = Rc::clone(&self.asked);
        self.tokens.world.http.on(TOKEN, move |request| {
            let form: BTreeMap<String, String> = form_urlencoded::parse(request.body())
                .into_owned()
                .collect();
            let part = |name: &str| form.get(name).map_or("", String::as_str);
            let name = ["audience", "resource", "scope", "subject_token"]
                .map(part)
                .join("|");
            let number = asked.borrow().len();
            let mut answer = json!({
                "access_token": format!("{name}|{number}"), "token_type": "Bearer",
                "expires_in": 300, "issued_token_type": ACCESS_TOKEN,
            });
            for (name, value) in members.as_object().expect("object") {
                answer[name] = value.clone();
            }
            asked.borrow_mut().push(form);
            let response = Response::builder().status(status);
            let body = Bytes::from(answer.to_string());
            Ok(response.body(body).expect("response"))
        });
    }

    /// How often the issuer is asked when another instance of the gate wants airside's own token.
    fn machine_asks(&self) -> usize {
        let before = self.asked();
        let machine = self.app.machine();
        let head = Request::get("/api/machine/x")
            .header("authorization", format!("Bearer {}", self.jwt("eve")));
        let head = head.body(()).expect("request").into_parts().0;
        let decision = block_on(authorize(
            &mut Head::from(&head),
            &machine,
            self.app.world.ports(),
        ));
        assert!(matches!(decision, Decision::Forward(_)));
        self.asked() - before
    }

    fn asked(&self) -> usize {
        self.asked.borrow().len()
    }

    fn advance(&self, seconds: u64) {
        self.app.world.clock.advance(seconds);
        self.tokens.world.clock.advance(seconds);
    }

    fn jwt(&self, sub: &str) -> String {
        let now = self.app.world.now().as_secs();
        let claims = json!({
            "iss": ISSUER, "sub": sub, "aud": API, "client_id": "cli", "scope": "read",
            "iat": now, "exp": now + 10_000,
        });
        self.app.idp.sign_typ(&claims, "at+jwt")
    }

    async fn send(&self, path: &str, headers: &[(&str, String)]) -> Shown {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let head = request.body(()).expect("request").into_parts().0;
        match authorize(
            &mut Head::from(&head),
            &self.app.instance,
            self.app.world.ports(),
        )
        .await
        {
            Decision::Forward(plan) => {
                let headers = plan.headers();
                let all: Vec<&HeaderValue> = headers.get_all("authorization").iter().collect();
                assert!(all.len() < 2, "{all:?}");
                let value = all.first()?;
                let text = value.to_str().expect("text").to_owned();
                Some(Ok(text))
            }
            Decision::Respond(response) => {
                let code = response
                    .extensions()
                    .get::<Code>()
                    .map_or("", |code| code.0);
                Some(Err((response.status().as_u16(), code)))
            }
        }
    }

    /// What the upstream is shown of a request with that token.
    fn shown(&self, path: &str, token: &str) -> Shown {
        let headers = [("authorization", format!("Bearer {token}"))];
        block_on(self.send(path, &headers))
    }
}

/// The `Authorization` header that the upstream gets, or the refusal.
type Shown = Option<Result<String, (u16, &'static str)>>;

fn bearer(token: &str) -> Shown {
    Some(Ok(format!("Bearer {token}")))
}

#[test]
fn an_upstream_is_shown_what_its_table_says_and_by_default_nothing() {
    let gate = Gate::new();
    let alice = gate.jwt("alice");
    assert_eq!(gate.shown("/api/none/x", &alice), None);
    assert_eq!(gate.shown("/api/own/x", &alice), bearer(&alice));
    assert_eq!(gate.asked(), 0);
    assert_eq!(
        gate.shown("/api/machine/x", &alice),
        bearer("machine||a b||0")
    );
    assert_eq!(gate.shown("/api/robot/x", &alice), bearer("|urn:robot|||1"));
    let exchanged = format!("exchange|||{alice}|2");
    assert_eq!(gate.shown("/api/exchange/x", &alice), bearer(&exchanged));
    let asked = gate.asked.borrow();
    assert_eq!(asked[0]["grant_type"], "client_credentials");
    assert!(!asked[0].contains_key("subject_token"));
    let grant = "urn:ietf:params:oauth:grant-type:token-exchange";
    assert_eq!(asked[2]["grant_type"], grant);
    assert_eq!(asked[2]["subject_token_type"], ACCESS_TOKEN);
    assert_eq!(asked[2]["requested_token_type"], ACCESS_TOKEN);
    // the-gate:hush
    for request in gate
        .tokens
        .world
        .http
        .requests()
        .iter()
        .filter(|r| r.uri() == TOKEN)
    {
        assert_eq!(
            request.headers()["authorization"],
            "Basic dGhlLWdhdGU6aHVzaA=="
        );
    }
    // The gate itself has no client credential and talks to `tokens` alone.
    assert_eq!(gate.app.world.http.count(TOKEN), 0);
}

#[test]
fn who_passed_no_check_borrows_no_credential() {
    let gate = Gate::new();
    for (name, _) in UPSTREAMS {
        let path = format!("/public/{name}/x");
        assert_eq!(block_on(gate.send(&path, &[])), None, "{name}");
        // The caller's own passes there, as on every public route.
        assert_eq!(gate.shown(&path, "mine"), bearer("mine"), "{name}");
        let refused = block_on(gate.send(&format!("/api/{name}/x"), &[]));
        assert_eq!(refused, Some(Err((401, "no_credential"))), "{name}");
    }
    assert_eq!(gate.asked(), 0);
}

#[test]
fn a_session_gives_its_own_token_and_gets_the_machines_on_a_login_route() {
    let gate = Gate::new();
    gate.app.log_in();
    let cookie = gate.app.cookie("__Host-airside").expect("session");
    let headers = [("cookie", format!("__Host-airside={cookie}"))];
    let shown = |path: &str| block_on(gate.send(path, &headers));
    assert_eq!(shown("/login/none/x"), None);
    assert_eq!(shown("/login/machine/x"), bearer("machine||a b||0"));
}

#[test]
fn a_token_is_kept_until_shortly_before_its_end() {
    let gate = Gate::new();
    let (alice, bob) = (gate.jwt("alice"), gate.jwt("bob"));
    let first = bearer("machine||a b||0");
    assert_eq!(gate.shown("/api/machine/x", &alice), first);
    assert_eq!(
        gate.shown("/api/machine/x", &bob),
        first,
        "it is airside's own"
    );
    gate.advance(269);
    assert_eq!(gate.shown("/api/machine/x", &alice), first);
    assert_eq!(gate.asked(), 1);
    gate.advance(1);
    let second = bearer("machine||a b||1");
    assert_eq!(gate.shown("/api/machine/x", &alice), second);
    assert_eq!(gate.shown("/api/machine/x", &alice), second);
    assert_eq!(gate.asked(), 2);
}

#[test]
fn an_exchanged_token_is_kept_for_its_caller_until_shortly_before_its_end() {
    let gate = Gate::new();
    let (alice, bob) = (gate.jwt("alice"), gate.jwt("bob"));
    let of = |token: &str, number: usize| bearer(&format!("exchange|||{token}|{number}"));
    for _ in 0..2 {
        assert_eq!(gate.shown("/api/exchange/x", &alice), of(&alice, 0));
        assert_eq!(gate.shown("/api/exchange/x", &bob), of(&bob, 1));
    }
    gate.advance(270);
    assert_eq!(gate.shown("/api/exchange/x", &alice), of(&alice, 2));
    assert_eq!(gate.asked(), 3);
}

#[test]
fn other_instances_find_airsides_own_token_in_the_store_sealed_and_in_its_place() {
    let gate = Gate::new();
    let alice = gate.jwt("alice");
    let first = bearer("machine||a b||0");
    assert_eq!(gate.shown("/api/machine/x", &alice), first);
    assert_eq!(gate.shown("/api/robot/x", &alice), bearer("|urn:robot|||1"));
    let kept = gate.kept();
    assert_eq!(kept.len(), 2);
    gate.tokens.world.key_value.tamper(|_, value| {
        let text = String::from_utf8_lossy(value);
        assert!(!text.contains("a b||0") && !text.contains("urn:robot"));
    });

    // A new instance of the gate: it asks `tokens`, which does not ask the issuer.
    let fresh = |gate: &Gate| Gate {
        app: App::with(config),
        tokens: Rc::clone(&gate.tokens),
        asked: Rc::clone(&gate.asked),
    };
    let connected = |gate: &Gate| {
        let fresh = fresh(gate);
        fresh
            .app
            .connect_tokens("client-credentials", Rc::clone(&gate.tokens));
        fresh
    };
    let another = connected(&gate);
    let token = another.jwt("alice");
    assert_eq!(another.shown("/api/machine/x", &token), first);
    assert_eq!(gate.asked(), 2);

    // What was moved from one place to another is not used there.
    gate.tokens.world.key_value.copy(&kept[0], &kept[1]);
    let another = connected(&gate);
    let token = another.jwt("alice");
    let shown = ["machine", "robot"].map(|name| another.shown(&format!("/api/{name}/x"), &token));
    assert_eq!(gate.asked(), 3, "one of them had to be asked for anew");
    assert!(
        matches!(&shown[0], Some(Ok(text)) if text.starts_with("Bearer machine|")),
        "{shown:?}"
    );
    assert!(
        matches!(&shown[1], Some(Ok(text)) if text.starts_with("Bearer |urn:robot|")),
        "{shown:?}"
    );

    // Without the store each instance asks for itself.
    gate.tokens.world.key_value.set_broken(true);
    let another = connected(&gate);
    let token = another.jwt("alice");
    let shown = another.shown("/api/machine/x", &token);
    assert_eq!(shown, bearer("machine||a b||3"));
}

#[test]
fn other_instances_find_an_exchanged_token_in_the_store_for_its_caller_and_upstream_alone() {
    let gate = Gate::new();
    let (alice, bob) = (gate.jwt("alice"), gate.jwt("bob"));
    let of = |upstream: &str, token: &str, number: usize| {
        bearer(&format!("{upstream}|||{token}|{number}"))
    };
    assert_eq!(
        gate.shown("/api/exchange/x", &alice),
        of("exchange", &alice, 0)
    );
    let gate = gate.restarted();
    assert_eq!(
        gate.shown("/api/exchange/x", &alice),
        of("exchange", &alice, 0)
    );
    assert_eq!(gate.asked(), 1, "by the first instance");
    assert_eq!(gate.shown("/api/exchange/x", &bob), of("exchange", &bob, 1));
    assert_eq!(gate.shown("/api/barter/x", &alice), of("barter", &alice, 2));
    let kept = gate.kept();
    assert_eq!((gate.asked(), kept.len()), (3, 3));
    gate.tokens.world.key_value.tamper(|_, value| {
        let text = String::from_utf8_lossy(value);
        assert!(!text.contains("|||") && !text.contains(&alice), "{text}");
    });

    // What was moved from one place to another is not used there.
    let store = &gate.tokens.world.key_value;
    store.copy(&kept[0], "aside");
    store.copy(&kept[1], &kept[0]);
    store.copy(&kept[2], &kept[1]);
    store.copy("aside", &kept[2]);
    store.remove("aside");
    let mut gate = gate.restarted();
    for (upstream, token, number) in [
        ("exchange", &alice, 3),
        ("exchange", &bob, 4),
        ("barter", &alice, 5),
    ] {
        let path = format!("/api/{upstream}/x");
        assert_eq!(gate.shown(&path, token), of(upstream, token, number));
    }
    // It ends shortly before the token does.
    for (seconds, number) in [(269, 3), (1, 6)] {
        gate.advance(seconds);
        gate = gate.restarted();
        assert_eq!(
            gate.shown("/api/exchange/x", &alice),
            of("exchange", &alice, number)
        );
    }
    // Where nobody would delete it, it is not kept.
    gate.tokens.world.key_value.set_uncounted(true);
    let carol = gate.jwt("carol");
    for number in [7, 8] {
        gate = gate.restarted();
        assert_eq!(
            gate.shown("/api/exchange/x", &carol),
            of("exchange", &carol, number)
        );
    }
    assert_eq!(gate.kept(), kept);
}

#[test]
fn what_is_kept_of_a_token_goes_away_when_it_is_over_and_not_before() {
    let gate = Gate::new();
    let path = "/api/exchange/x";
    gate.shown("/api/machine/x", &gate.jwt("alice"));
    for user in ["alice", "bob", "carol"] {
        gate.shown(path, &gate.jwt(user));
    }
    let first = gate.kept();
    assert_eq!(first.len(), 4);
    // Each later call deletes what is due. One and the same key is written again in between.
    for _ in 0..30 {
        gate.advance(300);
        gate.shown("/api/machine/x", &gate.jwt("alice"));
        gate.shown(path, &gate.jwt("dave"));
        assert_eq!(gate.machine_asks(), 0, "airside's own is still there");
    }
    let left = gate.kept().into_iter().filter(|key| first.contains(key));
    assert_eq!(left.count(), 1, "airside's own, which is one for ever");
    assert!(gate.kept().len() < 30, "{}", gate.kept().len());
}

#[test]
fn without_a_token_the_upstream_is_not_asked() {
    for (path, operation) in [
        ("/api/machine/x", "client-credentials"),
        ("/api/exchange/x", "token-exchange"),
    ] {
        let gate = Gate::new();
        let alice = gate.jwt("alice");
        let refused = |status: u16, code: &'static str| {
            assert_eq!(
                gate.shown(path, &alice),
                Some(Err((status, code))),
                "{path}"
            );
        };
        let unavailable = || refused(503, "upstream_credential_unavailable");
        for error in [
            HttpError::Timeout,
            HttpError::Unreachable,
            HttpError::NotAllowed,
        ] {
            gate.tokens.world.http.fail(TOKEN, error);
            unavailable();
        }
        gate.answers(500, json!({}));
        unavailable();
        for (status, members) in [
            (400, json!({"error": "invalid_scope"})),
            (400, json!({"error": "invalid_grant"})),
            (400, json!({"error": "invalid_request"})),
            (401, json!({"error": "invalid_client"})),
            (200, json!({"token_type": "DPoP"})),
            (200, json!({"token_type": "N_A"})),
            (200, json!({"access_token": null})),
            (200, json!({"access_token": "a\r\nx: y"})),
            (200, json!({"expires_in": "soon"})),
        ] {
            gate.answers(status, members);
            refused(502, "upstream_credential_refused");
        }
        let url = format!("http://tokens.spin.internal/tokens/{operation}");
        gate.app.world.http.fail(&url, HttpError::Timeout);
        unavailable();
        gate.app.connect_tokens(operation, Rc::clone(&gate.tokens));
        gate.answers(200, json!({}));
        let shown = gate.shown(path, &alice);
        assert!(
            matches!(shown, Some(Ok(_))),
            "nothing of it is remembered: {shown:?}"
        );
    }
    let gate = Gate::new();
    let alice = gate.jwt("alice");
    for issued in [json!("urn:ietf:params:oauth:token-type:jwt"), Value::Null] {
        gate.answers(200, json!({"issued_token_type": issued}));
        let refused = Some(Err((502, "upstream_credential_refused")));
        assert_eq!(gate.shown("/api/exchange/x", &alice), refused);
    }
}

#[test]
fn a_token_without_expires_in_is_kept_for_a_minute_and_one_that_is_over_not_at_all() {
    let gate = Gate::new();
    let alice = gate.jwt("alice");
    gate.answers(200, json!({"expires_in": null}));
    gate.shown("/api/machine/x", &alice);
    gate.advance(59);
    gate.shown("/api/machine/x", &alice);
    assert_eq!(gate.asked(), 1);
    gate.advance(1);
    gate.answers(200, json!({"expires_in": 1}));
    for number in [1, 2] {
        let shown = gate.shown("/api/machine/x", &alice);
        assert_eq!(shown, bearer(&format!("machine||a b||{number}")));
    }
}

/// Polls all of `futures` to their end, in an order of chance.
fn interleave<T>(mut futures: Vec<Pin<Box<dyn Future<Output = T> + '_>>>, random: &SeededRandom) {
    let mut context = Context::from_waker(Waker::noop());
    while !futures.is_empty() {
        let index = random.below(futures.len());
        if futures[index].as_mut().poll(&mut context).is_ready() {
            drop(futures.swap_remove(index));
        }
    }
}

#[test]
fn no_caller_is_ever_spoken_for_with_the_token_of_another() {
    for seed in 0..20 {
        let mut gate = Gate::new();
        let random = SeededRandom::new(seed);
        let users: Vec<String> = (0..6).map(|n| gate.jwt(&format!("user-{n}"))).collect();
        for _ in 0..10 {
            // Answers overtake one another, and lives of tokens end in between.
            gate.app.world.http.answer_after(random.below(5));
            gate.answers(200, json!({"expires_in": 1 + random.below(60)}));
            let mut requests: Vec<Pin<Box<dyn Future<Output = ()> + '_>>> = Vec::new();
            for _ in 0..12 {
                let user = &users[random.below(users.len())];
                let (name, _) = UPSTREAMS[random.below(UPSTREAMS.len())];
                let gate = &gate;
                requests.push(Box::pin(async move {
                    let headers = [("authorization", format!("Bearer {user}"))];
                    let path = format!("/api/{name}/x");
                    let shown = gate.send(&path, &headers).await;
                    let begin = match name {
                        "none" => {
                            assert_eq!(shown, None);
                            return;
                        }
                        "own" => format!("Bearer {user}"),
                        "machine" => "Bearer machine||a b||".to_owned(),
                        "robot" => "Bearer |urn:robot|||".to_owned(),
                        other => format!("Bearer {other}|||{user}|"),
                    };
                    let fits = matches!(&shown, Some(Ok(text)) if text.starts_with(&begin));
                    assert!(fits, "{name}: {shown:?}");
                }));
            }
            interleave(requests, &random);
            gate.advance(random.below(20) as u64);
            // The next instance finds what this one left in the store.
            if random.below(3) == 0 {
                gate = gate.restarted();
            }
        }
    }
}
