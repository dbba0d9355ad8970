//! The ways to the data: a Redis client with a command at a time, one with a pipeline, and the Rust SDK.
//!
//! What a door cannot say for sure (did the write take effect?) it reports as an error; the callers decide what may be.

use crate::poll::PATIENCE;
use bytes::Bytes;
use redis::{Client, Connection, ConnectionLike, RedisResult};
use std::time::Duration;
use tokio::runtime::Runtime;

/// A client's own patience with one answer; longer than any server's.
const ANSWER: Duration = Duration::from_secs(20);

/// A way to write and read several strings.
pub trait Door: Send {
    /// Writes all; an error means that the outcome of each is unknown.
    fn write(&mut self, pairs: &[(String, String)]) -> Result<(), String>;
    /// Reads all.
    fn read(&mut self, keys: &[String]) -> Result<Vec<Option<String>>, String>;
}

/// Connects as a Redis client does. Panics if the server does not answer.
pub fn redis(address: &str) -> Connection {
    try_redis(address).unwrap_or_else(|error| panic!("no Redis connection to {address}: {error}"))
}

/// Connects as a Redis client does.
pub fn try_redis(address: &str) -> RedisResult<Connection> {
    let connection =
        Client::open(format!("redis://{address}"))?.get_connection_with_timeout(ANSWER)?;
    connection.set_read_timeout(Some(ANSWER))?;
    connection.set_write_timeout(Some(ANSWER))?;
    Ok(connection)
}

/// How a [`Redis`] door sends several commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sending {
    /// Each after the reply to the one before.
    Single,
    /// All at once.
    Pipelined,
}

/// A Redis client of one address, connected anew after every error.
pub struct Redis {
    address: String,
    sending: Sending,
    connection: Option<Connection>,
}

impl Redis {
    /// Connects when it is first used.
    pub fn new(address: &str, sending: Sending) -> Self {
        Self {
            address: address.to_owned(),
            sending,
            connection: None,
        }
    }

    fn with<T>(
        &mut self,
        ask: impl FnOnce(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, String> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => try_redis(&self.address).map_err(|error| error.to_string())?,
        };
        let connection = self.connection.insert(connection);
        let answer = ask(connection);
        if !connection.is_open() || answer.is_err() {
            self.connection = None;
        }
        answer.map_err(|error| error.to_string())
    }
}

impl Door for Redis {
    fn write(&mut self, pairs: &[(String, String)]) -> Result<(), String> {
        let sending = self.sending;
        self.with(|connection| match sending {
            Sending::Single => pairs.iter().try_for_each(|(key, value)| {
                redis::cmd("SET").arg(key).arg(value).exec(connection)
            }),
            Sending::Pipelined => {
                let mut pipe = redis::pipe();
                for (key, value) in pairs {
                    pipe.cmd("SET").arg(key).arg(value).ignore();
                }
                pipe.exec(connection)
            }
        })
    }

    fn read(&mut self, keys: &[String]) -> Result<Vec<Option<String>>, String> {
        let sending = self.sending;
        self.with(|connection| match sending {
            Sending::Single => keys
                .iter()
                .map(|key| redis::cmd("GET").arg(key).query(connection))
                .collect(),
            Sending::Pipelined => {
                let mut pipe = redis::pipe();
                for key in keys {
                    pipe.cmd("GET").arg(key);
                }
                pipe.query(connection)
            }
        })
    }
}

/// The Rust SDK, with all operations of a call under way at once.
pub struct Sdk {
    runtime: Runtime,
    table: tulpar_client::Table,
}

impl Sdk {
    /// Opens a table.
    pub fn new(meta: &str, table: &str) -> Self {
        let runtime = runtime();
        let table = runtime.block_on(open(meta, table));
        Self { runtime, table }
    }
}

/// A runtime for SDK calls from a test.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// A table through the SDK, by its meta servers with commas between. Must be called inside the runtime that it will be used in.
pub async fn open(meta: &str, table: &str) -> tulpar_client::Table {
    let table = open_with(meta, table, PATIENCE).await;
    table.expect("a meta server answers, and the table is there")
}

/// The same with a deadline for each operation, and with the reason if there is none.
pub async fn open_with(
    meta: &str,
    table: &str,
    deadline: Duration,
) -> Result<tulpar_client::Table, tulpar_client::Error> {
    let options = tulpar_client::ClientOptions::new(meta.split(',')).deadline(deadline);
    let client = tulpar_client::Client::connect(options).await?;
    client.table(table).await
}

impl Door for Sdk {
    fn write(&mut self, pairs: &[(String, String)]) -> Result<(), String> {
        let table = &self.table;
        let writes = pairs
            .iter()
            .map(|(key, value)| table.set(key.clone(), value.clone()));
        self.runtime
            .block_on(futures::future::try_join_all(writes))
            .map(|_| ())
            .map_err(|error| error.to_string())
    }

    fn read(&mut self, keys: &[String]) -> Result<Vec<Option<String>>, String> {
        let table = &self.table;
        let reads = keys.iter().map(|key| table.get(key.clone()));
        let values = self.runtime.block_on(futures::future::try_join_all(reads));
        let text = |value: Bytes| String::from_utf8_lossy(&value).into_owned();
        values
            .map(|values| values.into_iter().map(|value| value.map(text)).collect())
            .map_err(|error| error.to_string())
    }
}
