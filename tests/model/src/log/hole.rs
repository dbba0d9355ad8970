//! A learner's log with a hole, and the checkpoint that may close it (rules L4, C4, C5).

use super::act::{Act, LogModel};
use super::bounds::Learners;
use super::message::Message;
use super::state::{Base, Log, Mutation, Replica, Reset, Role, Standing, State};
use crate::Omission;
use crate::node::Node;

impl LogModel {
    pub(super) fn holes(&self) -> bool {
        self.bounds.learners == Learners::WithHoles
    }

    pub(super) fn hole_acts(&self, state: &State, node: Node, acts: &mut Vec<Act>) {
        let replica = state.at(node);
        if let Role::Primary { learn: 1.., .. } = replica.role
            && self.holes()
        {
            // RocksDB has any decree up to the committed one, and the log may be trimmed up to there.
            acts.extend((1..=replica.committed).map(|decree| Act::Checkpoint(node, decree)));
        }
        if replica.base == Base::Installing {
            acts.push(Act::Install(node));
        }
    }

    pub(super) fn send_checkpoint(state: &mut State, node: Node, decree: u8) {
        if let Role::Primary { learn, .. } = state.at(node).role {
            state.network.send(Message::Checkpoint { learn, decree });
        }
    }

    /// L4: the reset record of a checkpoint that has arrived. Of the old copy only what is above it goes; the rest when the checkpoint
    /// is in place.
    pub(super) fn take_checkpoint(&self, state: &mut State, node: Node, learn: u8, decree: u8) {
        let replica = state.at_mut(node);
        // What it acknowledged under this ballot by this learn, the primary may count on.
        let acknowledged = match replica.role {
            Role::Follower { next } if self.keeps(Omission::L4Behind) => next.saturating_sub(1),
            _ => 0,
        };
        let wanted = match replica.base {
            Base::Good => decree >= replica.committed.max(acknowledged),
            Base::Awaited => true,
            Base::Installing | Base::CutOff { .. } => false,
        };
        if replica.standing != Standing::Learning(learn) || !wanted {
            return;
        }
        replica.log.cut(decree);
        let at_once = !self.keeps(Omission::L4Counts);
        if at_once || !self.keeps(Omission::L4Discards) {
            replica.log = Log::default();
            replica.committed = 0;
        }
        self.flush(replica);
        (replica.reset, replica.base) = (Reset::Checkpoint(decree), Base::Installing);
        if let Role::Follower { next } = &mut replica.role {
            *next = if at_once { decree + 1 } else { 0 };
            let ballot = replica.known;
            Self::acknowledge(state, node, ballot);
        }
    }

    /// The checkpoint is in place, with what is committed up to its decree.
    pub(super) fn install_checkpoint(&self, state: &mut State, node: Node) {
        let values = state.acknowledged;
        let replica = state.at_mut(node);
        let Reset::Checkpoint(decree) = replica.reset else {
            return;
        };
        let mut base = 0;
        for (slot, &value) in values.iter().enumerate().take(usize::from(decree)) {
            let mutation = Mutation {
                ballot: 0,
                value,
                base,
            };
            replica.log.put(slot as u8 + 1, mutation);
            base = value;
        }
        self.flush(replica);
        (replica.committed, replica.base) = (decree, Base::Good);
        if let Role::Follower { next } = &mut replica.role {
            *next = decree + 1;
            let ballot = replica.known;
            self.advance(state, node);
            Self::acknowledge(state, node, ballot);
        }
    }

    /// Appends a mutation of the primary's that a learner lacks, whatever it lacks below.
    pub(super) fn take_anywhere(
        &self,
        state: &mut State,
        node: Node,
        decree: u8,
        mutation: Mutation,
    ) {
        let replica = state.at_mut(node);
        let Role::Follower { next } = replica.role else {
            return;
        };
        let base = match (replica.base, replica.reset) {
            (Base::Installing, Reset::Checkpoint(base)) => base,
            _ => replica.committed,
        };
        let begun = next > 0 || replica.awaits_checkpoint();
        let known = replica.log.get(decree);
        let same =
            known.is_none_or(|known| (known.value, known.base) == (mutation.value, mutation.base));
        if !begun || !same || decree <= base {
            return;
        }
        replica.log.put(decree, mutation);
        self.flush(replica);
        self.advance(state, node);
        Self::acknowledge(state, node, mutation.ballot);
    }

    /// C4: what came out of order counts as soon as nothing is missing below it. C3: if it came under this ballot.
    pub(super) fn advance(&self, state: &mut State, node: Node) {
        let replica = state.at_mut(node);
        let learns = matches!(replica.standing, Standing::Learning(_));
        if let Role::Follower { next: next @ 1.. } = &mut replica.role
            && (learns && self.holes())
        {
            while (replica.log.get(*next)).is_some_and(|known| known.ballot == replica.known) {
                *next += 1;
            }
            if !self.keeps(Omission::C4Gap) {
                *next = replica.log.highest() + 1;
            }
        }
    }

    /// C5: the mark is not written over a hole: what has one after a restart is no copy. (In the code nothing is in the log above `next`.)
    pub(super) fn may_mark(&self, replica: &Replica) -> bool {
        let Role::Follower { next: next @ 1.. } = replica.role else {
            return false;
        };
        let hole = replica.log.has_hole() && replica.log.highest() >= next;
        !hole || !self.holes() || !self.keeps(Omission::C5Hole)
    }

    /// What a restart makes of a learn that was under way. Says whether it goes on, against C5.
    pub(super) fn recover_learner(&self, replica: &mut Replica) -> bool {
        replica.base = Base::Good;
        if !self.holes() {
            return false;
        }
        match replica.standing {
            Standing::Learning(_) if !self.keeps(Omission::C5Restart) => return true,
            Standing::Learning(_) => {
                let good = replica.reset == Reset::Log;
                replica.base = Base::CutOff { good };
            }
            // C5: what has a hole is no copy, whatever its mark says.
            Standing::Whole(learn) if replica.log.has_hole() => {
                replica.standing = Standing::Learning(learn);
                replica.base = Base::CutOff { good: false };
            }
            Standing::Blank | Standing::Whole(_) | Standing::Unsynced(_) => {}
        }
        false
    }

    /// RocksDB has at least this: an installed checkpoint. Of a learn by checkpoint that is cut off, nothing counts.
    pub(super) fn oldest_applied(replica: &Replica) -> u8 {
        match (replica.standing, replica.reset) {
            (_, Reset::Log) => 0,
            (Standing::Learning(_), Reset::Checkpoint(_)) => replica.committed,
            (_, Reset::Checkpoint(base)) => base,
        }
    }

    /// What was appended is on the disk.
    pub(super) fn flush(&self, replica: &mut Replica) {
        let before = std::mem::replace(&mut replica.disk, replica.log);
        if self.keeps(Omission::L4Keeps) {
            return;
        }
        // L4 left out: old records that the log in memory knows nothing of.
        for decree in 1..=before.highest() {
            if let (Some(old), None) = (before.get(decree), replica.log.get(decree)) {
                replica.disk.put(decree, old);
            }
        }
    }
}

impl Replica {
    /// Whether a learner has no base yet.
    pub(super) fn awaits_checkpoint(&self) -> bool {
        matches!(self.base, Base::Awaited | Base::Installing)
    }
}
