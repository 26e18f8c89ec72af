//! `cargo xtask bench`: what the gate costs, as ratios measured in one run.
//!
//! All rows on one upstream: a component that does nothing, a component that only passes on, the
//! gate with tokens and with sessions, and other programs for the same task. Each row takes short
//! turns with the one it is compared with, so that a machine that slows down slows both. On devhost,
//! the instructions of each row are counted as well, by processes of their own, and what becomes of
//! them when there is more of something: those do not depend on the machine.

mod client;
mod counted;
mod growth;
mod load;
mod login;
mod machine;
mod peers;
mod public_key;
mod rows;
mod servers;

use std::fs;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::bench::growth::Sizes;
use crate::bench::load::{Sample, TURN, Target};
use crate::bench::peers::Peer;
use crate::bench::rows::{RAW, Row, Tokens};
use crate::bench::servers::{FOLDER, GUESTS, Servers};
use crate::build;
use crate::toolchain::WasmStd;
use crate::up::{self, Ports};
use crate::workspace::{Host, Install, Workspace, on_path, step};

/// What `bench` can be told.
pub(crate) struct Settings {
    /// What serves the wasm files.
    pub(crate) host: Host,
    /// Whether missing things may be installed.
    pub(crate) install: Install,
    /// What the names of the measured rows contain, beside the row that they are compared with.
    /// None: all rows, and what becomes of the instructions when there is more of something.
    pub(crate) only: Vec<String>,
    /// Whether other programs are measured beside it.
    pub(crate) peers: bool,
    /// The first of the ports that are used.
    pub(crate) port: u16,
    /// Whether a short run will do.
    pub(crate) quick: bool,
    /// Where the target's std comes from.
    pub(crate) wasm_std: WasmStd,
}

/// Builds, starts, measures and prints the table.
///
/// # Errors
/// When something does not start, a single request fails, or no row is named as wanted.
pub(crate) fn run(workspace: &Workspace, settings: Settings) -> Result<()> {
    let ports = Ports::from_first(settings.port)?;
    servers::check_free(ports)?;
    if settings.host == Host::Spin && !on_path("spin") {
        bail!("there is no `spin` on PATH");
    }
    let mut names = build::COMPONENTS.map(str::to_owned).to_vec();
    names.extend(GUESTS.map(|guest| format!("airside-bench-{guest}")));
    build::compile(workspace, settings.wasm_std, settings.install, &names)?;
    up::native_tools(workspace, settings.host)?;
    step("Starting the servers");
    let Some(mut servers) = Servers::start(workspace, settings.host, ports)? else {
        return Ok(());
    };
    let plan = Plan::of(settings.quick);
    step("Getting tokens");
    let tokens = Tokens::get(workspace, ports, plan.tokens)?;
    let peers = match settings.peers {
        true => peers::start(&mut servers, settings.install, tokens.samples()),
        false => Vec::new(),
    };
    let mut rows = rows::rows(&servers, &tokens, &peers)?;
    let wanted = |name: &str| settings.only.iter().any(|part| name.contains(part));
    if !settings.only.is_empty() {
        if !rows.iter().any(|row| wanted(&row.name)) {
            bail!("no row has one of these in its name: {:?}", settings.only);
        }
        rows.retain(|row| row.name == RAW || wanted(&row.name));
    }
    let mut counts = vec![None; rows.len()];
    let mut grown = String::new();
    if settings.host == Host::Devhost {
        step("Counting instructions");
        counts = counted::count(&mut servers, &rows)?;
        if settings.only.is_empty() {
            grown = growth::measure(&mut servers, &tokens, plan.sizes)?;
        }
    }
    let samples = measure(&rows, &servers, plan)?;
    drop(servers);
    let mut text = machine::about(workspace, settings.host, &peers);
    text += &table(&rows, &samples, &counts, settings.host);
    text += &remarks(&peers, plan);
    text += &grown;
    println!("\n{text}");
    let file = workspace.path(FOLDER).join("bench.txt");
    fs::write(&file, text)?;
    println!("written to {}", file.display());
    Ok(())
}

/// How much is done.
#[derive(Clone, Copy)]
struct Plan {
    rounds: u32,
    /// Turns of each row in one round, and before the first, to warm up.
    turns: u32,
    warm_up: u32,
    /// Distinct tokens of the algorithm that is verified fastest.
    tokens: u32,
    sizes: Sizes,
}

impl Plan {
    fn of(quick: bool) -> Self {
        match quick {
            true => Self {
                rounds: 1,
                turns: 3,
                warm_up: 1,
                tokens: 1_000,
                sizes: Sizes::QUICK,
            },
            false => Self {
                rounds: 5,
                turns: 4,
                warm_up: 2,
                tokens: 5_000,
                sizes: Sizes::FULL,
            },
        }
    }
}

/// A row's sample, and that of the raw pass-through in turn with it.
struct Pair {
    raw: Sample,
    row: Sample,
}

impl Pair {
    fn ratio(&self) -> f64 {
        self.row.per_second / self.raw.per_second
    }

    fn p99_ratio(&self) -> f64 {
        let p99 = |sample: &Sample| sample.percentile(0.99).as_secs_f64();
        p99(&self.row) / p99(&self.raw)
    }
}

fn measure(rows: &[Row], servers: &Servers<'_>, plan: Plan) -> Result<Vec<Vec<Pair>>> {
    let target = |row: &Row| Target {
        requests: row.requests.clone(),
        order: row.order,
        sent: AtomicUsize::new(0),
        port: row.place.port(servers.ports),
        status: row.status,
    };
    let targets: Vec<Target> = rows.iter().map(target).collect();
    step("Warming up");
    for (row, target) in rows.iter().zip(&targets) {
        load::measure(&[target], CONNECTIONS, plan.warm_up, &|_| Duration::ZERO)
            .with_context(|| format!("warming up {}", row.name))?;
    }
    let raw = rows.iter().zip(&targets).find(|(row, _)| row.name == RAW);
    let (raw_row, raw_target) = raw.context("no row to compare with")?;
    let mut pairs: Vec<Vec<Pair>> = rows.iter().map(|_| Vec::new()).collect();
    for round in 1..=plan.rounds {
        step(&format!("Round {round} of {}", plan.rounds));
        for ((row, target), pairs) in rows.iter().zip(&targets).zip(&mut pairs) {
            let places = [&raw_row.place, &row.place];
            let cpu = |at: usize| servers.processes.cpu_time(places[at].process());
            let samples = load::measure(&[raw_target, target], CONNECTIONS, plan.turns, &cpu)
                .with_context(|| format!("measuring {}", row.name))?;
            let samples: [Sample; 2] = samples.try_into().ok().context("two samples")?;
            let [raw, row] = samples;
            pairs.push(Pair { raw, row });
        }
    }
    Ok(pairs)
}

/// The pair with the middle ratio, and the middle ratio of the 99th percentiles.
fn median(pairs: &[Pair]) -> Option<(&Pair, f64)> {
    let mut by_ratio: Vec<&Pair> = pairs.iter().collect();
    by_ratio.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
    let mut p99: Vec<f64> = pairs.iter().map(Pair::p99_ratio).collect();
    p99.sort_by(f64::total_cmp);
    let middle = pairs.len() / 2;
    Some((by_ratio.get(middle)?, *p99.get(middle)?))
}

fn table(rows: &[Row], pairs: &[Vec<Pair>], counts: &[Option<u64>], host: Host) -> String {
    let millis = |sample: &Sample, share| sample.percentile(share).as_secs_f64() * 1000.0;
    let mut text = format!(
        "\n{:<40} {:>6} {:>6} {:>10} {:>8} {:>8} {:>7} {:>13}\n",
        format!("on {}", host.name()),
        "ratio",
        "p99 to",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "cpu us",
        "instructions"
    );
    for ((row, pairs), count) in rows.iter().zip(pairs).zip(counts) {
        let Some((pair, p99)) = median(pairs) else {
            continue;
        };
        let sample = &pair.row;
        let requests = sample.latencies.len().max(1) as f64;
        text += &format!(
            "{:<40} {:>6.2} {:>6.2} {:>10.0} {:>8.2} {:>8.2} {:>7.0} {:>13}\n",
            row.name,
            pair.ratio(),
            p99,
            sample.per_second,
            millis(sample, 0.5),
            millis(sample, 0.99),
            sample.cpu.as_secs_f64() * 1e6 / requests,
            count.map_or("-".to_owned(), |count| count.to_string()),
        );
    }
    text
}

fn remarks(peers: &[Peer], plan: Plan) -> String {
    let mut text = String::new();
    for peer in peers {
        if let Err(reason) = &peer.place {
            text += &format!("{:<40} not run: {reason}\n", peer.name);
        }
    }
    text += &format!(
        "ratio, p99 to: requests/s and p99 as parts of those of the {RAW} in turn with it, the \
         middle one of {} times\n\
         {CONNECTIONS} connections, {} turns of {} ms each time; load and servers on one machine; \
         the other numbers are those of the time with the middle ratio\n\
         cpu: of the host process with its children; instructions: wasm, of the component, one \
         request at a time\n\
         in turn: each token comes again only after all others; an instance lives for 128 requests\n",
        plan.rounds,
        plan.turns,
        TURN.as_millis()
    );
    if !peers.is_empty() {
        text += "peers: one worker each; the same RS256 tokens in the same orders, and the same \
                 checks: signature, iss, aud, exp, scope\n";
    }
    text
}

const CONNECTIONS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::load::Order;
    use crate::bench::servers::Place;

    fn sample(per_second: f64, millis: u64) -> Sample {
        Sample {
            per_second,
            latencies: vec![Duration::from_millis(millis)],
            cpu: Duration::ZERO,
        }
    }

    fn pair(raw: (f64, u64), row: (f64, u64)) -> Pair {
        Pair {
            raw: sample(raw.0, raw.1),
            row: sample(row.0, row.1),
        }
    }

    #[test]
    fn the_median_is_of_ratios_not_of_rates() {
        // The machine was twice as fast in the end: by rates alone the first would be the least.
        let pairs = [
            pair((100.0, 2), (90.0, 4)),
            pair((100.0, 2), (70.0, 2)),
            pair((200.0, 1), (160.0, 3)),
        ];
        let (middle, p99) = median(&pairs).unwrap();
        assert_eq!(middle.row.per_second, 160.0);
        assert_eq!(p99, 2.0);
        assert!(median(&[]).is_none());
    }

    #[test]
    fn ratios_are_to_the_raw_sample_of_the_same_moment() {
        let row = |name: &str| Row {
            name: name.to_owned(),
            place: Place::Guest("noop"),
            requests: Vec::new(),
            order: Order::Random,
            status: 200,
        };
        let rows = [row("no-op"), row(RAW)];
        let pairs = [
            vec![pair((200.0, 2), (300.0, 1))],
            vec![pair((100.0, 2), (100.0, 2))],
        ];
        let table = table(&rows, &pairs, &[Some(7), None], Host::Devhost);
        let lines: Vec<_> = table.lines().skip(2).collect();
        let ratios: Vec<_> = lines.iter().filter_map(|line| line.get(40..54)).collect();
        assert_eq!(ratios, ["   1.50   0.50", "   1.00   1.00"]);
        assert!(lines[0].ends_with(" 7") && lines[1].ends_with(" -"));
    }

    #[test]
    fn a_peer_that_cannot_run_is_a_line_that_says_why() {
        let peer = Peer {
            name: "Envoy jwt_authn",
            place: Err("there is no envoy".to_owned()),
            version: String::new(),
        };
        let plan = Plan {
            rounds: 1,
            turns: 0,
            warm_up: 0,
            tokens: 1,
            sizes: Sizes::QUICK,
        };
        let text = remarks(&[peer], plan);
        assert!(text.contains("not run: there is no envoy\n"), "{text}");
    }
}
