//! Comparing the copies of the partitions that are led here, by digests of one decree, and repairing the one that differs.
//!
//! One partition at a time, spread over the interval. What a majority of the members has is right; a copy that differs learns anew: a
//! secondary when it is told, this primary after it has handed over. Without a majority nobody knows, and nothing is done but to say so.
//! A partition that nobody wrote to since its copies were found equal has its turn much less often, so that idle ones cost next to nothing.

use crate::clock;
use crate::config::Digest;
use crate::services::digests;
use crate::worker::Worker;
use crate::worker::hosted::Hosted;
use engine::Haste;
use proto::inspect::DigestsResponse;
use replication::{Afterwards, Event, RoleKind};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::timeout;
use tonic::Status;
use types::{Ballot, Decree, Instant, NodeId, PartitionId};

/// How long a successor may take before a primary whose copy differs gives up its partition without one.
const HAND_OVER: Duration = Duration::from_secs(2);
/// How often a node that leads nothing looks whether it does.
const NOTHING_LED: Duration = Duration::from_mins(1);

/// The last comparison that found all copies of a partition equal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Compared {
    ballot: Ballot,
    decree: Decree,
    at: Instant,
}

/// What digests of one decree say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Equal,
    /// A majority of the members is equal to each other, these are not.
    Differ(Vec<NodeId>),
    /// They differ, and no majority is equal.
    Diverged,
    /// Not enough members have said what they have to know more.
    Unknown,
}

/// Compares for ever.
pub(crate) async fn compare_all(worker: Rc<Worker>, settings: Digest) {
    if settings.interval.is_zero() {
        return;
    }
    loop {
        let mut led = led(&worker);
        // Restarts must not keep the last ones from their turn.
        let first = rand::random_range(0..led.len().max(1));
        led.rotate_left(first);
        let pause = settings.interval / u32::try_from(led.len().max(1)).unwrap_or(u32::MAX);
        if led.is_empty() {
            tokio::time::sleep(pause.min(NOTHING_LED)).await;
        }
        for id in led {
            tokio::time::sleep(pause).await;
            if is_due(&worker, id, settings.idle_interval)
                && let Err(status) = compare(&worker, id, Haste::Paced).await
            {
                tracing::debug!(partition = %id, reason = status.message(), "copies not compared");
            }
        }
    }
}

/// The partitions with several copies that are served here.
fn led(worker: &Worker) -> Vec<PartitionId> {
    let mut led: Vec<PartitionId> = worker
        .hosted_all()
        .iter()
        .filter_map(|hosted| {
            let h = hosted.borrow();
            let several = |known: &types::Configuration| known.len() > 1;
            (h.serves() && h.core.configuration().is_some_and(several)).then_some(h.id)
        })
        .collect();
    led.sort_unstable();
    led
}

fn is_due(worker: &Worker, id: PartitionId, idle_interval: Duration) -> bool {
    worker.find(id).is_some_and(|hosted| {
        let h = hosted.borrow();
        let idle = h.compared.is_some_and(|last| {
            let same = (last.ballot, last.decree) == (h.core.ballot(), h.core.committed());
            same && clock::now().since(last.at) < idle_interval
        });
        h.serves() && !idle
    })
}

/// Compares the copies of a partition that is led here, and has those learn anew that differ from a majority: they are named.
pub(crate) async fn compare(
    worker: &Rc<Worker>,
    id: PartitionId,
    haste: Haste,
) -> Result<(DigestsResponse, Vec<NodeId>), Status> {
    let first = digests::digests(worker, id, haste).await?;
    let found = verdict(&first);
    note(worker, id, &first, &found);
    let Verdict::Differ(suspects) = found else {
        return Ok((first, Vec::new()));
    };
    // A copy is given up for nothing less than the same answer twice.
    let second = digests::digests(worker, id, haste).await?;
    let Verdict::Differ(mut differ) = verdict(&second) else {
        return Ok((second, Vec::new()));
    };
    differ.retain(|node| suspects.contains(node));
    for &node in &differ {
        tracing::error!(
            partition = %id,
            %node,
            decree = second.decree,
            "the copy on this node is not what a majority of the members has: it learns anew"
        );
    }
    repair(worker, id, &second, &differ).await;
    Ok((second, differ))
}

/// What the digests say. A majority is one of all members: who said nothing might have said something else.
fn verdict(digests: &DigestsResponse) -> Verdict {
    let mut groups: BTreeMap<&[u8], Vec<NodeId>> = BTreeMap::new();
    for replica in digests.replicas.iter().filter(|it| !it.digest.is_empty()) {
        let group = groups.entry(&replica.digest).or_default();
        group.push(NodeId(replica.node));
    }
    let members = digests.replicas.len();
    let answered: usize = groups.values().map(Vec::len).sum();
    match groups.len() {
        1 if answered == members => return Verdict::Equal,
        0 | 1 => return Verdict::Unknown,
        _ => {}
    }
    let right = groups
        .iter()
        .find(|(_, nodes)| 2 * nodes.len() > members)
        .map(|(&digest, _)| digest);
    match right {
        Some(right) => {
            groups.remove(right);
            Verdict::Differ(groups.into_values().flatten().collect())
        }
        None if answered == members => Verdict::Diverged,
        None => Verdict::Unknown,
    }
}

/// Remembers what was found, for the next turn and for the meta leader.
fn note(worker: &Worker, id: PartitionId, digests: &DigestsResponse, found: &Verdict) {
    let Some(hosted) = worker.find(id) else {
        return;
    };
    let mut h = hosted.borrow_mut();
    match found {
        Verdict::Equal => {
            h.diverged = false;
            let ballot = digests.configuration.as_ref().map(|known| known.ballot);
            h.compared = Some(Compared {
                ballot: Ballot(ballot.unwrap_or_default()),
                decree: Decree(digests.decree),
                at: clock::now(),
            });
        }
        Verdict::Diverged => {
            tracing::error!(
                partition = %id,
                decree = digests.decree,
                "the copies differ and no majority of them is equal: nobody knows which is right, and all are left as they are"
            );
            h.diverged = true;
        }
        Verdict::Differ(_) | Verdict::Unknown => {}
    }
    worker.report_change(&mut h);
}

async fn repair(
    worker: &Rc<Worker>,
    id: PartitionId,
    digests: &DigestsResponse,
    differ: &[NodeId],
) {
    let me = worker.directory.node;
    for &node in differ.iter().filter(|&&node| node != me) {
        worker.tell_partition(id, Event::CopyDiffers { node });
    }
    if !differ.contains(&me) {
        return;
    }
    let successor = digests
        .replicas
        .iter()
        .map(|replica| (NodeId(replica.node), &replica.digest))
        .find(|(node, digest)| !digest.is_empty() && !differ.contains(node));
    if let Some((to, _)) = successor {
        let then = Afterwards::Leave;
        worker.tell_partition(id, Event::HandOver { to, then });
        let deposed = async {
            while worker
                .find(id)
                .is_some_and(|hosted| leads(&hosted.borrow()))
            {
                worker.roles_changed.notified().await;
            }
        };
        if timeout(HAND_OVER, deposed).await.is_err() {
            tracing::warn!(partition = %id, "nobody took the partition over in time: it is given up as it is");
        }
    }
    worker.tell_partition(id, Event::Damaged);
}

fn leads(h: &Hosted) -> bool {
    matches!(h.role, RoleKind::Serving | RoleKind::Reconciling)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::inspect::ReplicaDigest;

    /// A digest for each member; 0: none.
    fn of(digests: &[u8]) -> Verdict {
        let replica = |(node, &digest): (usize, &u8)| ReplicaDigest {
            node: node as u64,
            digest: if digest == 0 {
                Vec::new().into()
            } else {
                vec![digest; 16].into()
            },
            error: String::new(),
        };
        verdict(&DigestsResponse {
            replicas: digests.iter().enumerate().map(replica).collect(),
            ..DigestsResponse::default()
        })
    }

    #[test]
    fn only_a_majority_of_all_members_says_what_is_right() {
        let nodes = |nodes: &[u64]| nodes.iter().copied().map(NodeId).collect();
        assert_eq!(of(&[1, 1, 1]), Verdict::Equal);
        assert_eq!(of(&[1]), Verdict::Equal);
        assert_eq!(of(&[1, 2, 1]), Verdict::Differ(nodes(&[1])));
        assert_eq!(of(&[2, 1, 1]), Verdict::Differ(nodes(&[0])));
        assert_eq!(of(&[1, 2, 3, 1, 1]), Verdict::Differ(nodes(&[1, 2])));
        assert_eq!(of(&[1, 1, 1, 2, 0]), Verdict::Differ(nodes(&[3])));
        assert_eq!(of(&[1, 2]), Verdict::Diverged);
        assert_eq!(of(&[1, 2, 3]), Verdict::Diverged);
        assert_eq!(of(&[1, 1, 2, 2]), Verdict::Diverged);
        assert_eq!(of(&[1, 1, 0]), Verdict::Unknown);
        assert_eq!(of(&[1, 2, 0]), Verdict::Unknown);
        assert_eq!(of(&[0, 0]), Verdict::Unknown);
        assert_eq!(of(&[]), Verdict::Unknown);
    }
}
