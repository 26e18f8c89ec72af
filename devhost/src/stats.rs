//! Counts instances, requests and traps per component, for `--stats`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

/// The counters of one component.
#[derive(Debug, Default)]
pub struct Stats {
    instances: AtomicU64,
    requests: AtomicU64,
    traps: AtomicU64,
    first_requests: Mutex<Vec<u64>>,
    instructions: Mutex<Vec<Option<u64>>>,
}

impl Stats {
    /// An instance was made.
    pub fn instance(&self) {
        self.instances.fetch_add(1, Ordering::Relaxed);
    }

    /// A request arrived.
    pub fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// An instance trapped.
    pub fn trap(&self) {
        self.traps.fetch_add(1, Ordering::Relaxed);
    }

    /// The first request of a new instance was answered after `time`, instantiation included.
    pub fn first_request(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.first_requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(micros);
    }

    /// A request whose instructions are counted began; returns its place among them.
    pub fn counted(&self) -> usize {
        let mut all = self
            .instructions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.push(None);
        all.len() - 1
    }

    /// The request at that place took that many instructions.
    pub fn instructions(&self, place: usize, count: u64) {
        let mut all = self
            .instructions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(request) = all.get_mut(place) {
            *request = Some(count);
        }
    }

    fn report(&self) -> Report {
        let mut times = self
            .first_requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        times.sort_unstable();
        Report {
            instances: self.instances.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
            traps: self.traps.load(Ordering::Relaxed),
            instructions: self
                .instructions
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            first_request_micros: FirstRequest {
                max: times.last().copied().unwrap_or_default(),
                p50: times.get(times.len() / 2).copied().unwrap_or_default(),
            },
        }
    }
}

/// The counters of all components as one JSON object, keyed by component.
pub fn report(components: &BTreeMap<String, Arc<Stats>>) -> String {
    let reports: BTreeMap<_, _> = components.iter().map(|(id, s)| (id, s.report())).collect();
    serde_json::to_string_pretty(&reports).unwrap_or_default()
}

#[derive(Serialize)]
struct Report {
    instances: u64,
    requests: u64,
    traps: u64,
    first_request_micros: FirstRequest,
    /// Of each request, in the order of their beginnings; empty unless they are counted. That of
    /// an instance's first request includes making it; that of its last is not known before it
    /// ends.
    instructions: Vec<Option<u64>>,
}

#[derive(Serialize)]
struct FirstRequest {
    max: u64,
    p50: u64,
}
