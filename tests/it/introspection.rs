//! Opaque tokens at the gate, on fakes: asked about at the route's issuer, by `tokens`, once.

use std::cell::Cell;
use std::rc::Rc;

use airside::endpoint::tokens::{Introspect, call};
use airside::endpoint::{Decision, Head, authorize};
use airside::error::Error;
use airside::ports::HttpError;
use airside::respond::Code;
use airside::testing::{Idp, PlanHeaders, block_on};
use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::{Value, json};

use crate::app::{App, ISSUER};

const API: &str = "https://api.example.com/invoices";
const INTROSPECTION: &str = "https://op.example/introspect";
const INTROSPECT: &str = "http://tokens.spin.internal/tokens/introspect";

fn config(text: String) -> String {
    let issuers = r#"
[issuers.op]
issuer = "https://op.example"
introspection = true
client_id = "the-gate"
client_authentication = "client_secret_basic"
client_secret_variable = "gate_secret"

[issuers.silent]
issuer = "https://silent.example"

[issuers.granting]
issuer = "https://granting.example"
client_id = "the-gate"
client_authentication = "client_secret_basic"
client_secret_variable = "gate_secret"

[issuers.second]
issuer = "https://second.example"
introspection = true
introspection_endpoint = "https://second.example/i"
client_id = "gate-2"
client_authentication = "client_secret_post"
client_secret_variable = "gate_secret"
"#;
    let route = |path: &str, issuer: &str, scope: &str| {
        format!(
            "\n[[routes]]\npath = \"{path}/*\"\naccess = \"token\"\nissuer = \"{issuer}\"\n\
             audience = \"{API}\"\nscopes = [\"{scope}\"]\nupstream = \"api\"\n"
        )
    };
    let text = text.replace("[issuers.op]\nissuer = \"https://op.example\"\n", issuers);
    [
        text,
        route("/api", "op", "read"),
        route("/admin", "op", "admin"),
        route("/silent", "silent", "read"),
        route("/second", "second", "read"),
        route("/rules", "op", "read"),
        "claims = [{ claim = \"roles\", contains = \"admin\" }]\nacr_values = [\"mfa\"]\n".into(),
    ]
    .concat()
}

/// A gate, the `tokens` it calls, and an issuer that says `answer` of every token.
struct Gate {
    app: App,
    tokens: Rc<App>,
    asked: Rc<Cell<usize>>,
}

impl Gate {
    fn new() -> Self {
        let (app, tokens) = (App::with(config), Rc::new(App::with(config)));
        tokens.world.variables.set("gate_secret", "hush");
        tokens.advertise(json!({"introspection_endpoint": INTROSPECTION}));
        app.connect_tokens("introspect", Rc::clone(&tokens));
        let gate = Gate {
            app,
            tokens,
            asked: Rc::default(),
        };
        gate.says(200, gate.good());
        gate
    }

    fn good(&self) -> Value {
        let now = self.app.world.now().as_secs();
        json!({
            "active": true, "aud": API, "client_id": "cli", "exp": now + 300, "iss": ISSUER,
            "scope": "read", "sub": "alice", "token_type": "Bearer",
        })
    }

    fn says(&self, status: u16, answer: Value) {
        let asked = Rc::clone(&self.asked);
        self.tokens.world.http.on(INTROSPECTION, move |_| {
            asked.set(asked.get() + 1);
            let response = Response::builder().status(status);
            Ok(response
                .body(Bytes::from(answer.to_string()))
                .expect("response"))
        });
    }

    fn says_with(&self, name: &str, value: Value) {
        let mut answer = self.good();
        answer[name] = value;
        self.says(200, answer);
    }

    fn advance(&self, seconds: u64) {
        self.app.world.clock.advance(seconds);
        self.tokens.world.clock.advance(seconds);
    }

    /// The code of the refusal, or who passed.
    fn ask(&self, path: &str, token: &str) -> Result<String, (u16, &'static str)> {
        let request = Request::get(path).header("authorization", format!("Bearer {token}"));
        self.decide(request)
    }

    fn decide(&self, request: http::request::Builder) -> Result<String, (u16, &'static str)> {
        let head = request.body(()).expect("request").into_parts().0;
        let (instance, ports) = (&self.app.instance, self.app.world.ports());
        match block_on(authorize(&mut Head::from(&head), instance, ports)) {
            Decision::Forward(plan) => {
                assert!(!plan.headers().contains_key("authorization"));
                let text = |name| plan.headers()[name].to_str().expect("text").to_owned();
                Ok(format!(
                    "{} as {}",
                    text("x-forwarded-sub"),
                    text("x-forwarded-subject-type")
                ))
            }
            Decision::Respond(response) => {
                let code = response
                    .extensions()
                    .get::<Code>()
                    .map_or("", |code| code.0);
                Err((response.status().as_u16(), code))
            }
        }
    }

    #[track_caller]
    fn passes(&self, token: &str) {
        assert_eq!(self.ask("/api/x", token).as_deref(), Ok("alice as user"));
    }

    #[track_caller]
    fn refused(&self, token: &str, status: u16, code: &'static str) {
        assert_eq!(self.ask("/api/x", token), Err((status, code)));
    }
}

#[test]
fn an_active_token_passes_and_the_issuer_is_asked_by_tokens_as_the_client_there() {
    let gate = Gate::new();
    gate.passes("opaque");
    let requests = gate.tokens.world.http.requests();
    let request = requests.last().expect("request");
    assert_eq!(request.uri(), INTROSPECTION);
    assert_eq!(request.body(), "token=opaque&token_type_hint=access_token");
    // the-gate:hush
    assert_eq!(
        request.headers()["authorization"],
        "Basic dGhlLWdhdGU6aHVzaA=="
    );
    let gate_side = gate.app.world.http.requests();
    assert!(gate_side.iter().all(|request| request.uri() == INTROSPECT));
    assert_eq!(
        gate.app.world.variables.reads(),
        1,
        "the session keys alone"
    );
}

#[test]
fn each_refusal_of_an_answer_has_its_code() {
    for (name, value, status, code) in [
        ("active", json!(false), 401, "access_token_inactive"),
        (
            "aud",
            json!("https://other.example"),
            401,
            "access_token_aud",
        ),
        ("aud", json!("the-client"), 401, "access_token_aud"),
        ("aud", Value::Null, 401, "access_token_claims"),
        ("scope", json!("write"), 403, "insufficient_scope"),
        ("scope", json!("reader"), 403, "insufficient_scope"),
        (
            "iss",
            json!("https://other.example"),
            401,
            "access_token_iss",
        ),
        ("exp", json!(1_000), 401, "access_token_expired"),
        (
            "nbf",
            json!(4_000_000_000_u64),
            401,
            "access_token_not_yet_valid",
        ),
        ("token_type", json!("DPoP"), 401, "access_token_type"),
        ("sub", Value::Null, 401, "access_token_claims"),
    ] {
        let gate = Gate::new();
        gate.says_with(name, value.clone());
        assert_eq!(
            gate.ask("/api/x", "opaque"),
            Err((status, code)),
            "{name} {value}"
        );
    }
    let gate = Gate::new();
    gate.says_with("scope", json!("write read"));
    gate.passes("opaque");
    gate.says_with("aud", json!(["https://other.example", API]));
    gate.passes("opaque-2");
}

#[test]
fn a_client_is_told_apart_from_a_person() {
    let gate = Gate::new();
    gate.says_with("sub", json!("cli"));
    assert_eq!(gate.ask("/api/x", "opaque").as_deref(), Ok("cli as client"));
}

#[test]
fn an_answer_is_remembered_for_thirty_seconds_a_refusal_for_ten() {
    let gate = Gate::new();
    gate.passes("opaque");
    gate.says_with("active", json!(false));
    gate.advance(29);
    gate.passes("opaque");
    assert_eq!(gate.asked.get(), 1);
    gate.advance(1);
    gate.refused("opaque", 401, "access_token_inactive");
    assert_eq!(gate.asked.get(), 2);
    gate.says(200, gate.good());
    gate.advance(9);
    gate.refused("opaque", 401, "access_token_inactive");
    assert_eq!(gate.asked.get(), 2);
    gate.advance(1);
    gate.passes("opaque");
    assert_eq!(gate.asked.get(), 3);
}

#[test]
fn an_answer_is_not_remembered_past_exp() {
    let gate = Gate::new();
    let now = gate.app.world.now().as_secs();
    gate.says_with("exp", json!(now + 5));
    gate.passes("opaque");
    gate.says_with("active", json!(false));
    gate.advance(4);
    gate.passes("opaque");
    gate.advance(1);
    gate.refused("opaque", 401, "access_token_inactive");
}

#[test]
fn a_remembered_answer_is_judged_by_the_rule_of_each_route() {
    let gate = Gate::new();
    gate.passes("opaque");
    let admin = gate.ask("/admin/x", "opaque");
    assert_eq!(admin, Err((403, "insufficient_scope")));
    assert_eq!(gate.asked.get(), 1);
}

#[test]
fn rules_about_claims_and_step_up_judge_an_answer_too() {
    let gate = Gate::new();
    let asked = |token: &str, roles: Value, acr: Value| {
        let mut answer = gate.good();
        answer["roles"] = roles;
        answer["acr"] = acr;
        gate.says(200, answer);
        gate.ask("/rules/x", token)
    };
    let good = asked("a", json!(["user", "admin"]), json!("mfa"));
    assert_eq!(good.as_deref(), Ok("alice as user"));
    let role = asked("b", json!(["user"]), json!("mfa"));
    assert_eq!(role.map_err(|(status, _)| status), Err(403));
    let weak = asked("c", json!(["admin"]), json!("pwd"));
    assert_eq!(weak, Err((401, "insufficient_user_authentication")));
}

#[test]
fn what_is_remembered_of_one_token_or_issuer_says_nothing_of_another() {
    let gate = Gate::new();
    gate.passes("opaque");
    gate.says_with("active", json!(false));
    gate.refused("opaquE", 401, "access_token_inactive");
    gate.passes("opaque");
    // The issuer of that route was never asked, and does not answer.
    let second = gate.ask("/second/x", "opaque");
    assert_eq!(second, Err((503, "introspection_unavailable")));
}

#[test]
fn nobody_but_the_issuer_of_the_route_is_asked() {
    let gate = Gate::new();
    let silent = gate.ask("/silent/x", "opaque");
    assert_eq!(silent, Err((401, "access_token_malformed")));
    assert_eq!(
        (gate.asked.get(), gate.app.world.http.requests().len()),
        (0, 0)
    );

    let body = Bytes::from(
        json!({
            "active": true, "aud": API, "client_id": "cli", "scope": "read", "sub": "bob",
        })
        .to_string(),
    );
    let second = "https://second.example/i";
    gate.tokens.world.http.json(second, body);
    let idp = Idp::new("https://second.example");
    let url = idp.issuer().openid_configuration();
    let http = &gate.tokens.world.http;
    http.json(&url, idp.metadata().to_string());
    let passed = gate.ask("/second/x", "opaque");
    assert_eq!(passed.as_deref(), Ok("bob as user"));
    assert_eq!(
        (gate.asked.get(), gate.tokens.world.http.count(second)),
        (0, 1)
    );
    let requests = gate.tokens.world.http.requests();
    let form = "token=opaque&token_type_hint=access_token&client_id=gate-2&client_secret=hush";
    assert_eq!(requests.last().expect("request").body(), form);
}

#[test]
fn tokens_itself_asks_nobody_whom_the_configuration_does_not_name() {
    let gate = Gate::new();
    let ask = |issuer: &str| {
        let request = json!({"issuer": issuer, "token": "opaque"});
        let request: Introspect = serde_json::from_value(request).expect("request");
        let (instance, ports) = (&gate.app.instance, gate.app.world.ports());
        block_on(call(&request, 1_000, instance, ports)).map(|answer| answer.is_some())
    };
    assert_eq!(ask("op"), Ok(true));
    let asked = gate.tokens.world.http.requests().len();
    assert_eq!(ask("silent"), Err(Error::Internal));
    assert_eq!(ask("nobody"), Err(Error::Internal));
    assert_eq!(ask("granting"), Err(Error::Internal));
    assert_eq!(gate.tokens.world.http.requests().len(), asked);
}

#[test]
fn what_looks_like_a_jwt_is_never_asked_about() {
    let gate = Gate::new();
    let claims = json!({"iss": "https://stranger.example", "sub": "alice", "aud": API});
    let stranger = gate.app.idp.sign_typ(&claims, "at+jwt");
    gate.refused(&stranger, 401, "access_token_iss");
    gate.refused("eyJhbGciOiJub25lIn0.e30.", 401, "access_token_alg");
    gate.refused("eyJ9.e30.x", 401, "access_token_malformed");
    gate.refused("eyJlbmMiOiJ4In0.a.b.c.d", 401, "access_token_encrypted");
    let now = gate.app.world.now().as_secs();
    let good = json!({
        "iss": ISSUER, "sub": "alice", "aud": API, "client_id": "cli", "scope": "read",
        "iat": now, "exp": now + 300,
    });
    let jwt = gate.app.idp.sign_typ(&good, "at+jwt");
    gate.passes(&jwt);
    assert_eq!(gate.asked.get(), 0);
    assert_eq!(gate.app.world.http.count(INTROSPECT), 0);
}

#[test]
fn a_question_without_answer_is_503_with_retry_after_and_not_remembered() {
    let gate = Gate::new();
    let refused = |gate: &Gate| gate.refused("opaque", 503, "introspection_unavailable");
    for error in [
        HttpError::Timeout,
        HttpError::Unreachable,
        HttpError::NotAllowed,
    ] {
        gate.tokens.world.http.fail(INTROSPECTION, error);
        refused(&gate);
    }
    for (status, answer) in [
        (500, json!({"active": true})),
        (401, json!({"error": "invalid_client"})),
        (200, json!({"sub": "alice"})),
        (200, json!([])),
    ] {
        gate.says(status, answer);
        refused(&gate);
    }
    let logged = gate.app.world.events.take();
    let causes: Vec<&str> = logged
        .iter()
        .filter_map(|event| event.fields.iter().find(|(name, _)| *name == "message"))
        .filter_map(|(_, text)| text.strip_prefix("introspection unavailable: "))
        .collect();
    assert_eq!(
        causes,
        [
            "token_endpoint_unavailable",
            "token_endpoint_unavailable",
            "provider_host_not_allowed",
            "token_endpoint_unavailable",
            "token_invalid_client",
            "token_response_malformed",
            "token_response_malformed",
        ]
    );
    gate.app.world.http.fail(INTROSPECT, HttpError::Timeout);
    refused(&gate);
    let head = Request::get("/api/x").header("authorization", "Bearer opaque");
    let head = head.body(()).expect("request").into_parts().0;
    let (instance, ports) = (&gate.app.instance, gate.app.world.ports());
    match block_on(authorize(&mut Head::from(&head), instance, ports)) {
        Decision::Respond(response) => {
            assert_eq!(response.headers()["retry-after"], "10");
            assert!(!response.headers().contains_key("www-authenticate"));
        }
        Decision::Forward(_) => panic!("forwarded"),
    }
    gate.app
        .connect_tokens("introspect", Rc::clone(&gate.tokens));
    gate.says(200, gate.good());
    gate.passes("opaque");
}

#[test]
fn a_token_that_is_too_long_is_not_asked_about() {
    let gate = Gate::new();
    gate.passes(&"x".repeat(16 * 1024));
    gate.refused(&"x".repeat(16 * 1024 + 1), 401, "access_token_too_long");
    assert_eq!(gate.asked.get(), 1);
}

#[test]
fn the_opaque_token_of_a_session_is_asked_about_at_its_own_issuer() {
    let gate = Gate::new();
    gate.app.log_in();
    gate.advance(61);
    let session = |path: &str| {
        let cookie = gate.app.cookie("__Host-airside").expect("session");
        let cookie = format!("__Host-airside={cookie}");
        gate.decide(Request::get(path).header("cookie", cookie))
    };
    assert_eq!(session("/api/x").as_deref(), Ok("alice as user"));
    let requests = gate.tokens.world.http.requests();
    let form = "token=at-secret&token_type_hint=access_token";
    assert_eq!(requests.last().expect("request").body(), form);

    // Not even shown to another issuer.
    let misfit = Err((403, "session_token_not_for_this_api"));
    let before = gate.tokens.world.http.requests().len();
    assert_eq!(session("/second/x"), misfit);
    assert_eq!(session("/silent/x"), misfit);
    assert_eq!(gate.tokens.world.http.requests().len(), before);

    // Over, or revoked: a login helps.
    gate.advance(30);
    gate.says_with("active", json!(false));
    assert_eq!(session("/api/x"), Err((401, "session_expired")));
    gate.advance(10);
    gate.says_with("aud", json!("https://other.example"));
    assert_eq!(session("/api/x"), misfit);
    gate.advance(30);
    gate.says(500, json!({}));
    assert_eq!(session("/api/x"), Err((503, "introspection_unavailable")));
}

#[test]
fn a_session_whose_token_is_not_active_right_after_the_login_does_not_loop() {
    let gate = Gate::new();
    gate.app.log_in();
    gate.says_with("active", json!(false));
    let headers = [
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    let response = gate.app.send(Method::GET, "/api/x", &headers, "");
    assert_eq!(response.status(), 403);
    gate.advance(61);
    let response = gate.app.send(Method::GET, "/api/x", &headers, "");
    assert_eq!(response.status(), 303);
}
