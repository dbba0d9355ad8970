//! Who replicates a partition: the versioned value that the meta leader alone writes.

use crate::{Ballot, Incarnation, NodeId};

/// Names one learn of one learner, so that a late promotion can never be taken for a newer learn's (rules C4, C5). All zero
/// for a member that never learnt: it was there from the partition's first configuration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct LearnSignature {
    /// The primary's ballot when the learn began.
    pub ballot: Ballot,
    /// The learner's incarnation then.
    pub incarnation: Incarnation,
    /// Counts the primary's offers under that ballot: an offer that comes twice is known for what it is, also after a restart.
    pub counter: u64,
}

/// A member of a configuration: a node, and the learn by which its copy became one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// The learn that made its copy whole.
    pub signature: LearnSignature,
}

impl Member {
    /// A member from the partition's first configuration.
    pub fn original(node: NodeId) -> Self {
        Self {
            node,
            signature: LearnSignature::default(),
        }
    }
}

/// Who replicates a partition. Every change raises the ballot by one; one configuration exists per ballot.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Configuration {
    /// Version of this value.
    pub ballot: Ballot,
    /// Raised when copies were declared lost and a survivor made the truth (rule C6): a copy of an older epoch is worth nothing.
    pub epoch: u64,
    /// Orders writes, serves reads.
    pub primary: Member,
    /// Hold every acknowledged write. The first proposes itself first when the primary fails.
    pub secondaries: Vec<Member>,
}

impl Configuration {
    /// All members, the primary first.
    pub fn members(&self) -> impl Iterator<Item = &Member> + '_ {
        std::iter::once(&self.primary).chain(&self.secondaries)
    }

    /// The member on `node`, if it is one.
    pub fn member(&self, node: NodeId) -> Option<&Member> {
        self.members().find(|member| member.node == node)
    }

    /// Whether `node` is a member, under whatever signature.
    pub fn contains(&self, node: NodeId) -> bool {
        self.member(node).is_some()
    }

    /// How many copies there are.
    pub fn len(&self) -> usize {
        1 + self.secondaries.len()
    }

    /// Never: a configuration has a primary. Here because clippy asks for it beside `len`.
    pub fn is_empty(&self) -> bool {
        false
    }
}
