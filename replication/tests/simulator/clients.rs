//! Clients: they write and read wherever they are let, and remember what they were told.

use crate::node::State;
use crate::world::{Happening, MS, Scheduled, World};
use bytes::Bytes;
use replication::{Event, RoleKind};
use types::{Ballot, Decree, Mutation, Timestamp};

impl World {
    /// A client writes wherever writes are taken.
    pub(crate) fn write(&mut self) {
        // In the end, seldom enough for the secondaries to hear of every commit.
        let most = if self.healing { 500 } else { 25 };
        let next = self.rng.within(1..most) * MS;
        self.at(next, Scheduled::Write);
        for node in 0..self.nodes.len() {
            let this = &self.nodes[node];
            let accepted = this
                .replica
                .as_ref()
                .map(replication::Replica::accepts_write);
            if let (Some(Ok(decree)), true, false) = (accepted, this.up, this.paused) {
                self.writes += 1;
                // Evaluation sees everything in flight, so what it makes is right only after exactly that.
                let seen = this.staged.values().fold(this.state, State::after);
                let effects = Bytes::from(format!(
                    "write {} at node {node} over {:016x}",
                    self.writes, seen.hash
                ));
                let timestamp = Timestamp(self.now / MS);
                let ballot = this
                    .replica
                    .as_ref()
                    .map_or(Ballot::ZERO, replication::Replica::ballot);
                let mutation = Mutation {
                    ballot,
                    decree,
                    timestamp,
                    effects: effects.clone(),
                };
                self.nodes[node].staged.insert(decree, mutation);
                self.step(node, Event::Submit { timestamp, effects });
            }
        }
    }

    /// A client reads at every node that lets it; what it gets must be no older than what anybody knew before it asked.
    pub(crate) fn read(&mut self) {
        let next = self.rng.within(1..25) * MS;
        self.at(next, Scheduled::Read);
        let floor = self.acknowledged.max(self.read_up_to);
        for node in 0..self.nodes.len() {
            let this = &self.nodes[node];
            let Some(replica) = this.replica.as_ref().filter(|_| this.up && !this.paused) else {
                continue;
            };
            if replica.role() == RoleKind::Serving {
                let (ballot, read, life) =
                    (replica.ballot(), this.state.applied, Some(this.incarnation));
                let delay = if self.rng.percent(80) {
                    1
                } else {
                    self.rng.within(1..30) * MS
                };
                let happening = Happening::Answer {
                    ballot,
                    read,
                    floor,
                };
                self.at(
                    delay,
                    Scheduled::Node {
                        node,
                        life,
                        happening,
                    },
                );
            }
        }
    }

    pub(crate) fn answer(&mut self, node: usize, ballot: Ballot, read: Decree, floor: Decree) {
        let this = &self.nodes[node];
        let local = this.local(self.now);
        let Some(replica) = &this.replica else { return };
        if replica.ballot() == ballot && replica.may_serve_read(local, &this.leases).is_ok() {
            self.reads += 1;
            self.read_up_to = self.read_up_to.max(read);
            if read < floor {
                self.fail(format!("node {node} read decree {read} under ballot {ballot}, but {floor} was known before"));
            }
        }
    }
}
