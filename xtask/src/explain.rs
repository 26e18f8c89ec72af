//! `cargo xtask explain`: what the gate would do with one request, and why. It asks the
//! library's own gate, on ports that reach nothing: no fetch, no store, no secret of yours.

use std::fmt::Write as _;

use airside::config::Config;
use airside::endpoint::authorize::header_map;
use airside::endpoint::{Decision, Head, Instance, authorize};
use airside::jose::Jws;
use airside::policy::{Access, CheckedPath, Match, Route};
use airside::testing::{Idp, World, block_on, session};
use airside::time::UnixTime;
use anyhow::{Context, Result, anyhow, bail};
use http::Request;
use http::header::{AUTHORIZATION, COOKIE, LOCATION, WWW_AUTHENTICATE};
use serde_json::Value;

/// What is asked.
pub(crate) struct Question {
    /// The text of airside.toml.
    pub(crate) config: String,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) method: String,
    pub(crate) token: Option<String>,
    /// The text of the issuer's key set.
    pub(crate) jwks: Option<String>,
    /// Whether a browser asks, with the token in a session.
    pub(crate) cookie: bool,
    /// Seconds since 1970.
    pub(crate) now: u64,
}

/// The answer, as text. The token is nowhere in it.
///
/// # Errors
/// When the question cannot be asked: a configuration with problems, no method, no path.
pub(crate) fn explain(question: &Question) -> Result<String> {
    let config = Config::parse(&question.config).map_err(|problems| {
        let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow!("airside.toml has problems:\n{}", list.join("\n"))
    })?;
    let mut text = String::new();
    writeln!(
        text,
        "request   {} {}",
        question.method,
        without_query(&question.path)
    )?;
    describe_route(&mut text, question, &config)?;
    let token = question.token.as_deref().map(str::trim);
    let evidence = Evidence::of(token, question, &config)?;
    if token.is_some() {
        writeln!(text, "token     {}", evidence.signature)?;
    }
    ask(&mut text, question, &config, &evidence)?;
    Ok(text)
}

fn without_query(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}

fn describe_route(text: &mut String, question: &Question, config: &Config) -> Result<()> {
    let method = question.method.parse().context("--method is no method")?;
    let Ok(path) = CheckedPath::parse(&question.path) else {
        return Ok(writeln!(
            text,
            "route     none: the path cannot be decided on"
        )?);
    };
    match config.find(&path, &method) {
        Match::None => writeln!(text, "route     none for this path")?,
        Match::OtherMethods(others) => {
            let list: Vec<String> = others
                .iter()
                .map(|index| format!("routes[{index}]"))
                .collect();
            writeln!(
                text,
                "route     none for this method; the path has {}",
                list.join(", ")
            )?;
        }
        Match::Route(index) => {
            if let Some(route) = config.route(index) {
                writeln!(text, "route     routes[{index}], path = \"{}\"", route.path)?;
                writeln!(text, "rule      {}", rule(route, config))?;
            }
        }
    }
    Ok(())
}

fn rule(route: &Route, config: &Config) -> String {
    let mut parts = Vec::new();
    match &route.access {
        Access::Public => parts.push("public: anybody".to_owned()),
        Access::Login => parts.push("login: a session".to_owned()),
        Access::Token(rule) => {
            parts.push("token: an access token".to_owned());
            if let Some(issuer) = config.issuers.get(rule.issuer) {
                parts.push(format!("of {} ({})", issuer.name, issuer.issuer));
                for rule in rule
                    .claims
                    .iter()
                    .filter_map(|index| issuer.claim_rules.get(*index))
                {
                    parts.push(format!("claim {} {:?}", rule.path.join("."), rule.test));
                }
            }
            parts.push(format!("for {}", rule.audiences.join(" or ")));
            if !rule.scopes.is_empty() {
                parts.push(format!("all of the scopes {}", rule.scopes.join(" ")));
            }
            if !rule.any_scopes.is_empty() {
                parts.push(format!("one of the scopes {}", rule.any_scopes.join(" ")));
            }
        }
    }
    if !route.step_up.acr_values.is_empty() {
        parts.push(format!("acr one of {}", route.step_up.acr_values.join(" ")));
    }
    if let Some(max_age) = route.step_up.max_age {
        parts.push(format!("authenticated at most {} s ago", max_age.as_secs()));
    }
    parts.join(", ")
}

/// The token to ask with, and the key set that judges it.
struct Evidence {
    token: Option<String>,
    jwks: String,
    subject: String,
    signature: &'static str,
}

impl Evidence {
    /// Without a key set the claims are signed again, by a key made for this, so that all but
    /// the signature is judged by the gate itself.
    fn of(token: Option<&str>, question: &Question, config: &Config) -> Result<Self> {
        const NO_KEYS: &str = r#"{"keys":[]}"#;
        let mut evidence = Evidence {
            token: token.map(str::to_owned),
            jwks: question.jwks.clone().unwrap_or_else(|| NO_KEYS.to_owned()),
            subject: "somebody".to_owned(),
            signature: "signature checked with the key set given",
        };
        let Some((token, jws)) = token.and_then(|token| Some((token, Jws::parse(token).ok()?)))
        else {
            evidence.signature = "no JWT that can be read: judged as it is";
            return Ok(evidence);
        };
        let claims = claims(token).context("claims cannot be read")?;
        if let Some(subject) = claims.get("sub").and_then(Value::as_str) {
            evidence.subject = subject.to_owned();
        }
        if question.jwks.is_none() {
            evidence.signature = "SIGNATURE NOT CHECKED (no --jwks): judged by its claims alone";
            let known = |issuer: &&airside::config::TokenIssuer| {
                Some(issuer.issuer.as_str()) == jws.unverified_issuer()
            };
            if let Some(issuer) = config.issuers.iter().find(known) {
                let header = jws.header();
                let idp = Idp::with_key(issuer.issuer.as_str(), header.alg, "explain");
                let typ = header.typ.as_deref().unwrap_or("JWT");
                evidence.token = Some(idp.sign_typ(&claims, typ));
                evidence.jwks = idp.jwks().to_string();
            }
        }
        Ok(evidence)
    }
}

fn claims(token: &str) -> Option<Value> {
    let payload = token.split('.').nth(1)?;
    let bytes = airside::encoding::base64url_decode(payload).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn ask(text: &mut String, question: &Question, config: &Config, evidence: &Evidence) -> Result<()> {
    let world = World::default();
    world.clock.set(UnixTime::from_secs(question.now));
    let key = airside::encoding::base64url_encode(&[1; 32]);
    world
        .variables
        .set("session_keys", &format!("explain:{key}"));
    for issuer in &config.issuers {
        let issuer = &issuer.issuer;
        let jwks_uri = format!("{}/explain-jwks", issuer.as_str().trim_end_matches('/'));
        let metadata = serde_json::json!({ "issuer": issuer.as_str(), "jwks_uri": jwks_uri });
        world
            .http
            .json(&issuer.openid_configuration(), metadata.to_string());
        world.http.json(&jwks_uri, evidence.jwks.clone());
    }
    let started = block_on(Instance::start(
        Some(question.config.clone().into_bytes()),
        world.ports(),
    ));
    let instance = started.map_err(|error| anyhow!("{error}"))?;
    world.events.take();

    let mut request = Request::builder()
        .method(question.method.as_str())
        .uri(&question.path);
    if question.cookie {
        request = request
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-dest", "document")
            .header("sec-fetch-site", "same-origin");
        if let Some(token) = &evidence.token {
            let provider = config
                .providers
                .first()
                .context("no provider: no sessions")?;
            let ports = world.ports();
            let session =
                session::session(&instance, &provider.name, &evidence.subject, token, ports);
            let line = session.and_then(|s| session::cookie_line(&s, &instance, world.ports()));
            request = request.header(COOKIE, line.context("the session cannot be made")?);
        }
    } else if let Some(token) = &evidence.token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let Ok(request) = request.body(()) else {
        bail!("--path, --method or the token cannot stand in a request");
    };
    let head = request.into_parts().0;
    match block_on(authorize(&mut Head::from(&head), &instance, world.ports())) {
        Decision::Forward(plan) => {
            writeln!(
                text,
                "answer    passes, to {}://{}",
                plan.scheme, plan.authority
            )?;
            for (name, value) in &header_map(&plan.fields) {
                let name = name.as_str();
                let who = name.starts_with("x-forwarded-")
                    && !matches!(
                        name,
                        "x-forwarded-host" | "x-forwarded-proto" | "x-forwarded-for"
                    );
                if let Some(value) = value.to_str().ok().filter(|_| who) {
                    writeln!(text, "          {name}: {value}")?;
                }
            }
        }
        Decision::Respond(response) => {
            let status = response.status();
            writeln!(text, "answer    {status}")?;
            for event in world.events.take() {
                writeln!(text, "why       {}", event.code)?;
                for (_, value) in event
                    .fields
                    .iter()
                    .filter(|(name, _)| ["message", "hint"].contains(name))
                {
                    writeln!(text, "          {value}")?;
                }
            }
            for name in [WWW_AUTHENTICATE, LOCATION] {
                if let Some(value) = response.headers().get(&name).and_then(|v| v.to_str().ok()) {
                    writeln!(text, "          {name}: {value}")?;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
