//! What is on the network: everything that was ever sent.
//!
//! Messages stay until no node could heed them any more, and any of them may arrive at any time and any number of times: so they are
//! lost, repeated, late and out of order in every way. Of what only grows (acknowledgements, news of commits) the highest is kept:
//! what a lower one allows, it allows.

use crate::node::{NODES, Node, Renaming};
use smallvec::SmallVec;

/// What one replica says to another, or to the meta leader. The primary of a ballot is its only sender, so it is not named.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Message {
    /// C2: the primary's list under this ballot begins at `first`; `last` was its end when the ballot began.
    Truncate { ballot: u8, first: u8, last: u8 },
    /// A mutation under this ballot: `value` stands for its effects, `base` for those that it was evaluated over.
    Prepare {
        ballot: u8,
        decree: u8,
        value: u8,
        base: u8,
    },
    /// Decrees up to this one are committed.
    Committed { ballot: u8, up_to: u8 },
    /// The sender has cut what the primary of the ballot does not have.
    TruncateAck { ballot: u8, from: Node, learn: u8 },
    /// The sender has everything up to `prepared` under this ballot.
    Ack {
        ballot: u8,
        from: Node,
        learn: u8,
        prepared: u8,
    },
    /// C4: become a learner.
    Offer { ballot: u8, to: Node, learn: u8 },
    /// What the primary's RocksDB has up to this decree.
    Checkpoint { learn: u8, decree: u8 },
    /// C5: nothing is missing, write the ready mark.
    Complete { ballot: u8, learn: u8 },
    /// C5: the ready mark is on disk.
    Ready { ballot: u8, learn: u8 },
}

/// The learn that a primary offers as the `offer`th under its ballot.
pub(super) fn learn(ballot: u8, offer: u8) -> u8 {
    (ballot << 2) + offer
}

/// Under which ballot a learn was offered.
pub(super) fn ballot_of(learn: u8) -> u8 {
    learn >> 2
}

impl Message {
    /// Under which ballot it was sent.
    pub fn ballot(self) -> u8 {
        match self {
            Self::Truncate { ballot, .. }
            | Self::Prepare { ballot, .. }
            | Self::Committed { ballot, .. }
            | Self::TruncateAck { ballot, .. }
            | Self::Ack { ballot, .. }
            | Self::Offer { ballot, .. }
            | Self::Complete { ballot, .. }
            | Self::Ready { ballot, .. } => ballot,
            Self::Checkpoint { learn, .. } => ballot_of(learn),
        }
    }

    /// The message without the node's name, if it is from that node or to it alone.
    pub fn of(self, node: Node) -> Option<Self> {
        match self {
            Self::TruncateAck { from: named, .. }
            | Self::Ack { from: named, .. }
            | Self::Offer { to: named, .. } => (named == node).then(|| self.renamed([0; NODES])),
            _ => None,
        }
    }

    fn renamed(self, renaming: Renaming) -> Self {
        let new = |node: Node| renaming[usize::from(node)];
        match self {
            Self::TruncateAck {
                ballot,
                from,
                learn,
            } => Self::TruncateAck {
                ballot,
                from: new(from),
                learn,
            },
            Self::Ack {
                ballot,
                from,
                learn,
                prepared,
            } => Self::Ack {
                ballot,
                from: new(from),
                learn,
                prepared,
            },
            Self::Offer { ballot, to, learn } => Self::Offer {
                ballot,
                to: new(to),
                learn,
            },
            other => other,
        }
    }
}

/// The messages, in an order of their own.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Network(SmallVec<[Message; 16]>);

impl Network {
    /// Sends a message.
    pub fn send(&mut self, message: Message) {
        match message {
            Message::Ack {
                ballot,
                from,
                learn,
                prepared,
            } => {
                let known = self.acknowledged(ballot, from, learn).unwrap_or(0);
                let prepared = prepared.max(known);
                self.0.retain(|old| {
                    !matches!(*old, Message::Ack { ballot: b, from: f, learn: l, .. } if (b, f, l) == (ballot, from, learn))
                });
                self.insert(Message::Ack {
                    ballot,
                    from,
                    learn,
                    prepared,
                });
            }
            Message::Committed { ballot, up_to } => {
                let up_to = up_to.max(self.committed(ballot));
                self.0.retain(
                    |old| !matches!(*old, Message::Committed { ballot: b, .. } if b == ballot),
                );
                self.insert(Message::Committed { ballot, up_to });
            }
            other => self.insert(other),
        }
    }

    fn insert(&mut self, message: Message) {
        if let Err(place) = self.0.binary_search(&message) {
            self.0.insert(place, message);
        }
    }

    /// All messages.
    pub fn iter(&self) -> impl Iterator<Item = Message> + '_ {
        self.0.iter().copied()
    }

    /// Whether it was sent.
    pub fn has(&self, message: Message) -> bool {
        self.0.binary_search(&message).is_ok()
    }

    /// How far a member acknowledged under a ballot, by that learn.
    pub fn acknowledged(&self, ballot: u8, from: Node, learn: u8) -> Option<u8> {
        self.iter().find_map(|message| match message {
            Message::Ack {
                ballot: b,
                from: f,
                learn: l,
                prepared,
            } if (b, f, l) == (ballot, from, learn) => Some(prepared),
            _ => None,
        })
    }

    /// How far the primary of a ballot said that it had committed.
    pub fn committed(&self, ballot: u8) -> u8 {
        let said = self.iter().find_map(|message| match message {
            Message::Committed { ballot: b, up_to } if b == ballot => Some(up_to),
            _ => None,
        });
        said.unwrap_or(0)
    }

    /// Drops what nobody could heed.
    pub fn forget(&mut self, dead: impl Fn(Message) -> bool) {
        self.0.retain(|message| !dead(*message));
    }

    /// Renames the nodes.
    pub fn rename(&mut self, renaming: Renaming) {
        for message in &mut self.0 {
            *message = message.renamed(renaming);
        }
        self.0.sort_unstable();
    }
}
