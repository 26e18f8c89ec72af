use super::*;
use serde_json::json;

const NOW: u64 = 1_767_225_600;
const API: &str = "https://api.example.com/invoices";
const ISSUER: &str = "http://127.0.0.1:3001";

fn ask(path: &str, change: impl FnOnce(&mut Question)) -> String {
    let workspace = crate::workspace::Workspace::find().unwrap();
    let mut question = Question {
        config: std::fs::read_to_string(workspace.path("airside.toml")).unwrap(),
        path: path.to_owned(),
        method: "GET".to_owned(),
        token: None,
        jwks: None,
        cookie: false,
        now: NOW,
    };
    change(&mut question);
    explain(&question).unwrap()
}

fn token(idp: &Idp, over: Value) -> String {
    let mut claims = json!({
        "iss": ISSUER, "sub": "alice", "aud": API, "client_id": "cli", "scope": "read:invoices",
        "iat": NOW, "exp": NOW + 300,
    });
    for (name, value) in over.as_object().unwrap() {
        claims[name] = value.clone();
    }
    idp.sign_typ(&claims, "at+jwt")
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    for line in expected {
        assert!(text.contains(line), "{line}\n---\n{text}");
    }
}

#[test]
fn it_says_route_rule_and_answer() {
    let text = ask("/api/invoices/7?code=hush", |_| {});
    check(
        &text,
        &[
            "request   GET /api/invoices/7\n",
            "route     routes[4], path = \"/api/invoices/*\"",
            "of demo (http://127.0.0.1:3001), for https://api.example.com/invoices, all of the scopes read:invoices",
            "answer    401 Unauthorized",
            "why       no_credential",
            "www-authenticate: Bearer realm=\"airside\"",
        ],
    );
    assert!(!text.contains("hush"));
    check(
        &ask("/assets/x", |_| {}),
        &["rule      public", "passes, to http://127.0.0.1:3002"],
    );
    check(
        &ask("/nothing", |_| {}),
        &["none for this path", "404", "no_route"],
    );
    let patch = ask("/api/invoices/7", |q| q.method = "PATCH".to_owned());
    check(
        &patch,
        &[
            "none for this method; the path has routes[4], routes[5]",
            "405",
        ],
    );
    check(
        &ask("/a/../b", |_| {}),
        &["cannot be decided on", "400", "path_ambiguous"],
    );
    let person = ask("/invoices", |q| q.cookie = true);
    check(
        &person,
        &["303", "location: /auth/login?return_to=%2Finvoices"],
    );
}

#[test]
fn a_token_is_judged_and_never_printed() {
    let (idp, other) = (Idp::new(ISSUER), Idp::new(ISSUER));
    let good = token(&idp, json!({}));
    let jwks = idp.jwks().to_string();
    let judged = |token: &str, jwks: Option<&str>| {
        let text = ask("/api/invoices/7", |q| {
            q.token = Some(format!("{token}\n"));
            q.jwks = jwks.map(str::to_owned);
        });
        let parts = token.split('.').filter(|part| part.len() > 20);
        assert!(parts.clone().count() > 0 && parts.into_iter().all(|part| !text.contains(part)));
        text
    };
    check(
        &judged(&good, Some(&jwks)),
        &[
            "signature checked with the key set given",
            "passes, to",
            "x-forwarded-sub: alice",
        ],
    );
    let forged = token(&other, json!({}));
    check(
        &judged(&forged, Some(&jwks)),
        &["401", "access_token_signature"],
    );
    // Without a key set that is not seen, and said so.
    check(
        &judged(&forged, None),
        &["SIGNATURE NOT CHECKED", "passes, to"],
    );
    let lacking = token(&idp, json!({ "scope": "other" }));
    check(
        &judged(&lacking, None),
        &["403", "insufficient_scope", "scope=\"read:invoices\""],
    );
    let expired = token(&idp, json!({ "exp": NOW - 100 }));
    check(&judged(&expired, None), &["401", "access_token_expired"]);
    let elsewhere = token(&idp, json!({ "iss": "https://evil.example" }));
    check(&judged(&elsewhere, None), &["401", "access_token_iss"]);
    let id_token = token(&idp, json!({ "aud": "airside-demo" }));
    check(
        &judged(&id_token, None),
        &[
            "401",
            "id_token_at_api",
            "addressed to the client airside-demo",
        ],
    );
}

#[test]
fn the_same_token_in_a_session() {
    let idp = Idp::new(ISSUER);
    let in_session = |over: Value| {
        ask("/api/invoices/7", |q| {
            q.token = Some(token(&idp, over));
            q.cookie = true;
        })
    };
    check(
        &in_session(json!({})),
        &["passes, to", "x-forwarded-sub: alice"],
    );
    check(
        &in_session(json!({ "aud": "https://other.example" })),
        &["403", "session_token_not_for_this_api"],
    );
}
