//! Clients, each on a thread and with a connection of its own, one operation after the other.
//!
//! What a client may believe of an error is what docs/redis.md and the client library promise: `TRYAGAIN` and its like say that
//! nothing took effect, and the history holds the servers to that; everything else leaves the outcome open.

use super::keys::{Keys, Use};
use crate::doors::{open_with, runtime};
use crate::history::operation::{Call, Outcome, Reply};
use crate::history::recorder::Recorder;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Runtime;
use tulpar_client::{Error, Table};

/// How long a client waits for one answer before it turns away and calls the outcome unknown.
const ANSWER: Duration = Duration::from_secs(3);
/// A client that has just been refused asks again after this long.
const REFUSED: Duration = Duration::from_millis(20);

/// The codes of errors that say that nothing took effect.
const NO_EFFECT: [&str; 5] = ["TRYAGAIN", "NOREPLICAS", "MISCONF", "CLUSTERDOWN", "MOVED"];

/// How a client reaches the data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Way {
    /// A port that speaks RESP.
    Redis(String),
    /// The client library, from a meta server's address.
    Sdk(String),
}

/// A client that is connected when it needs to be.
pub struct Client {
    way: Way,
    table: String,
    redis: Option<redis::Connection>,
    sdk: Option<(Table, Runtime)>,
    error: Option<String>,
}

impl Client {
    /// Connects at its first question.
    pub fn new(way: Way, table: &str) -> Self {
        let table = table.to_owned();
        Self {
            way,
            table,
            redis: None,
            sdk: None,
            error: None,
        }
    }

    /// Why the last question got no answer.
    pub fn last_error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Asks once.
    pub fn ask(&mut self, key: &str, call: Call) -> Outcome {
        self.error = None;
        match self.way.clone() {
            Way::Redis(address) => self.ask_redis(&address, key, call),
            Way::Sdk(meta) => self.ask_sdk(&meta, key, call),
        }
    }

    fn ask_redis(&mut self, address: &str, key: &str, call: Call) -> Outcome {
        if self.redis.is_none() {
            let connect = |address: &str| {
                let client = redis::Client::open(format!("redis://{address}"))?;
                let connection = client.get_connection_with_timeout(ANSWER)?;
                connection.set_read_timeout(Some(ANSWER))?;
                connection.set_write_timeout(Some(ANSWER))?;
                redis::RedisResult::Ok(connection)
            };
            self.redis = connect(address)
                .map_err(|error| self.error = Some(error.to_string()))
                .ok();
        }
        // Nothing was sent.
        let Some(connection) = &mut self.redis else {
            return Outcome::Refused;
        };
        let reply = match call {
            Call::Get => redis::cmd("GET")
                .arg(key)
                .query(connection)
                .map(Reply::Value),
            Call::Set(value) => {
                let set = redis::cmd("SET").arg(key).arg(value).exec(connection);
                set.map(|()| Reply::Done)
            }
            Call::Delete => redis::cmd("DEL")
                .arg(key)
                .query(connection)
                .map(Reply::Deleted),
            Call::Increment => redis::cmd("INCR")
                .arg(key)
                .query(connection)
                .map(Reply::Number),
        };
        self.error = reply.as_ref().err().map(ToString::to_string);
        match reply {
            Ok(reply) => Outcome::Replied(reply),
            Err(error) if error.code().is_some_and(|code| NO_EFFECT.contains(&code)) => {
                Outcome::Refused
            }
            Err(error) => {
                // An answer to this question that comes late must not be taken for the answer to the next.
                if error.code().is_none() {
                    self.redis = None;
                }
                Outcome::Unknown
            }
        }
    }

    fn ask_sdk(&mut self, meta: &str, key: &str, call: Call) -> Outcome {
        if self.sdk.is_none() {
            let runtime = runtime();
            let table = runtime.block_on(async {
                tokio::time::timeout(ANSWER, open_with(meta, &self.table, ANSWER)).await
            });
            self.sdk = table
                .ok()
                .and_then(Result::ok)
                .map(|table| (table, runtime));
        }
        let Some((table, runtime)) = &self.sdk else {
            return Outcome::Refused;
        };
        let reply = runtime.block_on(async {
            Ok(match call {
                Call::Get => Reply::Value(table.get(key).await?.map(|value| number(&value))),
                Call::Set(value) => {
                    table.set(key, value.to_string()).await?;
                    Reply::Done
                }
                Call::Delete => Reply::Deleted(table.delete(key).await?),
                Call::Increment => {
                    let reply = table.command(["INCR", key]).await?;
                    if let Some(error) = reply.strip_prefix(b"-") {
                        return Err(Error::Rejected(String::from_utf8_lossy(error).into_owned()));
                    }
                    Reply::Number(number(
                        reply.trim_ascii().strip_prefix(b":").unwrap_or(&reply),
                    ))
                }
            })
        });
        self.error = reply.as_ref().err().map(ToString::to_string);
        match reply {
            Ok(reply) => Outcome::Replied(reply),
            Err(Error::OutcomeUnknown(_)) => Outcome::Unknown,
            Err(Error::Timeout(_) | Error::Unavailable(_)) => Outcome::Refused,
            Err(Error::Rejected(why)) if NO_EFFECT.iter().any(|code| why.starts_with(code)) => {
                Outcome::Refused
            }
            Err(error @ (Error::Rejected(_) | Error::Unauthorized(_) | Error::NoSuchTable(_))) => {
                panic!("{call:?} of {key}: {error}")
            }
        }
    }
}

fn number(text: &[u8]) -> i64 {
    let parsed = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok());
    parsed.unwrap_or_else(|| panic!("not a number: {}", String::from_utf8_lossy(text)))
}

/// Clients at work.
pub struct Clients {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    /// One for each way; their numbers in the history are their places.
    pub fn start(
        ways: &[Way],
        table: &str,
        keys: &Arc<Keys>,
        recorder: &Arc<Recorder>,
        seed: u64,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |(number, way): (u32, &Way)| {
            let client = Client::new(way.clone(), table);
            let (stop, keys, recorder) =
                (Arc::clone(&stop), Arc::clone(keys), Arc::clone(recorder));
            let random = SmallRng::seed_from_u64(seed.wrapping_mul(31).wrapping_add(number.into()));
            std::thread::spawn(move || work(number, client, &keys, &recorder, random, &stop))
        };
        let threads = (0..).zip(ways).map(start).collect();
        Self { stop, threads }
    }

    /// Lets each finish what it has begun.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("clients take every answer");
        }
    }
}

fn work(
    number: u32,
    mut client: Client,
    keys: &Keys,
    recorder: &Recorder,
    mut random: SmallRng,
    stop: &AtomicBool,
) {
    // Unlike any other client's, so that a value tells who wrote it.
    let mut value = i64::from(number) * 1_000_000_000;
    while !stop.load(Ordering::Relaxed) {
        let key = keys.choose(&mut random);
        let call = match (key.usage, random.random_range(0..10)) {
            (_, 0..4) => Call::Get,
            (Use::Register, 4..9) => {
                value += 1;
                Call::Set(value)
            }
            (Use::Register, _) => Call::Delete,
            (Use::Counter, _) => Call::Increment,
        };
        let outcome = recorder.record(number, &key.name, call, || client.ask(&key.name, call));
        keys.ended(&key, outcome);
        let think = Duration::from_micros(random.random_range(0..4000));
        std::thread::sleep(if outcome == Outcome::Refused {
            REFUSED
        } else {
            think
        });
    }
}
