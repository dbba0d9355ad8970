//! Keys of a whole table: counted, and listed page by page.

use super::Failure;
use crate::answer::{Answer, bytes, readable};
use crate::progress::Progress;
use crate::resp3::{self, Reply};
use serde_json::Value;
use tulpar_client::{Kind, Table};

/// Keys asked for at a time.
const PAGE: &str = "1000";

/// How many keys there are. Beyond a million in a partition it is an estimate.
pub(super) async fn count(table: &Table) -> Result<Answer, Failure> {
    let mut all = 0;
    let progress = Progress::counting(table.partitions().into(), "partitions counted");
    for partition in 0..table.partitions() {
        match ask(table, partition, &[b"DBSIZE"]).await? {
            Reply::Integer(keys) => all += keys,
            other => return Err(unexpected(&other)),
        }
        progress.one();
    }
    Ok(Answer::new(Value::from(all), format!("{all} keys")))
}

/// Keys that match a pattern, in no order; a key that is there throughout is among them.
pub(super) async fn scan(table: &Table, pattern: &str, limit: usize) -> Result<Answer, Failure> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    let progress = Progress::counting(table.partitions().into(), "partitions searched");
    'partitions: for partition in 0..table.partitions() {
        let mut position = Vec::new();
        loop {
            let words: [&[u8]; 6] = [
                b"SCAN",
                &position,
                b"MATCH",
                pattern.as_bytes(),
                b"COUNT",
                PAGE.as_bytes(),
            ];
            let (next, keys) = match ask(table, partition, &words).await? {
                Reply::List(page) => match <[Reply; 2]>::try_from(page) {
                    Ok([Reply::Bulk(next), Reply::List(keys)]) => (next, keys),
                    Ok(other) => return Err(unexpected(&Reply::List(other.into()))),
                    Err(other) => return Err(unexpected(&Reply::List(other))),
                },
                other => return Err(unexpected(&other)),
            };
            for key in keys {
                if found.len() == limit {
                    break 'partitions;
                }
                if let Reply::Bulk(key) = key {
                    found.push(key);
                }
            }
            if next.is_empty() {
                break;
            }
            position = next;
        }
        progress.one();
    }
    let text = if found.is_empty() {
        "(nothing there)".to_owned()
    } else {
        let lines: Vec<String> = found.iter().map(|key| readable(key)).collect();
        lines.join("\n")
    };
    let keys = found.iter().map(|key| bytes(key)).collect();
    Ok(Answer::new(Value::Array(keys), text))
}

async fn ask(table: &Table, partition: u32, words: &[&[u8]]) -> Result<Reply, Failure> {
    let reply = table.command_on(partition, Kind::Read, words).await?;
    match resp3::parse(&reply).map_err(|error| Failure::Other(error.to_string()))? {
        Reply::Error(text) => Err(Failure::Other(text)),
        reply => Ok(reply),
    }
}

fn unexpected(reply: &Reply) -> Failure {
    Failure::Other(format!("the server answered something else: {reply}"))
}
