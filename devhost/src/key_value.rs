//! `spin:key-value@3.0.0` and `wasi:keyvalue@0.2.0-draft2` on SQLite, in Spin's own table, so that
//! both read the same file, and on Redis.

pub mod atomics;
mod fill;
mod redis;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rusqlite::TransactionBehavior::Immediate;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, params};
use wasmtime::AsContextMut;
use wasmtime::component::{Accessor, FutureReader, HasData, Resource, ResourceTable, StreamReader};

use crate::bindings::spin::key_value::key_value::{Error, Host, HostStore, HostStoreWithStore};
use crate::runtime_config::StoreConfig;

pub use fill::fill;

/// The stores of an application, by label.
pub struct Stores(BTreeMap<String, Arc<Backend>>);

enum Backend {
    Redis(redis::Redis),
    Sqlite(Database),
}

impl Backend {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        match self {
            Self::Redis(redis) => redis.get(key),
            Self::Sqlite(database) => database.get(key),
        }
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        match self {
            Self::Redis(redis) => redis.set(key, value),
            Self::Sqlite(database) => database.set(key, value),
        }
    }

    fn delete(&self, key: &str) -> Result<(), Error> {
        match self {
            Self::Redis(redis) => redis.delete(key),
            Self::Sqlite(database) => database.delete(key),
        }
    }

    fn increment(&self, key: &str, delta: i64) -> Result<i64, Error> {
        match self {
            Self::Redis(redis) => redis.increment(key, delta),
            Self::Sqlite(database) => database.increment(key, delta),
        }
    }

    fn keys(&self) -> Result<Vec<String>, Error> {
        match self {
            Self::Redis(redis) => redis.keys(),
            Self::Sqlite(database) => database.keys(),
        }
    }
}

struct Database {
    connection: Mutex<Connection>,
    label: String,
    /// Where the file is, if there is one: look-ups are then made on connections of their own, for
    /// a change to the file keeps nobody from reading it.
    path: Option<PathBuf>,
    /// Those of them that nobody is at: as many as there were look-ups at once, one per thread.
    readers: Mutex<Vec<Connection>>,
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
            let (connection, path) = match (kind, config) {
                (Kind::Memory, _) => (Connection::open_in_memory()?, None),
                (Kind::File, StoreConfig::Sqlite { path }) => {
                    let path = folder.join(path);
                    (open_file(&path)?, Some(path))
                }
                (Kind::File, StoreConfig::Redis { url }) => {
                    let redis = redis::Redis::new(url.as_str());
                    let redis = redis.with_context(|| format!("the key-value store `{label}`"))?;
                    stores.insert(label.clone(), Arc::new(Backend::Redis(redis)));
                    continue;
                }
            };
            connection.execute_batch(SCHEMA)?;
            let database = Database {
                connection: Mutex::new(connection),
                label: label.clone(),
                path,
                readers: Mutex::default(),
            };
            stores.insert(label.clone(), Arc::new(Backend::Sqlite(database)));
        }
        Ok(Self(stores))
    }
}

/// Where the stores live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Where the runtime configuration says.
    File,
    /// In this process: nothing is left behind.
    Memory,
}

fn file(path: &Path) -> Result<Connection> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    }
    Connection::open(path).with_context(|| path.display().to_string())
}

fn open_file(path: &Path) -> Result<Connection> {
    let connection = file(path)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    Ok(connection)
}

/// Another process (Spin, a second devhost, the command line) may hold the file for a moment.
const PATIENCE: Duration = Duration::from_secs(5);

/// Without a lock of SQLite's own: no two threads are at one connection.
const READ_ONLY: OpenFlags =
    OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

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

    /// The same for a look-up, in place: it takes less than the change to another thread would.
    fn look<R>(
        &self,
        work: impl FnOnce(&Connection, &str) -> rusqlite::Result<R>,
    ) -> Result<R, Error> {
        let other = |error: rusqlite::Error| Error::Other(error.to_string());
        let Some(path) = &self.path else {
            // In memory nobody is at the connection for long.
            let connection = self
                .connection
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            return work(&connection, &self.label).map_err(other);
        };
        let readers = || self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = readers().pop();
        let reader = match reader {
            Some(reader) => reader,
            None => Connection::open_with_flags(path, READ_ONLY)
                .and_then(|reader| reader.busy_timeout(PATIENCE).map(|()| reader))
                .map_err(other)?,
        };
        let found = work(&reader, &self.label).map_err(other);
        readers().push(reader);
        found
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.look(|connection, store| {
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
pub struct OpenStore(Arc<Backend>);

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
    ) -> Result<Arc<Backend>, Error> {
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

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};
    use std::thread;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().build().unwrap()
    }

    fn open(config: StoreConfig, kind: Kind, folder: &Path) -> Arc<Backend> {
        let labels = BTreeSet::from(["default".to_owned()]);
        let configured = BTreeMap::from([("default".to_owned(), config)]);
        let stores = Stores::open(&labels, &configured, folder, kind).unwrap();
        Arc::clone(&stores.0["default"])
    }

    fn file(folder: &Path) -> Arc<Backend> {
        let path = PathBuf::from("kv.db");
        open(StoreConfig::Sqlite { path }, Kind::File, folder)
    }

    /// What every store does, as Spin's do.
    fn keeps_the_contract(store: &Backend) {
        runtime().block_on(async {
            let get = |key| store.get(key).unwrap();
            let increment = |key, delta| store.increment(key, delta).unwrap();
            assert_eq!(get("a"), None);
            let all: Vec<u8> = (0..=255).collect();
            store.set("a", &all).unwrap();
            assert_eq!(get("a"), Some(all), "every byte");
            store.set("a", b"").unwrap();
            assert_eq!(get("a"), Some(Vec::new()), "replaced; empty is not absent");
            assert_eq!(get("A"), None, "case counts");
            assert_eq!(increment("n", 1), 1);
            assert_eq!(increment("n", 1), 2);
            assert_eq!(increment("n", 20), 22);
            assert_eq!(increment("n", 0), 22, "read");
            assert_eq!(increment("n", -2), 20);
            assert_eq!(increment("z", 0), 0, "read unset");
            assert_eq!(store.keys().unwrap().len(), 3);
            for key in ["a", "n", "z"] {
                store.delete(key).unwrap();
                assert_eq!(get(key), None);
                store.delete(key).unwrap();
            }
            assert_eq!(increment("n", 1), 1, "begun anew");
            store.delete("n").unwrap();
            assert_eq!(store.keys().unwrap(), Vec::<String>::new());
        });
    }

    /// Counts with eight threads in turn on two stores; each number comes once.
    fn counts_once(stores: [&Arc<Backend>; 2]) {
        let numbers: Vec<_> = (0..8)
            .map(|thread| {
                let store = Arc::clone(stores[thread % 2]);
                let count = move || {
                    runtime().block_on(async {
                        let next = |_| store.increment("n", 1).unwrap();
                        (0..50).map(next).collect::<Vec<_>>()
                    })
                };
                thread::spawn(count)
            })
            .collect();
        let mut numbers: Vec<i64> = numbers
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=400).collect::<Vec<_>>());
    }

    #[test]
    fn sqlite_keeps_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        keeps_the_contract(&file(folder.path()));
        let config = StoreConfig::default();
        keeps_the_contract(&open(config, Kind::Memory, folder.path()));
    }

    #[test]
    fn two_processes_on_one_file_count_together() {
        let folder = tempfile::tempdir().unwrap();
        counts_once([&file(folder.path()), &file(folder.path())]);
    }

    #[test]
    fn what_one_thread_has_set_another_reads_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = file(folder.path());
        let other = Arc::clone(&store);
        let (ask, asked) = std::sync::mpsc::channel::<String>();
        let (answer, answered) = std::sync::mpsc::channel();
        let reader = thread::spawn(move || {
            for value in asked {
                let found = other.get("k").unwrap();
                answer.send(found == Some(value.into_bytes())).unwrap();
            }
        });
        runtime().block_on(async {
            for round in 0..200 {
                let value = round.to_string();
                store.set("k", value.as_bytes()).unwrap();
                assert_eq!(store.get("k").unwrap(), Some(value.clone().into_bytes()));
                ask.send(value).unwrap();
                assert!(answered.recv().unwrap(), "round {round}");
            }
            let Backend::Sqlite(database) = &*store else {
                panic!("a file")
            };
            let kept = database.readers.lock().unwrap().len();
            assert_eq!(kept, 1, "one look-up at a time needs one connection");
            store.delete("k").unwrap();
            assert_eq!(store.get("k").unwrap(), None);
        });
        drop(ask);
        reader.join().unwrap();
    }

    #[test]
    fn a_counter_in_sqlite_is_eight_bytes_as_under_spin() {
        let folder = tempfile::tempdir().unwrap();
        let store = file(folder.path());
        runtime().block_on(async {
            assert_eq!(store.increment("n", 258).unwrap(), 258);
            assert_eq!(store.get("n").unwrap(), Some(vec![2, 1, 0, 0, 0, 0, 0, 0]));
            store.set("text", b"258").unwrap();
            assert!(store.increment("text", 1).is_err());
            assert!(store.increment("n", i64::MAX).is_err());
            assert_eq!(store.increment("n", 0).unwrap(), 258);
        });
    }

    /// Debian's redis-server in a folder of its own, reached by a socket.
    struct Server {
        folder: tempfile::TempDir,
        process: Child,
    }

    impl Server {
        fn start() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let process = Self::run(folder.path());
            Self { folder, process }
        }

        fn run(folder: &Path) -> Child {
            let mut command = Command::new("redis-server");
            command.args(["--port", "0", "--save", "", "--appendonly", "yes"]);
            command.args(["--appendfsync", "always", "--unixsocket", "redis.sock"]);
            command.current_dir(folder).stdout(Stdio::piped());
            let mut child = command
                .spawn()
                .expect("redis-server: `apt-get install redis-server`");
            let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
            let mut line = String::new();
            while !line.contains("ready to accept connections") && !line.contains("Ready to accept")
            {
                line.clear();
                let read = std::io::BufRead::read_line(&mut lines, &mut line).unwrap();
                assert_ne!(read, 0, "redis-server ended");
            }
            // It goes on writing lines; nobody needs them.
            thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
            child
        }

        fn stop(&mut self) {
            self.process.kill().unwrap();
            self.process.wait().unwrap();
        }

        fn store(&self) -> Arc<Backend> {
            let socket = self.folder.path().join("redis.sock");
            let url = format!("redis+unix://{}", socket.display());
            open(StoreConfig::Redis { url }, Kind::File, self.folder.path())
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            self.stop();
        }
    }

    #[test]
    fn redis_keeps_the_contract_and_shows_keys_as_they_are() {
        let server = Server::start();
        let store = server.store();
        keeps_the_contract(&store);
        counts_once([&store, &server.store()]);
        runtime().block_on(async {
            assert_eq!(store.keys().unwrap(), ["n"]);
            assert_eq!(store.get("n").unwrap(), Some(b"400".to_vec()));
        });
    }

    #[test]
    fn a_redis_that_is_down_is_an_error_and_one_that_is_back_serves() {
        let mut server = Server::start();
        let store = server.store();
        runtime().block_on(async {
            store.set("k", b"v").unwrap();
            server.stop();
            assert!(store.get("k").is_err());
            assert!(store.increment("n", 1).is_err());
            assert!(server.store().get("k").is_err(), "never connected");
            server.process = Server::run(server.folder.path());
            assert_eq!(store.get("k").unwrap(), Some(b"v".to_vec()));
            assert_eq!(store.increment("n", 1).unwrap(), 1);
        });
    }
}
