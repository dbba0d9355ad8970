//! What operators decide about the cluster as a whole: whether the balancer works, which nodes are drained, which are gone for good. Stored
//! before it is confirmed.

use crate::{Action, Answered, Balancing, Cluster, Duty, Key, Refusal, Token};
use types::{Instant, NodeId, PartitionId};

/// Somebody who waits for a document to be stored as it is now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    key: Key,
    token: Token,
    /// A batch that carries it is in flight.
    sent: bool,
}

impl Cluster {
    pub(crate) fn set_balancing(&mut self, token: Token, balancing: Balancing) {
        self.balancing = balancing;
        self.uneven(None);
        self.confirm_when_stored(Key::Root, token);
    }

    pub(crate) fn set_duty(
        &mut self,
        now: Instant,
        token: Token,
        node: NodeId,
        duty: Duty,
        actions: &mut Vec<Action>,
    ) {
        if let Err(refusal) = self.check_duty(node, duty) {
            actions.push(Action::Answer {
                token,
                answer: Err(refusal),
            });
            return;
        }
        if let Some(known) = self.nodes.get_mut(&node) {
            known.duty = duty;
        }
        self.uneven(None);
        self.confirm_when_stored(Key::Node(node), token);
        self.plan_births(now, actions);
    }

    /// A node may be drained if the others are enough for every table.
    fn check_duty(&self, node: NodeId, duty: Duty) -> Result<(), Refusal> {
        if !self.nodes.contains_key(&node) {
            return Err(Refusal::NoSuchNode(node));
        }
        let others = self.takers().filter(|&other| other != node).count();
        let most = self.live().map(|table| table.properties.replicas).max();
        match most {
            Some(wanted) if duty == Duty::Drained && wanted as usize > others => {
                Err(Refusal::Unfit(format!(
                    "a table wants {wanted} replicas, and without node {node} only {others} nodes take any: start another one first"
                )))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn forget_node(&mut self, token: Token, node: NodeId, actions: &mut Vec<Action>) {
        if let Err(refusal) = self.check_forgotten(node) {
            actions.push(Action::Answer {
                token,
                answer: Err(refusal),
            });
            return;
        }
        self.nodes.remove(&node);
        self.confirm_when_stored(Key::Node(node), token);
    }

    /// A node may be forgotten that does not live and that no configuration of a table in service names: routes need the addresses of the
    /// others. Of a dropped table, which can be recalled, it must not have had the last copy.
    fn check_forgotten(&self, node: NodeId) -> Result<(), Refusal> {
        if !self.nodes.contains_key(&node) {
            return Err(Refusal::NoSuchNode(node));
        }
        if self.is_alive(node) {
            return Err(Refusal::Unfit(format!(
                "node {node} is connected: drain it and stop it first"
            )));
        }
        let mut in_service = 0;
        for &id in self
            .shares
            .get(&node)
            .iter()
            .flat_map(|share| &share.partitions)
        {
            let Some(table) = self.tables.get(&id.table) else {
                continue;
            };
            if table.is_live() {
                in_service += 1;
            } else if !self.has_another_copy(id, node) {
                return Err(Refusal::Unfit(format!(
                    "node {node} has the last known copy of partition {} of the dropped table '{}': recall the table first, or wait until it can not be recalled",
                    id.index, table.properties.name
                )));
            }
        }
        if in_service > 0 {
            return Err(Refusal::Unfit(format!(
                "node {node} is a member of {in_service} partitions: drain it first"
            )));
        }
        Ok(())
    }

    /// Whether a partition has a member on another node that is known.
    fn has_another_copy(&self, id: PartitionId, node: NodeId) -> bool {
        let stored = self.partition(id).and_then(|one| one.stored.as_ref());
        stored.is_none_or(|stored| {
            let mut nodes = stored.members().map(|member| member.node);
            nodes.any(|other| other != node && self.nodes.contains_key(&other))
        })
    }

    pub(crate) fn is_drained(&self, node: NodeId) -> bool {
        self.nodes
            .get(&node)
            .is_some_and(|node| node.duty == Duty::Drained)
    }

    pub(crate) fn confirm_when_stored(&mut self, key: Key, token: Token) {
        self.outbox.touch(key);
        self.waiting.push(Waiting {
            key,
            token,
            sent: false,
        });
    }

    /// The document is on its way as it is now.
    pub(crate) fn document_sent(&mut self, key: Key) {
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.key == key) {
            waiting.sent = true;
        }
    }

    /// The document is stored: who waited for it is told.
    pub(crate) fn confirm(&mut self, key: Key, actions: &mut Vec<Action>) {
        for waiting in self
            .waiting
            .extract_if(.., |waiting| waiting.key == key && waiting.sent)
        {
            actions.push(Action::Answer {
                token: waiting.token,
                answer: Ok(Answered::Done),
            });
        }
    }
}
