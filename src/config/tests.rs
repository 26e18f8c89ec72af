use super::*;
use std::fs;
use std::path::{Path, PathBuf};

use crate::oauth::access_token::{AudienceClaim, ScopeClaim, TokenShape};
use crate::policy::Access;

/// The files of `testdata/config/<folder>` that end in `.toml`.
fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata/config")
        .join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("folder")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "toml"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn each_bad_file_has_exactly_the_problems_written_beside_it() {
    let mut wrong = Vec::new();
    for path in files("bad") {
        let text = fs::read_to_string(&path).expect("file");
        let found = match Config::parse(&text) {
            Ok(_) => "accepted\n".to_owned(),
            Err(problems) => problems
                .iter()
                .map(|problem| format!("{problem}\n"))
                .collect(),
        };
        let golden = path.with_extension("err");
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if found != expected {
            wrong.push(format!("{}:\n{found}", golden.display()));
        }
    }
    assert!(wrong.is_empty(), "found:\n{}", wrong.join("\n"));
}

#[test]
fn each_good_file_is_accepted() {
    for path in files("good") {
        let text = fs::read_to_string(&path).expect("file");
        let problems = Config::parse(&text).err();
        assert_eq!(problems, None, "{}", path.display());
    }
}

#[test]
fn the_configuration_of_the_demo_is_accepted() {
    let config = Config::parse(include_str!("../../airside.toml"));
    let config = config.unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!(config.public_url.as_str(), "http://127.0.0.1:3000");
    assert!(config.dangers.is_empty());
    // The two checks never share an audience.
    for route in (0..config.routes.len()).filter_map(|index| config.route(index)) {
        if let Access::Token(rule) = &route.access {
            assert_eq!(config.client_id_in(&rule.audiences), None);
        }
    }
}

#[test]
fn what_is_not_said_has_the_safe_value() {
    let text = r#"
        public_url = "https://app.example.com"
        [providers.corp]
        issuer = "https://login.example.com"
        client_id = "web-app"
        client_authentication = "none"
        [issuers.corp]
        issuer = "https://login.example.com"
        [upstreams.site]
        url = "https://site.example.com"
        [[routes]]
        path = "/*"
        access = "login"
        upstream = "site"
    "#;
    let config = Config::parse(text).unwrap_or_else(|problems| panic!("{problems:?}"));
    let hours = |hours: u64| Lifetime::from_secs(hours * 3_600);
    assert_eq!(config.session.idle, hours(8));
    assert_eq!(config.session.absolute, hours(24));
    assert_eq!(config.session.max_chunks, 2);
    let provider = &config.providers[0];
    assert_eq!(provider.scopes, ["openid", "profile", "email"]);
    assert_eq!(provider.id_token_algorithms, Algorithm::DEFAULT);
    assert_eq!(provider.leeway, Leeway::DEFAULT);
    assert!(provider.additional_audiences.is_empty());
    assert!(!provider.refresh);
    assert_eq!(provider.pushed_authorization_requests, Push::WhenRequired);
    let issuer = &config.issuers[0];
    assert_eq!(issuer.algorithms, Algorithm::DEFAULT);
    assert_eq!(issuer.leeway, Leeway::DEFAULT);
    assert!(!issuer.danger_any_typ);
}

#[test]
fn what_is_said_arrives() {
    let text = include_str!("../../testdata/config/good/every-key.toml");
    let config = Config::parse(text).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!(config.session.idle, Lifetime::from_secs(900));
    assert_eq!(config.session.max_chunks, 4);
    let corp = config.provider("corp").expect("provider");
    let variable = "corp_secret".to_owned();
    let post = ClientAuthentication::ClientSecretPost { variable };
    assert_eq!(corp.client_authentication, post);
    assert!(corp.refresh && !corp.request.consent);
    assert_eq!(corp.pushed_authorization_requests, Push::Always);
    let keyed = config.provider("keyed").expect("provider");
    let key = ClientAuthentication::PrivateKeyJwt {
        variable: "client_key".to_owned(),
        algorithm: Algorithm::EdDsa,
        audience: AssertionAudience::TokenEndpoint,
    };
    assert_eq!(keyed.client_authentication, key);
    assert_eq!(corp.id_token_hint, IdTokenHint::Never);
    assert_eq!(corp.leeway, Leeway::from_secs(0));
    assert_eq!(corp.id_token_algorithms, [Algorithm::Es256]);
    assert_eq!(config.issuers[0].leeway, Leeway::from_secs(300));
    let shape = TokenShape {
        client_id: vec!["azp"],
        required: vec![("tenant".to_owned(), "example".to_owned())],
        scope: ScopeClaim::Scp,
        ..TokenShape::default()
    };
    assert_eq!(config.issuers[0].shape, shape);
    assert_eq!(config.issuers[1].shape.audience, AudienceClaim::ClientId);
    let upstream = &config.upstreams[0];
    assert_eq!(upstream.origin.as_str(), "http://api.internal:8080");
    assert_eq!(upstream.first_byte_timeout, Lifetime::from_secs(3_600));
    let dangers = [
        "session.danger_skip_revocation",
        "issuers.corp.danger_any_typ",
        "upstreams.api.danger_plaintext",
        "upstreams.api.danger_plaintext_credential",
    ];
    assert_eq!(config.dangers, dangers);
    match &config.route(0).expect("route").access {
        Access::Token(rule) => assert_eq!(rule.scopes, ["read", "write"]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn clients_at_issuers_and_credentials_arrive() {
    let text = include_str!("../../testdata/config/good/every-key.toml");
    let config = Config::parse(text).unwrap_or_else(|problems| panic!("{problems:?}"));
    let variable = "gate_secret".to_owned();
    let client = IssuerClient {
        client_id: "gate".into(),
        client_authentication: ClientAuthentication::ClientSecretBasic { variable },
        introspection: Some(Introspection {
            endpoint: "https://login.example.com/tenant/introspect".parse().ok(),
            client_tokens: true,
        }),
        endpoint_origins: vec!["https://token.example.com".parse().expect("origin")],
    };
    assert_eq!(config.issuer_clients, [Some(client), None]);
    let credential = |name: &str| {
        let named = |upstream: &&Upstream| upstream.name == name;
        &config
            .upstreams
            .iter()
            .find(named)
            .expect("upstream")
            .credential
    };
    let grant = Grant {
        issuer: 0,
        scopes: vec!["write".into()],
        audience: Some("https://api.internal".into()),
        resource: vec!["urn:example:api".into()],
    };
    assert_eq!(*credential("api"), Credential::ClientCredentials(grant));
    let jwt = "urn:ietf:params:oauth:token-type:jwt".to_owned();
    let exchange = Credential::TokenExchange {
        grant: Grant {
            issuer: 0,
            scopes: Vec::new(),
            audience: None,
            resource: Vec::new(),
        },
        subject_token_type: jwt.clone(),
        requested_token_type: jwt,
    };
    assert_eq!(*credential("billing"), exchange);
    assert_eq!(*credential("reports"), Credential::AccessToken);
}

#[test]
fn a_credential_over_plain_http_to_another_machine_has_a_danger_key() {
    let danger = "danger_plaintext_credential = true\n";
    check("with it", danger, danger, &[]);
    check("without", danger, "", &["upstreams.api.credential"]);
    let text = include_str!("../../testdata/config/good/every-key.toml")
        .replace(danger, "")
        .replace("http://api.internal:8080", "http://127.0.0.1:8080");
    assert_eq!(Config::parse(&text).err(), None, "loopback");
}

/// A change to `every-key.toml`, and the keys that are then wrong (none: still accepted).
#[track_caller]
fn check(name: &str, from: &str, to: &str, expected: &[&str]) {
    let text = include_str!("../../testdata/config/good/every-key.toml");
    assert!(text.contains(from), "{name}");
    let problems = Config::parse(&text.replacen(from, to, 1)).err();
    let keys: Vec<String> = problems.into_iter().flatten().map(|p| p.key).collect();
    assert_eq!(keys, expected, "{name}");
}

#[test]
fn each_limit_has_a_nearest_accepted_value() {
    check(
        "longest leeway",
        "leeway_seconds = 300",
        "leeway_seconds = 300",
        &[],
    );
    let leeway = ["issuers.corp.leeway_seconds"];
    check(
        "too long",
        "leeway_seconds = 300",
        "leeway_seconds = 301",
        &leeway,
    );
    check("most chunks", "max_chunks = 4", "max_chunks = 8", &[]);
    check(
        "too many",
        "max_chunks = 4",
        "max_chunks = 9",
        &["session.max_chunks"],
    );
    check(
        "none",
        "max_chunks = 4",
        "max_chunks = 0",
        &["session.max_chunks"],
    );
    check(
        "idle as absolute",
        "idle_seconds = 900",
        "idle_seconds = 3_600",
        &[],
    );
    let idle = ["session.idle_seconds"];
    check(
        "idle longer",
        "idle_seconds = 900",
        "idle_seconds = 3_601",
        &idle,
    );
    check(
        "idle shortest",
        "idle_seconds = 900",
        "idle_seconds = 60",
        &[],
    );
    check(
        "idle too short",
        "idle_seconds = 900",
        "idle_seconds = 59",
        &idle,
    );
    let from = "audience = \"https://api.example.com\"\nscopes";
    let other = "audience = \"web-app2\"\nscopes";
    check("another audience", from, other, &[]);
    let client = "audience = \"web-app\"\nscopes";
    check("a client_id", from, client, &["routes[0].audience"]);
    let second = "audience = \"spa\"\nscopes";
    check("another client_id", from, second, &["routes[0].audience"]);
    let url = ["upstreams.api.url"];
    check(
        "plain http without the switch",
        "danger_plaintext = true\n",
        "",
        &url,
    );
    let https = "url = \"https://api.internal:8080\"";
    check("https", "url = \"http://api.internal:8080\"", https, &[]);
}

#[test]
fn client_assertions_are_for_the_issuer_by_es256_unless_the_preset_says() {
    let audience = |preset: &str, issuer: &str| {
        let text = format!(
            r#"
            public_url = "https://app.example.com"
            [providers.corp]
            {preset}
            issuer = "{issuer}"
            client_id = "web-app"
            client_authentication = "private_key_jwt"
            client_key_variable = "client_key"
            [upstreams.site]
            url = "https://site.example.com"
            [[routes]]
            path = "/*"
            access = "login"
            upstream = "site"
        "#
        );
        let config = Config::parse(&text).unwrap_or_else(|problems| panic!("{problems:?}"));
        match &config.providers[0].client_authentication {
            ClientAuthentication::PrivateKeyJwt {
                algorithm: Algorithm::Es256,
                audience,
                ..
            } => *audience,
            other => panic!("{other:?}"),
        }
    };
    let issuer = "https://login.example.com";
    assert_eq!(audience("", issuer), AssertionAudience::Issuer);
    let okta = audience("preset = \"okta\"", "https://acme.okta.com");
    assert_eq!(okta, AssertionAudience::TokenEndpoint);
}

#[test]
fn refresh_tokens_are_asked_for_as_each_provider_wants_it() {
    let text = include_str!("../../testdata/config/good/presets.toml");
    let text = text.replace("client_id = \"c\"\n", "client_id = \"c\"\nrefresh = true\n");
    let config = Config::parse(&text).unwrap_or_else(|problems| panic!("{problems:?}"));
    for (name, scope, access_type, consent) in [
        ("auth0", true, false, false),
        ("cognito", false, false, false),
        ("entra", true, false, false),
        ("google", false, true, true),
        ("keycloak", false, false, false),
        ("logto", true, false, true),
        ("okta", true, false, false),
    ] {
        let provider = config.provider(name).expect("provider");
        let has_scope = provider
            .scopes
            .iter()
            .any(|scope| scope == "offline_access");
        let offline = ("access_type".to_owned(), "offline".to_owned());
        let has_parameter = provider.request.extra.contains(&offline);
        let found = (has_scope, has_parameter, provider.request.consent);
        assert_eq!(found, (scope, access_type, consent), "{name}");
        assert!(provider.refresh, "{name}");
    }
}

#[test]
fn each_setting_of_proxying_has_a_nearest_accepted_value() {
    let path = "upstream_path = \"/v2/*\"";
    check("a strip", path, "upstream_path = \"/*\"", &[]);
    let wrong = ["routes[0].upstream_path"];
    check("no prefix", path, "upstream_path = \"/v2\"", &wrong);
    let cors = "cors = { origins = [\"https://spa.example\"]";
    let any = "cors = { origins = [\"*\"]";
    let loopback = "cors = { origins = [\"http://localhost:5173\"]";
    check("a development origin", cors, loopback, &[]);
    check(
        "any origin with credentials",
        cors,
        any,
        &["routes[0].cors.origins"],
    );
    let credentials = "[\"https://spa.example\"], methods = [\"GET\"], headers = [\"authorization\"], expose_headers = [\"x-total\"], credentials = true";
    check(
        "any without",
        credentials,
        "[\"*\"], credentials = false",
        &[],
    );
    let subject = "subject = \"x-user-id\"";
    check("a name of its own", subject, "subject = \"x-user_id\"", &[]);
    let names = ["upstreams.api.identity_headers"];
    check(
        "a taken name",
        subject,
        "subject = \"x_forwarded_for\"",
        &names,
    );
    check(
        "the same name",
        subject,
        "subject = \"X_User-Issuer\"",
        &names,
    );
}
