//! Clients that write and read one key of every partition all the time, and remember when they were answered.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tests::doors::{open, runtime};
use tests::faults::clients::{Client, Way};
use tests::fleet::Fleet;
use tests::fleet::cluster::TABLE;
use tests::history::{Call, Outcome, Recorder};
use tests::poll::until;

/// Between an answer and the next question: many clients must not keep the machine from the servers.
const THINK: Duration = Duration::from_millis(2);

/// What a probe does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Doing {
    Reading,
    Writing,
}

/// Who asks: what it does, to which partition, through which of the ways.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Asking {
    doing: Doing,
    partition: u32,
    way: usize,
}

/// One answer, or none.
#[derive(Clone, Copy, Debug)]
struct Answer {
    sent: Instant,
    came: Instant,
    outcome: Outcome,
}

/// Its answers so far.
type Log = Arc<Mutex<Vec<Answer>>>;

/// How often which error came.
type Errors = Mutex<BTreeMap<String, usize>>;

/// All of them.
pub(crate) struct Probes {
    shared: Arc<Shared>,
    logs: BTreeMap<Asking, Log>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    recorder: Recorder,
    /// The next value to write: no two are alike.
    value: AtomicI64,
    errors: Errors,
}

/// One of them.
struct Probe {
    number: u32,
    doing: Doing,
    way: Way,
    key: String,
    log: Log,
    shared: Arc<Shared>,
}

impl Probes {
    /// Writers through the first `writing` of the ways, readers through all; on keys of this round, each key with all its
    /// probes' operations in one history.
    pub(crate) fn start(fleet: &Fleet, ways: &[Way], writing: usize, round: usize) -> Self {
        let mut probes = Self {
            shared: Arc::default(),
            logs: BTreeMap::new(),
            threads: Vec::new(),
        };
        for (partition, key) in (0..).zip(keys(fleet, round)) {
            for (way, told) in ways.iter().enumerate() {
                let reader = Asking {
                    doing: Doing::Reading,
                    partition,
                    way,
                };
                probes.add(reader, told, &key);
                if way < writing {
                    let doing = Doing::Writing;
                    probes.add(Asking { doing, ..reader }, told, &key);
                }
            }
        }
        probes.all_answered_after(Instant::now());
        probes
    }

    fn add(&mut self, asking: Asking, way: &Way, key: &str) {
        let log = Log::default();
        self.logs.insert(asking, Arc::clone(&log));
        let probe = Probe {
            number: self.threads.len() as u32,
            doing: asking.doing,
            way: way.clone(),
            key: key.to_owned(),
            log,
            shared: Arc::clone(&self.shared),
        };
        self.threads.push(std::thread::spawn(move || probe.work()));
    }

    /// Waits until every probe has had an answer to a question asked after `moment`.
    pub(crate) fn all_answered_after(&self, moment: Instant) {
        for (asking, log) in &self.logs {
            until(&format!("{asking:?} is answered again"), || {
                next_answer(log, moment).is_some()
            });
        }
    }

    /// How long after `moment` the first answer came to a question asked after it; for those of the partitions.
    pub(crate) fn answered_again(
        &self,
        doing: Doing,
        partitions: &[u32],
        moment: Instant,
    ) -> Vec<Duration> {
        self.of(doing, partitions)
            .map(|log| {
                let mut again = None;
                until("it is answered again", || {
                    again = next_answer(log, moment);
                    again.is_some()
                });
                again.expect("it was waited for").duration_since(moment)
            })
            .collect()
    }

    /// The longest time between two answers, not both before `from` nor both after `to`, of each of them.
    pub(crate) fn gaps(
        &self,
        doing: Doing,
        partitions: &[u32],
        from: Instant,
        to: Instant,
    ) -> Vec<Duration> {
        self.of(doing, partitions)
            .map(|log| {
                let log = lock(log);
                let answered = |answer: &&Answer| matches!(answer.outcome, Outcome::Replied(_));
                let came: Vec<Instant> = log
                    .iter()
                    .filter(answered)
                    .map(|answer| answer.came)
                    .collect();
                let between = came
                    .windows(2)
                    .filter(|pair| pair[1] > from && pair[0] < to);
                let open = came
                    .last()
                    .filter(|&&last| last < to)
                    .map(|&last| to - last);
                let spans = between.map(|pair| pair[1] - pair[0]);
                spans.chain(open).max().unwrap_or_default()
            })
            .collect()
    }

    /// Questions answered, and those without an answer, that were asked between the two.
    pub(crate) fn answers_and_errors(&self, from: Instant, to: Instant) -> (usize, usize) {
        let (mut answers, mut errors) = (0, 0);
        for log in self.logs.values() {
            let log = lock(log);
            for answer in log
                .iter()
                .filter(|answer| answer.sent >= from && answer.sent < to)
            {
                match answer.outcome {
                    Outcome::Replied(_) => answers += 1,
                    Outcome::Refused | Outcome::Unknown => errors += 1,
                }
            }
        }
        (answers, errors)
    }

    fn of<'a>(&'a self, doing: Doing, partitions: &'a [u32]) -> impl Iterator<Item = &'a Log> {
        let wanted =
            move |asking: &Asking| asking.doing == doing && partitions.contains(&asking.partition);
        self.logs
            .iter()
            .filter(move |(asking, _)| wanted(asking))
            .map(|(_, log)| log)
    }

    /// What the questions without an answer ended with, and how many.
    pub(crate) fn errors(&self) -> BTreeMap<String, usize> {
        lock(&self.shared.errors).clone()
    }

    /// Stops them; says what was seen that cannot be.
    pub(crate) fn stop(self) -> Vec<String> {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("probes take every answer");
        }
        let violations = self.shared.recorder.violations();
        violations
            .into_iter()
            .map(|(key, violation)| format!("{key}: {violation}"))
            .collect()
    }
}

impl Probe {
    fn work(self) {
        let mut client = Client::new(self.way.clone(), TABLE);
        while !self.shared.stop.load(Ordering::Relaxed) {
            let call = match self.doing {
                Doing::Reading => Call::Get,
                Doing::Writing => Call::Set(self.shared.value.fetch_add(1, Ordering::Relaxed)),
            };
            let sent = Instant::now();
            let recorder = &self.shared.recorder;
            let outcome =
                recorder.record(self.number, &self.key, call, || client.ask(&self.key, call));
            let came = Instant::now();
            lock(&self.log).push(Answer {
                sent,
                came,
                outcome,
            });
            if let Some(error) = client.last_error() {
                let error = format!("{:?} through {:?}: {error}", self.doing, self.way);
                *lock(&self.shared.errors).entry(error).or_default() += 1;
            }
            std::thread::sleep(THINK);
        }
    }
}

/// A panic elsewhere is reported there.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn next_answer(log: &Log, moment: Instant) -> Option<Instant> {
    let log = lock(log);
    let next =
        |answer: &&Answer| answer.sent >= moment && matches!(answer.outcome, Outcome::Replied(_));
    // Newest last: only the end is new.
    let start = log.partition_point(|answer| answer.sent < moment);
    log[start..].iter().find(next).map(|answer| answer.came)
}

/// A key in every partition.
fn keys(fleet: &Fleet, round: usize) -> Vec<String> {
    let runtime = runtime();
    let table = runtime.block_on(open(&fleet.meta(), TABLE));
    let key_of = |partition| {
        let mut keys = (0..).map(|number: u64| format!("probe:{round}:{number}"));
        keys.find(|key| table.partition_of(key) == partition)
            .expect("there is one in every partition")
    };
    (0..table.partitions()).map(key_of).collect()
}
