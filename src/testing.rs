//! Fakes of the ports and a tiny signing identity provider, for tests only.
//!
//! Nothing here sleeps, reads a clock or opens a socket: time stands still until a test moves
//! it, randomness is a counted stream, and HTTP answers come from a script.

pub mod http;
pub mod idp;
mod plan;
pub mod session;
pub mod store;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use hmac_sha256::Hash;

use crate::ports::{
    Clock, Event, EventSink, PortFuture, Ports, Random, RandomError, Timer, VariableError,
    Variables,
};
use crate::secret::Secret;
use crate::time::UnixTime;

pub use http::ScriptedHttp;
pub use idp::Idp;
pub use plan::PlanHeaders;
pub use store::MemoryKeyValue;

/// Runs a future whose ports are fakes. The fakes never wait for anything outside, so a
/// future that stays pending would do so for ever: it is polled a bounded number of times.
///
/// # Panics
/// When the future is still pending after a thousand polls.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..1_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
    panic!("a future on fakes waits for something that no fake will do");
}

/// Runs two futures interleaved, as one instance runs two requests.
pub fn block_on_both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut done_a, mut done_b) = (None, None);
    block_on(std::future::poll_fn(|context| {
        if done_a.is_none()
            && let Poll::Ready(value) = a.as_mut().poll(context)
        {
            done_a = Some(value);
        }
        if done_b.is_none()
            && let Poll::Ready(value) = b.as_mut().poll(context)
        {
            done_b = Some(value);
        }
        match (done_a.take(), done_b.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (done_a, done_b) = (a, b);
                Poll::Pending
            }
        }
    }))
}

/// All fakes together. 2026-01-01 is the first instant of every test.
#[derive(Debug, Default)]
pub struct World {
    /// The time.
    pub clock: FixedClock,
    /// What was logged.
    pub events: RecordingEvents,
    /// The network.
    pub http: ScriptedHttp,
    /// The store.
    pub key_value: MemoryKeyValue,
    /// Randomness.
    pub random: SeededRandom,
    /// Secrets.
    pub variables: MapVariables,
}

impl World {
    /// The fakes as ports.
    pub fn ports(&self) -> Ports<'_> {
        Ports {
            clock: &self.clock,
            counters: &self.key_value,
            events: &self.events,
            http: &self.http,
            key_value: &self.key_value,
            random: &self.random,
            timer: &self.clock,
            variables: &self.variables,
        }
    }

    /// Drops what was recorded of requests and events so far.
    pub fn forget(&self) {
        self.events.take();
        self.http.forget();
    }

    /// The time it is in this world.
    pub fn now(&self) -> UnixTime {
        self.clock.now()
    }
}

/// A clock that a test moves.
#[derive(Debug)]
pub struct FixedClock {
    /// Since 1970.
    millis: Cell<u64>,
}

impl Default for FixedClock {
    fn default() -> Self {
        FixedClock {
            millis: Cell::new(1_767_225_600_000),
        }
    }
}

impl FixedClock {
    /// Moves the clock forward.
    pub fn advance(&self, seconds: u64) {
        self.advance_millis(seconds.saturating_mul(1_000));
    }

    /// Moves the clock forward by less than seconds.
    pub fn advance_millis(&self, millis: u64) {
        self.millis.set(self.millis.get().saturating_add(millis));
    }

    /// Sets the clock.
    pub fn set(&self, now: UnixTime) {
        self.millis.set(now.as_secs().saturating_mul(1_000));
    }
}

impl Clock for FixedClock {
    fn now(&self) -> UnixTime {
        UnixTime::from_secs(self.millis.get() / 1_000)
    }
}

impl Timer for FixedClock {
    fn millis(&self) -> u64 {
        self.millis.get()
    }

    /// Waits for a test to move the clock, for example [`run_all`].
    fn sleep(&self, millis: u64) -> PortFuture<'_, ()> {
        let end = self.millis.get().saturating_add(millis);
        Box::pin(std::future::poll_fn(move |_| {
            if self.millis.get() >= end {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }))
    }
}

/// Runs tasks interleaved in the order of `random`, as instances on many machines run requests;
/// a millisecond passes every now and then. The results are in the order of the tasks.
///
/// # Panics
/// When a task is still pending after a minute of that time.
pub fn run_all<'a, T>(
    clock: &FixedClock,
    random: &SeededRandom,
    tasks: Vec<Pin<Box<dyn Future<Output = T> + 'a>>>,
) -> Vec<T> {
    let end = clock.millis().saturating_add(60_000);
    let mut context = Context::from_waker(Waker::noop());
    let mut results: Vec<Option<T>> = tasks.iter().map(|_| None).collect();
    let mut pending: Vec<_> = tasks.into_iter().enumerate().collect();
    while !pending.is_empty() {
        assert!(clock.millis() < end, "tasks that never end");
        for _ in 0..pending.len() {
            let chosen = random.below(pending.len());
            let ready = match pending.get_mut(chosen) {
                Some((_, task)) => task.as_mut().poll(&mut context),
                None => break,
            };
            if let Poll::Ready(result) = ready {
                let (index, _) = pending.swap_remove(chosen);
                if let Some(slot) = results.get_mut(index) {
                    *slot = Some(result);
                }
            }
        }
        clock.advance_millis(1);
    }
    results.into_iter().flatten().collect()
}

/// Bytes that look random and are the same in each run: the hashes of a counter.
#[derive(Debug, Default)]
pub struct SeededRandom {
    counter: Cell<u64>,
    broken: Cell<bool>,
}

impl SeededRandom {
    /// A stream of its own for each `seed`.
    pub fn new(seed: u64) -> Self {
        SeededRandom {
            counter: Cell::new(seed << 32),
            broken: Cell::new(false),
        }
    }

    /// From now on there is no randomness.
    pub fn break_down(&self) {
        self.broken.set(true);
    }

    /// A number below `bound` (0 when that is 0).
    pub fn below(&self, bound: usize) -> usize {
        let mut bytes = [0; 8];
        let _ = self.fill(&mut bytes);
        usize::try_from(u64::from_be_bytes(bytes) >> 1)
            .unwrap_or(0)
            .checked_rem(bound)
            .unwrap_or(0)
    }
}

impl Random for SeededRandom {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomError> {
        if self.broken.get() {
            return Err(RandomError);
        }
        for chunk in buffer.chunks_mut(32) {
            let count = self.counter.get();
            self.counter.set(count.wrapping_add(1));
            let block = Hash::hash(&count.to_be_bytes());
            for (to, from) in chunk.iter_mut().zip(block) {
                *to = from;
            }
        }
        Ok(())
    }
}

/// Variables from a map.
#[derive(Debug, Default)]
pub struct MapVariables {
    values: RefCell<BTreeMap<String, Secret<String>>>,
    reads: Cell<usize>,
}

impl MapVariables {
    /// Grants `name` with `value`.
    pub fn set(&self, name: &str, value: &str) {
        let value = Secret::from(value);
        self.values.borrow_mut().insert(name.to_owned(), value);
    }

    /// Takes `name` away.
    pub fn remove(&self, name: &str) {
        self.values.borrow_mut().remove(name);
    }

    /// How often any variable was read.
    pub fn reads(&self) -> usize {
        self.reads.get()
    }
}

impl Variables for MapVariables {
    fn secret(&self, name: &str) -> PortFuture<'_, Result<Secret<String>, VariableError>> {
        self.reads.set(self.reads.get().saturating_add(1));
        let value = self.values.borrow().get(name).cloned();
        Box::pin(async move { value.ok_or(VariableError) })
    }
}

/// Keeps what was logged.
#[derive(Debug, Default)]
pub struct RecordingEvents(RefCell<Vec<Event>>);

impl RecordingEvents {
    /// The codes logged so far, oldest first.
    pub fn codes(&self) -> Vec<&'static str> {
        self.0.borrow().iter().map(|event| event.code).collect()
    }

    /// Takes all events.
    pub fn take(&self) -> Vec<Event> {
        self.0.take()
    }
}

impl EventSink for RecordingEvents {
    fn emit(&self, event: &Event) {
        self.0.borrow_mut().push(event.clone());
    }
}
