//! The streams that the leader feeds: one per node, and those who watch routes. Every queue is bounded; whoever does not keep up is let go.

use proto::{common, meta};
use std::collections::BTreeMap;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;
use types::{NodeId, TableId};

/// Messages that wait for one node. A join of a node with 100,000 replicas needs some 700.
pub(crate) const NODE_QUEUE: usize = 2048;

/// Updates that wait for one watcher.
pub(crate) const WATCH_QUEUE: usize = 256;

/// Watchers at a time.
const MOST_WATCHERS: usize = 10_000;

/// Feeds one response stream.
pub(crate) type Feed<T> = mpsc::Sender<Result<T, Status>>;

/// One stream of a node, told apart from its earlier and later ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct SessionId(u64);

/// The streams of nodes.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_node: BTreeMap<NodeId, Session>,
    last: u64,
}

#[derive(Debug)]
struct Session {
    id: SessionId,
    feed: Feed<meta::ToNode>,
    /// Dropped with the session: whoever reads the node's side stops then.
    _ends: oneshot::Sender<()>,
}

impl Sessions {
    /// Takes a new stream of a node in, in place of an earlier one.
    pub(crate) fn open(
        &mut self,
        node: NodeId,
        feed: Feed<meta::ToNode>,
        ends: oneshot::Sender<()>,
    ) -> SessionId {
        self.last += 1;
        let id = SessionId(self.last);
        let session = Session {
            id,
            feed,
            _ends: ends,
        };
        self.by_node.insert(node, session);
        id
    }

    /// Whether this stream is the node's stream.
    pub(crate) fn is_current(&self, node: NodeId, id: SessionId) -> bool {
        self.by_node
            .get(&node)
            .is_some_and(|session| session.id == id)
    }

    /// Sends without waiting; if that can not be done the stream is closed and the node is to be considered lost.
    #[must_use]
    pub(crate) fn send(&mut self, node: NodeId, message: meta::ToNode) -> Sent {
        match self
            .by_node
            .get(&node)
            .map(|session| session.feed.try_send(Ok(message)))
        {
            Some(Err(_)) => {
                self.by_node.remove(&node);
                Sent::Lost
            }
            Some(Ok(())) | None => Sent::Ok,
        }
    }

    /// Closes a node's stream, telling it why if there is room.
    pub(crate) fn close(&mut self, node: NodeId, why: Option<Status>) {
        if let (Some(session), Some(why)) = (self.by_node.remove(&node), why) {
            // A full queue says that it does not listen.
            drop(session.feed.try_send(Err(why)));
        }
    }

    /// Closes all streams.
    pub(crate) fn clear(&mut self) {
        self.by_node.clear();
    }
}

/// Whether a stream still stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sent {
    Ok,
    Lost,
}

/// Those who watch routes, by table.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    by_table: BTreeMap<TableId, Vec<Feed<meta::RoutesUpdate>>>,
}

impl Watchers {
    /// Adds one.
    pub(crate) fn add(
        &mut self,
        table: TableId,
        feed: Feed<meta::RoutesUpdate>,
    ) -> Result<(), Status> {
        self.prune();
        if self.by_table.values().map(Vec::len).sum::<usize>() >= MOST_WATCHERS {
            return Err(Status::resource_exhausted(
                "too many watch routes at this meta server",
            ));
        }
        self.by_table.entry(table).or_default().push(feed);
        Ok(())
    }

    /// Tells those who watch a table.
    pub(crate) fn routes_changed(&mut self, table: TableId, partitions: Vec<meta::PartitionRoute>) {
        let update = meta::RoutesUpdate {
            partitions,
            ..meta::RoutesUpdate::default()
        };
        if let Some(feeds) = self.by_table.get_mut(&table) {
            feeds.retain(|feed| feed.try_send(Ok(update.clone())).is_ok());
        }
    }

    /// Tells everybody where a node is.
    pub(crate) fn node_moved(&mut self, address: &common::NodeAddress) {
        for feeds in self.by_table.values_mut() {
            feeds.retain(|feed| {
                let update = meta::RoutesUpdate {
                    nodes: vec![address.clone()],
                    ..meta::RoutesUpdate::default()
                };
                feed.try_send(Ok(update)).is_ok()
            });
        }
    }

    /// The table is out of service.
    pub(crate) fn end(&mut self, table: TableId) {
        self.by_table.remove(&table);
    }

    /// Ends all.
    pub(crate) fn clear(&mut self) {
        self.by_table.clear();
    }

    /// Forgets those who went away.
    pub(crate) fn prune(&mut self) {
        self.by_table.retain(|_, feeds| {
            feeds.retain(|feed| !feed.is_closed());
            !feeds.is_empty()
        });
    }
}
