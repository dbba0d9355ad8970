//! What operations do to a partition: a model in memory.

use proto::data::{
    Entry, Page, Refusal, Request, Value, Values, refusal::Kind, request::Operation, response,
};
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

/// A partition, wherever it is served.
#[derive(Default)]
pub struct Partition {
    pub ballot: u64,
    pub primary: usize,
    /// The writes that took effect, in order.
    pub log: Vec<Operation>,
    /// What was done by request id, and answered.
    done: HashMap<(u64, u64), response::Result>,
    /// Below which sequence a client has promised to ask no more.
    given_up: HashMap<u64, u64>,
    strings: HashMap<Vec<u8>, Vec<u8>>,
    hashes: BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>,
}

pub fn refusal(kind: Kind, message: &str) -> response::Result {
    response::Result::Refusal(Refusal {
        kind: kind.into(),
        message: message.to_owned(),
        configuration: None,
        primary: None,
    })
}

impl Partition {
    pub fn served_by(primary: usize) -> Self {
        Self {
            ballot: 1,
            primary,
            ..Self::default()
        }
    }

    /// Does a request, unless it was done before: then the answer is the first one's.
    pub fn take_in(&mut self, request: &Request) -> response::Result {
        let operation = request
            .operation
            .clone()
            .expect("a request has an operation");
        let Some(id) = &request.request_id else {
            return self.run(operation);
        };
        assert!(
            id.sent >= super::server::CLOCK,
            "dated by the server's clock"
        );
        let given_up = self.given_up.entry(id.client).or_default();
        *given_up = (*given_up).max(id.sequence - id.behind);
        if id.sequence < *given_up {
            return refusal(Kind::TooLate, "given up");
        }
        let name = (id.client, id.sequence);
        if let Some(result) = self.done.get(&name) {
            return result.clone();
        }
        let result = self.run(operation);
        self.done.insert(name, result.clone());
        result
    }

    fn run(&mut self, operation: Operation) -> response::Result {
        let value = |value: Option<&Vec<u8>>| Value {
            found: value.is_some(),
            value: value.cloned().unwrap_or_default().into(),
        };
        if !matches!(
            operation,
            Operation::Get(_) | Operation::HashGet(_) | Operation::HashScan(_)
        ) {
            self.log.push(operation.clone());
        }
        match operation {
            Operation::Get(get) => response::Result::Value(value(self.strings.get(&get.key[..]))),
            Operation::Set(set) => {
                self.strings.insert(set.key.into(), set.value.into());
                response::Result::Count(1)
            }
            Operation::Delete(delete) => {
                response::Result::Count(self.strings.remove(&delete.key[..]).is_some().into())
            }
            Operation::HashSet(set) => {
                let hash = self.hashes.entry(set.hash_key.into()).or_default();
                let new = set.entries.into_iter().filter(|entry| {
                    hash.insert(entry.sort_key.to_vec(), entry.value.to_vec())
                        .is_none()
                });
                response::Result::Count(new.count() as u64)
            }
            Operation::HashGet(get) => {
                let hash = self.hashes.entry(get.hash_key.into()).or_default();
                let values = get
                    .sort_keys
                    .iter()
                    .map(|sort_key| value(hash.get(&sort_key[..])));
                response::Result::Values(Values {
                    values: values.collect(),
                })
            }
            Operation::HashDelete(delete) => {
                let hash = self.hashes.entry(delete.hash_key.into()).or_default();
                let deleted = delete
                    .sort_keys
                    .iter()
                    .filter(|sort_key| hash.remove(&sort_key[..]).is_some());
                response::Result::Count(deleted.count() as u64)
            }
            Operation::HashIncrement(increment) => {
                let hash = self.hashes.entry(increment.hash_key.into()).or_default();
                let number = hash
                    .entry(increment.sort_key.into())
                    .or_insert_with(|| b"0".to_vec());
                let Ok(old) = String::from_utf8_lossy(number).parse::<i64>() else {
                    self.log.pop();
                    return refusal(Kind::Rejected, "ERR hash value is not an integer");
                };
                *number = (old + increment.by).to_string().into_bytes();
                response::Result::Integer(old + increment.by)
            }
            Operation::HashScan(scan) => {
                let hash = self.hashes.entry(scan.hash_key.into()).or_default();
                let to = if scan.has_to {
                    Bound::Excluded(&scan.to[..])
                } else {
                    Bound::Unbounded
                };
                let mut entries: Vec<_> = hash
                    .range::<[u8], _>((Bound::Included(&scan.from[..]), to))
                    .map(|(sort_key, value)| Entry {
                        sort_key: sort_key.clone().into(),
                        value: value.clone().into(),
                    })
                    .collect();
                if scan.reverse {
                    entries.reverse();
                }
                // a server's own bound, small so that scans have pages
                let limit = if scan.limit == 0 {
                    7
                } else {
                    scan.limit.min(7)
                } as usize;
                let more = entries.len() > limit;
                entries.truncate(limit);
                response::Result::Page(Page { entries, more })
            }
            Operation::Command(command) => {
                let mut reply = format!("*{}\r\n", command.arguments.len()).into_bytes();
                for argument in command.arguments {
                    reply.extend(format!("${}\r\n", argument.len()).into_bytes());
                    reply.extend_from_slice(&argument);
                    reply.extend_from_slice(b"\r\n");
                }
                response::Result::Resp(reply.into())
            }
        }
    }
}
