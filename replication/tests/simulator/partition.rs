//! What there is of a partition beside its copies: what is stored of it, what clients asked of it, what its observer knows.

use crate::invariants::observer::Observer;
use crate::node::index;
use std::collections::BTreeMap;
use types::{Ballot, Configuration, PartitionId};

pub(crate) struct Partition {
    pub(crate) id: PartitionId,
    /// The configuration in force, and all that ever were.
    pub(crate) stored: Option<Configuration>,
    pub(crate) history: BTreeMap<Ballot, Configuration>,
    /// What may still be stored in the place of that.
    pub(crate) asked: Vec<Configuration>,
    /// Who has its first replica on disk.
    pub(crate) created: Vec<usize>,
    /// Requests that clients have made, and reads that were answered.
    pub(crate) requests: u64,
    pub(crate) reads: u64,
    pub(crate) observer: Observer,
}

impl Partition {
    /// The only one of the table with that number, counted from zero.
    pub(crate) fn new(number: usize) -> Self {
        Self {
            id: id(number),
            stored: None,
            history: BTreeMap::new(),
            asked: Vec::new(),
            created: Vec::new(),
            requests: 0,
            reads: 0,
            observer: Observer::default(),
        }
    }

    /// That is the configuration in force from now on.
    pub(crate) fn store(&mut self, configuration: &Configuration) {
        self.history
            .insert(configuration.ballot, configuration.clone());
        self.stored = Some(configuration.clone());
        let next = configuration.ballot.next();
        self.asked.retain(|asked| asked.ballot == next);
    }

    /// The primary of the configuration in force.
    pub(crate) fn primary(&self) -> Option<usize> {
        let stored = self.stored.as_ref()?;
        Some(index(stored.primary.node))
    }

    /// The members of the configuration in force, the primary first.
    pub(crate) fn members(&self) -> Vec<usize> {
        let stored = self.stored.iter();
        let members = stored.flat_map(Configuration::members);
        members.map(|member| index(member.node)).collect()
    }
}

/// The partition of the table with that number: tables are created one after the other.
pub(crate) fn id(number: usize) -> PartitionId {
    PartitionId::new(number as u32 + 1, 0)
}

/// Where in the world's list the partition of that id is.
pub(crate) fn number(id: PartitionId) -> usize {
    id.table.0 as usize - 1
}
