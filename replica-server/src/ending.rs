//! How a server ends: what it leads is handed over first, then what is acknowledged is synced.
//!
//! Nothing depends on it: whoever is killed instead is replaced by takeovers, and recovers from its log.

use crate::clock;
use crate::worker::Worker;
use replication::{Afterwards, Event, RoleKind};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::timeout;

/// In what way a server is to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// Others take over what this server leads, while it serves on: no client is refused.
    HandOver,
    /// At once: the whole cluster ends.
    AtOnce,
}

/// How long successors may take in all; whoever needs longer takes over as after a crash.
const HANDING_OVER: Duration = Duration::from_secs(5);
/// How long one successor is waited for before the next is asked.
const ANSWER: Duration = Duration::from_millis(500);

/// R5: lets secondaries become primaries, until this node leads nothing that another could.
pub(crate) async fn hand_over(worker: &Rc<Worker>) {
    let end = clock::now() + HANDING_OVER;
    for attempt in 0.. {
        if !ask_successors(worker, attempt) {
            return;
        }
        let ask_again = clock::now() + ANSWER;
        while leads(worker) {
            let now = clock::now();
            if now >= end {
                tracing::warn!("not everything was handed over in time; the rest is taken over");
                return;
            }
            if now >= ask_again {
                break;
            }
            let _ = timeout(
                ask_again.min(end).since(now),
                worker.roles_changed.notified(),
            )
            .await;
        }
    }
}

/// Asks a secondary of every partition that is led here to take it. Whether there was any.
fn ask_successors(worker: &Worker, attempt: usize) -> bool {
    let mut asked = false;
    for hosted in worker.hosted_all() {
        let successor = {
            let h = hosted.borrow();
            match h.core.configuration() {
                Some(known) if is_led(h.role) && !known.secondaries.is_empty() => {
                    known.secondaries[attempt % known.secondaries.len()].node
                }
                _ => continue,
            }
        };
        asked = true;
        let then = Afterwards::Leave;
        worker.tell(
            &hosted,
            Event::HandOver {
                to: successor,
                then,
            },
        );
    }
    asked
}

fn leads(worker: &Worker) -> bool {
    worker.hosted_all().iter().any(|hosted| {
        let h = hosted.borrow();
        let others = |known: &types::Configuration| !known.secondaries.is_empty();
        is_led(h.role) && h.core.configuration().is_some_and(others)
    })
}

fn is_led(role: RoleKind) -> bool {
    matches!(role, RoleKind::Serving | RoleKind::Reconciling)
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
