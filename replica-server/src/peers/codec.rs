//! Messages between replicas and beacons between nodes as the wire has them, both ways. A message that lacks something is an error of its
//! sender, never a default.

use proto::peer::{self, peer_message::Message as Wire};
use proto::{BadMessage, configuration};
use replication::{Afterwards, Asked, Exception, Message};
use types::{
    Ballot, Decree, Incarnation, Instant, LearnSignature, Mutation, PartitionId, Timestamp,
};

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
        Message::AskFreshness(asked) => Wire::AskFreshness(encode_asked(asked)),
        Message::Fresh {
            asked,
            committed,
            time,
        } => Wire::Fresh(peer::Fresh {
            asked: Some(encode_asked(asked)),
            committed: committed.0,
            time: time.0,
        }),
        Message::Join { ballot } => Wire::Join(peer::Join { ballot: ballot.0 }),
        Message::NotMember { ballot } => Wire::NotMember(peer::NotMember { ballot: ballot.0 }),
        Message::Resign { ballot } => Wire::Resign(peer::Resign { ballot: ballot.0 }),
        Message::TakeOver { ballot, then } => Wire::TakeOver(peer::TakeOver {
            ballot: ballot.0,
            leave: then == Afterwards::Leave,
        }),
        Message::Differs { ballot } => Wire::Differs(peer::Differs { ballot: ballot.0 }),
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
        Wire::AskFreshness(asked) => Message::AskFreshness(decode_asked(asked)),
        Wire::Fresh(fresh) => Message::Fresh {
            asked: decode_asked(fresh.asked.ok_or(BadMessage("question"))?),
            committed: Decree(fresh.committed),
            time: Timestamp(fresh.time),
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
        Wire::Differs(differs) => Message::Differs {
            ballot: Ballot(differs.ballot),
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

fn encode_asked(asked: Asked) -> peer::AskFreshness {
    peer::AskFreshness {
        ballot: asked.ballot.0,
        incarnation: asked.incarnation.0,
        at: asked.at.0,
    }
}

fn decode_asked(wire: peer::AskFreshness) -> Asked {
    Asked {
        ballot: Ballot(wire.ballot),
        incarnation: Incarnation(wire.incarnation),
        at: Instant(wire.at),
    }
}

fn signature(wire: Option<proto::common::LearnSignature>) -> Result<LearnSignature, BadMessage> {
    Ok(wire.ok_or(BadMessage("learn signature"))?.into())
}

pub(crate) fn encode_beacon(
    greeting: Option<peer::Greeting>,
    beacon: &replication::Beacon,
) -> peer::Beacon {
    peer::Beacon {
        greeting,
        incarnation: beacon.incarnation.0,
        sent: beacon.sent.0,
        acknowledged: encode_exceptions(&beacon.acknowledged),
    }
}

pub(crate) fn decode_beacon(wire: &peer::Beacon) -> replication::Beacon {
    replication::Beacon {
        incarnation: Incarnation(wire.incarnation),
        sent: Instant(wire.sent),
        acknowledged: decode_exceptions(&wire.acknowledged),
    }
}

pub(crate) fn encode_reply(reply: &replication::BeaconReply) -> peer::BeaconReply {
    peer::BeaconReply {
        holder: reply.holder.0,
        grantor: reply.grantor.0,
        granted: reply.granted.map(|sent| sent.0),
        exceptions: encode_exceptions(&reply.exceptions),
        // The clock is no part of the lease.
        wall: None,
    }
}

pub(crate) fn decode_reply(wire: &peer::BeaconReply) -> replication::BeaconReply {
    replication::BeaconReply {
        holder: Incarnation(wire.holder),
        grantor: Incarnation(wire.grantor),
        granted: wire.granted.map(Instant),
        exceptions: decode_exceptions(&wire.exceptions),
    }
}

fn encode_exceptions(exceptions: &[Exception]) -> Vec<peer::Exception> {
    let encode = |exception: &Exception| peer::Exception {
        table: exception.partition.table.0,
        partition: exception.partition.index,
        ballot: exception.ballot.0,
    };
    exceptions.iter().map(encode).collect()
}

fn decode_exceptions(wire: &[peer::Exception]) -> Vec<Exception> {
    let decode = |wire: &peer::Exception| Exception {
        partition: PartitionId::new(wire.table, wire.partition),
        ballot: Ballot(wire.ballot),
    };
    wire.iter().map(decode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use types::{Configuration, Member, NodeId};

    fn one_of_each() -> Vec<Message> {
        let ballot = Ballot(7);
        let incarnation = Incarnation(3);
        let signature = LearnSignature {
            ballot: Ballot(5),
            incarnation,
            counter: 9,
        };
        let asked = Asked {
            ballot,
            incarnation,
            at: Instant(u64::MAX),
        };
        let configuration = Configuration {
            ballot,
            epoch: 2,
            primary: Member::original(NodeId(u64::MAX)),
            secondaries: vec![Member {
                node: NodeId(4),
                signature,
            }],
        };
        let mutation = Mutation {
            ballot,
            decree: Decree(11),
            timestamp: Timestamp(13),
            effects: vec![0, 1, 255].into(),
        };
        let committed = Decree(10);
        vec![
            Message::Truncate {
                configuration: configuration.clone(),
                first: Decree(1),
                last: Decree(2),
            },
            Message::TruncateAck {
                ballot,
                signature,
                incarnation,
            },
            Message::Prepare {
                mutation: mutation.clone(),
                committed,
            },
            Message::Committed { ballot, committed },
            Message::PrepareAck {
                ballot,
                prepared: Decree(11),
                committed,
                signature,
            },
            Message::Stale {
                configuration: configuration.clone(),
            },
            Message::Join { ballot },
            Message::AskFreshness(asked),
            Message::Fresh {
                asked,
                committed: Decree(8),
                time: Timestamp(1 << 60),
            },
            Message::NotMember { ballot },
            Message::Resign { ballot },
            Message::Differs { ballot },
            Message::TakeOver {
                ballot,
                then: Afterwards::Stay,
            },
            Message::TakeOver {
                ballot,
                then: Afterwards::Leave,
            },
            Message::LearnOffer {
                configuration,
                attempt: 6,
            },
            Message::LearnRequest {
                signature,
                base: None,
            },
            Message::LearnRequest {
                signature,
                base: Some(Decree::ZERO),
            },
            Message::LearnLog {
                ballot,
                signature,
                mutations: vec![mutation.clone(), mutation],
                committed,
            },
            Message::LearnComplete { ballot, signature },
            Message::LearnReady {
                ballot,
                signature,
                incarnation,
            },
        ]
    }

    #[test]
    fn every_message_comes_out_of_its_bytes_as_it_went_in() {
        let partition = PartitionId::new(3, 16383);
        for message in one_of_each() {
            let bytes = encode(partition, message.clone()).encode_to_vec();
            let wire = peer::PeerMessage::decode(&bytes[..]).unwrap();
            assert_eq!(decode(wire), Ok((partition, message)));
        }
    }

    #[test]
    fn beacons_and_their_replies_come_out_of_their_bytes_as_they_went_in() {
        let exceptions = vec![Exception {
            partition: PartitionId::new(3, 5),
            ballot: Ballot(7),
        }];
        let beacon = replication::Beacon {
            incarnation: Incarnation(3),
            sent: Instant(u64::MAX),
            acknowledged: exceptions.clone(),
        };
        let bytes = encode_beacon(None, &beacon).encode_to_vec();
        let wire = peer::Beacon::decode(&bytes[..]).unwrap();
        assert_eq!(decode_beacon(&wire), beacon);
        for granted in [None, Some(Instant(0)), Some(Instant(9))] {
            let reply = replication::BeaconReply {
                holder: Incarnation(1),
                grantor: Incarnation(2),
                granted,
                exceptions: exceptions.clone(),
            };
            let bytes = encode_reply(&reply).encode_to_vec();
            let wire = peer::BeaconReply::decode(&bytes[..]).unwrap();
            assert_eq!(decode_reply(&wire), reply);
        }
    }

    #[test]
    fn a_message_that_lacks_a_part_is_refused_and_never_guessed() {
        let lacking = |message| {
            decode(peer::PeerMessage {
                table: 1,
                partition: 0,
                message,
            })
        };
        assert_eq!(lacking(None), Err(BadMessage("kind")));
        let prepare = peer::Prepare {
            mutation: None,
            committed: 1,
        };
        assert_eq!(
            lacking(Some(Wire::Prepare(prepare))),
            Err(BadMessage("mutation"))
        );
        let truncate = peer::Truncate {
            configuration: None,
            first: 1,
            last: 1,
        };
        assert_eq!(
            lacking(Some(Wire::Truncate(truncate))),
            Err(BadMessage("configuration"))
        );
        let ack = peer::PrepareAck::default();
        assert_eq!(
            lacking(Some(Wire::PrepareAck(ack))),
            Err(BadMessage("learn signature"))
        );
    }
}
