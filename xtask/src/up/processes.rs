//! Processes that live and end together.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

/// Why waiting is over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Ctrl-C, SIGTERM or SIGHUP.
    Asked,
    /// A process ended.
    Died(&'static str),
}

/// Running processes; dropping this ends them all.
pub(crate) struct Processes {
    events: Receiver<Event>,
    running: Vec<(&'static str, Child)>,
    sender: Sender<Event>,
    /// By their ids: names come again.
    serving: Vec<u32>,
}

enum Event {
    Asked,
    Ended(u32),
    Serving(u32),
}

impl Processes {
    /// None yet; from now on Ctrl-C is an [`End`] instead of ending this process.
    pub(crate) fn new() -> Result<Self> {
        let processes = Self::without_signals();
        let sender = processes.sender.clone();
        ctrlc::set_handler(move || {
            // Nobody listens any more: it is ending already.
            let _ = sender.send(Event::Asked);
        })
        .context("catching Ctrl-C")?;
        Ok(processes)
    }

    fn without_signals() -> Self {
        let (sender, events) = channel();
        Self {
            events,
            running: Vec::new(),
            sender,
            serving: Vec::new(),
        }
    }

    /// Starts one, in a process group of its own so that Ctrl-C reaches only this process and
    /// so that its children end with it. Its lines go to the screen, with the name in front.
    pub(crate) fn start(&mut self, name: &'static str, command: Command) -> Result<()> {
        self.spawn(name, command).map(drop)
    }

    /// The same for a program that does not say when it serves: it does once `port` is open. The
    /// port must be free before.
    pub(crate) fn start_on(
        &mut self,
        name: &'static str,
        command: Command,
        port: u16,
    ) -> Result<()> {
        let process = self.spawn(name, command)?;
        let sender = self.sender.clone();
        thread::spawn(move || {
            let running = format!("/proc/{process}");
            while std::path::Path::new(&running).exists() {
                if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                    let _ = sender.send(Event::Serving(process));
                    return;
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        Ok(())
    }

    fn spawn(&mut self, name: &'static str, mut command: Command) -> Result<u32> {
        command.process_group(0).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start the {name} (`{program}`)"))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let process = child.id();
        self.running.push((name, child));
        let sender = self.sender.clone();
        thread::spawn(move || {
            for_lines(stdout, |line| {
                show(&mut io::stdout(), name, line);
                if line.trim_start().starts_with("Serving http://") {
                    let _ = sender.send(Event::Serving(process));
                }
            });
            let _ = sender.send(Event::Ended(process));
        });
        thread::spawn(move || for_lines(stderr, |line| show(&mut io::stderr(), name, line)));
        Ok(process)
    }

    /// Ends the one called `name`, and forgets it.
    pub(crate) fn stop(&mut self, name: &str) {
        let ended = |process: &mut (&'static str, Child)| process.0 == name;
        let mut stopped: Vec<_> = self.running.extract_if(.., ended).collect();
        end(&mut stopped);
    }

    /// The processor time that the process called `name` and its children have taken so far, as
    /// Linux knows it.
    pub(crate) fn cpu_time(&self, name: &str) -> Duration {
        let group = self.running.iter().find(|(known, _)| *known == name);
        let Some((_, leader)) = group else {
            return Duration::ZERO;
        };
        let of = |entry: io::Result<fs::DirEntry>| -> Option<u64> {
            let stat = fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
            // The name in parentheses may have spaces; behind it are the state, the parent, the
            // group, and as the 12th and 13th the times.
            let (_, rest) = stat.rsplit_once(')')?;
            let mut fields = rest.split_whitespace().skip(2);
            let group: u32 = fields.next()?.parse().ok()?;
            let mut times = fields.skip(8);
            let user: u64 = times.next()?.parse().ok()?;
            let all = user + times.next()?.parse::<u64>().ok()?;
            (group == leader.id()).then_some(all)
        };
        let processes = fs::read_dir("/proc").into_iter().flatten();
        // In hundredths of a second on every Linux.
        Duration::from_millis(processes.filter_map(of).sum::<u64>() * 10)
    }

    /// Waits until every process said `Serving http://...`; an early end is returned.
    ///
    /// # Errors
    /// When one of them takes longer than `limit`.
    pub(crate) fn wait_until_ready(&mut self, limit: Duration) -> Result<Option<End>> {
        let deadline = Instant::now() + limit;
        let running = self.running.iter().map(|(_, child)| child.id());
        let mut waiting: Vec<u32> = running.collect();
        waiting.retain(|process| !self.serving.contains(process));
        while !waiting.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(Event::Asked) => return Ok(Some(End::Asked)),
                Ok(Event::Ended(process)) => {
                    // One without a name was stopped.
                    if let Some(name) = self.name(process) {
                        return Ok(Some(End::Died(name)));
                    }
                }
                Ok(Event::Serving(process)) => {
                    waiting.retain(|other| *other != process);
                    self.serving.push(process);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    let names = waiting.iter().filter_map(|process| self.name(*process));
                    bail!(
                        "not serving after {} s: {}",
                        limit.as_secs(),
                        names.collect::<Vec<_>>().join(", ")
                    );
                }
            }
        }
        Ok(None)
    }

    /// The name of one that was not stopped.
    fn name(&self, process: u32) -> Option<&'static str> {
        let found = self.running.iter().find(|(_, child)| child.id() == process);
        found.map(|(name, _)| *name)
    }

    /// Waits for Ctrl-C or the end of a process.
    pub(crate) fn wait(&self) -> End {
        loop {
            match self.events.recv() {
                Ok(Event::Ended(process)) => {
                    if let Some(name) = self.name(process) {
                        return End::Died(name);
                    }
                }
                Ok(Event::Serving(_)) => {}
                // Disconnected is impossible (`self` holds a sender), and an end in any case.
                Ok(Event::Asked) | Err(_) => return End::Asked,
            }
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        end(&mut self.running);
    }
}

fn end(processes: &mut [(&'static str, Child)]) {
    for (_, child) in &*processes {
        signal_group(child, Signal::TERM);
    }
    let deadline = Instant::now() + STOP_LIMIT;
    for (name, child) in processes {
        if !ended_before(child, deadline) {
            show(
                &mut io::stderr(),
                name,
                "does not stop by itself, so it is ended",
            );
            signal_group(child, Signal::KILL);
        }
        let _ = child.wait();
    }
}

/// The group outlives its leader while a child of it runs, so it is signalled in any case; a
/// group that is gone is what is wanted.
fn signal_group(child: &Child, signal: Signal) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, signal);
    }
}

fn ended_before(child: &mut Child, deadline: Instant) -> bool {
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    false
}

/// A screen that is gone must not keep the processes from being ended.
fn show(screen: &mut impl Write, name: &str, line: &str) {
    let _ = writeln!(screen, "{name:>9} | {line}");
}

fn for_lines(stream: Option<impl Read>, mut each: impl FnMut(&str)) {
    let Some(stream) = stream else { return };
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
        each(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']));
        line.clear();
    }
}

/// How long a process may take to end on SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn ready_is_when_all_of_them_serve_and_an_end_is_told_by_name() {
        let mut processes = Processes::without_signals();
        processes
            .start(
                "one",
                shell("echo Serving http://a; exec tail -f /dev/null"),
            )
            .unwrap();
        assert_eq!(processes.wait_until_ready(LIMIT).unwrap(), None);
        let mut processes = Processes::without_signals();
        processes.start("two", shell("echo hello")).unwrap();
        assert_eq!(
            processes.wait_until_ready(LIMIT).unwrap(),
            Some(End::Died("two"))
        );
    }

    #[test]
    fn one_that_is_stopped_did_not_die() {
        let mut processes = Processes::without_signals();
        let serves = "echo Serving http://a; exec tail -f /dev/null";
        processes.start("one", shell(serves)).unwrap();
        assert_eq!(processes.wait_until_ready(LIMIT).unwrap(), None);
        processes.stop("one");
        processes.start("two", shell(serves)).unwrap();
        assert_eq!(processes.wait_until_ready(LIMIT).unwrap(), None);
        processes.start("one", shell("echo hello")).unwrap();
        assert_eq!(
            processes.wait_until_ready(LIMIT).unwrap(),
            Some(End::Died("one"))
        );
    }

    #[test]
    fn one_that_says_nothing_serves_once_its_port_is_open() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut processes = Processes::without_signals();
        processes
            .start_on("quiet", shell("exec tail -f /dev/null"), port)
            .unwrap();
        assert_eq!(processes.wait_until_ready(LIMIT).unwrap(), None);
        assert!(processes.cpu_time("quiet") < LIMIT);
    }

    #[test]
    fn dropping_ends_the_whole_group() {
        let mut processes = Processes::without_signals();
        // The background child holds stdout: its end is seen as the end of the stream.
        processes
            .start(
                "tree",
                shell("tail -f /dev/null & echo Serving http://a; tail -f /dev/null"),
            )
            .unwrap();
        assert_eq!(processes.wait_until_ready(LIMIT).unwrap(), None);
        let events = {
            let (_, unused) = channel();
            std::mem::replace(&mut processes.events, unused)
        };
        drop(processes);
        assert!(matches!(events.recv_timeout(LIMIT), Ok(Event::Ended(_))));
    }
}
