//! The gate on fakes: how requests are passed on, CORS, and assertions in time.

use airside::endpoint::authorize::{Body, Failure, upstream_failed};
use airside::endpoint::{Decision, Forward, Head, Instance, authorize};
use airside::respond::Code;
use airside::testing::{Idp, PlanHeaders, World, block_on};
use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use jwt_simple::prelude::Ed25519KeyPair;
use serde_json::{Value, json};

const ISSUER: &str = "https://op.example";
const API: &str = "https://api.example.com/invoices";

fn config() -> String {
    let route = |path: &str, upstream: &str, more: &str| {
        format!(
            "[[routes]]\npath = \"{path}\"\naccess = \"token\"\nissuer = \"op\"\n\
             audience = \"{API}\"\nupstream = \"{upstream}\"\n{more}\n"
        )
    };
    [
        "public_url = \"https://app.example\"\n[issuers.op]\nissuer = \"https://op.example\"\n\
         [upstreams.told]\nurl = \"https://told.internal\"\nassertion = true\n\
         [upstreams.other]\nurl = \"https://other.internal\"\nassertion = true\n\
         [upstreams.bound]\nurl = \"https://bound.internal\"\nassertion = true\n\
         assertion_binding = true\nassertion_audience = \"https://told.internal\"\n",
        &route(
            "/told/*",
            "told",
            "cors = { origins = [\"https://spa.example\"], methods = [\"PUT\"] }\nmax_body_bytes = 10",
        ),
        &route("/other/*", "other", "upstream_path = \"/v2/*\""),
        &route("/bound/*", "bound", "upstream_path = \"/v2/*\""),
    ]
    .concat()
}

struct Gate {
    world: World,
    instance: Instance,
    idp: Idp,
}

impl Gate {
    fn new() -> Self {
        let world = World::default();
        let key = airside::encoding::base64url_encode(&[7; 32]);
        world.variables.set("session_keys", &format!("k:{key}"));
        let jwk = Ed25519KeyPair::generate().with_key_id("a").to_jwk();
        let set = format!("{{\"keys\":[{jwk}]}}");
        world.variables.set("assertion_keys", &set);
        let idp = Idp::new(ISSUER);
        let metadata = idp.issuer().openid_configuration();
        world.http.json(&metadata, idp.metadata().to_string());
        world.http.json(&idp.url("/jwks"), idp.jwks().to_string());
        let config = config();
        let started = Instance::start_gate(Some(config.as_str().into()), world.ports());
        let instance = block_on(started).expect("instance");
        Gate {
            world,
            instance,
            idp,
        }
    }

    /// A token of `subject` that lives so many seconds.
    fn token(&self, subject: &str, life: u64) -> String {
        let now = self.world.now().as_secs();
        let claims = json!({
            "iss": ISSUER, "sub": subject, "aud": API, "client_id": "c", "scope": "read",
            "iat": now, "exp": now + life, "acr": "mfa",
        });
        format!("Bearer {}", self.idp.sign_typ(&claims, "at+jwt"))
    }

    fn decide(&self, head: &Parts) -> Decision<'_> {
        block_on(authorize(
            &mut Head::from(head),
            &self.instance,
            self.world.ports(),
        ))
    }

    #[track_caller]
    fn forwarded(&self, head: &Parts) -> Box<Forward<'_>> {
        match self.decide(head) {
            Decision::Forward(plan) => plan,
            Decision::Respond(response) => panic!("{:?}", found(&response)),
        }
    }

    #[track_caller]
    fn answered(&self, head: &Parts) -> Response<Bytes> {
        match self.decide(head) {
            Decision::Respond(response) => response,
            Decision::Forward(plan) => panic!("forwarded to {}", plan.authority),
        }
    }

    #[track_caller]
    fn assertion(&self, target: &str, token: &str) -> (String, Value) {
        let plan = self.forwarded(&head("GET", target, &[("authorization", token)]));
        let headers = plan.headers();
        let mut values = headers.get_all("airside-assertion").iter();
        let value = values.next().expect("assertion");
        assert!(values.next().is_none());
        let text = value.to_str().expect("text").to_owned();
        let payload = text.split('.').nth(1).expect("payload");
        let payload = airside::encoding::base64url_decode(payload).expect("base64url");
        let claims = serde_json::from_slice(&payload).expect("claims");
        (text, claims)
    }
}

fn found(response: &Response<Bytes>) -> (u16, Option<&'static str>) {
    let code = response.extensions().get::<Code>().map(|code| code.0);
    (response.status().as_u16(), code)
}

fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("request").into_parts().0
}

#[test]
fn an_assertion_is_reused_for_half_of_its_life() {
    let gate = Gate::new();
    let token = gate.token("alice", 3_600);
    let now = gate.world.now().as_secs();
    let (first, claims) = gate.assertion("/told/x", &token);
    let expected = json!({
        "iss": "https://app.example", "aud": "https://told.internal", "sub": "alice",
        "sub_iss": ISSUER, "subject_type": "user", "scope": "read", "client_id": "c",
        "acr": "mfa", "iat": now, "exp": now + 60,
    });
    assert_eq!(claims, expected);
    gate.world.clock.advance(29);
    assert_eq!(gate.assertion("/told/y", &token).0, first);
    gate.world.clock.advance(1);
    let (second, claims) = gate.assertion("/told/x", &token);
    assert_ne!(second, first);
    assert_eq!(
        (&claims["iat"], &claims["exp"]),
        (&json!(now + 30), &json!(now + 90))
    );
}

#[test]
fn an_assertion_does_not_outlive_the_token_it_is_for() {
    let gate = Gate::new();
    let token = gate.token("alice", 20);
    let now = gate.world.now().as_secs();
    let (first, claims) = gate.assertion("/told/x", &token);
    assert_eq!(claims["exp"], json!(now + 20));
    gate.world.clock.advance(19);
    let (_, claims) = gate.assertion("/told/x", &token);
    assert_eq!(claims["iat"], json!(now), "reused until the token is over");
    gate.world.clock.advance(1);
    // Over but for the leeway: enough for a request under way, and never reused.
    let (late, claims) = gate.assertion("/told/x", &token);
    assert_ne!(late, first);
    assert_eq!(claims["exp"], json!(now + 25));
    gate.world.clock.advance(1);
    assert_eq!(gate.assertion("/told/x", &token).1["exp"], json!(now + 26));
}

#[test]
fn an_assertion_is_never_another_ones_nor_for_another_upstream() {
    let gate = Gate::new();
    let (alice, bob) = (gate.token("alice", 600), gate.token("bob", 600));
    let (first, _) = gate.assertion("/told/x", &alice);
    let (of_bob, claims) = gate.assertion("/told/x", &bob);
    assert_eq!(claims["sub"], "bob");
    let (elsewhere, claims) = gate.assertion("/other/x", &alice);
    assert_eq!(claims["aud"], "https://other.internal");
    assert!(first != of_bob && first != elsewhere);
    assert_eq!(gate.assertion("/told/x", &alice).0, first);
}

#[test]
fn a_bound_assertion_names_method_and_url_of_the_upstream() {
    let gate = Gate::new();
    let token = gate.token("alice", 600);
    // Of the same audience, and not bound.
    assert!(gate.assertion("/told/x", &token).1.get("htu").is_none());
    let (first, claims) = gate.assertion("/bound/x?secret", &token);
    assert_eq!(claims["aud"], "https://told.internal");
    assert_eq!(
        (&claims["htm"], &claims["htu"]),
        (&json!("GET"), &json!("https://bound.internal/v2/x"))
    );
    assert_ne!(gate.assertion("/bound/y", &token).0, first);
    assert!(gate.assertion("/told/x", &token).1.get("htu").is_none());
}

#[test]
fn what_the_upstream_does_not_answer_a_page_can_read_too() {
    let gate = Gate::new();
    let token = gate.token("alice", 600);
    let origin = ("origin", "https://spa.example");
    let request = head(
        "POST",
        "/told/x",
        &[
            ("authorization", &token),
            origin,
            ("transfer-encoding", "chunked"),
        ],
    );
    let plan = gate.forwarded(&request);
    assert_eq!(plan.body, Body::AtMost(10));
    for (failure, status, code) in [
        (Failure::BodyTooLarge, 413, "body_too_large"),
        (Failure::Timeout, 504, "upstream_timeout"),
        (Failure::Unavailable, 502, "upstream_unavailable"),
    ] {
        let ports = gate.world.ports();
        let response = upstream_failed(&Head::from(&request), &plan, failure, String::new(), ports);
        assert_eq!(found(&response), (status, Some(code)));
        assert_eq!(
            response.headers()["access-control-allow-origin"],
            "https://spa.example"
        );
    }
}

#[test]
fn a_body_is_judged_only_for_who_may_pass() {
    let gate = Gate::new();
    let token = gate.token("alice", 600);
    let post = |headers: &[(&str, &str)]| found(&gate.answered(&head("POST", "/told/x", headers)));
    let long = ("content-length", "11");
    assert_eq!(post(&[long]), (401, Some("no_credential")));
    let known = ("authorization", token.as_str());
    assert_eq!(post(&[long, known]), (413, Some("body_too_large")));
    let both = ("transfer-encoding", "chunked");
    assert_eq!(
        post(&[("content-length", "3"), both, known]),
        (400, Some("body_framing"))
    );
    let fits = head("POST", "/told/x", &[("content-length", "10"), known]);
    assert_eq!(gate.forwarded(&fits).body, Body::Stream);
}

#[test]
fn a_preflight_is_answered_for_the_route_of_its_method_alone() {
    let gate = Gate::new();
    let ask_for = |method, target, origin| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", method),
        ];
        gate.answered(&head("OPTIONS", target, &headers))
    };
    let ask = |target, origin| ask_for("PUT", target, origin);
    let good = ask("/told/x", "https://spa.example");
    assert_eq!(good.status(), 204);
    assert!(
        !good
            .headers()
            .contains_key("access-control-allow-credentials")
    );
    let refused = ask("/told/x", "https://evil.example");
    assert_eq!(found(&refused), (403, Some("cors_refused")));
    assert!(
        !refused
            .headers()
            .contains_key("access-control-allow-origin")
    );
    let other = ask_for("DELETE", "/told/x", "https://spa.example");
    assert_eq!(found(&other), (403, Some("cors_refused")));
    let closed = ask("/other/x", "https://spa.example");
    assert_eq!(found(&closed), (401, Some("no_credential")));
    assert_eq!(
        found(&ask("/nowhere", "https://spa.example")),
        (404, Some("no_route"))
    );
}
