//! A key-value store on Redis, as Spin has it: keys as they are, without the store's label, and
//! counters as decimal text.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::{Client, Cmd, Connection, FromRedisValue, IntoConnectionInfo};

use crate::bindings::spin::key_value::key_value::Error;

/// A server that does not answer within this time is down.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A server, connected to with the first call.
pub(super) struct Redis {
    client: Client,
    connection: Mutex<Option<Connection>>,
}

impl Redis {
    /// The server at `url`, which need not be there yet.
    pub(super) fn new(url: impl IntoConnectionInfo) -> redis::RedisResult<Self> {
        Ok(Self {
            client: Client::open(url)?,
            connection: Mutex::new(None),
        })
    }

    /// Sends `command`, off the asynchronous workers' time. A connection that failed is not used
    /// again, and nothing is sent twice: a counter may have moved.
    fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Error> {
        tokio::task::block_in_place(|| {
            let mut held = self
                .connection
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let connected = match held.take() {
                Some(connection) => Ok(connection),
                None => self.connect(),
            };
            let answer = connected.and_then(|mut connection| {
                let answer = command.query(&mut connection)?;
                *held = Some(connection);
                Ok(answer)
            });
            answer.map_err(|error| Error::Other(error.to_string()))
        })
    }

    fn connect(&self) -> redis::RedisResult<Connection> {
        let connection = self.client.get_connection_with_timeout(TIMEOUT)?;
        connection.set_read_timeout(Some(TIMEOUT))?;
        connection.set_write_timeout(Some(TIMEOUT))?;
        Ok(connection)
    }

    pub(super) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.ask(redis::cmd("GET").arg(key))
    }

    pub(super) fn set(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        self.ask(redis::cmd("SET").arg(key).arg(value))
    }

    pub(super) fn delete(&self, key: &str) -> Result<(), Error> {
        self.ask::<i64>(redis::cmd("DEL").arg(key)).map(drop)
    }

    pub(super) fn increment(&self, key: &str, delta: i64) -> Result<i64, Error> {
        self.ask(redis::cmd("INCRBY").arg(key).arg(delta))
    }

    pub(super) fn keys(&self) -> Result<Vec<String>, Error> {
        self.ask(redis::cmd("KEYS").arg("*"))
    }
}
