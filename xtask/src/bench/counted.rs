//! Instructions instead of time: what the components execute for a request, the same at every
//! run on every machine. devhost counts them; Spin does not.
//!
//! Requests are sent one by one to instances that live as long as the run, and devhost writes
//! what each took when it ends.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::bench::client::Connection;
use crate::bench::rows::{Place, Row};
use crate::env_file::EnvFile;
use crate::up::processes::Processes;
use crate::up::{App, Ports, READY_LIMIT, gateway};
use crate::workspace::{Host, Workspace};

/// The processes that count, and the files they will write.
pub(crate) struct Counted {
    gateway: (u16, PathBuf),
    guests: (u16, PathBuf),
    growth: Vec<(usize, u16, PathBuf)>,
    /// How many requests each row sent.
    sent: Vec<usize>,
}

/// What was counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Of each row: the middle of its requests but the first.
    pub(crate) rows: Vec<u64>,
    /// By the number of routes: making an instance and its first request, and a later one.
    pub(crate) growth: Vec<(usize, u64, u64)>,
}

impl Counted {
    /// Starts the processes beside those of the run.
    ///
    /// # Errors
    /// When one of them cannot be started.
    pub(crate) fn start(
        workspace: &Workspace,
        ports: Ports,
        apps: [&App; 2],
        folder: &str,
        secrets: &EnvFile,
        processes: &mut Processes,
    ) -> Result<Self> {
        let file = |name: &str| workspace.path(folder).join(format!("{name}.json"));
        let mut next = ports.guests();
        let mut port = || {
            next = next.saturating_add(1);
            next
        };
        let [app, guests] = apps;
        let mut serve = |name: &'static str, app: &App, port: u16| -> Result<(u16, PathBuf)> {
            let stats = file(&name.replace(' ', "-"));
            let ports = Ports {
                gateway: port,
                ..ports
            };
            let mut command = gateway(workspace, Host::Devhost, app, ports, secrets);
            command.arg("--stats").arg(&stats).args(ARGUMENTS);
            processes.start(name, command)?;
            // One after the other: the first compiles, and the others find it done.
            if let Some(end) = processes.wait_until_ready(READY_LIMIT)? {
                bail!("the bench stops before it began: {end:?}");
            }
            Ok((port, stats))
        };
        let gateway = serve("counted gateway", app, port())?;
        let guests = serve("counted guests", guests, port())?;
        let mut growth = Vec::new();
        for (count, name) in ROUTES {
            let app = App::derived(workspace, ports, &format!("{folder}/{count}"))?;
            let file = workspace.path(&format!("{folder}/{count}/airside.toml"));
            let mut text = fs::read_to_string(&file)?;
            text += &routes(count);
            fs::write(&file, text)?;
            let (port, stats) = serve(name, &app, port())?;
            growth.push((count, port, stats));
        }
        Ok(Self {
            gateway,
            guests,
            growth,
            sent: Vec::new(),
        })
    }

    /// Sends the requests of all rows.
    ///
    /// # Errors
    /// At the first status that is not the row's.
    pub(crate) fn send(&mut self, rows: &[Row]) -> Result<()> {
        for row in rows {
            let port = match row.place {
                Place::Gateway => self.gateway.0,
                Place::Guest(_) => self.guests.0,
            };
            let mut connection = Connection::open(port)?;
            let requests = row.requests.iter().cycle().take(REQUESTS);
            for request in requests {
                let response = connection.send(request)?;
                ensure!(
                    response.status == row.status,
                    "{}: {} instead of {}",
                    row.name,
                    response.status,
                    row.status
                );
                if !response.keeps_connection() {
                    connection = Connection::open(port)?;
                }
            }
            self.sent.push(REQUESTS);
        }
        let public = rows.iter().find(|row| row.name == "public route");
        let public = public.and_then(|row| row.requests.first());
        for (_, port, _) in &self.growth {
            let mut connection = Connection::open(*port)?;
            for _ in 0..REQUESTS {
                let response = connection.send(public.context("no public route")?)?;
                ensure!(response.status == 200, "{}", response.text());
            }
        }
        Ok(())
    }

    /// Reads what was counted, after the processes have ended.
    ///
    /// # Errors
    /// When a file is not there or has too few numbers.
    pub(crate) fn read(self, rows: &[Row]) -> Result<Counts> {
        let (gateway, guests) = (read(&self.gateway.1)?, read(&self.guests.1)?);
        let mut counts = Counts::default();
        let mut offsets = std::collections::HashMap::new();
        for (row, sent) in rows.iter().zip(self.sent) {
            let (text, component) = match row.place {
                Place::Gateway => (&gateway, "authorize"),
                Place::Guest(guest) => (&guests, guest),
            };
            // The first number is for making the instance.
            let offset = offsets.entry(component).or_insert(1);
            let numbers = instructions(text, component)?;
            let own = numbers.get(*offset + 1..*offset + sent);
            counts
                .rows
                .push(middle(own.context("too few numbers: an instance ended")?));
            *offset += sent;
        }
        for (routes, _, file) in self.growth {
            let numbers = instructions(&read(&file)?, "authorize")?;
            let (Some([made, first]), Some(later)) = (numbers.get(..2), numbers.get(2..REQUESTS))
            else {
                bail!("too few numbers for {routes} routes");
            };
            counts.growth.push((routes, made + first, middle(later)));
        }
        Ok(counts)
    }
}

fn read(file: &PathBuf) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("no {}", file.display()))
}

/// The numbers of `component` in what devhost wrote.
fn instructions(text: &str, component: &str) -> Result<Vec<u64>> {
    let (_, own) = text
        .split_once(&format!("\"{component}\": {{"))
        .with_context(|| format!("nothing about {component}"))?;
    let list = own
        .split_once("\"instructions\": [")
        .and_then(|(_, list)| list.split_once(']'));
    let (list, _) = list.context("no instructions")?;
    let numbers = list.split(',').map(str::trim).filter(|n| !n.is_empty());
    numbers
        .map(|number| number.parse().context("a number"))
        .collect()
}

fn middle(numbers: &[u64]) -> u64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// So many routes more, each with a token rule of its own.
fn routes(count: usize) -> String {
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

/// How many routes are added, and what the process is called.
const ROUTES: [(usize, &str); 3] = [
    (10, "10 routes"),
    (1_000, "1000 routes"),
    (10_000, "10000 routes"),
];

/// Requests of a row: the middle of them counts.
const REQUESTS: usize = 21;

/// One instance for all, and nothing that another process writes.
const ARGUMENTS: [&str; 8] = [
    "--instructions",
    "--key-value",
    "memory",
    "--quiet",
    "--max-instance-reuse-count",
    "1000000000",
    "--idle-instance-timeout",
    "10m",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_component_are_found() {
        let text = "{\n \"a\": {\n \"instructions\": []\n},\n \"b\": {\n \"x\": 1,\n \
                    \"instructions\": [\n 5,\n 70\n ],\n \"y\": 2 }\n}";
        assert_eq!(instructions(text, "a").unwrap(), [0_u64; 0]);
        assert_eq!(instructions(text, "b").unwrap(), [5, 70]);
        assert!(instructions(text, "c").is_err());
        assert_eq!(middle(&[9, 1, 5]), 5);
    }

    #[test]
    fn grown_routes_are_whole_tables() {
        let text = routes(2);
        let document: toml_edit::DocumentMut = text.parse().unwrap();
        assert_eq!(document["routes"].as_array_of_tables().unwrap().len(), 2);
    }
}
