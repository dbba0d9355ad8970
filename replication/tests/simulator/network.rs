//! The wires between nodes: what is put on them may get lost, come twice, late, out of order, or in the receiver's next life.

use crate::node::index;
use crate::shell::{Happening, Local};
use crate::site::At;
use crate::world::{MS, Scheduled, World};
use replication::{Event, Message};
use std::collections::{BTreeMap, VecDeque};
use types::NodeId;

/// What a message is, as far as one kind may fare worse than others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Beacon,
    Reply,
    Truncate,
    TruncateAck,
    Prepare,
    PrepareAck,
    Committed,
    Stale,
    Learn,
    LearnReady,
    TakeOver,
    Other,
}

pub(crate) const KINDS: [Kind; 12] = [
    Kind::Beacon,
    Kind::Reply,
    Kind::Truncate,
    Kind::TruncateAck,
    Kind::Prepare,
    Kind::PrepareAck,
    Kind::Committed,
    Kind::Stale,
    Kind::Learn,
    Kind::LearnReady,
    Kind::TakeOver,
    Kind::Other,
];

impl Kind {
    fn of(happening: &Happening) -> Self {
        let message = match happening {
            Happening::Beacon(..) => return Self::Beacon,
            Happening::Reply(..) => return Self::Reply,
            Happening::At(_, Local::Event(Event::Received { message, .. })) => message,
            _ => return Self::Other,
        };
        match message {
            Message::Truncate { .. } => Self::Truncate,
            Message::TruncateAck { .. } => Self::TruncateAck,
            Message::Prepare { .. } => Self::Prepare,
            Message::PrepareAck { .. } => Self::PrepareAck,
            Message::Committed { .. } => Self::Committed,
            Message::Stale { .. } => Self::Stale,
            Message::LearnOffer { .. }
            | Message::LearnRequest { .. }
            | Message::LearnLog { .. }
            | Message::LearnComplete { .. } => Self::Learn,
            Message::LearnReady { .. } => Self::LearnReady,
            Message::TakeOver { .. } => Self::TakeOver,
            Message::Join { .. }
            | Message::NotMember { .. }
            | Message::Resign { .. }
            | Message::Differs { .. }
            | Message::AskFreshness(_)
            | Message::Fresh { .. } => Self::Other,
        }
    }
}

/// The meta leader, as far as wires go.
pub(crate) const META: usize = usize::MAX;

/// How many messages may still echo.
const RECENT: usize = 600;

#[derive(Default)]
pub(crate) struct Network {
    /// Percent lost, repeated, late; and how late at most.
    pub(crate) loss: u64,
    pub(crate) duplication: u64,
    pub(crate) lateness: u64,
    pub(crate) late: u64,
    /// Kinds that fare worse: percent lost, percent late.
    pub(crate) unlucky: Vec<(Kind, u64, u64)>,
    /// One of which nothing arrives.
    pub(crate) muted: Option<Kind>,
    /// The newest messages between replicas: what may come once more, late.
    recent: VecDeque<(Kind, usize, Happening)>,
    /// Ordered pairs that cannot reach each other.
    cut: Vec<(usize, usize)>,
    /// When the last message of each ordered pair arrives: they keep their order, but for the late ones.
    arrivals: BTreeMap<(usize, usize), u64>,
}

impl Network {
    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut.contains(&(from, to))
    }

    fn remember(&mut self, kind: Kind, to: usize, happening: &Happening) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((kind, to, happening.clone()));
    }

    pub(crate) fn mend(&mut self, link: (usize, usize)) {
        if let Some(at) = self.cut.iter().position(|&cut| cut == link) {
            self.cut.swap_remove(at);
        }
    }
}

impl World {
    /// Puts something on the wire.
    pub(crate) fn transmit(&mut self, from: usize, to: NodeId, happening: Happening) {
        let to = index(to);
        let (mut loss, mut lateness) = (self.network.loss, self.network.lateness);
        let kind = Kind::of(&happening);
        for &(unlucky, lost, late) in &self.network.unlucky {
            if unlucky == kind {
                (loss, lateness) = (loss.max(lost), lateness.max(late));
            }
        }
        if !matches!(kind, Kind::Beacon | Kind::Reply) && self.swarm.echoes > 0 {
            self.network.remember(kind, to, &happening);
        }
        let muted = self.network.muted == Some(kind);
        if muted || self.network.is_cut(from, to) || self.chance.percent(loss) {
            return;
        }
        if self.chance.percent(self.network.duplication) {
            self.carry((from, to), lateness, happening.clone());
        }
        self.carry((from, to), lateness, happening);
    }

    /// Brings one copy of it there, some time.
    fn carry(&mut self, (from, to): (usize, usize), lateness: u64, happening: Happening) {
        let delay = if self.chance.percent(lateness) {
            self.chance.within(MS..self.network.late.max(2 * MS))
        } else {
            let arrival = self.network.arrivals.entry((from, to)).or_default();
            *arrival = (self.now + self.chance.within(50..1500) * 1000).max(*arrival);
            *arrival - self.now
        };
        // Connections die with the process that had them, but the last bytes may arrive in the next life.
        let life = (!self.chance.percent(30)).then_some(self.nodes[to].incarnation);
        self.reach_node(delay, to, life, happening);
    }

    /// Some of what was sent to a node a while ago comes to it only now, or once more.
    pub(crate) fn echo(&mut self) {
        if self.faults() && self.chance.percent(self.swarm.echoes) {
            for _ in 0..self.chance.within(1..16) {
                // Of each kind as often: what is said seldom is said again as much as what is said all the time.
                let kind = self.chance.pick(&KINDS);
                self.echo_one(kind, 60 * MS, |_, _| true);
            }
        }
    }

    /// A learn goes on: what the learner said in another is heard again.
    pub(crate) fn echo_learn(&mut self, partition: usize, learner: NodeId, message: &Message) {
        let (kind, times) = match message {
            Message::LearnLog { .. } => (Kind::PrepareAck, 6),
            Message::LearnComplete { .. } => (Kind::LearnReady, 1),
            _ => return,
        };
        if self.faults() && self.chance.percent(self.swarm.echoes) {
            for _ in 0..times {
                let concerns = |to: At, from| to.partition == partition && from == learner;
                self.echo_one(kind, 6 * MS, concerns);
            }
        }
    }

    /// A primary begins to serve: what it was told when it served before is heard again.
    pub(crate) fn echo_acknowledgements(&mut self, primary: At) {
        if self.faults() && self.chance.percent(self.swarm.echoes) {
            for _ in 0..12 {
                self.echo_one(Kind::PrepareAck, 40 * MS, |to, _| to == primary);
            }
        }
    }

    fn echo_one(&mut self, wanted: Kind, within: u64, concerns: impl Fn(At, NodeId) -> bool) {
        let fits = |node: usize, happening: &Happening| match happening {
            Happening::At(partition, Local::Event(Event::Received { from, .. })) => {
                let partition = *partition;
                concerns(At { node, partition }, *from)
            }
            _ => false,
        };
        let recent = self.network.recent.iter();
        let of_kind: Vec<_> = recent
            .filter(|(kind, to, happening)| *kind == wanted && fits(*to, happening))
            .collect();
        if of_kind.is_empty() {
            return;
        }
        let (_, node, happening) = of_kind[self.chance.index(of_kind.len())].clone();
        let (delay, life) = (self.chance.within(0..within), None);
        self.reach_node(delay, node, life, happening);
    }

    /// Nothing gets through from one node to another for a while.
    pub(crate) fn cut(&mut self, link: (usize, usize), span: u64) {
        self.network.cut.push(link);
        self.at(span, Scheduled::Mend { link });
    }

    pub(crate) fn cut_both_ways(&mut self, one: usize, other: usize, span: u64) {
        self.cut((one, other), span);
        self.cut((other, one), span);
    }
}
