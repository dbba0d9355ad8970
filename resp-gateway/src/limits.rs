//! What a connection may take from the server: sizes, counts and times, each with its default and what happens beyond it.
//!
//! Sizes of keys and values as such are the command's affair (`commands::Limits`); these hold before a command is even known.

use std::time::Duration;

/// Bounds of a listener and of each of its connections.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections at once. One more is told `ERR max number of clients reached` and closed.
    pub max_clients: usize,
    /// Bytes of one argument (Redis' `proto-max-bulk-len`). A longer declared one is a protocol error, which closes the connection.
    pub max_bulk: usize,
    /// Arguments of one command. More is a protocol error.
    pub max_args: usize,
    /// Bytes of an inline command, or of a length line. More is a protocol error.
    pub max_inline: usize,
    /// Bytes of a command that is not yet whole, below 4 GiB. More is a protocol error.
    pub max_query: usize,
    /// Arguments of one command, and bytes of one argument, while the connection's table is not unlocked.
    pub before_auth: (usize, usize),
    /// Commands of one connection that are not answered yet. At this many it is not read further.
    pub max_in_flight: usize,
    /// Bytes of those of them that are large. Beyond it the connection is not read further; a single command may be larger.
    pub max_in_flight_bytes: usize,
    /// Bytes of replies not yet taken by the client at which the connection is not read further.
    pub output_soft: usize,
    /// Bytes of replies not yet taken by the client beyond which the connection is closed.
    pub output_hard: usize,
    /// Commands of one connection that are started before others get their turn.
    pub turn: usize,
    /// A connection that has sent nothing for so long, and waits for nothing, is closed. `None`: never.
    pub idle_timeout: Option<Duration>,
    /// How long a connection may take to finish what it waits for when the listener stops.
    pub shutdown_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_clients: 10_000,
            max_bulk: 64 << 20,
            max_args: 1 << 20,
            max_inline: 64 << 10,
            max_query: 128 << 20,
            before_auth: (10, 16 << 10),
            max_in_flight: 4096,
            max_in_flight_bytes: 16 << 20,
            output_soft: 1 << 20,
            output_hard: 256 << 20,
            turn: 512,
            idle_timeout: None,
            shutdown_grace: Duration::from_secs(1),
        }
    }
}
