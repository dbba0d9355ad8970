//! The meta leader: compare-and-set over one configuration, answers that get lost, and a guardian that asks for copies.

use crate::node::index;
use crate::world::{Happening, MS, REPLICAS, Scheduled, World};
use replication::{Event, MetaStream};
use types::{Ballot, Configuration, Member};

impl World {
    pub(crate) fn meta_down(&mut self, span: u64) {
        self.meta_up = false;
        for node in 0..self.nodes.len() {
            self.happen(node, Happening::Event(Event::MetaStream(MetaStream::Down)));
        }
        self.at(span, Scheduled::MetaBack);
    }

    pub(crate) fn meta_back(&mut self) {
        self.meta_up = true;
        for node in 0..self.nodes.len() {
            self.happen(node, Happening::Event(Event::MetaStream(MetaStream::Up)));
        }
    }

    /// Compares and sets; the answer may get lost.
    pub(crate) fn decide(&mut self, from: usize, ballot: Ballot, configuration: Configuration) {
        if !self.meta_up {
            return;
        }
        if self
            .stored
            .as_ref()
            .is_some_and(|stored| stored.ballot == ballot)
        {
            crate::invariants::on_stored(self, &configuration);
            self.history
                .insert(configuration.ballot, configuration.clone());
            self.stored = Some(configuration);
        }
        if self.rng.percent(self.network.loss * 2) {
            return;
        }
        if let Some(stored) = self.stored.clone() {
            let delay = self.rng.within(1..20) * MS;
            let happening = Happening::Event(Event::ConfigurationKnown(stored));
            self.at(
                delay,
                Scheduled::Node {
                    node: from,
                    life: None,
                    happening,
                },
            );
        }
    }

    pub(crate) fn created(&mut self, node: usize) {
        if self.stored.is_some() || self.created.contains(&node) {
            return;
        }
        self.created.push(node);
        if self.created.len() == REPLICAS {
            let member = |node: usize| Member::original(self.nodes[node].id);
            let first = Configuration {
                ballot: Ballot(1),
                epoch: 0,
                primary: member(0),
                secondaries: (1..REPLICAS).map(member).collect(),
            };
            self.history.insert(first.ballot, first.clone());
            self.stored = Some(first.clone());
            let happening = Happening::Event(Event::ConfigurationKnown(first));
            self.at(
                MS,
                Scheduled::Node {
                    node: 0,
                    life: None,
                    happening,
                },
            );
        }
    }

    /// The guardian: asks for missing copies, clears away superfluous ones, tells somebody what is stored.
    pub(crate) fn repair(&mut self) {
        let next = self.rng.within(50..400) * MS;
        self.at(next, Scheduled::Repair);
        let Some(stored) = self.stored.clone() else {
            return;
        };
        if !self.meta_up {
            return;
        }
        if self.force(&stored) {
            return;
        }
        let outside: Vec<_> = (0..self.nodes.len())
            .filter(|&node| self.nodes[node].up && !stored.contains(self.nodes[node].id))
            .collect();
        let delay = self.rng.within(1..20) * MS;
        if stored.len() < REPLICAS && !outside.is_empty() {
            let node = self.nodes[outside[self.rng.index(outside.len())]].id;
            let primary = index(stored.primary.node);
            // Every request of the meta leader says what is stored.
            let known = Event::ConfigurationKnown(stored);
            for event in [known, Event::AddLearner { node }] {
                let (life, happening) = (None, Happening::Event(event));
                self.at(
                    delay,
                    Scheduled::Node {
                        node: primary,
                        life,
                        happening,
                    },
                );
            }
        } else if !outside.is_empty() && self.rng.percent(30) {
            let node = outside[self.rng.index(outside.len())];
            let happening =
                Happening::Event(Event::Delete(replication::Deletion::Excluded(stored)));
            // An old meta leader may be slow.
            let delay = self.rng.within(1..500) * MS;
            self.at(
                delay,
                Scheduled::Node {
                    node,
                    life: None,
                    happening,
                },
            );
        } else if self.rng.percent(20) {
            let node = self.rng.index(self.nodes.len());
            let happening = Happening::Event(Event::ConfigurationKnown(stored));
            self.at(
                delay,
                Scheduled::Node {
                    node,
                    life: None,
                    happening,
                },
            );
        }
    }

    /// C6: when every member of the configuration in force lost what it had not synced, the largest copy becomes the only member.
    pub(crate) fn force(&mut self, stored: &Configuration) -> bool {
        let survey = |member: &Member| {
            let node = &self.nodes[index(member.node)];
            let survey = node.replica.as_ref()?.survey();
            survey
                .unsynced
                .then_some((survey.last_ballot, survey.prepared, *member))
        };
        let surveys: Option<Vec<_>> = stored.members().map(survey).collect();
        let Some((_, _, largest)) = surveys.and_then(|surveys| surveys.into_iter().max()) else {
            return false;
        };
        let forced = Configuration {
            ballot: stored.ballot.next(),
            epoch: stored.epoch + 1,
            primary: largest,
            secondaries: Vec::new(),
        };
        self.history.insert(forced.ballot, forced.clone());
        self.stored = Some(forced.clone());
        let node = index(largest.node);
        self.happen(node, Happening::Event(Event::ConfigurationKnown(forced)));
        true
    }
}
