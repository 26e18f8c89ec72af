//! `wasi:keyvalue@0.2.0-draft2`, store and atomics, on the same stores.

use std::sync::Arc;

use wasmtime::component::Resource;

use super::{Backend, View};
use crate::bindings::spin::key_value::key_value::Error as StoreError;
use crate::bindings::wasi::keyvalue::atomics;
use crate::bindings::wasi::keyvalue::store::{Error, Host, HostBucket};

/// A store a guest has open through this interface.
#[derive(Clone)]
pub struct Bucket(Arc<Backend>);

impl View<'_> {
    fn bucket(&self, handle: &Resource<Bucket>) -> Result<Arc<Backend>, Error> {
        match self.table.get(handle) {
            Ok(bucket) => Ok(Arc::clone(&bucket.0)),
            Err(error) => Err(Error::Other(error.to_string())),
        }
    }
}

impl Host for View<'_> {
    async fn open(&mut self, label: String) -> Result<Resource<Bucket>, Error> {
        let bucket = Bucket(self.granted.open(&label)?.0);
        let pushed = self.table.push(bucket);
        pushed.map_err(|error| Error::Other(error.to_string()))
    }
}

impl HostBucket for View<'_> {
    async fn get(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.bucket(&bucket)?.get(&key)?)
    }

    async fn set(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        value: Vec<u8>,
    ) -> Result<(), Error> {
        Ok(self.bucket(&bucket)?.set(&key, &value)?)
    }

    async fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Result<(), Error> {
        Ok(self.bucket(&bucket)?.delete(&key)?)
    }

    async fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Result<bool, Error> {
        Ok(self.bucket(&bucket)?.get(&key)?.is_some())
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for View<'_> {
    async fn increment(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        delta: i64,
    ) -> Result<i64, Error> {
        Ok(self.bucket(&bucket)?.increment(&key, delta)?)
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::AccessDenied => Error::AccessDenied,
            StoreError::NoSuchStore => Error::NoSuchStore,
            StoreError::StoreTableFull => Error::Other("too many open stores".to_owned()),
            StoreError::Other(text) => Error::Other(text),
        }
    }
}
