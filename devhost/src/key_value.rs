//! `spin:key-value@3.0.0` and `wasi:keyvalue@0.2.0-draft2` on SQLite, in Spin's own table, so that
//! both read the same file.

pub mod atomics;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rusqlite::TransactionBehavior::Immediate;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use wasmtime::AsContextMut;
use wasmtime::component::{Accessor, FutureReader, HasData, Resource, ResourceTable, StreamReader};

use crate::bindings::spin::key_value::key_value::{Error, Host, HostStore, HostStoreWithStore};
use crate::runtime_config::StoreConfig;

/// The stores of an application, by label.
pub struct Stores(BTreeMap<String, Arc<Database>>);

struct Database {
    connection: Mutex<Connection>,
    label: String,
}

impl Stores {
    /// Opens the store of every label in `labels`: where the runtime configuration says, else the
    /// label `default` in `.spin/sqlite_key_value.db` below `folder`.
    ///
    /// # Errors
    ///
    /// A label has no store, or a file cannot be opened.
    pub fn open(
        labels: &BTreeSet<String>,
        configured: &BTreeMap<String, StoreConfig>,
        folder: &Path,
        kind: Kind,
    ) -> Result<Self> {
        let mut stores = BTreeMap::new();
        for label in labels {
            let default = StoreConfig::default();
            let config = match configured.get(label) {
                Some(config) => config,
                None if label == "default" => &default,
                None => bail!("the key-value store `{label}` is not in the runtime configuration"),
            };
            let connection = match kind {
                Kind::Memory => Connection::open_in_memory()?,
                Kind::File => open_file(&folder.join(&config.path))?,
            };
            connection.execute_batch(SCHEMA)?;
            let database = Database {
                connection: Mutex::new(connection),
                label: label.clone(),
            };
            stores.insert(label.clone(), Arc::new(database));
        }
        Ok(Self(stores))
    }
}

/// Where the stores live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// In SQLite files.
    File,
    /// In this process: nothing is left behind.
    Memory,
}

fn open_file(path: &Path) -> Result<Connection> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    }
    let connection = Connection::open(path).with_context(|| path.display().to_string())?;
    // Another process (Spin, a second devhost, the command line) may hold the file for a moment.
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    Ok(connection)
}

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS spin_key_value (
    store TEXT NOT NULL,
    key   TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (store, key)
)";

impl Database {
    /// Runs `work` on the connection, off the asynchronous workers' time.
    fn with<R>(
        &self,
        work: impl FnOnce(&Connection, &str) -> rusqlite::Result<R>,
    ) -> Result<R, Error> {
        tokio::task::block_in_place(|| {
            // A panic in between leaves no half-written state: every call is one statement.
            let connection = self
                .connection
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            work(&connection, &self.label).map_err(|error| Error::Other(error.to_string()))
        })
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.with(|connection, store| {
            connection
                .prepare_cached("SELECT value FROM spin_key_value WHERE store = ?1 AND key = ?2")?
                .query_row(params![store, key], |row| row.get(0))
                .optional()
        })
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        self.with(|connection, store| {
            connection
                .prepare_cached(
                    "INSERT INTO spin_key_value (store, key, value) VALUES (?1, ?2, ?3)
                     ON CONFLICT (store, key) DO UPDATE SET value = excluded.value",
                )?
                .execute(params![store, key, value])
                .map(drop)
        })
    }

    fn delete(&self, key: &str) -> Result<(), Error> {
        self.with(|connection, store| {
            connection
                .prepare_cached("DELETE FROM spin_key_value WHERE store = ?1 AND key = ?2")?
                .execute(params![store, key])
                .map(drop)
        })
    }

    /// Counters are eight bytes, the smallest first, as Spin keeps them.
    fn increment(&self, key: &str, delta: i64) -> Result<i64, Error> {
        let sum = self.with(|connection, store| {
            // Immediate: another process may share the file, and both would read the same value.
            let transaction = Transaction::new_unchecked(connection, Immediate)?;
            let old: Option<Vec<u8>> = transaction
                .prepare_cached("SELECT value FROM spin_key_value WHERE store = ?1 AND key = ?2")?
                .query_row(params![store, key], |row| row.get(0))
                .optional()?;
            let old = match old {
                None => Some(0),
                Some(bytes) => bytes.as_slice().try_into().ok().map(i64::from_le_bytes),
            };
            let Some(sum) = old.and_then(|old| old.checked_add(delta)) else {
                return Ok(None);
            };
            transaction
                .prepare_cached(
                    "INSERT INTO spin_key_value (store, key, value) VALUES (?1, ?2, ?3)
                     ON CONFLICT (store, key) DO UPDATE SET value = excluded.value",
                )?
                .execute(params![store, key, sum.to_le_bytes().as_slice()])?;
            transaction.commit()?;
            Ok(Some(sum))
        })?;
        sum.ok_or_else(|| Error::Other(format!("`{key}` is no counter, or at its end")))
    }

    fn keys(&self) -> Result<Vec<String>, Error> {
        self.with(|connection, store| {
            connection
                .prepare_cached("SELECT key FROM spin_key_value WHERE store = ?1 ORDER BY key")?
                .query_map(params![store], |row| row.get(0))?
                .collect()
        })
    }
}

/// What one component may open.
#[derive(Clone)]
pub struct Granted {
    stores: Arc<Stores>,
    labels: Arc<Vec<String>>,
}

impl Granted {
    /// The stores named by `labels` in the component's manifest entry.
    pub fn new(stores: Arc<Stores>, labels: Vec<String>) -> Self {
        Self {
            stores,
            labels: Arc::new(labels),
        }
    }

    fn open(&self, label: &str) -> Result<OpenStore, Error> {
        if !self.labels.iter().any(|granted| granted == label) {
            return Err(Error::AccessDenied);
        }
        self.stores
            .0
            .get(label)
            .cloned()
            .map(OpenStore)
            .ok_or(Error::NoSuchStore)
    }
}

/// A store a guest has open.
#[derive(Clone)]
pub struct OpenStore(Arc<Database>);

/// What the host functions borrow from a component's state.
pub struct View<'a> {
    /// The component's grants.
    pub granted: &'a Granted,
    /// Its resources.
    pub table: &'a mut ResourceTable,
}

/// Marks the interface's state for the linker.
pub struct KeyValue;

impl HasData for KeyValue {
    type Data<'a> = View<'a>;
}

impl Host for View<'_> {}

impl HostStore for View<'_> {
    fn drop(&mut self, store: Resource<OpenStore>) -> wasmtime::Result<()> {
        self.table.delete(store)?;
        Ok(())
    }
}

impl KeyValue {
    /// The open store behind a guest's handle; a bad handle is the guest's own fault.
    fn store<T: Send>(
        accessor: &Accessor<T, Self>,
        handle: &Resource<OpenStore>,
    ) -> Result<Arc<Database>, Error> {
        accessor.with(|mut access| {
            let store = access.get().table.get(handle).map(|store| store.0.clone());
            store.map_err(|error| Error::Other(error.to_string()))
        })
    }
}

impl<T: Send> HostStoreWithStore<T> for KeyValue {
    async fn open(
        accessor: &Accessor<T, Self>,
        label: String,
    ) -> Result<Resource<OpenStore>, Error> {
        accessor.with(|mut access| {
            let view = access.get();
            let store = view.granted.open(&label)?;
            view.table.push(store).map_err(|_| Error::StoreTableFull)
        })
    }

    async fn get(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenStore>,
        key: String,
    ) -> Result<Option<Vec<u8>>, Error> {
        Self::store(accessor, &store)?.get(&key)
    }

    async fn set(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenStore>,
        key: String,
        value: Vec<u8>,
    ) -> Result<(), Error> {
        Self::store(accessor, &store)?.set(&key, &value)
    }

    async fn delete(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenStore>,
        key: String,
    ) -> Result<(), Error> {
        Self::store(accessor, &store)?.delete(&key)
    }

    async fn exists(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenStore>,
        key: String,
    ) -> Result<bool, Error> {
        Ok(Self::store(accessor, &store)?.get(&key)?.is_some())
    }

    async fn get_keys(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenStore>,
    ) -> wasmtime::Result<(StreamReader<String>, FutureReader<Result<(), Error>>)> {
        let (keys, outcome) = match Self::store(accessor, &store).and_then(|s| s.keys()) {
            Ok(keys) => (keys, Ok(())),
            Err(error) => (Vec::new(), Err(error)),
        };
        accessor.with(|mut access| {
            let keys = StreamReader::new(access.as_context_mut(), keys)?;
            let outcome = async { wasmtime::error::Ok(outcome) };
            Ok((keys, FutureReader::new(access.as_context_mut(), outcome)?))
        })
    }
}
