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

/// One cell of the table.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) row: Row,
    pub(crate) depth: Depth,
    /// What was measured, or why it was not.
    pub(crate) outcome: anyhow::Result<Measured>,
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

    fn run(&mut self, standing: &Standing, plan: &Run) -> anyhow::Result<()> {
        let Standing { address, processes } = standing;
        if plan.fresh || plan.operation != Operation::Get {
            load::prepare(*address, plan.operation)?;
            plan.settle(processes);
        }
        let before = processor::used(processes);
        let per_second = load::run(*address, plan.operation, plan.depth, plan.operations)?;
        plan.settle(processes);
        self.add_processor(&before, &processor::used(processes));
        load::check_written(*address, plan.operation, plan.operations)?;
        self.per_second.push(per_second);
        Ok(())
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

impl Run {
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

/// Measures every row at every depth. A cell that fails says so in its place; what cannot even be compared with is an error.
pub(crate) fn all(
    rows: &[Row],
    load: &Load,
    tulpar: &Path,
    directory: &Path,
) -> anyhow::Result<Vec<Cell>> {
    let redis_directory = directory.join("redis");
    fs::create_dir(&redis_directory).context("cannot make a directory for Redis")?;
    let redis = RedisServer::start(&redis_directory, Persistence::Nothing)?;

    let mut cells = Vec::new();
    for of_one_subject in rows.chunk_by(|one, next| one.subject == next.subject) {
        let peer_directory = directory.join("peer");
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
        let _ = fs::remove_dir_all(&peer_directory);
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
    for pair in 0..load.pairs {
        let run = Run {
            operation: row.operation,
            depth,
            operations: load.operations(depth),
            fresh: pair == 0,
            settling: load.settling,
        };
        let standing = peer.standing()?;
        measured.primary_moved |= standing.address != first.address;
        let of_redis = |measured: &mut Measured| {
            measured
                .redis
                .run(&standing_of(redis), &run)
                .context("Redis")
        };
        let of_subject =
            |measured: &mut Measured| measured.subject.run(&standing, &run).context("the peer");
        if pair % 2 == 0 {
            of_redis(&mut measured)?;
            of_subject(&mut measured)?;
        } else {
            of_subject(&mut measured)?;
            of_redis(&mut measured)?;
        }
        measured
            .ratios
            .push(measured.subject.per_second[pair] / measured.redis.per_second[pair]);
    }
    measured.primary_moved |= peer.standing()?.address != first.address;
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
