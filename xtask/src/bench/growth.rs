//! What becomes of a request's cost when there is more of something: routes, keys, issuers,
//! stored sessions, remembered tokens. In instructions, and in time where the host does the work.

use anyhow::{Context, Result};

use crate::bench::client;
use crate::bench::counted::{Keep, ONE_INSTANCE, Passing, middle};
use crate::bench::login;
use crate::bench::peers::{AUDIENCE, PATH, SCOPE};
use crate::bench::rows::{Tokens, tokens};
use crate::bench::servers::{SESSION_GATES, Servers, Variant, passing, session_gate};
use crate::up::{App, Ports};
use crate::workspace::step;

/// How far it goes.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    /// Stored sessions.
    pub(crate) sessions: [u32; SESSION_GATES as usize],
}

impl Sizes {
    /// All that is asked about.
    pub(crate) const FULL: Self = Self {
        sessions: [0, 10_000, 1_000_000],
    };
    /// What a short run has time for.
    pub(crate) const QUICK: Self = Self {
        sessions: [0, 1_000, 10_000],
    };
}

/// The lines of the table's second half.
///
/// # Errors
/// When a process does not start, or answers otherwise than it should.
pub(crate) fn measure(servers: &mut Servers<'_>, all: &Tokens, sizes: Sizes) -> Result<String> {
    let mut text = String::new();
    step("Growth: routes");
    text += &head(
        "routes",
        ["first request", "later, public", "later, bearer"],
    );
    for (count, name) in ROUTES {
        text += &line(name, routes(servers, all, count, name)?.map(instructions));
    }
    step("Growth: keys");
    text += &head("keys in the set", ["first request", "later", "new token"]);
    for (count, name, provider) in KEYS {
        let numbers = keys(servers, count, name, provider)?;
        text += &line(name, numbers.map(instructions));
    }
    step("Growth: issuers");
    text += &head("issuers", ["first request", "later", "new token"]);
    for (count, name) in ISSUERS {
        let app = servers.app(name, passing(servers.ports, 10), |text, _| {
            let more: String = (1..count).map(issuer).collect();
            Ok(text.replacen("[issuers.demo]", &format!("{more}[issuers.demo]"), 1))
        })?;
        let rs256 = all.of("RS256");
        let numbers = bearer(servers, name, &app, passing(servers.ports, 10), rs256)?;
        text += &line(name, numbers.map(instructions));
    }
    step("Growth: stored sessions");
    text += &head("stored sessions", ["instructions", "p50 ms", ""]);
    for (number, count) in (0..).zip(sizes.sessions) {
        let (instructions, millis) = sessions(servers, number, count)?;
        let cells = [instructions.to_string(), millis, String::new()];
        text += &line(&count.to_string(), cells);
    }
    step("Growth: remembered tokens");
    text += &head("remembered tokens", ["seen before", "new token", ""]);
    for (name, numbers) in caches(servers, all)? {
        let [seen, new] = numbers.map(instructions);
        text += &line(&name, [seen, new, String::new()]);
    }
    step("First requests");
    text += &head("first request, ms", ["public", "bearer", ""]);
    for (count, name) in FIRST {
        let [public, bearer] = first(servers, all, count, name)?;
        text += &line(name, [public, bearer, String::new()]);
    }
    Ok(text)
}

fn head(what: &str, columns: [&str; 3]) -> String {
    let [first, second, third] = columns;
    format!("\n{what:<36} {first:>14} {second:>14} {third:>14}\n")
}

fn line(name: &str, cells: [String; 3]) -> String {
    let [first, second, third] = cells;
    format!("{name:<36} {first:>14} {second:>14} {third:>14}\n")
}

fn instructions(number: u64) -> String {
    number.to_string()
}

/// Making an instance and its first request, a later one, and one with a token.
fn routes(
    servers: &mut Servers<'_>,
    all: &Tokens,
    count: usize,
    name: &'static str,
) -> Result<[u64; 3]> {
    let port = passing(servers.ports, 5);
    let app = with_routes(servers, count, name, port)?;
    let counting = Passing::counting(servers, name, &app, port, Keep::No)?;
    let public = client::request("GET", port, "/", &[], "");
    counting.send(&vec![public; REQUESTS], 200)?;
    let token = all.of("RS256").first().context("no token")?;
    counting.send(&vec![with_token(port, token); REQUESTS], 200)?;
    let numbers = counting.end(servers)?.instructions("authorize")?;
    Ok([
        numbers.middle(0..1)?,
        numbers.middle(1..REQUESTS)?,
        numbers.middle(REQUESTS + 1..2 * REQUESTS)?,
    ])
}

fn with_routes(servers: &Servers<'_>, count: usize, name: &str, port: u16) -> Result<App> {
    servers.app(name, port, |text, _| {
        Ok(text.to_owned() + &more_routes(count))
    })
}

/// So many routes more, each with a token rule of its own.
fn more_routes(count: usize) -> String {
    (0..count)
        .map(|number| {
            format!(
                "\n[[routes]]\npath = \"/grown/{}/{number}/*\"\naccess = \"token\"\nissuer = \"demo\"\n\
                 audience = \"https://api.example.com/{number}\"\nscopes = [\"read:{number}\"]\n\
                 upstream = \"invoices\"\n",
                number % 100
            )
        })
        .collect()
}

/// One issuer more, whose tokens nobody has. It is looked at before the demo: by name.
fn issuer(number: usize) -> String {
    format!("[issuers.a-{number}]\nissuer = \"https://issuer-{number}.example.com\"\n\n")
}

fn keys(
    servers: &mut Servers<'_>,
    count: usize,
    name: &'static str,
    provider: &'static str,
) -> Result<[u64; 3]> {
    let ports = Ports {
        gateway: passing(servers.ports, 6),
        provider: passing(servers.ports, 7),
        ..servers.ports
    };
    let mut command = servers.provider(ports);
    command.args(["--only", "RS256", "--keys", &count.to_string()]);
    servers.run(provider, command)?;
    let tokens = tokens(servers.workspace, ports, "RS256", AUDIENCE, SCOPE, NEW)?;
    let app = servers.app_with(name, ports, |text, _| Ok(text.to_owned()))?;
    let numbers = bearer(servers, name, &app, ports.gateway, &tokens)?;
    servers.processes.stop(provider);
    Ok(numbers)
}

/// Making an instance and its first request, with the key set fetched; a later one with the
/// same token; and one with a new token.
fn bearer(
    servers: &mut Servers<'_>,
    name: &'static str,
    app: &App,
    port: u16,
    tokens: &[String],
) -> Result<[u64; 3]> {
    let counting = Passing::counting(servers, name, app, port, Keep::No)?;
    let (first, others) = tokens.split_first().context("no tokens")?;
    counting.send(&vec![with_token(port, first); REQUESTS], 200)?;
    let others = others.iter().take(NEW as usize - 1);
    let others: Vec<_> = others.map(|token| with_token(port, token)).collect();
    counting.send(&others, 200)?;
    let numbers = counting.end(servers)?.instructions("authorize")?;
    Ok([
        numbers.middle(0..1)?,
        numbers.middle(1..REQUESTS)?,
        numbers.middle(REQUESTS..REQUESTS + others.len())?,
    ])
}

/// A request with a session of a store with that many records: its instructions, and the
/// milliseconds that it takes.
fn sessions(servers: &mut Servers<'_>, number: u16, count: u32) -> Result<(u64, String)> {
    let port = session_gate(servers.ports, number);
    let folder = format!("sessions-{count}");
    let app = servers.app(&folder, port, |text, ports| {
        Variant::Stored.edit(text, ports)
    })?;
    let fill = count.to_string();
    let mut arguments = vec!["--fill-key-value", fill.as_str(), "--instructions"];
    arguments.extend(ONE_INSTANCE);
    let counting = Passing::start(servers, SESSIONS, &app, port, &arguments)?;
    let ports = Ports {
        gateway: port,
        ..servers.ports
    };
    let cookie = login::cookie(ports)?;
    let request = client::request("GET", port, PATH, &[("Cookie", &cookie)], "");
    let requests = vec![request; REQUESTS];
    counting.send(&requests, 200)?;
    let numbers = counting.end(servers)?.instructions("authorize")?;
    let instructions = numbers.middle(1..REQUESTS)?;
    // Without counting: the host's time is what may grow.
    let timing = Passing::start(servers, SESSIONS, &app, port, &[])?;
    let times = timing.send(requests.iter().cycle().take(TIMED), 200)?;
    timing.end(servers)?;
    let folder = servers.folder().join(folder);
    std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok((instructions, millis(middle(&times))))
}

/// A token seen before and a new one, in an instance that remembers next to nothing and in one
/// that was shown more than it may remember.
fn caches(servers: &mut Servers<'_>, all: &Tokens) -> Result<Vec<(String, [u64; 2])>> {
    let port = passing(servers.ports, 8);
    let app = servers.app("caches", port, |text, _| Ok(text.to_owned()))?;
    let counting = Passing::counting(servers, "caches", &app, port, Keep::No)?;
    let tokens: Vec<_> = all.of("RS256").iter().chain(all.of("EdDSA")).collect();
    let (first, others) = tokens.split_first().context("no tokens")?;
    let requests = vec![with_token(port, first); REQUESTS];
    let others: Vec<_> = others.iter().map(|token| with_token(port, token)).collect();
    counting.send(&requests, 200)?;
    counting.send(&others, 200)?;
    counting.send(&requests, 200)?;
    let numbers = counting.end(servers)?.instructions("authorize")?;
    let all_shown = REQUESTS + others.len();
    // Those of RS256 come first: at the end there are others.
    let rs256 = REQUESTS + all.of("RS256").len() - 1;
    let few = NEW as usize;
    Ok(vec![
        (
            "at the start".to_owned(),
            [
                numbers.middle(1..REQUESTS)?,
                numbers.middle(REQUESTS..REQUESTS + few)?,
            ],
        ),
        (
            format!("after {} others", others.len()),
            [
                numbers.middle(all_shown + 1..all_shown + REQUESTS)?,
                numbers.middle(rs256.saturating_sub(few)..rs256)?,
            ],
        ),
    ])
}

/// What the first request of an instance takes as devhost sees it: a public one, and one with a
/// token, whose keys are in the store.
fn first(
    servers: &mut Servers<'_>,
    all: &Tokens,
    count: usize,
    name: &'static str,
) -> Result<[String; 2]> {
    let port = passing(servers.ports, 9);
    let app = with_routes(servers, count, name, port)?;
    let token = all.of("RS256").first().context("no token")?;
    let mut both = Vec::new();
    for request in [
        client::request("GET", port, "/", &[], ""),
        with_token(port, token),
    ] {
        let mut arguments = vec!["--max-instance-reuse-count", "1"];
        arguments.extend(Keep::No.arguments());
        let process = Passing::start(servers, name, &app, port, &arguments)?;
        process.send(&vec![request; FIRST_REQUESTS], 200)?;
        let stats = process.end(servers)?;
        both.push(millis(stats.first_request("authorize")?));
    }
    both.try_into().ok().context("two numbers")
}

fn with_token(port: u16, token: &str) -> Vec<u8> {
    let value = format!("Bearer {token}");
    client::request("GET", port, PATH, &[("Authorization", &value)], "")
}

fn millis(time: std::time::Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1e3)
}

/// How many routes are added, and what the process is called.
const ROUTES: [(usize, &str); 3] = [
    (10, "10 routes more"),
    (1_000, "1,000 routes more"),
    (10_000, "10,000 routes more"),
];
const FIRST: [(usize, &str); 2] = [
    (10, "with 10 routes more"),
    (10_000, "with 10,000 routes more"),
];
/// Keys, the process that is measured, and its provider.
const KEYS: [(usize, &str, &str); 3] = [
    (1, "1 key", "provider of 1"),
    (10, "10 keys", "provider of 10"),
    (100, "100 keys", "provider of 100"),
];
const ISSUERS: [(usize, &str); 2] = [(1, "1 issuer"), (20, "20 issuers")];
const SESSIONS: &str = "sessions";

/// Requests of a kind: the middle of them counts.
const REQUESTS: usize = 11;
/// The same for first requests: the first few of them come to a process that is new itself.
const FIRST_REQUESTS: usize = 41;
/// New tokens.
const NEW: u32 = 12;
/// Requests that are timed one by one.
const TIMED: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grown_configurations_load() {
        let text = include_str!("../../../airside.toml");
        let more: String = (1..20).map(issuer).collect();
        let grown = text.replacen("[issuers.demo]", &format!("{more}[issuers.demo]"), 1);
        let config = airside::config::Config::parse(&(grown + &more_routes(3)));
        let config = config.expect("a configuration");
        assert_eq!(config.issuers.len(), 20);
        let demo = config.issuers.last().map(|last| last.issuer.as_str());
        assert_eq!(demo, Some("http://127.0.0.1:3001"), "found last");
    }
}
