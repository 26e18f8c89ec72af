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

/// Sends for `duration` from `connections` threads.
///
/// # Errors
/// At the first failure or unexpected status: a number over errors says nothing.
pub(crate) fn measure(target: &Target, connections: usize, duration: Duration) -> Result<Sample> {
    let stop = AtomicBool::new(false);
    let started = Instant::now();
    let results: Vec<Result<Vec<Duration>>> = thread::scope(|scope| {
        let worker = |seed| {
            let result = send_until(target, started + duration, &stop, seed);
            if result.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            result
        };
        let workers: Vec<_> = (1..=connections)
            .map(|seed| scope.spawn(move || worker(seed)))
            .collect();
        let join = |worker: thread::ScopedJoinHandle<'_, _>| worker.join();
        workers
            .into_iter()
            .map(|worker| join(worker).unwrap_or_else(|_| bail!("a worker panicked")))
            .collect()
    });
    let elapsed = started.elapsed();
    let mut latencies = Vec::new();
    for result in results {
        latencies.extend(result?);
    }
    latencies.sort_unstable();
    let per_second = latencies.len() as f64 / elapsed.as_secs_f64();
    Ok(Sample {
        per_second,
        latencies,
        cpu: Duration::ZERO,
    })
}

fn send_until(
    target: &Target,
    end: Instant,
    stop: &AtomicBool,
    seed: usize,
) -> Result<Vec<Duration>> {
    let mut connection = Connection::open(target.port)?;
    let mut random = seed;
    let mut latencies = Vec::new();
    while Instant::now() < end && !stop.load(Ordering::Relaxed) {
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
        latencies.push(sent.elapsed());
        if response.status != target.status {
            bail!(
                "{} instead of {}: {}",
                response.status,
                target.status,
                response.text()
            );
        }
        if !response.keeps_connection() {
            connection = Connection::open(target.port)?;
        }
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

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
