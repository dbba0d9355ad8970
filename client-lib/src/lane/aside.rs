//! Reads that allow for an age: spread over the members of the partition, the primary included. They have no order among the lane's other
//! requests; what a secondary does not answer becomes an ordinary read, behind what waits by then.

use super::events::Lane;
use super::request::{Aside, Op, Verdict, judge};
use super::state::State;
use crate::Error;
use crate::completion::Deliveries;
use crate::link::Acquired;
use crate::stream::Stream;
use proto::data::{refusal, response};
use std::sync::Arc;
use std::time::{Duration, Instant};
use types::NodeId;

/// How long a secondary is left alone that is not fresh, or not reached.
const SHUN: Duration = Duration::from_secs(1);

impl State {
    /// The secondary whose turn it is; nothing if it is the primary's.
    fn next_reader(&mut self) -> Option<NodeId> {
        let secondaries = &self.route.as_ref()?.secondaries;
        self.turn = self.turn.wrapping_add(1);
        let turn = self.turn % (secondaries.len() + 1);
        let node = secondaries.get(turn)?.node;
        if self.shunned.is_empty() {
            return Some(node);
        }
        let now = Instant::now();
        self.shunned.retain(|(_, until)| now < *until);
        let shunned = self.shunned.iter().any(|(shunned, _)| *shunned == node);
        (!shunned).then_some(node)
    }

    fn shun(&mut self, node: NodeId) {
        self.shunned.retain(|(shunned, _)| *shunned != node);
        self.shunned.push((node, Instant::now() + SHUN));
    }

    /// A secondary could not answer, or its answer is lost: it is the primary's turn, for a while.
    pub(super) fn not_answered(&mut self, op: Op, out: &mut Deliveries) {
        if let Some(aside) = op.aside {
            self.shun(aside.secondary);
        }
        self.back_in_line(op, out);
    }

    fn back_in_line(&mut self, mut op: Op, out: &mut Deliveries) {
        op.aside = None;
        if op.completion.is_some() {
            self.enqueue(op);
        } else {
            let nobody = Error::Unavailable("nobody waits for it any more".into());
            self.end(op, Err(nobody), out);
        }
    }
}

impl Lane {
    /// Takes in a read whose answer may be that old. Its cost is reserved already.
    pub(crate) fn submit_aside(self: &Arc<Self>, mut op: Op, staleness: Duration) {
        {
            let mut state = self.lock();
            let secondary = state.next_reader();
            let found = secondary.and_then(|node| Some((node, self.reader(&mut state, node)?)));
            if let Some((secondary, stream)) = found {
                op.aside = Some(Aside {
                    staleness,
                    secondary,
                });
                let (term, epoch) = (state.term, state.epoch);
                let mut pusher = stream.pusher();
                if pusher.is_open() {
                    pusher.push(self, term, epoch, 0, op);
                    drop(pusher);
                    drop(state);
                    return self.home.core.driver.nudge();
                }
                op.aside = None;
            }
        }
        self.submit(op);
    }

    /// The stream to a secondary, if it is open. Else it is being opened for the reads that come later.
    fn reader(self: &Arc<Self>, state: &mut State, node: NodeId) -> Option<Arc<Stream>> {
        let core = &self.home.core;
        let address = core.address(node)?;
        let link = core.link(&address, self.home.credential.as_ref());
        match link.acquire(self) {
            Acquired::Open(stream) => Some(stream),
            Acquired::Opening => None,
            Acquired::Failed(_) => {
                state.shun(node);
                None
            }
        }
    }

    /// What a secondary said to a read.
    pub(super) fn answered_aside(
        &self,
        state: &mut State,
        op: Op,
        result: Option<response::Result>,
        out: &mut Deliveries,
    ) {
        match judge(result, &op) {
            Verdict::Ended(outcome @ (Ok(_) | Err(Error::Rejected(_)))) => {
                state.end(op, outcome, out);
            }
            // It knows less of tables and passwords than the primary may.
            Verdict::Ended(Err(_)) => state.not_answered(op, out),
            Verdict::Again(refusal) | Verdict::Unable(refusal) | Verdict::Unsure(refusal) => {
                if refusal.kind() != refusal::Kind::NotPrimary {
                    return state.not_answered(op, out);
                }
                // Only the primary can answer this one, or the configuration is another.
                self.follow(state, refusal);
                state.back_in_line(op, out);
            }
        }
    }
}
