//! What the log knows of one partition: where its mutations lie, which marks are its newest, which segments it holds back.
//!
//! Mutations are kept as *runs*: neighbours of one ballot with consecutive decrees. A later run wins the decrees it has in common
//! with an earlier one and cancels nothing above them; only truncates and resets do (L1). A run is found by a handful of places, one
//! per [`PLACE_EVERY`] bytes of log, so the memory is that of the runs, not of the records.

use crate::Position;
use std::collections::VecDeque;
use types::{Ballot, Decree, RecordBody};

/// How much log may lie between two places of a run.
const PLACE_EVERY: u32 = 64 << 10;

/// A batch, and the first decree of the run in it or behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) at: Position,
    pub(crate) decree: Decree,
}

/// Consecutive mutations of one ballot that were appended one after the other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    ballot: Ballot,
    pub(crate) first: Decree,
    /// Lowered by truncates and resets; the run never grows again then.
    pub(crate) last: Decree,
    cut: bool,
    /// The records lie between these, both included.
    pub(crate) from: Position,
    pub(crate) to: Position,
    pub(crate) places: Vec<Place>,
}

impl Run {
    fn has(&self, decree: Decree) -> bool {
        self.first <= decree && decree <= self.last
    }
}

/// The kinds of records of which only the newest counts, in the order in which recovery shows them behind the mutations. A deletion
/// comes first: what was there before it is gone, so whatever stands beside it came after it, and is not cancelled by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum MarkKind {
    Reset,
    Deleted,
    Truncate,
    Ready,
    Ballot,
    Configuration,
    Proposed,
    Boot,
    Quarantined,
}

/// The newest record of a kind, and the segment that has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Mark {
    pub(crate) kind: MarkKind,
    pub(crate) sequence: u32,
    /// `None` for the log's own mark, `Quarantined`.
    pub(crate) body: Option<RecordBody>,
}

impl Mark {
    /// Whether it must survive its segment. A deletion need not: what it cancels goes before it.
    pub(crate) fn carried(&self) -> bool {
        self.kind != MarkKind::Deleted
    }
}

/// What a partition has in one segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Holding {
    pub(crate) sequence: u32,
    pub(crate) records: u32,
    pub(crate) marks: u32,
    pub(crate) lowest: Decree,
    pub(crate) highest: Decree,
    /// The highest decree that may still count.
    needed: Decree,
    pub(crate) bytes: u64,
    /// There may be mutations that RocksDB does not have.
    pub(crate) held: bool,
}

#[derive(Default, Debug)]
pub(crate) struct Partition {
    pub(crate) durable: Decree,
    pub(crate) runs: Vec<Run>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) holdings: VecDeque<Holding>,
    /// Its last record.
    pub(crate) newest: Position,
}

/// Part of a run within one segment, to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Step {
    /// A batch at or before the first wanted record.
    pub(crate) at: Position,
    /// The run's records lie between these.
    pub(crate) from: Position,
    pub(crate) to: Position,
    /// The last decree that this step yields.
    pub(crate) last: Decree,
}

impl Partition {
    pub(crate) fn mark(&self, kind: MarkKind) -> Option<&Mark> {
        self.marks.iter().find(|mark| mark.kind == kind)
    }

    /// The entry of the segment that is written now; `true` if it is new.
    pub(crate) fn holding(&mut self, sequence: u32) -> (&mut Holding, bool) {
        let new = self
            .holdings
            .back()
            .is_none_or(|holding| holding.sequence != sequence);
        if new {
            self.holdings.push_back(Holding {
                sequence,
                records: 0,
                marks: 0,
                lowest: Decree::ZERO,
                highest: Decree::ZERO,
                needed: Decree::ZERO,
                bytes: 0,
                held: false,
            });
        }
        // Not empty: the line above saw to it.
        let last = self.holdings.len() - 1;
        (&mut self.holdings[last], new)
    }

    /// A mutation was written at `record`, in the batch at `batch`. Says whether its segment is held anew.
    pub(crate) fn mutation(
        &mut self,
        ballot: Ballot,
        decree: Decree,
        record: Position,
        batch: Position,
    ) -> bool {
        let durable = self.durable;
        let (holding, _) = self.holding(record.sequence());
        if holding.lowest == Decree::ZERO || decree < holding.lowest {
            holding.lowest = decree;
        }
        holding.highest = holding.highest.max(decree);
        holding.needed = holding.needed.max(decree);
        let newly_held = !holding.held && decree > durable;
        holding.held |= newly_held;
        let place = Place { at: batch, decree };
        match self.runs.last_mut() {
            Some(run) if !run.cut && run.ballot == ballot && run.last.next() == decree => {
                run.last = decree;
                run.to = record;
                let near = run.places.last().is_some_and(|last| {
                    last.at.sequence() == batch.sequence()
                        && batch.offset() - last.at.offset() < PLACE_EVERY
                });
                if !near {
                    run.places.push(place);
                }
            }
            _ => self.runs.push(Run {
                ballot,
                first: decree,
                last: decree,
                cut: false,
                from: record,
                to: record,
                places: vec![place],
            }),
        }
        newly_held
    }

    /// Records above `decree` of ballots below `ballot` are gone (C2).
    pub(crate) fn truncate(&mut self, ballot: Ballot, decree: Decree) {
        self.cut_runs(decree, |run| run.ballot < ballot);
    }

    /// Records above `base` are gone (L4); so are the marks that belonged to an earlier learn.
    pub(crate) fn reset(&mut self, base: Decree) {
        self.cut_runs(base, |_| true);
        for holding in &mut self.holdings {
            holding.needed = holding.needed.min(base);
        }
        // A RocksDB that had more is gone or on its way out: one that a checkpoint replaces, or a deleted copy's whose last flush
        // ended behind the deletion.
        self.durable = self.durable.min(base);
    }

    /// Nothing of what was there counts any more.
    pub(crate) fn delete(&mut self) {
        self.runs.clear();
        self.durable = Decree::ZERO;
        for holding in &mut self.holdings {
            holding.needed = Decree::ZERO;
        }
    }

    fn cut_runs(&mut self, decree: Decree, which: impl Fn(&Run) -> bool) {
        for run in &mut self.runs {
            if which(run) && run.last > decree {
                run.last = decree;
                run.cut = true;
            }
        }
        self.runs.retain(|run| run.first <= run.last);
    }

    /// Gives back the segments that no longer hold anything needed above the durable decree.
    pub(crate) fn let_go(&mut self, mut freed: impl FnMut(u32)) {
        let durable = self.durable;
        for holding in &mut self.holdings {
            if holding.held && holding.needed <= durable {
                holding.held = false;
                freed(holding.sequence);
            }
        }
    }

    /// Bytes in the log that RocksDB may not have.
    pub(crate) fn live_bytes(&self) -> u64 {
        let held = self.holdings.iter().filter(|holding| holding.held);
        held.map(|holding| holding.bytes).sum()
    }

    /// The segment is gone.
    pub(crate) fn release(&mut self, sequence: u32) {
        self.holdings.retain(|holding| holding.sequence != sequence);
        self.marks.retain(|mark| mark.sequence != sequence);
        for run in &mut self.runs {
            let gone = run
                .places
                .iter()
                .take_while(|place| place.at.sequence() <= sequence)
                .count();
            if gone > 0 {
                run.places.drain(..gone);
                if let Some(place) = run.places.first() {
                    run.first = place.decree;
                    run.from = place.at;
                }
            }
        }
        self.runs
            .retain(|run| !run.places.is_empty() && run.first <= run.last);
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.holdings.is_empty() && self.marks.is_empty()
    }

    fn winner(&self, decree: Decree) -> Option<usize> {
        self.runs.iter().rposition(|run| run.has(decree))
    }

    /// Whether the record of `decree` that lies at `record` is the one that counts.
    pub(crate) fn counts(&self, decree: Decree, record: Position) -> bool {
        self.winner(decree)
            .is_some_and(|run| self.runs[run].from <= record && record <= self.runs[run].to)
    }

    /// The highest decree in the log.
    pub(crate) fn last(&self) -> Option<Decree> {
        self.runs.iter().map(|run| run.last).max()
    }

    /// From here to the last there is no hole.
    pub(crate) fn oldest(&self) -> Option<Decree> {
        let mut decree = self.last()?;
        while let Some(run) = self.winner(decree) {
            decree = self.runs[run].first;
            if decree == Decree::ZERO || self.winner(decree.previous()).is_none() {
                break;
            }
            decree = decree.previous();
        }
        Some(decree)
    }

    /// How to read on from `decree`.
    pub(crate) fn step(&self, decree: Decree) -> Option<Step> {
        let winner = self.winner(decree)?;
        let run = &self.runs[winner];
        let later = &self.runs[winner + 1..];
        let overridden = later
            .iter()
            .map(|run| run.first)
            .filter(|&first| first > decree)
            .min();
        let mut last = overridden.map_or(run.last, |first| run.last.min(first.previous()));
        let place = run
            .places
            .partition_point(|place| place.decree <= decree)
            .checked_sub(1)?;
        let at = run.places[place].at;
        let next_segment = run.places[place..]
            .iter()
            .find(|place| place.at.sequence() != at.sequence());
        if let Some(next) = next_segment {
            last = last.min(next.decree.previous());
        }
        Some(Step {
            at,
            from: run.from,
            to: run.to,
            last,
        })
    }

    /// What of the partition's mutations above the durable decree lies in one segment, with the first decree of each step.
    pub(crate) fn steps_in(&self, sequence: u32) -> Vec<(Decree, Step)> {
        let step = |run: &Run| {
            let place = run
                .places
                .iter()
                .find(|place| place.at.sequence() == sequence)?;
            let next = run
                .places
                .iter()
                .find(|place| place.at.sequence() > sequence);
            let last = next.map_or(run.last, |next| run.last.min(next.decree.previous()));
            let first = place.decree.max(self.durable.next());
            let step = Step {
                at: place.at,
                from: run.from,
                to: run.to,
                last,
            };
            (first <= last).then_some((first, step))
        };
        self.runs.iter().filter_map(step).collect()
    }

    /// The oldest segment that has something from `decree` on.
    pub(crate) fn reaches_into(&self, decree: Decree) -> Option<u32> {
        let runs = self.runs.iter().filter(|run| run.last >= decree);
        let place = |run: &Run| {
            let at = run
                .places
                .partition_point(|place| place.decree <= decree)
                .saturating_sub(1);
            run.places.get(at).map(|place| place.at.sequence())
        };
        runs.filter_map(place).min()
    }

    /// Whether the log up to and including `decree` lies before `synced`. May say no too often, by some [`PLACE_EVERY`].
    pub(crate) fn is_synced(&self, decree: Decree, synced: Position) -> bool {
        if self.newest < synced {
            return true;
        }
        let Some(winner) = self.winner(decree) else {
            return self.runs.iter().all(|run| run.first > decree);
        };
        let run = &self.runs[winner];
        let behind = run.places.iter().find(|place| place.decree > decree);
        run.to < synced || behind.is_some_and(|place| place.at <= synced)
    }
}
