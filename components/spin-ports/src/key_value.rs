//! The key-value store with the label `default`, and its counters.

use std::future::Future;

use airside::ports::{Counters, KeyValue, KeyValueError, PortFuture};
use spin_sdk::experimental::wasi::keyvalue::{atomics, store};
use spin_sdk::key_value::{Error, Store};

use crate::deadline::within;

pub(crate) struct DefaultStore;

/// The label of the store.
const LABEL: &str = "default";

/// A store that does not answer within this time is down. It may be a Redis across a network.
const TIMEOUT_MILLIS: u64 = 2_000;

impl KeyValue for DefaultStore {
    fn get(&self, key: &str) -> PortFuture<'_, Result<Option<Vec<u8>>, KeyValueError>> {
        let key = key.to_owned();
        bounded(async move { Store::open_default().await?.get(&key).await })
    }

    fn set(&self, key: &str, value: &[u8]) -> PortFuture<'_, Result<(), KeyValueError>> {
        let (key, value) = (key.to_owned(), value.to_owned());
        bounded(async move { Store::open_default().await?.set(&key, &value).await })
    }

    fn delete(&self, key: &str) -> PortFuture<'_, Result<(), KeyValueError>> {
        let key = key.to_owned();
        bounded(async move { Store::open_default().await?.delete(&key).await })
    }
}

fn bounded<'a, T: 'a>(
    call: impl Future<Output = Result<T, Error>> + 'a,
) -> PortFuture<'a, Result<T, KeyValueError>> {
    Box::pin(async move {
        match within(TIMEOUT_MILLIS, call).await {
            Some(Ok(value)) => Ok(value),
            Some(Err(_)) | None => Err(KeyValueError),
        }
    })
}

/// The counters of the store. The interface is `wasi:keyvalue/atomics`: a component that names
/// this type imports it, and does not start on a platform that has none.
pub struct Atomics;

impl Counters for Atomics {
    fn increment(&self, key: &str, delta: i64) -> PortFuture<'_, Result<i64, KeyValueError>> {
        let key = key.to_owned();
        // The host's call holds the instance until it is done: there is nothing to await.
        Box::pin(async move {
            let bucket = store::open(LABEL).map_err(|_| KeyValueError)?;
            atomics::increment(&bucket, &key, delta).map_err(|_| KeyValueError)
        })
    }
}

/// The counters of a component that has none.
pub(crate) struct NoCounters;

impl Counters for NoCounters {
    fn increment(&self, _: &str, _: i64) -> PortFuture<'_, Result<i64, KeyValueError>> {
        Box::pin(std::future::ready(Err(KeyValueError)))
    }
}
