//! Between the wire and the cluster's brain. What a peer must say and does not is an error; nothing is guessed.

use placement::{
    Duty, Event, Finding, NodeAddress, NodeStatus, Refusal, ReplicaReport, Routes, Soundness,
    Table, TableChanges, TableSpecification, ToNode,
};
use proto::password::SALT;
use proto::{BadMessage, common, meta};
use std::time::Duration;
use tonic::Status;
use types::{
    Access, Ballot, Configuration, Decree, NodeId, PartitionId, SLOTS, TableId, Timestamp,
};

/// Longest text in an address.
const LONGEST_ADDRESS: usize = 255;

/// Longest password, as it is given.
const LONGEST_PASSWORD: usize = 512;

pub(crate) fn address(address: &NodeAddress) -> common::NodeAddress {
    common::NodeAddress {
        node: address.node.0,
        name: address.name.clone(),
        grpc: address.grpc.clone(),
        redis: address.redis.clone(),
        zone: address.zone.clone(),
    }
}

/// Reads the address in a node's first message.
pub(crate) fn node_address(wire: Option<common::NodeAddress>) -> Result<NodeAddress, Status> {
    let wire = wire.ok_or(BadMessage("address"))?;
    if wire.node == 0 {
        return Err(BadMessage("node id").into());
    }
    if [&wire.name, &wire.grpc, &wire.redis, &wire.zone]
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
        zone: wire.zone,
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
        Message::Knows(knows) => Event::Knows {
            node,
            tables: knows.tables.into_iter().filter_map(known_table).collect(),
            nodes: knows.nodes.into_iter().map(heard_of).collect(),
        },
        Message::Beat(beat) => Event::Beat {
            node,
            disk_bytes: beat.disk_bytes,
        },
    })
}

/// A table as a node knows it; none if it does not say which.
fn known_table(wire: meta::TableProperties) -> Option<Table> {
    let table = wire.table?;
    let possible = (1..=u32::from(SLOTS)).contains(&table.partitions) && table.id > 0;
    possible.then(|| Table {
        id: TableId(table.id),
        name: table.name,
        partitions: table.partitions,
        replicas: table.replicas,
        durability: proto::durability(table.durability),
        min_replicas: table.min_replicas,
        password: wire.password,
        rules: proto::table_rules(table.rules),
        dropped_at: (table.dropped_at > 0).then_some(Timestamp(table.dropped_at)),
        version: table.version.max(1),
    })
}

fn heard_of(wire: common::NodeAddress) -> NodeAddress {
    NodeAddress {
        node: NodeId(wire.node),
        name: wire.name,
        grpc: wire.grpc,
        redis: wire.redis,
        zone: wire.zone,
    }
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
        configuration: match &wire.configuration {
            None => None,
            some => Some(proto::configuration(some.clone())?),
        },
        signature: wire.signature.map(Into::into).unwrap_or_default(),
        bytes: wire.bytes,
        learning: wire.learning,
        ready: wire.ready,
        diverged: wire.diverged,
    })
}

pub(crate) fn to_node(message: ToNode) -> meta::ToNode {
    use meta::to_node::Message;
    let message = match message {
        ToNode::Welcome { epoch, tell } => Message::Welcome(meta::Welcome {
            meta_epoch: epoch,
            tell,
        }),
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
        ToNode::RemoveSecondary {
            partition,
            ballot,
            node,
        } => Message::RemoveSecondary(meta::RemoveSecondary {
            partition: Some(partition.into()),
            ballot: ballot.0,
            node: node.0,
        }),
        ToNode::HandOver {
            partition,
            ballot,
            node,
        } => Message::HandOver(meta::HandOver {
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
        rules: Some(table.rules.into()),
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
        drained: status.duty == Duty::Drained,
    }
}

/// What is kept of a password that an operator gives.
fn kept(password: &str, salt: [u8; SALT]) -> Result<String, Status> {
    if password.len() > LONGEST_PASSWORD {
        return Err(Status::invalid_argument(format!(
            "a password has at most {LONGEST_PASSWORD} bytes"
        )));
    }
    Ok(proto::password::kept(password, salt))
}

/// `salt` is random.
pub(crate) fn changes(
    wire: &meta::AlterTableRequest,
    salt: [u8; SALT],
) -> Result<TableChanges, Status> {
    Ok(TableChanges {
        replicas: wire.replicas,
        min_replicas: wire.min_replicas,
        durability: wire.durability.map(proto::durability),
        password: wire
            .password
            .as_deref()
            .map(|password| kept(password, salt))
            .transpose()?,
        default_ttl: wire.default_ttl_ms.map(Duration::from_millis),
        access: wire.read_only.map(|read_only| {
            if read_only {
                Access::ReadOnly
            } else {
                Access::ReadWrite
            }
        }),
        read_operations: wire.read_operations,
        write_operations: wire.write_operations,
        read_bytes: wire.read_bytes,
        write_bytes: wire.write_bytes,
    })
}

/// `salt` is random.
pub(crate) fn specification(
    wire: meta::CreateTableRequest,
    salt: [u8; SALT],
) -> Result<TableSpecification, Status> {
    Ok(TableSpecification {
        name: wire.name,
        partitions: wire.partitions,
        replicas: wire.replicas,
        durability: proto::durability(wire.durability),
        min_replicas: wire.min_replicas,
        password: kept(&wire.password, salt)?,
        rules: proto::table_rules(wire.rules),
    })
}

pub(crate) fn refusal(refusal: &Refusal) -> Status {
    let text = refusal.to_string();
    match refusal {
        Refusal::Invalid(_) => Status::invalid_argument(text),
        Refusal::NoSuchTable(_) | Refusal::NoSuchNode(_) => Status::not_found(text),
        Refusal::Exists(_) => Status::already_exists(text),
        Refusal::TooFewNodes { .. } | Refusal::Unfit(_) => Status::failed_precondition(text),
        Refusal::Busy(_) => Status::aborted(text),
    }
}

/// What a node whose stream is closed is told.
pub(crate) fn disconnection(reason: &Finding) -> Status {
    Status::failed_precondition(reason.to_string())
}
