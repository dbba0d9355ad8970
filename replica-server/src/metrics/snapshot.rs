//! What only the worker knows, as it is when somebody asks. The worker looks at each of its replicas then, and at none otherwise.

use super::counted::{REASONS, TrafficCounts};
use crate::clock;
use crate::room::Room;
use crate::worker::Worker;
use replication::{Refusal, RoleKind};
use std::collections::BTreeMap;
use std::rc::Rc;
use tokio::sync::{mpsc, oneshot};
use types::{Durability, NodeId};

/// Roles as metrics have them.
pub(crate) const ROLES: [&str; 5] = ["inactive", "learner", "secondary", "reconciling", "primary"];

/// The worker's answer.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// By name.
    pub(crate) tables: Vec<(String, TrafficCounts)>,
    /// Names of nodes.
    pub(crate) names: BTreeMap<NodeId, String>,
    /// Replicas by role.
    pub(crate) replicas: [usize; ROLES.len()],
    /// Replicas that are no copy to go on with.
    pub(crate) damaged: usize,
    /// In the log of durability `sync`, and of `buffered`.
    pub(crate) in_log: [usize; 2],
    /// Still in the log of another durability than their table's.
    pub(crate) changing_durability: usize,
    /// Partitions led here that can answer no read for want of a lease, and no write for want of members.
    pub(crate) without_lease: usize,
    pub(crate) without_members: usize,
    /// The most that a peer has yet to acknowledge of any partition led here: as a member, as a learner.
    pub(crate) lags: BTreeMap<(NodeId, bool), u64>,
    /// The most mutations of any replica that are prepared and not committed, committed and not applied, applied and not durable.
    pub(crate) uncommitted: u64,
    pub(crate) unapplied: u64,
    pub(crate) not_durable: u64,
    /// Commands that wait to be evaluated.
    pub(crate) held: usize,
    /// Clients' requests on streams that wait for an answer.
    pub(crate) unanswered: usize,
    /// What the windows of request ids take.
    pub(crate) request_ids_bytes: usize,
    /// Error replies, and refusals by reason.
    pub(crate) errors: u64,
    pub(crate) refused: [u64; REASONS.len()],
    pub(crate) meta_connected: bool,
    pub(crate) room: Room,
}

/// Somebody waits for a snapshot.
pub(crate) type Asked = oneshot::Sender<Snapshot>;

/// Answers whoever asks, for ever.
pub(crate) async fn answer(worker: Rc<Worker>, mut asked: mpsc::Receiver<Asked>) {
    while let Some(asked) = asked.recv().await {
        // Whoever asked may have had no patience.
        let _ = asked.send(worker.snapshot());
    }
}

impl Worker {
    fn snapshot(&self) -> Snapshot {
        let known = self.known.borrow();
        let nodes = known.nodes.iter();
        let mut snapshot = Snapshot {
            tables: self
                .counted
                .tables()
                .into_iter()
                .map(|(table, counts)| (known.table_name(table), counts))
                .collect(),
            names: nodes
                .map(|(&node, address)| (NodeId(node), address.name.clone()))
                .collect(),
            unanswered: self.unanswered.get(),
            request_ids_bytes: self.request_memory.taken(),
            errors: self.counted.errors(),
            refused: self.counted.refused(),
            meta_connected: self.meta.is_up(),
            room: self.room.get(),
            ..Snapshot::default()
        };
        let now = clock::now();
        for hosted in self.hosted_all() {
            let h = hosted.borrow();
            let role = h.core.role();
            snapshot.replicas[place(role)] += 1;
            snapshot.damaged += usize::from(h.is_damaged());
            let buffered = h.core.durability() == Durability::Buffered;
            snapshot.in_log[usize::from(buffered)] += 1;
            snapshot.changing_durability += usize::from(h.wants_another_log());
            snapshot.held += h.held.len() + h.unleased.len();
            let (prepared, committed) = (h.core.prepared().0, h.core.committed().0);
            let (applied, durable) = (h.storage.applied().0, h.storage.durable().0);
            most(
                &mut snapshot.uncommitted,
                prepared.saturating_sub(committed),
            );
            most(&mut snapshot.unapplied, committed.saturating_sub(applied));
            most(&mut snapshot.not_durable, applied.saturating_sub(durable));
            if role != RoleKind::Serving {
                continue;
            }
            // Taken anew for each: beacons must not wait for ten thousand replicas.
            let read = h.core.may_serve_read(now, &self.leases.lock());
            snapshot.without_lease += usize::from(read == Err(Refusal::LeaseMissing));
            let short = matches!(h.core.accepts_write(), Err(Refusal::TooFewMembers { .. }));
            snapshot.without_members += usize::from(short);
            for lag in h.core.lags() {
                let known = snapshot.lags.entry((lag.node, lag.learns)).or_default();
                most(known, lag.mutations);
            }
        }
        snapshot
    }
}

fn most(known: &mut u64, seen: u64) {
    *known = seen.max(*known);
}

/// The place in [`ROLES`].
fn place(role: RoleKind) -> usize {
    match role {
        RoleKind::Inactive => 0,
        RoleKind::Learner => 1,
        RoleKind::Secondary => 2,
        RoleKind::Reconciling => 3,
        RoleKind::Serving => 4,
    }
}
