//! A gateway as its HTTP port sees it: whether it moves, whether it knows routes, and its metrics.

use replica_server::metrics::{describe_resp, describe_routes};
use resp_gateway::Statistics;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use telemetry::{Exposition, Heart, Role, Subject};
use tulpar_client::{Client, Error, Table};

/// A process whose runtime has given no turn for so long hangs.
const STALL: Duration = Duration::from_secs(5);
/// Between two attempts to learn the first routes.
const AGAIN: Duration = Duration::from_millis(200);

/// See the module.
pub(crate) struct Shown {
    client: Client,
    resp: Arc<Statistics>,
    heart: Heart,
    /// A meta server has answered for routes since the start.
    routed: AtomicBool,
    leaving: AtomicBool,
}

impl Shown {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            resp: Arc::default(),
            heart: Heart::new(),
            routed: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
        }
    }

    /// What the RESP port counts.
    pub(crate) fn resp(&self) -> Arc<Statistics> {
        self.resp.clone()
    }

    pub(crate) fn heart(&self) -> Heart {
        self.heart.clone()
    }

    /// The gateway ends.
    pub(crate) fn leaves(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Opens the default table, and keeps it open, so that its routes are there before the first client and the gateway is known to reach
    /// the cluster. A table that is not there, or has a password, is an answer too.
    pub(crate) async fn learn_routes(self: Arc<Self>, table: String) {
        let _kept: Option<Table> = loop {
            match self.client.table(&table).await {
                Ok(table) => break Some(table),
                Err(Error::NoSuchTable(_) | Error::Unauthorized(_)) => break None,
                Err(error) => tracing::debug!(%error, "no routes yet"),
            }
            tokio::time::sleep(AGAIN).await;
        };
        self.routed.store(true, Ordering::Relaxed);
        std::future::pending::<()>().await;
    }
}

impl Subject for Shown {
    fn role(&self) -> Role {
        Role::Gateway
    }

    fn health(&self) -> Result<(), String> {
        let still = self.heart.still_for();
        if still < STALL {
            Ok(())
        } else {
            Err(format!("the gateway stands still since {still:?}"))
        }
    }

    async fn ready(&self) -> Result<(), String> {
        if self.leaving.load(Ordering::Relaxed) {
            return Err("the gateway ends".into());
        }
        if self.routed.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err("no meta server has given routes since the start".into())
        }
    }

    async fn describe(&self, into: &mut Exposition) {
        describe_resp(&self.resp, into);
        describe_routes(&self.client.statistics(), into);
    }
}
