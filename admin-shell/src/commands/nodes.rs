//! The replica servers as the meta leader sees them.

use super::Failure;
use crate::admin::Admin;
use crate::answer::{Answer, node_id, rounded};
use crate::grid::Grid;
use serde_json::{Value, json};

pub(super) async fn list(admin: &mut Admin) -> Result<Answer, Failure> {
    let mut nodes = admin.list_nodes().await?;
    let name = |node: &proto::meta::Node| node.address.clone().unwrap_or_default().name;
    nodes.sort_by_key(name);

    let mut lines = Grid::new(&[
        "name",
        "node",
        "zone",
        "state",
        "grpc",
        "redis",
        "primaries",
        "secondaries",
        "learners",
        "disk",
        "starts",
    ]);
    let mut values = Vec::with_capacity(nodes.len());
    for node in &nodes {
        let address = node.address.clone().unwrap_or_default();
        lines.add_row([
            address.name.clone(),
            node_id(address.node),
            address.zone.clone(),
            state(node).to_owned(),
            address.grpc.clone(),
            address.redis.clone(),
            node.primaries.to_string(),
            node.secondaries.to_string(),
            node.learners.to_string(),
            rounded(node.disk_bytes),
            node.incarnation.to_string(),
        ]);
        values.push(json!({
            "name": address.name,
            "node": node_id(address.node),
            "alive": node.alive,
            "drained": node.drained,
            "zone": address.zone,
            "grpc": address.grpc,
            "redis": address.redis,
            "primaries": node.primaries,
            "secondaries": node.secondaries,
            "learners": node.learners,
            "disk_bytes": node.disk_bytes,
            "incarnation": node.incarnation,
        }));
    }
    Ok(Answer {
        json: Value::Array(values),
        text: lines.to_string(),
    })
}

fn state(node: &proto::meta::Node) -> &'static str {
    match (node.alive, node.drained) {
        (true, false) => "alive",
        (true, true) => "alive, drained",
        (false, false) => "away",
        (false, true) => "away, drained",
    }
}
