//! How simulated nodes behave: as correct ones do, late and now and then in vain.

use super::{Replica, World};
use placement::{Event, ReplicaReport, Soundness, ToNode};
use rand::RngExt;
use types::{
    Ballot, Configuration, Decree, Incarnation, LearnSignature, Member, NodeId, PartitionId,
};

impl World {
    pub(crate) fn hear(&mut self, id: NodeId) {
        if let Some(event) = self
            .nodes
            .get_mut(&id)
            .and_then(|node| node.outbox.pop_front())
        {
            self.step(event);
        }
    }

    pub(crate) fn obey(&mut self, id: NodeId) {
        let Some(message) = self
            .nodes
            .get_mut(&id)
            .and_then(|node| node.inbox.pop_front())
        else {
            return;
        };
        let node = self.nodes.get_mut(&id).unwrap();
        match message {
            ToNode::Welcome { .. } | ToNode::Cluster { .. } => {}
            ToNode::Open(partition) => {
                let replica = node.replicas.entry(partition).or_default();
                // A late request for a partition that was born meanwhile: the node knows better, and does not answer.
                if replica.ballot == Ballot::ZERO {
                    node.outbox.push_back(Event::Opened {
                        node: id,
                        partition,
                    });
                }
            }
            ToNode::Stored(told) => {
                for (partition, configuration) in told {
                    let Some(replica) = node.replicas.get_mut(&partition) else {
                        continue;
                    };
                    if configuration.ballot > replica.ballot {
                        replica.ballot = configuration.ballot;
                        replica.proposed = None;
                        replica.learner = None;
                        replica.configuration = Some(configuration);
                        let replicas = vec![replica.report(partition)];
                        node.outbox.push_back(Event::Reported {
                            node: id,
                            replicas,
                            complete: false,
                        });
                    }
                }
            }
            ToNode::AddLearner {
                partition,
                ballot,
                node: learner,
            } => {
                if let Some(replica) = node.replicas.get_mut(&partition)
                    && replica.ballot == ballot
                    && replica.proposed.is_none()
                {
                    replica.learner = Some(learner);
                }
            }
            ToNode::RemoveSecondary {
                partition,
                ballot,
                node: leaver,
            } => {
                if let Some(replica) = node.replicas.get_mut(&partition)
                    && replica.ballot == ballot
                    && replica.proposed.is_none()
                    && let Some(mut next) = replica.configuration.clone()
                {
                    next.ballot = next.ballot.next();
                    next.secondaries.retain(|member| member.node != leaver);
                    replica.proposed = Some(next);
                }
            }
            ToNode::HandOver {
                partition,
                ballot,
                node: successor,
            } => self.hand_over(partition, ballot, successor),
            ToNode::Delete {
                partition,
                ballot,
                table_gone,
            } => {
                let refused = node
                    .replicas
                    .get(&partition)
                    .is_some_and(|replica| replica.ballot > ballot && !table_gone);
                if !refused {
                    node.replicas.remove(&partition);
                    node.outbox.push_back(Event::Deleted {
                        node: id,
                        partition,
                    });
                }
            }
        }
    }

    /// The successor proposes itself, if it still follows that configuration.
    fn hand_over(&mut self, partition: PartitionId, ballot: Ballot, successor: NodeId) {
        let Some(replica) = self
            .nodes
            .get_mut(&successor)
            .filter(|node| node.up)
            .and_then(|node| node.replicas.get_mut(&partition))
        else {
            return;
        };
        if replica.ballot != ballot || replica.proposed.is_some() {
            return;
        }
        let Some(mut next) = replica.configuration.clone() else {
            return;
        };
        let Some(&member) = next.member(successor) else {
            return;
        };
        next.ballot = next.ballot.next();
        next.secondaries.retain(|known| *known != member);
        let old = std::mem::replace(&mut next.primary, member);
        next.secondaries.push(old);
        replica.proposed = Some(next);
    }

    /// One replica of a node does what its role asks for.
    pub(crate) fn act(&mut self, id: NodeId, spurious: bool) {
        let node = &self.nodes[&id];
        if !node.up || node.replicas.is_empty() {
            return;
        }
        let index = self.rng.random_range(0..node.replicas.len());
        let (&partition, replica) = node.replicas.iter().nth(index).unwrap();
        let Some(configuration) = replica.configuration.clone() else {
            return;
        };
        let Some(me) = configuration.member(id).copied() else {
            return;
        };
        let proposal = if let Some(proposed) = replica.proposed.clone() {
            Some(proposed)
        } else if configuration.primary.node == id {
            self.as_primary(id, partition, &configuration)
        } else if spurious || !self.has_copy(configuration.primary.node, partition) {
            let mut takeover = configuration.clone();
            takeover.ballot = takeover.ballot.next();
            takeover.primary = me;
            takeover.secondaries.retain(|member| *member != me);
            Some(takeover)
        } else {
            None
        };
        let node = self.nodes.get_mut(&id).unwrap();
        if let (Some(proposal), Some(replica)) = (proposal, node.replicas.get_mut(&partition)) {
            replica.proposed = Some(proposal.clone());
            if node.joined {
                let proposals = vec![(partition, proposal)];
                node.outbox.push_back(Event::Proposed {
                    node: id,
                    proposals,
                });
            }
        }
    }

    pub(crate) fn has_copy(&self, node: NodeId, id: PartitionId) -> bool {
        self.nodes
            .get(&node)
            .is_some_and(|node| node.up && node.replicas.contains_key(&id))
    }

    /// Removes a secondary that is gone, or adds the learner.
    pub(crate) fn as_primary(
        &mut self,
        id: NodeId,
        partition: PartitionId,
        configuration: &Configuration,
    ) -> Option<Configuration> {
        let mut next = configuration.clone();
        next.ballot = next.ballot.next();
        if let Some(gone) = configuration
            .secondaries
            .iter()
            .position(|member| !self.has_copy(member.node, partition))
        {
            next.secondaries.remove(gone);
            return Some(next);
        }
        let learner = self.nodes[&id].replicas[&partition].learner?;
        let node = self.nodes.get_mut(&learner).unwrap();
        if !node.up || configuration.contains(learner) {
            return None;
        }
        node.learns += 1;
        let signature = LearnSignature {
            ballot: configuration.ballot,
            incarnation: Incarnation(node.incarnation),
            counter: node.learns,
        };
        let replica = node.replicas.entry(partition).or_default();
        if replica.ballot > configuration.ballot {
            return None;
        }
        replica.ballot = configuration.ballot;
        replica.learnt = Some(signature);
        next.secondaries.push(Member {
            node: learner,
            signature,
        });
        Some(next)
    }
}

impl Replica {
    pub(crate) fn report(&self, partition: PartitionId) -> ReplicaReport {
        ReplicaReport {
            partition,
            ballot: self.ballot,
            epoch: 0,
            prepared: Decree(0),
            last_ballot: self.ballot,
            committed: Decree(0),
            soundness: Soundness::Whole,
            configuration: self.configuration.clone(),
            signature: self.learnt.unwrap_or_default(),
            bytes: 0,
            learning: false,
            ready: true,
            diverged: false,
        }
    }
}
