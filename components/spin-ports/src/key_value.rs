//! The key-value store with the label `default`, and its counters.

use std::cell::RefCell;
use std::rc::Rc;

use airside::ports::{Counters, KeyValue, KeyValueError, PortFuture};
use spin_sdk::experimental::wasi::keyvalue::{atomics, store};
use spin_sdk::key_value::{Error, Store};

use crate::deadline::within;

pub(crate) struct DefaultStore;

/// The label of the store.
const LABEL: &str = "default";

/// A store that does not answer within this time is down. It may be a Redis across a network.
const TIMEOUT_MILLIS: u64 = 2_000;

thread_local! {
    /// The opened store of this instance: it need not be opened for every request.
    static STORE: RefCell<Option<Rc<Store>>> = const { RefCell::new(None) };
}

impl KeyValue for DefaultStore {
    fn get<'a>(&'a self, key: &'a str) -> PortFuture<'a, Result<Option<Vec<u8>>, KeyValueError>> {
        Box::pin(bounded(key, Call::Get))
    }

    fn set(&self, key: &str, value: &[u8]) -> PortFuture<'_, Result<(), KeyValueError>> {
        done(key, Call::Set(value.to_owned()))
    }

    fn delete(&self, key: &str) -> PortFuture<'_, Result<(), KeyValueError>> {
        done(key, Call::Delete)
    }
}

/// What is done with a key. One function for all three: each would be 2 kB in every component.
enum Call {
    Get,
    Set(Vec<u8>),
    Delete,
}

fn done(key: &str, call: Call) -> PortFuture<'static, Result<(), KeyValueError>> {
    let key = key.to_owned();
    Box::pin(async move { bounded(&key, call).await.map(|_nothing| ()) })
}

async fn bounded(key: &str, call: Call) -> Result<Option<Vec<u8>>, KeyValueError> {
    match within(TIMEOUT_MILLIS, ask(key, &call)).await {
        Some(Ok(value)) => Ok(value),
        Some(Err(_)) | None => {
            // The next request opens it anew.
            STORE.take();
            Err(KeyValueError)
        }
    }
}

async fn ask(key: &str, call: &Call) -> Result<Option<Vec<u8>>, Error> {
    let store = match STORE.with_borrow(Clone::clone) {
        Some(store) => store,
        None => {
            let store = Rc::new(Store::open_default().await?);
            // Requests interleave: another may have opened one meanwhile, which is as good.
            STORE.set(Some(Rc::clone(&store)));
            store
        }
    };
    match call {
        Call::Get => store.get(key).await,
        Call::Set(value) => store.set(key, value).await.map(|()| None),
        Call::Delete => store.delete(key).await.map(|()| None),
    }
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
