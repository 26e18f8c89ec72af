//! `cargo xtask bench`: what the gate costs, as ratios measured in one run.
//!
//! Four rows on one host process and one upstream: a component that does nothing, a component
//! that only passes on, and the gate with a bearer token and with a session cookie. Rows take
//! turns, so that a machine that slows down slows all of them.

mod client;
mod load;
mod login;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::bench::load::{Sample, Target};
use crate::toolchain::{TARGET, WasmStd};
use crate::up::{self, App, Ports};
use crate::workspace::{self, Host, Install, Workspace, on_path, step};
use crate::{build, keys};

/// What `bench` can be told.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    /// What serves the wasm files.
    pub(crate) host: Host,
    /// Whether missing things may be installed.
    pub(crate) install: Install,
    /// The first of three ports.
    pub(crate) port: u16,
    /// Where the target's std comes from.
    pub(crate) wasm_std: WasmStd,
}

/// Builds, starts, measures and prints the table.
///
/// # Errors
/// When something does not start, or a single request fails.
pub(crate) fn run(workspace: &Workspace, settings: Settings) -> Result<()> {
    let ports = Ports::from_first(settings.port)?;
    ports.check_free()?;
    if settings.host == Host::Spin && !on_path("spin") {
        bail!("there is no `spin` on PATH");
    }
    let mut names = build::COMPONENTS.map(str::to_owned).to_vec();
    names.extend(GUESTS.map(|(guest, _)| format!("airside-bench-{guest}")));
    build::compile(workspace, settings.wasm_std, settings.install, &names)?;
    up::native_tools(workspace, settings.host)?;
    let secrets = keys::ensure_demo_secrets(workspace)?;
    let app = App::derived(workspace, ports, FOLDER)?;
    let guests = guests(workspace, ports, &app)?;
    let Some(mut processes) = up::start(workspace, settings.host, &app, ports, &secrets)? else {
        return Ok(());
    };
    processes.start(
        "guests",
        guests.serve(workspace, settings.host, ports.guests()),
    )?;
    if let Some(end) = processes.wait_until_ready(up::READY_LIMIT)? {
        bail!("the bench stops before it began: {end:?}");
    }
    let rows = rows(workspace, ports)?;
    let samples = measure(&rows)?;
    drop(processes);
    println!("\n{}", table(&rows, &samples, settings.host));
    Ok(())
}

/// A name and what is sent.
struct Row {
    name: &'static str,
    target: Target,
}

fn rows(workspace: &Workspace, ports: Ports) -> Result<Vec<Row>> {
    let mut token = workspace.program(up::demo_binary(workspace));
    token.args([
        "token",
        "--user",
        "alice",
        "--provider",
        &Ports::url(ports.provider),
    ]);
    token.args(["--audience", "https://api.example.com/invoices"]);
    token.args(["--scope", "openid read:invoices"]);
    let bearer = format!(
        "Bearer {}",
        workspace::output("airside-demo token", &mut token)?.trim()
    );
    let cookie = login::cookie(ports)?;
    let row = |name, port, target: &str, headers: &[(&str, &str)]| Row {
        name,
        target: Target {
            request: client::request("GET", port, target, headers, ""),
            port,
            status: 200,
        },
    };
    // What the gate sends, so that the upstream answers the raw row alike.
    let identity = [
        ("X-Forwarded-Sub", "alice"),
        ("X-Forwarded-Scope", "read:invoices"),
    ];
    Ok(vec![
        row("no-op", ports.guests(), "/noop", &[]),
        row(RAW, ports.guests(), PATH, &identity),
        row("bearer", ports.gateway, PATH, &[("Authorization", &bearer)]),
        row("cookie", ports.gateway, PATH, &[("Cookie", &cookie)]),
    ])
}

fn measure(rows: &[Row]) -> Result<Vec<Sample>> {
    for row in rows {
        load::measure(&row.target, CONNECTIONS, WARM_UP)
            .with_context(|| format!("warming up {}", row.name))?;
    }
    let mut rounds: Vec<Vec<Sample>> = rows.iter().map(|_| Vec::new()).collect();
    for round in 1..=ROUNDS {
        step(&format!("Round {round} of {ROUNDS}"));
        for (row, samples) in rows.iter().zip(&mut rounds) {
            let sample = load::measure(&row.target, CONNECTIONS, ROUND);
            samples.push(sample.with_context(|| format!("measuring {}", row.name))?);
        }
    }
    Ok(rounds.into_iter().map(median).collect())
}

/// The sample with the middle rate.
fn median(mut samples: Vec<Sample>) -> Sample {
    samples.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    samples.get(samples.len() / 2).cloned().unwrap_or_default()
}

fn table(rows: &[Row], samples: &[Sample], host: Host) -> String {
    let raw = rows.iter().zip(samples).find(|(row, _)| row.name == RAW);
    let raw = raw.map_or(f64::NAN, |(_, sample)| sample.per_second);
    let mut text = format!(
        "{:<18} {:>6} {:>12} {:>9} {:>9}\n",
        format!("on {}", host.name()),
        "ratio",
        "requests/s",
        "p50 ms",
        "p99 ms"
    );
    for (row, sample) in rows.iter().zip(samples) {
        let millis = |share| sample.percentile(share).as_secs_f64() * 1000.0;
        text += &format!(
            "{:<18} {:>6.2} {:>12.0} {:>9.2} {:>9.2}\n",
            row.name,
            sample.per_second / raw,
            sample.per_second,
            millis(0.5),
            millis(0.99)
        );
    }
    text + &format!(
        "ratio: to {RAW}, in this run; {CONNECTIONS} connections, median of {ROUNDS} rounds, \
         load and servers on the same machine\n"
    )
}

/// An app of the two guests. It is one of its own because the raw row passes paths on as they
/// are, and so must own all of them.
fn guests(workspace: &Workspace, ports: Ports, app: &App) -> Result<App> {
    let folder = workspace.path("target").join(TARGET).join("release");
    let manifest = workspace.path(FOLDER).join("guests.toml");
    fs::write(&manifest, guests_manifest(&folder, ports)?)?;
    Ok(App {
        manifest,
        runtime_config: app.runtime_config.clone(),
    })
}

fn guests_manifest(folder: &Path, ports: Ports) -> Result<String> {
    let mut text = "spin_manifest_version = 2\n[application]\nname = \"bench\"\n".to_owned();
    let upstream = Ports::url(ports.upstream);
    for (guest, route) in GUESTS {
        let file = folder.join(format!("airside_bench_{guest}.wasm"));
        let file = file.to_str().context("a path that is not UTF-8")?;
        text += &format!(
            "[[trigger.http]]\nroute = \"{route}\"\ncomponent = \"{guest}\"\n\
             [component.{guest}]\nsource = {source}\n\
             allowed_outbound_hosts = [\"{upstream}\"]\n\
             [component.{guest}.variables]\nupstream = \"{upstream}\"\n",
            source = toml_edit::Value::from(file)
        );
    }
    Ok(text)
}

/// Where the derived files go.
const FOLDER: &str = "target/airside/bench";

/// The guests and their routes; they are in `devhost/guests`.
const GUESTS: [(&str, &str); 2] = [("noop", "/noop"), ("passthrough", "/...")];

/// The row the others are compared with.
const RAW: &str = "raw pass-through";

/// A route that asks for a token.
const PATH: &str = "/api/invoices/";

const CONNECTIONS: usize = 32;
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(3);
const WARM_UP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;

    fn sample(per_second: f64) -> Sample {
        Sample {
            per_second,
            latencies: vec![Duration::from_millis(2)],
        }
    }

    #[test]
    fn the_median_is_the_middle_rate() {
        assert_eq!(
            median(vec![sample(3.0), sample(1.0), sample(2.0)]).per_second,
            2.0
        );
    }

    #[test]
    fn ratios_are_to_the_raw_row() {
        let target = || Target {
            request: Vec::new(),
            port: 0,
            status: 200,
        };
        let rows = [
            Row {
                name: "no-op",
                target: target(),
            },
            Row {
                name: RAW,
                target: target(),
            },
        ];
        let table = table(&rows, &[sample(300.0), sample(200.0)], Host::Devhost);
        let ratios: Vec<_> = table
            .lines()
            .skip(1)
            .take(2)
            .filter_map(|line| line.get(18..25))
            .collect();
        assert_eq!(ratios, ["   1.50", "   1.00"]);
    }

    #[test]
    fn the_guests_are_an_app() {
        let ports = Ports::from_first(4000).unwrap();
        let text = guests_manifest(Path::new("/w \"x"), ports).unwrap();
        let manifest = Manifest::parse(&text).unwrap();
        let guest = &manifest.components["passthrough"];
        assert!(guest.routes.contains("/..."));
        assert!(
            guest
                .allowed_outbound_hosts
                .contains("http://127.0.0.1:4002")
        );
        assert_eq!(guest.variables["upstream"], "http://127.0.0.1:4002");
    }
}
