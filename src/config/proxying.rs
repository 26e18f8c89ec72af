//! How requests are passed on: the keys of routes and upstreams about paths, bodies, CORS and
//! the names of identity headers.

use http::{HeaderName, HeaderValue, Method};

use crate::config::Upstream;
use crate::config::read::Table;
use crate::policy::proxying::{Cors, Origins, Preflight, Proxying};
use crate::time::Lifetime;
use crate::url::{Origin, PathPattern};

/// What a header tells the upstream about the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// `client_id` of the access token.
    ClientId,
    /// The person's e-mail address, if the provider verified it.
    Email,
    /// `iss`.
    Issuer,
    /// The person's name.
    Name,
    /// `scope` of the access token.
    Scope,
    /// `sub`.
    Subject,
    /// Whether a person or a program calls.
    SubjectType,
}

/// Key and default name of each, in the order of [`Identity`].
const IDENTITY: [(&str, &str); 7] = [
    ("client_id", "x-forwarded-client-id"),
    ("email", "x-forwarded-email"),
    ("issuer", "x-forwarded-issuer"),
    ("name", "x-forwarded-name"),
    ("scope", "x-forwarded-scope"),
    ("subject", "x-forwarded-sub"),
    ("subject_type", "x-forwarded-subject-type"),
];

/// The names under which an upstream learns who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityHeaders([Option<HeaderName>; 7]);

impl Default for IdentityHeaders {
    fn default() -> Self {
        IdentityHeaders(IDENTITY.map(|(_, name)| Some(HeaderName::from_static(name))))
    }
}

impl IdentityHeaders {
    /// The name for `identity`; `None` when the upstream is not told.
    pub fn name(&self, identity: Identity) -> Option<&HeaderName> {
        self.0.get(identity as usize)?.as_ref()
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().flatten()
    }
}

/// `identity_headers` of an upstream.
pub(super) fn identity_headers(table: &Table<'_, '_>) -> IdentityHeaders {
    let mut headers = IdentityHeaders::default();
    if table.get("identity_headers").is_none() {
        return headers;
    }
    let known = |member: &str| IDENTITY.iter().position(|(key, _)| *key == member);
    let unknown = "expected client_id, email, issuer, name, scope, subject or subject_type";
    let members = table.strings("identity_headers", |member| {
        known(member).is_none().then_some(unknown)
    });
    for (member, text) in members {
        let Some(place) = known(&member).and_then(|at| headers.0.get_mut(at)) else {
            continue;
        };
        // Nothing is no header.
        *place = None;
        if text.is_empty() {
            continue;
        }
        match HeaderName::try_from(text.as_str()) {
            Ok(name) if may_carry_identity(&name) => *place = Some(name),
            _ => table.problem(
                "identity_headers",
                format_args!("{member}: expected a header name that means nothing else"),
            ),
        }
    }
    let names: Vec<String> = headers.names().map(|name| folded(name.as_str())).collect();
    let twice = |(at, name)| names.iter().skip(at + 1).any(|other| other == name);
    if names.iter().enumerate().any(twice) {
        table.problem("identity_headers", "expected a name of its own for each");
    }
    headers
}

/// What an assertion to an upstream is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    /// `aud`.
    pub audience: String,
    /// Whether it is for one method and path only. It is then signed for each request.
    pub binding: bool,
}

/// `assertion` of an upstream, and what belongs to it.
pub(super) fn assertion(table: &Table<'_, '_>, origin: Option<&Origin>) -> Option<Assertion> {
    let on = table.flag("assertion");
    let audience = table.non_empty("assertion_audience", "the upstream's own identifier");
    let binding = table.flag("assertion_binding");
    for key in ["assertion_audience", "assertion_binding"] {
        if !on && table.get(key).is_some() {
            table.problem(key, "only with assertion = true");
        }
    }
    let audience = audience.or_else(|| Some(origin?.as_str().to_owned()));
    audience
        .filter(|_| on)
        .map(|audience| Assertion { audience, binding })
}

/// The folded names of all upstreams, each once. Those of the default begin like everything that
/// is stripped in any case, and are left out.
pub(super) fn identity_names(upstreams: &[(String, Option<Upstream>)]) -> Vec<String> {
    let all = upstreams
        .iter()
        .filter_map(|(_, upstream)| upstream.as_ref());
    let mut names: Vec<String> = Vec::new();
    for name in all.flat_map(|upstream| upstream.identity_headers.names()) {
        if name.as_str().starts_with("x-forwarded") {
            continue;
        }
        let name = folded(name.as_str());
        if !name.starts_with("x-forwarded")
            && let Err(place) = names.binary_search(&name)
        {
            names.insert(place, name);
        }
    }
    names
}

/// The name as CGI-like servers see it: they do not tell `_` from `-`.
fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// False for names that HTTP, the platform or airside use for something else.
fn may_carry_identity(name: &HeaderName) -> bool {
    let name = folded(name.as_str());
    let taken = [
        "accept",
        "access-control-",
        "airside-",
        "content-",
        "if-",
        "proxy-",
        "sec-",
        "spin-",
    ];
    !taken.iter().any(|prefix| name.starts_with(prefix))
        && !matches!(
            name.as_str(),
            "authorization"
                | "cache-control"
                | "connection"
                | "cookie"
                | "date"
                | "expect"
                | "forwarded"
                | "host"
                | "keep-alive"
                | "origin"
                | "range"
                | "referer"
                | "te"
                | "trailer"
                | "transfer-encoding"
                | "upgrade"
                | "user-agent"
                | "via"
                | "x-forwarded-for"
                | "x-forwarded-host"
                | "x-forwarded-proto"
        )
}

/// The keys of a route.
pub(super) fn route(table: &Table<'_, '_>, path: Option<&PathPattern>) -> Proxying {
    const LARGEST: u64 = 1 << 40;
    let expected = "a path such as /v2/* (with /* exactly when `path` has it)";
    let upstream_path: Option<PathPattern> = table.parsed("upstream_path", expected);
    if let (Some(to), Some(from)) = (&upstream_path, path)
        && to.prefix != from.prefix
    {
        table.problem("upstream_path", format_args!("expected {expected}"));
    }
    let limited = table.get("max_body_bytes").is_some();
    let max_body_bytes = table.number("max_body_bytes", 0..LARGEST, 0);
    Proxying {
        upstream_path,
        max_body_bytes: limited.then_some(max_body_bytes),
        cors: cors(table),
    }
}

fn cors(route: &Table<'_, '_>) -> Option<Cors> {
    let value = route.get("cors")?;
    let Some(inner) = value.get_ref().as_table() else {
        route.problem(
            "cors",
            "expected a table such as { origins = [\"https://spa.example\"] }",
        );
        return None;
    };
    let path = format!("{}.cors", route.path);
    let table = Table::new(path, value.span().start, inner, route.problems);
    if table.get("origins").is_none() {
        table.problem(
            "origins",
            "missing; expected origins such as \"https://spa.example\"",
        );
    }
    let listed: Vec<String> = table.list("origins", "origins", Vec::new);
    let any = listed.iter().any(|origin| origin == "*");
    let credentials = table.flag("credentials");
    let origins = if any {
        // A page of anybody would act as the person whose cookie goes with its requests.
        if credentials {
            table.problem("origins", "expected no \"*\" with credentials = true");
        }
        if listed.len() > 1 {
            table.problem("origins", "expected nothing beside \"*\"");
        }
        Origins::Any
    } else {
        let expected = "origins such as https://spa.example, or \"*\" alone";
        Origins::List(table.list::<Origin>("origins", expected, Vec::new))
    };
    let methods = table
        .get("methods")
        .map(|_| table.list::<Method>("methods", "methods such as \"GET\"", Vec::new));
    let names = |key, default: &[&str]| -> Vec<HeaderName> {
        let default = || {
            default
                .iter()
                .filter_map(|name| name.parse().ok())
                .collect()
        };
        table.list(key, "header names", default)
    };
    let headers = names("headers", &["authorization", "content-type"]);
    let mut expose = names("expose_headers", &[]);
    // Without it a front end cannot read why it was refused.
    expose.insert(0, http::header::WWW_AUTHENTICATE);
    let max_age = table.number("max_age_seconds", 0..86_401, 600);
    let words = [("gate", Preflight::Gate), ("upstream", Preflight::Upstream)];
    let preflight = table.word("preflight", &words).unwrap_or(Preflight::Gate);
    table.finish();
    Some(Cors {
        origins,
        methods,
        headers: joined(&headers),
        expose: joined(&expose),
        credentials,
        max_age: Lifetime::from_secs(max_age),
        preflight,
    })
}

fn joined(names: &[HeaderName]) -> HeaderValue {
    let names: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
    HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static(""))
}
