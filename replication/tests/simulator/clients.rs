//! Clients: they write and read wherever they are let, write the same again, and remember what they were told.

use crate::invariants::{linearizable_reads, observer::Seen, stale_reads};
use crate::reading::State;
use crate::requests::Request;
use crate::shell::Local;
use crate::site::At;
use crate::world::{MS, Scheduled, World};
use bytes::Bytes;
use replication::planted::{Bug, planted};
use replication::{Event, Replica, RoleKind};
use std::time::Duration;
use types::{Ballot, Mutation, Timestamp};

/// A read between its evaluation and its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evaluation {
    pub(crate) ballot: Ballot,
    /// What the answer says.
    pub(crate) seen: Seen,
    /// What anybody had been told before the read was asked.
    pub(crate) floor: Seen,
}

impl World {
    /// A client writes wherever writes are taken.
    pub(crate) fn write(&mut self, partition: usize) {
        // In the end, seldom enough for the secondaries to hear of every commit.
        let most = if self.healing() {
            500 * MS
        } else {
            self.swarm.operations
        };
        let next = self.chance.within(MS..most);
        self.at(next, Scheduled::Write { partition });
        let number = self.request(partition);
        for node in 0..self.nodes.len() {
            let at = At { node, partition };
            let (this, site) = (&self.nodes[node], self.site(at));
            let Some(replica) = site.replica.as_ref().filter(|_| this.runs()) else {
                continue;
            };
            let Ok(decree) = replica.accepts_write() else {
                continue;
            };
            // Evaluation sees everything in flight, so what it makes is right only after exactly that.
            let seen = site.staged.values().fold(site.state, State::after);
            let retried = seen.requests.find(number) != Request::New;
            if retried && !planted(Bug::DropsRequestIds) {
                continue;
            }
            let effects = Bytes::from(format!("{number} at {node} over {:016x}", seen.hash));
            // The partition's time never goes back, whatever the wall clock does.
            let timestamp = Timestamp(this.wall(self.now).max(seen.time.0));
            let mutation = Mutation {
                ballot: replica.ballot(),
                decree,
                timestamp,
                effects: effects.clone(),
            };
            self.figures.writes += 1;
            self.site_mut(at).staged.insert(decree, mutation);
            self.step(at, Event::Submit { timestamp, effects });
        }
    }

    /// A new request, or one of the last again: its answer may have been lost.
    fn request(&mut self, partition: usize) -> u64 {
        let requests = &mut self.partitions[partition].requests;
        if *requests > 0 && self.chance.percent(self.swarm.retries) {
            return *requests - self.chance.within(0..80.min(*requests));
        }
        *requests += 1;
        *requests
    }

    /// Clients read at every node that lets them; the answer leaves a little later, or long after.
    pub(crate) fn read(&mut self, partition: usize) {
        let next = self.chance.within(MS..self.swarm.operations);
        self.at(next, Scheduled::Read { partition });
        self.read_stale(partition);
        let floor = self.partitions[partition].observer.told;
        for node in 0..self.nodes.len() {
            let at = At { node, partition };
            let (this, site) = (&self.nodes[node], self.site(at));
            let Some(replica) = site.replica.as_ref().filter(|_| this.runs()) else {
                continue;
            };
            let leased = this.may_serve_read(partition, self.now);
            let early = planted(Bug::LeaseBeforeEvaluation) && !site.checked;
            if replica.role() != RoleKind::Serving || early {
                self.site_mut(at).checked = leased;
                continue;
            }
            let (ballot, state, life) = (replica.ballot(), site.state, Some(this.incarnation));
            // R7: what has expired is what a committed mutation says.
            let mut expired = state.time.0;
            if planted(Bug::ExpiresByClock) {
                expired = expired.max(this.wall(self.now));
            }
            let delay = if self.swarm.reads_held == 0 || self.chance.percent(80) {
                1
            } else {
                self.chance.within(1..self.swarm.reads_held)
            };
            let seen = Seen {
                decree: state.applied,
                expired,
            };
            self.site_mut(at).checked = leased;
            let answer = Local::Answer(Evaluation {
                ballot,
                seen,
                floor,
            });
            self.reach(delay, at, life, answer);
        }
    }

    /// A client reads at every secondary that is fresh enough, and makes the others ask.
    fn read_stale(&mut self, partition: usize) {
        let bound = self.chance.pick(&[20, 200, 1500]) * MS;
        let within = Duration::from_nanos(bound);
        for node in 0..self.nodes.len() {
            let at = At { node, partition };
            let this = &self.nodes[node];
            let local = this.local(self.now);
            let replica = this.sites[partition].replica.as_ref();
            let Some(replica) = replica.filter(|_| this.runs()) else {
                continue;
            };
            if replica.wants_freshness(local, within) {
                self.step(at, Event::FreshnessWanted { bound: within });
            }
            let (this, site) = (&self.nodes[node], self.site(at));
            let replica = site.replica.as_ref();
            let may =
                |replica: &Replica| replica.may_serve_stale(local, within, &this.leases).is_ok();
            if replica.is_some_and(may) {
                let seen = Seen {
                    decree: site.state.applied,
                    expired: site.state.time.0,
                };
                self.figures.stale_reads += 1;
                stale_reads::on_answer(self, at, bound, seen);
            }
        }
    }

    /// R1: the lease is checked after the evaluation, under its ballot or one that its primary went on to.
    pub(crate) fn answer(&mut self, at: At, evaluation: &Evaluation) {
        let Some(replica) = &self.site(at).replica else {
            return;
        };
        let same = replica
            .leads_since()
            .is_some_and(|since| since <= evaluation.ballot)
            || planted(Bug::LeaseUnderLaterBallot);
        let leased = self.nodes[at.node].may_serve_read(at.partition, self.now)
            || planted(Bug::LeaseBeforeEvaluation);
        if same && leased {
            self.figures.reads += 1;
            self.partitions[at.partition].reads += 1;
            linearizable_reads::on_answer(self, at, evaluation);
        }
    }
}
