//! `cargo xtask check`: the config doctor. Everything that does not fit, at once, before a
//! deployment: airside.toml by the rules of the library, spin.toml by what airside.toml needs.

mod outbound;
mod warnings;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

use airside::config::{Config, Platform};
use anyhow::{Context, Result};
use toml_edit::{DocumentMut, Item, TableLike};

use crate::check::outbound::{Verdict, origin};
use crate::manifest::Manifest;
use crate::permissions::{Needs, Peer, Permissions, Secret, TABLE, TOKENS, TOKENS_ORIGIN};

/// Something that does not fit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// File and key.
    place: String,
    /// What is wrong and what is expected.
    text: String,
    /// Lines that mend it.
    add: Option<String>,
}

/// Judges the app and prints every problem, and warnings; returns how many problems there are.
///
/// # Errors
/// When a file cannot be read at all.
pub(crate) fn run(manifest: &Path) -> Result<usize> {
    let config = manifest.with_file_name("airside.toml");
    let read = |path: &Path| {
        fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
    };
    let text = read(&config)?;
    for warning in warned(&text) {
        println!("warning: {warning}\n");
    }
    let problems = judge(&text, &read(manifest)?);
    for problem in &problems {
        println!("{problem}\n");
    }
    match problems.len() {
        0 => println!(
            "{} and {} fit together.",
            config.display(),
            manifest.display()
        ),
        1 => println!("1 problem."),
        count => println!("{count} problems."),
    }
    Ok(problems.len())
}

/// What is no problem and is said all the same.
fn warned(config: &str) -> Vec<Problem> {
    Config::parse(config).map_or_else(|_| Vec::new(), |config| warnings::of(&config))
}

/// Every problem of the two files.
fn judge(config: &str, manifest: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Err(found) = Config::parse(config) {
        problems.extend(found.iter().map(Problem::of_config));
    }
    // What is no TOML is a problem by the library's rules already.
    let needs = needs(config).ok();
    match Manifest::parse(manifest) {
        Ok(manifest) => problems.extend(needs.iter().flat_map(|needs| compare(needs, &manifest))),
        Err(error) => {
            problems.push(Problem::new(
                "spin.toml",
                format!("cannot be read: {error:#}"),
            ));
        }
    }
    problems
}

/// What a configuration stands for: read leniently, so that an invalid one is compared too.
///
/// # Errors
/// When the text is no TOML.
pub(crate) fn needs(config: &str) -> Result<Needs> {
    let document: DocumentMut = config.parse()?;
    let mut needs = Needs::default();
    needs.variables.insert(
        Secret::SessionKeys,
        BTreeMap::from([("session_keys".to_owned(), "the sessions' keys".to_owned())]),
    );
    let name = "assertion_keys".to_owned();
    let mut upstreams = tables(&document, "upstreams");
    let asserts =
        upstreams.find(|(_, entry)| entry.get("assertion").and_then(Item::as_bool) == Some(true));
    let reason = match asserts {
        Some((upstream, _)) => format!("upstreams.{upstream}.assertion"),
        None => {
            needs.unused.insert(name.clone());
            "assertions to upstreams".to_owned()
        }
    };
    needs
        .variables
        .insert(Secret::AssertionKeys, BTreeMap::from([(name, reason)]));
    let platform = document.get("platform").and_then(Item::as_str);
    let has_tokens = |name: &&str| Platform::named(name).is_none_or(Platform::has_tokens);
    needs.without_tokens = platform.filter(|name| !has_tokens(name)).map(str::to_owned);
    if needs.without_tokens.is_none() {
        let reason = "the private component".to_owned();
        let tokens = BTreeMap::from([(TOKENS_ORIGIN.to_owned(), reason)]);
        needs.hosts.insert(Peer::Tokens, tokens);
    }
    for (section, peer) in [
        ("providers", Peer::Providers),
        ("issuers", Peer::TokenIssuers),
        ("upstreams", Peer::Upstreams),
    ] {
        for (name, entry) in tables(&document, section) {
            for (key, value) in entry
                .iter()
                .filter_map(|(key, item)| Some((key, item.as_str()?)))
            {
                let reason = format!("{section}.{name}.{key}");
                let of_issuer = section == "issuers";
                if let Some(origin) = origin(value).filter(|_| names_a_peer(key)) {
                    // The gate fetches keys of an issuer and has no business at its endpoints.
                    let at_endpoint = of_issuer && key.ends_with("_endpoint");
                    let peer = if at_endpoint {
                        Peer::IssuerEndpoints
                    } else {
                        peer
                    };
                    needs
                        .hosts
                        .entry(peer)
                        .or_default()
                        .entry(origin)
                        .or_insert(reason);
                } else if key.ends_with("_variable") {
                    // A private key's public half is published, by `callback`.
                    let secret = if of_issuer && key != "client_key_variable" {
                        Secret::IssuerClientCredential
                    } else {
                        Secret::ClientCredential
                    };
                    let variables = needs.variables.entry(secret).or_default();
                    variables.entry(value.to_owned()).or_insert(reason);
                }
            }
        }
    }
    let Ok(config) = Config::parse(config) else {
        return Ok(needs);
    };
    for (issuer, client) in config.issuers.iter().zip(&config.issuer_clients) {
        for origin in client.iter().flat_map(|client| &client.endpoint_origins) {
            let reason = format!("issuers.{}.endpoint_origins", issuer.name);
            let origins = needs.hosts.entry(Peer::IssuerEndpoints).or_default();
            origins.entry(origin.to_string()).or_insert(reason);
        }
    }
    // Presets know origins that are not written in the file.
    for provider in config.providers {
        for origin in &provider.endpoint_origins {
            let reason = format!("providers.{}.endpoint_origins", provider.name);
            let origins = needs.hosts.entry(Peer::Providers).or_default();
            origins.entry(origin.to_string()).or_insert(reason);
        }
    }
    Ok(needs)
}

/// The keys whose URL is fetched; `audience` and `resource` are names only.
fn names_a_peer(key: &str) -> bool {
    ["issuer", "jwks_uri", "url"].contains(&key) || key.ends_with("_endpoint")
}

fn tables<'a>(
    document: &'a DocumentMut,
    section: &str,
) -> impl Iterator<Item = (&'a str, &'a dyn TableLike)> {
    let section = document.get(section).and_then(Item::as_table_like);
    let entries = section.into_iter().flat_map(|table| table.iter());
    entries.filter_map(|(name, item)| Some((name, item.as_table_like()?)))
}

fn compare(needs: &Needs, manifest: &Manifest) -> Vec<Problem> {
    let mut problems = Vec::new();
    for row in &TABLE {
        let place = format!("spin.toml: [component.{}]", row.component);
        if let Some(platform) = needs
            .without_tokens
            .as_ref()
            .filter(|_| row.component == TOKENS)
        {
            if manifest.components.contains_key(TOKENS) {
                let text = format!(
                    "{platform} does not start it, since its store has no counters \
                     (wasi:keyvalue/atomics): take it out of the manifest"
                );
                problems.push(Problem::new(&place, text));
            }
            continue;
        }
        let Some(component) = manifest.components.get(row.component) else {
            problems.push(Problem::new(&place, "the component is missing".to_owned()));
            continue;
        };
        problems.extend(missing_hosts(
            row,
            needs,
            &component.allowed_outbound_hosts,
            &place,
        ));
        problems.extend(variables(row, needs, &component.variables, &place));
        problems.extend(routes(row, &component.routes, component.private));
        if !component.files.iter().any(|file| file == "airside.toml") {
            problems.push(
                Problem::new(
                    &format!("{place} files"),
                    "airside.toml is not mounted".to_owned(),
                )
                .add("files = [\"airside.toml\"]"),
            );
        }
        if !component.key_value_stores.contains("default") {
            problems.push(
                Problem::new(
                    &format!("{place} key_value_stores"),
                    "the store \"default\" is not granted".to_owned(),
                )
                .add("key_value_stores = [\"default\"]"),
            );
        }
    }
    for (name, reason) in needs.variables.values().flatten() {
        if !manifest.variables.contains(name) && !needs.unused.contains(name) {
            problems.push(
                Problem::new(
                    "spin.toml: [variables]",
                    format!("\"{name}\" is not declared (needed for {reason})"),
                )
                .add(&declaration(name)),
            );
        }
    }
    problems
}

/// The line that declares a secret. That of the assertions may be without a value, so that the
/// manifest stays the same where no upstream is sent any.
fn declaration(name: &str) -> String {
    let kind = if name == "assertion_keys" {
        "default = \"\""
    } else {
        "required = true"
    };
    format!("{name} = {{ {kind}, secret = true }}")
}

fn missing_hosts(
    row: &Permissions,
    needs: &Needs,
    allowed: &BTreeSet<String>,
    place: &str,
) -> Option<Problem> {
    let mut missing = BTreeMap::new();
    let mut unknown = false;
    for (origin, reason) in row.hosts(needs) {
        match outbound::allows(allowed, &origin) {
            Verdict::Allowed => {}
            Verdict::DependsOnVariable => unknown = true,
            Verdict::Missing => {
                missing.insert(origin, reason);
            }
        }
    }
    if missing.is_empty() {
        return None;
    }
    let list: Vec<_> = missing
        .iter()
        .map(|(origin, reason)| format!("\"{origin}\" ({reason})"))
        .collect();
    let mut text = format!("missing: {}", list.join(", "));
    if unknown {
        text += "; an entry with a {{ variable }} was not judged";
    }
    let all = allowed
        .iter()
        .chain(missing.keys())
        .map(|host| format!("\"{host}\""));
    let add = format!(
        "allowed_outbound_hosts = [{}]",
        all.collect::<Vec<_>>().join(", ")
    );
    Some(Problem::new(&format!("{place} allowed_outbound_hosts"), text).add(&add))
}

fn variables(
    row: &Permissions,
    needs: &Needs,
    granted: &BTreeMap<String, String>,
    place: &str,
) -> Vec<Problem> {
    let place = format!("{place} variables");
    let mut problems = Vec::new();
    for (name, reason) in row.variables(needs) {
        if !granted.contains_key(&name) && !needs.unused.contains(&name) {
            problems.push(
                Problem::new(
                    &place,
                    format!("\"{name}\" is not granted (needed for {reason})"),
                )
                .add(&format!("{name} = \"{{{{ {name} }}}}\"")),
            );
        }
    }
    // A secret may also be handed over under another name.
    for name in row.forbidden_variables(needs) {
        let template = |text: &String| names_variable(text, &name);
        if granted.contains_key(&name) || granted.values().any(template) {
            problems.push(Problem::new(
                &place,
                format!(
                    "\"{name}\" is granted, and {} must not read it",
                    row.component
                ),
            ));
        }
    }
    problems
}

fn names_variable(template: &str, name: &str) -> bool {
    template.split("{{").skip(1).any(|rest| {
        rest.split_once("}}")
            .is_some_and(|(expression, _)| expression.trim() == name)
    })
}

fn routes(row: &Permissions, routes: &BTreeSet<String>, private: bool) -> Vec<Problem> {
    let problem = |text: String| Problem::new("spin.toml: [[trigger.http]]", text);
    let mut problems = Vec::new();
    if row.routes.is_empty() && (!private || !routes.is_empty()) {
        problems.push(problem(format!(
            "{} must have no route but `{{ private = true }}`: it answers components only",
            row.component
        )));
    }
    for route in row.routes.iter().filter(|&&route| !routes.contains(route)) {
        let add = format!(
            "[[trigger.http]]\nroute = \"{route}\"\ncomponent = \"{}\"",
            row.component
        );
        let text = format!("\"{route}\" does not lead to {}", row.component);
        problems.push(problem(text).add(&add));
    }
    problems
}

impl Problem {
    fn of_config(problem: &airside::config::Problem) -> Self {
        let place = format!("airside.toml, line {}: {}", problem.line, problem.key);
        Self::new(&place, problem.expected.clone())
    }

    fn new(place: &str, text: String) -> Self {
        Self {
            place: place.to_owned(),
            text,
            add: None,
        }
    }

    fn add(mut self, lines: &str) -> Self {
        self.add = Some(lines.to_owned());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.text)?;
        for (index, line) in self.add.iter().flat_map(|add| add.lines()).enumerate() {
            let label = if index == 0 { "put:" } else { "    " };
            write!(formatter, "\n  {label} {line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
