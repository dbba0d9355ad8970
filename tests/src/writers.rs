//! Writers that go on through every fault and remember what was acknowledged.
//!
//! Each key has one writer, which writes a greater number every time. What an acknowledged write left must be read from then on.
//! After an outcome that is unknown both values may be read, and the key is not written again: a request that is still on its
//! way somewhere could otherwise be taken for a lost write.

use crate::doors::Door;
use crate::poll::until;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Keys of one writer.
const KEYS: u32 = 200;
/// Writes at once.
const BATCH: usize = 16;

/// What may be read from a key.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Expected {
    acknowledged: Option<String>,
    unknown: Option<String>,
}

impl Expected {
    fn allows(&self, read: Option<&str>) -> bool {
        read == self.acknowledged.as_deref()
            || (self.unknown.is_some() && read == self.unknown.as_deref())
    }
}

/// All keys ever written, and what may be read from them.
pub type Record = BTreeMap<String, Expected>;

#[derive(Default)]
struct Progress {
    stop: AtomicBool,
    acknowledged: AtomicU64,
    unknown: AtomicU64,
}

struct Writer {
    name: String,
    progress: Arc<Progress>,
    thread: JoinHandle<Record>,
}

/// Several writers at once.
pub struct Writers(Vec<Writer>);

/// A seed for this run: `TULPAR_TEST_SEED`, or a new one, which is printed.
pub fn seed() -> u64 {
    let seed = std::env::var("TULPAR_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| rand::rng().random_range(0..1 << 32));
    println!("seed {seed}: TULPAR_TEST_SEED={seed} repeats it");
    seed
}

impl Writers {
    /// One writer per door, under keys that begin with the door's name.
    pub fn start(seed: u64, doors: Vec<(String, Box<dyn Door>)>) -> Self {
        let start = |(number, (name, mut door)): (usize, (String, Box<dyn Door>))| {
            let progress = Arc::new(Progress::default());
            let (prefix, shared) = (name.clone(), Arc::clone(&progress));
            let random = SmallRng::seed_from_u64(seed + number as u64);
            let thread = std::thread::spawn(move || write(&prefix, &mut *door, random, &shared));
            Writer {
                name,
                progress,
                thread,
            }
        };
        Self(doors.into_iter().enumerate().map(start).collect())
    }

    /// Waits until every writer has had that many more writes acknowledged.
    pub fn go_on(&self, writes: u64) {
        let count = |writer: &Writer| writer.progress.acknowledged.load(Ordering::Relaxed);
        let before: Vec<u64> = self.0.iter().map(count).collect();
        for (writer, before) in self.0.iter().zip(before) {
            let what = format!(
                "writer {} gets {writes} more writes acknowledged",
                writer.name
            );
            until(&what, || {
                assert!(
                    !writer.thread.is_finished(),
                    "writer {} has ended",
                    writer.name
                );
                count(writer) >= before + writes
            });
        }
    }

    /// How many writes ended with an error so far.
    pub fn errors(&self) -> u64 {
        let count = |writer: &Writer| writer.progress.unknown.load(Ordering::Relaxed);
        self.0.iter().map(count).sum()
    }

    /// Stops them and returns what must be there.
    pub fn stop(self) -> Record {
        for writer in &self.0 {
            writer.progress.stop.store(true, Ordering::Relaxed);
        }
        let mut record = Record::new();
        for Writer {
            name,
            progress,
            thread,
        } in self.0
        {
            record.extend(
                thread
                    .join()
                    .unwrap_or_else(|_| panic!("writer {name} failed")),
            );
            let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
            println!(
                "writer {name}: {} acknowledged, {} of unknown outcome",
                count(&progress.acknowledged),
                count(&progress.unknown)
            );
        }
        record
    }
}

fn write(name: &str, door: &mut dyn Door, mut random: SmallRng, progress: &Progress) -> Record {
    let mut finished = Record::new();
    let mut fresh = 0..;
    let mut new_key = || format!("{name}:{}", fresh.next().unwrap_or(u64::MAX));
    let mut open: Vec<(String, Expected)> = (0..KEYS)
        .map(|_| (new_key(), Expected::default()))
        .collect();
    let mut number = 0u64;
    while !progress.stop.load(Ordering::Relaxed) {
        let first = random.random_range(0..open.len());
        let chosen: Vec<usize> = (0..BATCH).map(|i| (first + i * 7) % open.len()).collect();
        if random.random_range(0..4) == 0 {
            let keys: Vec<String> = chosen.iter().map(|&at| open[at].0.clone()).collect();
            // A read may be refused while there is no primary; what it answers must be right.
            for (&at, read) in chosen.iter().zip(door.read(&keys).unwrap_or_default()) {
                let (key, expected) = &open[at];
                assert!(
                    expected.allows(read.as_deref()),
                    "{key} was read as {read:?} where {expected:?} had been written"
                );
            }
            continue;
        }
        let mut pairs = Vec::with_capacity(BATCH);
        for &at in &chosen {
            number += 1;
            pairs.push((open[at].0.clone(), number.to_string()));
        }
        let outcome = door.write(&pairs);
        for (&at, (_, value)) in chosen.iter().zip(pairs) {
            let (key, expected) = &mut open[at];
            if outcome.is_ok() {
                expected.acknowledged = Some(value);
            } else {
                expected.unknown = Some(value);
                finished.insert(std::mem::replace(key, new_key()), std::mem::take(expected));
            }
        }
        let counter = if outcome.is_ok() {
            &progress.acknowledged
        } else {
            &progress.unknown
        };
        counter.fetch_add(BATCH as u64, Ordering::Relaxed);
    }
    finished.extend(open);
    finished
}

/// Reads every key through the door and compares.
pub fn check(record: &Record, door: &mut dyn Door) {
    let keys: Vec<&String> = record.keys().collect();
    let mut wrong = Vec::new();
    for keys in keys.chunks(200) {
        let keys: Vec<String> = keys.iter().map(|key| (*key).clone()).collect();
        let values = door.read(&keys).expect("a healthy cluster answers reads");
        for (key, value) in keys.into_iter().zip(values) {
            let expected = &record[&key];
            if !expected.allows(value.as_deref()) {
                wrong.push(format!("{key} is {value:?}, not {expected:?}"));
            }
        }
    }
    let shown = &wrong[..wrong.len().min(10)];
    assert!(
        wrong.is_empty(),
        "{} of {} keys are wrong: {shown:#?}",
        wrong.len(),
        record.len()
    );
    println!("{} keys read back", record.len());
}
