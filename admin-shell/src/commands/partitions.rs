//! Where a table's copies are, and whether they are equal.

use super::Failure;
use super::digests::{Digests, Heard, ask_all};
use crate::admin::Admin;
use crate::answer::{Answer, node_id};
use crate::grid::Grid;
use proto::common::{Configuration, NodeAddress};
use proto::meta::TableRoutes;
use serde_json::{Value, json};
use types::{Slot, SlotRange};

/// What is wanted of the copies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ask {
    Nothing,
    Digests,
    /// Those that differ from a majority learn anew.
    Repair,
}

pub(super) async fn list(admin: &mut Admin, table: &str, ask: Ask) -> Result<Answer, Failure> {
    let routes = admin.show_table(table).await?;
    if ask == Ask::Nothing {
        return Ok(placed(&routes));
    }
    let heard = ask_all(&routes, ask == Ask::Repair, admin.secret()).await;
    Ok(compared(&routes, &heard))
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
    let nodes = Nodes(&routes.nodes);
    let mut json = json!({ "key": key, "slot": slot.0 });
    extend(&mut json, describe(&routes, index));
    let servers = match configuration(&routes, index) {
        None => "has no configuration yet".to_owned(),
        Some(configuration) => {
            let primary = primary(configuration);
            let address = nodes.find(primary).cloned().unwrap_or_default();
            format!(
                "primary {} (grpc {}, redis {}), secondaries {}",
                nodes.name(primary),
                address.grpc,
                address.redis,
                nodes.names(secondaries(configuration)),
            )
        }
    };
    Ok(Answer::new(
        json,
        format!("slot {slot}, partition {index}: {servers}"),
    ))
}

/// A line per partition.
pub(super) fn placed(routes: &TableRoutes) -> Answer {
    let nodes = Nodes(&routes.nodes);
    let mut lines = Grid::new(&["partition", "slots", "ballot", "primary", "secondaries"]);
    let mut values = Vec::new();
    for index in 0..partition_count(routes) {
        values.push(describe(routes, index));
        let [ballot, first, others] = match configuration(routes, index) {
            None => ["none yet".to_owned(), String::new(), String::new()],
            Some(configuration) => [
                configuration.ballot.to_string(),
                nodes.name(primary(configuration)),
                nodes.names(secondaries(configuration)),
            ],
        };
        lines.add_row([
            index.to_string(),
            slots(routes, index),
            ballot,
            first,
            others,
        ]);
    }
    Answer::new(whole(routes, &values), lines.to_string())
}

/// A line per copy, and a word on all of them.
fn compared(routes: &TableRoutes, heard: &[Heard]) -> Answer {
    let nodes = Nodes(&routes.nodes);
    let mut lines = Grid::new(&[
        "partition",
        "slots",
        "ballot",
        "copy",
        "role",
        "committed",
        "digest",
    ]);
    let mut values = Vec::new();
    let mut doubtful = Vec::new();
    let mut repaired = Vec::new();
    for (index, heard) in (0..).zip(heard) {
        let mut value = describe(routes, index);
        let (number, slots) = (index.to_string(), slots(routes, index));
        let equal = match heard {
            Ok(digests) => {
                let ballot = digests.configuration.ballot;
                for (node, digest) in &digests.copies {
                    let role = role(digests, *node);
                    let shown = digest.as_deref().unwrap_or_else(|why| why);
                    lines.add_row([
                        number.clone(),
                        slots.clone(),
                        ballot.to_string(),
                        nodes.name(*node),
                        role.to_owned(),
                        digests.decree.to_string(),
                        shown.to_owned(),
                    ]);
                }
                let copies: Vec<Value> = digests
                    .copies
                    .iter()
                    .map(|(node, digest)| {
                        let mut copy = nodes.describe(*node);
                        extend(
                            &mut copy,
                            json!({
                                "role": role(digests, *node),
                                "digest": digest.as_ref().ok(),
                                "error": digest.as_ref().err(),
                            }),
                        );
                        copy
                    })
                    .collect();
                extend(
                    &mut value,
                    json!({ "ballot": ballot, "committed": digests.decree, "copies": copies }),
                );
                if !digests.repaired.is_empty() {
                    let learning = nodes.names(digests.repaired.iter().copied());
                    repaired.push(format!(
                        "\nPartition {number} is learnt anew by {learning}."
                    ));
                    let repaired = digests.repaired.iter().map(|&node| nodes.describe(node));
                    extend(
                        &mut value,
                        json!({ "repaired": repaired.collect::<Vec<_>>() }),
                    );
                }
                digests.all_equal()
            }
            Err(why) => {
                let nothing = String::new;
                lines.add_row([
                    number.clone(),
                    slots,
                    nothing(),
                    nothing(),
                    nothing(),
                    nothing(),
                    why.clone(),
                ]);
                extend(&mut value, json!({ "copies": [], "error": why }));
                false
            }
        };
        if !equal {
            doubtful.push(number);
        }
        extend(&mut value, json!({ "equal": equal }));
        values.push(value);
    }
    let verdict = if doubtful.is_empty() {
        "All copies are equal.".to_owned()
    } else {
        format!("Not shown to be equal: partitions {}.", doubtful.join(", "))
    };
    let repaired = repaired.concat();
    Answer::new(
        whole(routes, &values),
        format!("{lines}\n\n{verdict}{repaired}"),
    )
}

fn role(digests: &Digests, node: u64) -> &'static str {
    if primary(&digests.configuration) == node {
        "primary"
    } else {
        "secondary"
    }
}

fn whole(routes: &TableRoutes, partitions: &[Value]) -> Value {
    let table = routes.table.as_ref().map(|table| &table.name);
    json!({ "table": table, "partitions": partitions })
}

fn describe(routes: &TableRoutes, index: u32) -> Value {
    let nodes = Nodes(&routes.nodes);
    let range = SlotRange::of_partition(index, partition_count(routes));
    let configuration = configuration(routes, index);
    let others = |configuration| {
        secondaries(configuration)
            .map(|node| nodes.describe(node))
            .collect()
    };
    json!({
        "partition": index,
        "slots": [range.first.0, range.last.0],
        "ballot": configuration.map(|c| c.ballot),
        "primary": configuration.map(|c| nodes.describe(primary(c))),
        "secondaries": configuration.map_or(Value::Null, others),
    })
}

fn extend(value: &mut Value, by: Value) {
    if let (Value::Object(fields), Value::Object(more)) = (value, by) {
        fields.extend(more);
    }
}

fn slots(routes: &TableRoutes, index: u32) -> String {
    let range = SlotRange::of_partition(index, partition_count(routes));
    format!("{}-{}", range.first, range.last)
}

fn partition_count(routes: &TableRoutes) -> u32 {
    routes.table.as_ref().map_or(0, |table| table.partitions)
}

fn configuration(routes: &TableRoutes, index: u32) -> Option<&Configuration> {
    routes
        .partitions
        .iter()
        .find(|route| route.index == index)
        .and_then(|route| route.configuration.as_ref())
}

pub(super) fn primary(configuration: &Configuration) -> u64 {
    configuration
        .primary
        .as_ref()
        .map_or(0, |member| member.node)
}

pub(super) fn members(configuration: &Configuration) -> impl Iterator<Item = u64> + '_ {
    [primary(configuration)]
        .into_iter()
        .chain(secondaries(configuration))
}

fn secondaries(configuration: &Configuration) -> impl Iterator<Item = u64> + '_ {
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

    fn names(&self, nodes: impl Iterator<Item = u64>) -> String {
        let names: Vec<String> = nodes.map(|node| self.name(node)).collect();
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
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
