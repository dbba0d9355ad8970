//! Planned hand-over (R5): secondaries take what this node leads, while it serves on; no client is refused.

use crate::clock;
use crate::worker::Worker;
use crate::worker::hosted::Hosted;
use replication::{Afterwards, Event, RoleKind};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::timeout;
use types::NodeId;

/// How long successors may take in all; whoever needs longer takes over as after a crash.
const HANDING_OVER: Duration = Duration::from_secs(5);
/// How long one successor is waited for before the next is asked.
const ANSWER: Duration = Duration::from_millis(500);

/// Lets secondaries on nodes that `may_lead` become primaries, until this node leads nothing that one of them could.
pub(crate) async fn hand_over(
    worker: &Rc<Worker>,
    then: Afterwards,
    may_lead: impl Fn(NodeId) -> bool,
) {
    let end = clock::now() + HANDING_OVER;
    for attempt in 0.. {
        if !ask_successors(worker, then, &may_lead, attempt) {
            return;
        }
        let ask_again = clock::now() + ANSWER;
        while leads(worker, &may_lead) {
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
fn ask_successors(
    worker: &Worker,
    then: Afterwards,
    may_lead: &impl Fn(NodeId) -> bool,
    attempt: usize,
) -> bool {
    let mut asked = false;
    for hosted in worker.hosted_all() {
        let successors = successors(&hosted.borrow(), may_lead);
        if !successors.is_empty() {
            asked = true;
            let to = successors[attempt % successors.len()];
            worker.tell(&hosted, Event::HandOver { to, then });
        }
    }
    asked
}

fn leads(worker: &Worker, may_lead: &impl Fn(NodeId) -> bool) -> bool {
    let led = |hosted: &Hosted| !successors(hosted, may_lead).is_empty();
    worker
        .hosted_all()
        .iter()
        .any(|hosted| led(&hosted.borrow()))
}

/// Who could lead a partition that this node leads.
fn successors(hosted: &Hosted, may_lead: &impl Fn(NodeId) -> bool) -> Vec<NodeId> {
    let is_led = matches!(hosted.role, RoleKind::Serving | RoleKind::Reconciling);
    let known = hosted.core.configuration().filter(|_| is_led);
    let secondaries = known.iter().flat_map(|known| &known.secondaries);
    secondaries
        .map(|member| member.node)
        .filter(|&node| may_lead(node))
        .collect()
}
