//! A key-value store in memory, and what every store must do.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::Poll;

use crate::ports::{Counters, KeyValue, KeyValueError, PortFuture};

/// A map that can be broken, read and changed behind the back of the code under test.
#[derive(Debug, Default)]
pub struct MemoryKeyValue {
    values: RefCell<BTreeMap<String, Vec<u8>>>,
    uncounted: Cell<bool>,
    broken: Cell<bool>,
    gets: Cell<usize>,
    yields: Cell<usize>,
}

impl MemoryKeyValue {
    /// From now on every call fails, or no longer.
    pub fn set_broken(&self, broken: bool) {
        self.broken.set(broken);
    }

    /// From now on there are no counters, as in every component but `tokens`, or there are again.
    pub fn set_uncounted(&self, uncounted: bool) {
        self.uncounted.set(uncounted);
    }

    /// Lets each call end only after that many polls, so that requests interleave.
    pub fn answer_after(&self, polls: usize) {
        self.yields.set(polls);
    }

    /// The keys, in order.
    pub fn keys(&self) -> Vec<String> {
        self.values.borrow().keys().cloned().collect()
    }

    /// How often anything was read.
    pub fn gets(&self) -> usize {
        self.gets.get()
    }

    /// Changes each value in place, as somebody who shares the store could.
    pub fn tamper(&self, change: impl Fn(&str, &mut Vec<u8>)) {
        for (key, value) in self.values.borrow_mut().iter_mut() {
            change(key, value);
        }
    }

    /// Removes `key` behind the back of the code under test.
    pub fn remove(&self, key: &str) {
        self.values.borrow_mut().remove(key);
    }

    /// Copies the value of one key to another.
    pub fn copy(&self, from: &str, to: &str) {
        let value = self.values.borrow().get(from).cloned();
        if let Some(value) = value {
            self.values.borrow_mut().insert(to.to_owned(), value);
        }
    }

    /// `value`, after the polls that were asked for.
    fn later<'a, T: 'a>(&self, value: T) -> PortFuture<'a, T> {
        let mut yields = self.yields.get();
        Box::pin(async move {
            poll_fn(|context| match yields.checked_sub(1) {
                Some(left) => {
                    yields = left;
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
                None => Poll::Ready(()),
            })
            .await;
            value
        })
    }

    fn checked<T>(&self, value: T) -> Result<T, KeyValueError> {
        if self.broken.get() {
            Err(KeyValueError)
        } else {
            Ok(value)
        }
    }
}

impl KeyValue for MemoryKeyValue {
    fn get<'a>(&'a self, key: &'a str) -> PortFuture<'a, Result<Option<Vec<u8>>, KeyValueError>> {
        self.gets.set(self.gets.get().saturating_add(1));
        let value = self.checked(self.values.borrow().get(key).cloned());
        self.later(value)
    }

    fn set(&self, key: &str, value: &[u8]) -> PortFuture<'_, Result<(), KeyValueError>> {
        let done = self.checked(());
        if done.is_ok() {
            let value = value.to_vec();
            self.values.borrow_mut().insert(key.to_owned(), value);
        }
        self.later(done)
    }

    fn delete(&self, key: &str) -> PortFuture<'_, Result<(), KeyValueError>> {
        let done = self.checked(());
        if done.is_ok() {
            self.values.borrow_mut().remove(key);
        }
        self.later(done)
    }
}

impl Counters for MemoryKeyValue {
    /// Counters are kept as Spin keeps them in SQLite: eight bytes, the smallest first. A key
    /// that was set to anything else breaks there, and fails here.
    fn increment(&self, key: &str, delta: i64) -> PortFuture<'_, Result<i64, KeyValueError>> {
        let mut counted = if self.uncounted.get() {
            Err(KeyValueError)
        } else {
            self.checked(())
        };
        let mut sum = 0;
        if counted.is_ok() {
            let mut values = self.values.borrow_mut();
            let old = values.get(key).map_or(Ok(0), |bytes| {
                let bytes = bytes.as_slice().try_into().map_err(|_| KeyValueError);
                bytes.map(i64::from_le_bytes)
            });
            match old.map(|old| old.checked_add(delta)) {
                Ok(Some(new)) => {
                    values.insert(key.to_owned(), new.to_le_bytes().to_vec());
                    sum = new;
                }
                Ok(None) | Err(KeyValueError) => counted = Err(KeyValueError),
            }
        }
        self.later(counted.map(|()| sum))
    }
}

/// What every [`KeyValue`] must do. Uses keys that begin with `prefix` and leaves none.
///
/// # Panics
/// When the store does something else.
pub async fn key_value_contract(store: &dyn KeyValue, prefix: &str) {
    let key = |name: &str| format!("{prefix}{name}");
    assert_eq!(store.get(&key("a")).await, Ok(None), "nothing is there yet");
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(store.set(&key("a"), &all).await, Ok(()));
    assert_eq!(store.get(&key("a")).await, Ok(Some(all)), "every byte");
    assert_eq!(store.set(&key("a"), b"").await, Ok(()));
    let empty = store.get(&key("a")).await;
    assert_eq!(empty, Ok(Some(Vec::new())), "replaced; empty is not absent");
    assert_eq!(store.get(&key("A")).await, Ok(None), "case counts");
    let large = vec![7; 64 * 1024];
    assert_eq!(store.set(&key("b"), &large).await, Ok(()));
    assert_eq!(store.get(&key("b")).await, Ok(Some(large)), "64 KiB");
    for name in ["a", "b"] {
        assert_eq!(store.delete(&key(name)).await, Ok(()));
        assert_eq!(store.get(&key(name)).await, Ok(None), "deleted");
        assert_eq!(store.delete(&key(name)).await, Ok(()), "once more");
    }
}

/// What every [`Counters`] must do, next to the [`KeyValue`] of the same store. Uses keys that
/// begin with `prefix` and leaves none.
///
/// # Panics
/// When the counters do something else.
pub async fn counters_contract(counters: &dyn Counters, store: &dyn KeyValue, prefix: &str) {
    let key = |name: &str| format!("{prefix}{name}");
    assert_eq!(counters.increment(&key("n"), 1).await, Ok(1), "the first");
    assert_eq!(counters.increment(&key("n"), 1).await, Ok(2), "the second");
    assert_eq!(counters.increment(&key("m"), 1).await, Ok(1), "another key");
    assert_eq!(counters.increment(&key("n"), 20).await, Ok(22), "by more");
    assert_eq!(counters.increment(&key("n"), 0).await, Ok(22), "read");
    assert_eq!(counters.increment(&key("n"), -2).await, Ok(20), "and back");
    assert_eq!(counters.increment(&key("z"), 0).await, Ok(0), "read unset");
    for name in ["n", "m", "z"] {
        assert_eq!(store.delete(&key(name)).await, Ok(()));
    }
    assert_eq!(counters.increment(&key("n"), 1).await, Ok(1), "begun anew");
    assert_eq!(store.delete(&key("n")).await, Ok(()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::block_on;

    #[test]
    fn the_store_in_memory_keeps_the_contracts() {
        let store = MemoryKeyValue::default();
        block_on(key_value_contract(&store, "t/"));
        block_on(counters_contract(&store, &store, "t/"));
        assert!(store.keys().is_empty());
    }

    #[test]
    fn counters_fail_where_there_are_none_and_on_what_is_no_counter() {
        let store = MemoryKeyValue::default();
        let increment = || block_on(store.increment("n", 1));
        store.set_uncounted(true);
        assert_eq!(increment(), Err(KeyValueError));
        store.set_uncounted(false);
        assert_eq!(increment(), Ok(1));
        assert_eq!(block_on(store.set("n", b"text")), Ok(()));
        assert_eq!(increment(), Err(KeyValueError));
    }
}
