//! The meta leader: compare-and-set over one configuration, answers that come late or not at all, and a guardian that asks for
//! copies.

use crate::invariants::{acknowledged_is_everywhere, membership};
use crate::network::META;
use crate::node::index;
use crate::shell::Happening;
use crate::swarm::REPLICAS;
use crate::world::{MS, Scheduled, World};
use replication::planted::{Bug, planted};
use replication::{Event, MetaStream};
use std::collections::BTreeMap;
use types::{Ballot, Configuration, Member};

pub(crate) struct Meta {
    pub(crate) up: bool,
    /// Percent of its answers lost.
    pub(crate) unanswered: u64,
    pub(crate) stored: Option<Configuration>,
    pub(crate) history: BTreeMap<Ballot, Configuration>,
    /// What may still be stored in the place of that.
    pub(crate) asked: Vec<Configuration>,
    created: Vec<usize>,
}

impl Meta {
    pub(crate) fn new() -> Self {
        Self {
            up: true,
            unanswered: 0,
            stored: None,
            history: BTreeMap::new(),
            asked: Vec::new(),
            created: Vec::new(),
        }
    }

    fn store(&mut self, configuration: &Configuration) {
        self.history
            .insert(configuration.ballot, configuration.clone());
        self.stored = Some(configuration.clone());
        let next = configuration.ballot.next();
        self.asked.retain(|asked| asked.ballot == next);
    }
}

impl World {
    pub(crate) fn meta_down(&mut self, span: u64) {
        self.meta.up = false;
        for node in 0..self.nodes.len() {
            self.happen(node, Happening::Event(Event::MetaStream(MetaStream::Down)));
        }
        self.at(span, Scheduled::MetaBack);
    }

    pub(crate) fn meta_back(&mut self) {
        self.meta.up = true;
        for node in 0..self.nodes.len() {
            self.happen(node, Happening::Event(Event::MetaStream(MetaStream::Up)));
        }
    }

    fn tell(&mut self, node: usize, delay: u64, event: Event) {
        if self.network.is_cut(META, node) {
            return;
        }
        let happening = Happening::Event(event);
        let life = None;
        self.at(
            delay,
            Scheduled::Node {
                node,
                life,
                happening,
            },
        );
    }

    fn meta_delay(&mut self) -> u64 {
        let most = if self.healing() {
            20 * MS
        } else {
            self.swarm.answer_within
        };
        self.chance.within(MS..most)
    }

    /// A proposal goes to the meta leader; it may get lost, or come twice.
    pub(crate) fn propose(&mut self, from: usize, ballot: Ballot, configuration: &Configuration) {
        if !self.meta.asked.contains(configuration) {
            self.meta.asked.push(configuration.clone());
        }
        let cut = self.network.is_cut(from, META);
        if cut || !self.meta.up || self.chance.percent(self.network.loss) {
            return;
        }
        let copies = 1 + u64::from(self.chance.percent(self.network.duplication));
        for _ in 0..copies {
            let delay = self.meta_delay();
            let configuration = configuration.clone();
            self.at(
                delay,
                Scheduled::Proposal {
                    from,
                    ballot,
                    configuration,
                },
            );
        }
    }

    /// Compares and sets; the answer may get lost.
    pub(crate) fn decide(&mut self, from: usize, ballot: Ballot, configuration: &Configuration) {
        let Some(stored) = self.meta.stored.clone().filter(|_| self.meta.up) else {
            return;
        };
        if stored.ballot == ballot {
            membership::on_stored(self, &stored, configuration);
            acknowledged_is_everywhere::on_stored(self, configuration);
            self.meta.store(configuration);
        }
        if self.chance.percent(self.meta.unanswered) {
            return;
        }
        if let Some(stored) = self.meta.stored.clone() {
            let delay = self.meta_delay();
            self.tell(from, delay, Event::ConfigurationKnown(stored));
        }
    }

    pub(crate) fn created(&mut self, node: usize) {
        if self.meta.stored.is_some() || self.meta.created.contains(&node) {
            return;
        }
        self.meta.created.push(node);
        if self.meta.created.len() == REPLICAS {
            let member = |node: usize| Member::original(self.nodes[node].id);
            let first = Configuration {
                ballot: Ballot(1),
                epoch: 0,
                primary: member(0),
                secondaries: (1..REPLICAS).map(member).collect(),
            };
            self.meta.store(&first);
            self.tell(0, MS, Event::ConfigurationKnown(first));
        }
    }

    /// The guardian: asks for missing copies, clears away superfluous ones, tells somebody what is stored.
    pub(crate) fn repair(&mut self) {
        let most = if self.healing() {
            200 * MS
        } else {
            self.swarm.repairs
        };
        let next = self.chance.within(10 * MS..2 * most);
        self.at(next, Scheduled::Repair);
        let Some(stored) = self.meta.stored.clone().filter(|_| self.meta.up) else {
            return;
        };
        if self.force(&stored) {
            return;
        }
        let outside: Vec<_> = (0..self.nodes.len())
            .filter(|&node| self.nodes[node].up && !stored.contains(self.nodes[node].id))
            .collect();
        let delay = self.meta_delay();
        if stored.len() < REPLICAS && !outside.is_empty() {
            let node = self.nodes[self.chance.pick(&outside)].id;
            let primary = index(stored.primary.node);
            // Every request of the meta leader says what is stored.
            self.tell(primary, delay, Event::ConfigurationKnown(stored));
            self.tell(primary, delay, Event::AddLearner { node });
        } else if !outside.is_empty() && self.chance.percent(self.swarm.deletions) {
            let node = self.chance.pick(&outside);
            // An old meta leader may be slow.
            let delay = self.chance.within(1..500) * MS;
            let excluded = replication::Deletion::Excluded(stored);
            self.tell(node, delay, Event::Delete(excluded));
        } else if self.chance.percent(20) {
            let node = self.chance.index(self.nodes.len());
            self.tell(node, delay, Event::ConfigurationKnown(stored));
        }
    }

    /// C6: when every member of the configuration in force lost what it had not synced, the largest copy becomes the only member. After
    /// the power of all was lost, an operator may do so without those whose machines stay dark.
    fn force(&mut self, stored: &Configuration) -> bool {
        let impatient = self.observer.at_risk && self.faults() && self.chance.percent(10);
        let mut surveys = Vec::new();
        for member in stored.members() {
            let node = &self.nodes[index(member.node)];
            match node.replica.as_ref().map(replication::Replica::survey) {
                Some(survey) if survey.unsynced => {
                    surveys.push((survey.last_ballot, survey.prepared, *member));
                }
                None if !node.up && impatient => {}
                _ => return false,
            }
        }
        surveys.sort();
        let chosen = if planted(Bug::AnySurvivor) {
            surveys.first()
        } else {
            surveys.last()
        };
        let (Some(&(_, best, _)), Some(&(_, _, survivor))) = (surveys.last(), chosen) else {
            return false;
        };
        // What none of them has is lost, and nobody promised otherwise.
        self.observer.forgive(best);
        let forced = Configuration {
            ballot: stored.ballot.next(),
            epoch: stored.epoch + 1,
            primary: survivor,
            secondaries: Vec::new(),
        };
        self.meta.store(&forced);
        let node = index(survivor.node);
        acknowledged_is_everywhere::on_survivor(self, node);
        self.happen(node, Happening::Event(Event::ConfigurationKnown(forced)));
        true
    }
}
