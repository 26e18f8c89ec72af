//! What is measured: a name, the requests that are sent, and what must come back.

use std::thread;

use anyhow::{Context, Result, bail, ensure};

use crate::bench::load::Order;
use crate::bench::peers::{AUDIENCE, PATH, Peer, SCOPE, Samples};
use crate::bench::servers::{Place, Servers, VERIFYING, Variant, WHOLE};
use crate::bench::{client, login};
use crate::up::{self, Ports};
use crate::workspace::{self, Workspace};

/// The row the others are compared with.
pub(crate) const RAW: &str = "raw pass-through";

/// One line of the table.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) place: Place,
    /// Sent again and again.
    pub(crate) requests: Vec<Vec<u8>>,
    /// In which order.
    pub(crate) order: Order,
    /// The status of every answer.
    pub(crate) status: u16,
}

/// The tokens of a run.
pub(crate) struct Tokens {
    /// Those that pass, by algorithm.
    signed: Vec<(&'static str, Vec<String>)>,
    opaque: String,
    samples: Samples,
}

/// An API that has nothing but the scope in common with the one that is protected.
pub(crate) const ELSEWHERE: &str = "https://api.example.com/elsewhere";
/// An API whose tokens are opaque.
pub(crate) const OPAQUE: &str = "https://api.example.com/opaque";

impl Tokens {
    /// Signs in at the demo for each of them; `most` of each kind, where a row has use for so
    /// many.
    ///
    /// # Errors
    /// When the demo gives one of them not.
    pub(crate) fn get(workspace: &Workspace, ports: Ports, most: u32) -> Result<Self> {
        let get = |algorithm, audience, scope, count| {
            tokens(workspace, ports, algorithm, audience, scope, count)
        };
        let signed = thread::scope(|scope| {
            let get = &get;
            // The slower a signature is to verify, the fewer are verified in a row.
            let workers = ALGORITHMS.map(|(algorithm, share)| {
                let count = most.div_ceil(share);
                let worker = scope.spawn(move || get(algorithm, AUDIENCE, SCOPE, count));
                (algorithm, worker)
            });
            let mut signed = Vec::new();
            for (algorithm, worker) in workers {
                match worker.join() {
                    Ok(tokens) => signed.push((algorithm, tokens?)),
                    Err(_) => bail!("a worker panicked"),
                }
            }
            Ok(signed)
        })?;
        let one = |algorithm, audience, scope| -> Result<String> {
            get(algorithm, audience, scope, 1)?
                .pop()
                .context("no token")
        };
        let rs256 = signed.first().and_then(|(_, tokens)| tokens.first());
        Ok(Self {
            samples: Samples {
                good: rs256.context("no token")?.clone(),
                poor: one("RS256", AUDIENCE, "write:invoices")?,
                elsewhere: one("RS256", ELSEWHERE, SCOPE)?,
            },
            opaque: one("RS256", OPAQUE, SCOPE)?,
            signed,
        })
    }

    /// What tells whether a peer checks what it should.
    pub(crate) fn samples(&self) -> &Samples {
        &self.samples
    }

    /// The good ones of an algorithm.
    pub(crate) fn of(&self, algorithm: &str) -> &[String] {
        let found = self.signed.iter().find(|(known, _)| *known == algorithm);
        found.map_or(&[], |(_, tokens)| tokens)
    }
}

/// The rows, with fresh sessions of the demo.
///
/// # Errors
/// When the demo gives no session.
pub(crate) fn rows(servers: &Servers<'_>, tokens: &Tokens, peers: &[Peer]) -> Result<Vec<Row>> {
    let ports = servers.ports;
    let mut rows = Vec::new();
    let mut row = |name: &str, place: Place, status, order, requests: Vec<Vec<u8>>| {
        rows.push(Row {
            name: name.to_owned(),
            place,
            requests,
            order,
            status,
        });
    };
    let get = |place: Place, path: &str, headers: &[(&str, &str)]| {
        client::request("GET", place.port(ports), path, headers, "")
    };
    let bearer = |place: Place, path: &str, token: &str| {
        let value = format!("Bearer {token}");
        get(place, path, &[("Authorization", &value)])
    };
    let (noop, raw) = (Place::Guest("noop"), Place::Guest("passthrough"));
    let (verifying, whole) = (Place::Guest(VERIFYING), Place::Guest(WHOLE));
    let [plain, stored, trusting] =
        [Variant::Plain, Variant::Stored, Variant::Trusting].map(Place::Gate);

    row(
        "no-op",
        noop,
        200,
        Order::Random,
        vec![get(noop, "/noop", &[])],
    );
    row(
        RAW,
        raw,
        200,
        Order::Random,
        vec![get(raw, PATH, &IDENTITY)],
    );
    row(
        "the same, answer handed on whole",
        whole,
        200,
        Order::Random,
        vec![get(whole, PATH, &IDENTITY)],
    );
    row(
        "public route",
        plain,
        200,
        Order::Random,
        vec![get(plain, "/", &[])],
    );
    for (algorithm, tokens) in &tokens.signed {
        let all: Vec<Vec<u8>> = tokens.iter().map(|t| bearer(plain, PATH, t)).collect();
        let some = |count: usize| all.iter().take(count).cloned().collect::<Vec<_>>();
        let (one, thousand) = (some(1), some(1_000));
        let count = thousand.len();
        row(
            &format!("bearer {algorithm}, one token"),
            plain,
            200,
            Order::Random,
            one,
        );
        row(
            &format!("bearer {algorithm}, {count} tokens at random"),
            plain,
            200,
            Order::Random,
            thousand,
        );
        let name = format!("bearer {algorithm}, all new ({} in turn)", all.len());
        row(&name, plain, 200, Order::InTurn, all);
    }
    let rs256 = tokens.of("RS256");
    let with_identity = |token: &String| {
        let value = format!("Bearer {token}");
        let headers = [&[("Authorization", value.as_str())], &IDENTITY[..]].concat();
        get(verifying, PATH, &headers)
    };
    row(
        &format!("jwt-simple RS256, all new ({} in turn)", rs256.len()),
        verifying,
        200,
        Order::InTurn,
        rs256.iter().map(with_identity).collect(),
    );
    let good = &tokens.samples.good;
    let one = |place, path, token| vec![bearer(place, path, token)];
    row(
        "bearer RS256 with assertion",
        trusting,
        200,
        Order::Random,
        one(trusting, "/asserted/", good),
    );
    row(
        "the same, bound to the request",
        trusting,
        200,
        Order::Random,
        one(trusting, "/bound/", good),
    );
    row(
        "opaque token, introspected",
        trusting,
        200,
        Order::Random,
        one(trusting, "/opaque/", &tokens.opaque),
    );
    row(
        "refused: without the scope",
        plain,
        403,
        Order::Random,
        one(plain, PATH, &tokens.samples.poor),
    );
    row(
        "refused: without a token",
        plain,
        401,
        Order::Random,
        vec![get(plain, PATH, &[])],
    );
    for (name, place) in [
        ("cookie session", plain),
        ("the same, no revocation read", trusting),
        ("key-value session", stored),
    ] {
        let cookie = login::cookie(Ports {
            gateway: place.port(ports),
            ..ports
        })?;
        let headers = [("Cookie", cookie.as_str())];
        if place == plain {
            // What the size of the request alone costs.
            let request = get(raw, PATH, &[&headers[..], &IDENTITY].concat());
            let name = "raw pass-through, with these cookies";
            row(name, raw, 200, Order::Random, vec![request]);
        }
        let request = get(place, PATH, &headers);
        row(name, place, 200, Order::Random, vec![request]);
    }
    for peer in peers {
        let Ok(place) = peer.place else { continue };
        let all: Vec<_> = rs256.iter().map(|t| bearer(place, PATH, t)).collect();
        let once = all.iter().take(1).cloned().collect();
        row(
            &format!("{}, one token", peer.name),
            place,
            200,
            Order::Random,
            once,
        );
        row(
            &format!("{}, all new", peer.name),
            place,
            200,
            Order::InTurn,
            all,
        );
    }
    Ok(rows)
}

/// Tokens of the demo.
///
/// # Errors
/// When it gives fewer.
pub(crate) fn tokens(
    workspace: &Workspace,
    ports: Ports,
    algorithm: &str,
    audience: &str,
    scope: &str,
    count: u32,
) -> Result<Vec<String>> {
    let mut token = workspace.program(up::demo_binary(workspace));
    token.args(["token", "--user", "alice", "--alg", algorithm]);
    token.args(["--provider", &Ports::url(ports.provider)]);
    token.args(["--audience", audience]);
    token.args(["--scope", scope, "--count", &count.to_string()]);
    let text = workspace::output("airside-demo token", &mut token)?;
    let tokens: Vec<String> = text.lines().map(str::to_owned).collect();
    let wanted = usize::try_from(count).context("a count of tokens")?;
    ensure!(
        tokens.len() == wanted,
        "{} tokens instead of {count}",
        tokens.len()
    );
    Ok(tokens)
}

/// The algorithms, and by what their number of tokens is divided.
const ALGORITHMS: [(&str, u32); 5] = [
    ("RS256", 1),
    ("PS256", 2),
    ("ES256", 2),
    ("ES384", 5),
    ("EdDSA", 1),
];

/// What the gate sends, so that the upstream answers the raw rows alike.
const IDENTITY: [(&str, &str); 2] = [
    ("X-Forwarded-Sub", "alice"),
    ("X-Forwarded-Scope", "read:invoices"),
];
