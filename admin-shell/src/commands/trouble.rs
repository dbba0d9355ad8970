//! What is wrong, and what to do when copies or the metadata store are lost.

use super::Failure;
use super::find::{Servers, parse_id};
use crate::admin::Admin;
use crate::answer::{Answer, node_id};
use crate::arguments::{MetaCommand, PartitionCommand};
use crate::grid::Grid;
use crate::progress::Progress;
use proto::meta::rescue_request::Choice;
use proto::meta::{RebuildRequest, RebuildResponse, RescueRequest, RescueResponse, Rescuer};
use serde_json::{Value, json};
use std::fmt::Write;

/// Partitions that are not as they should be.
pub(super) async fn health(admin: &mut Admin, table: Option<&str>) -> Result<Answer, Failure> {
    let response = admin.health(table.unwrap_or_default()).await?;
    let mut lines = Grid::new(&[
        "table",
        "partition",
        "what is wrong",
        "what is done about it",
    ]);
    let mut values = Vec::new();
    for partition in &response.partitions {
        let index = partition.partition.unwrap_or_default().index;
        lines.add_row([
            partition.table.clone(),
            index.to_string(),
            partition.what.clone(),
            partition.cure.clone(),
        ]);
        values.push(json!({
            "table": partition.table,
            "partition": index,
            "kind": partition.kind,
            "what": partition.what,
            "cure": partition.cure,
        }));
    }
    let shown = response.partitions.len() as u64;
    let text = match response.all {
        0 => "All partitions are as they should be.".to_owned(),
        all if all > shown => format!("{lines}\n\n{shown} of {all} are shown."),
        _ => lines.to_string(),
    };
    Ok(Answer::new(
        json!({ "unhealthy": response.all, "partitions": values }),
        text,
    ))
}

pub(super) async fn partition(
    admin: &mut Admin,
    command: &PartitionCommand,
) -> Result<Answer, Failure> {
    let PartitionCommand::Rescue {
        name,
        partition,
        copy,
        nothing,
        word,
    } = command;
    let servers = Servers::ask(admin).await?;
    let choice = match (copy, nothing) {
        (Some(node), _) => Some(Choice::Copy(servers.id(node)?)),
        (None, true) => Some(Choice::Nothing(true)),
        (None, false) => None,
    };
    let request = RescueRequest {
        table: name.clone(),
        index: *partition,
        choice,
        word: word.clone().unwrap_or_default(),
    };
    let progress = Progress::waiting("the servers are asked");
    let response = admin.rescue(request).await?;
    drop(progress);
    if response.done {
        let text = format!(
            "partition {partition} of {name} goes on with what was chosen; other servers get copies of that"
        );
        return Ok(Answer::new(json!({ "done": true }), text));
    }
    Ok(choices(name, *partition, &response, &servers))
}

/// What can be chosen, what it costs, and the command for it.
fn choices(name: &str, partition: u32, response: &RescueResponse, servers: &Servers) -> Answer {
    let most = response
        .rescuers
        .iter()
        .map(|rescuer| rescuer.prepared)
        .max();
    let mut text = format!(
        "No member of partition {partition} of {name} has a whole copy: {}.\n",
        response.loss
    );
    if response.rescuers.is_empty() {
        text.push_str("Nothing can be chosen: no server has a copy that can be read, and none is free of it. Start one more.\n");
    } else {
        text.push_str(
            "\nBring a server with a whole copy back if there is any hope: that costs nothing. \
             Else make sure that none of the old members runs any more, and choose:\n",
        );
    }
    for rescuer in &response.rescuers {
        let option = match rescuer.node {
            0 => "--nothing".to_owned(),
            node => format!("--copy {}", node_id(node)),
        };
        let _ = write!(
            text,
            "\n{}\n  partition rescue {name} {partition} {option} --word {}\n",
            price(rescuer, most.unwrap_or(0), servers),
            rescuer.word
        );
    }
    let rescuers = response.rescuers.iter().map(|rescuer| {
        json!({
            "node": (rescuer.node != 0).then(|| node_id(rescuer.node)),
            "word": rescuer.word,
            "member": rescuer.member,
            "unsynced": rescuer.unsynced,
            "prepared": rescuer.prepared,
            "committed": rescuer.committed,
            "epoch": rescuer.epoch,
            "ballot": rescuer.ballot,
        })
    });
    Answer::new(
        json!({ "done": false, "loss": response.loss, "choices": rescuers.collect::<Vec<_>>() }),
        text.trim_end().to_owned(),
    )
}

fn price(rescuer: &Rescuer, most: u64, servers: &Servers) -> String {
    if rescuer.node == 0 {
        return "Begin with nothing: all data of the partition is lost.".to_owned();
    }
    let mut text = format!(
        "The copy on {}, up to mutation {} ({} known to be committed)",
        servers.name(rescuer.node),
        rescuer.prepared,
        rescuer.committed
    );
    if rescuer.prepared < most {
        let _ = write!(text, ": {} fewer than the longest", most - rescuer.prepared);
    }
    if rescuer.unsynced {
        text.push_str("; its machine lost its last unsynced writes");
    }
    if !rescuer.member {
        let _ = write!(
            text,
            "; it was left out at ballot {}: all that was written later is lost",
            rescuer.ballot
        );
    }
    text.push_str(". What the lost members had more is lost.");
    text
}

pub(super) async fn meta(admin: &mut Admin, command: &MetaCommand) -> Result<Answer, Failure> {
    let MetaCommand::Rebuild { missing, word } = command;
    let missing: Vec<u64> = missing
        .iter()
        .map(|node| parse_id(node))
        .collect::<Result<_, _>>()?;
    let request = RebuildRequest {
        missing,
        word: word.clone().unwrap_or_default(),
    };
    let progress = Progress::waiting("the servers are asked");
    let response = admin.rebuild(request).await?;
    drop(progress);
    if response.done {
        let text = "The store is written; 'table list' and 'health' show what came of it.";
        return Ok(Answer::new(json!({ "done": true }), text));
    }
    Ok(found(&response))
}

fn found(response: &RebuildResponse) -> Answer {
    let tables: Vec<&str> = response
        .tables
        .iter()
        .map(|table| &table.name[..])
        .collect();
    let replicas: u64 = response.answered.iter().map(|node| node.replicas).sum();
    let mut text = format!(
        "{} servers answered, with {replicas} replicas.\nTables: {}\nPartitions with a whole copy: {}",
        response.answered.len(),
        if tables.is_empty() {
            "none".to_owned()
        } else {
            tables.join(", ")
        },
        response.found,
    );
    let ids = |ids: &[proto::common::PartitionId]| {
        let ids = ids.iter().map(|id| format!("{}.{}", id.table, id.index));
        ids.collect::<Vec<_>>()
    };
    for (what, which) in [
        (
            "without one, they wait for it",
            &response.without_whole_copy,
        ),
        (
            "of which nobody has anything, they begin empty",
            &response.empty,
        ),
    ] {
        if !which.is_empty() {
            let _ = write!(text, "\nPartitions {what}: {}", ids(which).join(", "));
        }
    }
    if !response.dropped.is_empty() {
        let dropped: Vec<String> = response.dropped.iter().map(u32::to_string).collect();
        let _ = write!(
            text,
            "\nTables that no server knows any more (dropped); their replicas go: {}",
            dropped.join(", ")
        );
    }
    let mut missing = String::new();
    if !response.unanswered.is_empty() {
        let nodes = response.unanswered.iter();
        let nodes: Vec<String> = nodes
            .map(|address| format!("{} ({})", node_id(address.node), address.name))
            .collect();
        let all: Vec<String> = response
            .unanswered
            .iter()
            .map(|address| node_id(address.node))
            .collect();
        missing = format!(" --missing {}", all.join(","));
        let _ = write!(
            text,
            "\n\nNo answer yet from {}. Wait for them. If they are gone for good, what only they knew is lost.",
            nodes.join(", ")
        );
    }
    let _ = write!(
        text,
        "\n\nTo write this:\n  meta rebuild{missing} --word {}",
        response.word
    );
    Answer::new(
        json!({
            "done": false,
            "word": response.word,
            "tables": tables,
            "replicas": replicas,
            "answered": response.answered.iter().map(|node| Value::from(node_id(node.node))).collect::<Vec<_>>(),
            "unanswered": response.unanswered.iter().map(|address| Value::from(node_id(address.node))).collect::<Vec<_>>(),
            "found": response.found,
            "without_whole_copy": ids(&response.without_whole_copy),
            "empty": ids(&response.empty),
            "dropped": response.dropped,
        }),
        text,
    )
}
