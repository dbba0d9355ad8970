//! Between the wire and the cluster's brain. What a peer must say and does not is an error; nothing is guessed.

use placement::{
    Event, Finding, NodeAddress, NodeStatus, Refusal, ReplicaReport, Routes, Soundness, Table,
    TableSpecification, ToNode,
};
use proto::{BadMessage, common, meta};
use tonic::Status;
use types::{Ballot, Configuration, Decree, NodeId, PartitionId};

/// Longest text in an address.
const LONGEST_ADDRESS: usize = 255;

pub(crate) fn address(address: &NodeAddress) -> common::NodeAddress {
    common::NodeAddress {
        node: address.node.0,
        name: address.name.clone(),
        grpc: address.grpc.clone(),
        redis: address.redis.clone(),
    }
}

/// Reads the address in a node's first message.
pub(crate) fn node_address(wire: Option<common::NodeAddress>) -> Result<NodeAddress, Status> {
    let wire = wire.ok_or(BadMessage("address"))?;
    if wire.node == 0 {
        return Err(BadMessage("node id").into());
    }
    if [&wire.name, &wire.grpc, &wire.redis]
        .iter()
        .any(|text| text.len() > LONGEST_ADDRESS)
    {
        return Err(Status::invalid_argument(format!(
            "an address has more than {LONGEST_ADDRESS} bytes"
        )));
    }
    Ok(NodeAddress {
        node: NodeId(wire.node),
        name: wire.name,
        grpc: wire.grpc,
        redis: wire.redis,
    })
}

fn partition(wire: Option<common::PartitionId>) -> Result<PartitionId, BadMessage> {
    wire.map(Into::into).ok_or(BadMessage("partition"))
}

/// Reads what a node says after its first message.
pub(crate) fn event(node: NodeId, wire: meta::FromNode) -> Result<Event, BadMessage> {
    use meta::from_node::Message;
    Ok(match wire.message.ok_or(BadMessage("message"))? {
        Message::Hello(_) => return Err(BadMessage("place: a hello comes first and once")),
        Message::Report(report) => Event::Reported {
            node,
            replicas: report
                .replicas
                .iter()
                .map(replica)
                .collect::<Result<_, _>>()?,
            complete: report.complete,
        },
        Message::Proposals(proposals) => Event::Proposed {
            node,
            proposals: proposals
                .proposals
                .into_iter()
                .map(|proposal| {
                    Ok((
                        partition(proposal.partition)?,
                        proto::configuration(proposal.configuration)?,
                    ))
                })
                .collect::<Result<_, BadMessage>>()?,
        },
        Message::Opened(opened) => Event::Opened {
            node,
            partition: partition(opened.partition)?,
        },
        Message::Deleted(deleted) => Event::Deleted {
            node,
            partition: partition(deleted.partition)?,
        },
        Message::Beat(beat) => Event::Beat {
            node,
            disk_bytes: beat.disk_bytes,
        },
    })
}

fn replica(wire: &meta::ReplicaReport) -> Result<ReplicaReport, BadMessage> {
    Ok(ReplicaReport {
        partition: partition(wire.partition)?,
        ballot: Ballot(wire.ballot),
        epoch: wire.epoch,
        prepared: Decree(wire.prepared),
        last_ballot: Ballot(wire.last_ballot),
        committed: Decree(wire.committed),
        soundness: match (wire.damaged, wire.unsynced) {
            (true, _) => Soundness::Damaged,
            (false, true) => Soundness::Unsynced,
            (false, false) => Soundness::Whole,
        },
        learning: wire.learning,
        diverged: wire.diverged,
    })
}

pub(crate) fn to_node(message: ToNode) -> meta::ToNode {
    use meta::to_node::Message;
    let message = match message {
        ToNode::Welcome { epoch } => Message::Welcome(meta::Welcome { meta_epoch: epoch }),
        ToNode::Stored(configurations) => Message::Stored(meta::Stored {
            configurations: configurations
                .iter()
                .map(|(id, configuration)| meta::StoredConfiguration {
                    partition: Some((*id).into()),
                    configuration: Some(configuration.into()),
                })
                .collect(),
        }),
        ToNode::Open(id) => Message::Open(meta::Open {
            partition: Some(id.into()),
        }),
        ToNode::AddLearner {
            partition,
            ballot,
            node,
        } => Message::AddLearner(meta::AddLearner {
            partition: Some(partition.into()),
            ballot: ballot.0,
            node: node.0,
        }),
        ToNode::Delete {
            partition,
            ballot,
            table_gone,
        } => Message::Delete(meta::Delete {
            partition: Some(partition.into()),
            ballot: ballot.0,
            table_gone,
        }),
        ToNode::Cluster {
            complete,
            nodes,
            tables,
            gone,
        } => Message::Cluster(meta::Cluster {
            complete,
            nodes: nodes.iter().map(address).collect(),
            tables: tables
                .iter()
                .map(|properties| meta::TableProperties {
                    table: Some(table(properties)),
                    password: properties.password.clone(),
                })
                .collect(),
            tables_gone: gone.iter().map(|id| id.0).collect(),
        }),
    };
    meta::ToNode {
        message: Some(message),
    }
}

pub(crate) fn table(table: &Table) -> meta::Table {
    meta::Table {
        id: table.id.0,
        name: table.name.clone(),
        partitions: table.partitions,
        replicas: table.replicas,
        durability: common::Durability::from(table.durability).into(),
        min_replicas: table.min_replicas,
        has_password: !table.password.is_empty(),
        dropped_at: table.dropped_at.map_or(0, |at| at.0),
        version: table.version,
    }
}

pub(crate) fn route(index: u32, configuration: Option<&Configuration>) -> meta::PartitionRoute {
    meta::PartitionRoute {
        index,
        configuration: configuration.map(Into::into),
    }
}

pub(crate) fn routes<'a>(
    routes: &Routes<'_>,
    nodes: impl Iterator<Item = &'a NodeAddress>,
) -> meta::TableRoutes {
    meta::TableRoutes {
        table: Some(table(routes.table)),
        partitions: (0..)
            .zip(routes.configurations())
            .map(|(index, configuration)| route(index, configuration))
            .collect(),
        nodes: nodes.map(address).collect(),
    }
}

pub(crate) fn node(status: &NodeStatus) -> meta::Node {
    meta::Node {
        address: Some(address(&status.address)),
        alive: status.alive,
        incarnation: status.incarnation.0,
        primaries: status.primaries as u32,
        secondaries: status.secondaries as u32,
        learners: status.learners as u32,
        disk_bytes: status.disk_bytes,
    }
}

pub(crate) fn specification(wire: meta::CreateTableRequest) -> TableSpecification {
    TableSpecification {
        name: wire.name,
        partitions: wire.partitions,
        replicas: wire.replicas,
        durability: proto::durability(wire.durability),
        min_replicas: wire.min_replicas,
        password: wire.password,
    }
}

pub(crate) fn refusal(refusal: &Refusal) -> Status {
    let text = refusal.to_string();
    match refusal {
        Refusal::Invalid(_) => Status::invalid_argument(text),
        Refusal::NoSuchTable(_) => Status::not_found(text),
        Refusal::Exists(_) => Status::already_exists(text),
        Refusal::TooFewNodes { .. } => Status::failed_precondition(text),
        Refusal::Busy(_) => Status::aborted(text),
    }
}

/// What a node whose stream is closed is told.
pub(crate) fn disconnection(reason: &Finding) -> Status {
    Status::failed_precondition(reason.to_string())
}
