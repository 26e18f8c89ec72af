//! A key-value store in memory.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::Poll;

use crate::ports::{KeyValue, KeyValueError, PortFuture};

/// A map that can be broken, read and changed behind the back of the code under test.
#[derive(Debug, Default)]
pub struct MemoryKeyValue {
    values: RefCell<BTreeMap<String, Vec<u8>>>,
    broken: Cell<bool>,
    gets: Cell<usize>,
    yields: Cell<usize>,
}

impl MemoryKeyValue {
    /// From now on every call fails, or no longer.
    pub fn set_broken(&self, broken: bool) {
        self.broken.set(broken);
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
    fn get(&self, key: &str) -> PortFuture<'_, Result<Option<Vec<u8>>, KeyValueError>> {
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
