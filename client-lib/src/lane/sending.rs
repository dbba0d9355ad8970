//! What a lane does with what waits: where it goes, and when again.

use super::events::Lane;
use super::request::{Kind, Op};
use super::state::{Phase, State};
use crate::Error;
use crate::completion::Deliveries;
use crate::link::Acquired;
use crate::stream::Stream;
use rand::RngExt;
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

impl Lane {
    /// When everything of the epoch is answered: what was refused goes to the front, under a new epoch.
    pub(super) fn settle_drain(&self, state: &mut State, out: &mut Deliveries) {
        if state.in_flight > 0 {
            return;
        }
        let Phase::Draining { pause, .. } = state.phase else {
            return;
        };
        state.refused.sort_by_key(|op| op.sequence);
        if let Some(conflicts) = state.overtaking.test() {
            state.refused.retain_mut(|op| {
                let misplaced = op.kind == Kind::Read
                    && op
                        .order
                        .is_some_and(|order| conflicts(order, op.sequence, &op.operation));
                if misplaced {
                    let error = Error::Unavailable(
                        "the read was refused, and a later write to its key may have been done since".into(),
                    );
                    op.end(Err(error), out);
                }
                !misplaced
            });
        }
        state.overtaking.clear();
        if std::mem::take(&mut state.doubted) {
            state.detour = state.detour.wrapping_add(1);
        }
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

    /// Whether later requests wait while it cannot be done: not if it ends then, nor if nobody else's order hangs on it.
    pub(crate) fn is_ordered(&self, op: &Op) -> bool {
        op.order.is_some() && !self.home.core.options.fail_early
    }

    pub(super) fn pause(&self, failures: &mut u32) -> Phase {
        Phase::Paused {
            until: self.after_pause(failures),
        }
    }

    fn after_pause(&self, failures: &mut u32) -> Instant {
        let (min, max) = self.home.core.options.backoff;
        let pause = min.saturating_mul(1 << (*failures).min(16)).min(max);
        *failures = failures.saturating_add(1);
        // half of it at random, so that many lanes and clients do not come back at once
        Instant::now() + pause.mul_f64(rand::rng().random_range(0.5..1.0))
    }

    /// Sends it again after a pause of its own: what comes after it goes on.
    pub(super) fn put_off(&self, state: &mut State, mut op: Op, out: &mut Deliveries) {
        if op.completion.is_none() {
            return state.again(op, out);
        }
        let until = self.after_pause(&mut op.put_off);
        state.put_off.push((until, op));
    }

    pub(super) fn unreachable(&self, state: &mut State, reason: &str) {
        reason.clone_into(&mut state.reason);
        state.detour = state.detour.wrapping_add(1);
        state.phase = self.pause(&mut state.failures);
        self.home.refresh.notify_one();
    }

    pub(super) fn pump_and_deliver(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let mut out = Deliveries::default();
        self.pump(&mut state, &mut out);
        drop(state);
        out.deliver(&self.home.core.budget);
    }

    pub(super) fn pump(self: &Arc<Self>, state: &mut State, out: &mut Deliveries) {
        self.pump_quietly(state, out);
        if !state.driven && state.needs_driver() {
            state.driven = true;
            self.home.core.driver.look_at(self);
        }
    }

    /// Sends what can be sent.
    pub(super) fn pump_quietly(self: &Arc<Self>, state: &mut State, out: &mut Deliveries) {
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
        let first_incomplete = state.writes.first_incomplete();
        let mut pusher = stream.pusher();
        while pusher.is_open() {
            let Some(op) = state.waiting.pop_front() else {
                return true;
            };
            pusher.push(self, state.term, state.epoch, first_incomplete, op);
            state.in_flight += 1;
        }
        false
    }

    /// Finds the stream to whoever should be primary.
    fn attach(self: &Arc<Self>, state: &mut State, out: &mut Deliveries) {
        if self.home.is_gone() {
            for op in std::mem::take(&mut state.waiting) {
                let error = op.without_effect(Error::NoSuchTable(self.home.name.clone()));
                state.end(op, Err(error), out);
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
