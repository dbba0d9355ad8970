//! How a server ends: what it leads is handed over first (`hand_over`), then what is acknowledged is synced.
//!
//! Nothing depends on it: whoever is killed instead is replaced by takeovers, and recovers from its log.

use crate::clock;
use crate::worker::Worker;
use replication::Event;
use std::rc::Rc;
use std::time::Duration;

/// In what way a server is to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// Others take over what this server leads, while it serves on: no client is refused.
    HandOver,
    /// At once: the whole cluster ends.
    AtOnce,
}

/// How long clients may take to be told where to go now.
const FAREWELL: Duration = Duration::from_millis(500);
/// How often it is looked whether they were, and how often in a row they must have been.
const LOOK_EVERY: Duration = Duration::from_millis(5);
const LOOKS: usize = 4;

/// Answers who asks still: a request that is lost with its connection costs its sender far more than one that is sent elsewhere.
pub(crate) async fn farewell(worker: &Worker) {
    let end = clock::now() + FAREWELL;
    let mut quiet = 0;
    while quiet < LOOKS && clock::now() < end {
        tokio::time::sleep(LOOK_EVERY).await;
        let all = worker.hosted_all();
        let changing = all.iter().any(|hosted| hosted.borrow().is_changing());
        let answered = worker.unanswered.get() == 0 && !changing;
        quiet = if answered { quiet + 1 } else { 0 };
    }
}

/// What is in memory goes to `RocksDB`'s files while nobody waits for this server, so that its next start has little to replay.
pub(crate) async fn flush(worker: &Worker) {
    let engine = worker.engine.clone();
    let _ = tokio::task::spawn_blocking(move || engine.flush_all()).await;
}

/// What is acknowledged is synced, so that the next start need not ask anybody.
pub(crate) async fn end(worker: &Rc<Worker>) {
    worker.tell_all(&Event::Shutdown);
    worker.stopping.set(true);
    let engine = worker.engine.clone();
    let (sync, buffered) = (worker.logs.sync.clone(), worker.logs.buffered.clone());
    let _ = tokio::task::spawn_blocking(move || {
        for log in [sync, buffered] {
            if let Err(error) = log.wait_synced() {
                tracing::error!(%error, "the log was not synced at the end");
            }
        }
        engine.shutdown();
    })
    .await;
}
