//! The gRPC services for clients and nodes: each checks who asks and that the question is whole, and passes it to the leader. The one
//! for operators is in `administration`.

use crate::leader::Command;
use crate::streams::{NODE_QUEUE, SessionId, WATCH_QUEUE};
use crate::web::History;
use crate::{MetaConfig, convert};
use placement::Cluster;
use proto::meta::{self, from_node, nodes_server, routes_server};
use proto::secret::same;
use proto::{BadMessage, NotLeading, PROTOCOL};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use types::{Incarnation, Instant, NodeId};

/// How long a node may take for its first message.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// All three services; they share a way to the leader.
#[derive(Clone, Debug)]
pub(crate) struct Services {
    config: Arc<MetaConfig>,
    commands: mpsc::Sender<Command>,
    /// Where whoever leads is reached, as far as this server knows.
    leader: watch::Receiver<Option<String>>,
    loads: Loads,
}

/// Where what nodes did is written down for people, and since when time counts there.
#[derive(Clone, Debug)]
pub(crate) struct Loads {
    pub(crate) beginning: std::time::Instant,
    pub(crate) history: Arc<Mutex<History>>,
}

impl Loads {
    /// Takes what a beat says of the node's load out of it.
    fn take(&self, node: NodeId, message: &mut meta::FromNode) {
        let Some(from_node::Message::Beat(beat)) = &mut message.message else {
            return;
        };
        if let Some(load) = beat.load.take() {
            let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
            history.record(self.beginning.elapsed(), node, load);
        }
    }
}

impl Services {
    pub(crate) fn new(
        config: Arc<MetaConfig>,
        commands: mpsc::Sender<Command>,
        leader: watch::Receiver<Option<String>>,
        loads: Loads,
    ) -> Self {
        Self {
            config,
            commands,
            leader,
            loads,
        }
    }

    /// Asks the leader and waits for its reply.
    pub(crate) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, Status>>) -> Command,
    ) -> Result<T, Status> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(command(reply))
            .await
            .map_err(|_| self.unavailable())?;
        answer.await.unwrap_or_else(|_| Err(self.unavailable()))
    }

    /// This server does not lead; whom to ask instead, if that is known.
    fn unavailable(&self) -> Status {
        let leader = self.leader.borrow().clone();
        NotLeading { leader }.into()
    }

    /// Looks at the cluster as the leader knows it.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Cluster, Instant) -> T + Send + 'static,
    ) -> Result<T, Status> {
        self.ask(|reply| Command::look(reply, look)).await
    }
}

/// Whether a server that joins is one of the cluster.
fn check_cluster_secret(secret: &str, shown: &str) -> Result<(), Status> {
    if secret.is_empty() || same(shown.as_bytes(), secret.as_bytes()) {
        return Ok(());
    }
    let text = "the cluster secret is missing or wrong";
    Err(Status::unauthenticated(text))
}

fn check_protocol(spoken: u32) -> Result<(), Status> {
    if spoken == PROTOCOL {
        return Ok(());
    }
    Err(Status::failed_precondition(format!(
        "this meta server speaks protocol {PROTOCOL}, not {spoken}"
    )))
}

#[tonic::async_trait]
impl routes_server::Routes for Services {
    async fn query(
        &self,
        request: Request<meta::QueryRequest>,
    ) -> Result<Response<meta::TableRoutes>, Status> {
        let meta::QueryRequest { protocol, table } = request.into_inner();
        check_protocol(protocol)?;
        let routes = self
            .ask(|reply| Command::Routes { name: table, reply })
            .await?;
        Ok(Response::new(routes))
    }

    type WatchStream = ReceiverStream<Result<meta::RoutesUpdate, Status>>;

    async fn watch(
        &self,
        request: Request<meta::QueryRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let meta::QueryRequest { protocol, table } = request.into_inner();
        check_protocol(protocol)?;
        let (feed, updates) = mpsc::channel(WATCH_QUEUE);
        let watch = |reply| Command::Watch {
            name: table,
            feed,
            reply,
        };
        self.ask(watch).await?;
        Ok(Response::new(ReceiverStream::new(updates)))
    }
}

#[tonic::async_trait]
impl nodes_server::Nodes for Services {
    type JoinStream = ReceiverStream<Result<meta::ToNode, Status>>;

    async fn join(
        &self,
        request: Request<Streaming<meta::FromNode>>,
    ) -> Result<Response<Self::JoinStream>, Status> {
        let mut from_node = request.into_inner();
        let first = tokio::time::timeout(HELLO_TIMEOUT, from_node.message())
            .await
            .map_err(|_| {
                Status::deadline_exceeded("a node's first message is its hello; none came")
            })??;
        let Some(from_node::Message::Hello(hello)) = first.and_then(|first| first.message) else {
            return Err(BadMessage("hello, which comes first").into());
        };
        check_protocol(hello.protocol)?;
        check_cluster_secret(&self.config.cluster_secret, &hello.cluster_secret)?;
        let address = convert::node_address(hello.address)?;
        let node = address.node;
        let (feed, to_node) = mpsc::channel(NODE_QUEUE);
        let (ends, ended) = oneshot::channel();
        let complaints = feed.clone();
        let join = |reply| Command::Join {
            address,
            incarnation: Incarnation(hello.incarnation),
            feed,
            ends,
            reply,
        };
        let session = self.ask(join).await?;
        let (commands, loads) = (self.commands.clone(), self.loads.clone());
        tokio::spawn(async move {
            if let Err(status) = listen(node, session, from_node, &commands, &loads, ended).await {
                // A node that takes nothing any more need not be told.
                drop(complaints.try_send(Err(status)));
            }
            // Fails only when the leader is gone, and all sessions with it.
            drop(commands.send(Command::Left { session, node }).await);
        });
        Ok(Response::new(ReceiverStream::new(to_node)))
    }
}

/// Passes on what a node says, until it or the leader ends the session.
async fn listen(
    node: NodeId,
    session: SessionId,
    mut from_node: Streaming<meta::FromNode>,
    commands: &mpsc::Sender<Command>,
    loads: &Loads,
    mut ended: oneshot::Receiver<()>,
) -> Result<(), Status> {
    loop {
        let message = tokio::select! {
            message = from_node.message() => message?,
            _ = &mut ended => return Ok(()),
        };
        let Some(mut message) = message else {
            return Ok(());
        };
        loads.take(node, &mut message);
        let event = convert::event(node, message)?;
        if commands
            .send(Command::FromNode { session, event })
            .await
            .is_err()
        {
            return Ok(());
        }
    }
}
