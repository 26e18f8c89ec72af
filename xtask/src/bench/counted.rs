//! Instructions instead of time: what the components execute for a request, the same at every
//! run on every machine. devhost counts them; Spin does not.
//!
//! Requests are sent one by one to instances that live as long as the process, and devhost
//! writes what each took when it ends.

use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::bench::client::Connection;
use crate::bench::load::Order;
use crate::bench::rows::Row;
use crate::bench::servers::{Place, Servers, passing};
use crate::up::App;

/// A devhost that comes and goes.
pub(crate) struct Passing {
    name: &'static str,
    port: u16,
    stats: PathBuf,
}

/// What devhost wrote about one.
pub(crate) struct Stats(String);

impl Passing {
    /// Starts one that counts, in one instance for all requests; its store is in memory unless
    /// `keep` says that it is the file of the app.
    ///
    /// # Errors
    /// When it does not serve.
    pub(crate) fn counting(
        servers: &mut Servers<'_>,
        name: &'static str,
        app: &App,
        port: u16,
        keep: Keep,
    ) -> Result<Self> {
        let mut arguments = vec!["--instructions"];
        arguments.extend(ONE_INSTANCE);
        arguments.extend(keep.arguments());
        Self::start(servers, name, app, port, &arguments)
    }

    /// Starts one with these arguments.
    ///
    /// # Errors
    /// When it does not serve.
    pub(crate) fn start(
        servers: &mut Servers<'_>,
        name: &'static str,
        app: &App,
        port: u16,
        arguments: &[&str],
    ) -> Result<Self> {
        let stats = format!("{}.json", name.replace(' ', "-"));
        let stats = servers.folder().join(stats);
        let mut command = servers.gate(app, port);
        command.args(arguments).arg("--stats").arg(&stats);
        // One after the other: the first compiles, and the others find it done.
        servers.run(name, command)?;
        Ok(Self { name, port, stats })
    }

    /// Sends requests one by one; returns how long each took.
    ///
    /// # Errors
    /// At the first status that is not `status`.
    pub(crate) fn send<'a>(
        &self,
        requests: impl IntoIterator<Item = &'a Vec<u8>>,
        status: u16,
    ) -> Result<Vec<Duration>> {
        let mut connection = Connection::open(self.port)?;
        let mut times = Vec::new();
        for request in requests {
            let sent = Instant::now();
            let response = connection.send(request)?;
            times.push(sent.elapsed());
            ensure!(
                response.status == status,
                "{}: {} instead of {status}: {}",
                self.name,
                response.status,
                response.text()
            );
            if !response.keeps_connection() {
                connection = Connection::open(self.port)?;
            }
        }
        Ok(times)
    }

    /// Ends it; returns what it wrote.
    ///
    /// # Errors
    /// When it wrote nothing.
    pub(crate) fn end(self, servers: &mut Servers<'_>) -> Result<Stats> {
        servers.processes.stop(self.name);
        let text = fs::read_to_string(&self.stats);
        text.map(Stats)
            .with_context(|| format!("no {}", self.stats.display()))
    }
}

/// Whether the store outlives the process.
#[derive(Clone, Copy)]
pub(crate) enum Keep {
    /// It is in memory.
    No,
    /// It is the app's file.
    Yes,
}

impl Keep {
    /// What devhost is told.
    pub(crate) fn arguments(self) -> &'static [&'static str] {
        match self {
            Keep::No => &["--key-value", "memory"],
            Keep::Yes => &[],
        }
    }
}

impl Stats {
    /// The instructions of each request to `component`, in their order; that of an instance's
    /// first request includes making it, and that of its last is not known.
    ///
    /// # Errors
    /// When there are none.
    pub(crate) fn instructions(&self, component: &str) -> Result<Instructions> {
        let list = self
            .of(component)?
            .split_once("\"instructions\": [")
            .and_then(|(_, list)| list.split_once(']'));
        let (list, _) = list.context("no instructions")?;
        let numbers = list.split(',').map(str::trim).filter(|n| !n.is_empty());
        let numbers = numbers.map(|number| match number {
            "null" => Ok(None),
            number => number.parse().map(Some).context("a number"),
        });
        Ok(Instructions(numbers.collect::<Result<_>>()?))
    }

    /// The middle of what the first request of each instance of `component` took.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) fn first_request(&self, component: &str) -> Result<Duration> {
        let found = self.of(component)?.split_once("\"p50\": ");
        let digits = found.map_or("", |(_, rest)| rest);
        let end = digits.find(|c: char| !c.is_ascii_digit());
        let digits = digits.get(..end.unwrap_or(digits.len()));
        let micros = digits.and_then(|digits| digits.parse().ok());
        Ok(Duration::from_micros(micros.context("no first requests")?))
    }

    fn of(&self, component: &str) -> Result<&str> {
        let found = self.0.split_once(&format!("\"{component}\": {{"));
        Ok(found
            .with_context(|| format!("nothing about {component}"))?
            .1)
    }
}

/// Of each request, where that is known.
pub(crate) struct Instructions(Vec<Option<u64>>);

impl Instructions {
    /// The middle of those of the requests of `range`.
    ///
    /// # Errors
    /// When none is known.
    pub(crate) fn middle(&self, range: Range<usize>) -> Result<u64> {
        let known = self.0.get(range.clone()).unwrap_or_default();
        let known: Vec<u64> = known.iter().flatten().copied().collect();
        ensure!(
            !known.is_empty(),
            "nothing known of requests {range:?} of {}",
            self.0.len()
        );
        Ok(middle(&known))
    }
}

/// What each row takes, where it is counted: the middle of its requests but the first.
///
/// # Errors
/// When a process does not start, or a status is not the row's.
pub(crate) fn count(servers: &mut Servers<'_>, rows: &[Row]) -> Result<Vec<Option<u64>>> {
    let mut running: Vec<(&'static str, Passing)> = Vec::new();
    for row in rows {
        let Some((name, number, keep)) = counterpart(row.place) else {
            continue;
        };
        let process = row.place.process();
        if running.iter().all(|(known, _)| *known != process) {
            let app = servers.app_of(row.place)?.clone();
            let port = passing(servers.ports, number);
            let passing = Passing::counting(servers, name, &app, port, keep)?;
            running.push((process, passing));
        }
    }
    for row in rows {
        let process = row.place.process();
        if let Some((_, passing)) = running.iter().find(|(known, _)| *known == process) {
            // The first ones were sent by the rows before: what is to be new comes from the end.
            let sent = match row.order {
                Order::InTurn => passing.send(row.requests.iter().rev().take(REQUESTS), row.status),
                Order::Random => {
                    passing.send(row.requests.iter().cycle().take(REQUESTS), row.status)
                }
            };
            sent.with_context(|| format!("counting {}", row.name))?;
        }
    }
    let mut stats = HashMap::new();
    for (process, passing) in running {
        stats.insert(process, passing.end(servers)?);
    }
    let mut offsets = HashMap::new();
    let counted = rows.iter().map(|row| -> Result<Option<u64>> {
        let process = row.place.process();
        let Some(stats) = stats.get(process) else {
            return Ok(None);
        };
        let component = match row.place {
            Place::Guest(guest) => guest,
            Place::Gate(_) | Place::Peer(..) => "authorize",
        };
        let offset: &mut usize = offsets.entry((process, component)).or_default();
        let own = *offset + 1..*offset + REQUESTS;
        *offset += REQUESTS;
        let count = stats.instructions(component)?.middle(own);
        count.map(Some).with_context(|| row.name.clone())
    });
    counted.collect()
}

/// The process that counts for a place, by name, number of its port, and store.
fn counterpart(place: Place) -> Option<(&'static str, u16, Keep)> {
    Some(match place.process() {
        "gateway" => ("counted gateway", 0, Keep::No),
        // The sessions are in the store of the one that is measured.
        "stored" => ("counted stored", 1, Keep::Yes),
        "trusting" => ("counted trusting", 2, Keep::No),
        "guests" => ("counted guests", 3, Keep::No),
        "verifying" => ("counted verifying", 4, Keep::No),
        "whole" => ("counted whole", 11, Keep::No),
        _ => return None,
    })
}

/// The number in the middle.
pub(crate) fn middle<T: Copy + Default + Ord>(numbers: &[T]) -> T {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// Requests of a row: the middle of them counts.
const REQUESTS: usize = 21;

/// One instance for all.
pub(crate) const ONE_INSTANCE: [&str; 4] = [
    "--max-instance-reuse-count",
    "1000000000",
    "--idle-instance-timeout",
    "10m",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::servers::{GUESTS, Variant};

    #[test]
    fn the_numbers_of_a_component_are_found() {
        let text = "{\n \"a\": {\n \"p50\": 7,\n \"instructions\": []\n},\n \"b\": {\n \"x\": 1,\n \
                    \"instructions\": [\n 5,\n null,\n 70\n ],\n \"y\": { \"p50\": 1500 } }\n}";
        let stats = Stats(text.to_owned());
        assert_eq!(stats.instructions("a").unwrap().0, []);
        let known = stats.instructions("b").unwrap();
        assert_eq!(known.0, [Some(5), None, Some(70)]);
        assert_eq!(known.middle(0..2).unwrap(), 5);
        assert!(known.middle(1..2).is_err() && known.middle(2..4).is_err());
        assert!(stats.instructions("c").is_err());
        let millis = Duration::from_micros(1_500);
        assert_eq!(stats.first_request("b").unwrap(), millis);
        assert_eq!(middle(&[9, 1, 5]), 5);
    }

    #[test]
    fn what_is_counted_has_a_counterpart() {
        for variant in [Variant::Plain, Variant::Stored, Variant::Trusting] {
            assert!(counterpart(Place::Gate(variant)).is_some());
        }
        for guest in GUESTS {
            assert!(counterpart(Place::Guest(guest)).is_some());
        }
        assert!(counterpart(Place::Peer("envoy", 1)).is_none());
    }
}
