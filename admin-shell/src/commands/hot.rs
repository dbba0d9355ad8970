//! The replicas with the most traffic, over all servers.

use super::Failure;
use super::servers::{Client, Heard, ask_all};
use crate::admin::Admin;
use crate::answer::{Answer, rounded};
use crate::arguments::HotBy;
use crate::grid::Grid;
use proto::inspect::{HotReplica, HotRequest, HotResponse};
use serde_json::{Value, json};

pub(super) async fn list(
    admin: &mut Admin,
    table: Option<&str>,
    by: HotBy,
    limit: u32,
) -> Result<Answer, Failure> {
    let table = match table {
        Some(name) => admin.table_number(name).await?,
        None => 0,
    };
    let request = HotRequest {
        by: wire(by).into(),
        table,
        limit,
    };
    let ask = |mut client: Client, request| async move { client.hot(request).await };
    let heard = ask_all(admin, request, ask).await?;
    Ok(shown(&heard, by, limit as usize))
}

fn shown(heard: &Heard<HotResponse>, by: HotBy, limit: usize) -> Answer {
    let mut all: Vec<(&str, &HotReplica)> = Vec::new();
    let mut more = 0;
    for (server, answer) in &heard.answers {
        more += answer.more as usize;
        all.extend(answer.replicas.iter().map(|replica| (&server[..], replica)));
    }
    all.sort_by(|(_, a), (_, b)| rate(b, by).total_cmp(&rate(a, by)));
    more += all.len().saturating_sub(limit);
    all.truncate(limit);
    let mut lines = Grid::new(&[
        "table",
        "partition",
        "server",
        "role",
        "reads/s",
        "writes/s",
        "bytes/s",
    ]);
    for (server, replica) in &all {
        lines.add_row([
            replica.table.clone(),
            replica.partition.unwrap_or_default().index.to_string(),
            (*server).to_owned(),
            replica.role.clone(),
            short(replica.reads),
            short(replica.writes),
            rounded(replica.bytes as u64),
        ]);
    }
    let text = match (all.is_empty(), more) {
        (true, _) => "Nothing has been asked of any partition in the last seconds.".to_owned(),
        (false, 0) => lines.to_string(),
        (false, more) => format!("{lines}\n\n{more} more have had less."),
    };
    let values: Vec<Value> = all
        .iter()
        .map(|(server, replica)| value(server, replica))
        .collect();
    Answer::new(
        json!({ "replicas": values, "more": more, "unanswered": heard.silent_json() }),
        text + &heard.complaints(),
    )
}

fn value(server: &str, replica: &HotReplica) -> Value {
    json!({
        "table": replica.table,
        "partition": replica.partition.unwrap_or_default().index,
        "server": server,
        "role": replica.role,
        "reads": replica.reads,
        "writes": replica.writes,
        "bytes": replica.bytes,
    })
}

fn rate(replica: &HotReplica, by: HotBy) -> f64 {
    match by {
        HotBy::Commands => replica.reads + replica.writes,
        HotBy::Reads => replica.reads,
        HotBy::Writes => replica.writes,
        HotBy::Bytes => replica.bytes,
    }
}

fn wire(by: HotBy) -> proto::inspect::HotBy {
    match by {
        HotBy::Commands => proto::inspect::HotBy::Commands,
        HotBy::Reads => proto::inspect::HotBy::Reads,
        HotBy::Writes => proto::inspect::HotBy::Writes,
        HotBy::Bytes => proto::inspect::HotBy::Bytes,
    }
}

fn short(rate: f64) -> String {
    if rate < 10.0 {
        format!("{rate:.1}")
    } else {
        format!("{rate:.0}")
    }
}
