//! The key-value store with the label `default`.

use std::future::Future;

use airside::ports::{KeyValue, KeyValueError, PortFuture};
use spin_sdk::key_value::{Error, Store};

use crate::deadline::within;

pub(crate) struct DefaultStore;

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
