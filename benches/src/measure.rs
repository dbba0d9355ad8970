//! Pairs of runs, one on each peer, and their medians.
//!
//! Peers alternate, also in who goes first, so that what drifts on the machine hits both. Only one works at a time: a run begins when the
//! peer before it has done what it put off.

use crate::load::{self, Load, Settling};
use crate::onebox::{Onebox, Standing};
use crate::plan::{Depth, Operation, Row, Subject};
use crate::processor::{self, Process};
use crate::redis_server::{Persistence, RedisServer};
use anyhow::Context;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// How many pairs of a cell may fail before it is given up. Each is told in the report, and the program's exit code tells of them too.
const REPEATS: usize = 2;

/// One cell of the table.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) row: Row,
    pub(crate) depth: Depth,
    /// What was measured, or why it was not.
    pub(crate) outcome: anyhow::Result<Measured>,
}

impl Cell {
    /// Every run of it ended well.
    pub(crate) fn is_flawless(&self) -> bool {
        self.outcome
            .as_ref()
            .is_ok_and(|measured| measured.failures.is_empty())
    }
}

/// The pairs of one cell.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) redis: Side,
    pub(crate) subject: Side,
    /// The subject's speed as part of Redis', pair by pair.
    pub(crate) ratios: Vec<f64>,
    /// Another replica server took over in between, so the load crossed one hop more.
    pub(crate) primary_moved: bool,
    /// Pairs that were made again because one of their runs failed.
    pub(crate) failures: Vec<String>,
}

impl Measured {
    pub(crate) fn ratio(&self) -> f64 {
        median(&self.ratios)
    }
}

/// What one peer did in a cell.
#[derive(Debug, Default)]
pub(crate) struct Side {
    pub(crate) per_second: Vec<f64>,
    /// Processor time of each role over all runs, with what was done after the last answer.
    pub(crate) processor: Vec<(&'static str, Duration)>,
}

impl Side {
    pub(crate) fn median_per_second(&self) -> f64 {
        median(&self.per_second)
    }

    fn add(&mut self, done: &Done) {
        self.per_second.push(done.per_second);
        self.add_processor(&done.before, &done.after);
    }

    fn add_processor(
        &mut self,
        before: &[(&'static str, Duration)],
        after: &[(&'static str, Duration)],
    ) {
        for (role, used) in after {
            let earlier = before
                .iter()
                .find(|(other, _)| other == role)
                .map_or(Duration::ZERO, |(_, used)| *used);
            let used = used.saturating_sub(earlier);
            match self.processor.iter_mut().find(|(other, _)| other == role) {
                Some((_, sum)) => *sum += used,
                None => self.processor.push((role, used)),
            }
        }
    }
}

/// One run of redis-benchmark.
struct Run {
    operation: Operation,
    depth: Depth,
    operations: u64,
    /// The first of its cell; later reads find their keys in place.
    fresh: bool,
    settling: Settling,
}

/// What a run showed.
struct Done {
    per_second: f64,
    before: Vec<(&'static str, Duration)>,
    after: Vec<(&'static str, Duration)>,
}

impl Run {
    fn on(&self, standing: &Standing) -> anyhow::Result<Done> {
        let Standing { address, processes } = standing;
        if self.fresh || self.operation != Operation::Get {
            load::prepare(*address, self.operation)?;
            self.settle(processes);
        }
        let before = processor::used(processes);
        let per_second = load::run(*address, self.operation, self.depth, self.operations)?;
        self.settle(processes);
        let after = processor::used(processes);
        load::check_written(*address, self.operation, self.operations)?;
        Ok(Done {
            per_second,
            before,
            after,
        })
    }

    fn settle(&self, processes: &[Process]) {
        match self.settling {
            Settling::Awaited => processor::wait_until_quiet(processes),
            Settling::Ignored => (),
        }
    }
}

/// Whoever is compared with Redis.
enum Peer {
    Onebox(Onebox),
    Redis(RedisServer),
}

impl Peer {
    fn start(subject: Subject, tulpar: &Path, directory: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(directory)?;
        Ok(match subject {
            Subject::Tulpar(setting) => Peer::Onebox(Onebox::start(tulpar, directory, setting)?),
            Subject::RedisAppendOnly => Peer::Redis(RedisServer::start(
                directory,
                Persistence::AppendOnlyEverySecond,
            )?),
        })
    }

    fn standing(&self) -> anyhow::Result<Standing> {
        match self {
            Peer::Onebox(onebox) => onebox.standing(),
            Peer::Redis(server) => Ok(standing_of(server)),
        }
    }
}

fn standing_of(server: &RedisServer) -> Standing {
    Standing {
        address: server.address,
        processes: server.processes(),
    }
}

/// What becomes of the servers' data and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Data {
    Removed,
    Kept,
}

/// Measures every row at every depth. A cell that fails says so in its place; what cannot even be compared with is an error.
pub(crate) fn all(
    rows: &[Row],
    load: &Load,
    tulpar: &Path,
    directory: &Path,
    data: Data,
) -> anyhow::Result<Vec<Cell>> {
    let redis_directory = directory.join("redis");
    fs::create_dir(&redis_directory).context("cannot make a directory for Redis")?;
    let redis = RedisServer::start(&redis_directory, Persistence::Nothing)?;

    let mut cells = Vec::new();
    for (number, of_one_subject) in
        (1..).zip(rows.chunk_by(|one, next| one.subject == next.subject))
    {
        let peer_directory = directory.join(format!("peer-{number}"));
        let peer = Peer::start(of_one_subject[0].subject, tulpar, &peer_directory);
        for row in of_one_subject {
            for &depth in &load.depths {
                let outcome = match &peer {
                    Ok(peer) => cell(*row, depth, load, &redis, peer),
                    Err(error) => Err(anyhow::anyhow!("{error:#}")),
                };
                let cell = Cell {
                    row: *row,
                    depth,
                    outcome,
                };
                eprintln!("{cell}");
                cells.push(cell);
            }
        }
        drop(peer);
        if data == Data::Removed {
            // What is left goes with the directory above it.
            let _ = fs::remove_dir_all(&peer_directory);
        }
    }
    Ok(cells)
}

fn cell(
    row: Row,
    depth: Depth,
    load: &Load,
    redis: &RedisServer,
    peer: &Peer,
) -> anyhow::Result<Measured> {
    let mut measured = Measured::default();
    let first = peer.standing()?;
    while measured.ratios.len() < load.pairs {
        let pairs = measured.ratios.len();
        let run = Run {
            operation: row.operation,
            depth,
            operations: load.operations(depth),
            fresh: pairs == 0,
            settling: load.settling,
        };
        let on_redis = || run.on(&standing_of(redis)).context("Redis");
        let on_subject = || run.on(&peer.standing()?).context("the peer");
        let pair = if pairs.is_multiple_of(2) {
            on_redis().and_then(|of_redis| Ok((of_redis, on_subject()?)))
        } else {
            on_subject().and_then(|of_subject| Ok((on_redis()?, of_subject)))
        };
        match pair {
            Ok((of_redis, of_subject)) => {
                measured
                    .ratios
                    .push(of_subject.per_second / of_redis.per_second);
                measured.redis.add(&of_redis);
                measured.subject.add(&of_subject);
            }
            Err(error) if measured.failures.len() < REPEATS => {
                measured.failures.push(format!("{error:#}"));
            }
            Err(error) => return Err(error),
        }
    }
    measured.primary_moved = peer.standing()?.address != first.address;
    Ok(measured)
}

/// The middle one, or the mean of the two in the middle; of nothing, no number.
fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.as_slice() {
        [] => f64::NAN,
        sorted => f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_odd_pair_of_three_does_not_move_the_median() {
        assert!((median(&[0.5, 9.0, 0.4]) - 0.5).abs() < f64::EPSILON);
        assert!((median(&[0.4, 0.6]) - 0.5).abs() < f64::EPSILON);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn processor_time_is_summed_by_role_over_the_runs() {
        let mut side = Side::default();
        let seconds = Duration::from_secs;
        side.add_processor(
            &[("a", seconds(1))],
            &[("a", seconds(3)), ("b", seconds(1))],
        );
        side.add_processor(
            &[("a", seconds(3)), ("b", seconds(1))],
            &[("a", seconds(4)), ("b", seconds(1))],
        );
        assert_eq!(side.processor, [("a", seconds(3)), ("b", seconds(1))]);
    }
}
