//! What one simulated node has: replicas, proposals that are not answered yet, and the stream on which it says so (rule C1: a proposal is
//! sent again, unchanged, until a higher ballot is known).

use crate::ledger::{Partition, members};
use proto::common::{Configuration, PartitionId};
use proto::meta::{FromNode, Proposal, Proposals, from_node};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// Proposals in one message.
const AT_ONCE: usize = 1000;

pub(crate) type Shared = Arc<Mutex<Disk>>;

pub(crate) fn locked(disk: &Shared) -> MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One node's.
#[derive(Default)]
pub(crate) struct Disk {
    /// With what each knows to be stored.
    pub(crate) replicas: BTreeMap<Partition, Option<Configuration>>,
    outstanding: BTreeMap<Partition, Configuration>,
    say: Option<mpsc::UnboundedSender<FromNode>>,
}

pub(crate) fn message(message: from_node::Message) -> FromNode {
    FromNode {
        message: Some(message),
    }
}

impl Disk {
    /// There is a stream: what is unanswered is said again.
    pub(crate) fn take_up(&mut self, say: mpsc::UnboundedSender<FromNode>) {
        self.say = Some(say);
        self.send(self.outstanding.clone());
    }

    /// There is none any more; whether there was.
    pub(crate) fn hang_up(&mut self) -> bool {
        self.say.take().is_some()
    }

    pub(crate) fn is_mute(&self) -> bool {
        self.say.is_none()
    }

    pub(crate) fn say(&self, what: from_node::Message) {
        if let Some(say) = &self.say {
            // A stream that ended is noticed where it is read.
            let _ = say.send(message(what));
        }
    }

    /// Wants these stored.
    pub(crate) fn propose(&mut self, proposals: Vec<(Partition, Configuration)>) {
        self.outstanding.extend(proposals.iter().cloned());
        self.send(proposals);
    }

    fn send(&self, proposals: impl IntoIterator<Item = (Partition, Configuration)>) {
        let proposal = |((table, index), configuration)| Proposal {
            partition: Some(PartitionId { table, index }),
            configuration: Some(configuration),
        };
        let all: Vec<Proposal> = proposals.into_iter().map(proposal).collect();
        for some in all.chunks(AT_ONCE) {
            let proposals = some.to_vec();
            self.say(from_node::Message::Proposals(Proposals { proposals }));
        }
    }

    /// Proposes a changed configuration, if the one that is known has this ballot and nothing else was proposed.
    pub(crate) fn change(
        &mut self,
        partition: Partition,
        ballot: u64,
        apply: impl FnOnce(&mut Configuration),
    ) {
        let known = self.replicas.get(&partition).and_then(Option::as_ref);
        let Some(known) = known.filter(|known| known.ballot == ballot) else {
            return;
        };
        if self.outstanding.contains_key(&partition) {
            return;
        }
        let mut next = known.clone();
        next.ballot += 1;
        apply(&mut next);
        self.propose(vec![(partition, next)]);
    }

    /// This is stored.
    pub(crate) fn install(&mut self, node: u64, partition: Partition, told: Configuration) {
        let known = self.replicas.get(&partition).and_then(Option::as_ref);
        if known.is_some_and(|known| known.ballot >= told.ballot) {
            return;
        }
        if self
            .outstanding
            .get(&partition)
            .is_some_and(|proposed| proposed.ballot <= told.ballot)
        {
            self.outstanding.remove(&partition);
        }
        if members(&told).any(|member| member == node) {
            self.replicas.insert(partition, Some(told));
        } else {
            self.replicas.remove(&partition);
        }
    }
}
