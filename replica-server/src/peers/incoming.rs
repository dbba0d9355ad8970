//! What other nodes say to this one: their streams of replication messages.

use crate::inbox::Input;
use crate::peers::arrival::{self, Answers, Arrivals};
use crate::peers::{Introduction, codec};
use crate::services::data::Unfailing;
use crate::services::digest;
use crate::worker::Worker;
use proto::peer::peers_server::Peers;
use proto::peer::{Beacon, BeaconReply, CheckpointPart, DigestRequest, Greeting, PeerBatch};
use std::rc::Rc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use types::NodeId;

/// A stream on its way to the worker; its answer ends when the sender is dropped.
pub(crate) type Arrived = (
    NodeId,
    Streaming<PeerBatch>,
    mpsc::Sender<Greeting>,
    PeerBatch,
);

/// The gRPC side, beside the worker's data service.
pub(crate) struct PeersService {
    pub(crate) introduction: Introduction,
    pub(crate) arrived: mpsc::UnboundedSender<Arrived>,
    pub(crate) inbox: mpsc::UnboundedSender<Input>,
    /// Where incoming checkpoints are gathered.
    pub(crate) arrivals: Arrivals,
}

#[tonic::async_trait]
impl Peers for PeersService {
    type ReplicateStream = Unfailing<ReceiverStream<Greeting>>;
    type BeaconsStream = Unfailing<ReceiverStream<BeaconReply>>;
    type CheckpointStream = Answers;
    type DigestStream = digest::Answers;

    async fn replicate(
        &self,
        request: Request<Streaming<PeerBatch>>,
    ) -> Result<Response<Self::ReplicateStream>, Status> {
        let mut stream = request.into_inner();
        let mut first = stream
            .message()
            .await?
            .ok_or_else(|| Status::invalid_argument("an empty stream"))?;
        let theirs = self.introduction.admit(first.greeting.take())?;
        let (answers, receiver) = mpsc::channel(1);
        // Room for one is there.
        let _ = answers.try_send(self.introduction.greeting(NodeId(theirs.node)));
        self.arrived
            .send((NodeId(theirs.node), stream, answers, first))
            .map_err(|_| Status::unavailable("the server is stopping"))?;
        Ok(Response::new(Unfailing(ReceiverStream::new(receiver))))
    }

    async fn beacons(
        &self,
        _request: Request<Streaming<Beacon>>,
    ) -> Result<Response<Self::BeaconsStream>, Status> {
        Err(Status::unimplemented(
            "beacons are taken on the port that the greeting names",
        ))
    }

    async fn checkpoint(
        &self,
        request: Request<Streaming<CheckpointPart>>,
    ) -> Result<Response<Self::CheckpointStream>, Status> {
        arrival::receive(self, request.into_inner()).await
    }

    async fn digest(
        &self,
        request: Request<DigestRequest>,
    ) -> Result<Response<Self::DigestStream>, Status> {
        let mut request = request.into_inner();
        self.introduction.admit(request.greeting.take())?;
        digest::promise(request, &self.inbox)
            .await
            .map(Response::new)
    }
}

/// Serves one stream on the worker, until it ends.
pub(crate) async fn serve(worker: Rc<Worker>, (from, mut stream, answers, first): Arrived) {
    worker.peers.meet(from);
    let mut next = Some(first);
    while let Some(batch) = next {
        for wire in batch.messages {
            match codec::decode(wire) {
                Ok((partition, message)) => worker.receive(from, partition, message),
                Err(error) => {
                    tracing::warn!(%from, %error, "the peer's stream is ended: it makes no sense");
                    return;
                }
            }
        }
        next = stream.message().await.unwrap_or(None);
    }
    drop(answers);
    // The peer's process, or the way to it, is gone. A hint, given at once.
    let _ = worker.inbox.send(Input::PeerLost(from));
}
