//! A meta server that knows what the test's state says.

use super::{Boxed, State};
use proto::meta::routes_server::Routes;
use proto::meta::{QueryRequest, RoutesUpdate, TableRoutes};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tonic::{Request as Call, Response as Answer, Status};

pub struct FakeMeta {
    pub state: Arc<Mutex<State>>,
    pub changed: watch::Receiver<u64>,
}

#[tonic::async_trait]
impl Routes for FakeMeta {
    type WatchStream = Boxed<RoutesUpdate>;

    async fn query(&self, call: Call<QueryRequest>) -> Result<Answer<TableRoutes>, Status> {
        let mut state = self.state.lock().unwrap();
        state.queries += 1;
        state.describe(&call.get_ref().table).map(Answer::new)
    }

    async fn watch(&self, call: Call<QueryRequest>) -> Result<Answer<Self::WatchStream>, Status> {
        let name = call.into_inner().table;
        let state = Arc::clone(&self.state);
        state.lock().unwrap().describe(&name)?;
        let mut changed = self.changed.clone();
        changed.mark_changed();
        state.lock().unwrap().watching += 1;
        let guard = Watching(Arc::clone(&state));
        let updates = futures::stream::unfold(
            (changed, state, name, guard),
            |(mut changed, state, name, guard)| async move {
                changed.changed().await.ok()?;
                let routes = state.lock().unwrap().describe(&name).ok()?;
                let TableRoutes {
                    table,
                    partitions,
                    nodes,
                } = routes;
                let update = RoutesUpdate {
                    complete: true,
                    table,
                    partitions,
                    nodes,
                };
                Some((Ok(update), (changed, state, name, guard)))
            },
        );
        Ok(Answer::new(Box::pin(updates)))
    }
}

/// Counts who follows routes.
struct Watching(Arc<Mutex<State>>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.lock().unwrap().watching -= 1;
    }
}
