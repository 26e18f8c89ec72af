//! Walks the TOML document and collects every problem with its line.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::{
    ClientAuthentication, Config, IdTokenHint, Problem, Provider, TokenIssuer, Upstream, routes,
};
use crate::jose::Algorithm;
use crate::policy::Matcher;
use crate::session::SessionLimits;
use crate::session::cookie::MAX_CHUNKS;
use crate::time::{Leeway, Lifetime};
use crate::url::{Issuer, Origin};

/// Everything wrong so far.
pub(super) struct Problems<'t> {
    text: &'t str,
    found: RefCell<Vec<Problem>>,
}

impl Problems<'_> {
    pub(super) fn add(&self, at: usize, key: impl Into<String>, expected: impl Display) {
        let before = self
            .text
            .as_bytes()
            .get(..at)
            .unwrap_or(self.text.as_bytes());
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let problem = Problem {
            line,
            key: key.into(),
            expected: expected.to_string(),
        };
        self.found.borrow_mut().push(problem);
    }
}

/// One table of the document, with the keys that were asked for.
pub(super) struct Table<'d, 't> {
    pub(super) path: String,
    pub(super) start: usize,
    table: &'d DeTable<'t>,
    asked: RefCell<BTreeSet<&'static str>>,
    pub(super) problems: &'d Problems<'t>,
}

impl<'d, 't> Table<'d, 't> {
    fn new(path: String, start: usize, table: &'d DeTable<'t>, problems: &'d Problems<'t>) -> Self {
        Table {
            path,
            start,
            table,
            asked: RefCell::default(),
            problems,
        }
    }

    fn key(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    pub(super) fn get(&self, name: &'static str) -> Option<&'d Spanned<DeValue<'t>>> {
        self.asked.borrow_mut().insert(name);
        self.table.get(name)
    }

    /// Where `name` stands, or else the table.
    pub(super) fn place(&self, name: &str) -> usize {
        self.table
            .get(name)
            .map_or(self.start, |value| value.span().start)
    }

    pub(super) fn problem(&self, name: &str, expected: impl Display) {
        self.problems
            .add(self.place(name), self.key(name), expected);
    }

    /// A string that parses, if the key is there.
    pub(super) fn parsed<T: FromStr>(&self, name: &'static str, expected: &str) -> Option<T>
    where
        T::Err: Display,
    {
        let Some(text) = self.get(name)?.get_ref().as_str() else {
            self.problem(name, format_args!("expected {expected}"));
            return None;
        };
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(name, format_args!("expected {expected}: {error}"));
                None
            }
        }
    }

    pub(super) fn required<T: FromStr>(&self, name: &'static str, expected: &str) -> Option<T>
    where
        T::Err: Display,
    {
        if self.get(name).is_none() {
            self.problem(name, format_args!("missing; expected {expected}"));
        }
        self.parsed(name, expected)
    }

    fn non_empty(&self, name: &'static str, expected: &str) -> Option<String> {
        let text: String = self.parsed(name, expected)?;
        if text.is_empty() || text.trim() != text || text.chars().any(char::is_control) {
            self.problem(
                name,
                format_args!("expected {expected}, not empty and without spaces around it"),
            );
            return None;
        }
        Some(text)
    }

    pub(super) fn required_text(&self, name: &'static str, expected: &str) -> Option<String> {
        if self.get(name).is_none() {
            self.problem(name, format_args!("missing; expected {expected}"));
        }
        self.non_empty(name, expected)
    }

    /// A list of strings; absent is the default.
    pub(super) fn list<T: FromStr>(
        &self,
        name: &'static str,
        expected: &str,
        default: impl FnOnce() -> Vec<T>,
    ) -> Vec<T>
    where
        T::Err: Display,
    {
        let Some(value) = self.get(name) else {
            return default();
        };
        let Some(items) = value.get_ref().as_array() else {
            self.problem(name, format_args!("expected a list of {expected}"));
            return Vec::new();
        };
        let mut list = Vec::new();
        for item in items {
            match item.get_ref().as_str().map(str::parse::<T>) {
                Some(Ok(value)) => list.push(value),
                _ => self.problems.add(
                    item.span().start,
                    self.key(name),
                    format_args!("expected a list of {expected}"),
                ),
            }
        }
        list
    }

    fn number(&self, name: &'static str, range: Range<u64>, default: u64) -> u64 {
        let Some(value) = self.get(name) else {
            return default;
        };
        let number = value
            .get_ref()
            .as_integer()
            .and_then(|integer| u64::from_str_radix(integer.as_str(), integer.radix()).ok());
        match number {
            Some(number) if range.contains(&number) => number,
            _ => {
                let end = range.end.saturating_sub(1);
                self.problem(
                    name,
                    format_args!("expected a whole number from {} to {end}", range.start),
                );
                default
            }
        }
    }

    fn danger(&self, name: &'static str, dangers: &mut Vec<String>) -> bool {
        let Some(value) = self.get(name) else {
            return false;
        };
        match value.get_ref().as_bool() {
            Some(true) => {
                dangers.push(self.key(name));
                true
            }
            Some(false) => false,
            None => {
                self.problem(name, "expected true or false");
                false
            }
        }
    }

    /// Reports what nobody asked for.
    pub(super) fn finish(&self) {
        let asked = self.asked.borrow();
        for (name, _) in self.table.iter() {
            let known = name.get_ref().as_ref();
            if !asked.contains(known) {
                let names: Vec<&str> = asked.iter().copied().collect();
                self.problems.add(
                    name.span().start,
                    self.key(known),
                    format_args!("unknown key; known here: {}", names.join(", ")),
                );
            }
        }
    }

    /// The named tables below `name`, each with its name, in the order of their names.
    fn named(&self, name: &'static str) -> Vec<(String, Table<'d, 't>)> {
        let Some(value) = self.get(name) else {
            return Vec::new();
        };
        let Some(table) = value.get_ref().as_table() else {
            self.problem(name, format_args!("expected tables [{name}.<name>]"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (key, value) in table.iter() {
            let entry = key.get_ref().to_string();
            let path = format!("{name}.{entry}");
            let fits = !entry.is_empty()
                && entry.len() <= 32
                && entry.bytes().all(|b| {
                    b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_'
                });
            if !fits {
                self.problems.add(
                    key.span().start,
                    path.clone(),
                    "expected a name of a-z, 0-9, - and _, at most 32 long",
                );
            }
            match value.get_ref().as_table() {
                Some(inner) => {
                    // A table's span is that of its header; a key's is better to point at.
                    let table = Table::new(path, key.span().start, inner, self.problems);
                    tables.push((entry, table));
                }
                None => self
                    .problems
                    .add(key.span().start, path, "expected a table"),
            }
        }
        tables
    }

    /// The entries of the list of tables `name`.
    pub(super) fn tables(&self, name: &'static str) -> Vec<Table<'d, 't>> {
        let Some(value) = self.get(name) else {
            return Vec::new();
        };
        let Some(items) = value.get_ref().as_array() else {
            self.problem(name, format_args!("expected [[{name}]]"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match item.get_ref().as_table() {
                Some(table) => tables.push(Table::new(
                    format!("{name}[{index}]"),
                    item.span().start,
                    table,
                    self.problems,
                )),
                None => self.problem(name, format_args!("expected [[{name}]]")),
            }
        }
        tables
    }
}

pub(super) fn config(text: &str) -> Result<Config, Vec<Problem>> {
    let problems = Problems {
        text,
        found: RefCell::default(),
    };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        problems.add(at, "airside.toml", error.message());
    }
    let root = Table::new(String::new(), 0, document.get_ref(), &problems);
    let mut dangers = Vec::new();

    let public_url: Option<Origin> =
        root.required("public_url", "an origin such as https://app.example.com");
    let session = session(&root);
    let providers: Vec<Provider> = root
        .named("providers")
        .iter()
        .filter_map(|(name, table)| provider(name, table))
        .collect();
    let issuers: Vec<(String, Option<TokenIssuer>)> = root
        .named("issuers")
        .into_iter()
        .map(|(name, table)| (name.clone(), issuer(name, &table, &mut dangers)))
        .collect();
    let upstreams: Vec<(String, Option<Upstream>)> = root
        .named("upstreams")
        .into_iter()
        .map(|(name, table)| (name.clone(), upstream(name, &table, &mut dangers)))
        .collect();
    let names = routes::Names {
        issuers: issuers.iter().map(|(name, _)| name.as_str()).collect(),
        upstreams: upstreams.iter().map(|(name, _)| name.as_str()).collect(),
        client_ids: providers
            .iter()
            .map(|provider| provider.client_id.as_str())
            .collect(),
        has_provider: root.get("providers").is_some(),
    };
    let routes = routes::routes(&root, &names);
    root.finish();

    let mut found = problems.found.into_inner();
    match (public_url, found.is_empty()) {
        (Some(public_url), true) => Ok(Config {
            public_url,
            session,
            providers,
            issuers: issuers
                .into_iter()
                .filter_map(|(_, issuer)| issuer)
                .collect(),
            upstreams: upstreams
                .into_iter()
                .filter_map(|(_, upstream)| upstream)
                .collect(),
            matcher: Matcher::new(&routes),
            routes,
            dangers,
        }),
        _ => {
            found.sort_by(|a, b| (a.line, &a.key).cmp(&(b.line, &b.key)));
            found.dedup();
            Err(found)
        }
    }
}

fn session(root: &Table<'_, '_>) -> SessionLimits {
    // Eight hours without a request and a day in all: a working day fits, a stolen laptop less so.
    const IDLE: u64 = 8 * 3_600;
    const ABSOLUTE: u64 = 24 * 3_600;
    const YEAR: u64 = 366 * 24 * 3_600;
    let mut limits = SessionLimits {
        idle: Lifetime::from_secs(IDLE),
        absolute: Lifetime::from_secs(ABSOLUTE),
        max_chunks: 2,
    };
    let Some(value) = root.get("session") else {
        return limits;
    };
    let Some(table) = value.get_ref().as_table() else {
        root.problem("session", "expected a table");
        return limits;
    };
    let table = Table::new(
        "session".to_owned(),
        value.span().start,
        table,
        root.problems,
    );
    limits.idle = Lifetime::from_secs(table.number("idle_seconds", 60..YEAR, IDLE));
    limits.absolute = Lifetime::from_secs(table.number("absolute_seconds", 60..YEAR, ABSOLUTE));
    limits.max_chunks = table.number("max_chunks", 1..MAX_CHUNKS as u64 + 1, 2) as usize;
    if limits.idle > limits.absolute {
        table.problem("idle_seconds", "expected at most absolute_seconds");
    }
    table.finish();
    limits
}

fn leeway(table: &Table<'_, '_>) -> Leeway {
    Leeway::from_secs(table.number("leeway_seconds", 0..301, 60))
}

fn algorithms(table: &Table<'_, '_>, name: &'static str) -> Vec<Algorithm> {
    let expected = "EdDSA, ES256, ES384, PS256 or RS256";
    let list = table.list(name, expected, || Algorithm::DEFAULT.to_vec());
    if table
        .get(name)
        .is_some_and(|value| value.get_ref().as_array().is_some_and(|a| a.is_empty()))
    {
        table.problem(name, "expected at least one algorithm");
    }
    list
}

fn provider(name: &str, table: &Table<'_, '_>) -> Option<Provider> {
    let issuer: Option<Issuer> = table.required(
        "issuer",
        "the provider's issuer, exactly as in its discovery document",
    );
    let client_id = table.required_text("client_id", "the client_id registered at the provider");
    let secret = table.non_empty("client_secret_variable", "the name of a Spin variable");
    let variable_expected =
        "missing; expected the name of the Spin variable that holds the client secret";
    let need = |variable: Option<String>| {
        if table.get("client_secret_variable").is_none() {
            table.problem("client_secret_variable", variable_expected);
        }
        variable
    };
    let method: Option<String> = table.required(
        "client_authentication",
        "client_secret_basic, client_secret_post or none",
    );
    let client_authentication = match method.as_deref() {
        Some("client_secret_basic") => {
            need(secret).map(|variable| ClientAuthentication::ClientSecretBasic { variable })
        }
        Some("client_secret_post") => {
            need(secret).map(|variable| ClientAuthentication::ClientSecretPost { variable })
        }
        Some("none") => {
            if table.get("client_secret_variable").is_some() {
                table.problem(
                    "client_secret_variable",
                    "not used with client_authentication = \"none\"",
                );
            }
            Some(ClientAuthentication::None)
        }
        Some(_) => {
            table.problem(
                "client_authentication",
                "expected client_secret_basic, client_secret_post or none",
            );
            None
        }
        None => None,
    };
    let scope_list = || {
        vec![
            "openid".to_owned(),
            "profile".to_owned(),
            "email".to_owned(),
        ]
    };
    let scopes: Vec<String> = table.list("scopes", "scope names", scope_list);
    if !scopes.iter().any(|scope| scope == "openid") {
        table.problem(
            "scopes",
            "expected \"openid\" among them: without it there is no ID token",
        );
    }
    if !scopes.iter().all(|scope| is_scope(scope)) {
        table.problem(
            "scopes",
            "expected scope names without spaces, quotes or backslashes",
        );
    }
    let audience = table.non_empty("audience", "the API's identifier");
    let resource: Vec<String> = table.list("resource", "absolute URIs (RFC 8707)", Vec::new);
    if resource
        .iter()
        .any(|uri| uri.contains('#') || !uri.contains(':'))
    {
        table.problem(
            "resource",
            "expected absolute URIs without fragment (RFC 8707)",
        );
    }
    let id_token_algorithms = algorithms(table, "id_token_algorithms");
    let additional_audiences = table.list("additional_audiences", "audiences", Vec::new);
    let claims = table.list("claims", "claim names", || {
        ["name", "email", "email_verified", "preferred_username"]
            .map(str::to_owned)
            .to_vec()
    });
    let leeway = leeway(table);
    let hint: Option<String> = table.parsed("id_token_hint", "\"always\" or \"never\"");
    let id_token_hint = match hint.as_deref() {
        None | Some("always") => IdTokenHint::Always,
        Some("never") => IdTokenHint::Never,
        Some(_) => {
            table.problem("id_token_hint", "expected \"always\" or \"never\"");
            IdTokenHint::Never
        }
    };
    table.finish();
    Some(Provider {
        name: name.to_owned(),
        issuer: issuer?,
        client_id: client_id?,
        client_authentication: client_authentication?,
        scopes,
        audience,
        resource,
        id_token_algorithms,
        additional_audiences,
        claims,
        leeway,
        id_token_hint,
    })
}

/// RFC 6749 section 3.3: `scope-token`.
pub(super) fn is_scope(scope: &str) -> bool {
    !scope.is_empty()
        && scope
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
}

fn issuer(name: String, table: &Table<'_, '_>, dangers: &mut Vec<String>) -> Option<TokenIssuer> {
    let issuer = table.required("issuer", "the issuer, exactly as in its access tokens");
    let algorithms = algorithms(table, "algorithms");
    let danger_any_typ = table.danger("danger_any_typ", dangers);
    let leeway = leeway(table);
    table.finish();
    Some(TokenIssuer {
        name,
        issuer: issuer?,
        algorithms,
        danger_any_typ,
        leeway,
    })
}

fn upstream(name: String, table: &Table<'_, '_>, dangers: &mut Vec<String>) -> Option<Upstream> {
    let plaintext = table.danger("danger_plaintext", dangers);
    let expected = "an origin such as https://invoices.internal.example";
    let text = table.required_text("url", expected);
    let origin = text.and_then(|text| {
        let parsed = if plaintext { Origin::parse_plaintext(&text) } else { text.parse() };
        parsed
            .map_err(|error| {
                table.problem(
                    "url",
                    format_args!("expected {expected}: {error}; plain http to another machine needs danger_plaintext = true"),
                );
            })
            .ok()
    });
    let seconds = |name, default| Lifetime::from_secs(table.number(name, 1..3_601, default));
    let connect_timeout = seconds("connect_timeout_seconds", 5);
    let first_byte_timeout = seconds("first_byte_timeout_seconds", 60);
    let between_bytes_timeout = seconds("between_bytes_timeout_seconds", 60);
    table.finish();
    Some(Upstream {
        name,
        origin: origin?,
        connect_timeout,
        first_byte_timeout,
        between_bytes_timeout,
    })
}
