//! The nodes' streams to the meta leader: a node joins, reports what it has, beats, proposes, and notices that a stream is gone.

use crate::leaders::Term;
use crate::meta::Brain;
use crate::network::META;
use crate::node::PARTITION;
use crate::world::{MS, Scheduled, World};
use placement::{Event, NodeAddress, ReplicaReport, Soundness};
use replication::{MetaStream, RoleKind};
use types::{Ballot, Configuration};

impl World {
    /// A node looks after its stream to the leader: opens it, reports, notices that it is gone.
    pub(crate) fn beat(&mut self, node: usize) {
        let next = self.chance.within(20..100) * MS;
        self.at(next, Scheduled::Beat { node });
        if !self.nodes[node].runs() {
            return;
        }
        let cut = self.network.is_cut(node, META) || self.network.is_cut(META, node);
        let life = self.nodes[node].incarnation;
        let current = self.leaders().and_then(|leaders| {
            let (term, leader) = leaders.current()?;
            Some((term, leader.sessions.get(&node).cloned()))
        });
        let Some((term, session)) = current else {
            return self.stream(node, MetaStream::Down);
        };
        if cut {
            self.leave(node, term);
            return self.stream(node, MetaStream::Down);
        }
        let report = self.report_of(node);
        match session {
            Some((of, reported)) if of == life => {
                if reported != report {
                    self.report(term, node, report, false);
                }
                let (node, disk_bytes) = (self.nodes[node].id, 0);
                self.step_leader(term, Event::Beat { node, disk_bytes });
            }
            _ => {
                self.stream(node, MetaStream::Down);
                self.join(term, node, report);
                self.stream(node, MetaStream::Up);
            }
        }
    }

    fn join(&mut self, term: Term, node: usize, report: Option<ReplicaReport>) {
        let (id, incarnation) = (self.nodes[node].id, self.nodes[node].incarnation);
        let address = NodeAddress {
            node: id,
            name: id.to_string(),
            grpc: id.to_string(),
            redis: String::new(),
        };
        let joined = Event::NodeJoined {
            address,
            incarnation,
        };
        let leader = self
            .leaders()
            .and_then(|leaders| leaders.terms.get_mut(&term));
        if let Some(leader) = leader {
            leader.sessions.insert(node, (incarnation, None));
        }
        self.step_leader(term, joined);
        self.report(term, node, report, true);
    }

    fn report(&mut self, term: Term, node: usize, report: Option<ReplicaReport>, complete: bool) {
        let leader = self
            .leaders()
            .and_then(|leaders| leaders.terms.get_mut(&term));
        if let Some((_, reported)) = leader.and_then(|leader| leader.sessions.get_mut(&node)) {
            reported.clone_from(&report);
        }
        let reported = Event::Reported {
            node: self.nodes[node].id,
            replicas: report.into_iter().collect(),
            complete,
        };
        self.step_leader(term, reported);
    }

    fn report_of(&self, node: usize) -> Option<ReplicaReport> {
        let replica = self.nodes[node].replica.as_ref()?;
        let survey = replica.survey();
        Some(ReplicaReport {
            partition: PARTITION,
            ballot: replica.ballot(),
            epoch: survey.epoch,
            prepared: survey.prepared,
            last_ballot: survey.last_ballot,
            committed: survey.committed,
            soundness: match (survey.damaged, survey.unsynced) {
                (true, _) => Soundness::Damaged,
                (false, true) => Soundness::Unsynced,
                (false, false) => Soundness::Whole,
            },
            learning: survey.role == RoleKind::Learner,
            diverged: false,
        })
    }

    /// A node's stream ends.
    fn leave(&mut self, node: usize, term: Term) {
        let leader = self
            .leaders()
            .and_then(|leaders| leaders.terms.get_mut(&term));
        if leader.is_some_and(|leader| leader.sessions.remove(&node).is_some()) {
            let node = self.nodes[node].id;
            self.step_leader(term, Event::NodeLost { node });
        }
    }

    /// The same, whoever leads.
    pub(crate) fn stream_ends(&mut self, node: usize) {
        let current = self.leaders().and_then(|leaders| leaders.current());
        if let Some((term, _)) = current {
            self.leave(node, term);
        }
    }

    fn stream(&mut self, node: usize, stream: MetaStream) {
        if self.nodes[node].meta != stream {
            self.step(node, replication::Event::MetaStream(stream));
        }
    }

    /// Whether a node has a stream to the leader that nodes find.
    pub(crate) fn has_stream(&self, node: usize) -> bool {
        match &self.meta.brain {
            Brain::Model { .. } => self.meta.up,
            Brain::Placement(leaders) => leaders.current().is_some_and(|(_, leader)| {
                let life = self.nodes[node].incarnation;
                leader
                    .sessions
                    .get(&node)
                    .is_some_and(|(of, _)| *of == life)
            }),
        }
    }

    /// A node says something on its stream, if it has one.
    fn say(&mut self, node: usize, event: Event) {
        if !self.has_stream(node) {
            return;
        }
        let current = self.leaders().and_then(|leaders| leaders.current());
        if let Some((term, _)) = current {
            self.step_leader(term, event);
        }
    }

    pub(crate) fn opened(&mut self, node: usize) {
        let opened = Event::Opened {
            node: self.nodes[node].id,
            partition: PARTITION,
        };
        self.say(node, opened);
    }

    pub(crate) fn deleted(&mut self, node: usize) {
        let deleted = Event::Deleted {
            node: self.nodes[node].id,
            partition: PARTITION,
        };
        self.say(node, deleted);
    }

    pub(crate) fn proposed(&mut self, node: usize, configuration: &Configuration) {
        let proposed = Event::Proposed {
            node: self.nodes[node].id,
            proposals: vec![(PARTITION, configuration.clone())],
        };
        self.say(node, proposed);
    }

    /// The leader wants a first replica here.
    pub(crate) fn open_replica(&mut self, node: usize) {
        if self.nodes[node].replica.is_none() {
            self.nodes[node].replica = Some(self.nodes[node].blank_replica());
            self.tell_meta_stream(node);
        }
        self.step(node, replication::Event::Create);
    }

    /// The leader wants the replica gone. The stored configuration that excludes it must be known here.
    pub(crate) fn delete_asked(&mut self, node: usize, ballot: Ballot) {
        let Some(replica) = &self.nodes[node].replica else {
            return self.deleted(node);
        };
        if let Some(known) = replica
            .configuration()
            .filter(|known| known.ballot >= ballot)
        {
            let excluded = replication::Deletion::Excluded(known.clone());
            self.step(node, replication::Event::Delete(excluded));
        }
    }
}
