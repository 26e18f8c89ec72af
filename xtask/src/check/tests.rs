//! The doctor on the files of the checkout and on broken copies of them.

use super::*;
use crate::workspace::Workspace;

fn files() -> (String, String) {
    let workspace = Workspace::find().unwrap();
    let read = |name: &str| fs::read_to_string(workspace.path(name)).unwrap();
    (read("airside.toml"), read("spin.toml"))
}

/// Each place that is found wrong, with whether it comes with lines to put there.
#[track_caller]
fn check(config: &str, manifest: &str, expected: &[(&str, bool)]) {
    let problems = judge(config, manifest);
    let found: Vec<_> = problems
        .iter()
        .map(|problem| (problem.place.as_str(), problem.add.is_some()))
        .collect();
    assert_eq!(found, expected, "{problems:#?}");
}

#[track_caller]
fn replaced(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "nothing to replace: {old}");
    text.replace(old, new)
}

#[test]
fn the_checkout_has_no_problem() {
    let (config, manifest) = files();
    check(&config, &manifest, &[]);
}

#[test]
fn another_issuer_is_missing_from_every_component_that_talks_to_it() {
    let (config, manifest) = files();
    let config = replaced(
        &config,
        "http://127.0.0.1:3001",
        "https://idp.example/tenant",
    );
    let hosts = |component| format!("spin.toml: [component.{component}] allowed_outbound_hosts");
    let places = ["login", "callback", "logout", "tokens", "authorize"].map(hosts);
    let expected: Vec<_> = places.iter().map(|place| (place.as_str(), true)).collect();
    check(&config, &manifest, &expected);
    let mended = replaced(&manifest, "http://127.0.0.1:3001", "https://idp.example");
    check(&config, &mended, &[]);
}

#[test]
fn the_lines_to_put_keep_what_was_allowed() {
    let (config, manifest) = files();
    let config = replaced(&config, "http://127.0.0.1:3002", "https://api.internal");
    let problems = judge(&config, &manifest);
    let [problem] = problems.as_slice() else {
        panic!("{problems:#?}")
    };
    assert_eq!(
        problem.add.as_deref(),
        Some(
            "allowed_outbound_hosts = [\"http://127.0.0.1:3001\", \"http://127.0.0.1:3002\", \
             \"http://tokens.spin.internal\", \"https://api.internal\"]"
        )
    );
}

#[test]
fn a_variable_is_needed_where_it_is_read_and_declared() {
    let (config, manifest) = files();
    let config = replaced(&config, "\"client_secret\"", "\"idp_secret\"");
    check(
        &config,
        &manifest,
        &[
            ("spin.toml: [component.callback] variables", true),
            ("spin.toml: [component.tokens] variables", true),
            ("spin.toml: [variables]", true),
        ],
    );
}

#[test]
fn the_gate_must_not_be_granted_the_client_secret_under_any_name() {
    let (config, manifest) = files();
    let grant = "[component.authorize.variables]\n";
    for line in [
        "client_secret = \"{{client_secret}}\"\n",
        "other = \"x{{ client_secret }}\"\n",
    ] {
        let manifest = replaced(&manifest, grant, &format!("{grant}{line}"));
        check(
            &config,
            &manifest,
            &[("spin.toml: [component.authorize] variables", false)],
        );
    }
    let manifest = replaced(
        &manifest,
        grant,
        &format!("{grant}other = \"client_secret\"\n"),
    );
    check(&config, &manifest, &[]);
}

#[test]
fn what_a_client_at_an_issuer_needs_is_needed_by_tokens_alone() {
    let (config, manifest) = files();
    let config = replaced(
        &config,
        "[issuers.demo]\n",
        "[issuers.demo]\nintrospection = true\nclient_id = \"gate\"\n\
         introspection_endpoint = \"https://introspection.example/i\"\n\
         endpoint_origins = [\"https://token.example\"]\n\
         client_authentication = \"client_secret_basic\"\n\
         client_secret_variable = \"gate_secret\"\n",
    );
    check(
        &config,
        &manifest,
        &[
            ("spin.toml: [component.tokens] allowed_outbound_hosts", true),
            ("spin.toml: [component.tokens] variables", true),
            ("spin.toml: [variables]", true),
        ],
    );
    let hosts = judge(&config, &manifest).remove(0).to_string();
    for origin in ["https://introspection.example", "https://token.example"] {
        assert!(hosts.contains(origin), "{hosts}");
    }
    let grant = |component: &str| {
        let table = format!("[component.{component}.variables]\n");
        let line = format!("{table}gate_secret = \"{{{{ gate_secret }}}}\"\n");
        replaced(&manifest, &table, &line)
    };
    for (component, place) in [
        ("authorize", "spin.toml: [component.authorize] variables"),
        ("callback", "spin.toml: [component.callback] variables"),
    ] {
        let granted = judge(&config, &grant(component));
        let refused = |problem: &&Problem| problem.place == place && problem.add.is_none();
        assert_eq!(granted.iter().filter(refused).count(), 1, "{granted:#?}");
    }
}

#[test]
fn a_private_key_of_a_client_is_granted_where_it_signs_and_where_it_is_published() {
    let (config, manifest) = files();
    let at_provider = replaced(
        &config,
        "client_authentication = \"client_secret_basic\" # or client_secret_post, or none\n\
         client_secret_variable = \"client_secret\"\n",
        "client_authentication = \"private_key_jwt\"\nclient_key_variable = \"client_key\"\n",
    );
    let at_issuer = replaced(
        &config,
        "[issuers.demo]\n",
        "[issuers.demo]\nclient_id = \"gate\"\n\
         client_authentication = \"private_key_jwt\"\nclient_key_variable = \"client_key\"\n",
    );
    for config in [&at_provider, &at_issuer] {
        check(
            config,
            &manifest,
            &[
                ("spin.toml: [component.callback] variables", true),
                ("spin.toml: [component.tokens] variables", true),
                ("spin.toml: [variables]", true),
            ],
        );
    }
}

#[test]
fn an_issuer_whose_opaque_tokens_cannot_be_asked_about_is_refused() {
    let (config, manifest) = files();
    let config = replaced(
        &config,
        "[issuers.demo]\nissuer = \"http://127.0.0.1:3001\"",
        "[issuers.demo]\nissuer = \"https://accounts.google.com\"\nintrospection = true\n\
         client_id = \"gate\"\nclient_authentication = \"client_secret_basic\"\n\
         client_secret_variable = \"client_secret\"",
    );
    let places: Vec<_> = judge(&config, &manifest)
        .into_iter()
        .map(|problem| problem.place)
        .filter(|place| place.starts_with("airside.toml"))
        .collect();
    let line = 1 + config.lines().take_while(|l| !l.contains("google")).count();
    assert_eq!(
        places,
        [format!("airside.toml, line {line}: issuers.demo.issuer")]
    );
}

#[test]
fn tokens_stays_private_and_every_route_leads_somewhere() {
    let (config, manifest) = files();
    let public = replaced(&manifest, "{ private = true }", "\"/tokens\"");
    check(&config, &public, &[("spin.toml: [[trigger.http]]", false)]);
    let moved = replaced(&manifest, "\"/auth/session\"", "\"/session\"");
    check(&config, &moved, &[("spin.toml: [[trigger.http]]", true)]);
}

#[test]
fn unreadable_files_are_both_named() {
    let problems = judge("public_url = ", "component = ");
    let mut files: Vec<_> = problems
        .iter()
        .filter_map(|problem| problem.place.split([',', ':']).next())
        .collect();
    files.dedup();
    assert_eq!(files, ["airside.toml", "spin.toml"]);
}

#[test]
fn problems_of_both_files_are_listed_in_one_run() {
    let (config, manifest) = files();
    let config = replaced(&config, "idle_seconds", "idel_seconds");
    let config = replaced(&config, "access = \"login\"", "access = \"logged-in\"");
    let config = replaced(&config, "http://127.0.0.1:3002", "ftp://127.0.0.1");
    let manifest = replaced(&manifest, "\"/auth/session\"", "\"/session\"");
    let problems = judge(&config, &manifest);
    let keys: Vec<_> = problems
        .iter()
        .filter_map(|problem| problem.place.rsplit(' ').next())
        .collect();
    assert_eq!(
        keys,
        [
            "session.idel_seconds",
            "upstreams.invoices.url",
            "routes[3].access",
            "[[trigger.http]]"
        ]
    );
}

#[test]
fn keys_of_assertions_are_for_the_gate_alone_and_needed_only_where_an_upstream_gets_some() {
    let (config, manifest) = files();
    let grant = "assertion_keys = \"{{ assertion_keys }}\"\n";
    let declared = "assertion_keys = { default = \"\", secret = true }\n";
    let without = replaced(&replaced(&manifest, grant, ""), declared, "");
    check(&config, &without, &[]);
    let upstream = "[upstreams.invoices]\n";
    let config = replaced(&config, upstream, &format!("{upstream}assertion = true\n"));
    check(&config, &manifest, &[]);
    let gate = ("spin.toml: [component.authorize] variables", true);
    check(&config, &without, &[gate, ("spin.toml: [variables]", true)]);
    let session = "[component.session.variables]\n";
    let leaked = replaced(&manifest, session, &format!("{session}{grant}"));
    let place = ("spin.toml: [component.session] variables", false);
    check(&config, &leaked, &[place]);
}

#[test]
fn where_the_store_has_no_counters_tokens_is_left_out_and_what_needs_it_is_named() {
    let (config, manifest) = files();
    let on = |platform: &str| {
        replaced(
            &config,
            "[session]\n",
            &format!("platform = \"{platform}\"\n[session]\n"),
        )
    };
    let without: String = {
        let (before, rest) = manifest
            .split_once("[[trigger.http]]\nroute = { private = true }")
            .unwrap();
        let (_, after) = rest.split_once("# --- The boarding gate").unwrap();
        let origin = "\"http://tokens.spin.internal\"";
        format!("{before}# --- The boarding gate{after}")
            .replace(&format!(", {origin}"), "")
            .replace(&format!("    {origin},\n"), "")
    };
    for platform in ["akamai", "fermyon"] {
        let config = on(platform);
        check(&config, &without, &[]);
        check(
            &config,
            &manifest,
            &[("spin.toml: [component.tokens]", false)],
        );
        let wanting = replaced(&config, "idle_seconds", "spill = true\nidle_seconds");
        let problems = judge(&wanting, &without);
        let [problem] = problems.as_slice() else {
            panic!("{problems:#?}")
        };
        assert!(problem.place.ends_with(": session.spill"), "{problem}");
    }
    for platform in ["spin", "spinkube"] {
        check(&on(platform), &manifest, &[]);
        let missing = judge(&on(platform), &without);
        let text = "the component is missing";
        assert!(
            missing.iter().any(|problem| problem.text == text),
            "{missing:#?}"
        );
    }
}

#[test]
fn a_route_that_nobody_who_signs_in_can_pass_is_warned_of() {
    let (config, manifest) = files();
    let with = |provider: &str, route: &str| {
        let config = replaced(
            &config,
            "[providers.demo]\n",
            &format!("[providers.demo]\nacr_values = [{provider}]\n"),
        );
        let config = format!(
            "{config}\n[[routes]]\npath = \"/safe/*\"\naccess = \"login\"\nupstream = \"invoices\"\n\
             acr_values = [{route}]\n[[routes]]\npath = \"/api/safe\"\naccess = \"token\"\n\
             issuer = \"demo\"\naudience = \"https://api.example.com/safe\"\nupstream = \"invoices\"\n\
             acr_values = [{route}]\n"
        );
        check(&config, &manifest, &[]);
        let places = warned(&config).into_iter().map(|warning| warning.place);
        places.collect::<Vec<_>>()
    };
    let both = [
        "airside.toml: acr_values of /safe/*",
        "airside.toml: acr_values of /api/safe",
    ];
    assert_eq!(with("\"silver\"", "\"gold\""), both);
    assert_eq!(with("\"silver\", \"bronze\"", "\"gold\", \"Silver\""), both);
    for (provider, route) in [
        ("\"silver\", \"gold\"", "\"gold\""),
        ("\"gold\"", "\"silver\", \"gold\""),
        ("", "\"gold\""),
        ("\"gold\"", ""),
    ] {
        assert_eq!(with(provider, route), [""; 0], "{provider} {route}");
    }
    // Tokens of another issuer are not of people who sign in there.
    let config = replaced(
        &config,
        "[providers.demo]\n",
        "[providers.demo]\nacr_values = [\"silver\"]\n",
    );
    let other = format!(
        "{config}\n[issuers.other]\nissuer = \"https://other.example\"\n[[routes]]\npath = \"/api/safe\"\n\
         access = \"token\"\nissuer = \"other\"\naudience = \"x\"\nupstream = \"invoices\"\nacr_values = [\"gold\"]\n"
    );
    assert_eq!(warned(&other), []);
}
