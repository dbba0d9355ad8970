//! The nodes' streams to the meta leader: a node joins, reports what it has, beats, proposes, and notices that a stream is gone.

use crate::leaders::Term;
use crate::meta::Brain;
use crate::network::META;
use crate::site::At;
use crate::world::{MS, Scheduled, World};
use placement::{Event, NodeAddress, ReplicaReport, Soundness};
use replication::{Afterwards, MetaStream, RoleKind};
use types::{Ballot, Configuration, NodeId};

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
        let report = self.reports_of(node);
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

    fn join(&mut self, term: Term, node: usize, report: Vec<ReplicaReport>) {
        let (id, incarnation) = (self.nodes[node].id, self.nodes[node].incarnation);
        let address = NodeAddress {
            node: id,
            name: id.to_string(),
            grpc: id.to_string(),
            redis: String::new(),
            zone: String::new(),
        };
        let joined = Event::NodeJoined {
            address,
            incarnation,
        };
        let leader = self
            .leaders()
            .and_then(|leaders| leaders.terms.get_mut(&term));
        if let Some(leader) = leader {
            leader.sessions.insert(node, (incarnation, Vec::new()));
        }
        self.step_leader(term, joined);
        self.report(term, node, report, true);
    }

    fn report(&mut self, term: Term, node: usize, replicas: Vec<ReplicaReport>, complete: bool) {
        let leader = self
            .leaders()
            .and_then(|leaders| leaders.terms.get_mut(&term));
        if let Some((_, reported)) = leader.and_then(|leader| leader.sessions.get_mut(&node)) {
            reported.clone_from(&replicas);
        }
        let reported = Event::Reported {
            node: self.nodes[node].id,
            replicas,
            complete,
        };
        self.step_leader(term, reported);
    }

    fn reports_of(&self, node: usize) -> Vec<ReplicaReport> {
        let partitions = 0..self.partitions.len();
        partitions
            .filter_map(|partition| self.report_of(At { node, partition }))
            .collect()
    }

    fn report_of(&self, at: At) -> Option<ReplicaReport> {
        let replica = self.site(at).replica.as_ref()?;
        let survey = replica.survey();
        Some(ReplicaReport {
            partition: self.partitions[at.partition].id,
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
            configuration: survey.configuration,
            signature: survey.signature,
            bytes: 0,
            learning: survey.role == RoleKind::Learner,
            ready: survey.ready,
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
            self.step_all(node, &replication::Event::MetaStream(stream));
        }
    }

    /// Whether a node has a stream to the leader that nodes find.
    pub(crate) fn has_stream(&self, node: usize) -> bool {
        match &self.meta.brain {
            Brain::Model => self.meta.up,
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

    pub(crate) fn opened(&mut self, at: At) {
        let opened = Event::Opened {
            node: self.id(at),
            partition: self.partitions[at.partition].id,
        };
        self.say(at.node, opened);
    }

    pub(crate) fn deleted(&mut self, at: At) {
        let deleted = Event::Deleted {
            node: self.id(at),
            partition: self.partitions[at.partition].id,
        };
        self.say(at.node, deleted);
    }

    pub(crate) fn proposed(&mut self, at: At, configuration: &Configuration) {
        let partition = self.partitions[at.partition].id;
        let proposed = Event::Proposed {
            node: self.id(at),
            proposals: vec![(partition, configuration.clone())],
        };
        self.say(at.node, proposed);
    }

    /// The leader wants a first replica here.
    pub(crate) fn open_replica(&mut self, at: At) {
        if self.site(at).replica.is_none() {
            self.make_replica(at);
        }
        self.step(at, replication::Event::Create);
    }

    /// The leader wants the replica gone. The stored configuration that excludes it must be known here.
    pub(crate) fn delete_asked(&mut self, at: At, ballot: Ballot) {
        let Some(replica) = &self.site(at).replica else {
            return self.deleted(at);
        };
        if let Some(known) = replica
            .configuration()
            .filter(|known| known.ballot >= ballot)
        {
            let excluded = replication::Deletion::Excluded(known.clone());
            self.step(at, replication::Event::Delete(excluded));
        }
    }
    /// The leader wants another primary. What it decided for an earlier configuration counts no more.
    pub(crate) fn hand_over_asked(&mut self, at: At, ballot: Ballot, to: NodeId) {
        let replica = self.site(at).replica.as_ref();
        if replica.is_some_and(|replica| replica.ballot() == ballot) {
            let then = Afterwards::Stay;
            self.step(at, replication::Event::HandOver { to, then });
        }
    }
}
