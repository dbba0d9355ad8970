//! One term of leadership: the task that owns the cluster's brain, feeds it events and does what it says. What is between terms is
//! [`terms`]' affair.

pub(crate) mod terms;

use crate::convert;
use crate::store::{Term, WriteError};
use crate::streams::{Feed, Sent, SessionId, Sessions, Watchers};
use placement::{Action, Answered, BatchId, Cluster, Event, NodeAddress, Request, Token, Write};
use proto::meta;
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use terms::Leading;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tonic::Status;
use types::{Incarnation, Instant, NodeId, TableId, Timestamp};

/// Requests that wait for the leader; senders wait when it is full.
pub(crate) const COMMANDS: usize = 1024;

type Reply<T> = oneshot::Sender<Result<T, Status>>;

/// What services ask of the leader. A reply dropped unanswered means: ask again later.
#[derive(Debug)]
pub(crate) enum Command {
    /// A node opened its stream.
    Join {
        address: NodeAddress,
        incarnation: Incarnation,
        feed: Feed<meta::ToNode>,
        ends: oneshot::Sender<()>,
        reply: Reply<SessionId>,
    },
    /// A node said something.
    FromNode { session: SessionId, event: Event },
    /// A node's stream ended.
    Left { session: SessionId, node: NodeId },
    /// An operator asks for a change.
    Change {
        request: Request,
        reply: Reply<Answered>,
    },
    /// Somebody wants to look.
    Look(Look),
    /// Somebody asks for routes.
    Routes {
        name: String,
        reply: Reply<meta::TableRoutes>,
    },
    /// Somebody wants to follow routes.
    Watch {
        name: String,
        feed: Feed<meta::RoutesUpdate>,
        reply: Reply<()>,
    },
    /// An operator lists tables.
    Tables { reply: Reply<Vec<meta::Table>> },
    /// An operator lists nodes.
    Nodes { reply: Reply<Vec<meta::Node>> },
    /// Somebody wants to know whether there is a leader.
    Leads { reply: Reply<()> },
}

/// A look at the cluster as it is now, by which nothing changes.
pub(crate) struct Look(Box<Looking>);

/// What is done with the cluster as it is at that moment.
type Looking = dyn FnOnce(&Cluster, Instant) + Send;

impl std::fmt::Debug for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Look")
    }
}

impl Command {
    /// Looks at the cluster, and replies with what was seen.
    pub(crate) fn look<T: Send + 'static>(
        reply: Reply<T>,
        look: impl FnOnce(&Cluster, Instant) -> T + Send + 'static,
    ) -> Self {
        Self::Look(Look(Box::new(move |cluster, now| {
            // Whoever asked may have gone.
            drop(reply.send(Ok(look(cluster, now))));
        })))
    }
}

/// The clock that the cluster's brain counts by.
pub(crate) fn now() -> Instant {
    let time = clock_gettime(ClockId::Boottime);
    Instant(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// The system clock.
pub(crate) fn wall() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(since.as_millis() as u64)
}

/// Why a term ended.
pub(crate) enum TermEnd {
    /// This process was told to stop.
    Stopped,
    /// The store says so: another may lead.
    Over,
    /// Nobody knows what is stored now.
    Failed(WriteError),
}

/// The store's side of a term: it has one batch at a time.
enum Writer<T> {
    Idle(T),
    Busy(BatchId, JoinHandle<(T, Result<(), WriteError>)>),
    Between,
}

pub(crate) struct Leader<T> {
    cluster: Cluster,
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
    writer: Writer<T>,
    sessions: Sessions,
    watchers: Watchers,
    askers: BTreeMap<Token, Reply<Answered>>,
    last_token: u64,
    actions: Vec<Action>,
}

impl<T: Term> Leader<T> {
    pub(crate) fn new(leading: Leading<T>) -> Self {
        Self {
            cluster: leading.cluster,
            ended: leading.ended,
            writer: Writer::Idle(leading.term),
            sessions: Sessions::default(),
            watchers: Watchers::default(),
            askers: BTreeMap::new(),
            last_token: 0,
            actions: Vec::new(),
        }
    }

    pub(crate) async fn run(
        mut self,
        commands: &mut mpsc::Receiver<Command>,
        stop: &mut oneshot::Receiver<()>,
    ) -> TermEnd {
        self.step(Event::Tick { wall: wall() });
        loop {
            let wait = self
                .cluster
                .deadline()
                .map(|deadline| deadline.since(now()));
            tokio::select! {
                _ = &mut *stop => break,
                () = &mut self.ended => return TermEnd::Over,
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => break,
                },
                written = written(&mut self.writer) => match written {
                    Ok(batch) => self.step(Event::Stored { batch }),
                    Err(error) => return TermEnd::Failed(error),
                },
                () = sleep(wait) => {
                    self.watchers.prune();
                    self.askers.retain(|_, reply| !reply.is_closed());
                    self.step(Event::Tick { wall: wall() });
                }
            }
        }
        self.sessions.clear();
        self.watchers.clear();
        // What was decided is either durable or was never announced; a write under way is waited for, so that the next process finds it whole.
        match self.writer {
            Writer::Idle(term) => terms::resign(term).await,
            Writer::Busy(_, writing) => {
                if let Ok((term, Ok(()))) = writing.await {
                    terms::resign(term).await;
                }
            }
            Writer::Between => {}
        }
        TermEnd::Stopped
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Join {
                address,
                incarnation,
                feed,
                ends,
                reply,
            } => {
                let joined = self.join(address, incarnation, feed, ends);
                // A node that went away meanwhile ends its session by that.
                drop(reply.send(joined));
            }
            Command::FromNode { session, event } => {
                if event
                    .node()
                    .is_some_and(|node| self.sessions.is_current(node, session))
                {
                    self.step(event);
                }
            }
            Command::Left { session, node } => {
                if self.sessions.is_current(node, session) {
                    self.sessions.close(node, None);
                    self.step(Event::NodeLost { node });
                }
            }
            Command::Change { request, reply } => {
                self.last_token += 1;
                let token = Token(self.last_token);
                self.askers.insert(token, reply);
                self.step(Event::Asked { token, request });
            }
            Command::Look(Look(look)) => look(&self.cluster, now()),
            Command::Routes { name, reply } => drop(reply.send(self.routes(&name))),
            Command::Watch { name, feed, reply } => drop(reply.send(self.watch(&name, feed))),
            Command::Tables { reply } => {
                drop(reply.send(Ok(self.cluster.tables().map(convert::table).collect())));
            }
            Command::Nodes { reply } => {
                drop(reply.send(Ok(self.cluster.nodes().iter().map(convert::node).collect())));
            }
            Command::Leads { reply } => drop(reply.send(Ok(()))),
        }
    }

    fn join(
        &mut self,
        address: NodeAddress,
        incarnation: Incarnation,
        feed: Feed<meta::ToNode>,
        ends: oneshot::Sender<()>,
    ) -> Result<SessionId, Status> {
        let node = address.node;
        self.cluster
            .admits(node, incarnation)
            .map_err(|finding| convert::disconnection(&finding))?;
        tracing::info!(%node, name = address.name, grpc = address.grpc, "node joined");
        let session = self.sessions.open(node, feed, ends);
        self.step(Event::NodeJoined {
            address,
            incarnation,
        });
        Ok(session)
    }

    fn table(&self, name: &str) -> Result<TableId, Status> {
        self.cluster
            .table(name)
            .map(|table| table.id)
            .ok_or_else(|| Status::not_found(format!("there is no table '{name}'")))
    }

    fn routes(&self, name: &str) -> Result<meta::TableRoutes, Status> {
        let table = self.table(name)?;
        let routes = self
            .cluster
            .routes(table)
            .ok_or_else(|| Status::not_found("the table is gone"))?;
        Ok(convert::routes(&routes, self.cluster.addresses()))
    }

    fn watch(&mut self, name: &str, feed: Feed<meta::RoutesUpdate>) -> Result<(), Status> {
        let id = self.table(name)?;
        let routes = self.routes(name)?;
        let complete = meta::RoutesUpdate {
            complete: true,
            table: routes.table,
            partitions: routes.partitions,
            nodes: routes.nodes,
        };
        // The queue is new; that it is closed already shows at the next update.
        drop(feed.try_send(Ok(complete)));
        self.watchers.add(id, feed)
    }

    /// Lets the brain take in an event, and does what it says; streams that break by that are further events.
    fn step(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let mut actions = std::mem::take(&mut self.actions);
            self.cluster.step(now(), event, &mut actions);
            for action in actions.drain(..) {
                if let Some(lost) = self.carry_out(action) {
                    events.push(Event::NodeLost { node: lost });
                }
            }
            self.actions = actions;
        }
    }

    /// Does one thing; returns the node whose stream broke by it.
    fn carry_out(&mut self, action: Action) -> Option<NodeId> {
        match action {
            Action::Store { batch, writes } => self.write(batch, writes),
            Action::ToNode { node, message } => {
                if self.sessions.send(node, convert::to_node(message)) == Sent::Lost {
                    tracing::warn!(%node, "a node does not take its messages; its stream is closed");
                    return Some(node);
                }
            }
            Action::Disconnect { node, reason } => self
                .sessions
                .close(node, Some(convert::disconnection(&reason))),
            Action::Answer { token, answer } => {
                if let Some(reply) = self.askers.remove(&token) {
                    let answer = answer.map_err(|refusal| convert::refusal(&refusal));
                    // Whoever asked may have gone; what was asked for is done all the same.
                    drop(reply.send(answer));
                }
            }
            Action::RoutesChanged { table, partitions } => {
                let routes = partitions
                    .iter()
                    .map(|(index, configuration)| convert::route(*index, Some(configuration)))
                    .collect();
                self.watchers.routes_changed(table, routes);
            }
            Action::RoutesEnded { table } => self.watchers.end(table),
            Action::NodeMoved(address) => self.watchers.node_moved(&convert::address(&address)),
            Action::Report(finding) => tracing::warn!("{finding}"),
        }
        None
    }

    fn write(&mut self, batch: BatchId, writes: Vec<Write>) {
        match std::mem::replace(&mut self.writer, Writer::Between) {
            Writer::Idle(mut term) => {
                let writing = async move {
                    let outcome = term.write(writes).await;
                    (term, outcome)
                };
                self.writer = Writer::Busy(batch, tokio::spawn(writing));
            }
            // The brain has one batch outstanding at a time.
            busy => self.writer = busy,
        }
    }
}

/// Waits for the batch under way; for ever if there is none.
async fn written<T: Term>(writer: &mut Writer<T>) -> Result<BatchId, WriteError> {
    let Writer::Busy(batch, writing) = writer else {
        return std::future::pending().await;
    };
    let batch = *batch;
    match writing.await {
        Ok((term, Ok(()))) => {
            *writer = Writer::Idle(term);
            Ok(batch)
        }
        Ok((_, Err(error))) => Err(error),
        Err(died) => Err(WriteError::Failed(std::io::Error::other(died))),
    }
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
