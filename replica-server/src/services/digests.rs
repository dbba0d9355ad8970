//! The digests of all members of a partition that is led here, taken at one decree.

use crate::peers::channel;
use crate::services::digest::DigestAsked;
use crate::worker::Worker;
use engine::Haste;
use futures::future::join_all;
use proto::inspect::{DigestsResponse, ReplicaDigest};
use proto::peer::DigestRequest;
use proto::peer::peers_client::PeersClient;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tonic::Status;
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
