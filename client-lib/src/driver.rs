//! The passing of time: one task per client ends deadlines and pauses. It sleeps for good while nothing is unanswered.
//!
//! There is no timer per request: streams and lanes know the earliest moment that concerns them.

use crate::budget::Budget;
use crate::completion::Deliveries;
use crate::lane::Lane;
use crate::stream::Stream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How fine the client's sense of time is.
const TICK: Duration = Duration::from_millis(5);

/// Whom to look at.
#[derive(Default)]
pub(crate) struct Driver {
    watched: Mutex<Watched>,
    asleep: AtomicBool,
    wake: Notify,
}

#[derive(Default)]
struct Watched {
    lanes: Vec<Arc<Lane>>,
    streams: Vec<Weak<Stream>>,
}

impl Driver {
    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was submitted.
    pub(crate) fn nudge(&self) {
        if self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst) {
            self.wake.notify_one();
        }
    }

    /// Looks at a lane from now on, until it says that it needs no more looking at.
    pub(crate) fn look_at(&self, lane: &Arc<Lane>) {
        self.lock().lanes.push(Arc::clone(lane));
    }

    pub(crate) fn look_at_stream(&self, stream: &Arc<Stream>) {
        let streams = &mut self.lock().streams;
        streams.retain(|stream| stream.strong_count() > 0);
        streams.push(Arc::downgrade(stream));
    }

    /// The task itself. Every request holds a part of the budget until its end, so an idle budget means that no time need pass.
    pub(crate) async fn run(self: Arc<Self>, budget: Arc<Budget>) {
        loop {
            self.asleep.store(true, Ordering::SeqCst);
            if budget.is_idle() && self.lock().lanes.is_empty() {
                self.wake.notified().await;
            }
            self.asleep.store(false, Ordering::SeqCst);
            tokio::time::sleep(TICK).await;
            self.tick(&budget);
        }
    }

    fn tick(&self, budget: &Budget) {
        let now = Instant::now();
        let mut out = Deliveries::default();
        let (lanes, streams) = {
            let mut watched = self.lock();
            (std::mem::take(&mut watched.lanes), watched.streams.clone())
        };
        for stream in streams.iter().filter_map(Weak::upgrade) {
            stream.expire(now, &mut out);
        }
        for lane in lanes {
            if lane.tick(now, &mut out) {
                self.look_at(&lane);
            }
        }
        out.deliver(budget);
    }
}
