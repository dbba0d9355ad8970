//! What a lane knows, and the steps that need nothing but that.

use super::request::Op;
use crate::Error;
use crate::completion::Deliveries;
use crate::conflict::LostWrites;
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
    /// Requests of this term without an answer.
    pub(super) in_flight: usize,
    pub(super) waiting: VecDeque<Op>,
    pub(super) refused: Vec<Op>,
    /// Writes of this epoch that ended with an unknown outcome.
    pub(super) lost: LostWrites,
    /// Since the last success.
    pub(super) failures: u32,
    /// Odd: ask a secondary instead of the primary, which cannot be reached or says that it is none.
    pub(super) detour: u32,
    /// Whoever was asked in this epoch is not primary, and knows no better. Answers come in any order, so this is weighed at the end.
    pub(super) doubted: bool,
    /// What went wrong last, for error texts.
    pub(super) reason: String,
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

    /// Ends what waits past its deadline. Deadlines grow in the order of the lane, so the front is where they are.
    pub(super) fn expire(&mut self, now: Instant, out: &mut Deliveries) {
        let timeout = |reason: &str| {
            Err(Error::Timeout(if reason.is_empty() {
                "the server is not reached yet".into()
            } else {
                reason.to_owned()
            }))
        };
        while let Some(op) = self.waiting.front_mut() {
            if op.deadline > now {
                break;
            }
            op.end(timeout(&self.reason), out);
            self.waiting.pop_front();
        }
        self.refused.retain_mut(|op| {
            let expired = op.deadline <= now;
            if expired {
                op.end(timeout(&self.reason), out);
            }
            !expired
        });
    }

    /// Whether time alone may change something here.
    pub(super) fn needs_driver(&self) -> bool {
        match self.phase {
            Phase::Flowing(_) => false,
            Phase::Detached | Phase::Opening | Phase::Unrouted | Phase::Paused { .. } => {
                !self.waiting.is_empty()
            }
            Phase::Draining { .. } => true,
        }
    }
}
