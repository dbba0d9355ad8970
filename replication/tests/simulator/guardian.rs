//! A meta leader that is a model: compare-and-set over one configuration, first come, first served, and a guardian that asks for
//! copies and clears them away as chance has it. It does more, and sooner, than a sensible one would; the sensible one is `leaders`.

use crate::meta::Brain;
use crate::node::index;
use crate::shell::Happening;
use crate::swarm::REPLICAS;
use crate::world::{MS, World};
use replication::Event;
use replication::planted::{Bug, planted};
use types::{Ballot, Configuration, Member};

impl World {
    /// Compares and sets; the answer may get lost.
    pub(crate) fn decide(&mut self, from: usize, ballot: Ballot, configuration: &Configuration) {
        let Some(stored) = self.meta.stored.clone().filter(|_| self.meta.up) else {
            return;
        };
        if stored.ballot == ballot {
            self.store(configuration);
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
        let Brain::Model { created } = &mut self.meta.brain else {
            return self.opened(node);
        };
        if self.meta.stored.is_some() || created.contains(&node) {
            return;
        }
        created.push(node);
        if created.len() == REPLICAS {
            let member = |node: usize| Member::original(self.nodes[node].id);
            let first = Configuration {
                ballot: Ballot(1),
                epoch: 0,
                primary: member(0),
                secondaries: (1..REPLICAS).map(member).collect(),
            };
            self.store(&first);
            self.tell(0, MS, Event::ConfigurationKnown(first));
        }
    }

    /// The guardian: asks for missing copies, clears away superfluous ones, tells somebody what is stored.
    pub(crate) fn repair_as_model(&mut self) {
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
        let (mut surveys, mut surveyed) = (Vec::new(), Vec::new());
        for member in stored.members() {
            let node = &self.nodes[index(member.node)];
            match node.replica.as_ref().map(replication::Replica::survey) {
                Some(survey) if survey.unsynced => {
                    surveyed.push(index(member.node));
                    surveys.push((survey, *member));
                }
                None if !node.up && impatient => {}
                _ => return false,
            }
        }
        let committed = surveys.iter().map(|(survey, _)| survey.committed).max();
        surveys.sort_by_key(|(survey, member)| {
            let has_all = Some(survey.prepared) >= committed;
            (has_all, survey.last_ballot, survey.prepared, *member)
        });
        let chosen = if planted(Bug::AnySurvivor) {
            surveys.first()
        } else {
            surveys.last()
        };
        let Some(&(_, survivor)) = chosen else {
            return false;
        };
        let forced = Configuration {
            ballot: stored.ballot.next(),
            epoch: stored.epoch + 1,
            primary: survivor,
            secondaries: Vec::new(),
        };
        self.store_survivor(&forced, &surveyed);
        let node = index(survivor.node);
        self.happen(node, Happening::Event(Event::ConfigurationKnown(forced)));
        true
    }
}
