//! How far a primary's peers are behind it, for people to see: nothing is decided by it.

use crate::Replica;
use crate::replica::Role;
use types::NodeId;

/// One peer of a primary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lag {
    /// Whose.
    pub node: NodeId,
    /// Whether it is still learning, and gates no commit.
    pub learns: bool,
    /// Mutations that it has yet to acknowledge under this ballot.
    pub mutations: u64,
}

impl Replica {
    /// What each peer has yet to acknowledge; nothing where this replica does not lead.
    pub fn lags(&self) -> impl Iterator<Item = Lag> + '_ {
        let peers = match &self.role {
            Role::Primary(primary) => &primary.peers[..],
            _ => &[],
        };
        let last = self.prepared().0;
        peers.iter().map(move |peer| Lag {
            node: peer.node,
            learns: peer.is_learner(),
            mutations: last.saturating_sub(peer.acked.0),
        })
    }
}
