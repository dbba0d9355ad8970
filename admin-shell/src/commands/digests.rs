//! Asks the primaries for a digest of every copy, taken at one decree. A digest is over logical state: equal digests mean that
//! the copies hold the same data, whatever their files look like.

use super::partitions::primary;
use crate::admin::connect;
use crate::progress::Progress;
use proto::common::{Configuration, PartitionId};
use proto::inspect::inspect_client::InspectClient;
use proto::inspect::{DigestsRequest, DigestsResponse};
use proto::meta::TableRoutes;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;

/// A digest reads the whole partition on every member: not all of them at once.
const AT_ONCE: usize = 4;
/// The servers themselves say when a copy takes too long to be read, before this.
const CALL_TIMEOUT: Duration = Duration::from_mins(12);

/// What was heard of one partition: its copies' digests, or why there are none.
pub(crate) type Heard = Result<Digests, String>;

/// One partition's copies at one decree.
#[derive(Clone, Debug)]
pub(crate) struct Digests {
    /// Under which the primary answered; may be newer than the routes.
    pub(crate) configuration: Configuration,
    /// The committed decree at which all of them were taken.
    pub(crate) decree: u64,
    /// Each member's node with its digest, or why it gave none.
    pub(crate) copies: Vec<(u64, Result<String, String>)>,
    /// The nodes whose copies learn anew because they were asked to.
    pub(crate) repaired: Vec<u64>,
}

impl Digests {
    /// Whether every member answered and all are equal.
    pub(crate) fn all_equal(&self) -> bool {
        let mut digests = self.copies.iter().map(|(_, digest)| digest.as_ref().ok());
        let first = digests.next().flatten();
        first.is_some() && digests.all(|digest| digest == first)
    }
}

/// Asks for every partition of a table. In the order of the partitions.
pub(crate) async fn ask_all(
    routes: &TableRoutes,
    repair: bool,
    secret: Option<&MetadataValue<Ascii>>,
) -> Vec<Heard> {
    let table = routes.table.as_ref();
    let count = table.map_or(0, |table| table.partitions);
    let mut heard = vec![Err("has no configuration yet".to_owned()); count as usize];
    let channels = channels(routes).await;
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut asked = JoinSet::new();
    for route in &routes.partitions {
        let Some(configuration) = &route.configuration else {
            continue;
        };
        let Some(slot) = heard.get_mut(route.index as usize) else {
            continue;
        };
        match channels.get(&primary(configuration)) {
            Some(Ok(channel)) => {
                let partition = PartitionId {
                    table: table.map_or(0, |table| table.id),
                    index: route.index,
                };
                let (channel, room) = (channel.clone(), Arc::clone(&room));
                let secret = secret.cloned();
                asked.spawn(async move {
                    let _turn = room.acquire_owned().await;
                    let heard = ask(channel, partition, repair, secret).await;
                    (partition.index, heard)
                });
            }
            Some(Err(why)) => *slot = Err(format!("its primary does not answer: {why}")),
            None => *slot = Err("its primary's address is not known".to_owned()),
        }
    }
    let progress = Progress::counting(asked.len() as u64, "partitions compared");
    while let Some(answer) = asked.join_next().await {
        progress.one();
        if let Ok((index, answer)) = answer
            && let Some(slot) = heard.get_mut(index as usize)
        {
            *slot = answer;
        }
    }
    heard
}

/// One connection for each node that is a primary.
async fn channels(routes: &TableRoutes) -> HashMap<u64, Result<Channel, String>> {
    let mut channels = HashMap::new();
    for node in &routes.nodes {
        let is_primary = routes
            .partitions
            .iter()
            .filter_map(|route| route.configuration.as_ref())
            .any(|configuration| primary(configuration) == node.node);
        if is_primary {
            channels.insert(node.node, connect(&node.grpc, CALL_TIMEOUT).await);
        }
    }
    channels
}

async fn ask(
    channel: Channel,
    partition: PartitionId,
    repair: bool,
    secret: Option<MetadataValue<Ascii>>,
) -> Heard {
    let mut request = Request::new(DigestsRequest {
        partition: Some(partition),
        repair,
    });
    if let Some(secret) = secret {
        request
            .metadata_mut()
            .insert(crate::admin::SECRET_KEY, secret);
    }
    match InspectClient::new(channel).digests(request).await {
        Ok(answer) => Ok(read(answer.into_inner())),
        Err(status) => Err(status.message().to_owned()),
    }
}

fn read(answer: DigestsResponse) -> Digests {
    let copy = |copy: proto::inspect::ReplicaDigest| {
        let digest = if copy.digest.is_empty() {
            Err(copy.error)
        } else {
            Ok(crate::answer::hex(&copy.digest))
        };
        (copy.node, digest)
    };
    Digests {
        configuration: answer.configuration.unwrap_or_default(),
        decree: answer.decree,
        copies: answer.replicas.into_iter().map(copy).collect(),
        repaired: answer.repaired,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_equal_only_if_every_one_answered_the_same() {
        let digests = |copies: &[Result<&str, &str>]| Digests {
            configuration: Configuration::default(),
            decree: 7,
            copies: copies
                .iter()
                .map(|copy| (1, copy.map(str::to_owned).map_err(str::to_owned)))
                .collect(),
            repaired: Vec::new(),
        };
        assert!(digests(&[Ok("a"), Ok("a"), Ok("a")]).all_equal());
        assert!(digests(&[Ok("a")]).all_equal());
        assert!(!digests(&[Ok("a"), Ok("b")]).all_equal());
        assert!(!digests(&[Ok("a"), Err("gone")]).all_equal());
        assert!(!digests(&[Err("gone"), Err("gone")]).all_equal());
        assert!(!digests(&[]).all_equal());
    }
}
