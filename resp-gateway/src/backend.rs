//! What the gateway needs of the thing behind it: tables to unlock, partitions to run commands on, and what it tells of itself.
//!
//! A backend knows nothing of connections, protocols or reply order: it gets whole commands for one partition each and answers
//! into their [`Sink`]s whenever it can. Nothing here is `Send`: gateway and backend live on one single-threaded runtime.

use crate::sink::Sink;
use bytes::Bytes;
use commands::CommandSpec;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;
use types::{NodeId, SlotRange, Timestamp};

/// Runs commands. Implemented by a replica server over its own partitions, by a gateway process over the client library, and by
/// tests over memory.
pub trait Backend: 'static {
    /// An opened table: cheap to clone, and proof that its password was given.
    type Table: Clone + 'static;

    /// Resolves a table by name and unlocks it. `None`: the connection has given no password (yet).
    ///
    /// Every connection asks for the default table once, so the usual answer should need no waiting.
    fn open_table(
        &self,
        name: &[u8],
        password: Option<&[u8]>,
    ) -> impl Future<Output = Result<Self::Table, OpenTableError>>;

    /// How many partitions the table has, so that a key's is `Slot::of(key).partition(partitions)`.
    fn partitions(&self, table: &Self::Table) -> u32;

    /// Starts one command on one partition. The reply goes to `sink`, perhaps before this returns. Of commands given for the same
    /// partition, those that share a key, at least one of them a write, take effect in the order given. An error of a write says that
    /// nothing took effect, unless it begins with `ERR the outcome`.
    fn execute(&self, table: &Self::Table, request: Request<'_>, sink: Sink);

    /// All commands that one connection had ready were given; the backend may close its batch.
    fn flush(&self) {}

    /// Sections for `INFO` besides the gateway's own (`Server`, `Clients`, `Stats`, `Cluster`).
    fn info(&self) -> Vec<InfoSection> {
        Vec::new()
    }

    /// Of the slow commands on the table that this server remembers, so many of the latest, the newest first. `None`: it evaluates none itself.
    fn slow_commands(&self, _table: &Self::Table, _most: usize) -> Option<Vec<SlowCommand>> {
        None
    }

    /// Forgets them.
    fn forget_slow_commands(&self, _table: &Self::Table) {}

    /// This server, if it is one that holds partitions.
    fn node_id(&self) -> Option<NodeId> {
        None
    }

    /// Where a table's partitions are: all slots, from the last known routes. Only asked for by `CLUSTER` subcommands.
    fn topology(&self, _table: &Self::Table) -> Topology {
        Topology::default()
    }

    /// In mode `cluster`, before a command runs: the server a client should go to instead. `None`: run it here (this server is the
    /// primary, or nobody better is known to serve, so the backend forwards and waits).
    fn redirect(&self, _table: &Self::Table, _partition: u32, _intent: Intent) -> Option<Address> {
        None
    }
}

/// One command for one partition. The arguments are slices of the connection's buffer: what must outlive the call is copied.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Index of the partition in its table.
    pub partition: u32,
    /// The command; its arity was checked.
    pub spec: &'static CommandSpec,
    /// The command's name and its arguments. All keys belong to the partition.
    pub args: &'a [&'a [u8]],
    /// What it is for.
    pub intent: Intent,
}

/// What a command is for, when it is decided where it may run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Intent {
    /// It writes.
    Write,
    /// It reads, and must see every acknowledged write.
    Read,
    /// It reads on a connection that said `READONLY`: a secondary may answer.
    StaleRead,
}

impl Intent {
    /// Of a command on a connection that said nothing of `READONLY`.
    pub fn of(spec: &CommandSpec) -> Self {
        if spec.is_write() {
            Self::Write
        } else {
            Self::Read
        }
    }
}

/// Why a table was not opened.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenTableError {
    /// The table wants a password and none was given.
    #[error("the table wants a password")]
    PasswordRequired,
    /// Another password than the table's.
    #[error("wrong password")]
    WrongPassword,
    /// There is no such table (any more).
    #[error("no such table")]
    NoSuchTable,
    /// It is there, but not for clients of this port: the reason.
    #[error("{0}")]
    Denied(String),
    /// It cannot be told now; asking again later may help.
    #[error("{0}")]
    Unavailable(String),
}

/// A section of `INFO`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InfoSection {
    /// As in `# Name`; `INFO name` asks for it in any case.
    pub name: &'static str,
    /// Its lines.
    pub fields: Vec<(String, String)>,
}

/// A command that took long.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlowCommand {
    /// Counts up, through resets.
    pub id: u64,
    /// When it came.
    pub at: Timestamp,
    /// Until it was answered.
    pub took: Duration,
    /// Its name and arguments, shortened.
    pub args: Vec<Bytes>,
    /// Who sent it, if that is known.
    pub client: Option<SocketAddr>,
}

/// Host and port of a RESP listener.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Address {
    /// A name or an IP address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// The servers of a table and what each serves.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Topology {
    /// Every server that is member of a partition below.
    pub nodes: Vec<ClusterNode>,
    /// In slot order, covering all slots. Neighbours with the same members may be one.
    pub shards: Vec<Shard>,
}

/// One server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterNode {
    /// Its id.
    pub id: NodeId,
    /// Where its RESP port is.
    pub address: Address,
    /// Whether it is believed to be alive.
    pub alive: bool,
}

/// Some slots and who serves them. Members are indexes into [`Topology::nodes`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shard {
    /// Which slots.
    pub slots: SlotRange,
    /// Ballot of the configuration that says so; clients take the highest for the newest.
    pub ballot: u64,
    /// Serves reads and writes.
    pub primary: usize,
    /// Hold copies.
    pub secondaries: Vec<usize>,
}

/// The RESP3 bytes of a reply, for a server that answers a gateway in another process (see [`Sink::reply_encoded`]).
pub fn encode_resp3(reply: &commands::Reply) -> Bytes {
    let mut bytes = Vec::new();
    crate::codec::encode(reply, crate::codec::Protocol::Resp3, &mut bytes);
    bytes.into()
}
