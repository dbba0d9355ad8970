//! What happens to a lane: requests, answers, lost streams, routes, the passing of time.

use super::request::{Kind, Op, Verdict, judge};
use super::sequences::Sequences;
use super::state::{Phase, Route, State};
use crate::Error;
use crate::completion::Deliveries;
use crate::conflict::OvertakingWrites;
use crate::core::Home;
use crate::statistics::count;
use crate::stream::{InFlight, Lost, Stream};
use proto::data::{Refusal, refusal, response};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use types::Configuration;

/// How long a server that is no longer primary may take to answer what it has before the lane goes on without it. The new primary
/// serves only when the fate of the old one's writes is settled, so going on breaks no order.
const ABANDON_AFTER: Duration = Duration::from_millis(200);

/// The requests of one partition.
pub(crate) struct Lane {
    pub(super) home: Arc<Home>,
    pub(crate) partition: u32,
    /// In the request ids of its writes. Drawn for each lane, so that two of one partition never share sequences.
    pub(crate) client: u64,
    pub(super) state: Mutex<State>,
}

impl Lane {
    pub(crate) fn new(home: Arc<Home>, partition: u32) -> Arc<Self> {
        let epoch = home.core.next_epoch();
        let client = rand::random();
        Arc::new(Self {
            home,
            partition,
            client,
            state: Mutex::new(State {
                route: None,
                phase: Phase::Detached,
                term: 0,
                epoch,
                next_sequence: 0,
                writes: Sequences::new(),
                in_flight: 0,
                waiting: VecDeque::new(),
                refused: Vec::new(),
                put_off: Vec::new(),
                overtaking: OvertakingWrites::default(),
                failures: 0,
                detour: 0,
                doubted: false,
                reason: String::new(),
                // Many clients do not all begin with the same member.
                turn: client as usize,
                shunned: Vec::new(),
                driven: false,
            }),
        })
    }

    pub(crate) fn table(&self) -> u32 {
        self.home.id
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
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
    pub(crate) fn submit(self: &Arc<Self>, op: Op) {
        {
            let mut state = self.lock();
            state.enqueue(op);
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
            if request.op.aside.is_some() {
                self.answered_aside(&mut state, request.op, result, out);
            } else {
                self.answer(&mut state, request, result, out);
            }
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
        let InFlight { term, op, .. } = request;
        let verdict = judge(result, &op);
        if let Verdict::Again(refusal) | Verdict::Unable(refusal) = &verdict {
            let troubles = &self.home.core.troubles;
            let misdirected = refusal.kind() == refusal::Kind::NotPrimary;
            count(&troubles.refused, 1);
            count(&troubles.misdirected, usize::from(misdirected));
        }
        if term != state.term {
            // the lane has gone on without it; sending it again now would put it behind later ones
            let outcome = match verdict {
                Verdict::Ended(outcome) => outcome,
                Verdict::Again(refusal) | Verdict::Unable(refusal) => {
                    Err(op.without_effect(Error::Unavailable(refusal.message)))
                }
                Verdict::Unsure(refusal) => Err(op.without_answer(refusal.message)),
            };
            return state.end(op, outcome, out);
        }
        state.in_flight -= 1;
        match verdict {
            Verdict::Ended(outcome) => {
                if matches!(outcome, Err(Error::OutcomeUnknown(_))) {
                    count(&self.home.core.troubles.unknown, 1);
                    // reads before it may yet be refused: see `conflict`
                    state.overtaking.add(&op);
                    state.drain(false);
                } else {
                    state.failures = 0;
                    state.detour = 0;
                    // an earlier read may have been refused, and is not to see it
                    if op.kind == Kind::Write && matches!(state.phase, Phase::Draining { .. }) {
                        state.overtaking.add(&op);
                    }
                }
                if matches!(outcome, Err(Error::NoSuchTable(_))) {
                    // or is it? the meta servers know
                    self.home.refresh.notify_one();
                }
                state.end(op, outcome, out);
            }
            Verdict::Unsure(refusal) => {
                state.drain(true);
                state.unsure(op, &refusal.message, out);
                state.reason = refusal.message;
            }
            Verdict::Unable(refusal) if self.home.core.options.fail_early => {
                let error = op.without_effect(Error::Unavailable(refusal.message));
                state.end(op, Err(error), out);
            }
            Verdict::Unable(refusal) if !self.is_ordered(&op) => {
                self.follow(state, refusal);
                self.put_off(state, op, out);
            }
            Verdict::Again(refusal) | Verdict::Unable(refusal) => {
                let not_primary = refusal.kind() == refusal::Kind::NotPrimary;
                // the lane knows a newer primary than whoever refuses
                let leaving = state.is_leaving();
                state.drain(true);
                if !self.follow(state, refusal) && not_primary && !leaving {
                    // it knows no better: another one may
                    state.doubted = true;
                    self.home.refresh.notify_one();
                }
                state.again(op, out);
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
        let is_aside = |lost: &Lost| lost.request.op.aside.is_some();
        let (asides, lost): (Vec<_>, Vec<_>) = lost.into_iter().partition(is_aside);
        for Lost { request, .. } in asides {
            state.not_answered(request.op, out);
        }
        if lost.is_empty() {
            return self.pump(&mut state, out);
        }
        reason.clone_into(&mut state.reason);
        count(&self.home.core.troubles.lost, lost.len());
        // at once the first time; a server that goes on ending its streams is asked with pauses
        let pause = state.failures > 0;
        state.failures = state.failures.saturating_add(1);
        for Lost { request, sent } in lost {
            let InFlight { term, op, .. } = request;
            let current = term == state.term;
            if current {
                state.in_flight -= 1;
                state.drain(pause);
            }
            match (current, sent) {
                (true, true) => state.unsure(op, reason, out),
                (true, false) => state.again(op, out),
                (false, true) => {
                    let error = op.without_answer(reason.to_owned());
                    state.end(op, Err(error), out);
                }
                (false, false) => {
                    let error = op.without_effect(Error::Unavailable(reason.to_owned()));
                    state.end(op, Err(error), out);
                }
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
        state.take_up(now, out);
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
        let mut taken = Vec::new();
        stream.take_repeatable(self, &mut taken);
        for op in taken {
            state.unsure(
                op,
                "the server is no longer primary and does not answer",
                out,
            );
        }
        stream.each_write(self, |op| state.overtaking.add(op));
        self.settle_drain(state, out);
    }

    /// Goes where a refusal points, if it knows better.
    pub(super) fn follow(&self, state: &mut State, refusal: Refusal) -> bool {
        let moved = self.learn_from(state, refusal);
        if moved {
            state.redirect(Instant::now() + ABANDON_AFTER);
        }
        moved
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
}
