//! The key-value store with the label `default`.

use airside::ports::{KeyValue, KeyValueError, PortFuture};
use spin_sdk::key_value::Store;

pub(crate) struct DefaultStore;

async fn open() -> Result<Store, KeyValueError> {
    Store::open_default().await.map_err(|_| KeyValueError)
}

impl KeyValue for DefaultStore {
    fn get(&self, key: &str) -> PortFuture<'_, Result<Option<Vec<u8>>, KeyValueError>> {
        let key = key.to_owned();
        Box::pin(async move { open().await?.get(&key).await.map_err(|_| KeyValueError) })
    }

    fn set(&self, key: &str, value: &[u8]) -> PortFuture<'_, Result<(), KeyValueError>> {
        let (key, value) = (key.to_owned(), value.to_owned());
        Box::pin(async move {
            open()
                .await?
                .set(&key, &value)
                .await
                .map_err(|_| KeyValueError)
        })
    }

    fn delete(&self, key: &str) -> PortFuture<'_, Result<(), KeyValueError>> {
        let key = key.to_owned();
        Box::pin(async move { open().await?.delete(&key).await.map_err(|_| KeyValueError) })
    }
}
