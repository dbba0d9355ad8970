//! What an operator may turn, with the defaults.

use std::time::Duration;

/// How patient and how busy the cluster's brain is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// How long a partition stays short of a copy before another node gets one. A node that comes back earlier with its copy is
    /// preferred, and catches up from its log.
    pub repair_delay: Duration,
    /// How long a dropped table can be recalled.
    pub drop_retention: Duration,
    /// A node that sent nothing for so long is disconnected.
    pub beat_timeout: Duration,
    /// A request to a node that had no effect is repeated after this.
    pub ask_again: Duration,
    /// After a start, how long to wait for the known nodes before first configurations are planned without them.
    pub settle: Duration,
    /// Opens and deletes that a node has to answer at a time.
    pub errands_per_node: usize,
    /// Learns that go on towards one node at a time.
    pub learns_per_node: usize,
    /// How long a node that was asked to learn has its turn. Without an end by then another one with a copy has it, or, once the repair
    /// delay is over, any other; a node that is seen learning goes on if nobody else has a copy. For balance or a drain nobody learns longer,
    /// but for what the size of the copy takes.
    pub learn_patience: Duration,
    /// How long no node and no member comes or goes before replicas are moved for balance.
    pub balance_after: Duration,
    /// Replicas that are moved for balance, or from drained nodes, at a time; as many primaries.
    pub moves_at_once: usize,
    /// Replicas that are moved to or from one node at a time.
    pub moves_per_node: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            repair_delay: Duration::from_mins(5),
            drop_retention: Duration::from_hours(24),
            beat_timeout: Duration::from_secs(5),
            ask_again: Duration::from_secs(3),
            settle: Duration::from_secs(3),
            errands_per_node: 256,
            learns_per_node: 32,
            learn_patience: Duration::from_mins(5),
            balance_after: Duration::from_mins(1),
            moves_at_once: 16,
            moves_per_node: 2,
        }
    }
}
