//! The meta servers as everybody sees them: proposals on their way, answers that come late or not at all. Who decides
//! is drawn by each seed: a model (`guardian`), or the real `placement` over a metadata store that fails (`leaders`).

use crate::invariants::{acknowledged_is_everywhere, membership};
use crate::leaders::Leaders;
use crate::network::META;
use crate::node::index;
use crate::shell::{Happening, Local};
use crate::site::At;
use crate::world::{MS, Scheduled, World};
use replication::{Event, MetaStream};
use types::{Ballot, Configuration};

pub(crate) struct Meta {
    pub(crate) up: bool,
    /// Percent of its answers lost.
    pub(crate) unanswered: u64,
    pub(crate) brain: Brain,
}

/// Who decides.
#[expect(clippy::large_enum_variant, reason = "a world has one")]
pub(crate) enum Brain {
    Model,
    Placement(Leaders),
}

impl Meta {
    pub(crate) fn new(brain: Brain) -> Self {
        Self {
            up: true,
            unanswered: 0,
            brain,
        }
    }
}

impl World {
    pub(crate) fn meta_down(&mut self, span: u64) {
        self.meta.up = false;
        self.end_terms();
        self.streams(MetaStream::Down);
        self.at(span, Scheduled::MetaBack);
    }

    pub(crate) fn meta_back(&mut self) {
        self.meta.up = true;
        match self.meta.brain {
            Brain::Model => self.streams(MetaStream::Up),
            Brain::Placement(_) => self.lead(),
        }
    }

    /// The streams of all nodes come or go.
    pub(crate) fn streams(&mut self, stream: MetaStream) {
        for node in 0..self.nodes.len() {
            self.happen(node, Happening::All(Event::MetaStream(stream)));
        }
    }

    pub(crate) fn tell(&mut self, at: At, delay: u64, event: Event) {
        if self.network.is_cut(META, at.node) {
            return;
        }
        let life = None;
        self.reach(delay, at, life, Local::Event(event));
    }

    pub(crate) fn meta_delay(&mut self) -> u64 {
        let most = if self.faults() {
            self.swarm.answer_within
        } else {
            20 * MS
        };
        self.chance.within(MS..most)
    }

    /// A proposal goes to the meta leader; it may get lost, or come twice.
    pub(crate) fn propose(&mut self, from: At, ballot: Ballot, configuration: &Configuration) {
        let asked = &mut self.partitions[from.partition].asked;
        if !asked.contains(configuration) {
            asked.push(configuration.clone());
        }
        let cut = self.network.is_cut(from.node, META);
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

    /// The guardian's turn.
    pub(crate) fn repair(&mut self) {
        let most = if self.healing() {
            200 * MS
        } else {
            self.swarm.repairs
        };
        // A sensible leader asks often before it turns to another node.
        let most = match self.meta.brain {
            Brain::Model => most,
            Brain::Placement(_) => most.min(100 * MS),
        };
        let next = self.chance.within(10 * MS..2 * most);
        self.at(next, Scheduled::Repair);
        match self.meta.brain {
            Brain::Model => {
                for partition in 0..self.partitions.len() {
                    self.repair_as_model(partition);
                }
            }
            Brain::Placement(_) => self.tick_leader(),
        }
    }

    /// A configuration is stored in the place of another, or as the first.
    pub(crate) fn store(&mut self, partition: usize, configuration: &Configuration) {
        if let Some(stored) = self.partitions[partition].stored.clone() {
            membership::on_stored(self, partition, &stored, configuration);
            acknowledged_is_everywhere::on_stored(self, partition, configuration);
        }
        self.partitions[partition].store(configuration);
    }

    /// C6: a survivor is stored alone. What the largest of those does not have among whom it was chosen is lost, and nobody promised
    /// otherwise.
    pub(crate) fn store_survivor(
        &mut self,
        partition: usize,
        configuration: &Configuration,
        among: &[usize],
    ) {
        let promised = acknowledged_is_everywhere::promised(self, partition, among);
        let this = &mut self.partitions[partition];
        this.observer.forgive(promised);
        this.store(configuration);
        let node = index(configuration.primary.node);
        acknowledged_is_everywhere::on_survivor(self, At { node, partition });
    }
}
