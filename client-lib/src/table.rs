//! A table: strings, generic commands, and the low-level door for gateways.

use crate::completion::{Completion, Deliveries, Outcome};
use crate::conflict::Order;
use crate::core::Home;
use crate::lane::{Lane, Name, Op, Route};
use crate::options::SetOptions;
use crate::request_id::{RequestId, Retry};
use crate::{Error, Hash, Kind};
use bytes::Bytes;
use proto::data::{Command, Delete, Get, Set, Value, request::Operation, response};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use types::Slot;

/// What a request takes on the wire besides its operation, at most.
const AROUND: usize = 128;

/// A table. Cheap to clone; lives as long as wanted, whatever the [`Client`](crate::Client) forgets.
#[derive(Clone)]
pub struct Table {
    pub(crate) shared: Arc<Shared>,
    pub(crate) retry: Retry,
    /// How old may be what is read.
    pub(crate) staleness: Option<Duration>,
    /// Of what is submitted.
    pub(crate) order: Order,
}

/// What the handles of a table share; with the last of them the routes are no longer followed.
pub(crate) struct Shared {
    pub(crate) home: Arc<Home>,
    pub(crate) lanes: Vec<Arc<Lane>>,
    pub(crate) watch: AbortHandle,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table")
            .field("name", &self.name())
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

impl Table {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.shared.home.name
    }

    /// Its number, never that of another table.
    pub fn id(&self) -> u32 {
        self.shared.home.id
    }

    /// How many partitions it has.
    pub fn partitions(&self) -> u32 {
        self.shared.lanes.len() as u32
    }

    /// The partition that holds a key (a hash key: sort keys do not matter).
    pub fn partition_of(&self, key: impl AsRef<[u8]>) -> u32 {
        Slot::of(key.as_ref()).partition(self.partitions())
    }

    /// Where a partition is served, as far as this client knows.
    pub fn route_of(&self, partition: u32) -> Option<Route> {
        self.shared.lanes.get(partition as usize)?.route()
    }

    /// The string under `key`.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Error> {
        let key = Bytes::copy_from_slice(key.as_ref());
        let partition = self.partition_of(&key);
        match self
            .call_on(partition, Kind::Read, Operation::Get(Get { key }))
            .await?
        {
            response::Result::Value(value) => Ok(found(value)),
            _ => Err(unexpected(Kind::Read)),
        }
    }

    /// Writes a string, over whatever is under `key`.
    pub async fn set(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Result<(), Error> {
        self.set_with(key, value, SetOptions::new()).await
    }

    /// Writes a string with options.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use tulpar_client::{SetOptions, Table};
    /// # async fn example(table: Table) -> Result<(), tulpar_client::Error> {
    /// table.set_with("session:9", "...", SetOptions::new().ttl(Duration::from_secs(60))).await
    /// # }
    /// ```
    pub async fn set_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
        options: SetOptions,
    ) -> Result<(), Error> {
        let key = Bytes::copy_from_slice(key.as_ref());
        let partition = self.partition_of(&key);
        let set = Set {
            key,
            value: value.into(),
            ttl: options.milliseconds(),
        };
        self.call_on(partition, Kind::Write, Operation::Set(set))
            .await
            .map(drop)
    }

    /// Deletes whatever is under `key`; says whether there was anything.
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        let key = Bytes::copy_from_slice(key.as_ref());
        let partition = self.partition_of(&key);
        count(
            &self
                .call_on(partition, Kind::Write, Operation::Delete(Delete { key }))
                .await?,
        )
        .map(|deleted| deleted > 0)
    }

    /// The same table for writes that are to be sent at most once: one whose answer is lost ends as [`Error::OutcomeUnknown`] at once,
    /// instead of being asked for again until the deadline.
    ///
    /// ```no_run
    /// # async fn example(table: tulpar_client::Table) -> Result<(), tulpar_client::Error> {
    /// table.without_retries().set("heartbeat", "now").await
    /// # }
    /// ```
    #[must_use]
    pub fn without_retries(&self) -> Self {
        Self {
            retry: Retry::Never,
            ..self.clone()
        }
    }

    /// The same table for reads whose answers may be as old as `staleness`, but no older: whatever was acknowledged that long before the
    /// read is seen. They are spread over all members of the partition; a secondary that does not know its copy to be fresh enough, and one
    /// that cannot be reached, leaves the read to the primary. Such reads have no order among other requests: one may miss a write that
    /// the same caller has just made, and what an earlier one saw.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn example(table: tulpar_client::Table) -> Result<(), tulpar_client::Error> {
    /// let news = table.with_staleness(Duration::from_millis(500)).get("news").await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_staleness(&self, staleness: Duration) -> Self {
        Self {
            // The protocol counts whole milliseconds.
            staleness: (staleness.as_millis() > 0).then_some(staleness),
            ..self.clone()
        }
    }

    /// The entries under a hash key.
    pub fn hash(&self, hash_key: impl AsRef<[u8]>) -> Hash {
        Hash::new(self.clone(), Bytes::copy_from_slice(hash_key.as_ref()))
    }

    /// Runs a Redis command on the partition of its first argument, and gives its reply as RESP3 bytes, errors of the command itself
    /// included. It counts as a write.
    ///
    /// ```no_run
    /// # async fn example(table: tulpar_client::Table) -> Result<(), tulpar_client::Error> {
    /// assert_eq!(table.command(["APPEND", "log", "line"]).await?, ":4\r\n");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn command(
        &self,
        arguments: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Bytes, Error> {
        self.run(None, Kind::Write, arguments).await
    }

    /// The same for a command that changes nothing: it is sent again when its connection is lost.
    pub async fn read_command(
        &self,
        arguments: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Bytes, Error> {
        self.run(None, Kind::Read, arguments).await
    }

    /// The same as [`Self::command`] for a command that the application may send again, in this process or another: sent with the same id,
    /// it takes effect once and gives the reply of the first time.
    ///
    /// ```no_run
    /// # use tulpar_client::{RequestId, Table};
    /// # async fn example(table: Table, me: u64, orders_so_far: u64) -> Result<(), tulpar_client::Error> {
    /// let id = RequestId::new(me, orders_so_far + 1);
    /// let first = table.command_as(id, ["INCR", "orders"]).await?;
    /// assert_eq!(table.command_as(id, ["INCR", "orders"]).await?, first);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn command_as(
        &self,
        id: RequestId,
        arguments: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Bytes, Error> {
        let table = Self {
            retry: Retry::As(id),
            ..self.clone()
        };
        table.run(None, Kind::Write, arguments).await
    }

    /// Runs a Redis command on a given partition: for commands without a key, or whose first argument is none.
    pub async fn command_on(
        &self,
        partition: u32,
        kind: Kind,
        arguments: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Bytes, Error> {
        self.run(Some(partition), kind, arguments).await
    }

    async fn run(
        &self,
        partition: Option<u32>,
        kind: Kind,
        arguments: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Bytes, Error> {
        let arguments: Vec<_> = arguments
            .into_iter()
            .map(|argument| Bytes::copy_from_slice(argument.as_ref()))
            .collect();
        let partition = match (partition, arguments.get(1)) {
            (Some(partition), _) => partition,
            (None, Some(key)) => self.partition_of(key),
            (None, None) => {
                return Err(Error::Rejected(
                    "ERR a command without a key needs a partition".into(),
                ));
            }
        };
        match self
            .call_on(partition, kind, Operation::Command(Command { arguments }))
            .await?
        {
            response::Result::Resp(reply) => Ok(reply),
            _ => Err(unexpected(kind)),
        }
    }

    /// Has a server say whether the table was opened with its password, by reading what nobody writes.
    pub(crate) async fn check_password(&self) -> Result<(), Error> {
        let asked = self.call_on(0, Kind::Read, Operation::Get(Get::default()));
        asked.await.map(drop)
    }

    /// Sends an operation to a partition, waiting for room first.
    pub(crate) async fn call_on(
        &self,
        partition: u32,
        kind: Kind,
        operation: Operation,
    ) -> Outcome {
        let core = &self.shared.home.core;
        let deadline = Instant::now() + core.options.deadline;
        let len = operation.encoded_len();
        let cost = core.budget.cost(len);
        let lane = self.lane(partition, len)?;
        if !core.budget.reserve(cost, deadline).await {
            return Err(Error::Timeout("too many requests are in flight".into()));
        }
        let (sender, outcome) = oneshot::channel();
        let completion = Some(Completion::Oneshot(sender));
        let op = Op {
            sequence: 0,
            order: None,
            operation,
            len,
            kind,
            name: name(kind, self.retry),
            lost: false,
            put_off: 0,
            deadline,
            completion,
            cost,
            aside: None,
        };
        self.send(lane, op);
        outcome.await.unwrap_or_else(|_| {
            let reason = "the client's runtime has ended".to_owned();
            Err(match kind {
                Kind::Read => Error::Unavailable(reason),
                Kind::Write => Error::OutcomeUnknown(reason),
            })
        })
    }

    fn send(&self, lane: &Arc<Lane>, op: Op) {
        match self.staleness {
            Some(staleness) if op.kind == Kind::Read => lane.submit_aside(op, staleness),
            _ => lane.submit(op),
        }
    }

    fn lane(&self, partition: u32, len: usize) -> Result<&Arc<Lane>, Error> {
        if len > proto::MAX_MESSAGE - AROUND {
            return Err(Error::Rejected("ERR the request is too large".into()));
        }
        let lane = self.shared.lanes.get(partition as usize);
        lane.ok_or_else(|| {
            Error::Rejected(format!(
                "ERR table '{}' has no partition {partition}",
                self.name()
            ))
        })
    }

    /// The same table for one whose submitted operations keep their order among themselves only: a connection of a gateway, say. Without it, a
    /// read is refused when a write that somebody else submitted after it is lost with a connection.
    #[must_use]
    pub fn with_own_order(&self) -> Self {
        Self {
            order: self.shared.home.core.next_order(),
            ..self.clone()
        }
    }

    /// Hands an operation over and returns at once; for gateways. Operations submitted to one partition in an order take effect in that
    /// order. The outcome may arrive before this returns: so it does when too much is in flight, as [`Error::Unavailable`].
    ///
    /// ```no_run
    /// # use std::sync::Arc;
    /// # use tulpar_client::{wire, Completion, CompletionQueue, Kind, Table};
    /// # async fn example(table: Table) {
    /// let queue = CompletionQueue::new();
    /// let get = wire::request::Operation::Get(wire::Get { key: "k".into() });
    /// let completion = Completion::Queue { token: 7, queue: Arc::clone(&queue) };
    /// table.submit(table.partition_of("k"), get, Kind::Read, completion);
    /// let mut outcomes = Vec::new();
    /// queue.ready().await;
    /// queue.drain(&mut outcomes);
    /// assert_eq!(outcomes[0].0, 7);
    /// # }
    /// ```
    pub fn submit(&self, partition: u32, operation: Operation, kind: Kind, completion: Completion) {
        self.hand_over(partition, operation, kind, self.retry, completion);
    }

    /// The same for a write that was sent before, by whomever, under this id.
    pub fn submit_as(
        &self,
        partition: u32,
        operation: Operation,
        id: RequestId,
        completion: Completion,
    ) {
        self.hand_over(partition, operation, Kind::Write, Retry::As(id), completion);
    }

    fn hand_over(
        &self,
        partition: u32,
        operation: Operation,
        kind: Kind,
        retry: Retry,
        completion: Completion,
    ) {
        let core = &self.shared.home.core;
        let len = operation.encoded_len();
        let cost = core.budget.cost(len);
        let refused = match self.lane(partition, len) {
            Ok(lane) if core.budget.try_reserve(cost) => {
                let deadline = Instant::now() + core.options.deadline;
                let completion = Some(completion);
                return lane.submit(Op {
                    sequence: 0,
                    order: Some(self.order),
                    operation,
                    len,
                    kind,
                    name: name(kind, retry),
                    lost: false,
                    put_off: 0,
                    deadline,
                    completion,
                    cost,
                    aside: None,
                });
            }
            Ok(_) => Error::Unavailable("too many requests are in flight".into()),
            Err(error) => error,
        };
        let refused = match retry {
            // An earlier attempt may be done.
            Retry::As(_) => Error::OutcomeUnknown(refused.to_string()),
            _ => refused,
        };
        let mut out = Deliveries::default();
        out.settle(completion, 0, Err(refused));
        out.deliver(&core.budget);
    }
}

fn name(kind: Kind, retry: Retry) -> Option<Name> {
    match (kind, retry) {
        (Kind::Read, _) | (Kind::Write, Retry::Never) => None,
        (Kind::Write, Retry::ById) => Some(Name::Own {
            sequence: 0,
            sent: None,
        }),
        (Kind::Write, Retry::As(id)) => Some(Name::Given(id)),
    }
}

pub(crate) fn found(value: Value) -> Option<Bytes> {
    value.found.then_some(value.value)
}

pub(crate) fn count(result: &response::Result) -> Result<u64, Error> {
    match result {
        response::Result::Count(count) => Ok(*count),
        _ => Err(unexpected(Kind::Write)),
    }
}

/// A server answered one operation as if it were another.
pub(crate) fn unexpected(kind: Kind) -> Error {
    let reason = "the server's answer is not one to this operation".to_owned();
    match kind {
        Kind::Read => Error::Unavailable(reason),
        Kind::Write => Error::OutcomeUnknown(reason),
    }
}
