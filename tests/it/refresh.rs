//! Refreshing a session's tokens, by gates and `tokens` of several machines on one store, at a
//! provider that rotates refresh tokens and takes a second use for theft.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use airside::endpoint::Head;
use airside::endpoint::{self, Decision, Instance, authorize};
use airside::oidc::id_token::nonce_hash;
use airside::ports::{FetchLimits, HttpClient, HttpError, KeyValue, PortFuture, Ports};
use airside::respond::Code;
use airside::secret::Secret;
use airside::session::cookie::session_cookies;
use airside::session::refresh_keys::RefreshKeys;
use airside::session::refresh_lock::Mark;
use airside::session::{Cookies, Session};
use airside::testing::{Idp, PlanHeaders, SeededRandom, World, block_on, run_all};
use airside::time::{Lifetime, UnixTime};
use bytes::Bytes;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Request, Response};
use serde_json::{Map, Value, json};

const API: &str = "https://api.example.com";
const CONFIG: &str = r#"
public_url = "https://app.example"

[providers.op]
issuer = "https://op.example"
client_id = "the-client"
client_authentication = "client_secret_basic"
client_secret_variable = "client_secret"
refresh = true
audience = "https://api.example.com"

[providers.other]
issuer = "https://other.example"
client_id = "other-client"
client_authentication = "client_secret_post"
client_secret_variable = "other_secret"
refresh = true
resource = ["urn:other"]

[issuers.op]
issuer = "https://op.example"

[issuers.other]
issuer = "https://other.example"

[upstreams.api]
url = "https://api.internal.example"

[[routes]]
path = "/api/*"
access = "token"
issuer = "op"
audience = "https://api.example.com"
upstream = "api"

[[routes]]
path = "/other/*"
access = "token"
issuer = "other"
audience = "https://api.example.com"
upstream = "api"

[[routes]]
path = "/write/*"
access = "token"
issuer = "op"
audience = "https://api.example.com"
scopes = ["write"]
upstream = "api"

[[routes]]
path = "/*"
access = "login"
upstream = "api"
"#;

/// What the provider knows.
#[derive(Default)]
struct Families {
    /// Refresh tokens that are good, with whom they are for.
    good: BTreeMap<String, String>,
    used: BTreeSet<String>,
    calls: usize,
    reused: usize,
    /// Bodies and `Authorization` headers of refresh requests.
    seen: Vec<(String, Option<String>)>,
    /// Laid over the next answers.
    change: Option<Value>,
    id_token: Option<Value>,
    down: bool,
    refuse: Option<(u16, &'static str)>,
}

struct Fleet {
    world: World,
    machines: Vec<Instance>,
    idps: BTreeMap<&'static str, Rc<Idp>>,
    families: Rc<RefCell<Families>>,
    sessions: Cell<u64>,
}

/// The network of one machine: `tokens` is beside the gate, everything else is far away.
struct Network<'a> {
    fleet: &'a Fleet,
    machine: &'a Instance,
}

impl HttpClient for Network<'_> {
    fn send(
        &self,
        request: Request<Bytes>,
        limits: FetchLimits,
    ) -> PortFuture<'_, Result<Response<Bytes>, HttpError>> {
        if request.uri().host() == Some("tokens.spin.internal") {
            let ports = self.fleet.world.ports();
            return Box::pin(
                async move { Ok(endpoint::tokens(request, self.machine, ports).await) },
            );
        }
        self.fleet.world.http.send(request, limits)
    }
}

/// What became of a request at the gate.
#[derive(Debug)]
struct Answer {
    status: u16,
    code: Option<&'static str>,
    /// The upstream's view, when it got there.
    subject: Option<String>,
    cookies: Vec<HeaderValue>,
    cache_control: Option<String>,
}

impl Fleet {
    fn new(machines: usize) -> Self {
        Self::with_session(machines, "")
    }

    /// With these lines under `[session]`.
    fn with_session(machines: usize, lines: &str) -> Self {
        Self::with(
            machines,
            "[providers.op]",
            &format!("[session]\n{lines}\n[providers.op]"),
        )
    }

    /// With `new` in place of `old` in the configuration.
    fn with(machines: usize, old: &str, new: &str) -> Self {
        let config = CONFIG.replacen(old, new, 1);
        let world = World::default();
        let key = airside::encoding::base64url_encode(&[7; 32]);
        world.variables.set("session_keys", &format!("k:{key}"));
        world.variables.set("client_secret", "s1");
        world.variables.set("other_secret", "s2");
        let families = Rc::new(RefCell::new(Families::default()));
        let mut idps = BTreeMap::new();
        for (name, issuer) in [
            ("op", "https://op.example"),
            ("other", "https://other.example"),
        ] {
            let idp = Rc::new(Idp::new(issuer));
            let url = idp.issuer().openid_configuration();
            world.http.json(&url, idp.metadata().to_string());
            world.http.json(&idp.url("/jwks"), idp.jwks().to_string());
            let (signer, known) = (Rc::clone(&idp), Rc::clone(&families));
            let now = world.now();
            world.http.on(&idp.url("/token"), move |request| {
                token_endpoint(&signer, &known, request, now)
            });
            idps.insert(name, idp);
        }
        let start = || {
            let config = config.as_str().into();
            block_on(Instance::start(Some(config), world.ports())).expect("instance")
        };
        let machines = (0..machines).map(|_| start()).collect();
        Fleet {
            world,
            machines,
            idps,
            families,
            sessions: Cell::new(0),
        }
    }

    fn access_token(&self, provider: &str, subject: &str, expires_in: u64) -> String {
        let now = self.world.now().as_secs();
        sign_access(&self.idps[provider], subject, "first", now + expires_in)
    }

    /// A session at `provider` whose access token ends in `expires_in` seconds (ago, when
    /// negative), since a minute.
    fn session(&self, provider: &'static str, subject: &str, expires_in: i64) -> Session {
        let number = self.sessions.get();
        self.sessions.set(number + 1);
        let id = format!("session-{number}");
        let refresh_token = format!("rt-{number}-0");
        let whom = format!("{subject}/{provider}");
        self.families
            .borrow_mut()
            .good
            .insert(refresh_token.clone(), whom);
        let now = self.world.now();
        let expires_at = now.as_secs().saturating_add_signed(expires_in);
        let token = sign_access(&self.idps[provider], subject, "first", expires_at);
        Session {
            provider: provider.into(),
            issuer: self.idps[provider].issuer().to_string(),
            subject: subject.into(),
            claims: Map::from_iter([("name".to_owned(), json!("Old Name"))]),
            id,
            sid: None,
            access_token: Secret::new(token),
            access_token_expires_at: Some(UnixTime::from_secs(expires_at)),
            refresh_token: Some(Secret::new(refresh_token)),
            id_token: None,
            scope: Some("read write".into()),
            auth_time: Some(UnixTime::from_secs(1_000)),
            acr: None,
            amr: Vec::new(),
            known_marks: Vec::new(),
            created_at: now.minus(Lifetime::from_secs(600)),
            renewed_at: now,
            record: None,
            refreshed_at: None,
            nonce_hash: Some(nonce_hash("n")),
        }
    }

    fn cookie(&self, session: &Session) -> String {
        let machine = &self.machines[0];
        let limits = &machine.config.session;
        let (sealed, life) = session
            .seal(&machine.ring, limits, self.world.now())
            .expect("sealed");
        let set = session_cookies(&sealed, &Cookies::default(), life, limits.max_chunks);
        line(&set.expect("cookies"))
    }

    /// The session that `cookies` set.
    fn opened(&self, cookies: &[HeaderValue]) -> Session {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_str(&line(cookies)).expect("line"));
        let sealed = Cookies::parse(&headers).expect("cookies").session();
        let machine = &self.machines[0];
        let limits = &machine.config.session;
        let sealed = String::from_utf8(sealed.expect("a session").into_owned());
        Session::open(
            &sealed.expect("text"),
            &machine.ring,
            limits,
            self.world.now(),
        )
        .expect("opens")
    }

    async fn request(&self, machine: usize, method: &str, path: &str, cookie: &str) -> Answer {
        let machine = &self.machines[machine % self.machines.len()];
        let network = Network {
            fleet: self,
            machine,
        };
        let ports = Ports {
            http: &network,
            ..self.world.ports()
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(COOKIE, cookie);
        let request = match method {
            "GET" => request,
            _ => request.header("sec-fetch-site", "same-origin"),
        };
        let (head, ()) = request.body(()).expect("request").into_parts();
        match authorize(&mut Head::from(&head), machine, ports).await {
            Decision::Respond(response) => Answer {
                status: response.status().as_u16(),
                code: response.extensions().get::<Code>().map(|code| code.0),
                subject: None,
                cookies: set_cookies(response.headers()),
                cache_control: None,
            },
            Decision::Forward(plan) => {
                let mut upstream = HeaderMap::new();
                upstream.insert(
                    "cache-control",
                    HeaderValue::from_static("public, max-age=60"),
                );
                let headers = plan.response_headers(upstream);
                let text = |headers: &HeaderMap, name: &str| {
                    let value = headers.get(name).and_then(|value| value.to_str().ok());
                    value.map(str::to_owned)
                };
                Answer {
                    status: 200,
                    code: None,
                    subject: text(&plan.headers(), "x-forwarded-sub"),
                    cookies: set_cookies(&headers),
                    cache_control: text(&headers, "cache-control"),
                }
            }
        }
    }

    fn get(&self, path: &str, session: &Session) -> Answer {
        let cookie = self.cookie(session);
        let task: Task<'_> = Box::pin(async move { self.request(0, "GET", path, &cookie).await });
        self.together(0, vec![task]).remove(0)
    }

    fn together(&self, seed: u64, tasks: Vec<Task<'_>>) -> Vec<Answer> {
        run_all(&self.world.clock, &SeededRandom::new(seed), tasks)
    }

    fn calls(&self) -> usize {
        self.families.borrow().calls
    }

    #[track_caller]
    fn check(&self, answer: &Answer, status: u16, code: Option<&str>, calls: usize) {
        let found = (answer.status, answer.code, self.calls());
        assert_eq!(found, (status, code, calls));
    }
}

type Task<'a> = Pin<Box<dyn Future<Output = Answer> + 'a>>;

fn sign_access(idp: &Idp, subject: &str, generation: &str, exp: u64) -> String {
    let claims = json!({
        "iss": idp.issuer().as_str(), "sub": subject, "aud": API, "client_id": "c",
        "scope": "read", "iat": 1_000, "exp": exp, "jti": generation,
    });
    idp.sign_typ(&claims, "at+jwt")
}

fn set_cookies(headers: &HeaderMap) -> Vec<HeaderValue> {
    headers.get_all(SET_COOKIE).iter().cloned().collect()
}

fn line(cookies: &[HeaderValue]) -> String {
    let pairs = cookies
        .iter()
        .filter_map(|value| value.to_str().ok()?.split(';').next());
    pairs.collect::<Vec<_>>().join("; ")
}

fn is_deleted(cookies: &[HeaderValue]) -> bool {
    !cookies.is_empty()
        && cookies
            .iter()
            .all(|value| value.to_str().is_ok_and(|text| text.contains("Max-Age=0")))
}

/// Rotates; a refresh token that comes twice ends its family.
fn token_endpoint(
    idp: &Idp,
    families: &RefCell<Families>,
    request: &Request<Bytes>,
    begin: UnixTime,
) -> Result<Response<Bytes>, HttpError> {
    let mut known = families.borrow_mut();
    let body = String::from_utf8(request.body().to_vec()).expect("a form");
    let form: BTreeMap<String, String> = form_urlencoded::parse(body.as_bytes())
        .into_owned()
        .collect();
    assert_eq!(form["grant_type"], "refresh_token");
    known.calls += 1;
    let authorization = request.headers().get("authorization");
    let authorization = authorization.and_then(|value| value.to_str().ok());
    known
        .seen
        .push((body.clone(), authorization.map(str::to_owned)));
    if known.down {
        return Err(HttpError::Unreachable);
    }
    let answer = |status: u16, body: Value| {
        let response = Response::builder().status(status);
        Ok(response
            .body(Bytes::from(body.to_string()))
            .expect("response"))
    };
    if let Some((status, error)) = known.refuse {
        return answer(status, json!({ "error": error }));
    }
    let token = form["refresh_token"].clone();
    if known.used.contains(&token) {
        known.reused += 1;
        return answer(400, json!({"error": "invalid_grant"}));
    }
    let Some(whom) = known.good.remove(&token) else {
        return answer(400, json!({"error": "invalid_grant"}));
    };
    let (lineage, generation) = token.rsplit_once('-').expect("a refresh token");
    let next = format!(
        "{lineage}-{}",
        generation.parse::<u64>().expect("number") + 1
    );
    known.used.insert(token.clone());
    known.good.insert(next.clone(), whom.clone());
    let (subject, provider) = whom.split_once('/').expect("whom");
    assert!(
        idp.issuer().as_str().contains(&format!("//{provider}.")),
        "of another provider"
    );
    let exp = begin.as_secs() + 3_600;
    let mut tokens = json!({
        "access_token": sign_access(idp, subject, &next, exp), "token_type": "Bearer",
        "expires_in": 3_000, "refresh_token": next,
    });
    if let Some(claims) = &known.id_token {
        let mut all = json!({
            "iss": idp.issuer().as_str(), "sub": subject, "aud": "the-client",
            "iat": begin.as_secs(), "exp": exp, "name": "New Name", "auth_time": 1_000,
        });
        overlay(&mut all, claims);
        tokens["id_token"] = idp.sign(&all).into();
    }
    if let Some(change) = &known.change {
        overlay(&mut tokens, change);
    }
    answer(200, tokens)
}

fn overlay(under: &mut Value, over: &Value) {
    let members = under.as_object_mut().expect("object");
    for (name, value) in over.as_object().expect("object") {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
}

/// `requests` with one expired session, on four machines.
fn storm(seed: u64, requests: usize) {
    let fleet = Fleet::new(4);
    fleet.world.http.answer_after(5);
    fleet.world.key_value.answer_after(2);
    let session = fleet.session("op", "alice", -1);
    let cookie = fleet.cookie(&session);
    let (fleet, cookie) = (&fleet, cookie.as_str());
    let method = |n: usize| if n.is_multiple_of(3) { "POST" } else { "GET" };
    let task = |n| -> Task<'_> {
        Box::pin(async move { fleet.request(n, method(n), "/api/x", cookie).await })
    };
    let answers = fleet.together(seed, (0..requests).map(task).collect());
    assert_eq!(answers.len(), requests);
    assert_eq!(fleet.calls(), 1, "seed {seed}");
    for answer in &answers {
        assert_eq!(answer.status, 200, "seed {seed}: {:?}", answer.code);
        assert_eq!(answer.subject.as_deref(), Some("alice"));
        assert_eq!(answer.cache_control.as_deref(), Some("no-store"));
        let next = fleet.opened(&answer.cookies);
        assert_eq!(next.refresh_token, Some(Secret::from("rt-0-1")));
        assert_eq!(next.id, session.id);
    }
}

#[test]
fn two_hundred_requests_with_one_expired_session_refresh_once_and_all_pass() {
    storm(0, 200);
}

#[test]
fn whatever_the_order_one_refresh_serves_all() {
    for seed in 1..=20 {
        storm(seed, 24);
    }
}

#[test]
fn tokens_never_cross_sessions_users_clients_or_resources() {
    for seed in 100..110 {
        let fleet = Fleet::new(3);
        fleet.world.http.answer_after(3);
        fleet.world.key_value.answer_after(1);
        let whose = [
            ("op", "alice"),
            ("op", "alice"),
            ("op", "bob"),
            ("other", "alice"),
            ("other", "carol"),
        ];
        let sessions: Vec<Session> = whose
            .iter()
            .map(|(provider, subject)| fleet.session(provider, subject, -1))
            .collect();
        let cookies: Vec<String> = sessions
            .iter()
            .map(|session| fleet.cookie(session))
            .collect();
        let (fleet_ref, cookies_ref) = (&fleet, &cookies);
        let tasks = (0..40).map(|n| -> Task<'_> {
            let which = n % whose.len();
            let path = if whose[which].0 == "op" {
                "/api/x"
            } else {
                "/other/x"
            };
            Box::pin(async move { fleet_ref.request(n, "GET", path, &cookies_ref[which]).await })
        });
        let answers = fleet.together(seed, tasks.collect());
        assert_eq!((fleet.calls(), fleet.families.borrow().reused), (5, 0));
        for (n, answer) in answers.iter().enumerate() {
            let which = n % whose.len();
            assert_eq!(answer.status, 200, "{:?}", answer.code);
            assert_eq!(answer.subject.as_deref(), Some(whose[which].1));
            let next = fleet.opened(&answer.cookies);
            let refresh_token = Secret::new(format!("rt-{which}-1"));
            assert_eq!(next.refresh_token, Some(refresh_token), "seed {seed}");
            assert_eq!(next.id, sessions[which].id);
            assert_eq!(next.provider, whose[which].0);
        }
        for (body, authorization) in &fleet.families.borrow().seen {
            let number: usize = body.split("rt-").nth(1).expect("token")[..1]
                .parse()
                .expect("n");
            let other = whose[number].0 == "other";
            assert_eq!(body.contains("resource=urn%3Aother"), other);
            assert_eq!(body.contains("client_secret=s2"), other);
            assert_eq!(authorization.is_some(), !other);
        }
    }
}

#[test]
fn a_token_is_refreshed_shortly_before_its_end_and_not_earlier() {
    let fleet = Fleet::new(1);
    // Since ten minutes, and for another one and a half: a minute before at most.
    let early = fleet.session("op", "alice", 90);
    fleet.check(&fleet.get("/api/x", &early), 200, None, 0);
    let due = fleet.session("op", "alice", 10);
    let answer = fleet.get("/api/x", &due);
    fleet.check(&answer, 200, None, 1);
    assert_eq!(
        fleet.opened(&answer.cookies).refresh_token,
        Some(Secret::from("rt-1-1"))
    );
    // Without the configuration, or a refresh token, never.
    let mut without = fleet.session("op", "alice", 10);
    without.refresh_token = None;
    fleet.check(&fleet.get("/api/x", &without), 200, None, 1);
}

#[test]
fn sessions_are_refreshed_at_different_times_and_requests_of_one_at_the_same() {
    let fleet = Fleet::new(1);
    let sessions: Vec<Session> = (0..40).map(|_| fleet.session("op", "alice", 600)).collect();
    let early: BTreeSet<u64> = sessions
        .iter()
        .map(|session| {
            let due = session.refresh_due_at().expect("due");
            assert_eq!(Some(due), session.refresh_due_at());
            session
                .access_token_expires_at
                .expect("end")
                .since(due)
                .as_secs()
        })
        .collect();
    assert!(
        early.len() > 10 && early.iter().all(|early| (30..=60).contains(early)),
        "{early:?}"
    );
}

#[test]
fn without_expires_in_the_gate_refreshes_what_it_finds_expired() {
    let fleet = Fleet::new(1);
    let mut good = fleet.session("op", "alice", 5);
    good.access_token_expires_at = None;
    fleet.check(&fleet.get("/api/x", &good), 200, None, 0);
    let mut over = fleet.session("op", "alice", -100);
    over.access_token_expires_at = None;
    let answer = fleet.get("/api/x", &over);
    fleet.check(&answer, 200, None, 1);
    assert_eq!(
        fleet.opened(&answer.cookies).refresh_token,
        Some(Secret::from("rt-1-1"))
    );
}

#[test]
fn while_the_provider_is_down_a_good_token_passes_and_an_expired_one_waits() {
    let fleet = Fleet::new(1);
    fleet.families.borrow_mut().down = true;
    let due = fleet.session("op", "alice", 10);
    let answer = fleet.get("/api/x", &due);
    fleet.check(&answer, 200, None, 1);
    assert_eq!(answer.cookies, Vec::<HeaderValue>::new());
    // It is not asked again at once.
    fleet.check(&fleet.get("/api/x", &due), 200, None, 1);

    let over = fleet.session("op", "alice", -100);
    let answer = fleet.get("/api/x", &over);
    fleet.check(&answer, 503, Some("refresh_provider_unavailable"), 2);
    assert_eq!(answer.cookies, Vec::<HeaderValue>::new(), "no logout");
    let answer = fleet.get("/api/x", &over);
    fleet.check(&answer, 503, Some("refresh_provider_unavailable"), 2);
    // It comes back, and so does the session, however often it was down.
    for attempt in 3..8 {
        fleet.world.clock.advance(11);
        let answer = fleet.get("/api/x", &over);
        fleet.check(&answer, 503, Some("refresh_provider_unavailable"), attempt);
    }
    fleet.families.borrow_mut().down = false;
    fleet.world.clock.advance(11);
    fleet.check(&fleet.get("/api/x", &over), 200, None, 8);
}

#[test]
fn who_has_a_token_that_is_still_good_does_not_wait_for_the_refresh_of_another() {
    for (expires_in, waiting) in [(10, 0), (-100, 9)] {
        let fleet = Fleet::new(2);
        fleet.world.http.answer_after(300);
        let session = fleet.session("op", "alice", expires_in);
        let (cookie, fleet) = (fleet.cookie(&session), &fleet);
        let cookie = cookie.as_str();
        let task = |n| -> Task<'_> {
            Box::pin(async move { fleet.request(n, "GET", "/api/x", cookie).await })
        };
        let answers = fleet.together(1, (0..10).map(task).collect());
        assert!(answers.iter().all(|answer| answer.status == 200));
        let with_new_tokens = answers.iter().filter(|answer| !answer.cookies.is_empty());
        assert_eq!((fleet.calls(), with_new_tokens.count()), (1, 1 + waiting));
    }
}

#[test]
fn an_owner_that_dies_at_once_is_noticed_by_the_first_who_waits_for_it() {
    let fleet = Fleet::new(2);
    let session = fleet.session("op", "alice", -100);
    let ends_at = session.ends_at_last(&fleet.machines[0].config.session);
    let keys = RefreshKeys::of(&session, ends_at).expect("keys");
    // It took the lock, and was never heard of again.
    let taken = block_on(fleet.world.ports().counters.increment(&keys.lock(1), 1));
    assert_eq!(taken, Ok(1));
    let waited = fleet.get("/api/x", &session);
    fleet.check(&waited, 503, Some("refresh_busy"), 0);
    // Twelve seconds and seven: the lease that nobody wrote is over.
    fleet.world.clock.advance(7);
    fleet.check(&fleet.get("/api/x", &session), 200, None, 1);
}

#[test]
fn a_result_of_another_session_is_not_taken_even_under_the_right_key() {
    for (whose, status, code) in [
        ("own", 200, None),
        ("id", 401, Some("refresh_spent")),
        ("sub", 401, Some("refresh_spent")),
    ] {
        let fleet = Fleet::new(1);
        let session = fleet.session("op", "alice", -100);
        let ends_at = session.ends_at_last(&fleet.machines[0].config.session);
        let keys = RefreshKeys::of(&session, ends_at).expect("keys");
        let now = fleet.world.now();
        let mut result = fleet.session("op", "alice", 3_000);
        result.id.clone_from(&session.id);
        match whose {
            "id" => result.id = "session-of-bob".into(),
            "sub" => result.subject = "bob".into(),
            _ => {}
        }
        let store = &fleet.world.key_value;
        let mark = keys.seal_mark(Mark::Spent { at: now }).expect("sealed");
        let sealed = keys.seal_result(Some(&result), now).expect("sealed");
        for (key, value) in [(keys.mark(), mark), (keys.result(), sealed)] {
            block_on(store.set(&key, value.as_bytes())).expect("set");
        }
        fleet.check(&fleet.get("/api/x", &session), status, code, 0);
    }
}

#[test]
fn a_request_refreshes_once_whatever_it_gets() {
    let fleet = Fleet::new(1);
    let over = fleet.access_token("op", "alice", 0);
    fleet.families.borrow_mut().change = Some(json!({"access_token": over}));
    fleet.world.clock.advance(100);
    let answer = fleet.get("/api/x", &fleet.session("op", "alice", -100));
    fleet.check(&answer, 401, Some("session_expired"), 1);
    let next = fleet.opened(&answer.cookies);
    assert_eq!(next.refresh_token, Some(Secret::from("rt-0-1")));
}

#[test]
fn a_provider_that_is_known_to_be_down_costs_no_attempt() {
    let fleet = Fleet::new(1);
    let metadata = fleet.idps["op"].issuer().openid_configuration();
    fleet.world.http.fail(&metadata, HttpError::Unreachable);
    let session = fleet.session("op", "alice", -100);
    let get = || fleet.get("/page", &session);
    fleet.check(&get(), 200, None, 0);
    let mut keys = fleet.world.key_value.keys();
    keys.retain(|key| key.starts_with("airside/refresh/"));
    assert_eq!(keys, Vec::<String>::new());
    let document = fleet.idps["op"].metadata().to_string();
    fleet.world.http.json(&metadata, document);
    fleet.world.clock.advance(60);
    fleet.check(&get(), 200, None, 1);
}

#[test]
fn where_it_is_not_configured_nothing_is_refreshed_by_the_gate_or_by_tokens() {
    let without = "client_secret_variable = \"client_secret\"";
    let with = format!("{without}\nrefresh = true");
    let fleet = Fleet::with(1, &with, without);
    let over = fleet.session("op", "alice", -100);
    let answer = fleet.get("/api/x", &over);
    fleet.check(&answer, 401, Some("session_expired"), 0);
    fleet.check(
        &fleet.get("/api/x", &fleet.session("op", "alice", 10)),
        200,
        None,
        0,
    );

    // A machine whose configuration is new calls `tokens` on one whose is old.
    let newer = Fleet::new(1);
    let session = newer.session("op", "alice", -100);
    let network = Network {
        fleet: &newer,
        machine: &fleet.machines[0],
    };
    let ports = Ports {
        http: &network,
        ..newer.world.ports()
    };
    let head = Request::get("/api/x").header(COOKIE, newer.cookie(&session));
    let (head, ()) = head.body(()).expect("request").into_parts();
    let decision = block_on(authorize(&mut Head::from(&head), &newer.machines[0], ports));
    let Decision::Respond(response) = decision else {
        panic!("forwarded")
    };
    assert_eq!((response.status().as_u16(), newer.calls()), (503, 0));
}

#[test]
fn the_hint_for_the_logout_is_that_of_the_last_refresh() {
    let fleet = Fleet::new(1);
    let refreshed = |hint: Option<&str>, given: Option<Value>| {
        fleet.families.borrow_mut().id_token = given;
        let mut session = fleet.session("op", "alice", -100);
        session.id_token = hint.map(Secret::from);
        fleet
            .opened(&fleet.get("/api/x", &session).cookies)
            .id_token
    };
    let former = Some(Secret::from("former"));
    let new = refreshed(Some("former"), Some(json!({})));
    assert!(new.is_some() && new != former);
    assert_eq!(refreshed(Some("former"), None), former);
    assert_eq!(refreshed(None, Some(json!({}))), None, "where none is kept");
}

#[test]
fn a_session_of_an_issuer_that_the_provider_was_before_ends() {
    let fleet = Fleet::new(1);
    fleet.families.borrow_mut().id_token = Some(json!({}));
    let mut session = fleet.session("op", "alice", -100);
    session.issuer = "https://former.example".into();
    let answer = fleet.get("/page", &session);
    assert_eq!(cause(&fleet).as_deref(), Some("id_token_iss"));
    fleet.check(&answer, 401, Some("refresh_ended"), 1);
}

#[test]
fn only_invalid_grant_ends_a_session_everywhere() {
    for (refuse, status, code) in [
        ((400, "invalid_grant"), 401, "refresh_ended"),
        ((401, "invalid_client"), 503, "refresh_provider_unavailable"),
        (
            (400, "unauthorized_client"),
            503,
            "refresh_provider_unavailable",
        ),
        ((500, "invalid_grant"), 503, "refresh_provider_unavailable"),
    ] {
        let fleet = Fleet::new(2);
        fleet.families.borrow_mut().refuse = Some(refuse);
        let session = fleet.session("op", "alice", -100);
        let copy = fleet.cookie(&session);
        let answer = fleet.get("/api/x", &session);
        fleet.check(&answer, status, Some(code), 1);
        let ended = refuse == (400, "invalid_grant");
        assert_eq!(is_deleted(&answer.cookies), ended, "{refuse:?}");
        // A copy of the cookie, at another machine, where no token is needed.
        let task: Task<'_> = Box::pin(fleet.request(1, "GET", "/page", &copy));
        let copied = fleet.together(0, vec![task]).remove(0);
        let expected = if ended { Some("session_revoked") } else { None };
        assert_eq!(copied.code, expected, "{refuse:?}");
    }
}

#[test]
fn an_old_cookie_gets_the_same_result_for_two_minutes_and_then_never_sends_its_token() {
    let fleet = Fleet::new(2);
    let old = fleet.session("op", "alice", -100);
    let first = fleet.get("/api/x", &old);
    fleet.check(&first, 200, None, 1);
    fleet.world.clock.advance(118);
    let late = fleet.get("/api/x", &old);
    fleet.check(&late, 200, None, 1);
    let tokens = |answer: &Answer| fleet.opened(&answer.cookies).refresh_token;
    assert_eq!(tokens(&late), tokens(&first));
    fleet.world.clock.advance(480);
    let replayed = fleet.get("/api/x", &old);
    fleet.check(&replayed, 401, Some("refresh_spent"), 1);
    assert_eq!(
        replayed.cookies,
        Vec::<HeaderValue>::new(),
        "the browser may have the new one"
    );
    // Where no token is needed the session is good as long as it lives.
    fleet.check(&fleet.get("/page", &old), 200, None, 1);
    // And the new cookie is as good as ever.
    let new = fleet.opened(&first.cookies);
    fleet.check(&fleet.get("/api/x", &new), 200, None, 1);
    assert_eq!(fleet.families.borrow().reused, 0);
}

#[test]
fn a_route_that_needs_no_token_refreshes_without_depending_on_it() {
    let fleet = Fleet::new(1);
    let answer = fleet.get("/page", &fleet.session("op", "alice", -1));
    fleet.check(&answer, 200, None, 1);
    assert_eq!(
        fleet.opened(&answer.cookies).refresh_token,
        Some(Secret::from("rt-0-1"))
    );
    fleet.families.borrow_mut().down = true;
    fleet.check(
        &fleet.get("/page", &fleet.session("op", "alice", -1)),
        200,
        None,
        2,
    );
    fleet.families.borrow_mut().down = false;
    fleet.families.borrow_mut().refuse = Some((400, "invalid_grant"));
    let ended = fleet.get("/page", &fleet.session("op", "alice", -1));
    fleet.check(&ended, 401, Some("refresh_ended"), 3);
    assert!(is_deleted(&ended.cookies));
}

#[test]
fn what_the_provider_leaves_out_stays_as_it_was() {
    let check = |change: Value, judge: fn(&Session, &Session)| {
        let fleet = Fleet::new(1);
        fleet.families.borrow_mut().change = Some(change.clone());
        let session = fleet.session("op", "alice", -100);
        let answer = fleet.get("/api/x", &session);
        fleet.check(&answer, 200, None, 1);
        let next = fleet.opened(&answer.cookies);
        assert_ne!(next.access_token, session.access_token, "{change}");
        assert_eq!(
            next.created_at, session.created_at,
            "the absolute limit stays"
        );
        judge(&session, &next);
    };
    check(json!({}), |old, next| {
        assert_ne!(next.refresh_token, old.refresh_token);
        assert_eq!(next.scope.as_deref(), Some("read write"));
        assert_eq!(next.claims, old.claims);
    });
    check(json!({"refresh_token": null}), |old, next| {
        assert_eq!(next.refresh_token, old.refresh_token);
    });
    check(json!({"scope": "read"}), |_, next| {
        assert_eq!(next.scope.as_deref(), Some("read"));
    });
    check(json!({"expires_in": null}), |_, next| {
        assert_eq!(next.access_token_expires_at, None);
    });
}

#[test]
fn the_same_tokens_again_are_refreshed_again() {
    let fleet = Fleet::new(1);
    let session = fleet.session("op", "alice", -1);
    let same = json!({
        "access_token": session.access_token.expose(), "expires_in": 0, "refresh_token": "rt-0-0",
    });
    for round in 1..=3 {
        fleet.families.borrow_mut().used.clear();
        fleet
            .families
            .borrow_mut()
            .good
            .insert("rt-0-0".into(), "alice/op".into());
        fleet.families.borrow_mut().change = Some(same.clone());
        let current = match round {
            1 => session.clone(),
            _ => {
                let mut next = session.clone();
                next.refreshed_at = Some(fleet.world.now());
                next
            }
        };
        fleet.world.clock.advance(200);
        fleet.check(&fleet.get("/page", &current), 200, None, round);
    }
}

/// Why the refresh failed, by the log.
fn cause(fleet: &Fleet) -> Option<String> {
    let events = fleet.world.events.take();
    let event = events.iter().find(|event| event.code == "refresh_failed")?;
    let (_, cause) = event.fields.iter().find(|(name, _)| *name == "cause")?;
    Some(cause.clone())
}

#[test]
fn how_the_person_authenticated_stays_unless_the_provider_says_otherwise() {
    for (claims, acr, amr) in [
        (json!({}), "mfa", &["pwd", "otp"][..]),
        (json!({"acr": "pwd"}), "pwd", &["pwd", "otp"]),
        (json!({"amr": ["pwd"]}), "mfa", &["pwd"]),
        (json!({"amr": []}), "mfa", &["pwd", "otp"]),
    ] {
        let fleet = Fleet::new(1);
        fleet.families.borrow_mut().id_token = Some(claims.clone());
        let mut session = fleet.session("op", "alice", -100);
        session.acr = Some("mfa".into());
        session.amr = vec!["pwd".into(), "otp".into()];
        let answer = fleet.get("/api/x", &session);
        fleet.check(&answer, 200, None, 1);
        let next = fleet.opened(&answer.cookies);
        assert_eq!(next.acr.as_deref(), Some(acr), "{claims}");
        assert_eq!(next.amr, amr, "{claims}");
    }
}

#[test]
fn an_account_that_moved_to_where_it_may_not_come_in_ends_its_session() {
    let lines =
        "claims = [\"email\", \"email_verified\"]\nemail_domains = [\"corp.example\"]\naudience";
    let at = |email: &str, verified: bool| json!({"email": email, "email_verified": verified});
    for (claims, code) in [
        (json!({}), None),
        (at("alice@corp.example", true), None),
        (at("alice@evil.example", true), Some("account_email_domain")),
        (
            at("alice@corp.example", false),
            Some("account_email_unverified"),
        ),
    ] {
        let op = "audience = \"https://api.example.com\"\n\n[providers.other]";
        let fleet = Fleet::with(1, op, &op.replacen("audience", lines, 1));
        fleet.families.borrow_mut().id_token = Some(claims.clone());
        let mut session = fleet.session("op", "alice", -100);
        session.claims = at("alice@corp.example", true)
            .as_object()
            .expect("object")
            .clone();
        let answer = fleet.get("/api/x", &session);
        assert_eq!(cause(&fleet).as_deref(), code, "{claims}");
        match code {
            None => fleet.check(&answer, 200, None, 1),
            Some(_) => fleet.check(&answer, 401, Some("refresh_ended"), 1),
        }
    }
}

#[test]
fn a_new_id_token_is_verified_and_its_claims_are_taken() {
    for (name, claims, code) in [
        ("good", json!({}), None),
        ("its nonce", json!({"nonce": "n"}), None),
        ("no auth_time", json!({"auth_time": null}), None),
        (
            "another sub",
            json!({"sub": "mallory"}),
            Some("id_token_other_sub"),
        ),
        (
            "another iss",
            json!({"iss": "https://other.example"}),
            Some("id_token_iss"),
        ),
        (
            "another aud",
            json!({"aud": "somebody"}),
            Some("id_token_aud"),
        ),
        (
            "another auth_time",
            json!({"auth_time": 1_001}),
            Some("id_token_auth_time"),
        ),
        (
            "another nonce",
            json!({"nonce": "m"}),
            Some("id_token_nonce"),
        ),
        ("an old iat", json!({"iat": 1_000}), Some("id_token_stale")),
        (
            "a future iat",
            json!({"iat": 9_999_999_999_u64}),
            Some("id_token_not_yet_valid"),
        ),
        ("expired", json!({"exp": 1_001}), Some("id_token_expired")),
    ] {
        let fleet = Fleet::new(1);
        fleet.families.borrow_mut().id_token = Some(claims);
        let answer = fleet.get("/api/x", &fleet.session("op", "alice", -100));
        assert_eq!(cause(&fleet).as_deref(), code, "{name}");
        match code {
            None => {
                assert_eq!(answer.status, 200, "{name}");
                let next = fleet.opened(&answer.cookies);
                assert_eq!(next.claims["name"], "New Name");
                assert_eq!(next.auth_time, Some(UnixTime::from_secs(1_000)));
            }
            Some(_) => {
                assert_eq!(answer.code, Some("refresh_ended"), "{name}");
                assert!(is_deleted(&answer.cookies));
            }
        }
    }
}

#[test]
fn an_id_token_of_another_key_ends_the_session() {
    let fleet = Fleet::new(1);
    let forged = Idp::new("https://op.example").sign(&json!({
        "iss": "https://op.example", "sub": "alice", "aud": "the-client",
        "iat": fleet.world.now(), "exp": fleet.world.now().as_secs() + 60,
    }));
    fleet.families.borrow_mut().change = Some(json!({"id_token": forged}));
    let answer = fleet.get("/api/x", &fleet.session("op", "alice", -100));
    fleet.check(&answer, 401, Some("refresh_ended"), 1);
}

#[test]
fn a_cross_site_request_causes_no_refresh() {
    let fleet = Fleet::new(1);
    let session = fleet.session("op", "alice", -100);
    let cookie = fleet.cookie(&session);
    let head = Request::post("/api/x")
        .header(COOKIE, cookie)
        .header("sec-fetch-site", "cross-site")
        .body(());
    let (head, ()) = head.expect("request").into_parts();
    let decision = block_on(authorize(
        &mut Head::from(&head),
        &fleet.machines[0],
        fleet.world.ports(),
    ));
    let Decision::Respond(response) = decision else {
        panic!("forwarded")
    };
    assert_eq!((response.status().as_u16(), fleet.calls()), (403, 0));
}

#[test]
fn a_refusal_after_a_refresh_keeps_the_new_tokens() {
    let fleet = Fleet::new(1);
    let answer = fleet.get("/write/x", &fleet.session("op", "alice", -100));
    fleet.check(&answer, 403, Some("insufficient_scope"), 1);
    assert_eq!(
        fleet.opened(&answer.cookies).refresh_token,
        Some(Secret::from("rt-0-1"))
    );
}

#[test]
fn without_counters_or_store_nothing_is_sent() {
    let fleet = Fleet::new(1);
    fleet.world.key_value.set_uncounted(true);
    let over = fleet.session("op", "alice", -100);
    let answer = fleet.get("/api/x", &over);
    fleet.check(&answer, 503, Some("refresh_store_unavailable"), 0);
    // What can do without, does.
    fleet.check(
        &fleet.get("/api/x", &fleet.session("op", "alice", 10)),
        200,
        None,
        0,
    );
    fleet.check(&fleet.get("/page", &over), 200, None, 0);
    fleet.world.key_value.set_uncounted(false);
    fleet.check(&fleet.get("/api/x", &over), 200, None, 1);
}

#[test]
fn a_mark_that_was_tampered_with_sends_nothing() {
    let fleet = Fleet::new(1);
    let session = fleet.session("op", "alice", -100);
    fleet.check(&fleet.get("/api/x", &session), 200, None, 1);
    fleet.world.key_value.tamper(|key, value| {
        if key.ends_with("/mark") || key.ends_with("/result") {
            value[40] ^= 1;
        }
    });
    let answer = fleet.get("/api/x", &session);
    fleet.check(&answer, 503, Some("refresh_store_unavailable"), 1);
}

#[test]
fn a_cookie_is_not_sealed_anew_just_before_or_instead_of_a_refresh() {
    let fleet = Fleet::new(1);
    let renewing = |expires_in| {
        let mut session = fleet.session("op", "alice", expires_in);
        session.refreshed_at = Some(session.created_at);
        session.access_token = Secret::new(fleet.access_token("op", "alice", 10_000));
        fleet.cookie(&session)
    };
    let (soon, later) = (renewing(10_000), renewing(30_000));
    // Over a quarter of the idle time has gone.
    fleet.world.clock.advance(28_800 / 4 + 2_640);
    let get = |cookie: &str| {
        let task: Task<'_> = Box::pin(fleet.request(0, "GET", "/page", cookie));
        fleet.together(0, vec![task]).remove(0)
    };
    assert_eq!(get(&soon).cookies.len(), 0, "two minutes before a refresh");
    assert_eq!(get(&later).cookies.len(), 1);
    assert_eq!(fleet.calls(), 0);
}

#[test]
fn what_a_refresh_leaves_in_the_store_goes_away_with_the_session() {
    let fleet = Fleet::new(1);
    fleet.check(
        &fleet.get("/api/x", &fleet.session("op", "alice", -1)),
        200,
        None,
        1,
    );
    let keys = || fleet.world.key_value.keys();
    let own = |key: &String| key.starts_with("airside/refresh/");
    let first: Vec<String> = keys().into_iter().filter(own).collect();
    let left = || {
        let kept = keys().into_iter().filter(|key| first.contains(key));
        kept.map(|key| key.split('/').nth(3).expect("kind").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(left(), ["lease", "lock", "mark", "result"]);
    // Each later refresh sweeps what is due by then.
    fleet.families.borrow_mut().down = true;
    let later = |hours: u64| {
        fleet.world.clock.advance(hours * 3_600);
        for _ in 0..6 {
            fleet.get("/page", &fleet.session("op", "bob", -1));
        }
        left()
    };
    assert_eq!(later(3), ["lease", "lock", "mark"]);
    assert_eq!(later(24), Vec::<String>::new());
}

const STORED: [&str; 2] = ["spill = true", "store = \"key-value\""];

impl Fleet {
    fn records(&self) -> usize {
        let keys = self.world.key_value.keys();
        let is_record = |key: &&String| key.starts_with("airside/session/");
        keys.iter().filter(is_record).count()
    }

    fn send(&self, cookie: &str) -> Answer {
        let task: Task<'_> = Box::pin(self.request(1, "GET", "/api/x", cookie));
        self.together(0, vec![task]).remove(0)
    }
}

#[test]
fn a_session_that_a_refresh_moves_into_the_store_is_stored_once_for_all_requests() {
    for (lines, seed) in STORED
        .into_iter()
        .flat_map(|lines| (0..5).map(move |seed| (lines, seed)))
    {
        let fleet = Fleet::with_session(4, lines);
        fleet.world.http.answer_after(5);
        fleet.world.key_value.answer_after(2);
        let long = json!({"refresh_token": format!("rt-0-1-{}", "x".repeat(6_000))});
        fleet.families.borrow_mut().change = Some(long);
        let session = fleet.session("op", "alice", -1);
        let (cookie, fleet) = (fleet.cookie(&session), &fleet);
        let cookie = cookie.as_str();
        let task = |n| -> Task<'_> {
            Box::pin(async move { fleet.request(n, "GET", "/api/x", cookie).await })
        };
        let answers = fleet.together(seed, (0..40).map(task).collect());
        assert_eq!(
            (fleet.calls(), fleet.records()),
            (1, 1),
            "{lines}, seed {seed}"
        );
        for answer in &answers {
            assert_eq!(answer.status, 200, "{:?}", answer.code);
            let reference = line(&answer.cookies);
            assert!(reference.starts_with("__Host-airside=k~"), "{reference}");
            let next = fleet.send(&reference);
            fleet.check(&next, 200, None, 1);
            assert_eq!(next.subject.as_deref(), Some("alice"));
        }
    }
}

#[test]
fn a_refreshed_session_that_does_not_fit_is_refused_by_name_and_asks_the_provider_once() {
    let fleet = Fleet::new(1);
    fleet.families.borrow_mut().change = Some(json!({"scope": "x".repeat(6_000)}));
    let session = fleet.session("op", "alice", -1);
    for _ in 0..3 {
        let answer = fleet.get("/page", &session);
        fleet.check(&answer, 500, Some("session_too_large"), 1);
        assert_eq!(answer.cookies, Vec::<HeaderValue>::new(), "no logout");
    }
    assert_eq!(fleet.families.borrow().reused, 0);
}

#[test]
fn a_request_that_comes_late_does_not_put_used_tokens_back_into_the_store() {
    for lines in STORED {
        let fleet = Fleet::with_session(2, lines);
        let change = |expires_in: u64| {
            let mut change = json!({"expires_in": expires_in});
            if fleet.calls() == 0 {
                // Too large for cookies once. The next ones rotate on.
                change["scope"] = "x".repeat(6_000).into();
            }
            fleet.families.borrow_mut().change = Some(change);
        };
        let old = fleet.cookie(&fleet.session("op", "alice", -1));
        change(0);
        let first = line(&fleet.send(&old).cookies);
        assert!(first.starts_with("__Host-airside=k~"), "{first}");
        change(3_000);
        let second = fleet.send(&first);
        fleet.check(&second, 200, None, 2);
        // The old cookie once more, which finds the result of the first refresh.
        fleet.check(&fleet.send(&old), 200, None, 2);
        fleet.world.clock.advance(200);
        let reference = line(&second.cookies);
        fleet.check(&fleet.send(&reference), 200, None, 2);
        fleet.world.clock.advance(3_000);
        fleet.check(&fleet.send(&reference), 200, None, 3);
        assert_eq!(
            (fleet.records(), fleet.families.borrow().reused),
            (1, 0),
            "{lines}"
        );
    }
}
