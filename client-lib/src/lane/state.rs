//! What a lane knows, and the steps that need nothing but that.

use super::request::Kind;
use super::request::{Name, Op};
use super::sequences::Sequences;
use crate::Error;
use crate::completion::{Deliveries, Outcome};
use crate::conflict::OvertakingWrites;
use crate::stream::Stream;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use types::{Ballot, Configuration, NodeId};

/// Where a partition is served, as far as this client knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Of the configuration.
    pub ballot: Ballot,
    /// Serves the partition.
    pub primary: NodeId,
    /// Hold copies.
    pub secondaries: Vec<NodeId>,
    /// Where the primary's gRPC port is, if known.
    pub address: Option<String>,
}

/// All that a lane's lock guards.
pub(super) struct State {
    pub(super) route: Option<Configuration>,
    pub(super) phase: Phase,
    /// Grows when the lane stops waiting for what it has in flight.
    pub(super) term: u32,
    pub(super) epoch: u32,
    pub(super) next_sequence: u64,
    /// Of writes that may be sent again.
    pub(super) writes: Sequences,
    /// Requests of this term without an answer.
    pub(super) in_flight: usize,
    pub(super) waiting: VecDeque<Op>,
    pub(super) refused: Vec<Op>,
    /// What cannot be done for now and waits by itself, each until its time.
    pub(super) put_off: Vec<(Instant, Op)>,
    /// Writes of this epoch that an earlier read, if it is refused, may not be sent again after.
    pub(super) overtaking: OvertakingWrites,
    /// Since the last success.
    pub(super) failures: u32,
    /// Odd: ask a secondary instead of the primary, which cannot be reached or says that it is none.
    pub(super) detour: u32,
    /// Whoever was asked in this epoch is not primary, and knows no better. Answers come in any order, so this is weighed at the end.
    pub(super) doubted: bool,
    /// What went wrong last, for error texts.
    pub(super) reason: String,
    /// Whose turn it is to answer a read that allows for an age; and which secondaries had better not be asked, until when.
    pub(super) turn: usize,
    pub(super) shunned: Vec<(NodeId, Instant)>,
    /// The driver looks at this lane.
    pub(super) driven: bool,
}

/// What a lane is about.
pub(super) enum Phase {
    /// Bound to no stream.
    Detached,
    Flowing(Arc<Stream>),
    Draining {
        stream: Arc<Stream>,
        pause: bool,
        abandon_at: Option<Instant>,
    },
    Paused {
        until: Instant,
    },
    /// Waits for a link.
    Opening,
    /// Waits for a route.
    Unrouted,
}

impl State {
    pub(super) fn is_news(&self, configuration: &Configuration) -> bool {
        self.route
            .as_ref()
            .is_none_or(|route| route.ballot < configuration.ballot)
    }

    /// Keeps a configuration if its ballot is higher; says whether the primary is another.
    pub(super) fn learn(&mut self, configuration: Configuration) -> bool {
        if !self.is_news(&configuration) {
            return false;
        }
        let moved = self
            .route
            .as_ref()
            .is_none_or(|route| route.primary.node != configuration.primary.node);
        self.route = Some(configuration);
        if moved {
            self.detour = 0;
            self.doubted = false;
        }
        moved
    }

    /// Whom to ask: the primary; every other time a secondary while that does not help: it knows a newer configuration, if any.
    pub(super) fn target(&self) -> Option<NodeId> {
        let route = self.route.as_ref()?;
        let secondary = || {
            let turn = (self.detour / 2) as usize % route.secondaries.len().max(1);
            route.secondaries.get(turn).filter(|_| self.detour % 2 == 1)
        };
        Some(secondary().unwrap_or(&route.primary).node)
    }

    /// Takes in a request behind all others.
    pub(super) fn enqueue(&mut self, mut op: Op) {
        op.sequence = self.next_sequence;
        self.next_sequence += 1;
        if let Some(Name::Own { sequence, .. }) = &mut op.name {
            *sequence = self.writes.begin();
        }
        self.waiting.push_back(op);
    }

    /// Sends nothing more until everything in flight is answered. `pause`: and then waits, if this is what starts it.
    pub(super) fn drain(&mut self, pause: bool) {
        if let Phase::Flowing(stream) = &self.phase {
            self.phase = Phase::Draining {
                stream: Arc::clone(stream),
                pause,
                abandon_at: None,
            };
        }
    }

    /// Goes over to another primary, after what is in flight is answered or at the latest at `abandon_at`.
    pub(super) fn redirect(&mut self, abandon_at: Instant) {
        if self.in_flight == 0 && !matches!(self.phase, Phase::Draining { .. }) {
            self.phase = Phase::Detached;
            return;
        }
        self.drain(false);
        if let Phase::Draining {
            pause,
            abandon_at: at,
            ..
        } = &mut self.phase
        {
            *pause = false;
            at.get_or_insert(abandon_at);
        }
    }

    /// Whether it is on its way to another primary.
    pub(super) fn is_leaving(&self) -> bool {
        matches!(
            self.phase,
            Phase::Draining {
                abandon_at: Some(_),
                ..
            }
        )
    }

    /// Puts what was put off behind all others when its time has come.
    pub(super) fn take_up(&mut self, now: Instant, out: &mut Deliveries) {
        let due: Vec<_> = self
            .put_off
            .extract_if(.., |(until, _)| *until <= now)
            .collect();
        for (_, op) in due {
            if op.completion.is_some() {
                self.waiting.push_back(op);
            } else {
                self.again(op, out);
            }
        }
    }

    /// Ends what waits past its deadline. Deadlines grow in the order of the lane, so the front is where they are.
    pub(super) fn expire(&mut self, now: Instant, out: &mut Deliveries) {
        let reason = if self.reason.is_empty() {
            "the server is not reached yet".to_owned()
        } else {
            self.reason.clone()
        };
        let is_over = |op: &Op| op.deadline <= now;
        let mut over = Vec::new();
        while let Some(op) = self.waiting.pop_front_if(|op| is_over(op)) {
            over.push(op);
        }
        over.extend(self.refused.extract_if(.., |op| is_over(op)));
        let put_off = self.put_off.extract_if(.., |(_, op)| is_over(op));
        over.extend(put_off.map(|(_, op)| op));
        for op in over {
            let error = op.without_effect(Error::Timeout(reason.clone()));
            self.end(op, Err(error), out);
        }
    }

    /// A request leaves the lane for good.
    pub(super) fn end(&mut self, mut op: Op, outcome: Outcome, out: &mut Deliveries) {
        if let Some(Name::Own { sequence, .. }) = op.name {
            self.writes.end(sequence);
        }
        op.end(outcome, out);
    }

    /// It is sent again, if anybody waits for it still.
    pub(super) fn again(&mut self, op: Op, out: &mut Deliveries) {
        if op.completion.is_some() {
            self.refused.push(op);
        } else {
            let nobody = Error::Unavailable("nobody waits for it any more".into());
            self.end(op, Err(nobody), out);
        }
    }

    /// Nobody knows what became of a request: what can be sent again is.
    pub(super) fn unsure(&mut self, mut op: Op, reason: &str, out: &mut Deliveries) {
        if op.kind == Kind::Write {
            // reads before it may yet be refused: see `conflict`
            self.overtaking.add(&op);
            op.lost = true;
        }
        if op.kind == Kind::Read || op.name.is_some() {
            self.again(op, out);
        } else {
            let error = op.without_answer(reason.to_owned());
            self.end(op, Err(error), out);
        }
    }

    /// Whether time alone may change something here.
    pub(super) fn needs_driver(&self) -> bool {
        if !self.put_off.is_empty() {
            return true;
        }
        match self.phase {
            Phase::Flowing(_) => false,
            Phase::Detached | Phase::Opening | Phase::Unrouted | Phase::Paused { .. } => {
                !self.waiting.is_empty()
            }
            Phase::Draining { .. } => true,
        }
    }
}
