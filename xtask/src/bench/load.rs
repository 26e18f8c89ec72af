//! Load on one request: threads with a kept connection each.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::bench::client::Connection;

/// What one row sends and expects.
pub(crate) struct Target {
    /// What is sent, again and again.
    pub(crate) requests: Vec<Vec<u8>>,
    /// In which order.
    pub(crate) order: Order,
    /// How many were sent so far, where they go in turn.
    pub(crate) sent: AtomicUsize,
    /// The port it goes to.
    pub(crate) port: u16,
    /// The status of every answer; another one ends the measurement.
    pub(crate) status: u16,
}

/// In which order requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// One after the other by all connections together, so that none comes again before all
    /// others have.
    InTurn,
    /// Each connection in an order of its own.
    Random,
}

/// What was measured.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    /// Answers in each second.
    pub(crate) per_second: f64,
    /// Sorted, one of each request.
    pub(crate) latencies: Vec<Duration>,
    /// What the host process took.
    pub(crate) cpu: Duration,
}

impl Sample {
    /// The latency that a share (0 to 1) of the requests stayed below.
    pub(crate) fn percentile(&self, share: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        // The share of a count of requests fits, and is not negative.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let index = (last as f64 * share).round() as usize;
        self.latencies.get(index).copied().unwrap_or_default()
    }
}

/// How long one target is sent to before it is the next one's turn.
pub(crate) const TURN: Duration = Duration::from_millis(250);

/// Sends to each of `targets` for one [`TURN`] after the other, `turns` times, from `connections`
/// threads with a kept connection to each target; a sample of each. A machine that others use too
/// changes its speed within seconds: so it does for all of them. `cpu` is what the host of a target
/// has used so far.
///
/// # Errors
/// At the first failure or unexpected status: a number over errors says nothing.
pub(crate) fn measure(
    targets: &[&Target],
    connections: usize,
    turns: u32,
    cpu: &dyn Fn(usize) -> Duration,
) -> Result<Vec<Sample>> {
    let stop = AtomicBool::new(false);
    let started = Instant::now();
    let due = || due(started.elapsed(), targets.len(), turns);
    let mut samples: Vec<Sample> = targets.iter().map(|_| Sample::default()).collect();
    let results: Vec<Result<Vec<Vec<Duration>>>> = thread::scope(|scope| {
        let worker = |seed| {
            let result = send_while(targets, &due, &stop, seed);
            if result.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            result
        };
        let workers: Vec<_> = (1..=connections)
            .map(|seed| scope.spawn(move || worker(seed)))
            .collect();
        let mut end = started;
        for _ in 0..turns {
            for (index, sample) in samples.iter_mut().enumerate() {
                let before = cpu(index);
                end += TURN;
                thread::sleep(end.saturating_duration_since(Instant::now()));
                sample.cpu += cpu(index).saturating_sub(before);
            }
        }
        let join = |worker: thread::ScopedJoinHandle<'_, _>| worker.join();
        workers
            .into_iter()
            .map(|worker| join(worker).unwrap_or_else(|_| bail!("a worker panicked")))
            .collect()
    });
    for result in results {
        for (sample, latencies) in samples.iter_mut().zip(result?) {
            sample.latencies.extend(latencies);
        }
    }
    for sample in &mut samples {
        sample.latencies.sort_unstable();
        sample.per_second = sample.latencies.len() as f64 / (TURN * turns).as_secs_f64();
    }
    Ok(samples)
}

/// Whose turn it is that long after the start; `None` when all had theirs.
fn due(elapsed: Duration, targets: usize, turns: u32) -> Option<usize> {
    let turn = usize::try_from(elapsed.as_millis() / TURN.as_millis()).ok()?;
    (turn < targets * turns as usize).then(|| turn % targets)
}

/// The latencies of the requests to each target, as long as one is due.
fn send_while(
    targets: &[&Target],
    due: &(dyn Fn() -> Option<usize> + Sync),
    stop: &AtomicBool,
    seed: usize,
) -> Result<Vec<Vec<Duration>>> {
    let open = |target: &&Target| Connection::open(target.port);
    let mut connections: Vec<_> = targets.iter().map(open).collect::<Result<_>>()?;
    let mut latencies = vec![Vec::new(); targets.len()];
    let mut random = seed;
    while let Some(at) = due() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (target, connection) = (targets[at], &mut connections[at]);
        // Knuth's numbers, of which the upper bits are good.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let number = match target.order {
            Order::InTurn => target.sent.fetch_add(1, Ordering::Relaxed),
            Order::Random => random >> 33,
        };
        let index = number % target.requests.len().max(1);
        let request = target.requests.get(index).context("nothing to send")?;
        let sent = Instant::now();
        let response = connection.send(request).context("a request")?;
        latencies[at].push(sent.elapsed());
        if response.status != target.status {
            bail!(
                "{} instead of {}: {}",
                response.status,
                target.status,
                response.text()
            );
        }
        if !response.keeps_connection() {
            *connection = Connection::open(target.port)?;
        }
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_take_turns_and_come_to_an_end() {
        let due = |turn: u32| due(TURN * turn + TURN / 2, 2, 3);
        let turns: Vec<_> = (0..8).map(due).collect();
        let [raw, row] = [Some(0), Some(1)];
        assert_eq!(turns, [raw, row, raw, row, raw, row, None, None]);
        assert_eq!(super::due(Duration::MAX, 2, 3), None);
    }

    #[test]
    fn percentiles_come_from_the_sorted_latencies() {
        let sample = Sample {
            per_second: 0.0,
            latencies: (1..=101).map(Duration::from_millis).collect(),
            cpu: Duration::ZERO,
        };
        assert_eq!(sample.percentile(0.5), Duration::from_millis(51));
        assert_eq!(sample.percentile(0.99), Duration::from_millis(100));
        assert_eq!(Sample::default().percentile(0.5), Duration::ZERO);
    }
}
