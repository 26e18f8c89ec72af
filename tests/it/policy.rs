//! The rules of routes and issuers on fakes: what each key of the configuration lets in, and
//! the nearest request that it keeps out.

use airside::endpoint::{Decision, Forward, Head, Instance, authorize};
use airside::respond::Code;
use airside::testing::{Idp, PlanHeaders, World, block_on};
use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use serde_json::{Value, json};

const API: &str = "https://api.example.com/invoices";
const CLIENT: &str = "the-client";

/// One issuer and one token route, `/api/*`.
struct Gate {
    world: World,
    instance: Instance,
    idp: Idp,
}

impl Gate {
    /// `issuer` has the keys of the issuer's table beside `issuer`, `route` those of the route
    /// beside `path`, `access`, `issuer` and `upstream`.
    fn new(url: &str, issuer: &str, route: &str) -> Self {
        let config = format!(
            r#"
            public_url = "https://app.example"
            [providers.op]
            issuer = "{url}"
            client_id = "{CLIENT}"
            client_authentication = "none"
            [issuers.op]
            issuer = "{url}"
            {issuer}
            [upstreams.api]
            url = "https://api.internal.example"
            [[routes]]
            path = "/api/*"
            access = "token"
            issuer = "op"
            upstream = "api"
            {route}
            "#
        );
        let world = World::default();
        let key = airside::encoding::base64url_encode(&[7; 32]);
        world.variables.set("session_keys", &format!("k:{key}"));
        let idp = Idp::new(url);
        let metadata = idp.metadata();
        let jwks_uri = metadata["jwks_uri"].as_str().expect("jwks_uri").to_owned();
        let well_known = idp.issuer().openid_configuration();
        world.http.json(&well_known, metadata.to_string());
        world.http.json(&jwks_uri, idp.jwks().to_string());
        let started = block_on(Instance::start(Some(config.as_str().into()), world.ports()));
        let instance = match started {
            Ok(instance) => instance,
            Err(error) => panic!("{error}"),
        };
        world.events.take();
        Gate {
            world,
            instance,
            idp,
        }
    }

    fn decide(&self, head: &Parts) -> Decision<'_> {
        block_on(authorize(
            &mut Head::from(head),
            &self.instance,
            self.world.ports(),
        ))
    }

    /// The claims with the times of a fresh token.
    fn sign(&self, typ: &str, claims: &Value) -> String {
        let now = self.world.now().as_secs();
        let mut all = json!({ "iss": self.idp.issuer().as_str(), "iat": now, "exp": now + 300 });
        lay(&mut all, claims);
        self.idp.sign_typ(&all, typ)
    }

    #[track_caller]
    fn passes(&self, name: &str, token: &str) -> Box<Forward<'_>> {
        let mut plans = Vec::new();
        // The second time it is remembered.
        for _ in 0..2 {
            match self.decide(&get("/api/x", &[("authorization", &bearer(token))])) {
                Decision::Forward(plan) => plans.push(plan),
                Decision::Respond(response) => panic!("{name}: {:?}", found(&response)),
            }
        }
        plans.remove(0)
    }

    #[track_caller]
    fn refuses(&self, name: &str, token: &str, expected: (u16, &str)) -> Response<Bytes> {
        let head = get("/api/x", &[("authorization", &bearer(token))]);
        // Twice: what was refused is not remembered as good.
        let [_, second] = [self.decide(&head), self.decide(&head)].map(|decision| match decision {
            Decision::Respond(response) => {
                assert_eq!(found(&response), (expected.0, Some(expected.1)), "{name}");
                response
            }
            Decision::Forward(_) => panic!("{name}: forwarded"),
        });
        second
    }
}

fn found(response: &Response<Bytes>) -> (u16, Option<&'static str>) {
    let code = response.extensions().get::<Code>().map(|code| code.0);
    (response.status().as_u16(), code)
}

/// Lays members over others; null takes one away.
fn lay(under: &mut Value, over: &Value) {
    let members = under.as_object_mut().expect("object");
    for (name, value) in over.as_object().expect("object") {
        match value {
            Value::Null => members.remove(name),
            value => members.insert(name.clone(), value.clone()),
        };
    }
}

fn with(claims: &Value, over: Value) -> Value {
    let mut all = claims.clone();
    lay(&mut all, &over);
    all
}

fn get(target: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("request").into_parts().0
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn audience(name: &str) -> String {
    format!("audience = \"{name}\"")
}

/// Claims that a refused twin has laid over the good ones, `typ` of its header, and its code.
type Twin = (&'static str, Value, &'static str, &'static str);

/// A token as the provider makes it passes, and each of its twins does not.
#[track_caller]
fn shape<'g>(
    gate: &'g Gate,
    name: &str,
    typ: &str,
    good: &Value,
    twins: Vec<Twin>,
) -> Box<Forward<'g>> {
    let plan = gate.passes(name, &gate.sign(typ, good));
    for (twin, over, typ, code) in twins {
        let token = gate.sign(typ, &with(good, over));
        gate.refuses(&format!("{name}: {twin}"), &token, (401, code));
    }
    plan
}

#[test]
fn cognito_names_the_client_and_the_kind_of_token() {
    let url = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbC123";
    let gate = Gate::new(
        url,
        "preset = \"cognito\"",
        "audience = \"the-client\"\nscopes = [\"api/read\"]",
    );
    let good = json!({
        "sub": "aaaa-bbbb", "client_id": CLIENT, "token_use": "access", "scope": "openid api/read",
        "version": 2, "username": "alice", "auth_time": 1, "jti": "j",
    });
    let typ = "JWT";
    let plan = shape(
        &gate,
        "cognito",
        typ,
        &good,
        vec![
            // The ID token of the same login: by its `token_use` first of all.
            (
                "ID token",
                json!({ "token_use": "id", "aud": CLIENT, "client_id": null, "scope": null }),
                typ,
                "id_token_at_api",
            ),
            (
                "ID token that names the client",
                json!({ "token_use": "id", "aud": CLIENT }),
                typ,
                "id_token_at_api",
            ),
            // And by its `aud`, if it lied about that.
            ("with aud", json!({ "aud": CLIENT }), typ, "id_token_at_api"),
            (
                "with aud of an API",
                json!({ "aud": API }),
                typ,
                "access_token_claims",
            ),
            (
                "no token_use",
                json!({ "token_use": null }),
                typ,
                "access_token_required_claim",
            ),
            (
                "no token_use, though at+jwt",
                json!({ "token_use": null }),
                "at+jwt",
                "access_token_required_claim",
            ),
            (
                "refresh",
                json!({ "token_use": "refresh" }),
                typ,
                "refresh_token_at_api",
            ),
            (
                "another client",
                json!({ "client_id": "another" }),
                typ,
                "access_token_aud",
            ),
            (
                "no client",
                json!({ "client_id": null }),
                typ,
                "access_token_claims",
            ),
            ("another typ", json!({}), "logout+jwt", "access_token_typ"),
        ],
    );
    assert_eq!(plan.headers()["x-forwarded-client-id"], CLIENT);
    assert_eq!(plan.headers()["x-forwarded-subject-type"], "user");
    let lacking = gate.sign(typ, &with(&good, json!({ "scope": "openid" })));
    gate.refuses("scope", &lacking, (403, "insufficient_scope"));
    let machine = gate.sign(
        typ,
        &with(&good, json!({ "sub": CLIENT, "username": null })),
    );
    let plan = gate.passes("machine", &machine);
    assert_eq!(plan.headers()["x-forwarded-subject-type"], "client");
}

#[test]
fn an_api_of_cognito_may_have_several_clients() {
    let url = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbC123";
    let gate = Gate::new(
        url,
        "preset = \"cognito\"",
        "audience = [\"mobile-app\", \"the-client\"]",
    );
    let token = |client: Value| {
        let claims = json!({
            "sub": "aaaa-bbbb", "client_id": client, "token_use": "access", "scope": "openid",
        });
        gate.sign("JWT", &claims)
    };
    for client in ["mobile-app", CLIENT] {
        gate.passes(client, &token(client.into()));
    }
    for other in ["another", "mobile-app the-client", "mobile"] {
        gate.refuses(other, &token(other.into()), (401, "access_token_aud"));
    }
}

#[test]
fn entra_has_azp_and_scp() {
    let url = "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0";
    let route = "audience = \"api://invoices\"\nscopes = [\"invoices.read\"]";
    let gate = Gate::new(url, "preset = \"entra\"\ndanger_any_typ = true", route);
    let good = json!({
        "sub": "pairwise", "oid": "object", "aud": "api://invoices", "azp": CLIENT, "azpacr": "1",
        "scp": "invoices.read invoices.write", "ver": "2.0", "tid": "t", "roles": ["admin"],
    });
    let graph = "00000003-0000-0000-c000-000000000000";
    let typ = "JWT";
    let twins = vec![
        (
            "ID token",
            json!({ "azp": null, "scp": null, "nonce": "n" }),
            typ,
            "id_token_at_api",
        ),
        (
            "ID token of ours",
            json!({ "aud": CLIENT, "azp": null }),
            typ,
            "id_token_at_api",
        ),
        (
            "addressed to the client too",
            json!({ "aud": ["api://invoices", CLIENT] }),
            typ,
            "id_token_at_api",
        ),
        (
            "graph",
            json!({ "aud": graph }),
            typ,
            "management_token_at_api",
        ),
        (
            "graph by name",
            json!({ "aud": "https://graph.microsoft.com" }),
            typ,
            "management_token_at_api",
        ),
        (
            "another API",
            json!({ "aud": "api://reports" }),
            typ,
            "access_token_aud",
        ),
        (
            "client_id is not azp",
            json!({ "azp": null, "client_id": CLIENT }),
            typ,
            "access_token_claims",
        ),
        (
            "scp of numbers",
            json!({ "scp": [1] }),
            typ,
            "access_token_claims",
        ),
    ];
    let plan = shape(&gate, "entra", typ, &good, twins);
    assert_eq!(
        plan.headers()["x-forwarded-scope"],
        "invoices.read invoices.write"
    );
    assert_eq!(plan.headers()["x-forwarded-subject-type"], "user");
    let no_scp = gate.sign(
        typ,
        &with(&good, json!({ "scp": null, "scope": "invoices.read" })),
    );
    gate.refuses("scope is not scp", &no_scp, (403, "insufficient_scope"));

    // An app for itself, with the optional claim and without.
    let open = Gate::new(
        url,
        "preset = \"entra\"\ndanger_any_typ = true",
        &audience("api://invoices"),
    );
    for over in [
        json!({ "idtyp": "app", "scp": null }),
        json!({ "scp": null, "sub": "object" }),
    ] {
        let plan = open.passes("app", &open.sign(typ, &with(&good, over)));
        assert_eq!(plan.headers()["x-forwarded-subject-type"], "client");
    }
}

#[test]
fn entra_version_1_has_appid() {
    let url = "https://sts.windows.net/72f988bf-86f1-41af-91ab-2d7cd011db47/";
    let issuer = "preset = \"entra\"\ndanger_any_typ = true";
    let gate = Gate::new(url, issuer, &audience("api://invoices"));
    let good =
        json!({ "sub": "s", "aud": "api://invoices", "appid": CLIENT, "scp": "x", "ver": "1.0" });
    let twins = vec![(
        "no appid",
        json!({ "appid": null }),
        "JWT",
        "access_token_claims",
    )];
    let plan = shape(&gate, "entra 1", "JWT", &good, twins);
    assert_eq!(plan.headers()["x-forwarded-client-id"], CLIENT);
}

#[test]
fn auth0_has_azp_or_client_id() {
    let url = "https://acme.eu.auth0.com/";
    let issuer = "preset = \"auth0\"\ndanger_any_typ = true";
    let gate = Gate::new(
        url,
        issuer,
        &format!("{}\nscopes = [\"read\"]", audience(API)),
    );
    let userinfo = "https://acme.eu.auth0.com/userinfo";
    let good = json!({
        "sub": "auth0|1", "aud": [API, userinfo], "azp": CLIENT, "scope": "openid read",
        "permissions": ["read"],
    });
    let management = "https://acme.eu.auth0.com/api/v2/";
    let typ = "JWT";
    let twins = vec![
        (
            "ID token",
            json!({ "aud": CLIENT, "azp": null, "nonce": "n" }),
            typ,
            "id_token_at_api",
        ),
        (
            "ID token without nonce",
            json!({ "aud": CLIENT }),
            typ,
            "id_token_at_api",
        ),
        (
            "management",
            json!({ "aud": management }),
            typ,
            "management_token_at_api",
        ),
        (
            "userinfo alone",
            json!({ "aud": userinfo }),
            typ,
            "management_token_at_api",
        ),
        (
            "another API",
            json!({ "aud": ["https://other.example", userinfo] }),
            typ,
            "access_token_aud",
        ),
        (
            "no client",
            json!({ "azp": null }),
            typ,
            "access_token_claims",
        ),
    ];
    shape(&gate, "auth0", typ, &good, twins);
    let profile = with(&good, json!({ "azp": null, "client_id": CLIENT }));
    gate.passes("the RFC 9068 profile", &gate.sign("at+jwt", &profile));
    for over in [
        json!({ "gty": "client-credentials", "sub": "x" }),
        json!({ "sub": "abc@clients" }),
    ] {
        let plan = gate.passes("machine", &gate.sign(typ, &with(&good, over)));
        assert_eq!(plan.headers()["x-forwarded-subject-type"], "client");
    }
    let person = with(&good, json!({ "gty": "password" }));
    let plan = gate.passes("person", &gate.sign(typ, &person));
    assert_eq!(plan.headers()["x-forwarded-subject-type"], "user");
    // Without the switch only the profile passes.
    let strict = Gate::new(url, "preset = \"auth0\"", &audience(API));
    strict.passes("profile", &strict.sign("at+jwt", &profile));
    strict.refuses(
        "typ JWT",
        &strict.sign("JWT", &profile),
        (401, "access_token_typ"),
    );
}

#[test]
fn keycloak_says_the_kind_in_the_claim_typ() {
    let gate = Gate::new(
        "https://sso.example/realms/staff",
        "preset = \"keycloak\"",
        &audience("invoices"),
    );
    let good = json!({
        "sub": "u-1", "aud": ["invoices", "account"], "typ": "Bearer", "azp": CLIENT, "sid": "s",
        "scope": "openid profile", "acr": "1", "preferred_username": "alice",
        "realm_access": { "roles": ["admin"] },
    });
    let typ = "JWT";
    let twins = vec![
        (
            "ID token",
            json!({ "typ": "ID", "aud": CLIENT }),
            typ,
            "id_token_at_api",
        ),
        (
            "ID token for the API",
            json!({ "typ": "ID" }),
            typ,
            "id_token_at_api",
        ),
        (
            "refresh",
            json!({ "typ": "Refresh" }),
            typ,
            "refresh_token_at_api",
        ),
        (
            "offline",
            json!({ "typ": "Offline" }),
            typ,
            "refresh_token_at_api",
        ),
        (
            "logout",
            json!({ "typ": "Logout" }),
            typ,
            "access_token_required_claim",
        ),
        (
            "no kind",
            json!({ "typ": null }),
            typ,
            "access_token_required_claim",
        ),
        (
            "bearer in lower case",
            json!({ "typ": "bearer" }),
            typ,
            "access_token_required_claim",
        ),
        (
            "admin API",
            json!({ "aud": ["realm-management", "account"] }),
            typ,
            "management_token_at_api",
        ),
        (
            "another API",
            json!({ "aud": ["reports", "account"] }),
            typ,
            "access_token_aud",
        ),
        (
            "no client",
            json!({ "azp": null }),
            typ,
            "access_token_claims",
        ),
    ];
    let plan = shape(&gate, "keycloak", typ, &good, twins);
    assert_eq!(plan.headers()["x-forwarded-subject-type"], "user");
    let service = with(
        &good,
        json!({ "preferred_username": "service-account-batch" }),
    );
    let plan = gate.passes("service account", &gate.sign(typ, &service));
    assert_eq!(plan.headers()["x-forwarded-subject-type"], "client");
    // The issuer says that it is an access token: a nonce does not make it an ID token.
    let nonce = with(&good, json!({ "nonce": "n" }));
    gate.passes("with the nonce of older versions", &gate.sign(typ, &nonce));
    gate.passes(
        "bound to a key",
        &gate.sign(typ, &with(&good, json!({ "typ": "DPoP" }))),
    );
}

#[test]
fn okta_has_cid_and_a_list_in_scp() {
    let issuer = "preset = \"okta\"\ndanger_any_typ = true";
    let route = "audience = \"api://default\"\nscopes = [\"read\"]";
    let gate = Gate::new("https://acme.okta.com/oauth2/default", issuer, route);
    let good = json!({
        "sub": "alice@acme.example", "uid": "00u1", "aud": "api://default", "cid": CLIENT,
        "scp": ["openid", "read"], "ver": 1, "auth_time": 1,
    });
    let typ = "JWT";
    let twins = vec![
        (
            "ID token",
            json!({ "aud": CLIENT, "cid": null, "at_hash": "h" }),
            typ,
            "id_token_at_api",
        ),
        ("no cid", json!({ "cid": null }), typ, "access_token_claims"),
        (
            "two scopes in one",
            json!({ "scp": ["openid read"] }),
            typ,
            "access_token_claims",
        ),
        (
            "the organisation's",
            json!({ "aud": "https://acme.okta.com/oauth2/default" }),
            typ,
            "management_token_at_api",
        ),
    ];
    let plan = shape(&gate, "okta", typ, &good, twins);
    assert_eq!(plan.headers()["x-forwarded-scope"], "openid read");
    let machine = with(&good, json!({ "sub": CLIENT, "uid": null }));
    let plan = gate.passes("machine", &gate.sign(typ, &machine));
    assert_eq!(plan.headers()["x-forwarded-subject-type"], "client");
}

#[test]
fn logto_follows_the_standard() {
    let gate = Gate::new(
        "https://acme.logto.app/oidc",
        "preset = \"logto\"",
        &audience(API),
    );
    let good = json!({ "sub": "u", "aud": API, "client_id": CLIENT, "scope": "read" });
    let twins = vec![
        ("typ JWT", json!({}), "JWT", "access_token_typ"),
        (
            "ID token",
            json!({ "aud": CLIENT, "client_id": null, "at_hash": "h" }),
            "JWT",
            "id_token_at_api",
        ),
        (
            "management",
            json!({ "aud": "https://acme.logto.app/api" }),
            "at+jwt",
            "management_token_at_api",
        ),
    ];
    shape(&gate, "logto", "at+jwt", &good, twins);
}

#[test]
fn each_key_of_an_issuer_is_enforced() {
    const OP: &str = "https://op.example";
    let standard = json!({ "sub": "u", "aud": API, "client_id": CLIENT, "scope": "read" });
    let of = |keys: &str| Gate::new(OP, keys, &format!("{}\nscopes = [\"read\"]", audience(API)));
    let sign = |gate: &Gate, over: Value| gate.sign("at+jwt", &with(&standard, over));

    let gate = of("algorithms = [\"ES256\"]");
    gate.passes("algorithm", &sign(&gate, json!({})));
    let gate = of("algorithms = [\"RS256\"]");
    gate.refuses(
        "algorithm",
        &sign(&gate, json!({})),
        (401, "access_token_alg"),
    );

    let gate = of("leeway_seconds = 10");
    let now = gate.world.now().as_secs();
    gate.passes("leeway", &sign(&gate, json!({ "exp": now - 9 })));
    gate.refuses(
        "leeway",
        &sign(&gate, json!({ "exp": now - 10 })),
        (401, "access_token_expired"),
    );

    let gate = of("scope_claim = \"scp\"");
    gate.passes(
        "scp",
        &sign(&gate, json!({ "scope": null, "scp": ["read"] })),
    );
    gate.refuses(
        "scope",
        &sign(&gate, json!({})),
        (403, "insufficient_scope"),
    );

    let gate = of("client_id_claim = \"azp\"");
    gate.passes(
        "azp",
        &sign(&gate, json!({ "client_id": null, "azp": CLIENT })),
    );
    gate.refuses(
        "client_id",
        &sign(&gate, json!({})),
        (401, "access_token_claims"),
    );

    let gate = of("required_claims = { tenant = \"acme\", environment = \"live\" }");
    let both = json!({ "tenant": "acme", "environment": "live" });
    gate.passes("required", &sign(&gate, both.clone()));
    for over in [
        json!({ "tenant": "evil" }),
        json!({ "tenant": null }),
        json!({ "environment": "Live" }),
    ] {
        let token = sign(&gate, with(&both, over));
        gate.refuses("required", &token, (401, "access_token_required_claim"));
    }
    let list = sign(&gate, with(&both, json!({ "tenant": ["acme"] })));
    gate.refuses("a list", &list, (401, "access_token_claims"));

    let client = format!("{}\nscopes = [\"read\"]", audience(CLIENT));
    let keys = "audience_claim = \"client_id\"\nrequired_claims = { token_use = \"access\" }";
    let gate = Gate::new(OP, keys, &client);
    let over = json!({ "aud": null, "token_use": "access" });
    gate.passes("client_id as audience", &sign(&gate, over.clone()));
    // As Cognito's tokens are, without the preset: nothing but the claim tells.
    let by_hand = Gate::new(OP, &format!("{keys}\ndanger_any_typ = true"), &client);
    let untold = by_hand.sign("JWT", &with(&standard, over.clone()));
    by_hand.passes("without a typ of its own", &untold);
    let id_token = with(&standard, json!({ "aud": CLIENT, "token_use": "id" }));
    let id_token = by_hand.sign("JWT", &id_token);
    by_hand.refuses("ID token", &id_token, (401, "id_token_at_api"));
    let with_aud = sign(&gate, json!({ "token_use": "access" }));
    gate.refuses("with aud", &with_aud, (401, "access_token_claims"));

    let gate = of("danger_any_typ = true");
    gate.passes("any typ", &gate.sign("JWT", &standard));
    gate.refuses(
        "other typ",
        &gate.sign("dpop+jwt", &standard),
        (401, "access_token_typ"),
    );
    let nonce = with(&standard, json!({ "nonce": "n" }));
    gate.refuses(
        "looks like an ID token",
        &gate.sign("JWT", &nonce),
        (401, "id_token_at_api"),
    );
    gate.passes("says that it is none", &gate.sign("at+jwt", &nonce));
}

#[test]
fn tokens_of_others_are_refused_by_name_and_in_the_same_words() {
    let gate = Gate::new("https://op.example", "", &audience(API));
    let good = json!({ "sub": "u", "aud": API, "client_id": CLIENT });
    let foreign = Idp::new("https://accounts.google.com");
    let by_foreign = foreign.sign_typ(
        &with(&good, json!({ "iss": "https://accounts.google.com" })),
        "JWT",
    );
    let hs256 = |claims: Value| {
        let part =
            |value: &Value| airside::encoding::base64url_encode(value.to_string().as_bytes());
        let header = json!({ "alg": "HS256", "typ": "JWT" });
        format!("{}.{}.c2lnbmF0dXJl", part(&header), part(&claims))
    };
    let five_parts = "eyJhbGciOiJSU0EtT0FFUCJ9.x.x.x.x".to_owned();
    let cases = [
        (
            "google's",
            "ya29.a0AfH6SMB".to_owned(),
            "third_party_token_at_api",
        ),
        (
            "github's",
            "gho_16C7e42F292c6912E7710c838347Ae178B4a".to_owned(),
            "third_party_token_at_api",
        ),
        ("a JWT of another issuer", by_foreign, "access_token_iss"),
        (
            "refresh token under a MAC",
            hs256(json!({ "typ": "Refresh" })),
            "refresh_token_at_api",
        ),
        (
            "another MAC",
            hs256(json!({ "typ": "Bearer" })),
            "access_token_alg",
        ),
        ("encrypted", five_parts, "access_token_encrypted"),
        (
            "management",
            gate.sign(
                "at+jwt",
                &with(&good, json!({ "aud": "https://op.example/api/v2/" })),
            ),
            "management_token_at_api",
        ),
    ];
    let mut bodies = Vec::new();
    for (name, token, code) in cases {
        let response = gate.refuses(name, &token, (401, code));
        let logged = gate.world.events.codes();
        assert!(
            logged.iter().all(|logged| *logged == code),
            "{name}: {logged:?}"
        );
        gate.world.events.take();
        let challenge = response.headers()["www-authenticate"]
            .to_str()
            .expect("text")
            .to_owned();
        let body: Value = serde_json::from_slice(response.body()).expect("json");
        bodies.push((challenge, body["detail"].clone()));
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
}

const OP: &str = "https://op.example";

fn standard() -> Value {
    json!({ "sub": "alice", "aud": API, "client_id": CLIENT, "scope": "read" })
}

/// A gate whose route has these keys beside the usual audience.
fn route(keys: &str) -> Gate {
    Gate::new(OP, "", &format!("{}\n{keys}", audience(API)))
}

fn token(gate: &Gate, over: Value) -> String {
    gate.sign("at+jwt", &with(&standard(), over))
}

#[track_caller]
fn challenge(response: &Response<Bytes>) -> &str {
    response.headers()["www-authenticate"]
        .to_str()
        .expect("text")
}

#[test]
fn all_of_the_scopes_and_one_of_any_scopes_are_needed() {
    let gate = route("scopes = [\"read\", \"list\"]\nany_scopes = [\"admin\", \"support\"]");
    for scope in [
        "read list admin",
        "support list read",
        "admin support list read x",
    ] {
        gate.passes(scope, &token(&gate, json!({ "scope": scope })));
    }
    let expect = |scope: &str, wanted: &str| {
        let denied = (403, "insufficient_scope");
        let response = gate.refuses(scope, &token(&gate, json!({ "scope": scope })), denied);
        let header = challenge(&response).to_owned();
        assert!(header.contains("error=\"insufficient_scope\""), "{header}");
        assert!(header.contains(&format!("scope=\"{wanted}\"")), "{header}");
    };
    expect("read admin", "read list");
    expect("list admin", "read list");
    expect("read list", "read list admin");
    expect("read list administrator", "read list admin");
    expect("", "read list admin");
}

#[test]
fn rules_about_claims_are_enforced_each() {
    let gate = route(
        "claims = [
            { claim = \"realm_access.roles\", contains = \"admin\" },
            { claim = \"https://acme.example/tier\", equals = \"gold\" },
            { claim = [\"resource_access\", \"my.client\", \"level\"], equals = 3 },
            { claim = \"groups\", contains = \"staff\" },
        ]",
    );
    let good = json!({
        "realm_access": { "roles": ["user", "admin"] },
        "https://acme.example/tier": "gold",
        "resource_access": { "my.client": { "level": 3 } },
        "groups": "staff other",
    });
    gate.passes("all", &token(&gate, good.clone()));
    for (name, over) in [
        (
            "another role",
            json!({ "realm_access": { "roles": ["user", "administrator"] } }),
        ),
        ("no roles", json!({ "realm_access": {} })),
        (
            "flat",
            json!({ "realm_access": null, "realm_access.roles": ["admin"] }),
        ),
        (
            "another tier",
            json!({ "https://acme.example/tier": "Gold" }),
        ),
        (
            "another level",
            json!({ "resource_access": { "my.client": { "level": 2 } } }),
        ),
        (
            "level as text",
            json!({ "resource_access": { "my.client": { "level": "3" } } }),
        ),
        ("no group", json!({ "groups": null })),
        ("part of a word", json!({ "groups": "staffing" })),
    ] {
        let refused = token(&gate, with(&good, over));
        let response = gate.refuses(name, &refused, (403, "insufficient_claims"));
        assert!(
            challenge(&response).contains("error=\"insufficient_scope\""),
            "{name}"
        );
        // Which claim, and what it should be, is nobody's business outside.
        assert!(
            !String::from_utf8_lossy(response.body()).contains("roles"),
            "{name}"
        );
    }
}

#[test]
fn a_rule_of_one_route_is_none_of_another() {
    // The same token at both, and the rules in another order in the issuer's list.
    let more = format!(
        "{audience}
         claims = [{{ claim = \"a\", equals = 1 }}]
         [[routes]]
         path = \"/other/*\"
         access = \"token\"
         issuer = \"op\"
         upstream = \"api\"
         {audience}
         claims = [{{ claim = \"b\", equals = 2 }}, {{ claim = \"a\", equals = 1 }}]",
        audience = audience(API)
    );
    let gate = Gate::new(OP, "", &more);
    let at = |path: &str, claims: Value| {
        let head = get(path, &[("authorization", &bearer(&token(&gate, claims)))]);
        match gate.decide(&head) {
            Decision::Forward(_) => 200,
            Decision::Respond(response) => response.status().as_u16(),
        }
    };
    let (a, b, both) = (
        json!({ "a": 1 }),
        json!({ "b": 2 }),
        json!({ "a": 1, "b": 2 }),
    );
    assert_eq!((at("/api/x", a.clone()), at("/other/x", a)), (200, 403));
    assert_eq!((at("/api/x", b.clone()), at("/other/x", b)), (403, 403));
    assert_eq!(
        (at("/api/x", both.clone()), at("/other/x", both)),
        (200, 200)
    );
}

#[test]
fn an_api_is_told_what_authentication_is_wanted() {
    let gate = route("acr_values = [\"mfa\", \"hwk\"]\nmax_age_seconds = 300");
    let now = gate.world.now().as_secs();
    let good = json!({ "acr": "hwk", "auth_time": now - 300 - 60 });
    gate.passes("both", &token(&gate, good.clone()));
    for (name, over) in [
        ("another acr", json!({ "acr": "pwd" })),
        ("no acr", json!({ "acr": null })),
        ("a list", json!({ "acr": ["mfa"] })),
        ("too long ago", json!({ "auth_time": now - 300 - 61 })),
        ("no auth_time", json!({ "auth_time": null })),
        ("auth_time as text", json!({ "auth_time": now.to_string() })),
        ("in the future", json!({ "auth_time": now + 61 })),
    ] {
        let refused = token(&gate, with(&good, over));
        let expected = (401, "insufficient_user_authentication");
        let response = gate.refuses(name, &refused, expected);
        assert_eq!(
            challenge(&response),
            "Bearer realm=\"airside\", error=\"insufficient_user_authentication\", \
             error_description=\"A fresher or stronger sign-in is needed for this request.\", \
             acr_values=\"mfa hwk\", max_age=\"300\"",
            "{name}"
        );
    }
    // Remembered, and judged by the time of each request.
    let fresh = bearer(&token(&gate, json!({ "acr": "mfa", "auth_time": now })));
    let head = get("/api/x", &[("authorization", &fresh)]);
    assert!(matches!(gate.decide(&head), Decision::Forward(_)));
    gate.world.clock.advance(350);
    assert!(matches!(gate.decide(&head), Decision::Forward(_)));
    gate.world.clock.advance(9);
    assert!(matches!(gate.decide(&head), Decision::Forward(_)));
}

#[test]
fn each_key_of_a_route_is_enforced() {
    // audience, issuer, methods, path and access have tests of their own beside this one.
    let gate = route("");
    gate.passes("audience", &token(&gate, json!({ "aud": ["x", API] })));
    let other = json!({ "aud": "https://api.example.com/invoices/" });
    gate.refuses("audience", &token(&gate, other), (401, "access_token_aud"));
    let gate = route("methods = [\"POST\"]");
    let head = get(
        "/api/x",
        &[("authorization", &bearer(&token(&gate, json!({}))))],
    );
    match gate.decide(&head) {
        Decision::Respond(response) => {
            assert_eq!(found(&response), (405, Some("method_not_allowed")))
        }
        Decision::Forward(_) => panic!("forwarded"),
    }
    let gate = route("scopes = [\"write\"]");
    gate.refuses(
        "scopes",
        &token(&gate, json!({})),
        (403, "insufficient_scope"),
    );
    let gate = route("any_scopes = [\"write\"]");
    gate.refuses(
        "any_scopes",
        &token(&gate, json!({})),
        (403, "insufficient_scope"),
    );
    let gate = route("claims = [{ claim = \"sub\", equals = \"bob\" }]");
    gate.refuses(
        "claims",
        &token(&gate, json!({})),
        (403, "insufficient_claims"),
    );
    gate.passes("claims", &token(&gate, json!({ "sub": "bob" })));
    let expected = (401, "insufficient_user_authentication");
    let gate = route("acr_values = [\"mfa\"]");
    gate.refuses("acr_values", &token(&gate, json!({})), expected);
    let gate = route("max_age_seconds = 10");
    gate.refuses("max_age_seconds", &token(&gate, json!({})), expected);
}

#[test]
fn a_resource_says_whose_tokens_it_wants() {
    let keys = format!(
        "{audience}
         scopes = [\"read\"]
         resource = \"https://app.example/api\"
         resource_name = \"Invoices\"
         [[routes]]
         path = \"/api/write/*\"
         access = \"token\"
         issuer = \"op\"
         upstream = \"api\"
         {audience}
         scopes = [\"read\"]
         any_scopes = [\"write\", \"admin\"]
         resource = \"https://app.example/api\"
         [[routes]]
         path = \"/plain/*\"
         access = \"token\"
         issuer = \"op\"
         upstream = \"api\"
         {audience}
         [[routes]]
         path = \"/*\"
         access = \"public\"
         upstream = \"api\"",
        audience = audience(API)
    );
    let gate = Gate::new(OP, "", &keys);
    let respond = |head: &Parts| match gate.decide(head) {
        Decision::Respond(response) => response,
        Decision::Forward(_) => panic!("forwarded"),
    };
    let url = "/.well-known/oauth-protected-resource/api";
    let response = respond(&get(url, &[("origin", "https://client.example")]));
    assert_eq!(response.status(), 200);
    let document: Value = serde_json::from_slice(response.body()).expect("json");
    let expected = json!({
        "resource": "https://app.example/api",
        "authorization_servers": [OP],
        "scopes_supported": ["read", "write", "admin"],
        "bearer_methods_supported": ["header"],
        "resource_name": "Invoices",
    });
    assert_eq!(document, expected);
    let header = |response: &Response<Bytes>, name: &str| {
        let value = response.headers().get(name);
        value.map(|value| value.to_str().expect("text").to_owned())
    };
    assert_eq!(
        header(&response, "access-control-allow-origin").as_deref(),
        Some("*")
    );
    let length = response.body().len().to_string();
    assert_eq!(header(&response, "content-length"), Some(length));
    assert_eq!(header(&response, "set-cookie"), None);

    let preflight = |method: &str| {
        let request = Request::builder().method(method).uri(url);
        respond(&request.body(()).expect("request").into_parts().0)
    };
    let response = preflight("OPTIONS");
    assert_eq!(response.status(), 204);
    assert_eq!(
        header(&response, "access-control-allow-origin").as_deref(),
        Some("*")
    );
    assert_eq!(found(&preflight("POST")), (405, Some("method_not_allowed")));
    // Nobody routes what is not a resource, and a route for everything does not either.
    for other in [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/",
        "/.well-known/oauth-protected-resource/api/",
        "/.well-known/oauth-protected-resource/plain",
        "/.well-known/%6fauth-protected-resource/api",
    ] {
        assert_eq!(
            found(&respond(&get(other, &[]))),
            (404, Some("no_route")),
            "{other}"
        );
    }

    // Challenges point there, of whatever kind, and only where there is something to point at.
    let pointer =
        "resource_metadata=\"https://app.example/.well-known/oauth-protected-resource/api\"";
    for (path, headers) in [
        ("/api/x", vec![]),
        ("/api/write/x", vec![]),
        ("/api/x", vec![("authorization", "Bearer nonsense")]),
        ("/api/x", vec![("authorization", "Bearer a b")]),
    ] {
        let response = respond(&get(path, &headers));
        let challenge = challenge(&response);
        assert!(
            challenge.ends_with(&format!(", {pointer}")),
            "{path} {challenge}"
        );
        let exposed = header(&response, "access-control-expose-headers");
        assert_eq!(exposed.as_deref(), Some("WWW-Authenticate"), "{path}");
    }
    let lacking = bearer(&token(&gate, json!({ "scope": "other" })));
    let response = respond(&get("/api/x", &[("authorization", &lacking)]));
    assert_eq!(found(&response), (403, Some("insufficient_scope")));
    assert!(challenge(&response).contains(pointer));
    let response = respond(&get("/plain/x", &[]));
    assert_eq!(challenge(&response), "Bearer realm=\"airside\"");
    assert_eq!(header(&response, "access-control-expose-headers"), None);
}
