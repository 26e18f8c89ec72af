//! The gate on fakes: every branch of the decision.

use airside::endpoint::{Decision, Forward, Head, Instance, authorize};
use airside::respond::Code;
use airside::secret::Secret;
use airside::session::cookie::session_cookies;
use airside::session::{Cookies, Session};
use airside::testing::{Idp, PlanHeaders, World, block_on};
use airside::time::{Lifetime, UnixTime};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response};
use serde_json::{Map, Value, json};

const ISSUER: &str = "https://op.example";
const API: &str = "https://api.example.com/invoices";

const CONFIG: &str = r#"
public_url = "https://app.example"

[providers.op]
issuer = "https://op.example"
client_id = "the-client"
client_authentication = "none"

[issuers.op]
issuer = "https://op.example"

[issuers.other]
issuer = "https://other.example"

[upstreams.api]
url = "https://api.internal.example"

[[routes]]
path = "/public/*"
access = "public"
upstream = "api"

[[routes]]
path = "/me/*"
access = "login"
upstream = "api"

[[routes]]
path = "/api/*"
methods = ["GET"]
access = "token"
issuer = "op"
audience = "https://api.example.com/invoices"
scopes = ["read"]
upstream = "api"

[[routes]]
path = "/api/*"
methods = ["POST"]
access = "token"
issuer = "op"
audience = "https://api.example.com/invoices"
scopes = ["read", "write"]
upstream = "api"
"#;

struct Gate {
    world: World,
    instance: Instance,
    idp: Idp,
    other: Idp,
}

impl Gate {
    fn new() -> Self {
        Self::with(CONFIG)
    }

    fn with(config: &str) -> Self {
        let world = World::default();
        let key = airside::encoding::base64url_encode(&[7; 32]);
        world.variables.set("session_keys", &format!("k:{key}"));
        let (idp, other) = (Idp::new(ISSUER), Idp::new("https://other.example"));
        for idp in [&idp, &other] {
            let metadata = idp.metadata();
            let jwks_uri = metadata["jwks_uri"].as_str().expect("jwks_uri").to_owned();
            world
                .http
                .json(&idp.issuer().openid_configuration(), metadata.to_string());
            world.http.json(&jwks_uri, idp.jwks().to_string());
        }
        let instance =
            block_on(Instance::start(Some(config.into()), world.ports())).expect("instance");
        Gate {
            world,
            instance,
            idp,
            other,
        }
    }

    fn decide(&self, head: &Parts) -> Decision<'_> {
        block_on(authorize(
            &mut Head::from(head),
            &self.instance,
            self.world.ports(),
        ))
    }

    #[track_caller]
    fn refused(&self, head: &Parts, status: u16, code: &str) -> Response<bytes::Bytes> {
        match self.decide(head) {
            Decision::Respond(response) => {
                let found = response.extensions().get::<Code>().map(|code| code.0);
                assert_eq!((response.status().as_u16(), found), (status, Some(code)));
                response
            }
            Decision::Forward(plan) => panic!("forwarded to {}", plan.authority),
        }
    }

    #[track_caller]
    fn forwarded(&self, head: &Parts) -> Box<Forward<'_>> {
        match self.decide(head) {
            Decision::Forward(plan) => plan,
            Decision::Respond(response) => {
                let code = response.extensions().get::<Code>();
                panic!("{} {code:?}", response.status())
            }
        }
    }

    fn claims(&self) -> Value {
        let now = self.world.now().as_secs();
        json!({
            "iss": ISSUER, "sub": "alice", "aud": API, "client_id": "the-client",
            "scope": "read", "iat": now, "exp": now + 300, "jti": "1",
        })
    }

    fn token(&self, change: impl Fn(&mut Value)) -> String {
        let mut claims = self.claims();
        change(&mut claims);
        self.idp.sign_typ(&claims, "at+jwt")
    }

    fn session(&self, access_token: &str) -> Session {
        let mut claims = Map::new();
        claims.insert("name".into(), "Álice 100%".into());
        claims.insert("email".into(), "alice@example.com".into());
        claims.insert("email_verified".into(), true.into());
        Session {
            provider: "op".into(),
            issuer: ISSUER.into(),
            subject: "alice".into(),
            claims,
            id: "s".into(),
            sid: None,
            access_token: Secret::from(access_token),
            access_token_expires_at: None,
            refresh_token: None,
            id_token: None,
            scope: None,
            auth_time: None,
            acr: None,
            amr: Vec::new(),
            known_marks: Vec::new(),
            // Not just logged in.
            created_at: UnixTime::from_secs(self.world.now().as_secs() - 600),
            renewed_at: self.world.now(),
            refreshed_at: None,
            nonce_hash: None,
            record: None,
        }
    }

    fn cookie(&self, session: &Session) -> String {
        let limits = &self.instance.config.session;
        let (sealed, _) = session
            .seal(&self.instance.ring, limits, self.world.now())
            .expect("sealed");
        let set = session_cookies(&sealed, &Cookies::default(), Lifetime::from_secs(60), 2)
            .expect("cookies");
        let pairs: Vec<&str> = set
            .iter()
            .filter_map(|value| value.to_str().ok()?.split(';').next())
            .collect();
        pairs.join("; ")
    }
}

fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("request").into_parts().0
}

fn get(target: &str, headers: &[(&str, &str)]) -> Parts {
    head("GET", target, headers)
}

fn remove(claims: &mut Value, name: &str) {
    claims.as_object_mut().expect("object").remove(name);
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

const NAVIGATE: [(&str, &str); 2] = [
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
];

#[test]
fn a_good_token_is_forwarded_with_identity_from_the_permit() {
    let gate = Gate::new();
    let token = bearer(&gate.token(|_| {}));
    let plan = gate.forwarded(&get(
        "/api/x?y=%2f",
        &[("authorization", &token), ("x-forwarded-sub", "evil")],
    ));
    assert_eq!(
        (plan.scheme, plan.authority),
        ("https", "api.internal.example")
    );
    assert_eq!(plan.path_and_query, "/api/x?y=%2f");
    let headers = plan.headers();
    let of = |name: &str| {
        headers
            .get_all(name)
            .iter()
            .map(|v| v.to_str().expect("text"))
            .collect::<Vec<_>>()
    };
    assert_eq!(of("x-forwarded-sub"), ["alice"]);
    assert_eq!(of("x-forwarded-issuer"), [ISSUER]);
    assert_eq!(of("x-forwarded-scope"), ["read"]);
    assert_eq!(of("x-forwarded-client-id"), ["the-client"]);
    assert_eq!(of("x-forwarded-subject-type"), ["user"]);
    assert_eq!(of("x-forwarded-host"), ["app.example"]);
    assert!(of("authorization").is_empty() && of("x-forwarded-email").is_empty());
    let shown = format!("{plan:?}");
    assert!(
        !shown.contains("alice") && shown.contains("x-forwarded-sub"),
        "{shown}"
    );
}

#[test]
fn the_warm_path_asks_no_host_for_anything_but_the_time() {
    let gate = Gate::new();
    let token = bearer(&gate.token(|_| {}));
    let request = get("/api/x", &[("authorization", &token)]);
    gate.forwarded(&request);
    let (requests, reads) = (
        gate.world.http.requests().len(),
        gate.world.key_value.gets(),
    );
    gate.forwarded(&request);
    assert_eq!(gate.world.http.requests().len(), requests);
    assert_eq!(gate.world.key_value.gets(), reads);
}

#[test]
fn a_remembered_token_is_judged_again() {
    let gate = Gate::new();
    let token = bearer(&gate.token(|_| {}));
    gate.forwarded(&get("/api/x", &[("authorization", &token)]));
    // Another rule.
    gate.refused(
        &head("POST", "/api/x", &[("authorization", &token)]),
        403,
        "insufficient_scope",
    );
    // Another time.
    gate.world.clock.advance(300 + 59);
    gate.forwarded(&get("/api/x", &[("authorization", &token)]));
    gate.world.clock.advance(1);
    gate.refused(
        &get("/api/x", &[("authorization", &token)]),
        401,
        "access_token_expired",
    );
}

#[test]
fn a_remembered_token_dies_with_the_key_that_signed_it() {
    let gate = Gate::new();
    let token = bearer(&gate.token(|claims| claims["exp"] = json!(4_000_000_000_u64)));
    let request = get("/api/x", &[("authorization", &token)]);
    gate.forwarded(&request);
    let replaced = Idp::with_key(ISSUER, airside::jose::Algorithm::Es256, "key-2");
    gate.world.http.json(
        gate.idp.metadata()["jwks_uri"].as_str().expect("uri"),
        replaced.jwks().to_string(),
    );
    gate.world.clock.advance(600);
    gate.refused(&request, 401, "access_token_no_key");
}

#[test]
fn a_remembered_token_is_verified_again_once_the_key_set_was_fetched_anew() {
    let gate = Gate::new();
    let token = bearer(&gate.token(|claims| claims["exp"] = json!(4_000_000_000_u64)));
    let request = get("/api/x", &[("authorization", &token)]);
    gate.forwarded(&request);
    // The key is withdrawn, and a token by the new key makes the instance fetch the set.
    let replaced = Idp::with_key(ISSUER, airside::jose::Algorithm::Es256, "key-2");
    let jwks_uri = gate.idp.metadata()["jwks_uri"]
        .as_str()
        .expect("uri")
        .to_owned();
    gate.world.http.json(&jwks_uri, replaced.jwks().to_string());
    gate.world.clock.advance(1);
    let new = bearer(&replaced.sign_typ(&gate.claims(), "at+jwt"));
    gate.forwarded(&get("/api/x", &[("authorization", &new)]));
    // The set is fresh and in force, and the old token was not verified with it.
    gate.world.clock.advance(100);
    let refused = gate.refused(&request, 401, "access_token_no_key");
    assert!(refused.headers().contains_key("www-authenticate"));
    gate.forwarded(&get("/api/x", &[("authorization", &new)]));
}

#[test]
fn a_remembered_session_has_no_better_token_than_a_header() {
    let gate = Gate::new();
    let token = gate.token(|claims| claims["exp"] = json!(4_000_000_000_u64));
    let cookie = gate.cookie(&gate.session(&token));
    let request = get("/api/x", &[("cookie", &cookie)]);
    for _ in 0..3 {
        gate.forwarded(&request);
    }
    // Another rule.
    let post = [("cookie", &*cookie), ("sec-fetch-site", "same-origin")];
    gate.refused(&head("POST", "/api/x", &post), 403, "insufficient_scope");
    // The key is withdrawn, and a token by the new key makes the instance fetch the set.
    let replaced = Idp::with_key(ISSUER, airside::jose::Algorithm::Es256, "key-2");
    let jwks_uri = gate.idp.metadata()["jwks_uri"].clone();
    let jwks_uri = jwks_uri.as_str().expect("uri");
    gate.world.http.json(jwks_uri, replaced.jwks().to_string());
    gate.world.clock.advance(1);
    let new = bearer(&replaced.sign_typ(&gate.claims(), "at+jwt"));
    gate.forwarded(&get("/api/x", &[("authorization", &new)]));
    gate.world.clock.advance(100);
    let misfit = "session_token_not_for_this_api";
    gate.refused(&request, 403, misfit);
    // The key is back: the token is verified once more, and then remembered again.
    let both = json!({ "keys": [gate.idp.jwk(), replaced.jwk()] });
    gate.world.http.json(jwks_uri, both.to_string());
    gate.world.clock.advance(600);
    let before = airside::jose::jwk::checks::so_far();
    for _ in 0..3 {
        gate.forwarded(&request);
    }
    assert_eq!(airside::jose::jwk::checks::so_far() - before, 1);
}

#[test]
fn a_remembered_session_is_over_with_its_token() {
    let gate = Gate::new();
    let cookie = gate.cookie(&gate.session(&gate.token(|_| {})));
    let request = get("/api/x", &[("cookie", &cookie)]);
    gate.forwarded(&request);
    gate.forwarded(&request);
    gate.world.clock.advance(300 + 59);
    gate.forwarded(&request);
    gate.world.clock.advance(1);
    gate.refused(&request, 401, "session_expired");
}

#[test]
fn a_route_for_everything_does_not_open_our_own_corner() {
    let everything = CONFIG.replace("path = \"/public/*\"", "path = \"/*\"");
    let gate = Gate::with(&everything);
    gate.forwarded(&get("/anything", &[]));
    gate.forwarded(&get("/.well-known/security.txt", &[]));
    for path in [
        "/auth",
        "/auth/verify",
        "/%61uth/x",
        "/.well-known/jwks.json",
        "/.well-known/spin/x",
    ] {
        gate.refused(&get(path, &[]), 404, "no_route");
    }
}

#[test]
fn each_wrong_token_is_refused_by_its_own_code() {
    let gate = Gate::new();
    let now = gate.world.now().as_secs();
    let cases: Vec<(String, u16, &str)> = vec![
        (
            gate.token(|c| c["aud"] = json!("https://api.example.com/reports")),
            401,
            "access_token_aud",
        ),
        (
            gate.token(|c| c["aud"] = json!([])),
            401,
            "access_token_claims",
        ),
        (
            gate.token(|c| c["aud"] = json!([API, 1])),
            401,
            "access_token_claims",
        ),
        (
            gate.token(|c| c["aud"] = json!("the-client")),
            401,
            "id_token_at_api",
        ),
        (
            gate.token(|c| c["exp"] = json!(now - 60)),
            401,
            "access_token_expired",
        ),
        (gate.token(|c| remove(c, "exp")), 401, "access_token_claims"),
        (
            gate.token(|c| c["exp"] = json!("soon")),
            401,
            "access_token_claims",
        ),
        (
            gate.token(|c| c["nbf"] = json!(now + 61)),
            401,
            "access_token_not_yet_valid",
        ),
        (
            gate.token(|c| c["iat"] = json!(now + 61)),
            401,
            "access_token_not_yet_valid",
        ),
        (gate.token(|c| remove(c, "sub")), 401, "access_token_claims"),
        (
            gate.token(|c| remove(c, "client_id")),
            401,
            "access_token_claims",
        ),
        (
            gate.token(|c| c["scope"] = json!(["read"])),
            401,
            "access_token_claims",
        ),
        (
            gate.token(|c| c["scope"] = json!("readwrite read-more")),
            403,
            "insufficient_scope",
        ),
        (
            gate.token(|c| c["iss"] = json!("https://evil.example")),
            401,
            "access_token_iss",
        ),
        (
            gate.token(|c| c["iss"] = json!("https://op.example/")),
            401,
            "access_token_iss",
        ),
        // Signed by one trusted issuer in the name of another.
        (
            gate.token(|c| c["iss"] = json!("https://other.example")),
            401,
            "access_token_signature",
        ),
        (
            gate.idp.sign_typ(&gate.claims(), "JWT"),
            401,
            "access_token_typ",
        ),
        (
            gate.idp.sign_typ(&gate.claims(), "logout+jwt"),
            401,
            "access_token_typ",
        ),
        ("nonsense".into(), 401, "access_token_malformed"),
        ("eyJhbGciOiJub25lIn0.e30.".into(), 401, "access_token_alg"),
    ];
    for (token, status, code) in cases {
        gate.refused(
            &get("/api/x", &[("authorization", &bearer(&token))]),
            status,
            code,
        );
    }
    let twins: Vec<String> = vec![
        gate.token(|c| c["aud"] = json!(["x", API])),
        gate.token(|c| c["exp"] = json!(now - 59)),
        gate.token(|c| c["nbf"] = json!(now + 60)),
        gate.token(|c| c["iat"] = json!(now + 60)),
        gate.token(|c| c["scope"] = json!("other read")),
        gate.idp.sign_typ(&gate.claims(), "application/AT+JWT"),
    ];
    for token in twins {
        gate.forwarded(&get("/api/x", &[("authorization", &bearer(&token))]));
    }
}

#[test]
fn a_trusted_issuer_of_another_route_does_not_pass_here() {
    let gate = Gate::new();
    let mut claims = gate.claims();
    claims["iss"] = json!("https://other.example");
    let token = bearer(&gate.other.sign_typ(&claims, "at+jwt"));
    gate.refused(
        &get("/api/x", &[("authorization", &token)]),
        401,
        "access_token_issuer_not_for_route",
    );
}

#[test]
fn an_id_token_at_the_api_is_told_its_addressee_only_after_its_signature() {
    let gate = Gate::new();
    let id_token = |aud: &str| json!({"iss": ISSUER, "sub": "alice", "aud": aud, "nonce": "n", "exp": 4_000_000_000_u64, "iat": 1});
    let challenge = |token: &str| {
        let response = gate.refused(
            &get("/api/x", &[("authorization", &bearer(token))]),
            401,
            "id_token_at_api",
        );
        response.headers()["www-authenticate"]
            .to_str()
            .expect("text")
            .to_owned()
    };
    assert!(
        challenge(&gate.idp.sign(&id_token("the-client")))
            .contains("addressed to the client the-client, not")
    );
    assert!(!challenge(&gate.idp.sign(&id_token("a-secret-client"))).contains("a-secret-client"));
    let forged = Idp::with_key(ISSUER, airside::jose::Algorithm::Es256, "key-1")
        .sign(&id_token("the-client"));
    let response = gate.refused(
        &get("/api/x", &[("authorization", &bearer(&forged))]),
        401,
        "access_token_signature",
    );
    assert!(
        !response.headers()["www-authenticate"]
            .to_str()
            .expect("text")
            .contains("the-client")
    );
}

#[test]
fn credentials_are_one_header_and_never_ignored() {
    let gate = Gate::new();
    let good = bearer(&gate.token(|_| {}));
    let cookie = gate.cookie(&gate.session(&gate.token(|_| {})));
    gate.forwarded(&get("/api/x", &[("cookie", &cookie)]));
    // The session would do, but the header decides alone.
    gate.refused(
        &get(
            "/api/x",
            &[("cookie", &cookie), ("authorization", "Bearer x")],
        ),
        401,
        "access_token_malformed",
    );
    gate.refused(
        &get(
            "/api/x",
            &[("cookie", &cookie), ("authorization", "Basic x")],
        ),
        401,
        "credential_scheme",
    );
    gate.refused(
        &get(
            "/api/x",
            &[("authorization", &good), ("authorization", &good)],
        ),
        400,
        "credential_duplicate",
    );
    gate.refused(
        &get("/api/x", &[("authorization", "Bearer a b")]),
        400,
        "credential_malformed",
    );
    gate.refused(
        &get(&format!("/api/x?access_token={}", gate.token(|_| {})), &[]),
        400,
        "credential_in_query",
    );
}

#[test]
fn people_go_to_the_login_and_programs_do_not() {
    let gate = Gate::new();
    for path in ["/api/x?a=b", "/me/x?a=b"] {
        match gate.decide(&get(path, &NAVIGATE)) {
            Decision::Respond(response) => {
                assert_eq!(response.status(), 303);
                let expected = format!(
                    "/auth/login?return_to={}",
                    path.replace('/', "%2F")
                        .replace('?', "%3F")
                        .replace('=', "%3D")
                );
                assert_eq!(response.headers()["location"], expected.as_str());
            }
            Decision::Forward(_) => panic!("forwarded"),
        }
        let response = gate.refused(&get(path, &[]), 401, "no_credential");
        assert_eq!(
            response.headers()["www-authenticate"],
            "Bearer realm=\"airside\""
        );
        gate.refused(
            &head("HEAD", path, &[("sec-purpose", "prefetch")]),
            401,
            "no_credential",
        );
    }
}

#[test]
fn a_session_passes_by_the_same_check_and_brings_its_person() {
    let gate = Gate::new();
    let cookie = gate.cookie(&gate.session(&gate.token(|_| {})));
    let line = format!("theme=dark; {cookie}");
    let plan = gate.forwarded(&get("/api/x", &[("cookie", &line)]));
    assert_eq!(plan.headers()["x-forwarded-sub"], "alice");
    assert_eq!(plan.headers()["x-forwarded-email"], "alice@example.com");
    assert_eq!(plan.headers()["x-forwarded-name"], "%C3%81lice 100%25");
    assert_eq!(plan.headers()["cookie"], "theme=dark");

    // Of somebody else, and of somebody of the same name elsewhere.
    let someone_else = gate.token(|claims| claims["sub"] = json!("mallory"));
    let elsewhere = Session {
        issuer: "https://elsewhere.example".into(),
        ..gate.session(&gate.token(|_| {}))
    };
    for (session, subject) in [
        (gate.session(&someone_else), "mallory"),
        (elsewhere, "alice"),
    ] {
        let cookie = gate.cookie(&session);
        // Opened, and remembered.
        for _ in 0..2 {
            let plan = gate.forwarded(&get("/api/x", &[("cookie", &cookie)]));
            let headers = plan.headers();
            assert_eq!(headers["x-forwarded-sub"], subject);
            assert_eq!(headers["x-forwarded-issuer"], ISSUER);
            for name in ["x-forwarded-email", "x-forwarded-name"] {
                assert!(!headers.contains_key(name), "{subject} {name}");
            }
        }
    }
}

#[test]
fn an_unverified_email_is_not_passed_on() {
    let gate = Gate::new();
    let mut session = gate.session(&gate.token(|_| {}));
    session.claims.insert("email_verified".into(), false.into());
    let plan = gate.forwarded(&get("/api/x", &[("cookie", &gate.cookie(&session))]));
    assert!(
        !plan.headers().contains_key("x-forwarded-email")
            && plan.headers().contains_key("x-forwarded-name")
    );
}

#[test]
fn a_session_token_that_can_never_fit_ends_on_a_page() {
    let gate = Gate::new();
    for token in [
        "opaque".to_owned(),
        gate.token(|claims| claims["aud"] = json!("https://api.example.com/reports")),
        gate.token(|claims| claims["iss"] = json!("https://evil.example")),
        gate.idp.sign_typ(&gate.claims(), "JWT"),
    ] {
        let cookie = gate.cookie(&gate.session(&token));
        let request = get("/api/x", &[NAVIGATE[0], NAVIGATE[1], ("cookie", &cookie)]);
        let response = gate.refused(&request, 403, "session_token_not_for_this_api");
        assert!(
            !response.headers().contains_key("set-cookie"),
            "the session is kept"
        );
        gate.forwarded(&get("/me/x", &[("cookie", &cookie)]));
    }
    let lacking = gate.token(|claims| claims["scope"] = json!("other"));
    let cookie = gate.cookie(&gate.session(&lacking));
    gate.refused(
        &get("/api/x", &[NAVIGATE[0], NAVIGATE[1], ("cookie", &cookie)]),
        403,
        "insufficient_scope",
    );
}

#[test]
fn an_expired_session_token_means_a_login_but_not_right_after_one() {
    let gate = Gate::new();
    let expired = gate.token(|claims| claims["exp"] = json!(gate.world.now().as_secs() - 60));
    let mut session = gate.session(&expired);
    gate.refused(
        &get("/api/x", &[("cookie", &gate.cookie(&session))]),
        401,
        "session_expired",
    );
    session.created_at = gate.world.now();
    gate.refused(
        &get("/api/x", &[("cookie", &gate.cookie(&session))]),
        403,
        "session_token_not_for_this_api",
    );
}

#[test]
fn a_session_that_is_over_or_unreadable_is_cleared() {
    let gate = Gate::new();
    let cookie = gate.cookie(&gate.session("x"));
    let cleared = |response: &Response<bytes::Bytes>| {
        response
            .headers()
            .get_all("set-cookie")
            .iter()
            .any(|value| value.as_bytes().starts_with(b"__Host-airside=;"))
    };
    let changed = format!("{}x", cookie);
    assert!(cleared(&gate.refused(
        &get("/me/x", &[("cookie", &changed)]),
        401,
        "no_credential"
    )));
    assert!(cleared(&gate.refused(
        &get("/me/x", &[("cookie", &format!("{cookie}; {cookie}"))]),
        400,
        "cookie_duplicate"
    )));
    gate.forwarded(&get("/me/x", &[("cookie", &cookie)]));
    gate.world.clock.advance(28_800);
    assert!(cleared(&gate.refused(
        &get("/me/x", &[("cookie", &cookie)]),
        401,
        "session_expired"
    )));
}

#[test]
fn a_running_session_is_renewed_and_its_answer_not_cached() {
    let gate = Gate::new();
    let cookie = gate.cookie(&gate.session("x"));
    let answer = |plan: &Forward<'_>| {
        let mut upstream = HeaderMap::new();
        upstream.insert(
            "cache-control",
            HeaderValue::from_static("public, max-age=9"),
        );
        plan.response_headers(upstream)
    };
    let early = answer(&gate.forwarded(&get("/me/x", &[("cookie", &cookie)])));
    assert!(!early.contains_key("set-cookie"));
    assert_eq!(early["cache-control"], "private, max-age=9");
    gate.world.clock.advance(7_201);
    let late = answer(&gate.forwarded(&get("/me/x", &[("cookie", &cookie)])));
    assert!(
        late["set-cookie"]
            .to_str()
            .expect("text")
            .starts_with("__Host-airside=1~")
    );
    assert_eq!(late["cache-control"], "no-store");
}

#[test]
fn unsafe_methods_with_a_session_prove_their_origin() {
    let gate = Gate::new();
    let cookie =
        gate.cookie(&gate.session(&gate.token(|claims| claims["scope"] = json!("read write"))));
    let post = |headers: &[(&str, &str)]| {
        let mut all = vec![("cookie", cookie.as_str())];
        all.extend_from_slice(headers);
        head("POST", "/api/x", &all)
    };
    gate.refused(&post(&[]), 403, "cross_site");
    gate.refused(
        &post(&[("origin", "https://evil.example")]),
        403,
        "cross_site",
    );
    gate.refused(
        &post(&[
            ("sec-fetch-site", "same-site"),
            ("origin", "https://app.example"),
        ]),
        403,
        "cross_site",
    );
    gate.forwarded(&post(&[("origin", "https://app.example")]));
    gate.forwarded(&post(&[("sec-fetch-site", "same-origin")]));
    // A token in the header goes with no request that another site causes.
    let token = bearer(&gate.token(|claims| claims["scope"] = json!("read write")));
    gate.forwarded(&head("POST", "/api/x", &[("authorization", &token)]));
}

#[test]
fn public_routes_have_no_identity_and_keep_the_callers_authorization() {
    let gate = Gate::new();
    let cookie = gate.cookie(&gate.session("x"));
    let plan = gate.forwarded(&get(
        "/public/x",
        &[
            ("authorization", "Basic abc"),
            ("x_forwarded_sub", "evil"),
            ("cookie", &cookie),
        ],
    ));
    assert_eq!(plan.headers()["authorization"], "Basic abc");
    for name in ["x_forwarded_sub", "x-forwarded-sub", "cookie"] {
        assert!(!plan.headers().contains_key(name), "{name}");
    }
}

#[test]
fn what_is_not_routed_or_ambiguous_goes_nowhere() {
    let gate = Gate::new();
    for path in [
        "/",
        "/nothing",
        "/auth/x",
        "/%61uth/x",
        "/.well-known/jwks.json",
        "/API/x",
    ] {
        gate.refused(&get(path, &[]), 404, "no_route");
    }
    for path in [
        "/api/..%2fx",
        "/public/../api/x",
        "/public/%2e%2e/api/x",
        "/api//x",
        "/public/..;/api",
    ] {
        gate.refused(&get(path, &[]), 400, "path_ambiguous");
    }
    let response = gate.refused(&head("DELETE", "/api/x", &[]), 405, "method_not_allowed");
    assert_eq!(response.headers()["allow"], "GET, POST");
    gate.refused(
        &get("/public/x", &[("upgrade", "WebSocket")]),
        501,
        "upgrade_not_supported",
    );
}

#[test]
fn what_an_upstream_would_give_back_is_not_sent_to_it() {
    let gate = Gate::new();
    let token = bearer(&gate.token(|_| {}));
    let cookie = gate.cookie(&gate.session(&gate.token(|_| {})));
    for method in ["TRACE", "CONNECT"] {
        for (path, name, value) in [
            ("/public/x", "accept", "*/*"),
            ("/api/x", "authorization", token.as_str()),
            ("/me/x", "cookie", cookie.as_str()),
        ] {
            let head = head(method, path, &[(name, value)]);
            let response = gate.refused(&head, 405, "method_not_allowed");
            assert!(!response.headers()["allow"].is_empty());
        }
    }
    gate.forwarded(&head("OPTIONS", "/public/x", &[]));
    gate.forwarded(&head("OPTIONS", "/me/x", &[("cookie", &cookie)]));
}

#[test]
fn an_issuer_that_is_down_is_503_and_never_a_pass() {
    let gate = Gate::new();
    let token = bearer(&gate.token(|_| {}));
    gate.world.http.fail(
        &gate.idp.issuer().openid_configuration(),
        airside::ports::HttpError::Timeout,
    );
    let response = gate.refused(
        &get("/api/x", &[("authorization", &token)]),
        503,
        "provider_unreachable",
    );
    assert!(response.headers().contains_key("retry-after"));
}

#[test]
fn danger_any_typ_accepts_jwt_and_still_no_id_token() {
    let gate = Gate::with(&CONFIG.replacen(
        "[issuers.op]\nissuer = \"https://op.example\"",
        "[issuers.op]\nissuer = \"https://op.example\"\ndanger_any_typ = true",
        1,
    ));
    assert!(gate.world.events.codes().contains(&"danger_on"));
    let token = bearer(&gate.idp.sign(&gate.claims()));
    gate.forwarded(&get("/api/x", &[("authorization", &token)]));
    let mut id_token = gate.claims();
    id_token["aud"] = json!("the-client");
    gate.refused(
        &get(
            "/api/x",
            &[("authorization", &bearer(&gate.idp.sign(&id_token)))],
        ),
        401,
        "id_token_at_api",
    );
}

#[test]
fn nothing_secret_is_logged() {
    let gate = Gate::new();
    let token = gate.token(|claims| claims["aud"] = json!("x"));
    gate.refused(
        &get("/api/x?code=hush", &[("authorization", &bearer(&token))]),
        401,
        "access_token_aud",
    );
    let cookie = gate.cookie(&gate.session(&token));
    gate.refused(
        &get("/api/x?code=hush", &[("cookie", &cookie)]),
        403,
        "session_token_not_for_this_api",
    );
    let log = format!("{:?}", gate.world.events.take());
    let signature = token.rsplit('.').next().expect("signature");
    for secret in [signature, "hush", "__Host-airside="] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}
