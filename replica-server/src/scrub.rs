//! Scrubbing: a thread that reads all this node keeps, slowly, round after round: the files of every partition, one after the other,
//! then every sealed log segment.
//!
//! What it finds it does not mend: storage tells of its own damage, and the replica learns anew; the log lets go of a damaged segment.
//! Where a round is stands in a small file, so that restarts do not keep the last partitions from their turn.

use crate::config::Scrub;
use crate::directory;
use commit_log::{Log, Verified};
use engine::{Engine, Scrubbed};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use types::PartitionId;

/// How often a round's place is written down at most.
const KEEP_EVERY: Duration = Duration::from_secs(10);
/// How long what hindered a partition's scrub may last before the round goes on without it.
const HINDERED: Duration = Duration::from_secs(1);

/// The thread; it ends with this.
pub(crate) struct Scrubber {
    brake: Arc<Brake>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Scrubber {
    fn drop(&mut self) {
        self.brake.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts scrubbing, unless the configuration says not to. `place` is the file that remembers where a round is.
pub(crate) fn start(
    settings: &Scrub,
    engine: Engine,
    logs: Vec<Log>,
    place: PathBuf,
) -> std::io::Result<Option<Scrubber>> {
    if settings.interval.is_zero() || settings.rate.0 == 0 {
        return Ok(None);
    }
    let brake = Arc::new(Brake {
        rate: settings.rate.0,
        ..Brake::default()
    });
    let round = Round {
        engine,
        logs,
        brake: brake.clone(),
        path: place,
        kept: None,
        counted: Counted::default(),
    };
    let interval = settings.interval;
    let thread = std::thread::Builder::new()
        .name("scrub".into())
        .spawn(move || round.run(interval))?;
    Ok(Some(Scrubber {
        brake,
        thread: Some(thread),
    }))
}

/// Lets the thread read so many bytes a second, and ends it.
#[derive(Default)]
struct Brake {
    rate: u64,
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Brake {
    fn stop(&self) {
        *self.lock() = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits; false if the thread is to end.
    fn wait(&self, how_long: Duration) -> bool {
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), how_long, |stopped| !*stopped);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// The place of a round, as kept.
#[derive(Serialize, Deserialize, Default, Clone, Copy)]
struct Place {
    /// When it began, in milliseconds since 1970.
    began: u64,
    /// The last partition done.
    after: Option<(u32, u32)>,
    done: bool,
}

/// What a round has come to so far.
#[derive(Default)]
struct Counted {
    partitions: u64,
    segments: u64,
    bytes: u64,
    damaged: u64,
}

struct Round {
    engine: Engine,
    logs: Vec<Log>,
    brake: Arc<Brake>,
    path: PathBuf,
    kept: Option<Instant>,
    counted: Counted,
}

impl Round {
    fn run(mut self, interval: Duration) {
        let kept = directory::read(&self.path);
        let mut place: Place = kept
            .ok()
            .and_then(directory::Read::whole)
            .unwrap_or_default();
        loop {
            if place.done {
                // A clock that was set back puts the next round off by one interval at most.
                let since = unix_millis().saturating_sub(place.began);
                let rest = interval.saturating_sub(Duration::from_millis(since));
                if !self.brake.wait(rest) {
                    return;
                }
                place = Place::default();
            }
            if place.began == 0 {
                place.began = unix_millis();
            }
            if !self.round(&mut place) {
                self.keep(place);
                return;
            }
        }
    }

    /// One round, from where it was left; false if the thread is to end.
    fn round(&mut self, place: &mut Place) -> bool {
        self.counted = Counted::default();
        let after = place
            .after
            .map(|(table, index)| PartitionId::new(table, index));
        let partitions = self.engine.partitions();
        for (id, _) in partitions {
            if after.is_some_and(|after| id <= after) {
                continue;
            }
            if !self.partition(id) {
                return false;
            }
            place.after = Some((id.table.0, id.index));
            if self.kept.is_none_or(|kept| kept.elapsed() > KEEP_EVERY) {
                self.keep(*place);
            }
        }
        for log in self.logs.clone() {
            if !self.log(&log) {
                return false;
            }
        }
        place.done = true;
        place.after = None;
        self.keep(*place);
        let Counted {
            partitions,
            segments,
            bytes,
            damaged,
        } = self.counted;
        tracing::info!(partitions, segments, bytes, damaged, "scrubbed everything");
        true
    }

    fn partition(&mut self, id: PartitionId) -> bool {
        let mut pace = Pace::new(&self.brake);
        let scrubbed = self
            .engine
            .scrub(id, &mut |bytes| pace.may_go_on(bytes as u64));
        match scrubbed {
            Scrubbed::Whole { bytes } => {
                self.counted.partitions += 1;
                self.counted.bytes += bytes;
            }
            Scrubbed::Damaged { reason } => {
                tracing::error!(partition = %id, reason, "scrubbing found damaged files");
                self.counted.damaged += 1;
            }
            Scrubbed::Nothing => {}
            Scrubbed::Hindered { reason } => {
                tracing::warn!(partition = %id, reason, "not scrubbed, its turn is in the next round");
                return self.brake.wait(HINDERED);
            }
            Scrubbed::Stopped => return false,
        }
        true
    }

    fn log(&mut self, log: &Log) -> bool {
        let mut last = 0;
        while let Some(segment) = log.sealed_behind(last) {
            let (mut pace, mut bytes) = (Pace::new(&self.brake), 0);
            let verified = log.verify(segment, &mut |read| {
                bytes += read as u64;
                pace.may_go_on(read as u64)
            });
            self.counted.bytes += bytes;
            match verified {
                Verified::Whole => self.counted.segments += 1,
                // The log has said so itself.
                Verified::Damaged { .. } => self.counted.damaged += 1,
                Verified::Gone => {}
                Verified::Stopped => return false,
            }
            last = segment;
        }
        true
    }

    fn keep(&mut self, place: Place) {
        self.kept = Some(Instant::now());
        if let Err(error) = directory::write(&self.path, &place) {
            tracing::warn!(path = %self.path.display(), %error, "where the scrub is cannot be written down");
        }
    }
}

/// Spreads what is read of one thing over the time that it may take.
struct Pace<'a> {
    brake: &'a Brake,
    began: Instant,
    read: u64,
}

impl<'a> Pace<'a> {
    /// Shorter waits are put off: they would be inexact, and many.
    const SHORTEST: Duration = Duration::from_millis(10);

    fn new(brake: &'a Brake) -> Self {
        Self {
            brake,
            began: Instant::now(),
            read: 0,
        }
    }

    fn may_go_on(&mut self, bytes: u64) -> bool {
        self.read += bytes;
        let due = Duration::from_secs_f64(self.read as f64 / self.brake.rate as f64);
        let ahead = due.saturating_sub(self.began.elapsed());
        if ahead < Self::SHORTEST {
            return !*self.brake.lock();
        }
        self.brake.wait(ahead)
    }
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
