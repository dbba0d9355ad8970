//! What comes over gRPC: any bytes are a message or none, a message is a value of ours or an error, and such a value is said again
//! in the same message. Requests go on to the commands that they stand for, and what nodes tell the meta leader goes on to the cluster's brain.
//!
//! The conversions belong to the servers and are taken in by their files, since a server brings RocksDB with it.
#![no_main]

#[path = "../../client-lib/src/codec.rs"]
#[allow(dead_code)]
mod client;
#[path = "../../replica-server/src/cluster.rs"]
#[allow(dead_code)]
mod cluster;
#[path = "wire/leader.rs"]
mod leader;
#[path = "../../meta-server/src/convert.rs"]
#[allow(dead_code)]
mod meta_convert;
#[path = "../../replica-server/src/services/operations.rs"]
#[allow(dead_code)]
mod operations;
#[path = "../../replica-server/src/peers/codec.rs"]
#[allow(dead_code)]
mod peers;

use bytes::{Bytes, BytesMut};
use commands::memory::MemoryView;
use commands::{CommandSpec, Limits, Moment, Reply, evaluate_read, evaluate_write};
use libfuzzer_sys::fuzz_target;
use prost::Message;
use proto::{common, data, meta, peer};
use resp_gateway::pages;
use types::{Decree, PartitionId, SlotRange, Timestamp};

fuzz_target!(|data: &[u8]| {
    let Some((&kind, bytes)) = data.split_first() else {
        return;
    };
    // The generated decoder takes slices of what it is given.
    let bytes = Bytes::copy_from_slice(bytes);
    match kind % 8 {
        0 => read(bytes, client_requests),
        1 => read(bytes, peer_batch),
        2 => read(bytes, beacons),
        3 => read(bytes, to_node),
        4 => leader::play(&bytes),
        5 => read(bytes, routes),
        6 => read(bytes, responses),
        _ => {
            read(bytes.clone(), |_: peer::CheckpointPart| ());
            read(bytes, |_: peer::DigestRequest| ());
        }
    }
});

fn read<M: Message + Default>(bytes: Bytes, take: impl FnOnce(M)) {
    if let Ok(message) = M::decode(bytes) {
        take(message);
    }
}

fn client_requests(batch: data::RequestBatch) {
    let mut encoded = BytesMut::new();
    for request in &batch.requests {
        let (Some(operation), address) = (
            &request.operation,
            client::Address {
                id: request.id,
                table: request.table,
                partition: request.partition,
                epoch: request.epoch,
                staleness: request.staleness,
                ordered: request.ordered,
            },
        ) else {
            continue;
        };
        client::encode_request(
            address,
            operation,
            operation.encoded_len(),
            request.request_id,
            &mut encoded,
        );
    }
    let again = data::RequestBatch::decode(encoded.freeze())
        .expect("the client encodes what can be decoded");
    let whole = batch
        .requests
        .iter()
        .filter(|request| request.operation.is_some());
    assert!(
        again.requests.iter().eq(whole),
        "the client says something else than it was asked"
    );

    let mut view = MemoryView::new();
    for (number, request) in (1..).zip(batch.requests) {
        if let Some(operation) = request.operation {
            execute(operation, &mut view, Decree(number));
        }
    }
}

fn execute(operation: data::request::Operation, view: &mut MemoryView, decree: Decree) {
    let Ok((spec, args, shape)) = operations::command(operation) else {
        return;
    };
    let moment = Moment {
        now: Timestamp(1_000_000),
        decree,
        index: 0,
        random: 42,
        slots: SlotRange::ALL,
        default_ttl: None,
        limits: Limits {
            value: 1 << 14,
            mutation: 1 << 16,
            ..Limits::default()
        },
    };
    let args: Vec<&[u8]> = args.iter().map(|arg| &arg[..]).collect();
    if let Some(reply) = evaluate(spec, &args, view, &moment) {
        let result = operations::result(shape, reply);
        let misfit = matches!(&result, data::response::Result::Refusal(refusal) if refusal.message.starts_with("ERR internal"));
        assert!(!misfit, "the reply of {} does not fit {shape:?}", spec.name);
    }
}

fn evaluate(
    spec: &CommandSpec,
    args: &[&[u8]],
    view: &mut MemoryView,
    moment: &Moment,
) -> Option<Reply> {
    if spec.name == commands::table::HASH_RANGE.name {
        return None;
    }
    if pages::concerns(spec) {
        return pages::answer(spec, args, view, moment)
            .ok()
            .map(|it| it.reply);
    }
    if !spec.is_write() {
        return evaluate_read(spec, args, view, moment)
            .ok()
            .map(|it| it.reply);
    }
    let before = view.clone();
    let evaluated = evaluate_write(spec, args, view, moment)
        .ok()
        .map(|it| it.reply);
    if evaluated.as_ref().is_none_or(Reply::is_error) {
        *view = before;
    }
    evaluated
}

fn peer_batch(batch: peer::PeerBatch) {
    for wire in batch.messages {
        if let Ok((partition, message)) = peers::decode(wire.clone()) {
            assert_eq!(peers::encode(partition, message), wire);
        }
    }
}

fn beacons(wire: peer::Beacon) {
    // A reply has its fields' numbers in common with a beacon.
    if let Ok(reply) = peer::BeaconReply::decode(&wire.encode_to_vec()[..]) {
        assert_eq!(peers::encode_reply(&peers::decode_reply(&reply)), reply);
    }
    let beacon = peers::decode_beacon(&wire);
    assert_eq!(peers::encode_beacon(wire.greeting.clone(), &beacon), wire);
}

fn to_node(message: meta::ToNode) {
    use meta::to_node::Message;
    let mut known = cluster::Known::default();
    match message.message {
        Some(Message::Stored(stored)) => {
            for stored in stored.configurations {
                configuration(stored.configuration);
            }
        }
        Some(Message::Cluster(cluster)) => {
            let learnt = known.learn(cluster.clone(), false);
            assert!(
                !known.learn(cluster, false) || learnt,
                "hearing it twice changes something"
            );
        }
        _ => {}
    }
    for (&table, properties) in &known.tables {
        assert!(properties.members_for_writes() <= u32::MAX as usize);
        let get = commands::lookup(b"mget").expect("there is MGET");
        let _ = known.holds(PartitionId::new(table, 0), get, &[b"mget", b"a", b"b"]);
    }
}

fn routes(update: meta::RoutesUpdate) {
    for route in update.partitions {
        configuration(route.configuration);
    }
}

fn responses(batch: data::ResponseBatch) {
    for response in batch.responses {
        if let Some(data::response::Result::Refusal(refusal)) = response.result {
            configuration(refusal.configuration);
        }
    }
}

fn configuration(wire: Option<common::Configuration>) {
    if let Ok(configuration) = proto::configuration(wire.clone()) {
        assert_eq!(Some((&configuration).into()), wire);
    }
}
