//! Conversions between wire messages and `types`. What is missing or out of range on the wire is a [`BadMessage`], never a default
//! that could be taken for a value.

use crate::{common, meta};
use std::time::Duration;
use types::{
    Access, Ballot, Configuration, Durability, Incarnation, LearnSignature, Member, NodeId,
    PartitionId, TableRules, Throttle,
};

/// A message that does not say what it must.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a message lacks its {0}")]
pub struct BadMessage(pub &'static str);

impl From<BadMessage> for tonic::Status {
    fn from(bad: BadMessage) -> Self {
        tonic::Status::invalid_argument(bad.to_string())
    }
}

impl From<PartitionId> for common::PartitionId {
    fn from(id: PartitionId) -> Self {
        Self {
            table: id.table.0,
            index: id.index,
        }
    }
}

impl From<common::PartitionId> for PartitionId {
    fn from(id: common::PartitionId) -> Self {
        Self::new(id.table, id.index)
    }
}

impl From<LearnSignature> for common::LearnSignature {
    fn from(signature: LearnSignature) -> Self {
        Self {
            ballot: signature.ballot.0,
            incarnation: signature.incarnation.0,
            counter: signature.counter,
        }
    }
}

impl From<common::LearnSignature> for LearnSignature {
    fn from(signature: common::LearnSignature) -> Self {
        Self {
            ballot: Ballot(signature.ballot),
            incarnation: Incarnation(signature.incarnation),
            counter: signature.counter,
        }
    }
}

impl From<&Member> for common::Member {
    fn from(member: &Member) -> Self {
        Self {
            node: member.node.0,
            signature: Some(member.signature.into()),
        }
    }
}

fn member(member: common::Member) -> Result<Member, BadMessage> {
    Ok(Member {
        node: NodeId(member.node),
        signature: member
            .signature
            .ok_or(BadMessage("learn signature"))?
            .into(),
    })
}

impl From<&Configuration> for common::Configuration {
    fn from(configuration: &Configuration) -> Self {
        Self {
            ballot: configuration.ballot.0,
            epoch: configuration.epoch,
            primary: Some((&configuration.primary).into()),
            secondaries: configuration.secondaries.iter().map(Into::into).collect(),
        }
    }
}

/// Reads a configuration that must be there.
pub fn configuration(wire: Option<common::Configuration>) -> Result<Configuration, BadMessage> {
    let wire = wire.ok_or(BadMessage("configuration"))?;
    Ok(Configuration {
        ballot: Ballot(wire.ballot),
        epoch: wire.epoch,
        primary: member(wire.primary.ok_or(BadMessage("primary"))?)?,
        secondaries: wire
            .secondaries
            .into_iter()
            .map(member)
            .collect::<Result<_, _>>()?,
    })
}

impl From<Durability> for common::Durability {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Sync => Self::Sync,
            Durability::Buffered => Self::Buffered,
        }
    }
}

/// Reads a durability; an unknown number is the safe one.
pub fn durability(wire: i32) -> Durability {
    match common::Durability::try_from(wire) {
        Ok(common::Durability::Buffered) => Durability::Buffered,
        _ => Durability::Sync,
    }
}

impl From<TableRules> for meta::TableRules {
    fn from(rules: TableRules) -> Self {
        let throttle = rules.throttle;
        Self {
            default_ttl_ms: rules
                .default_ttl
                .map_or(0, |ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
            read_only: rules.access == Access::ReadOnly,
            read_operations: throttle.read_operations,
            write_operations: throttle.write_operations,
            read_bytes: throttle.read_bytes,
            write_bytes: throttle.write_bytes,
        }
    }
}

/// Reads a table's rules; none at all restrict nothing.
pub fn table_rules(wire: Option<meta::TableRules>) -> TableRules {
    let wire = wire.unwrap_or_default();
    TableRules {
        default_ttl: (wire.default_ttl_ms > 0).then(|| Duration::from_millis(wire.default_ttl_ms)),
        access: if wire.read_only {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        },
        throttle: Throttle {
            read_operations: wire.read_operations,
            write_operations: wire.write_operations,
            read_bytes: wire.read_bytes,
            write_bytes: wire.write_bytes,
        },
    }
}
