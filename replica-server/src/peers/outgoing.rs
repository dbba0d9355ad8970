//! What this node says to each of the others: one queue, one stream and one connection per peer.
//!
//! A broken connection loses what was queued: the core sends again what matters. That it broke is a hint for every replica that shares
//! a partition with the peer, given at once.

use crate::clock;
use crate::cluster::Known;
use crate::inbox::Input;
use crate::peers::{Introduction, beacons::Beacons, codec};
use crate::stream_queue::{Batch, Queue};
use crate::worker::{SharedLeases, Worker};
use hashbrown::HashMap;
use prost::Message as _;
use proto::peer::peers_client::PeersClient;
use proto::peer::{PeerBatch, PeerMessage};
use replication::Message;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tonic::transport::{Channel, Endpoint};
use types::{NodeId, PartitionId};

/// Beyond this a peer does not take what it is sent: the rest is dropped, as on a broken connection.
const MOST_BACKLOG: usize = 256 << 20;
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

impl Batch for PeerBatch {
    type Item = PeerMessage;

    fn size(item: &PeerMessage) -> usize {
        item.encoded_len() + 4
    }

    fn of(messages: Vec<PeerMessage>) -> Self {
        Self {
            greeting: None,
            messages,
        }
    }
}

/// All peers of this node.
pub(crate) struct Peers {
    introduction: Introduction,
    inbox: mpsc::UnboundedSender<Input>,
    leases: SharedLeases,
    beacons: Beacons,
    met: RefCell<HashMap<NodeId, Rc<Peer>>>,
    addresses: RefCell<HashMap<NodeId, String>>,
    /// Met, but without a task yet.
    unconnected: RefCell<Vec<Rc<Peer>>>,
    newly_met: Notify,
}

struct Peer {
    node: NodeId,
    /// Where to put messages while a stream is up.
    queue: RefCell<Option<Queue<PeerBatch>>>,
    /// The address became known, or another one.
    readdressed: Notify,
}

impl Peers {
    pub(crate) fn new(
        introduction: Introduction,
        inbox: mpsc::UnboundedSender<Input>,
        leases: SharedLeases,
        beacons: Beacons,
    ) -> Self {
        Self {
            introduction,
            inbox,
            leases,
            beacons,
            met: RefCell::default(),
            addresses: RefCell::default(),
            unconnected: RefCell::default(),
            newly_met: Notify::new(),
        }
    }

    /// Takes in where nodes are reached.
    pub(crate) fn addresses(&self, known: &Known) {
        for (&node, address) in &known.nodes {
            let before = self
                .addresses
                .borrow_mut()
                .insert(NodeId(node), address.grpc.clone());
            if before.as_deref() != Some(&address.grpc)
                && let Some(peer) = self.met.borrow().get(&NodeId(node))
            {
                peer.readdressed.notify_one();
            }
        }
    }

    /// How this node introduces itself.
    pub(crate) fn introduction(&self) -> Introduction {
        self.introduction.clone()
    }

    /// Where a node's gRPC services are.
    pub(crate) fn address(&self, node: NodeId) -> Option<String> {
        self.addresses.borrow().get(&node).cloned()
    }

    /// Sends to a partition's replica on another node, or loses it.
    pub(crate) fn send(&self, to: NodeId, partition: PartitionId, message: Message) {
        let peer = self.peer(to);
        let queue = peer.queue.borrow();
        if let Some(queue) = &*queue
            && queue.backlog() < MOST_BACKLOG
        {
            queue.push(codec::encode(partition, message));
        }
    }

    /// A node that spoke to this one, or will be spoken to.
    pub(crate) fn meet(&self, node: NodeId) {
        self.peer(node);
    }

    /// Makes sure that there is a connection to the node, or that one is being tried, and that leases are exchanged.
    fn peer(&self, node: NodeId) -> Rc<Peer> {
        if let Some(peer) = self.met.borrow().get(&node) {
            return peer.clone();
        }
        let peer = Rc::new(Peer {
            node,
            queue: RefCell::new(None),
            readdressed: Notify::new(),
        });
        self.met.borrow_mut().insert(node, peer.clone());
        self.unconnected.borrow_mut().push(peer.clone());
        self.newly_met.notify_one();
        self.leases.lock().watch(node, clock::now());
        peer
    }

    /// Gives every peer a task that keeps it connected, for ever.
    pub(crate) async fn connect_all(worker: Rc<Worker>) {
        loop {
            let fresh = std::mem::take(&mut *worker.peers.unconnected.borrow_mut());
            for peer in fresh {
                tokio::task::spawn_local(keep_connected(worker.clone(), peer));
            }
            worker.peers.newly_met.notified().await;
        }
    }
}

async fn keep_connected(worker: Rc<Worker>, peer: Rc<Peer>) {
    let mut pause = FIRST_PAUSE;
    loop {
        match worker.peers.address(peer.node) {
            None => peer.readdressed.notified().await,
            Some(address) => {
                let was_up = converse(&worker.peers, &peer, &address).await;
                let lost = peer.queue.borrow_mut().take().is_some();
                if lost || was_up {
                    pause = FIRST_PAUSE;
                    let _ = worker.peers.inbox.send(Input::PeerLost(peer.node));
                }
                let _ = tokio::time::timeout(pause, peer.readdressed.notified()).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// One stream, from its greeting to its end. Whether there was one.
async fn converse(peers: &Peers, peer: &Peer, address: &str) -> bool {
    let Ok(endpoint) = channel(address) else {
        tracing::warn!(node = %peer.node, address, "the node's address cannot be used");
        return false;
    };
    let Ok(channel) = endpoint.connect().await else {
        return false;
    };
    let (queue, messages) = Queue::<PeerBatch>::new();
    let greeting = PeerBatch {
        greeting: Some(peers.introduction.greeting(peer.node)),
        messages: Vec::new(),
    };
    let stream = futures::StreamExt::chain(futures::stream::iter([greeting]), messages);
    let mut client = client(channel);
    let mut answers = match client.replicate(stream).await {
        Ok(response) => response.into_inner(),
        Err(status) => {
            tracing::debug!(node = %peer.node, %status, "the peer refuses the stream");
            return false;
        }
    };
    while let Ok(Some(greeting)) = answers.message().await {
        if greeting.node != peer.node.0 {
            tracing::warn!(node = %peer.node, address, found = %NodeId(greeting.node), "another node answers at this address");
            return false;
        }
        peers.beacons.peer(peer.node, greeting.beacons);
        *peer.queue.borrow_mut() = Some(queue.clone());
    }
    queue.close();
    true
}

pub(crate) fn client(channel: Channel) -> PeersClient<Channel> {
    PeersClient::new(channel)
        .max_decoding_message_size(proto::MAX_MESSAGE)
        .max_encoding_message_size(proto::MAX_MESSAGE)
}

/// A connection of its own to a server, with its delays switched off.
pub(crate) fn channel(address: &str) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?
        .tcp_nodelay(true)
        .connect_timeout(Duration::from_secs(1))
        .initial_stream_window_size(16 << 20)
        .initial_connection_window_size(64 << 20)
        .http2_keep_alive_interval(Duration::from_secs(5))
        .keep_alive_timeout(Duration::from_secs(5)))
}
