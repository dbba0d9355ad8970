//! Which reads may not be retried: those that touch what a later write of the same order has changed, or may have.
//!
//! A read handed over before a write must not see that write. When both were in flight, and the read is refused while the write is done, or lost
//! so that nobody knows, the read can no longer be placed before it. Between requests of different orders (two connections of a gateway, two calls that are awaited) there is nothing to keep. Only trouble pays for this: nothing here runs on the way of a request that is answered.

use crate::lane::Op;
use proto::data::request::Operation;
use std::collections::HashMap;

/// Whose requests take effect in the order handed over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Order(pub(crate) u64);

/// Writes that are done, or of unknown outcome, while earlier reads may be refused.
#[derive(Default)]
pub(crate) struct OvertakingWrites {
    writes: Vec<(Order, u64, Operation)>,
}

enum Touched<'a> {
    Keys(Vec<&'a [u8]>),
    Everything,
}

/// Commands that go to partitions as a whole.
const WITHOUT_KEYS: [&[u8]; 6] = [
    b"DBSIZE",
    b"FLUSHALL",
    b"FLUSHDB",
    b"KEYS",
    b"RANDOMKEY",
    b"SCAN",
];

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
            let name = command.arguments.first().map_or(&b""[..], AsRef::as_ref);
            let has_no_keys = |of: &&[u8]| of.eq_ignore_ascii_case(name);
            // Which of the others' arguments are keys is not known here: any may be.
            return match command.arguments.get(1..) {
                None | Some([]) => Touched::Everything,
                Some(_) if WITHOUT_KEYS.iter().any(has_no_keys) => Touched::Everything,
                Some(arguments) => Touched::Keys(arguments.iter().map(AsRef::as_ref).collect()),
            };
        }
    };
    Touched::Keys(vec![key])
}

impl OvertakingWrites {
    pub(crate) fn add(&mut self, write: &Op) {
        if let Some(order) = write.order {
            self.insert(order, write.sequence, write.operation.clone());
        }
    }

    fn insert(&mut self, order: Order, sequence: u64, write: Operation) {
        self.writes.push((order, sequence, write));
    }

    pub(crate) fn clear(&mut self) {
        self.writes.clear();
    }

    /// Builds the test for reads, or nothing if there is no such write.
    pub(crate) fn test(&self) -> Option<impl Fn(Order, u64, &Operation) -> bool + '_> {
        if self.writes.is_empty() {
            return None;
        }
        let mut by_key: HashMap<(Order, &[u8]), u64> = HashMap::new();
        let mut everything: HashMap<Order, u64> = HashMap::new();
        let mut anything: HashMap<Order, u64> = HashMap::new();
        let raise = |newest: &mut u64, sequence: u64| *newest = sequence.max(*newest);
        for &(order, sequence, ref write) in &self.writes {
            raise(anything.entry(order).or_default(), sequence);
            match touched(write) {
                Touched::Keys(keys) => {
                    for key in keys {
                        raise(by_key.entry((order, key)).or_default(), sequence);
                    }
                }
                Touched::Everything => raise(everything.entry(order).or_default(), sequence),
            }
        }
        Some(move |order: Order, sequence: u64, read: &Operation| {
            let later = |write: Option<&u64>| write.is_some_and(|&write| write > sequence);
            later(everything.get(&order))
                || match touched(read) {
                    Touched::Keys(keys) => keys.iter().any(|&key| later(by_key.get(&(order, key)))),
                    Touched::Everything => later(anything.get(&order)),
                }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::data::{Command, Get, HashGet, Set};

    const ONE: Order = Order(1);

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
        let mut overtaking = OvertakingWrites::default();
        assert!(overtaking.test().is_none());
        overtaking.insert(
            ONE,
            5,
            Operation::Set(Set {
                key: "a".into(),
                ..Set::default()
            }),
        );
        let conflicts = overtaking.test().expect("there is a write");
        assert!(conflicts(ONE, 4, &get("a")));
        assert!(!conflicts(ONE, 6, &get("a")));
        assert!(!conflicts(ONE, 4, &get("b")));
        assert!(!conflicts(Order(2), 4, &get("a")));
        assert!(conflicts(
            ONE,
            4,
            &Operation::HashGet(HashGet {
                hash_key: "a".into(),
                sort_keys: vec![]
            })
        ));
        assert!(conflicts(ONE, 4, &command(&["MGET", "b", "a"])));
        assert!(conflicts(ONE, 4, &command(&["DBSIZE"])));
        assert!(!conflicts(ONE, 6, &command(&["DBSIZE"])));
    }

    #[test]
    fn commands_without_keys_touch_everything_whatever_their_arguments() {
        let without_keys = commands::table::all().iter().filter(|spec| {
            spec.first_key == 0 && !matches!(spec.group, commands::table::Group::Session)
        });
        let mut count = 0;
        for spec in without_keys {
            let command = command(&[spec.name, "x"]);
            assert!(
                matches!(touched(&command), Touched::Everything),
                "{}",
                spec.name
            );
            count += 1;
        }
        assert_eq!(count, WITHOUT_KEYS.len());
    }

    #[test]
    fn a_lost_command_without_arguments_touches_everything() {
        let mut overtaking = OvertakingWrites::default();
        overtaking.insert(ONE, 5, command(&["FLUSHDB"]));
        let conflicts = overtaking.test().expect("there is a write");
        assert!(conflicts(ONE, 4, &get("a")));
        assert!(!conflicts(ONE, 6, &get("a")));
    }
}
