//! The outside world in the words of the core: clock, timer, randomness, HTTP, key-value store,
//! counters, variables and the event log.
//!
//! Implementations live in `components/spin-ports` and, for tests, in `testing`. Instances
//! are shared by interleaved requests on one thread: no port asks for an exclusive borrow,
//! and nothing here is `Send`.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use thiserror::Error;

use crate::secret::Secret;
use crate::time::UnixTime;

/// A future of a port call.
pub type PortFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Tells the time.
pub trait Clock {
    /// The current time. An endpoint calls it once per request.
    fn now(&self) -> UnixTime;
}

/// Measures time and lets it pass: for the one operation that waits for other requests.
pub trait Timer {
    /// Milliseconds of a clock that nobody sets. Only differences mean something.
    fn millis(&self) -> u64;

    /// Ends after that many milliseconds.
    fn sleep(&self, millis: u64) -> PortFuture<'_, ()>;
}

/// Makes unpredictable bytes.
pub trait Random {
    /// Fills `buffer` with unpredictable bytes.
    ///
    /// # Errors
    /// [`RandomError`] when the host has none; the request must then fail.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomError>;
}

/// The host gave no randomness.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("no randomness available")]
pub struct RandomError;

/// Bounds of one outgoing request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchLimits {
    /// A response body over this many bytes is refused with [`HttpError::TooLarge`].
    pub max_body_bytes: usize,
    /// The whole exchange may take this many milliseconds.
    pub timeout_millis: u64,
}

impl FetchLimits {
    /// For provider documents and token responses: 256 KiB within 10 seconds.
    pub const PROVIDER: FetchLimits = FetchLimits {
        max_body_bytes: 256 * 1024,
        timeout_millis: 10_000,
    };
}

/// Sends buffered requests (provider documents, token requests). Proxied traffic does not
/// pass here: see [`crate::endpoint::authorize`].
pub trait HttpClient {
    /// Sends `request` (absolute URI) and returns the whole response. Redirects are not followed.
    ///
    /// # Errors
    /// See [`HttpError`]. A response of any status is `Ok`.
    fn send(
        &self,
        request: http::Request<Bytes>,
        limits: FetchLimits,
    ) -> PortFuture<'_, Result<http::Response<Bytes>, HttpError>>;
}

/// Why there is no response.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum HttpError {
    /// The host does not let this component reach that address (`allowed_outbound_hosts`).
    #[error("destination not allowed by the manifest")]
    NotAllowed,
    /// Not finished within [`FetchLimits::timeout_millis`].
    #[error("timed out")]
    Timeout,
    /// More than [`FetchLimits::max_body_bytes`].
    #[error("response too large")]
    TooLarge,
    /// No connection, or it broke.
    #[error("unreachable")]
    Unreachable,
}

/// The shared store. No expiry, no compare-and-swap: values carry their own time and seal.
pub trait KeyValue {
    /// The value stored under `key`, if any.
    ///
    /// # Errors
    /// [`KeyValueError`] when the store is down or not granted.
    fn get<'a>(&'a self, key: &'a str) -> PortFuture<'a, Result<Option<Vec<u8>>, KeyValueError>>;

    /// Stores `value` under `key`, replacing any former value.
    ///
    /// # Errors
    /// [`KeyValueError`] when the store is down or not granted.
    fn set(&self, key: &str, value: &[u8]) -> PortFuture<'_, Result<(), KeyValueError>>;

    /// Removes `key`; not an error when it was not there.
    ///
    /// # Errors
    /// [`KeyValueError`] when the store is down or not granted.
    fn delete(&self, key: &str) -> PortFuture<'_, Result<(), KeyValueError>>;
}

/// Counters in the shared store: the one thing there that several requests can agree on. Only
/// `tokens` has them (`wasi:keyvalue/atomics`, which not every platform has); elsewhere each
/// call fails.
///
/// A counter's key is never read or set through [`KeyValue`], which stores show in different
/// forms; deleting it is allowed.
pub trait Counters {
    /// Adds `delta` to the counter `key`, which begins at 0, and returns its new value: each
    /// call with a `delta` of 1 gets a number of its own.
    ///
    /// # Errors
    /// [`KeyValueError`] when the store is down or not granted, or this component has no
    /// counters. Whether the counter moved is then unknown: the caller must refuse.
    fn increment(&self, key: &str, delta: i64) -> PortFuture<'_, Result<i64, KeyValueError>>;
}

/// The key-value store cannot be used.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("key-value store unavailable")]
pub struct KeyValueError;

/// Secrets granted to this component.
pub trait Variables {
    /// The value of the granted variable `name`.
    ///
    /// # Errors
    /// [`VariableError`] when it is not granted, not set, or its provider is down.
    fn secret(&self, name: &str) -> PortFuture<'_, Result<Secret<String>, VariableError>>;
}

/// A variable could not be read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("variable not set or not granted")]
pub struct VariableError;

/// One line of the structured log. Values are escaped by the sink's JSON encoder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Stable code of what happened, e.g. `id_token_aud_mismatch`.
    pub code: &'static str,
    /// The request's id, as shown on error pages.
    pub request_id: String,
    /// Further fields: name and value, never a secret.
    pub fields: Vec<(&'static str, String)>,
}

/// Takes log events.
pub trait EventSink {
    /// Writes `event` to the log. Must not fail and must not block.
    fn emit(&self, event: &Event);
}

/// All ports of one request.
#[derive(Clone, Copy)]
pub struct Ports<'a> {
    /// Tells the time.
    pub clock: &'a dyn Clock,
    /// Counters in the shared store, in `tokens` only.
    pub counters: &'a dyn Counters,
    /// Takes log events.
    pub events: &'a dyn EventSink,
    /// Sends requests to providers and to `tokens`.
    pub http: &'a dyn HttpClient,
    /// The shared store.
    pub key_value: &'a dyn KeyValue,
    /// Makes unpredictable bytes.
    pub random: &'a dyn Random,
    /// Measures time and lets it pass.
    pub timer: &'a dyn Timer,
    /// Secrets granted to this component.
    pub variables: &'a dyn Variables,
}
