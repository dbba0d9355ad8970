//! Operators' questions, behind a guard that wants the admin secret: what a replica is, and whether all copies are equal.

use crate::compare;
use crate::peers::channel;
use crate::services::digest::DigestAsked;
use crate::worker::Worker;
use engine::Haste;
use futures::future::join_all;
use proto::inspect::inspect_server::Inspect;
use proto::inspect::{
    DigestsRequest, DigestsResponse, ReplicaDigest, ReplicaRequest, ReplicaStatus,
};
use proto::peer::DigestRequest;
use proto::peer::peers_client::PeersClient;
use replication::RoleKind;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tonic::{Request, Response, Status};
use types::{Decree, NodeId, PartitionId};

/// How far ahead of the primary the decree of a digest is: members must have promised before they reach it.
const AHEAD: [u64; 3] = [2, 200, 20_000];
/// How long a member may take to promise its digest, and all of them to get to its decree.
const PROMISE: Duration = Duration::from_secs(5);
const ADVANCE: Duration = Duration::from_secs(15);
/// How long a member may take to read its whole copy, in haste and at a bounded rate.
const READING: Duration = Duration::from_mins(10);
const READING_PACED: Duration = Duration::from_hours(24);
/// How often whoever waits for it looks whether it is still a member.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Whether a copy that differs from a majority is to learn anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Repair {
    Yes,
    No,
}

/// A question for the worker.
pub(crate) enum Question {
    Status(PartitionId, oneshot::Sender<Option<ReplicaStatus>>),
    Digests(
        PartitionId,
        Repair,
        oneshot::Sender<Result<DigestsResponse, Status>>,
    ),
}

/// The gRPC side.
pub(crate) struct InspectService {
    pub(crate) questions: mpsc::UnboundedSender<Question>,
}

pub(super) fn partition(
    partition: Option<proto::common::PartitionId>,
) -> Result<PartitionId, Status> {
    Ok(partition
        .ok_or_else(|| Status::invalid_argument("which partition?"))?
        .into())
}

#[tonic::async_trait]
impl Inspect for InspectService {
    async fn replica(
        &self,
        request: Request<ReplicaRequest>,
    ) -> Result<Response<ReplicaStatus>, Status> {
        let partition = partition(request.into_inner().partition)?;
        let (answer, answered) = oneshot::channel();
        let _ = self.questions.send(Question::Status(partition, answer));
        let status = answered
            .await
            .map_err(|_| Status::unavailable("the server is stopping"))?;
        status.map(Response::new).ok_or_else(|| {
            Status::not_found(format!("no replica of partition {partition} is here"))
        })
    }

    async fn digests(
        &self,
        request: Request<DigestsRequest>,
    ) -> Result<Response<DigestsResponse>, Status> {
        let request = request.into_inner();
        let repair = if request.repair {
            Repair::Yes
        } else {
            Repair::No
        };
        let partition = partition(request.partition)?;
        let (answer, answered) = oneshot::channel();
        let _ = self
            .questions
            .send(Question::Digests(partition, repair, answer));
        let digests = answered
            .await
            .map_err(|_| Status::unavailable("the server is stopping"))?;
        digests.map(Response::new)
    }
}

/// Answers questions on the worker, for ever.
pub(crate) async fn answer(worker: Rc<Worker>, mut questions: mpsc::UnboundedReceiver<Question>) {
    while let Some(question) = questions.recv().await {
        match question {
            Question::Status(partition, answer) => drop(answer.send(status(&worker, partition))),
            Question::Digests(partition, repair, answer) => {
                let worker = worker.clone();
                tokio::task::spawn_local(async move {
                    let _ = answer.send(match repair {
                        Repair::No => digests(&worker, partition, Haste::Now).await,
                        Repair::Yes => repaired(&worker, partition).await,
                    });
                });
            }
        }
    }
}

async fn repaired(worker: &Rc<Worker>, partition: PartitionId) -> Result<DigestsResponse, Status> {
    let (mut response, repaired) = compare::compare(worker, partition, Haste::Now).await?;
    response.repaired = repaired.into_iter().map(|node| node.0).collect();
    Ok(response)
}

fn status(worker: &Worker, partition: PartitionId) -> Option<ReplicaStatus> {
    let hosted = worker.find(partition)?;
    let h = hosted.borrow();
    let role = match h.core.role() {
        RoleKind::Inactive => "inactive",
        RoleKind::Learner => "learner",
        RoleKind::Secondary => "secondary",
        RoleKind::Reconciling => "reconciling",
        RoleKind::Serving => "primary",
    };
    Some(ReplicaStatus {
        node: worker.directory.node.0,
        role: role.into(),
        ballot: h.core.ballot().0,
        committed: h.core.committed().0,
        prepared: h.core.prepared().0,
        applied: h.storage.applied().0,
        durable: h.storage.durable().0,
        configuration: h.core.configuration().map(Into::into),
    })
}

/// Every member's digest of one decree of a partition that is led here.
pub(crate) async fn digests(
    worker: &Rc<Worker>,
    partition: PartitionId,
    haste: Haste,
) -> Result<DigestsResponse, Status> {
    let mut failure = Status::unavailable("the members run ahead of every decree named");
    for ahead in AHEAD {
        match digests_at(worker, partition, ahead, haste).await {
            Ok(digests) => return Ok(digests),
            Err(status) => failure = status,
        }
    }
    Err(failure)
}

async fn digests_at(
    worker: &Rc<Worker>,
    partition: PartitionId,
    ahead: u64,
    haste: Haste,
) -> Result<DigestsResponse, Status> {
    let (configuration, decree) = {
        let hosted = worker
            .find(partition)
            .ok_or_else(|| Status::not_found("no replica is here"))?;
        let h = hosted.borrow();
        if !h.serves() {
            return Err(Status::failed_precondition(
                "this node is not the partition's serving primary",
            ));
        }
        let configuration = h.core.configuration().cloned();
        let configuration =
            configuration.ok_or_else(|| Status::failed_precondition("no configuration"))?;
        (configuration, Decree(h.core.prepared().0 + ahead))
    };
    let ask = async |node: NodeId| {
        timeout(
            PROMISE,
            ask(worker.clone(), node, partition, (decree, haste)),
        )
        .await
        .unwrap_or_else(|_| Err(format!("node {node} does not answer")))
    };
    let asked: Vec<_> = join_all(configuration.members().map(|member| ask(member.node))).await;
    // Everybody who can has promised: onward to the decree.
    let advance = async {
        loop {
            match worker.advance(partition, decree) {
                Ok(true) => return Ok(()),
                Ok(false) => tokio::time::sleep(Duration::from_millis(1)).await,
                Err(reason) => return Err(Status::failed_precondition(reason)),
            }
        }
    };
    timeout(ADVANCE, advance).await.unwrap_or_else(|_| {
        let text = "the members do not get to the decree: writes do not get through either";
        Err(Status::deadline_exceeded(text))
    })?;
    let reading = match haste {
        Haste::Now => READING,
        Haste::Paced => READING_PACED,
    };
    let mut replicas = Vec::new();
    for (member, asked) in configuration.members().zip(asked) {
        let digest = match asked {
            Ok(answer) => taken(worker, partition, member.node, (answer, reading)).await,
            Err(reason) => Err(reason),
        };
        let (digest, error) = match digest {
            Ok(digest) => (digest.to_be_bytes().to_vec(), String::new()),
            Err(reason) => (Vec::new(), reason),
        };
        replicas.push(ReplicaDigest {
            node: member.node.0,
            digest: digest.into(),
            error,
        });
    }
    Ok(DigestsResponse {
        configuration: Some((&configuration).into()),
        decree: decree.0,
        replicas,
        repaired: Vec::new(),
    })
}

/// Waits for the digest that a member promised, as long as it is a member: whoever is none may never get to the decree.
async fn taken(
    worker: &Worker,
    partition: PartitionId,
    node: NodeId,
    (answer, reading): (oneshot::Receiver<Result<u128, String>>, Duration),
) -> Result<u128, String> {
    let mut answer = pin!(timeout(reading, answer));
    loop {
        match timeout(LOOK_EVERY, &mut answer).await {
            Ok(Ok(Ok(digest))) => return digest,
            Ok(Ok(Err(_))) => return Err("the replica gave no digest".into()),
            Ok(Err(_)) => return Err("the replica gave no digest in time".into()),
            Err(_) => {}
        }
        let member = worker.find(partition).is_some_and(|hosted| {
            let h = hosted.borrow();
            let known = h.core.configuration();
            known.is_some_and(|known| known.member(node).is_some())
        });
        if !member {
            return Err("the replica is no member any more".into());
        }
    }
}

/// Has one member promise its digest at the decree.
async fn ask(
    worker: Rc<Worker>,
    node: NodeId,
    partition: PartitionId,
    (decree, haste): (Decree, Haste),
) -> Result<oneshot::Receiver<Result<u128, String>>, String> {
    let (answer, answered) = oneshot::channel();
    if node == worker.directory.node {
        let (registered, promised) = oneshot::channel();
        worker.digest_asked(DigestAsked {
            partition,
            at: decree,
            haste,
            registered,
            answer,
        });
        promised
            .await
            .map_err(|_| "the server is stopping".to_owned())??;
        return Ok(answered);
    }
    let address = worker
        .peers
        .address(node)
        .ok_or("the node's address is not known")?;
    let endpoint = channel(&address).map_err(|error| error.to_string())?;
    let connection = endpoint
        .connect()
        .await
        .map_err(|_| format!("node {node} cannot be reached at {address}"))?;
    let request = DigestRequest {
        greeting: Some(worker.peers.introduction().greeting(node)),
        partition: Some(partition.into()),
        decree: decree.0,
        paced: haste == Haste::Paced,
    };
    let mut client = PeersClient::new(connection);
    let response = client
        .digest(request)
        .await
        .map_err(|status| status.message().to_owned())?;
    let mut responses = response.into_inner();
    responses
        .message()
        .await
        .map_err(|status| status.message().to_owned())?;
    tokio::task::spawn_local(async move {
        let digest = match responses.message().await {
            Ok(Some(response)) => <[u8; 16]>::try_from(&response.digest[..])
                .map(u128::from_be_bytes)
                .map_err(|_| "a digest is 16 bytes".to_owned()),
            _ => Err("the replica gave no digest".into()),
        };
        let _ = answer.send(digest);
    });
    Ok(answered)
}
