//! How long commits and disks take. One clock reading that is there anyway, and one counter, for a mutation or a sync: not for a command.

use std::collections::VecDeque;
use telemetry::{Counts, Latencies};
use types::{Decree, Durability, Instant};

/// Filled by the worker and by the logs' threads, read by any.
#[derive(Debug, Default)]
pub(crate) struct Timings {
    /// From a mutation's first command to its commit.
    pub(crate) commits: Latencies,
    sync_log: Latencies,
    buffered_log: Latencies,
}

impl Timings {
    /// Of one log: how long its batches (`sync`) or syncs (`buffered`) kept the disk.
    pub(crate) fn log(&self, durability: Durability) -> &Latencies {
        match durability {
            Durability::Sync => &self.sync_log,
            Durability::Buffered => &self.buffered_log,
        }
    }

    /// Of both logs together.
    pub(crate) fn logs(&self) -> Counts {
        let mut both = self.sync_log.counts();
        both.add(&self.buffered_log.counts());
        both
    }
}

/// When the mutations of one primary that are not committed yet were begun.
#[derive(Debug, Default)]
pub(crate) struct CommitTimes {
    open: Option<Instant>,
    sealed: VecDeque<(Decree, Instant)>,
}

impl CommitTimes {
    /// A mutation was opened for a command.
    pub(crate) fn opened(&mut self, now: Instant) {
        self.open = Some(now);
    }

    /// It got its decree, and is on its way.
    pub(crate) fn sealed(&mut self, decree: Decree) {
        if let Some(opened) = self.open.take() {
            self.sealed.push_back((decree, opened));
        }
    }

    /// Everything up to there is committed.
    pub(crate) fn committed(&mut self, up_to: Decree, now: Instant, timings: &Timings) {
        while let Some((_, opened)) = self.sealed.pop_front_if(|(decree, _)| *decree <= up_to) {
            timings.commits.record(now.since(opened));
        }
    }

    /// What is in flight is another's now.
    pub(crate) fn forget(&mut self) {
        self.open = None;
        self.sealed.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_commit_took_from_its_first_command_on() {
        let ms = |ms: u64| Instant(ms * 1_000_000);
        let (mut times, timings) = (CommitTimes::default(), Timings::default());
        times.opened(ms(10));
        times.sealed(Decree(7));
        times.opened(ms(12));
        times.sealed(Decree(8));
        times.committed(Decree(6), ms(13), &timings);
        assert_eq!(timings.commits.counts().total(), 0);
        times.committed(Decree(8), ms(15), &timings);
        let counts = timings.commits.counts();
        assert_eq!(
            (counts.total(), counts.sum),
            (2, Duration::from_millis(5 + 3))
        );
        times.opened(ms(20));
        times.sealed(Decree(9));
        times.forget();
        times.committed(Decree(9), ms(30), &timings);
        assert_eq!(timings.commits.counts().total(), 2);
    }
}
