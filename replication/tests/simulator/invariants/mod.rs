//! What must hold, one file each. Some are checked after every step of the world, some after every step of one replica, some when the
//! thing happens that could break them; each looks only at what can have changed.
//!
//! | file | holds |
//! |---|---|
//! | `observer` | no check: what somebody knows who sees everything |
//! | `one_configuration` | one configuration per ballot |
//! | `one_reader` | at most one replica can pass its read check at any true instant |
//! | `linearizable_reads` | no read is older than what anybody knew when it was asked, expiry included |
//! | `stale_reads` | no read at a secondary is older than its bound |
//! | `commits` | a committed decree never changes, and was evaluated over its predecessors; equal decree, equal state |
//! | `requests_once` | a request that is sent again takes effect once |
//! | `commit_order` | what members committed <= what a serving primary committed <= what members prepared |
//! | `reconciliation` | who begins to serve has everything that anybody ever committed |
//! | `acknowledged_is_everywhere` | an acknowledged write is safe at every member |
//! | `same_bytes` | equal ballot and decree, equal bytes |
//! | `log_order` | prepares of a ballot enter a log in decree order, each once |
//! | `promises` | a node never knows a lower ballot than one under which it spoke |
//! | `recovery` | a restart finds all that was safe, or says that it cannot, and leads nothing |
//! | `watermarks` | durable <= applied <= committed <= prepared, and the log reaches back to durable |
//! | `membership` | whoever joins a configuration is whole and says so on its disk; copies never change their learn |
//! | `additions` | additions are proposed by a serving primary with the meta leader in reach |
//! | `availability` | one hung disk, no meta server, or a deposition elsewhere, stops nobody |
//! | `healed` | after the faults all copies exist, are equal, and serve |

pub(crate) mod acknowledged_is_everywhere;
pub(crate) mod additions;
pub(crate) mod availability;
pub(crate) mod commit_order;
pub(crate) mod commits;
pub(crate) mod healed;
pub(crate) mod linearizable_reads;
pub(crate) mod log_order;
pub(crate) mod membership;
pub(crate) mod observer;
pub(crate) mod one_configuration;
pub(crate) mod one_reader;
pub(crate) mod promises;
pub(crate) mod reconciliation;
pub(crate) mod recovery;
pub(crate) mod requests_once;
pub(crate) mod same_bytes;
pub(crate) mod stale_reads;
pub(crate) mod watermarks;

use crate::site::At;
use crate::world::World;

/// What must not be, and by which invariant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    pub(crate) what: String,
}

/// After a step of one replica.
pub(crate) fn on_step(world: &mut World, at: At) {
    one_configuration::check(world, at);
    watermarks::check(world, at);
}

/// After every step of the world, of every partition.
pub(crate) fn check(world: &mut World) {
    for partition in 0..world.partitions.len() {
        one_reader::check(world, partition);
        commit_order::check(world, partition);
        stale_reads::remember(world, partition);
    }
}
