//! How the end of a request reaches whoever waits for it: a oneshot per request, or one queue for many.
//!
//! Completions are gathered while locks are held and delivered afterwards, so that a consumer is woken once per received batch.

use crate::Error;
use crate::budget::Budget;
use proto::data;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, oneshot};

/// How a request ended. Never `Result::Refusal`: a refusal is retried or becomes an [`Error`].
pub type Outcome = Result<data::response::Result, Error>;

/// Where an [`Outcome`] goes.
#[derive(Debug)]
pub enum Completion {
    /// To one waiting future.
    Oneshot(oneshot::Sender<Outcome>),
    /// To a queue that gathers the outcomes of many requests.
    Queue {
        /// Given back with the outcome.
        token: u64,
        /// The queue.
        queue: Arc<CompletionQueue>,
    },
}

/// Gathers the outcomes of many requests for one consumer, and wakes it once per batch received.
///
/// It holds at most one outcome for each request submitted to it and not drained, so its submitter bounds it.
#[derive(Debug, Default)]
pub struct CompletionQueue {
    outcomes: Mutex<Vec<(u64, Outcome)>>,
    arrived: Notify,
}

impl CompletionQueue {
    /// An empty queue.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Moves everything that has arrived to the end of `into`, in the order of arrival.
    pub fn drain(&self, into: &mut Vec<(u64, Outcome)>) {
        let mut outcomes = self.lock();
        if into.is_empty() {
            // the two vectors take turns, so that neither grows again
            std::mem::swap(&mut *outcomes, into);
        } else {
            into.append(&mut outcomes);
        }
    }

    /// Waits until there is something to [`drain`](Self::drain). For one consumer; cancelling it loses nothing.
    pub async fn ready(&self) {
        while self.lock().is_empty() {
            self.arrived.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, Outcome)>> {
        // a vector is whole after every operation that could panic here
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Outcomes on their way out: filled under locks, [delivered](Self::deliver) when none is held.
#[derive(Default)]
pub(crate) struct Deliveries {
    settled: Vec<(Completion, Outcome)>,
    freed: usize,
}

impl Deliveries {
    /// Ends a request that had `cost` of the budget.
    pub(crate) fn settle(&mut self, completion: Completion, cost: u32, outcome: Outcome) {
        self.settled.push((completion, outcome));
        self.freed += cost as usize;
    }

    pub(crate) fn deliver(&mut self, budget: &Budget) {
        budget.release(std::mem::take(&mut self.freed));
        let mut settled = self.settled.drain(..).peekable();
        while let Some((completion, outcome)) = settled.next() {
            match completion {
                // nobody waits any more: the caller was cancelled
                Completion::Oneshot(waiting) => drop(waiting.send(outcome)),
                Completion::Queue { token, queue } => {
                    let mut outcomes = queue.lock();
                    outcomes.push((token, outcome));
                    let same = |next: &(Completion, Outcome)| matches!(&next.0, Completion::Queue { queue: other, .. } if Arc::ptr_eq(other, &queue));
                    while let Some((Completion::Queue { token, .. }, outcome)) =
                        settled.next_if(same)
                    {
                        outcomes.push((token, outcome));
                    }
                    drop(outcomes);
                    queue.arrived.notify_one();
                }
            }
        }
    }
}
