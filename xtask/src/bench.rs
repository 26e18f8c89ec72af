//! `cargo xtask bench`: what the gate costs, as ratios measured in one run.
//!
//! All rows on one host process and one upstream: a component that does nothing, a component
//! that only passes on, and the gate with tokens and with a session. Rows take turns, so that a
//! machine that slows down slows all of them. On devhost, the instructions of each row are
//! counted as well, by processes of their own: those do not depend on the machine.

mod client;
mod counted;
mod load;
mod login;
mod rows;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::bench::counted::{Counted, Counts};
use crate::bench::load::{Sample, Target};
use crate::bench::rows::{NOT_RUN, Place, RAW, Row};
use crate::toolchain::{TARGET, WasmStd};
use crate::up::processes::Processes;
use crate::up::{self, App, Ports};
use crate::workspace::{Host, Install, Workspace, on_path, step};
use crate::{build, keys};

/// What `bench` can be told.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    /// What serves the wasm files.
    pub(crate) host: Host,
    /// Whether missing things may be installed.
    pub(crate) install: Install,
    /// The first of three ports, and of nine that are used.
    pub(crate) port: u16,
    /// Whether a short run will do.
    pub(crate) quick: bool,
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
    let mut counted = match settings.host {
        Host::Spin => None,
        Host::Devhost => Some(Counted::start(
            workspace,
            ports,
            [&app, &guests],
            FOLDER,
            &secrets,
            &mut processes,
        )?),
    };
    if let Some(end) = processes.wait_until_ready(up::READY_LIMIT)? {
        bail!("the bench stops before it began: {end:?}");
    }
    let rows = rows::rows(workspace, ports, if settings.quick { 100 } else { 1_000 })?;
    if let Some(counted) = &mut counted {
        step("Counting instructions");
        counted.send(&rows)?;
    }
    let samples = measure(&rows, &processes, settings)?;
    drop(processes);
    let counts = counted.map(|counted| counted.read(&rows)).transpose()?;
    let text = table(&rows, &samples, counts.as_ref(), settings);
    println!("\n{text}");
    let file = workspace.path(FOLDER).join("bench.txt");
    fs::write(&file, text)?;
    println!("written to {}", file.display());
    Ok(())
}

fn measure(rows: &[Row], processes: &Processes, settings: Settings) -> Result<Vec<Sample>> {
    let (rounds, length) = if settings.quick { QUICK } else { FULL };
    let targets: Vec<Target> = rows.iter().map(|row| target(row, settings.port)).collect();
    for (row, target) in rows.iter().zip(&targets) {
        load::measure(target, CONNECTIONS, WARM_UP)
            .with_context(|| format!("warming up {}", row.name))?;
    }
    let mut samples: Vec<Vec<Sample>> = rows.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        step(&format!("Round {round} of {rounds}"));
        for ((row, target), samples) in rows.iter().zip(&targets).zip(&mut samples) {
            let process = match row.place {
                Place::Gateway => "gateway",
                Place::Guest(_) => "guests",
            };
            let before = processes.cpu_time(process);
            let sample = load::measure(target, CONNECTIONS, length);
            let mut sample = sample.with_context(|| format!("measuring {}", row.name))?;
            sample.cpu = processes.cpu_time(process).saturating_sub(before);
            samples.push(sample);
        }
    }
    Ok(samples.into_iter().map(median).collect())
}

fn target(row: &Row, first_port: u16) -> Target {
    let guests = first_port.saturating_add(3);
    Target {
        requests: row.requests.clone(),
        port: match row.place {
            Place::Gateway => first_port,
            Place::Guest(_) => guests,
        },
        status: row.status,
    }
}

/// The sample with the middle rate.
fn median(mut samples: Vec<Sample>) -> Sample {
    samples.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    samples.get(samples.len() / 2).cloned().unwrap_or_default()
}

fn table(rows: &[Row], samples: &[Sample], counts: Option<&Counts>, settings: Settings) -> String {
    let raw = rows.iter().zip(samples).find(|(row, _)| row.name == RAW);
    let raw = raw.map_or(f64::NAN, |(_, sample)| sample.per_second);
    let (rounds, length) = if settings.quick { QUICK } else { FULL };
    let mut text = format!(
        "{:<26} {:>6} {:>11} {:>8} {:>8} {:>7} {:>13}\n",
        format!("on {}", settings.host.name()),
        "ratio",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "cpu us",
        "instructions"
    );
    for (index, (row, sample)) in rows.iter().zip(samples).enumerate() {
        let millis = |share| sample.percentile(share).as_secs_f64() * 1000.0;
        let requests = sample.latencies.len().max(1) as f64;
        let count = counts.and_then(|counts| counts.rows.get(index));
        text += &format!(
            "{:<26} {:>6.2} {:>11.0} {:>8.2} {:>8.2} {:>7.0} {:>13}\n",
            row.name,
            sample.per_second / raw,
            sample.per_second,
            millis(0.5),
            millis(0.99),
            sample.cpu.as_secs_f64() * 1e6 / requests,
            count.map_or("-".to_owned(), u64::to_string),
        );
    }
    for (name, reason) in NOT_RUN {
        text += &format!("{name:<26} not run: {reason}\n");
    }
    text += &format!(
        "ratio: to {RAW}, in this run; {CONNECTIONS} connections, median of {rounds} rounds of \
         {} s, load and servers on the same machine; cpu: of the host process; instructions: \
         wasm, of the component, one request at a time\n",
        length.as_secs()
    );
    for (routes, first, later) in counts.iter().flat_map(|counts| &counts.growth) {
        text += &format!(
            "{routes:>6} routes more: {first} instructions to make an instance and answer its \
             first request, {later} for a later one\n"
        );
    }
    text
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

const CONNECTIONS: usize = 32;
/// Rounds, and how long each row is measured in one.
const FULL: (usize, Duration) = (3, Duration::from_secs(3));
const QUICK: (usize, Duration) = (1, Duration::from_secs(1));
const WARM_UP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;

    fn sample(per_second: f64) -> Sample {
        Sample {
            per_second,
            latencies: vec![Duration::from_millis(2)],
            cpu: Duration::ZERO,
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
        let row = |name: &str| Row {
            name: name.to_owned(),
            place: Place::Guest("noop"),
            requests: Vec::new(),
            status: 200,
        };
        let settings = Settings {
            host: Host::Devhost,
            install: Install::Forbidden,
            port: 0,
            quick: true,
            wasm_std: WasmStd::default(),
        };
        let counts = Counts {
            rows: vec![7, 8],
            growth: vec![(10, 100, 9)],
        };
        let rows = [row("no-op"), row(RAW)];
        let samples = [sample(300.0), sample(200.0)];
        let table = table(&rows, &samples, Some(&counts), settings);
        let ratios: Vec<_> = table
            .lines()
            .skip(1)
            .take(2)
            .filter_map(|line| line.get(26..33))
            .collect();
        assert_eq!(ratios, ["   1.50", "   1.00"]);
        assert!(table.contains(" 8\n") && table.contains("10 routes more: 100 "));
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
