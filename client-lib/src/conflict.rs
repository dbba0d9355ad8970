//! Which reads may not be retried: those that touch what a later write, now of unknown outcome, may have changed.
//!
//! A read handed over before a write must not see that write. When both were in flight and the write is lost, the read can no longer
//! be placed before it. Only trouble pays for this: nothing here runs on the way of a request that is answered.

use proto::data::request::Operation;
use std::collections::HashMap;

/// Writes of unknown outcome, by what they touch.
#[derive(Default)]
pub(crate) struct LostWrites {
    writes: Vec<(u64, Operation)>,
}

enum Touched<'a> {
    Keys(Vec<&'a [u8]>),
    Everything,
}

fn touched(operation: &Operation) -> Touched<'_> {
    let key: &[u8] = match operation {
        Operation::Get(get) => &get.key,
        Operation::Set(set) => &set.key,
        Operation::Delete(delete) => &delete.key,
        Operation::HashSet(set) => &set.hash_key,
        Operation::HashGet(get) => &get.hash_key,
        Operation::HashDelete(delete) => &delete.hash_key,
        Operation::HashIncrement(increment) => &increment.hash_key,
        Operation::HashScan(scan) => &scan.hash_key,
        Operation::Command(command) => {
            // which arguments are keys is not known here: any may be
            return match command.arguments.get(1..) {
                None | Some([]) => Touched::Everything,
                Some(arguments) => Touched::Keys(arguments.iter().map(AsRef::as_ref).collect()),
            };
        }
    };
    Touched::Keys(vec![key])
}

impl LostWrites {
    pub(crate) fn add(&mut self, sequence: u64, write: Operation) {
        self.writes.push((sequence, write));
    }

    pub(crate) fn clear(&mut self) {
        self.writes.clear();
    }

    /// Builds the test for reads, or nothing if no write was lost.
    pub(crate) fn test(&self) -> Option<impl Fn(u64, &Operation) -> bool + '_> {
        let latest = self.writes.iter().map(|&(sequence, _)| sequence).max()?;
        let mut by_key: HashMap<&[u8], u64> = HashMap::new();
        let mut everything = None;
        for (sequence, write) in &self.writes {
            match touched(write) {
                Touched::Keys(keys) => {
                    for key in keys {
                        let newest = by_key.entry(key).or_default();
                        *newest = (*newest).max(*sequence);
                    }
                }
                Touched::Everything => everything = everything.max(Some(*sequence)),
            }
        }
        Some(move |sequence: u64, read: &Operation| {
            everything.is_some_and(|write| write > sequence)
                || match touched(read) {
                    Touched::Keys(keys) => keys
                        .iter()
                        .any(|key| by_key.get(key).is_some_and(|&write| write > sequence)),
                    Touched::Everything => latest > sequence,
                }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::data::{Command, Get, HashGet, Set};

    fn get(key: &'static str) -> Operation {
        Operation::Get(Get { key: key.into() })
    }

    fn command(arguments: &[&'static str]) -> Operation {
        Operation::Command(Command {
            arguments: arguments.iter().map(|&argument| argument.into()).collect(),
        })
    }

    #[test]
    fn a_read_conflicts_with_a_later_write_of_its_key_only() {
        let mut lost = LostWrites::default();
        assert!(lost.test().is_none());
        lost.add(
            5,
            Operation::Set(Set {
                key: "a".into(),
                ..Set::default()
            }),
        );
        let conflicts = lost.test().expect("a write was lost");
        assert!(conflicts(4, &get("a")));
        assert!(!conflicts(6, &get("a")));
        assert!(!conflicts(4, &get("b")));
        assert!(conflicts(
            4,
            &Operation::HashGet(HashGet {
                hash_key: "a".into(),
                sort_keys: vec![]
            })
        ));
        assert!(conflicts(4, &command(&["MGET", "b", "a"])));
        assert!(conflicts(4, &command(&["DBSIZE"])));
        assert!(!conflicts(6, &command(&["DBSIZE"])));
    }

    #[test]
    fn a_lost_command_without_arguments_touches_everything() {
        let mut lost = LostWrites::default();
        lost.add(5, command(&["FLUSHDB"]));
        let conflicts = lost.test().expect("a write was lost");
        assert!(conflicts(4, &get("a")));
        assert!(!conflicts(6, &get("a")));
    }
}
