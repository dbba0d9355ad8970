//! Keeps the routes of one table fresh: a task that follows the changes at a meta server, and asks when the lanes are in doubt.
//!
//! With no meta server the lanes keep what they have; refusals of replica servers teach them the rest.

use crate::core::Home;
use crate::lane::Lane;
use crate::meta::{Meta, NoRoutes};
use proto::common::NodeAddress;
use proto::meta::{PartitionRoute, RoutesUpdate};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tonic::Streaming;

/// Between two questions of a lane in doubt.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// Between two attempts to follow, when the last was refused or ended; doubles from the first to the second.
const FOLLOW_AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// One table's routes on their way to its lanes.
pub(crate) struct Watch {
    pub(crate) meta: Arc<Meta>,
    pub(crate) home: Arc<Home>,
    pub(crate) lanes: Vec<Arc<Lane>>,
}

enum Ended {
    Broken,
    TableGone,
}

impl Watch {
    /// Runs until the table is gone, or the task is aborted because nobody uses the table any more.
    pub(crate) async fn run(self) {
        let mut pause = FOLLOW_AGAIN.0;
        loop {
            let ended = match self.meta.watch(&self.home.name).await {
                Ok(updates) => {
                    pause = FOLLOW_AGAIN.0;
                    self.home.following.begins();
                    let ended = self.follow(updates).await;
                    self.home.following.ends();
                    ended
                }
                Err(NoRoutes::NoSuchTable) => Ended::TableGone,
                Err(NoRoutes::Unavailable(reason)) => {
                    tracing::debug!(table = self.home.name, reason, "no meta server to follow");
                    Ended::Broken
                }
            };
            match ended {
                Ended::TableGone => return self.table_gone(),
                Ended::Broken => self.meta.prefer_another(),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.doubt(Instant::now() + ASK_EVERY) => {}
            }
            pause = (pause * 2).min(FOLLOW_AGAIN.1);
        }
    }

    /// Waits until a lane asks for news, but not before `next`.
    async fn doubt(&self, next: Instant) {
        tokio::time::sleep_until(next).await;
        self.home.refresh.notified().await;
    }

    async fn follow(&self, mut updates: Streaming<RoutesUpdate>) -> Ended {
        let mut next = Instant::now();
        loop {
            let asked = async {
                self.doubt(next).await;
                self.meta.query_once(&self.home.name).await
            };
            // an update that comes while a question is under way answers it
            let (table, partitions, nodes) = tokio::select! {
                update = updates.message() => match update {
                    Ok(Some(update)) => (update.table, update.partitions, update.nodes),
                    Ok(None) | Err(_) => return Ended::Broken,
                },
                routes = asked => match routes {
                    Ok(routes) => {
                        next = Instant::now() + ASK_EVERY;
                        (routes.table, routes.partitions, routes.nodes)
                    }
                    // if it is true, following again says so too
                    Err(NoRoutes::NoSuchTable | NoRoutes::Unavailable(_)) => return Ended::Broken,
                },
            };
            if table.is_some_and(|table| table.id != self.home.id || table.dropped_at != 0) {
                return Ended::TableGone;
            }
            self.apply(&nodes, partitions);
        }
    }

    fn table_gone(&self) {
        self.home.set_gone();
        for lane in &self.lanes {
            lane.table_gone();
        }
    }

    pub(crate) fn apply(&self, nodes: &[NodeAddress], partitions: Vec<PartitionRoute>) {
        for node in nodes {
            self.home.core.learn_address(node);
        }
        for partition in partitions {
            // absent: it awaits its first configuration
            let Some(configuration) = partition.configuration else {
                continue;
            };
            match (
                self.lanes.get(partition.index as usize),
                proto::configuration(Some(configuration)),
            ) {
                (Some(lane), Ok(configuration)) => lane.routed(configuration),
                (None, _) => tracing::warn!(
                    table = self.home.name,
                    partition.index,
                    "a route for a partition that the table does not have"
                ),
                (_, Err(error)) => {
                    tracing::warn!(table = self.home.name, partition.index, %error, "a route that cannot be read");
                }
            }
        }
    }
}
