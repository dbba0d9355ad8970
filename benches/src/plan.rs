//! What is measured: the rows of the table, their names, and the ratio that each is to reach.
//!
//! The figures to reach were derived from a bare prototype of the hot path on a machine with two cores that also carried the load.

use std::fmt;

/// A command of redis-benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Get,
    Set,
    Incr,
    Hset,
}

impl Operation {
    const ALL: [Operation; 4] = [
        Operation::Get,
        Operation::Set,
        Operation::Incr,
        Operation::Hset,
    ];

    /// As redis-benchmark and Redis call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Operation::Get => "GET",
            Operation::Set => "SET",
            Operation::Incr => "INCR",
            Operation::Hset => "HSET",
        }
    }
}

/// How many commands a connection sends before it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    One,
    Sixteen,
}

impl Depth {
    pub(crate) fn commands(self) -> u32 {
        match self {
            Depth::One => 1,
            Depth::Sixteen => 16,
        }
    }
}

/// How many replica servers hold each partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copies {
    One,
    Three,
}

impl Copies {
    pub(crate) fn count(self) -> u32 {
        match self {
            Copies::One => 1,
            Copies::Three => 3,
        }
    }
}

/// When a write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    Buffered,
    Sync,
}

impl Durability {
    /// As `tulpar onebox --durability` calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Durability::Buffered => "buffered",
            Durability::Sync => "sync",
        }
    }
}

/// Which port the load goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// The Redis port of the one partition's primary.
    Primary,
    /// The gateway, before a table of eight partitions.
    Gateway,
}

impl Door {
    /// Partitions of the table behind it.
    pub(crate) fn partitions(self) -> u32 {
        match self {
            Door::Primary => 1,
            Door::Gateway => 8,
        }
    }
}

/// Who is compared with a Redis without persistence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Tulpar(Setting),
    /// The same Redis with an append-only file that is synced every second, for orientation.
    RedisAppendOnly,
}

/// A cluster on this machine, and where it is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) door: Door,
    pub(crate) copies: Copies,
    pub(crate) durability: Durability,
}

impl Setting {
    fn at_primary(copies: Copies, durability: Durability) -> Self {
        Setting {
            door: Door::Primary,
            copies,
            durability,
        }
    }
}

/// One row of the table: a command and whom it is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) subject: Subject,
    pub(crate) operation: Operation,
}

impl Row {
    /// What `--cell` calls it.
    pub(crate) fn name(self) -> String {
        let operation = self.operation.name().to_lowercase();
        match self.subject {
            Subject::RedisAppendOnly => format!("redis-aof-{operation}"),
            Subject::Tulpar(Setting {
                door,
                copies,
                durability,
            }) => {
                let door = match door {
                    Door::Primary => "",
                    Door::Gateway => "gateway-",
                };
                format!("{door}{operation}-{}-{}", copies.count(), durability.name())
            }
        }
    }

    /// The ratio to reach, where one is set.
    pub(crate) fn reach(self, depth: Depth) -> Option<f64> {
        /// An HSET is to be no worse than this part of a SET.
        const HSET: f64 = 0.75;
        let Subject::Tulpar(Setting {
            door,
            copies,
            durability,
        }) = self.subject
        else {
            return None;
        };
        let of_set = match (door, copies, durability) {
            (Door::Primary, Copies::One, Durability::Buffered) => Some(at(depth, 0.75, 0.50)),
            (Door::Primary, Copies::Three, Durability::Buffered) => Some(at(depth, 0.48, 0.30)),
            (Door::Primary, Copies::Three, Durability::Sync) => Some(at(depth, 0.25, 0.20)),
            (Door::Gateway, Copies::Three, Durability::Buffered) => Some(at(depth, 0.40, 0.20)),
            (_, Copies::One, Durability::Sync) | (Door::Gateway, _, _) => None,
        };
        match (self.operation, door) {
            (Operation::Get, Door::Primary) => Some(at(depth, 0.85, 0.90)),
            (Operation::Get, Door::Gateway) => Some(at(depth, 0.75, 0.45)),
            (Operation::Set, _) | (Operation::Incr, Door::Primary) => of_set,
            (Operation::Hset, Door::Primary) => of_set.map(|ratio| ratio * HSET),
            (Operation::Incr | Operation::Hset, Door::Gateway) => None,
        }
    }
}

/// For people: the row's title in the table.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = self.operation.name();
        match self.subject {
            Subject::RedisAppendOnly => write!(f, "{operation}, Redis with appendonly everysec"),
            Subject::Tulpar(Setting {
                door,
                copies,
                durability,
            }) => {
                let copies = match copies {
                    Copies::One => "1 copy",
                    Copies::Three => "3 copies",
                };
                let door = match door {
                    Door::Primary => "",
                    Door::Gateway => ", gateway",
                };
                write!(f, "{operation}, {copies}, {}{door}", durability.name())
            }
        }
    }
}

fn at(depth: Depth, one: f64, sixteen: f64) -> f64 {
    match depth {
        Depth::One => one,
        Depth::Sixteen => sixteen,
    }
}

/// The rows that have a figure to reach, and Redis' own append-only file beside them.
pub(crate) fn the_table() -> Vec<Row> {
    let settings = [
        Setting::at_primary(Copies::One, Durability::Buffered),
        Setting::at_primary(Copies::Three, Durability::Buffered),
        Setting::at_primary(Copies::Three, Durability::Sync),
    ];
    let three_copies = settings[1];
    let gateway = Subject::Tulpar(Setting {
        door: Door::Gateway,
        ..three_copies
    });

    // A read with three copies needs the leases of two others, so that is the read that counts.
    let mut rows = vec![Row {
        subject: Subject::Tulpar(three_copies),
        operation: Operation::Get,
    }];
    for setting in settings {
        let subject = Subject::Tulpar(setting);
        rows.extend(
            [Operation::Set, Operation::Incr, Operation::Hset]
                .map(|operation| Row { subject, operation }),
        );
    }
    rows.push(Row {
        subject: gateway,
        operation: Operation::Get,
    });
    rows.push(Row {
        subject: gateway,
        operation: Operation::Set,
    });
    rows.push(Row {
        subject: Subject::RedisAppendOnly,
        operation: Operation::Set,
    });
    rows
}

/// Every combination; rows of one subject stand together, so that each cluster is started once.
pub(crate) fn every_row() -> Vec<Row> {
    let mut rows = Vec::new();
    for door in [Door::Primary, Door::Gateway] {
        for copies in [Copies::One, Copies::Three] {
            for durability in [Durability::Buffered, Durability::Sync] {
                let subject = Subject::Tulpar(Setting {
                    door,
                    copies,
                    durability,
                });
                rows.extend(Operation::ALL.map(|operation| Row { subject, operation }));
            }
        }
    }
    rows.extend(Operation::ALL.map(|operation| Row {
        subject: Subject::RedisAppendOnly,
        operation,
    }));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_figure_to_reach_in_every_row_of_tulpar_and_each_row_has_its_own_name() {
        let table = the_table();
        for row in &table {
            for depth in [Depth::One, Depth::Sixteen] {
                assert_eq!(
                    row.reach(depth).is_some(),
                    row.subject != Subject::RedisAppendOnly,
                    "{row}"
                );
            }
        }
        let every_row = every_row();
        let names: std::collections::BTreeSet<_> = every_row.iter().map(|row| row.name()).collect();
        assert_eq!(names.len(), every_row.len());
        assert!(table.iter().all(|row| every_row.contains(row)));
    }

    #[test]
    fn an_hset_is_to_reach_three_quarters_of_the_set_beside_it() {
        let row = |name: &str| {
            every_row()
                .into_iter()
                .find(|row| row.name() == name)
                .unwrap()
        };
        assert_eq!(row("set-3-sync").reach(Depth::Sixteen), Some(0.20));
        assert_eq!(row("hset-3-sync").reach(Depth::Sixteen), Some(0.20 * 0.75));
    }
}
