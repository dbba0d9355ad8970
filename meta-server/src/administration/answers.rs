//! What operators are told, as it goes over the wire.

use crate::convert::{address, table};
use crate::unwell;
use placement::{Ailment, Cluster, Rebuild, Rescue, Shift, Step};
use proto::meta;
use std::collections::BTreeMap;
use tonic::Status;
use types::{Instant, NodeId, TableId};

pub(crate) fn balance(cluster: &Cluster, now: Instant, steps: usize) -> meta::BalanceResponse {
    let status = cluster.balance_status(now);
    let under_way = status.moves.iter().map(|moving| meta::BalanceStep {
        lasts_ms: moving.lasts.as_millis() as u64,
        arrived: moving.arrived,
        ..step(cluster, &moving.step)
    });
    meta::BalanceResponse {
        paused: status.balancing == placement::Balancing::Paused,
        waits_ms: status.waits.as_millis() as u64,
        under_way: under_way.collect(),
        plan: cluster
            .plan(steps)
            .iter()
            .map(|planned| step(cluster, planned))
            .collect(),
    }
}

fn step(cluster: &Cluster, step: &Step) -> meta::BalanceStep {
    let (Shift::Replica { from, to } | Shift::Lead { from, to }) = step.shift;
    let named = cluster
        .tables()
        .find(|table| table.id == step.partition.table);
    meta::BalanceStep {
        partition: Some(step.partition.into()),
        table: named.map_or_else(String::new, |table| table.name.clone()),
        from: from.0,
        to: to.0,
        primary: matches!(step.shift, Shift::Lead { .. }),
        reason: step.reason.to_string(),
        lasts_ms: 0,
        arrived: false,
    }
}

pub(crate) fn health(
    cluster: &Cluster,
    now: Instant,
    name: &str,
    limit: usize,
) -> Result<meta::HealthResponse, Status> {
    let table = match (name, cluster.table(name)) {
        ("", _) => None,
        (_, Some(table)) => Some(table.id),
        _ => return Err(Status::not_found(format!("there is no table '{name}'"))),
    };
    let health = cluster.health(now, table, limit);
    let tables: BTreeMap<TableId, &str> = cluster
        .tables()
        .map(|table| (table.id, &table.name[..]))
        .collect();
    let nodes: BTreeMap<NodeId, String> = cluster
        .addresses()
        .map(|known| (known.node, unwell::named(Some(&address(known)))))
        .collect();
    let partitions = health.ailments.iter();
    Ok(meta::HealthResponse {
        partitions: partitions
            .map(|ailment| ailing(ailment, &tables, &nodes))
            .collect(),
        all: health.unwell.iter().sum::<usize>() as u64,
    })
}

fn ailing(
    ailment: &Ailment,
    tables: &BTreeMap<TableId, &str>,
    nodes: &BTreeMap<NodeId, String>,
) -> meta::UnhealthyPartition {
    let name = |node| {
        nodes
            .get(&node)
            .cloned()
            .unwrap_or_else(|| node.to_string())
    };
    let (what, _) = unwell::condition(ailment.condition);
    let (members, wanted) = ailment.members;
    let table = tables.get(&ailment.partition.table);
    meta::UnhealthyPartition {
        partition: Some(ailment.partition.into()),
        table: table.map_or_else(String::new, |&name| name.to_owned()),
        kind: ailment.condition.name().into(),
        what: format!("{what}: {members} of {wanted} copies"),
        cure: unwell::cure(&ailment.cure, name),
    }
}

pub(crate) fn rescue(rescue: &Rescue) -> meta::RescueResponse {
    let rescuers = rescue.rescuers.iter().map(|rescuer| meta::Rescuer {
        node: match rescuer.choice {
            placement::Choice::Copy(node) => node.0,
            placement::Choice::Nothing => 0,
        },
        word: rescuer.word.clone(),
        member: rescuer.member,
        unsynced: rescuer.unsynced,
        prepared: rescuer.prepared.0,
        committed: rescuer.committed.0,
        epoch: rescuer.epoch,
        ballot: rescuer.ballot.0,
    });
    meta::RescueResponse {
        configuration: Some((&rescue.stored).into()),
        loss: unwell::loss(&rescue.loss, |node| node.to_string()),
        rescuers: rescuers.collect(),
        done: rescue.chosen.is_some(),
    }
}

pub(crate) fn rebuild(rebuild: &Rebuild) -> meta::RebuildResponse {
    meta::RebuildResponse {
        tables: rebuild.tables.iter().map(table).collect(),
        answered: rebuild
            .answered
            .iter()
            .map(|&(node, replicas)| meta::Answered {
                node: node.0,
                replicas: replicas as u64,
            })
            .collect(),
        unanswered: rebuild.unanswered.iter().map(address).collect(),
        found: rebuild.found as u64,
        without_whole_copy: rebuild
            .without_whole_copy
            .iter()
            .map(|&id| id.into())
            .collect(),
        empty: rebuild.empty.iter().map(|&id| id.into()).collect(),
        dropped: rebuild.dropped.iter().map(|table| table.0).collect(),
        word: rebuild.word.clone(),
        done: false,
    }
}
