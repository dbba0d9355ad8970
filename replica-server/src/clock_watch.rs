//! A node whose wall clock disagrees with the others' leads nothing that another could lead: what expires on it would expire at the
//! wrong time. It goes on holding copies.

use crate::clock;
use crate::hand_over::hand_over;
use crate::peers::clocks::{Agreement, Clocks};
use crate::worker::Worker;
use replication::Afterwards;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Looks every second; what takeovers give to this node meanwhile is handed on, too.
pub(crate) async fn watch(worker: Rc<Worker>, clocks: Arc<Clocks>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    let mut before = Agreement::Agreed;
    loop {
        ticks.tick().await;
        let agreement = clocks.agreement(clock::now());
        if std::mem::discriminant(&agreement) != std::mem::discriminant(&before) {
            report(&agreement);
        }
        if let Agreement::Off { right, .. } = &agreement {
            hand_over(&worker, Afterwards::Stay, |node| right.contains(&node)).await;
        }
        before = agreement;
    }
}

fn report(agreement: &Agreement) {
    match agreement {
        Agreement::Agreed => tracing::info!("this node's clock agrees with the others' again"),
        Agreement::Undecided { ahead_ms } => tracing::warn!(
            ahead_ms,
            "the other node's clock differs from this one's: one of them must be set, or things expire at the wrong time"
        ),
        Agreement::Off {
            ahead_ms, nodes, ..
        } => tracing::error!(
            ahead_ms,
            nodes,
            "this node's clock is far from the median: it hands over what it leads; set the system clock and restart this server"
        ),
    }
}
