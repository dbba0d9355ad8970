//! A partition in memory, as a primary has it, with one replica, and what must hold after each command. It knows no servers: what a
//! worker does around an evaluation (roll back, delete lazily, remember requests) is done here in the fewest words.

mod objects;

use bytes::Bytes;
use commands::effects::{self, Effects};
use commands::garbage::Judge;
use commands::hash::range::{Range, range};
use commands::memory::MemoryView;
use commands::requests::{Attempt, Budget, RequestId, Verdict, Windows};
use commands::{
    CommandSpec, Direction, Evaluated, Interrupt, Limits, Moment, Reply, View, ViewMut,
    evaluate_read, evaluate_write, lazy_delete, resolve,
};
use resp_gateway::pages;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use types::{Decree, SlotRange, Timestamp};

/// Small enough that they are met.
const LIMITS: Limits = Limits {
    key: 1 << 10,
    value: 1 << 14,
    mutation: 1 << 16,
};
/// The replies of commands that draw, or that go by how much they have looked at, may differ when what has expired is gone.
const BY_CHANCE: [&str; 4] = ["randomkey", "hrandfield", "scan", "hscan"];

/// Rows, and what was written to them since the last mutation was cut.
#[derive(Default)]
struct Open {
    rows: MemoryView,
    effects: Effects,
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

/// What a sender was told of a request that was remembered.
struct Told {
    sent: Timestamp,
    reply: Reply,
}

/// See the module.
pub struct Partition {
    open: Open,
    moment: Moment,
    replica: MemoryView,
    windows: Windows,
    told: BTreeMap<(u64, u64), Told>,
}

impl Default for Partition {
    fn default() -> Self {
        Self {
            open: Open::default(),
            moment: Moment {
                now: Timestamp(1_000_000),
                decree: Decree(1),
                index: 0,
                random: 42,
                slots: SlotRange::ALL,
                default_ttl: None,
                limits: LIMITS,
            },
            replica: MemoryView::new(),
            windows: Windows::new(&Budget::new(usize::MAX)),
            told: BTreeMap::new(),
        }
    }
}

impl Partition {
    pub fn now(&self) -> Timestamp {
        self.moment.now
    }

    pub fn advance(&mut self, milliseconds: u64) {
        self.cut();
        self.moment.now.0 += milliseconds;
    }

    /// Evaluates a command, once if it has an id.
    pub fn run(&mut self, args: &[Vec<u8>], id: Option<RequestId>) {
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let Ok(spec) = resolve(&args) else {
            return;
        };
        assert!(spec.key_positions(args.len()).all(|at| at < args.len()));
        // It has its mutation for itself.
        let alone = spec.name.starts_with("flush");
        if alone {
            self.cut();
        }
        match id {
            Some(id) if spec.is_write() => self.request(spec, &args, id),
            _ if spec.is_write() => drop(self.write(spec, &args)),
            _ => self.read(spec, &args),
        }
        self.moment.index += 1;
        if alone {
            self.cut();
        }
    }

    fn read(&mut self, spec: &CommandSpec, args: &[&[u8]]) {
        let Some((reply, depends_on_expiry)) =
            answered(spec, args, &mut self.open.rows, &self.moment)
        else {
            return;
        };
        if depends_on_expiry && let Some(key) = args.get(1) {
            self.whole(|open, moment| lazy_delete(key, open, moment));
            let again = answered(spec, args, &mut self.open.rows, &self.moment);
            assert!(
                BY_CHANCE.contains(&spec.name)
                    || again.is_some_and(|(again, _)| shown(&again) == shown(&reply)),
                "a lazy delete changes what {} says",
                spec.name
            );
        }
    }

    /// An ordered page holds what it should and in order.
    pub fn range(
        &mut self,
        key: &[u8],
        from: &[u8],
        to: Option<&[u8]>,
        reverse: bool,
        limit: usize,
    ) {
        let direction = if reverse {
            Direction::Backward
        } else {
            Direction::Forward
        };
        let wanted = Range {
            from: Bound::Included(from),
            to: to.map_or(Bound::Unbounded, Bound::Excluded),
            direction,
            limit,
        };
        let Ok(page) =
            range(key, &wanted, &mut self.open.rows, &self.moment).expect("memory does not fail")
        else {
            return;
        };
        let fields: Vec<&[u8]> = page.items.iter().map(|item| &item.field[..]).collect();
        assert!(fields.len() <= limit.max(1));
        assert!(
            fields
                .iter()
                .all(|field| *field >= from && to.is_none_or(|to| *field < to))
        );
        let ordered = |pair: &[&[u8]]| {
            if reverse {
                pair[0] > pair[1]
            } else {
                pair[0] < pair[1]
            }
        };
        assert!(fields.windows(2).all(ordered));
    }

    fn write(&mut self, spec: &CommandSpec, args: &[&[u8]]) -> Option<Evaluated> {
        let before = self.open.effects.count();
        let evaluated = self.whole(|open, moment| {
            let evaluated = evaluate_write(spec, args, open, moment)?;
            if evaluated.reply.is_error() {
                assert!(!evaluated.wrote);
                // Taken for what rolls back.
                return Err(Interrupt::Full);
            }
            Ok(evaluated)
        })?;
        let written = self.open.effects.count() > before;
        assert_eq!(
            evaluated.wrote, written,
            "{} does not say what it did",
            spec.name
        );
        if evaluated.depends_on_expiry
            && !evaluated.wrote
            && let Some(key) = args.get(1)
        {
            self.whole(|open, moment| lazy_delete(key, open, moment));
        }
        Some(evaluated)
    }

    /// What was evaluated is there as a whole, or nothing of it is.
    fn whole<T>(
        &mut self,
        evaluate: impl FnOnce(&mut Open, &Moment) -> Result<T, Interrupt>,
    ) -> Option<T> {
        let (rows, mark) = (self.open.rows.clone(), self.open.effects.mark());
        match evaluate(&mut self.open, &self.moment) {
            Ok(done) => Some(done),
            Err(Interrupt::Full) => {
                self.open.rows = rows;
                self.open.effects.rollback(mark);
                None
            }
            Err(interrupt) => panic!("{interrupt}"),
        }
    }

    fn request(&mut self, spec: &CommandSpec, args: &[&[u8]], mut id: RequestId) {
        let told = self.told.get(&(id.client, id.sequence));
        if let Some(told) = told {
            id.sent = told.sent;
        }
        match (self.windows.judge(&id, self.moment.now), told) {
            (Verdict::New, Some(_)) => panic!("{id:?} is done twice"),
            (Verdict::New, None) => {
                let evaluated = self.write(spec, args);
                let again = id.attempt == Attempt::Again;
                let reply = match evaluated {
                    Some(evaluated) if evaluated.wrote || again => evaluated.reply,
                    None if again => Reply::error("ERR refused"),
                    _ => return,
                };
                self.windows.record(&id, self.moment.decree, &reply);
                let sent = id.sent;
                self.told
                    .insert((id.client, id.sequence), Told { sent, reply });
            }
            (Verdict::Done { .. }, None) => panic!("{id:?} was never done"),
            (Verdict::Done { reply, decree }, Some(told)) => {
                assert!(decree <= self.moment.decree);
                assert!(
                    reply.is_none_or(|reply| shown(&reply) == shown(&told.reply)),
                    "{id:?} has another answer"
                );
            }
            (Verdict::TooLate | Verdict::NoRoom, _) => {}
        }
    }

    /// Drops what compaction may drop at this time, at the primary only. Nobody is to see it.
    pub fn compact(&mut self) {
        self.cut();
        let before = objects::logical(&self.open.rows, self.moment.now);
        let mut snapshot = self.open.rows.clone();
        let mut judge = Judge::new(self.moment.now);
        self.open.rows.retain(|row, value| {
            !judge
                .is_garbage(row, value, &mut |row| snapshot.get(row))
                .expect("memory does not fail")
        });
        let after = objects::logical(&self.open.rows, self.moment.now);
        assert_eq!(after, before, "a compaction is to be seen");
        objects::check(&self.open.rows);
        self.replica = self.open.rows.clone();
    }

    /// The replica becomes primary: it knows of requests what the rows say.
    pub fn take_over(&mut self) {
        self.cut();
        self.windows =
            Windows::restore(&mut self.replica, self.moment.now, &Budget::new(usize::MAX))
                .expect("the rows are this version's");
    }

    /// Ends the mutation: the replica gets the same rows from its effects.
    fn cut(&mut self) {
        if self.windows.is_open() {
            self.windows.close(self.moment.now, &mut self.open);
        }
        let batch = self.open.effects.take();
        assert!(
            effects::rows(&batch).all(|row| row.is_ok()),
            "effects that cannot be read"
        );
        self.replica.apply(&batch).expect("they were read");
        assert!(self.replica == self.open.rows, "the replica has other rows");
        objects::check(&self.open.rows);
        self.moment.decree = self.moment.decree.next();
        self.moment.index = 0;
        self.moment.random = self.moment.random.wrapping_mul(6_364_136_223_846_793_005) + 1;
    }
}

/// A reading command's reply and whether it depends on something having expired; nothing if it was refused for its size.
fn answered(
    spec: &CommandSpec,
    args: &[&[u8]],
    rows: &mut MemoryView,
    moment: &Moment,
) -> Option<(Reply, bool)> {
    let answered = if pages::concerns(spec) {
        pages::answer(spec, args, rows, moment).map(|it| (it.reply, it.depends_on_expiry))
    } else {
        evaluate_read(spec, args, rows, moment).map(|it| {
            assert!(!it.wrote);
            (it.reply, it.depends_on_expiry)
        })
    };
    match answered {
        Ok(answered) => Some(answered),
        Err(Interrupt::Full) => None,
        Err(interrupt) => panic!("{interrupt}"),
    }
}

/// NaN equals itself in text.
fn shown(reply: &Reply) -> String {
    format!("{reply:?}")
}
