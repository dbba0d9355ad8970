//! A meta leader that is a model: compare-and-set over one configuration, first come, first served, and a guardian that asks for
//! copies and clears them away as chance has it. It does more, and sooner, than a sensible one would; the sensible one is `leaders`.

use crate::meta::Brain;
use crate::node::index;
use crate::shell::Local;
use crate::site::At;
use crate::swarm::REPLICAS;
use crate::world::{MS, World};
use replication::Event;
use replication::planted::{Bug, planted};
use types::{Ballot, Configuration, Member};

impl World {
    /// What this leader knows to be stored, while there is one.
    fn in_force(&self, partition: usize) -> Option<Configuration> {
        let stored = self.partitions[partition].stored.clone();
        stored.filter(|_| self.meta.up)
    }

    /// Where a partition's first replicas are, the primary first.
    fn first_nodes(&self, partition: usize) -> impl Iterator<Item = usize> {
        let nodes = self.nodes.len();
        (0..REPLICAS).map(move |nth| (partition + nth) % nodes)
    }

    /// Opens the first replicas of which this node has one.
    pub(crate) fn open_first(&mut self, node: usize) {
        for partition in 0..self.partitions.len() {
            if self.first_nodes(partition).any(|first| first == node) {
                self.open_replica(At { node, partition });
            }
        }
    }

    /// Compares and sets; the answer may get lost.
    pub(crate) fn decide(&mut self, from: At, ballot: Ballot, configuration: &Configuration) {
        let Some(stored) = self.in_force(from.partition) else {
            return;
        };
        if stored.ballot == ballot {
            self.store(from.partition, configuration);
        }
        if self.chance.percent(self.meta.unanswered) {
            return;
        }
        if let Some(stored) = self.in_force(from.partition) {
            let delay = self.meta_delay();
            self.tell(from, delay, Event::ConfigurationKnown(stored));
        }
    }

    pub(crate) fn created(&mut self, at: At) {
        let Brain::Model = &self.meta.brain else {
            return self.opened(at);
        };
        let this = &mut self.partitions[at.partition];
        if this.stored.is_some() || this.created.contains(&at.node) {
            return;
        }
        this.created.push(at.node);
        if this.created.len() == REPLICAS {
            let first = self.first_nodes(at.partition);
            let mut members = first.map(|node| Member::original(self.nodes[node].id));
            let Some(primary) = members.next() else {
                return;
            };
            let first = Configuration {
                ballot: Ballot(1),
                epoch: 0,
                primary,
                secondaries: members.collect(),
            };
            self.store(at.partition, &first);
            let primary = at.on(index(primary.node));
            self.tell(primary, MS, Event::ConfigurationKnown(first));
        }
    }

    /// The guardian: asks for missing copies, clears away superfluous ones, tells somebody what is stored.
    pub(crate) fn repair_as_model(&mut self, partition: usize) {
        let Some(stored) = self.in_force(partition) else {
            return;
        };
        if self.force(partition, &stored) {
            return;
        }
        let outside: Vec<_> = (0..self.nodes.len())
            .filter(|&node| self.nodes[node].up && !stored.contains(self.nodes[node].id))
            .collect();
        let delay = self.meta_delay();
        if stored.len() < REPLICAS && !outside.is_empty() {
            let node = self.nodes[self.chance.pick(&outside)].id;
            let primary = At {
                node: index(stored.primary.node),
                partition,
            };
            // Every request of the meta leader says what is stored.
            let ballot = stored.ballot;
            self.tell(primary, delay, Event::ConfigurationKnown(stored));
            self.tell(primary, delay, Event::AddLearner { ballot, node });
        } else if !outside.is_empty() && self.chance.percent(self.swarm.deletions) {
            let node = self.chance.pick(&outside);
            // An old meta leader may be slow.
            let delay = self.chance.within(1..500) * MS;
            let excluded = replication::Deletion::Excluded(stored);
            self.tell(At { node, partition }, delay, Event::Delete(excluded));
        } else if self.chance.percent(20) {
            let node = self.chance.index(self.nodes.len());
            let at = At { node, partition };
            self.tell(at, delay, Event::ConfigurationKnown(stored));
        }
    }

    /// C6: when every member of the configuration in force lost what it had not synced, the largest copy becomes the only member. After
    /// the power of all was lost, an operator may do so without those whose machines stay dark.
    fn force(&mut self, partition: usize, stored: &Configuration) -> bool {
        let at_risk = self.partitions[partition].observer.at_risk;
        let impatient = at_risk && self.faults() && self.chance.percent(10);
        let (mut surveys, mut surveyed) = (Vec::new(), Vec::new());
        for member in stored.members() {
            let node = &self.nodes[index(member.node)];
            let replica = node.sites[partition].replica.as_ref();
            match replica.map(replication::Replica::survey) {
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
        self.store_survivor(partition, &forced, &surveyed);
        let node = index(survivor.node);
        let known = Local::Event(Event::ConfigurationKnown(forced));
        self.happen_at(At { node, partition }, known);
        true
    }
}
