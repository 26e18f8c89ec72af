//! Logging in at the demo as a browser would, for the row with a cookie.

use anyhow::{Context, Result, bail};

use crate::bench::client::{Connection, Response, request};
use crate::up::Ports;

/// The value of a `Cookie` header with a fresh session of alice.
///
/// # Errors
/// When a step of the login answers something else than a redirect.
pub(crate) fn cookie(ports: Ports) -> Result<String> {
    let started = get(ports.gateway, "/auth/login?return_to=/invoices", "")?;
    let asked = redirect(&started, ports.provider).context("/auth/login")?;
    let provider = get(ports.provider, &asked, "")?;
    let page = redirect(&provider, ports.provider).context("the authorization endpoint")?;
    let interaction = page
        .split_once('?')
        .and_then(|(_, query)| {
            query
                .split('&')
                .find_map(|pair| pair.strip_prefix("interaction="))
        })
        .context("no sign-in page")?;
    let form = format!("interaction={interaction}&user=alice");
    let cookies = cookies(&provider);
    let picked = Connection::open(ports.provider)?.send(&request(
        "POST",
        ports.provider,
        "/login",
        &[("Cookie", &cookies)],
        &form,
    ))?;
    let back = redirect(&picked, ports.gateway).context("the sign-in page")?;
    let session = get(ports.gateway, &back, &self::cookies(&started))?;
    redirect(&session, ports.gateway).context("/auth/callback")?;
    match self::cookies(&session) {
        cookies if cookies.is_empty() => bail!("the login gave no session cookie"),
        cookies => Ok(cookies),
    }
}

fn get(port: u16, target: &str, cookies: &str) -> Result<Response> {
    let mut headers = vec![
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "document"),
    ];
    if !cookies.is_empty() {
        headers.push(("Cookie", cookies));
    }
    Connection::open(port)?.send(&request("GET", port, target, &headers, ""))
}

/// Path and query of the `Location`, which must be on that port or relative.
fn redirect(response: &Response, port: u16) -> Result<String> {
    let location = response
        .header("location")
        .filter(|_| (300..400).contains(&response.status));
    let location = location
        .with_context(|| format!("{}, no redirect: {}", response.status, response.text()))?;
    let target = location.strip_prefix(&Ports::url(port)).unwrap_or(location);
    if !target.starts_with('/') {
        bail!("a redirect to somewhere else: {location}");
    }
    Ok(target.to_owned())
}

/// The cookies that a response sets and does not delete, as a `Cookie` header.
fn cookies(response: &Response) -> String {
    let pairs = response
        .headers("set-cookie")
        .filter_map(|line| line.split(';').next());
    let set = pairs.filter(|pair| {
        pair.split_once('=')
            .is_some_and(|(_, value)| !value.is_empty())
    });
    set.collect::<Vec<_>>().join("; ")
}
