//! A partition in memory that evaluates commands as a primary would: effects are recorded, errors and interrupts leave nothing.

#![allow(dead_code, unreachable_pub)] // each test program uses its own part

pub mod redis;

use bytes::Bytes;
use commands::effects::{self, Effects};
use commands::garbage::Judge;
use commands::memory::MemoryView;
use commands::{
    Direction, Evaluated, Interrupt, Limits, Moment, Reply, View, ViewMut, evaluate_read,
    evaluate_write, resolve, scan,
};
use proptest::test_runner::{Config, RngSeed};
use std::ops::ControlFlow;
use std::time::{SystemTime, UNIX_EPOCH};
use types::{Decree, SlotRange, Timestamp};

/// Rows, and what was written to them since the last mutation was cut.
#[derive(Default)]
pub struct Open {
    pub rows: MemoryView,
    pub effects: Effects,
}

impl View for Open {
    fn get(&mut self, row: &[u8]) -> Result<Option<Bytes>, Interrupt> {
        self.rows.get(row)
    }

    fn scan(
        &mut self,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Interrupt> {
        self.rows.scan(from, to, direction, visit)
    }
}

impl ViewMut for Open {
    fn put(&mut self, row: &[u8], value: &[&[u8]]) {
        self.rows.put(row, value);
        self.effects.put(row, value);
    }

    fn delete(&mut self, row: &[u8]) {
        self.rows.delete(row);
        self.effects.delete(row);
    }

    fn clear(&mut self) {
        self.rows.clear();
        self.effects
            .delete_range(commands::rows::KEYS_FROM, commands::rows::KEYS_TO);
    }
}

/// A partition that holds every slot.
pub struct Partition {
    pub open: Open,
    pub moment: Moment,
    /// What the mutations so far made of nothing.
    pub replica: MemoryView,
    /// The effects of the last mutation that had any.
    pub last_batch: Option<Bytes>,
}

impl Default for Partition {
    fn default() -> Self {
        Self::at(1_000_000)
    }
}

impl Partition {
    /// Empty, at partition time `now`.
    pub fn at(now: u64) -> Self {
        Self {
            open: Open::default(),
            moment: Moment {
                now: Timestamp(now),
                decree: Decree(1),
                index: 0,
                random: 42,
                slots: SlotRange::ALL,
                default_ttl: None,
                limits: Limits::default(),
            },
            replica: MemoryView::new(),
            last_batch: None,
        }
    }

    /// Time passes.
    pub fn advance(&mut self, milliseconds: u64) {
        self.moment.now.0 += milliseconds;
    }

    /// Drops what compaction may drop at this time. The replica's rows go the same way.
    pub fn compact(&mut self) {
        compact(&mut self.open.rows, self.moment.now);
        compact(&mut self.replica, self.moment.now);
    }

    /// Evaluates a command written as words.
    pub fn run(&mut self, command: &str) -> Reply {
        let args = command
            .split_whitespace()
            .map(|word| if word == "''" { "" } else { word })
            .map(str::as_bytes)
            .collect::<Vec<_>>();
        self.evaluate(&args).reply
    }

    /// Evaluates a command; its effects are a mutation of their own, which a replica applies.
    pub fn evaluate(&mut self, args: &[&[u8]]) -> Evaluated {
        self.try_evaluate(args)
            .unwrap_or_else(|interrupt| panic!("{interrupt}"))
    }

    pub fn try_evaluate(&mut self, args: &[&[u8]]) -> Result<Evaluated, Interrupt> {
        let spec = match resolve(args) {
            Ok(spec) => spec,
            Err(reply) => return Ok(unchanged(reply)),
        };
        if spec.name == "scan" || spec.name == "hscan" {
            return self.scan(args).map(unchanged);
        }
        if !spec.is_write() {
            return evaluate_read(spec, args, &mut self.open, &self.moment);
        }
        let before = self.open.rows.clone();
        let evaluated = evaluate_write(spec, args, &mut self.open, &self.moment);
        if evaluated.as_ref().map_or(true, |it| it.reply.is_error()) {
            self.open.rows = before;
            self.open.effects = Effects::new();
        }
        self.cut();
        evaluated
    }

    /// The whole of what SCAN or HSCAN would iterate over, page by page, as one page.
    fn scan(&mut self, args: &[&[u8]]) -> Result<Reply, Interrupt> {
        let keys = args[0].eq_ignore_ascii_case(b"scan");
        let request = if keys {
            scan::ScanRequest::keys(args)
        } else {
            scan::ScanRequest::fields(args)
        };
        let request = match request {
            Ok(request) => request,
            Err(reply) => return Ok(reply),
        };
        let mut items = Vec::new();
        let mut position = None::<Bytes>;
        loop {
            let at = position.as_deref();
            let page = if keys {
                scan::scan_keys(at, &request, &mut self.open, &self.moment)?
            } else {
                match scan::scan_fields(args[1], at, &request, &mut self.open, &self.moment)? {
                    Ok(page) => page,
                    Err(reply) => return Ok(reply),
                }
            };
            items.extend(page.items);
            position = page.next;
            if position.is_none() {
                return Ok(scan::scan_reply(0, items));
            }
        }
    }

    /// Ends the mutation: what it says is applied to the replica, which must then have the same rows.
    pub fn cut(&mut self) {
        if !self.open.effects.is_empty() {
            let batch = self.open.effects.take();
            assert!(effects::rows(&batch).all(|row| row.is_ok()));
            self.replica.apply(&batch).unwrap();
            self.last_batch = Some(batch);
        }
        self.moment.decree = self.moment.decree.next();
        self.moment.random = self.moment.random.wrapping_mul(6_364_136_223_846_793_005) + 1;
    }
}

/// A full compaction: every row is judged by the rows that were there when it began.
pub fn compact(rows: &mut MemoryView, at: Timestamp) {
    let mut snapshot = rows.clone();
    let mut judge = Judge::new(at);
    rows.retain(|row, value| {
        !judge
            .is_garbage(row, value, &mut |row| snapshot.get(row))
            .unwrap()
    });
}

fn unchanged(reply: Reply) -> Evaluated {
    Evaluated {
        reply,
        wrote: false,
        depends_on_expiry: false,
        garbage: 0,
    }
}

/// A reply as RESP2 tells it: short to write and to compare.
pub fn shown(reply: &Reply) -> String {
    redis::Plain::from(reply).to_string()
}

/// How random tests run: `TULPAR_SEED` repeats a run, `TULPAR_CASES` asks for more of it.
pub fn config(cases: u32) -> Config {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|number| number.parse().ok())
    };
    let seed = number("TULPAR_SEED").unwrap_or_else(wall_clock);
    eprintln!("TULPAR_SEED={seed}");
    Config {
        cases: number("TULPAR_CASES").map_or(cases, |cases| cases as u32),
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    }
}

/// Milliseconds since the epoch, by the system's clock.
pub fn wall_clock() -> u64 {
    #[allow(
        clippy::disallowed_methods,
        reason = "a seed is to differ from run to run; it is printed"
    )]
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since_epoch.as_millis() as u64
}

/// Runs commands written `command -> reply`, one a line; `+ms` lets time pass.
pub fn story(partition: &mut Partition, lines: &str) {
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(milliseconds) = line.strip_prefix('+') {
            partition.advance(milliseconds.parse().unwrap());
            continue;
        }
        let (command, expected) = line.split_once(" -> ").unwrap();
        assert_eq!(shown(&partition.run(command)), expected, "{line}");
    }
    assert_eq!(partition.open.rows, partition.replica);
}
