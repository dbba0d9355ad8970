//! Moves that an operator asks for: whether they can be made, and why not.

use super::step::{Reason, Shift, Step};
use crate::cluster::Partition;
use crate::{Action, Cluster, Refusal, Soundness, Token};
use types::{Configuration, Instant, PartitionId};

impl Cluster {
    /// An operator moves a replica or a lead.
    pub(crate) fn move_asked(
        &mut self,
        now: Instant,
        token: Token,
        (table, index): (&str, u32),
        shift: impl FnOnce(&Configuration) -> Shift,
        actions: &mut Vec<Action>,
    ) {
        let found = self.find_partition(table, index);
        let checked = found.and_then(|id| {
            let stored = self.stored_of(id)?;
            let shift = shift(&stored);
            self.check_move(id, &stored, shift)?;
            let reason = Reason::Operator;
            Ok(Step {
                partition: id,
                shift,
                reason,
                after: None,
            })
        });
        let answer = match checked {
            Ok(step) => {
                self.start(now, step);
                self.pursue(now, step.partition, actions);
                Ok(crate::Answered::Done)
            }
            Err(refusal) => Err(refusal),
        };
        actions.push(Action::Answer { token, answer });
    }

    fn stored_of(&self, id: PartitionId) -> Result<Configuration, Refusal> {
        self.partition(id)
            .and_then(|partition| partition.stored.clone())
            .ok_or_else(|| Refusal::Unfit(format!("partition {id} has no configuration yet")))
    }

    fn check_move(
        &self,
        id: PartitionId,
        stored: &Configuration,
        shift: Shift,
    ) -> Result<(), Refusal> {
        let unfit = |why: String| Err(Refusal::Unfit(why));
        if self.moves.contains_key(&id) {
            return unfit(format!("partition {id} is being moved already"));
        }
        if self.partition(id).is_some_and(Partition::is_diverged) {
            return unfit(format!(
                "the copies of partition {id} differ and no majority of them agrees: decide first which one goes"
            ));
        }
        let (Shift::Replica { from, to } | Shift::Lead { from, to }) = shift;
        if !self.nodes.contains_key(&to) {
            return Err(Refusal::NoSuchNode(to));
        }
        if !self.is_alive(to) {
            return unfit(format!("node {to} is not alive"));
        }
        if !stored.contains(from) {
            return unfit(format!("node {from} has no part in partition {id}"));
        }
        match shift {
            Shift::Replica { .. } => {
                let wanted = self
                    .tables
                    .get(&id.table)
                    .map_or(0, |table| table.properties.replicas as usize);
                let well = |node| {
                    self.partition(id)
                        .and_then(|partition: &Partition| partition.holder(node))
                        .is_some_and(|holder| holder.soundness == Soundness::Whole)
                };
                if stored.contains(to) {
                    return unfit(format!("node {to} has a part in partition {id} already"));
                }
                if self.is_drained(to) {
                    return unfit(format!("node {to} is drained"));
                }
                if stored.len() < wanted || !stored.members().all(|member| well(member.node)) {
                    return unfit(format!(
                        "partition {id} lacks a copy: that is seen to before one is moved"
                    ));
                }
            }
            Shift::Lead { .. } if stored.primary.node == to => {
                return unfit(format!("node {to} leads partition {id} already"));
            }
            Shift::Lead { .. } if !stored.contains(to) => {
                return unfit(format!("node {to} has no copy of partition {id}"));
            }
            Shift::Lead { .. } => {}
        }
        Ok(())
    }
}
