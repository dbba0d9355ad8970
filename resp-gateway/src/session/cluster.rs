//! CLUSTER: what clients that find primaries by themselves ask for. Routes come from the backend; here they only get Redis' shapes.

use super::{help, integer, unknown_subcommand};
use crate::backend::{Backend, ClusterNode, Shard, Topology};
use crate::server::{Gateway, Mode};
use commands::Reply;
use commands::table::wrong_number_of_arguments;
use std::fmt::Write;
use types::{NodeId, SLOTS, Slot};

const HELP: [&str; 18] = [
    "COUNTKEYSINSLOT <slot>",
    "    Return the number of keys in <slot>.",
    "GETKEYSINSLOT <slot> <count>",
    "    Return key names stored by current node in a slot.",
    "INFO",
    "    Return information about the cluster.",
    "KEYSLOT <key>",
    "    Return the hash slot for <key>.",
    "MYID",
    "    Return the node id.",
    "NODES",
    "    Return cluster configuration seen by node.",
    "SLOTS",
    "    Return information about slots range mappings.",
    "SHARDS",
    "    Return information about slot range mappings and the nodes associated with them.",
    "HELP",
    "    Print this help.",
];

/// Whether the subcommand tells of a table's partitions.
pub(super) fn needs_table(args: &[&[u8]]) -> bool {
    !matches!(
        &args[1].to_ascii_lowercase()[..],
        b"keyslot" | b"myid" | b"help"
    )
}

/// Whether the subcommand is answered by the partition of the slot it names.
pub(super) fn needs_partition(args: &[&[u8]]) -> bool {
    matches!(
        (&args[1].to_ascii_lowercase()[..], args.len()),
        (b"countkeysinslot", 3) | (b"getkeysinslot", 4)
    )
}

/// A slot as a client writes it.
pub(super) fn slot(digits: &[u8]) -> Option<Slot> {
    integer(digits)
        .and_then(|slot| u16::try_from(slot).ok())
        .filter(|&slot| slot < SLOTS)
        .map(Slot)
}

/// `CLUSTER subcommand ...`, except what [`needs_partition`].
pub(super) fn cluster<B: Backend>(
    gateway: &Gateway<B>,
    table: Option<&B::Table>,
    args: &[&[u8]],
) -> Reply {
    let name = args[1].to_ascii_lowercase();
    match (&name[..], &args[2..]) {
        (b"keyslot", [key]) => return Reply::Integer(Slot::of(key).0.into()),
        (b"countkeysinslot", [_]) | (b"getkeysinslot", [_, _]) => {
            return Reply::error("ERR Invalid slot");
        }
        (b"help", []) => return help("CLUSTER", &HELP),
        _ => {}
    }
    if gateway.options.mode == Mode::Forward {
        return Reply::error("ERR This instance has cluster support disabled");
    }
    let topology = || table.map_or_else(Topology::default, |table| gateway.backend.topology(table));
    let myself = gateway.backend.node_id();
    match (&name[..], &args[2..]) {
        (b"myid", []) => bulk(&id(myself.unwrap_or_default())),
        (b"slots", []) => slots(&topology()),
        (b"shards", []) => shards(&topology()),
        (b"nodes", []) => Reply::Text(nodes(&topology(), myself).into()),
        (b"info", []) => Reply::Text(info(&topology()).into()),
        (
            b"myid" | b"slots" | b"shards" | b"nodes" | b"info" | b"keyslot" | b"countkeysinslot"
            | b"getkeysinslot" | b"help",
            _,
        ) => wrong_number_of_arguments(&format!("cluster|{}", String::from_utf8_lossy(&name))),
        _ => unknown_subcommand("CLUSTER", args[1]),
    }
}

fn bulk(text: &str) -> Reply {
    Reply::bulk(text.as_bytes())
}

/// Redis' node ids have 40 digits.
fn id(node: NodeId) -> String {
    format!("{:0>40}", node.to_string())
}

fn slots(topology: &Topology) -> Reply {
    let node = |index: &usize| {
        topology.nodes.get(*index).map(|node| {
            Reply::Array(vec![
                bulk(&node.address.host),
                Reply::Integer(node.address.port.into()),
                bulk(&id(node.id)),
                Reply::Array(Vec::new()),
            ])
        })
    };
    Reply::Array(
        topology
            .shards
            .iter()
            .map(|shard| {
                let mut entry = vec![
                    Reply::Integer(shard.slots.first.0.into()),
                    Reply::Integer(shard.slots.last.0.into()),
                ];
                entry.extend(members(shard).iter().filter_map(node));
                Reply::Array(entry)
            })
            .collect(),
    )
}

fn members(shard: &Shard) -> Vec<usize> {
    std::iter::once(shard.primary)
        .chain(shard.secondaries.iter().copied())
        .collect()
}

/// One entry for all slots that the same servers hold in the same roles, as Redis' shards are.
fn shards(topology: &Topology) -> Reply {
    let mut groups: Vec<(Vec<usize>, Vec<Reply>)> = Vec::new();
    for shard in &topology.shards {
        let members = members(shard);
        let range = [
            Reply::Integer(shard.slots.first.0.into()),
            Reply::Integer(shard.slots.last.0.into()),
        ];
        match groups.iter_mut().find(|(known, _)| *known == members) {
            Some((_, slots)) => slots.extend(range),
            None => groups.push((members, range.into())),
        }
    }
    let groups = groups.into_iter().map(|(members, slots)| {
        let nodes = members.iter().enumerate().filter_map(|(place, &index)| {
            let role = if place == 0 { "master" } else { "replica" };
            topology.nodes.get(index).map(|node| shard_node(node, role))
        });
        Reply::Map(vec![
            (bulk("slots"), Reply::Array(slots)),
            (bulk("nodes"), Reply::Array(nodes.collect())),
        ])
    });
    Reply::Array(groups.collect())
}

fn shard_node(node: &ClusterNode, role: &str) -> Reply {
    let health = if node.alive { "online" } else { "failed" };
    Reply::Map(vec![
        (bulk("id"), bulk(&id(node.id))),
        (bulk("port"), Reply::Integer(node.address.port.into())),
        (bulk("ip"), bulk(&node.address.host)),
        (bulk("endpoint"), bulk(&node.address.host)),
        (bulk("role"), bulk(role)),
        (bulk("replication-offset"), Reply::Integer(0)),
        (bulk("health"), bulk(health)),
    ])
}

/// Every node is a master in Redis' sense, as each is primary of some partitions and secondary of others; one that is primary of none
/// has no slots.
fn nodes(topology: &Topology, myself: Option<NodeId>) -> String {
    let mut text = String::new();
    for (index, node) in topology.nodes.iter().enumerate() {
        let port = node.address.port;
        let me = if myself == Some(node.id) {
            "myself,"
        } else {
            ""
        };
        let failed = if node.alive { "" } else { ",fail" };
        let ballot = topology
            .shards
            .iter()
            .filter(|shard| shard.primary == index)
            .map(|shard| shard.ballot)
            .max()
            .unwrap_or(0);
        let link = if node.alive {
            "connected"
        } else {
            "disconnected"
        };
        let _ = write!(
            text,
            "{} {}:{port}@{} {me}master{failed} - 0 0 {ballot} {link}",
            id(node.id),
            node.address.host,
            u32::from(port) + 10_000
        );
        for shard in topology
            .shards
            .iter()
            .filter(|shard| shard.primary == index)
        {
            let (first, last) = (shard.slots.first, shard.slots.last);
            let _ = if first == last {
                write!(text, " {first}")
            } else {
                write!(text, " {first}-{last}")
            };
        }
        text.push('\n');
    }
    text
}

fn info(topology: &Topology) -> String {
    let assigned: u32 = topology
        .shards
        .iter()
        .map(|shard| u32::from(shard.slots.last.0) - u32::from(shard.slots.first.0) + 1)
        .sum();
    let epoch = topology.shards.iter().map(|shard| shard.ballot).max();
    let state = if assigned == u32::from(SLOTS) {
        "ok"
    } else {
        "fail"
    };
    let mut primaries: Vec<usize> = topology.shards.iter().map(|shard| shard.primary).collect();
    primaries.sort_unstable();
    primaries.dedup();
    format!(
        "cluster_enabled:1\r\ncluster_state:{state}\r\ncluster_slots_assigned:{assigned}\r\ncluster_slots_ok:{assigned}\r\n\
         cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:{}\r\ncluster_size:{}\r\n\
         cluster_current_epoch:{epoch}\r\ncluster_my_epoch:{epoch}\r\n",
        topology.nodes.len(),
        primaries.len(),
        epoch = epoch.unwrap_or(0)
    )
}
