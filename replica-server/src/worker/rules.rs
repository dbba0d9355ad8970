//! A table's rules, held at each of its replicas: how much is taken in a second, and whether writes are.
//!
//! What is over the limit is refused at once with an error that tells its sender to slow down; nothing is queued for it. A partition takes
//! its equal share of what its table may have, and never less than one command a second. (How long keys live is the evaluation's affair.)

use crate::cluster::Table;
use crate::worker::Worker;
use crate::worker::hosted::Hosted;
use crate::worker::reply::Refused;
use commands::{CommandSpec, Reply};
use replication::{Event, Settings};
use std::sync::Arc;
use types::{Access, Durability, Instant, TableRules};

/// What one replica must hold its clients to.
pub(crate) struct Rules {
    /// As the table has them.
    table: TableRules,
    durability: Durability,
    members_for_writes: usize,
    partitions: u32,
    reads: Bucket,
    writes: Bucket,
    read_bytes: Bucket,
    write_bytes: Bucket,
}

impl Rules {
    pub(crate) fn of(table: &Table) -> Self {
        let rules = table.rules();
        let share = |rate| Bucket::of_share(rate, table.partitions);
        Self {
            table: rules,
            durability: table.durability(),
            members_for_writes: table.members_for_writes(),
            partitions: table.partitions,
            reads: share(rules.throttle.read_operations),
            writes: share(rules.throttle.write_operations),
            read_bytes: share(rules.throttle.read_bytes),
            write_bytes: share(rules.throttle.write_bytes),
        }
    }

    fn are_of(&self, table: &Table) -> bool {
        let own = (self.table, self.members_for_writes, self.partitions);
        own == (table.rules(), table.members_for_writes(), table.partitions)
            && self.durability == table.durability()
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.table.access == Access::ReadOnly
    }

    pub(crate) fn durability(&self) -> Durability {
        self.durability
    }

    pub(crate) fn default_ttl(&self) -> Option<std::time::Duration> {
        self.table.default_ttl
    }

    /// Counts a command that came in, or says why it is not taken.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        spec: &CommandSpec,
        args: &[&[u8]],
    ) -> Result<(), Refused> {
        let (count, bytes, size) = if spec.is_write() {
            let size = args.iter().map(|arg| arg.len()).sum::<usize>();
            (&mut self.writes, &mut self.write_bytes, size)
        } else {
            // What a read costs in bytes its reply will tell.
            (&mut self.reads, &mut self.read_bytes, 0)
        };
        let kind = if spec.is_write() { "writes" } else { "reads" };
        if !count.has_some(now) {
            return Err(over(count.whole, kind));
        }
        if !bytes.has_some(now) {
            return Err(over(bytes.whole, &format!("bytes of {kind}")));
        }
        count.take(1);
        bytes.take(size);
        Ok(())
    }

    /// Counts what a read found.
    pub(super) fn charge(&mut self, bytes: usize) {
        self.read_bytes.take(bytes);
    }
}

fn over(whole: u64, what: &str) -> Refused {
    Refused::Unable(format!(
        "THROTTLED the table takes {whole} {what} a second, and this partition has had its share; ask again later"
    ))
}

/// About how many bytes a read found.
pub(super) fn size(reply: &Reply) -> usize {
    match reply {
        Reply::Bulk(value) | Reply::Text(value) | Reply::Error(value) => value.len(),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => {
            items.iter().map(size).sum()
        }
        Reply::Map(pairs) | Reply::Pairs(pairs) => pairs
            .iter()
            .map(|(first, second)| size(first) + size(second))
            .sum(),
        Reply::Ok
        | Reply::Simple(_)
        | Reply::Integer(_)
        | Reply::Double(_)
        | Reply::Boolean(_)
        | Reply::Nil
        | Reply::NilArray => 8,
    }
}

/// For how many seconds at most others wait for what was overdrawn: also by a value larger than that, and by many at once.
const LONGEST_DEBT: f64 = 10.0;

/// What may be taken now; it fills up at a rate, to the amount of a second. One taking may overdraw it: the next has to wait for that.
struct Bucket {
    /// What the whole table may have; 0: any amount.
    whole: u64,
    rate: f64,
    left: f64,
    filled: Instant,
}

impl Bucket {
    fn of_share(whole: u64, partitions: u32) -> Self {
        let rate = if whole == 0 {
            0.0
        } else {
            (whole as f64 / f64::from(partitions.max(1))).max(1.0)
        };
        Self {
            whole,
            rate,
            left: rate,
            filled: Instant::default(),
        }
    }

    fn has_some(&mut self, now: Instant) -> bool {
        if self.rate == 0.0 {
            return true;
        }
        let span = now.since(self.filled).as_secs_f64();
        self.filled = now;
        self.left = (self.left + span * self.rate).min(self.rate);
        self.left >= 1.0 || self.left >= self.rate
    }

    fn take(&mut self, amount: usize) {
        if self.rate > 0.0 {
            self.left = (self.left - amount as f64).max(-LONGEST_DEBT * self.rate);
        }
    }
}

impl Worker {
    /// The rules of each replica are again those of its table.
    pub(super) fn renew_rules(&self) {
        for hosted in self.hosted_all() {
            let changed = {
                let h = hosted.borrow();
                let known = self.known.borrow();
                known
                    .table(h.id.table)
                    .filter(|table| !h.rules.are_of(table))
                    .map(|table| (Rules::of(table), settings(table)))
            };
            if let Some((rules, settings)) = changed {
                hosted.borrow_mut().adopt(rules);
                self.tell(&hosted, Event::SettingsChanged(settings));
            }
        }
    }
}

impl Hosted {
    fn adopt(&mut self, rules: Rules) {
        self.storage.set_default_ttl(rules.default_ttl());
        self.rules = rules;
    }
}

/// How the table's replicas replicate.
pub(super) fn settings(table: &Table) -> Arc<Settings> {
    let mut settings = Settings::of_replicas(table.replicas as usize);
    settings.min_replicas = table.members_for_writes();
    Arc::new(settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn ms(n: u64) -> Instant {
        Instant(1_000_000_000_000) + Duration::from_millis(n)
    }

    #[test]
    fn a_share_is_what_a_second_allows_and_no_more() {
        let mut bucket = Bucket::of_share(80, 8);
        let mut taken = |at| {
            let mut count = 0;
            while bucket.has_some(at) {
                bucket.take(1);
                count += 1;
            }
            count
        };
        assert_eq!(taken(ms(0)), 10);
        assert_eq!(taken(ms(50)), 0);
        assert_eq!(taken(ms(550)), 5);
        assert_eq!(
            taken(ms(60_000)),
            10,
            "what was not asked for is not saved up"
        );
    }

    #[test]
    fn a_large_value_is_taken_once_and_then_waited_for() {
        let mut bucket = Bucket::of_share(100, 1);
        assert!(bucket.has_some(ms(0)));
        bucket.take(350);
        assert!(!bucket.has_some(ms(2500)));
        assert!(bucket.has_some(ms(2600)));
    }

    #[test]
    fn however_much_was_overdrawn_others_wait_for_some_seconds_only() {
        let mut bucket = Bucket::of_share(100, 1);
        assert!(bucket.has_some(ms(0)));
        for _ in 0..400 {
            bucket.take(1 << 30);
        }
        assert!(!bucket.has_some(ms(9_900)));
        assert!(bucket.has_some(ms(10_100)));
    }

    #[test]
    fn a_reply_of_any_kind_is_as_large_as_what_is_in_it() {
        let value = || Reply::bulk(&[b'v'; 1000]);
        let pairs = || vec![(Reply::bulk(b"field"), value())];
        for (reply, bytes) in [
            (value(), 1000),
            (Reply::Array(vec![value(), Reply::Nil]), 1008),
            (Reply::Set(vec![value()]), 1000),
            (Reply::Map(pairs()), 1005),
            (Reply::Pairs(pairs()), 1005),
            (Reply::Array(vec![Reply::Map(pairs())]), 1005),
            (Reply::Integer(7), 8),
        ] {
            assert_eq!(size(&reply), bytes, "{reply:?}");
        }
    }

    #[test]
    fn the_smallest_share_is_one_a_second() {
        let mut bucket = Bucket::of_share(3, 8);
        assert!(bucket.has_some(ms(0)));
        bucket.take(1);
        assert!(!bucket.has_some(ms(900)));
        assert!(bucket.has_some(ms(1000)));
    }

    #[test]
    fn without_a_rule_anything_goes() {
        let mut bucket = Bucket::of_share(0, 8);
        bucket.take(1 << 30);
        assert!(bucket.has_some(ms(0)));
    }
}
