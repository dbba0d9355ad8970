//! A partition's requests in order: what is waiting, what is in flight, what was refused; where they go, and when again.
//!
//! All of a lane's requests in flight are on one stream and of one epoch. After the first retryable refusal nothing more is sent until
//! every request of the epoch is answered (the server refuses the later ones of the epoch as well); then those refused go again, in
//! their first order and ahead of all others, under the next epoch.
//!
//! ```text
//!             submit                    refusal, other primary          all answered
//!  Detached ─────────▶ Flowing(stream) ───────────────────────▶ Draining ─────────▶ Paused or Detached
//!     │  ▲ no stream yet                                                               │ pause over
//!     ▼  │ opened / routed                                                             ▼
//!  Opening, Unrouted ◀──────────────────────────────────────────────────────────── Detached
//! ```
//!
//! Locks are taken in the order lane, link, stream, never the other way; completions are delivered when none is held.

use crate::Error;
use crate::completion::{Completion, Deliveries, Outcome};
use crate::conflict::LostWrites;
use crate::core::Home;
use crate::link::Acquired;
use crate::stream::{InFlight, Lost, Stream};
use proto::data::{Refusal, refusal, request::Operation, response};
use rand::RngExt;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use types::{Ballot, Configuration, NodeId};

/// How long a server that is no longer primary may take to answer what it has before the lane goes on without it. The new primary
/// serves only when the fate of the old one's writes is settled, so going on breaks no order.
const ABANDON_AFTER: Duration = Duration::from_millis(200);

/// Whether an operation changes anything: a read may be sent again when its connection is lost, a write may not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Changes nothing.
    Read,
    /// May change something.
    Write,
}

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

/// One request.
pub(crate) struct Op {
    /// Its place in the lane.
    pub(crate) sequence: u64,
    pub(crate) operation: Operation,
    /// Encoded length of the operation.
    pub(crate) len: usize,
    pub(crate) kind: Kind,
    pub(crate) deadline: Instant,
    /// None when its waiter was told that the deadline has passed.
    pub(crate) completion: Option<Completion>,
    pub(crate) cost: u32,
}

impl Op {
    fn end(&mut self, outcome: Outcome, out: &mut Deliveries) {
        if let Some(completion) = self.completion.take() {
            out.settle(completion, self.cost, outcome);
        }
    }
}

/// The requests of one partition.
pub(crate) struct Lane {
    home: Arc<Home>,
    pub(crate) partition: u32,
    state: Mutex<State>,
}

struct State {
    route: Option<Configuration>,
    phase: Phase,
    /// Grows when the lane stops waiting for what it has in flight.
    term: u32,
    epoch: u32,
    next_sequence: u64,
    /// Requests of this term without an answer.
    in_flight: usize,
    waiting: VecDeque<Op>,
    refused: Vec<Op>,
    /// Writes of this epoch that ended with an unknown outcome.
    lost: LostWrites,
    /// Since the last success.
    failures: u32,
    /// Odd: ask a secondary instead of the primary, which cannot be reached or says that it is none.
    detour: u32,
    /// What went wrong last, for error texts.
    reason: String,
    /// The driver looks at this lane.
    driven: bool,
}

enum Phase {
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

/// What an answer means.
enum Verdict {
    Ended(Outcome),
    Again(Refusal),
}

fn judge(result: Option<response::Result>, kind: Kind) -> Verdict {
    let unknown = |message: String| {
        Verdict::Ended(Err(match kind {
            Kind::Read => Error::Unavailable(message),
            Kind::Write => Error::OutcomeUnknown(message),
        }))
    };
    let refusal = match result {
        Some(response::Result::Refusal(refusal)) => refusal,
        Some(result) => return Verdict::Ended(Ok(result)),
        None => return unknown("the server answered with something newer than this client".into()),
    };
    match refusal.kind() {
        refusal::Kind::NotPrimary | refusal::Kind::Busy => Verdict::Again(refusal),
        refusal::Kind::Rejected => Verdict::Ended(Err(Error::Rejected(refusal.message))),
        refusal::Kind::Unauthorized => Verdict::Ended(Err(Error::Unauthorized(refusal.message))),
        refusal::Kind::NoSuchTable => Verdict::Ended(Err(Error::NoSuchTable(refusal.message))),
        refusal::Kind::OutcomeUnknown | refusal::Kind::Unknown => unknown(refusal.message),
    }
}

impl Lane {
    pub(crate) fn new(home: Arc<Home>, partition: u32) -> Arc<Self> {
        let epoch = home.core.next_epoch();
        Arc::new(Self {
            home,
            partition,
            state: Mutex::new(State {
                route: None,
                phase: Phase::Detached,
                term: 0,
                epoch,
                next_sequence: 0,
                in_flight: 0,
                waiting: VecDeque::new(),
                refused: Vec::new(),
                lost: LostWrites::default(),
                failures: 0,
                detour: 0,
                reason: String::new(),
                driven: false,
            }),
        })
    }

    pub(crate) fn table(&self) -> u32 {
        self.home.id
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn route(&self) -> Option<Route> {
        let route = self.lock().route.clone()?;
        Some(Route {
            ballot: route.ballot,
            primary: route.primary.node,
            secondaries: route.secondaries.iter().map(|member| member.node).collect(),
            address: self
                .home
                .core
                .address(route.primary.node)
                .map(|address| address.to_string()),
        })
    }

    /// Takes in a request behind all earlier ones. Its cost is reserved already.
    pub(crate) fn submit(self: &Arc<Self>, mut op: Op) {
        {
            let mut state = self.lock();
            op.sequence = state.next_sequence;
            state.next_sequence += 1;
            state.waiting.push_back(op);
            self.pump_and_deliver(state);
        }
        self.home.core.driver.nudge();
    }

    /// Takes in an answer to each of `requests`, which are all of this lane.
    pub(crate) fn answered(
        self: &Arc<Self>,
        first: (InFlight, Option<response::Result>),
        mut more: impl FnMut() -> Option<(InFlight, Option<response::Result>)>,
        out: &mut Deliveries,
    ) {
        let mut state = self.lock();
        let mut next = Some(first);
        while let Some((request, result)) = next {
            self.answer(&mut state, request, result, out);
            next = more();
        }
        self.settle_drain(&mut state, out);
        self.pump(&mut state, out);
    }

    fn answer(
        &self,
        state: &mut State,
        request: InFlight,
        result: Option<response::Result>,
        out: &mut Deliveries,
    ) {
        let InFlight { term, mut op, .. } = request;
        let verdict = judge(result, op.kind);
        if term != state.term {
            // the lane has gone on without it; sending it again now would put it behind later ones
            let outcome = match verdict {
                Verdict::Ended(outcome) => outcome,
                Verdict::Again(refusal) => Err(Error::Unavailable(refusal.message)),
            };
            return op.end(outcome, out);
        }
        state.in_flight -= 1;
        match verdict {
            Verdict::Ended(outcome) => {
                if matches!(outcome, Err(Error::OutcomeUnknown(_))) {
                    // reads before it may yet be refused: see `conflict`
                    state.lost.add(op.sequence, op.operation.clone());
                    state.drain(false);
                } else {
                    state.failures = 0;
                    state.detour = 0;
                }
                op.end(outcome, out);
            }
            Verdict::Again(refusal) => {
                let not_primary = refusal.kind() == refusal::Kind::NotPrimary;
                let first = matches!(state.phase, Phase::Flowing(_));
                state.drain(true);
                if self.learn_from(state, refusal) {
                    state.redirect(Instant::now() + ABANDON_AFTER);
                } else if not_primary {
                    // it knows no better: another one may
                    state.detour = state.detour.wrapping_add(first.into());
                    self.home.refresh.notify_one();
                }
                if op.completion.is_some() {
                    state.refused.push(op);
                }
            }
        }
    }

    /// Takes in that the stream of `lost` is gone; all of them are of this lane.
    pub(crate) fn stream_lost(
        self: &Arc<Self>,
        lost: Vec<Lost>,
        reason: &str,
        out: &mut Deliveries,
    ) {
        let mut state = self.lock();
        reason.clone_into(&mut state.reason);
        // at once the first time; a server that goes on ending its streams is asked with pauses
        let pause = state.failures > 0;
        state.failures = state.failures.saturating_add(1);
        for Lost { request, sent } in lost {
            let InFlight { term, mut op, .. } = request;
            let current = term == state.term;
            if current {
                state.in_flight -= 1;
                state.drain(pause);
            }
            if op.kind == Kind::Write && sent {
                op.end(Err(Error::OutcomeUnknown(reason.to_owned())), out);
                if current {
                    state.lost.add(op.sequence, op.operation);
                }
            } else if current {
                if op.completion.is_some() {
                    state.refused.push(op);
                }
            } else {
                op.end(Err(Error::Unavailable(reason.to_owned())), out);
            }
        }
        self.settle_drain(&mut state, out);
        self.pump(&mut state, out);
    }

    /// Takes in what a meta server says.
    pub(crate) fn routed(self: &Arc<Self>, configuration: Configuration) {
        let mut state = self.lock();
        if state.learn(configuration) {
            state.failures = 0;
            state.redirect(Instant::now() + ABANDON_AFTER);
        }
        self.pump_and_deliver(state);
    }

    /// The link that it waits for is open.
    pub(crate) fn link_opened(self: &Arc<Self>) {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Opening) {
            state.phase = Phase::Detached;
        }
        self.pump_and_deliver(state);
    }

    /// The link that it waits for could not be opened.
    pub(crate) fn link_failed(self: &Arc<Self>, reason: &str) {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Opening) {
            self.unreachable(&mut state, reason);
        }
        self.pump_and_deliver(state);
    }

    /// The table is gone: nothing more will be answered.
    pub(crate) fn table_gone(self: &Arc<Self>) {
        let state = self.lock();
        self.pump_and_deliver(state);
    }

    /// The driver's look at a lane in trouble: deadlines, pauses. Says whether to look again.
    pub(crate) fn tick(self: &Arc<Self>, now: Instant, out: &mut Deliveries) -> bool {
        let mut state = self.lock();
        state.expire(now, out);
        match &state.phase {
            Phase::Paused { until } if *until <= now => state.phase = Phase::Detached,
            Phase::Draining {
                stream,
                abandon_at: Some(at),
                ..
            } if *at <= now => {
                let stream = Arc::clone(stream);
                self.abandon(&mut state, &stream, out);
            }
            _ => {}
        }
        state.driven = false;
        self.pump_quietly(&mut state, out);
        state.driven = state.needs_driver();
        state.driven
    }

    /// Stops waiting for a server that is no longer primary and does not answer.
    fn abandon(self: &Arc<Self>, state: &mut State, stream: &Stream, out: &mut Deliveries) {
        state.term = state.term.wrapping_add(1);
        state.in_flight = 0;
        let mut reads = Vec::new();
        stream.take_reads(self, &mut reads);
        reads.retain(|op| op.completion.is_some());
        state.refused.append(&mut reads);
        stream.each_write(self, |op| state.lost.add(op.sequence, op.operation.clone()));
        self.settle_drain(state, out);
    }

    /// When everything of the epoch is answered: what was refused goes to the front, under a new epoch.
    fn settle_drain(&self, state: &mut State, out: &mut Deliveries) {
        if state.in_flight > 0 {
            return;
        }
        let Phase::Draining { pause, .. } = state.phase else {
            return;
        };
        state.refused.sort_by_key(|op| op.sequence);
        if let Some(conflicts) = state.lost.test() {
            state.refused.retain_mut(|op| {
                let misplaced = op.kind == Kind::Read && conflicts(op.sequence, &op.operation);
                if misplaced {
                    let error = Error::Unavailable(
                        "a later write of this key was lost with the connection".into(),
                    );
                    op.end(Err(error), out);
                }
                !misplaced
            });
        }
        state.lost.clear();
        for op in state.refused.drain(..).rev() {
            state.waiting.push_front(op);
        }
        state.epoch = self.home.core.next_epoch();
        state.phase = if pause {
            self.pause(&mut state.failures)
        } else {
            Phase::Detached
        };
    }

    fn pause(&self, failures: &mut u32) -> Phase {
        let (min, max) = self.home.core.options.backoff;
        let pause = min.saturating_mul(1 << (*failures).min(16)).min(max);
        *failures = failures.saturating_add(1);
        // half of it at random, so that many lanes and clients do not come back at once
        Phase::Paused {
            until: Instant::now() + pause.mul_f64(rand::rng().random_range(0.5..1.0)),
        }
    }

    fn unreachable(&self, state: &mut State, reason: &str) {
        reason.clone_into(&mut state.reason);
        state.detour = state.detour.wrapping_add(1);
        state.phase = self.pause(&mut state.failures);
        self.home.refresh.notify_one();
    }

    fn learn_from(&self, state: &mut State, refusal: Refusal) -> bool {
        state.reason = refusal.message;
        let Ok(configuration) = proto::configuration(refusal.configuration) else {
            return false;
        };
        if !state.is_news(&configuration) {
            return false;
        }
        if let Some(address) = refusal.primary {
            self.home.core.learn_address(&address);
        }
        state.learn(configuration)
    }

    fn pump_and_deliver(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let mut out = Deliveries::default();
        self.pump(&mut state, &mut out);
        drop(state);
        out.deliver(&self.home.core.budget);
    }

    fn pump(self: &Arc<Self>, state: &mut State, out: &mut Deliveries) {
        self.pump_quietly(state, out);
        if !state.driven && state.needs_driver() {
            state.driven = true;
            self.home.core.driver.look_at(self);
        }
    }

    /// Sends what can be sent.
    fn pump_quietly(self: &Arc<Self>, state: &mut State, out: &mut Deliveries) {
        loop {
            if state.waiting.is_empty() {
                return;
            }
            match &state.phase {
                Phase::Flowing(stream) => {
                    let stream = Arc::clone(stream);
                    if self.send(state, &stream) {
                        return;
                    }
                    if state.in_flight > 0 {
                        // what was in flight is on its way back through `stream_lost`
                        state.phase = Phase::Draining {
                            stream,
                            pause: false,
                            abandon_at: None,
                        };
                        return;
                    }
                    state.phase = Phase::Detached;
                }
                Phase::Detached => self.attach(state, out),
                Phase::Draining { .. }
                | Phase::Paused { .. }
                | Phase::Opening
                | Phase::Unrouted => return,
            }
        }
    }

    /// Pushes all that waits; false if the stream has ended.
    fn send(self: &Arc<Self>, state: &mut State, stream: &Stream) -> bool {
        let mut pusher = stream.pusher();
        while pusher.is_open() {
            let Some(op) = state.waiting.pop_front() else {
                return true;
            };
            pusher.push(self, state.term, state.epoch, op);
            state.in_flight += 1;
        }
        false
    }

    /// Finds the stream to whoever should be primary.
    fn attach(self: &Arc<Self>, state: &mut State, out: &mut Deliveries) {
        if self.home.is_gone() {
            for mut op in state.waiting.drain(..) {
                op.end(Err(Error::NoSuchTable(self.home.name.clone())), out);
            }
            return;
        }
        let Some(node) = state.target() else {
            "the partition has no primary yet".clone_into(&mut state.reason);
            state.phase = Phase::Unrouted;
            self.home.refresh.notify_one();
            return;
        };
        let Some(address) = self.home.core.address(node) else {
            return self.unreachable(state, &format!("the address of node {node} is not known"));
        };
        match self
            .home
            .core
            .link(&address, self.home.credential.as_ref())
            .acquire(self)
        {
            Acquired::Open(stream) => state.phase = Phase::Flowing(stream),
            Acquired::Opening => state.phase = Phase::Opening,
            Acquired::Failed(reason) => self.unreachable(state, &reason),
        }
    }
}

impl State {
    fn is_news(&self, configuration: &Configuration) -> bool {
        self.route
            .as_ref()
            .is_none_or(|route| route.ballot < configuration.ballot)
    }

    /// Keeps a configuration if its ballot is higher; says whether the primary is another.
    fn learn(&mut self, configuration: Configuration) -> bool {
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
        }
        moved
    }

    /// Whom to ask: the primary; every other time a secondary while that does not help: it knows a newer configuration, if any.
    fn target(&self) -> Option<NodeId> {
        let route = self.route.as_ref()?;
        let secondary = || {
            let turn = (self.detour / 2) as usize % route.secondaries.len().max(1);
            route.secondaries.get(turn).filter(|_| self.detour % 2 == 1)
        };
        Some(secondary().unwrap_or(&route.primary).node)
    }

    /// Sends nothing more until everything in flight is answered. `pause`: and then waits, if this is what starts it.
    fn drain(&mut self, pause: bool) {
        if let Phase::Flowing(stream) = &self.phase {
            self.phase = Phase::Draining {
                stream: Arc::clone(stream),
                pause,
                abandon_at: None,
            };
        }
    }

    /// Goes over to another primary, after what is in flight is answered or at the latest at `abandon_at`.
    fn redirect(&mut self, abandon_at: Instant) {
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
    fn expire(&mut self, now: Instant, out: &mut Deliveries) {
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
    fn needs_driver(&self) -> bool {
        match self.phase {
            Phase::Flowing(_) => false,
            Phase::Detached | Phase::Opening | Phase::Unrouted | Phase::Paused { .. } => {
                !self.waiting.is_empty()
            }
            Phase::Draining { .. } => true,
        }
    }
}
