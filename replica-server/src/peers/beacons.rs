//! Leases between nodes: beacons out, grants back, on a thread, a port and connections of their own, so that a node that is busy with
//! data keeps its leases.
//!
//! What a grant means is `replication::lease`'s. Rule R6 is here: a node whose worker or log writer stands still vouches for nothing.

use crate::clock::{self, WallClock};
use crate::inbox::Input;
use crate::peers::arrival::Answers;
use crate::peers::clocks::Clocks;
use crate::peers::codec::{decode_beacon, decode_reply, encode_beacon, encode_reply};
use crate::peers::{Introduction, channel};
use crate::services::data::Unfailing;
use crate::services::digest;
use crate::worker::SharedLeases;
use hashbrown::HashMap;
use proto::peer::peers_client::PeersClient;
use proto::peer::peers_server::{Peers, PeersServer};
use proto::peer::{Beacon, BeaconReply, CheckpointPart, DigestRequest, Greeting, PeerBatch};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use types::{Instant, NodeId, Timestamp};

/// What the worker tells the beacon thread.
enum Order {
    /// A peer's beacons are taken there.
    Peer(NodeId, String),
    /// An exception was made: tell its holder at once (R2).
    Notice(NodeId),
}

/// The worker's end.
#[derive(Clone)]
pub(crate) struct Beacons(mpsc::UnboundedSender<Order>);

impl Beacons {
    pub(crate) fn peer(&self, node: NodeId, address: String) {
        let _ = self.0.send(Order::Peer(node, address));
    }

    pub(crate) fn notice(&self, holder: NodeId) {
        let _ = self.0.send(Order::Notice(holder));
    }
}

/// What shows that the node moves.
#[derive(Clone)]
pub(crate) struct Pulse {
    /// When the worker last said that it lives.
    pub(crate) worker: Arc<AtomicU64>,
    /// Since when a log's disk operation has been under way, if one is.
    pub(crate) log_busy_since: Arc<dyn Fn() -> Option<std::time::Instant> + Send + Sync>,
    pub(crate) stall_timeout: Duration,
}

impl Pulse {
    /// R6: whether this node may vouch for itself.
    fn beats(&self) -> bool {
        self.check().is_ok()
    }

    /// The same, in words.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.worker_still_for() >= self.stall_timeout {
            return Err(format!(
                "the worker stands still since {:?}",
                self.worker_still_for()
            ));
        }
        match self.disk_busy_for() {
            Some(busy) if busy >= self.stall_timeout => {
                Err(format!("the log waits for the disk since {busy:?}"))
            }
            _ => Ok(()),
        }
    }

    /// How long ago the worker last said that it lives.
    pub(crate) fn worker_still_for(&self) -> Duration {
        let worker = Instant(self.worker.load(Ordering::Relaxed));
        clock::now().since(worker)
    }

    /// How long a log's disk operation has been under way, if one is.
    pub(crate) fn disk_busy_for(&self) -> Option<Duration> {
        (self.log_busy_since)().map(|since| since.elapsed())
    }
}

/// What the thread shares with the rest of the node.
pub(crate) struct Parts {
    pub(crate) introduction: Introduction,
    pub(crate) leases: SharedLeases,
    pub(crate) inbox: mpsc::UnboundedSender<Input>,
    pub(crate) pulse: Pulse,
    pub(crate) wall: Arc<WallClock>,
    pub(crate) clocks: Arc<Clocks>,
    pub(crate) interval: Duration,
}

struct Shared {
    parts: Parts,
    /// Where notices to a holder go: its beacon stream to this node.
    holders: Mutex<HashMap<NodeId, mpsc::Sender<BeaconReply>>>,
}

/// Starts the thread on `listener`. It ends with the process.
pub(crate) fn start(listener: std::net::TcpListener, parts: Parts) -> std::io::Result<Beacons> {
    let (orders, inlet) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared {
        parts,
        holders: Mutex::default(),
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("beacons".into())
        .spawn(move || {
            runtime.block_on(async move {
                match TcpListener::from_std(listener) {
                    Ok(listener) => drop(tokio::spawn(serve(shared.clone(), listener))),
                    Err(error) => tracing::error!(%error, "beacons cannot be taken"),
                }
                tokio::spawn(watch(shared.clone()));
                obey(shared, inlet).await;
            });
        })?;
    Ok(Beacons(orders))
}

async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let served = tonic::transport::Server::builder()
        .add_service(PeersServer::new(Service(shared)))
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "beacons are no longer taken");
    }
}

/// Notices peers that fell silent.
async fn watch(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(shared.parts.interval / 2);
    loop {
        ticks.tick().await;
        let lapsed = shared.parts.leases.lock().lapsed(clock::now());
        for node in lapsed {
            let _ = shared.parts.inbox.send(Input::PeerLost(node));
        }
    }
}

async fn obey(shared: Arc<Shared>, mut inlet: mpsc::UnboundedReceiver<Order>) {
    let mut peers: HashMap<NodeId, (String, tokio::task::JoinHandle<()>)> = HashMap::new();
    while let Some(order) = inlet.recv().await {
        match order {
            Order::Peer(node, address) => {
                let same = peers.get(&node).is_some_and(|(known, _)| *known == address);
                if same {
                    continue;
                }
                let task = tokio::spawn(send_beacons(shared.clone(), node, address.clone()));
                if let Some((_, old)) = peers.insert(node, (address, task)) {
                    old.abort();
                }
            }
            Order::Notice(holder) => {
                let notice = shared.parts.leases.lock().notice(holder);
                let holders = shared
                    .holders
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                if let (Some(notice), Some(to)) = (notice, holders.get(&holder)) {
                    // Full: the next beacon's answer carries it.
                    let _ = to.try_send(encode_reply(&notice));
                }
            }
        }
    }
}

/// As holder: asks one peer for its lease, for ever.
async fn send_beacons(shared: Arc<Shared>, peer: NodeId, address: String) {
    loop {
        if let Ok(endpoint) = channel(&address)
            && let Ok(channel) = endpoint.connect().await
        {
            exchange(&shared, peer, PeersClient::new(channel)).await;
        }
        tokio::time::sleep(shared.parts.interval).await;
    }
}

async fn exchange(
    shared: &Shared,
    peer: NodeId,
    mut client: PeersClient<tonic::transport::Channel>,
) {
    let (outlet, receiver) = mpsc::channel(4);
    let beacon = |greeting: Option<Greeting>| {
        let beacon = shared.parts.leases.lock().make_beacon(peer, clock::now());
        encode_beacon(greeting, &beacon)
    };
    let _ = outlet.try_send(beacon(Some(shared.parts.introduction.greeting(peer))));
    let Ok(response) = client.beacons(ReceiverStream::new(receiver)).await else {
        return;
    };
    let mut replies = response.into_inner();
    let mut ticks = tokio::time::interval(shared.parts.interval);
    let at_once = Notify::new();
    loop {
        tokio::select! {
            reply = replies.message() => {
                let Ok(Some(reply)) = reply else { return };
                let now = clock::now();
                if let (Some(said), Some(asked)) = (reply.wall, reply.granted) {
                    let wall = shared.parts.wall.at(now);
                    shared.parts.clocks.heard(peer, Timestamp(said), Instant(asked), now, wall);
                }
                let outcome = shared.parts.leases.lock().on_reply(peer, now, &decode_reply(&reply));
                if let Some(life) = outcome.restarted {
                    let _ = shared.parts.inbox.send(Input::PeerRestarted(peer, life));
                }
                if outcome.answer_now {
                    at_once.notify_one();
                }
            }
            _ = ticks.tick() => {
                if outlet.try_send(beacon(None)).is_err() && outlet.is_closed() {
                    return;
                }
            }
            () = at_once.notified() => {
                if outlet.try_send(beacon(None)).is_err() {
                    // Acknowledgements in a beacon that was not sent come again with the peer's next reply.
                    tracing::debug!(%peer, "a beacon was not sent: the connection is slow");
                }
            }
        }
    }
}

/// The grantor's side.
struct Service(Arc<Shared>);

#[tonic::async_trait]
impl Peers for Service {
    type ReplicateStream = Unfailing<ReceiverStream<Greeting>>;
    type BeaconsStream = Unfailing<ReceiverStream<BeaconReply>>;
    type CheckpointStream = Answers;
    type DigestStream = digest::Answers;

    async fn replicate(
        &self,
        _request: Request<Streaming<PeerBatch>>,
    ) -> Result<Response<Self::ReplicateStream>, Status> {
        Err(Status::unimplemented("this port takes beacons only"))
    }

    async fn beacons(
        &self,
        request: Request<Streaming<Beacon>>,
    ) -> Result<Response<Self::BeaconsStream>, Status> {
        let mut beacons = request.into_inner();
        let mut first = beacons
            .message()
            .await?
            .ok_or_else(|| Status::invalid_argument("an empty stream"))?;
        let theirs = self.0.parts.introduction.admit(first.greeting.take())?;
        let peer = NodeId(theirs.node);
        let (replies, receiver) = mpsc::channel(16);
        let shared = self.0.clone();
        shared
            .holders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(peer, replies.clone());
        tokio::spawn(async move {
            let mut next = Some(first);
            while let Some(beacon) = next {
                if let Some(reply) = shared.grant(peer, &beacon)
                    && replies.send(reply).await.is_err()
                {
                    return;
                }
                next = beacons.message().await.unwrap_or(None);
            }
        });
        Ok(Response::new(Unfailing(ReceiverStream::new(receiver))))
    }

    async fn checkpoint(
        &self,
        _request: Request<Streaming<CheckpointPart>>,
    ) -> Result<Response<Self::CheckpointStream>, Status> {
        Err(Status::unimplemented("this port takes beacons only"))
    }

    async fn digest(
        &self,
        _request: Request<DigestRequest>,
    ) -> Result<Response<Self::DigestStream>, Status> {
        Err(Status::unimplemented("this port takes beacons only"))
    }
}

impl Shared {
    fn grant(&self, peer: NodeId, wire: &Beacon) -> Option<BeaconReply> {
        if !self.parts.pulse.beats() {
            tracing::warn!(%peer, "a beacon stays unanswered: this node's worker or disk stands still");
            return None;
        }
        let beacon = decode_beacon(wire);
        let answer = self
            .parts
            .leases
            .lock()
            .on_beacon(peer, clock::now(), &beacon);
        if let Some(life) = answer.restarted {
            let _ = self.parts.inbox.send(Input::PeerRestarted(peer, life));
        }
        if !answer.settled.is_empty() {
            let _ = self
                .parts
                .inbox
                .send(Input::ExceptionsAcknowledged(answer.settled));
        }
        let wall = self.parts.wall.at(clock::now()).0;
        Some(BeaconReply {
            wall: Some(wall),
            ..encode_reply(&answer.reply)
        })
    }
}
