//! Where a table's copies are, and whether they are equal.

use super::Failure;
use super::digests::{Copy, ask_all};
use crate::admin::Admin;
use crate::answer::{Answer, grid, node_id};
use proto::common::{Configuration, NodeAddress};
use proto::meta::TableRoutes;
use serde_json::{Value, json};
use types::{Slot, SlotRange};

pub(super) async fn list(
    admin: &mut Admin,
    table: &str,
    with_digests: bool,
) -> Result<Answer, Failure> {
    let routes = admin.show_table(table).await?;
    let copies = if with_digests {
        ask_all(&routes, admin.secret()).await
    } else {
        Vec::new()
    };
    Ok(answer(&routes, &copies))
}

/// Slot, partition and servers of `key`.
pub(super) async fn route(admin: &mut Admin, table: &str, key: &str) -> Result<Answer, Failure> {
    let routes = admin.show_table(table).await?;
    let slot = Slot::of(key.as_bytes());
    let count = routes.table.as_ref().map_or(0, |table| table.partitions);
    if count == 0 {
        return Err(Failure::Other(format!("table {table} has no partitions")));
    }
    let index = slot.partition(count);
    let configuration = configuration(&routes, index);
    let nodes = Nodes(&routes.nodes);
    let json = json!({
        "key": key,
        "slot": slot.0,
        "partition": index,
        "ballot": configuration.map(|c| c.ballot),
        "primary": configuration.map(|c| nodes.describe(primary(c))),
        "secondaries": configuration.map(|c| secondaries(c).map(|n| nodes.describe(n)).collect::<Vec<_>>()),
    });
    let servers = match configuration {
        None => "has no configuration yet".to_owned(),
        Some(configuration) => {
            let address = nodes.find(primary(configuration)).cloned().unwrap_or_default();
            let others: Vec<String> = secondaries(configuration).map(|n| nodes.name(n)).collect();
            format!(
                "primary {} (grpc {}, redis {}), secondaries {}",
                nodes.name(primary(configuration)),
                address.grpc,
                address.redis,
                if others.is_empty() { "none".to_owned() } else { others.join(", ") },
            )
        }
    };
    Ok(Answer::new(json, format!("slot {slot}, partition {index}: {servers}")))
}

/// A line per partition; with `copies`, a line per copy.
pub(super) fn answer(routes: &TableRoutes, copies: &[Copy]) -> Answer {
    let table = routes.table.clone().unwrap_or_default();
    let nodes = Nodes(&routes.nodes);
    let mut lines = if copies.is_empty() {
        grid(&["partition", "slots", "ballot", "primary", "secondaries"])
    } else {
        grid(&["partition", "slots", "ballot", "copy", "role", "committed", "digest"])
    };
    let mut values = Vec::with_capacity(table.partitions as usize);
    for index in 0..table.partitions {
        let range = SlotRange::of_partition(index, table.partitions);
        let slots = format!("{}-{}", range.first, range.last);
        let configuration = configuration(routes, index);
        let of_this = || copies.iter().filter(move |copy| copy.partition == index);
        let ballot = configuration.map_or_else(|| "none yet".to_owned(), |c| c.ballot.to_string());
        if copies.is_empty() {
            let others: Vec<String> = configuration
                .into_iter()
                .flat_map(secondaries)
                .map(|node| nodes.name(node))
                .collect();
            let first = configuration.map(|c| nodes.name(primary(c))).unwrap_or_default();
            lines.add_row([index.to_string(), slots, ballot, first, others.join(", ")]);
        } else {
            for copy in of_this() {
                let role = if configuration.map(primary) == Some(copy.node) { "primary" } else { "secondary" };
                let (committed, digest) = copy.columns();
                lines.add_row([
                    index.to_string(),
                    slots.clone(),
                    ballot.clone(),
                    nodes.name(copy.node),
                    role.to_owned(),
                    committed,
                    digest,
                ]);
            }
        }
        let mut value = json!({
            "index": index,
            "slots": [range.first.0, range.last.0],
            "ballot": configuration.map(|c| c.ballot),
            "primary": configuration.map(|c| nodes.describe(primary(c))),
            "secondaries": configuration
                .map(|c| secondaries(c).map(|n| nodes.describe(n)).collect::<Vec<_>>()),
        });
        if !copies.is_empty() {
            value["copies"] = of_this()
                .map(|copy| copy.describe(nodes.describe(copy.node)))
                .collect();
            value["equal"] = Value::from(Copy::all_equal(of_this()));
        }
        values.push(value);
    }
    let mut text = lines.to_string();
    if !copies.is_empty() {
        text.push_str("\n\n");
        text.push_str(&verdict(&values));
    }
    Answer::new(json!({ "table": table.name, "partitions": values }), text)
}

fn verdict(partitions: &[Value]) -> String {
    let differing: Vec<String> = partitions
        .iter()
        .filter(|partition| partition["equal"] != Value::Bool(true))
        .map(|partition| partition["index"].to_string())
        .collect();
    if differing.is_empty() {
        "All copies that answered are equal.".to_owned()
    } else {
        format!("Not shown to be equal: partitions {}.", differing.join(", "))
    }
}

fn configuration(routes: &TableRoutes, index: u32) -> Option<&Configuration> {
    routes
        .partitions
        .iter()
        .find(|route| route.index == index)
        .and_then(|route| route.configuration.as_ref())
}

pub(super) fn primary(configuration: &Configuration) -> u64 {
    configuration.primary.as_ref().map_or(0, |member| member.node)
}

pub(super) fn secondaries(configuration: &Configuration) -> impl Iterator<Item = u64> + '_ {
    configuration.secondaries.iter().map(|member| member.node)
}

struct Nodes<'a>(&'a [NodeAddress]);

impl Nodes<'_> {
    fn find(&self, node: u64) -> Option<&NodeAddress> {
        self.0.iter().find(|address| address.node == node)
    }

    fn name(&self, node: u64) -> String {
        match self.find(node) {
            Some(address) if !address.name.is_empty() => address.name.clone(),
            _ => node_id(node),
        }
    }

    fn describe(&self, node: u64) -> Value {
        let address = self.find(node);
        json!({
            "node": node_id(node),
            "name": address.map(|a| &a.name),
            "grpc": address.map(|a| &a.grpc),
            "redis": address.map(|a| &a.redis),
        })
    }
}
