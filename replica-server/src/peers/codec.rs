//! Messages between replicas as the wire has them, both ways. A message that lacks something is an error of its sender, never a
//! default.

use proto::peer::{self, peer_message::Message as Wire};
use proto::{BadMessage, configuration};
use replication::{Afterwards, Exception, Message};
use types::{Ballot, Decree, Incarnation, LearnSignature, Mutation, PartitionId, Timestamp};

pub(crate) fn encode(partition: PartitionId, message: Message) -> peer::PeerMessage {
    let wire = match message {
        Message::Truncate {
            configuration,
            first,
            last,
        } => Wire::Truncate(peer::Truncate {
            configuration: Some((&configuration).into()),
            first: first.0,
            last: last.0,
        }),
        Message::TruncateAck {
            ballot,
            signature,
            incarnation,
        } => Wire::TruncateAck(peer::TruncateAck {
            ballot: ballot.0,
            signature: Some(signature.into()),
            incarnation: incarnation.0,
        }),
        Message::Prepare {
            mutation,
            committed,
        } => Wire::Prepare(peer::Prepare {
            mutation: Some(encode_mutation(mutation)),
            committed: committed.0,
        }),
        Message::Committed { ballot, committed } => Wire::Committed(peer::Committed {
            ballot: ballot.0,
            committed: committed.0,
        }),
        Message::PrepareAck {
            ballot,
            prepared,
            committed,
            signature,
        } => Wire::PrepareAck(peer::PrepareAck {
            ballot: ballot.0,
            prepared: prepared.0,
            committed: committed.0,
            signature: Some(signature.into()),
        }),
        Message::Stale { configuration } => Wire::Stale(peer::Stale {
            configuration: Some((&configuration).into()),
        }),
        Message::Join { ballot } => Wire::Join(peer::Join { ballot: ballot.0 }),
        Message::NotMember { ballot } => Wire::NotMember(peer::NotMember { ballot: ballot.0 }),
        Message::Resign { ballot } => Wire::Resign(peer::Resign { ballot: ballot.0 }),
        Message::TakeOver { ballot, then } => Wire::TakeOver(peer::TakeOver {
            ballot: ballot.0,
            leave: then == Afterwards::Leave,
        }),
        Message::LearnOffer {
            configuration,
            attempt,
        } => Wire::LearnOffer(peer::LearnOffer {
            configuration: Some((&configuration).into()),
            attempt,
        }),
        Message::LearnRequest { signature, base } => Wire::LearnRequest(peer::LearnRequest {
            signature: Some(signature.into()),
            base: base.map(|base| base.0),
        }),
        Message::LearnLog {
            ballot,
            signature,
            mutations,
            committed,
        } => Wire::LearnLog(peer::LearnLog {
            ballot: ballot.0,
            signature: Some(signature.into()),
            mutations: mutations.into_iter().map(encode_mutation).collect(),
            committed: committed.0,
        }),
        Message::LearnComplete { ballot, signature } => Wire::LearnComplete(peer::LearnComplete {
            ballot: ballot.0,
            signature: Some(signature.into()),
        }),
        Message::LearnReady {
            ballot,
            signature,
            incarnation,
        } => Wire::LearnReady(peer::LearnReady {
            ballot: ballot.0,
            signature: Some(signature.into()),
            incarnation: incarnation.0,
        }),
    };
    peer::PeerMessage {
        table: partition.table.0,
        partition: partition.index,
        message: Some(wire),
    }
}

pub(crate) fn decode(wire: peer::PeerMessage) -> Result<(PartitionId, Message), BadMessage> {
    let partition = PartitionId::new(wire.table, wire.partition);
    let message = match wire.message.ok_or(BadMessage("kind"))? {
        Wire::Truncate(truncate) => Message::Truncate {
            configuration: configuration(truncate.configuration)?,
            first: Decree(truncate.first),
            last: Decree(truncate.last),
        },
        Wire::TruncateAck(ack) => Message::TruncateAck {
            ballot: Ballot(ack.ballot),
            signature: signature(ack.signature)?,
            incarnation: Incarnation(ack.incarnation),
        },
        Wire::Prepare(prepare) => Message::Prepare {
            mutation: decode_mutation(prepare.mutation.ok_or(BadMessage("mutation"))?),
            committed: Decree(prepare.committed),
        },
        Wire::Committed(committed) => Message::Committed {
            ballot: Ballot(committed.ballot),
            committed: Decree(committed.committed),
        },
        Wire::PrepareAck(ack) => Message::PrepareAck {
            ballot: Ballot(ack.ballot),
            prepared: Decree(ack.prepared),
            committed: Decree(ack.committed),
            signature: signature(ack.signature)?,
        },
        Wire::Stale(stale) => Message::Stale {
            configuration: configuration(stale.configuration)?,
        },
        Wire::Join(join) => Message::Join {
            ballot: Ballot(join.ballot),
        },
        Wire::NotMember(not) => Message::NotMember {
            ballot: Ballot(not.ballot),
        },
        Wire::Resign(resign) => Message::Resign {
            ballot: Ballot(resign.ballot),
        },
        Wire::TakeOver(take_over) => Message::TakeOver {
            ballot: Ballot(take_over.ballot),
            then: if take_over.leave {
                Afterwards::Leave
            } else {
                Afterwards::Stay
            },
        },
        Wire::LearnOffer(offer) => Message::LearnOffer {
            configuration: configuration(offer.configuration)?,
            attempt: offer.attempt,
        },
        Wire::LearnRequest(request) => Message::LearnRequest {
            signature: signature(request.signature)?,
            base: request.base.map(Decree),
        },
        Wire::LearnLog(log) => Message::LearnLog {
            ballot: Ballot(log.ballot),
            signature: signature(log.signature)?,
            mutations: log.mutations.into_iter().map(decode_mutation).collect(),
            committed: Decree(log.committed),
        },
        Wire::LearnComplete(complete) => Message::LearnComplete {
            ballot: Ballot(complete.ballot),
            signature: signature(complete.signature)?,
        },
        Wire::LearnReady(ready) => Message::LearnReady {
            ballot: Ballot(ready.ballot),
            signature: signature(ready.signature)?,
            incarnation: Incarnation(ready.incarnation),
        },
    };
    Ok((partition, message))
}

fn encode_mutation(mutation: Mutation) -> peer::Mutation {
    peer::Mutation {
        ballot: mutation.ballot.0,
        decree: mutation.decree.0,
        timestamp: mutation.timestamp.0,
        effects: mutation.effects,
    }
}

fn decode_mutation(wire: peer::Mutation) -> Mutation {
    Mutation {
        ballot: Ballot(wire.ballot),
        decree: Decree(wire.decree),
        timestamp: Timestamp(wire.timestamp),
        effects: wire.effects,
    }
}

fn signature(wire: Option<proto::common::LearnSignature>) -> Result<LearnSignature, BadMessage> {
    Ok(wire.ok_or(BadMessage("learn signature"))?.into())
}

pub(crate) fn encode_exceptions(exceptions: &[Exception]) -> Vec<peer::Exception> {
    let encode = |exception: &Exception| peer::Exception {
        table: exception.partition.table.0,
        partition: exception.partition.index,
        ballot: exception.ballot.0,
    };
    exceptions.iter().map(encode).collect()
}

pub(crate) fn decode_exceptions(wire: &[peer::Exception]) -> Vec<Exception> {
    let decode = |wire: &peer::Exception| Exception {
        partition: PartitionId::new(wire.table, wire.partition),
        ballot: Ballot(wire.ballot),
    };
    wire.iter().map(decode).collect()
}
