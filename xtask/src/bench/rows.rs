//! What is measured: a name, the requests that are sent, and what must come back.

use anyhow::{Context, Result, ensure};

use crate::bench::{client, login};
use crate::up::{self, Ports};
use crate::workspace::{self, Workspace};

/// The row the others are compared with.
pub(crate) const RAW: &str = "raw pass-through";

/// One line of the table.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) place: Place,
    /// Sent in a random order, again and again.
    pub(crate) requests: Vec<Vec<u8>>,
    /// The status of every answer.
    pub(crate) status: u16,
}

/// Who answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The app.
    Gateway,
    /// A component of `devhost/guests`.
    Guest(&'static str),
}

/// Rows that the issue asks for and that nothing is there for, with the reason.
pub(crate) const NOT_RUN: [(&str, &str); 3] = [
    (
        "bearer, every token new",
        "as `1,000 tokens`: an instance lives for 128 requests, and starts with none",
    ),
    ("key-value session", "needs its own configuration"),
    ("assertion", "needs its own configuration"),
];

/// The rows, with fresh tokens and a fresh session of the demo.
///
/// # Errors
/// When the demo gives no token or no session.
pub(crate) fn rows(workspace: &Workspace, ports: Ports, tokens: u32) -> Result<Vec<Row>> {
    let request = |port, target: &str, headers: &[(&str, &str)]| {
        client::request("GET", port, target, headers, "")
    };
    let row = |name: &str, place, requests, status| Row {
        name: name.to_owned(),
        place,
        requests,
        status,
    };
    // What the gate sends, so that the upstream answers the raw row alike.
    let identity = [
        ("X-Forwarded-Sub", "alice"),
        ("X-Forwarded-Scope", "read:invoices"),
    ];
    let (guests, gateway) = (ports.guests(), ports.gateway);
    let raw = request(guests, PATH, &identity);
    let mut rows = vec![
        row(
            "no-op",
            Place::Guest("noop"),
            vec![request(guests, "/noop", &[])],
            200,
        ),
        row(RAW, Place::Guest("passthrough"), vec![raw], 200),
        row(
            "public route",
            Place::Gateway,
            vec![request(gateway, "/", &[])],
            200,
        ),
    ];
    let bearer = |token: &String| {
        let value = format!("Bearer {token}");
        request(gateway, PATH, &[("Authorization", &value)])
    };
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let all = self::tokens(workspace, ports, algorithm, SCOPE, tokens)?;
        let requests: Vec<Vec<u8>> = all.iter().map(bearer).collect();
        let one = requests.iter().take(1).cloned().collect();
        rows.push(row(
            &format!("bearer {algorithm}, one token"),
            Place::Gateway,
            one,
            200,
        ));
        let name = format!("bearer {algorithm}, {tokens} tokens");
        rows.push(row(&name, Place::Gateway, requests, 200));
    }
    let poor = self::tokens(workspace, ports, "ES256", "openid profile", 1)?;
    rows.push(row(
        "token without the scope",
        Place::Gateway,
        poor.iter().map(bearer).collect(),
        403,
    ));
    rows.push(row(
        "no token",
        Place::Gateway,
        vec![request(gateway, PATH, &[])],
        401,
    ));
    let cookie = login::cookie(ports)?;
    let cookie = vec![request(gateway, PATH, &[("Cookie", &cookie)])];
    rows.push(row("cookie session", Place::Gateway, cookie, 200));
    Ok(rows)
}

fn tokens(
    workspace: &Workspace,
    ports: Ports,
    algorithm: &str,
    scope: &str,
    count: u32,
) -> Result<Vec<String>> {
    let mut token = workspace.program(up::demo_binary(workspace));
    token.args(["token", "--user", "alice", "--alg", algorithm]);
    token.args(["--provider", &Ports::url(ports.provider)]);
    token.args(["--audience", "https://api.example.com/invoices"]);
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

/// A route that asks for a token.
const PATH: &str = "/api/invoices/";
const SCOPE: &str = "openid read:invoices";
