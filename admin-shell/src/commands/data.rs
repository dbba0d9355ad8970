//! Data, through the client library.

use super::{Failure, keys};
use crate::answer::{Answer, bytes, readable};
use crate::arguments::Command;
use crate::resp3;
use bytes::Bytes;
use serde_json::{Value, json};
use std::ops::Bound;
use std::time::Duration;
use tulpar_client::{Hash, ScanOptions, SetOptions, Table};

pub(super) async fn run(table: &Table, command: &Command) -> Result<Answer, Failure> {
    match command {
        Command::Get { key } => Ok(value(table.get(key).await?)),
        Command::Set { key, value, ttl } => {
            table.set_with(key, value.clone(), living(*ttl)).await?;
            Ok(Answer::new(json!(true), "OK"))
        }
        Command::Del { keys } => {
            let mut deleted = 0;
            for key in keys {
                deleted += u64::from(table.delete(key).await?);
            }
            Ok(count(deleted, "deleted"))
        }
        Command::Hget { hash_key, sort_key } => {
            Ok(value(table.hash(hash_key).get(sort_key).await?))
        }
        Command::Hset {
            hash_key,
            sort_key,
            value,
            ttl,
        } => {
            let hash = table.hash(hash_key);
            hash.set_with(sort_key, value.clone(), living(*ttl)).await?;
            Ok(Answer::new(json!(true), "OK"))
        }
        Command::Hdel {
            hash_key,
            sort_keys,
        } => {
            let deleted = table.hash(hash_key).multi_delete(sort_keys).await?;
            Ok(count(deleted, "deleted"))
        }
        Command::Hscan {
            hash_key,
            from,
            to,
            limit,
            reverse,
        } => {
            let mut options = ScanOptions::new().limit(*limit as u64);
            if *reverse {
                options = options.reverse();
            }
            scan(
                &table.hash(hash_key),
                from.as_deref(),
                to.as_deref(),
                options,
            )
            .await
        }
        Command::Count => keys::count(table).await,
        Command::Scan { pattern, limit } => keys::scan(table, pattern, *limit).await,
        Command::Redis { words } => {
            let reply = table.command(words).await?;
            let reply = resp3::parse(&reply).map_err(|error| Failure::Other(error.to_string()))?;
            match reply {
                resp3::Reply::Error(text) => Err(Failure::Other(text)),
                reply => Ok(Answer::new(reply.to_json(), reply.to_string())),
            }
        }
        // The session sends only the commands above here.
        Command::Table(_)
        | Command::Nodes
        | Command::Node(_)
        | Command::Balance(_)
        | Command::Move(_)
        | Command::Health { .. }
        | Command::Hot { .. }
        | Command::Slowlog { .. }
        | Command::Config { .. }
        | Command::Metrics { .. }
        | Command::Partition(_)
        | Command::Meta(_)
        | Command::Partitions { .. }
        | Command::Route { .. } => Err(Failure::Other("not a command on data".to_owned())),
    }
}

fn living(ttl: Option<Duration>) -> SetOptions {
    match ttl {
        Some(ttl) => SetOptions::new().ttl(ttl),
        None => SetOptions::new(),
    }
}

fn value(value: Option<Bytes>) -> Answer {
    match value {
        Some(value) => Answer::new(bytes(&value), readable(&value)),
        None => Answer::new(Value::Null, "(nothing there)"),
    }
}

fn count(count: u64, what: &str) -> Answer {
    Answer::new(Value::from(count), format!("{count} {what}"))
}

async fn scan(
    hash: &Hash,
    from: Option<&str>,
    to: Option<&str>,
    options: ScanOptions,
) -> Result<Answer, Failure> {
    let own = |bound: &str| bound.as_bytes().to_vec();
    let range = (
        from.map_or(Bound::Unbounded, |from| Bound::Included(own(from))),
        to.map_or(Bound::Unbounded, |to| Bound::Excluded(own(to))),
    );
    let mut scan = hash.scan(range, options);
    let mut values = Vec::new();
    let mut lines = Vec::new();
    while let Some(page) = scan.next_page().await? {
        for (sort_key, value) in page {
            lines.push(format!("{}: {}", readable(&sort_key), readable(&value)));
            values.push(json!({ "sort_key": bytes(&sort_key), "value": bytes(&value) }));
        }
    }
    let text = if lines.is_empty() {
        "(nothing there)".to_owned()
    } else {
        lines.join("\n")
    };
    Ok(Answer::new(Value::Array(values), text))
}
