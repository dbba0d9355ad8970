//! Commands that cannot run yet: their rows are on disk, a lease is missing, the open mutation is full, the primary is new.
//!
//! A command that shares a key with one that waits, waits behind it, so that commands on one key take effect in the order in which
//! they came. When something changed, all are tried again in order; what makes them wait is not remembered.

use crate::worker::reply::{Command, Refused, ReplyTo};
use bytes::Bytes;
use commands::CommandSpec;
use engine::Ticket;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::time::Duration;
use types::Instant;

/// What one partition may hold; beyond it commands are refused as busy.
const MOST_BYTES: usize = 64 << 20;
const MOST_COMMANDS: usize = 100_000;
/// How long a command may wait here before its sender is told to ask again.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// One waiting command.
pub(crate) struct Held {
    pub(crate) command: Command,
    pub(crate) to: ReplyTo,
    /// When it came, and since when it waits here.
    pub(crate) came: Instant,
    pub(crate) since: Instant,
    /// Under which rows are being fetched for it.
    pub(crate) cold: Option<Ticket>,
}

/// The waiting commands of one partition.
#[derive(Default)]
pub(crate) struct HeldQueue {
    commands: VecDeque<Held>,
    /// How many waiting commands name the key.
    keys: HashMap<Bytes, usize, foldhash::fast::RandomState>,
    /// How many concern the whole partition.
    whole: usize,
    bytes: usize,
}

impl HeldQueue {
    pub(crate) fn len(&self) -> usize {
        self.commands.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Whether a command must wait behind one that is here.
    pub(crate) fn blocks(&self, spec: &CommandSpec, args: &[&[u8]]) -> bool {
        if self.commands.is_empty() {
            return false;
        }
        if self.whole > 0 {
            return true;
        }
        let mut any = false;
        for position in spec.key_positions(args.len()) {
            any = true;
            if args
                .get(position)
                .is_some_and(|&key| self.keys.contains_key(key))
            {
                return true;
            }
        }
        !any
    }

    /// Puts a command at the end.
    pub(crate) fn push(&mut self, held: Held) -> Result<(), Box<(ReplyTo, Refused)>> {
        let bytes = held.command.bytes();
        if self.bytes + bytes > MOST_BYTES || self.commands.len() >= MOST_COMMANDS {
            let busy = Refused::Busy("too many commands wait for this partition".into());
            return Err(Box::new((held.to, busy)));
        }
        self.bytes += bytes;
        let mut any = false;
        for key in held.command.keys() {
            any = true;
            *self.keys.entry(key.clone()).or_default() += 1;
        }
        self.whole += usize::from(!any);
        self.commands.push_back(held);
        Ok(())
    }

    /// Takes all out, in order, to be tried again.
    pub(crate) fn take(&mut self) -> VecDeque<Held> {
        (self.bytes, self.whole) = (0, 0);
        self.keys.clear();
        std::mem::take(&mut self.commands)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::reply::Nowhere;
    use resp_gateway::Sink;
    use std::rc::Rc;

    fn held(args: &[&[u8]]) -> Held {
        Held {
            command: Command::of(commands::resolve(args).unwrap(), args),
            to: ReplyTo::Resp(Sink::new(|_| {}), Rc::new(Nowhere), None),
            came: Instant::default(),
            since: Instant::default(),
            cold: None,
        }
    }

    fn blocks(queue: &HeldQueue, args: &[&[u8]]) -> bool {
        queue.blocks(commands::resolve(args).unwrap(), args)
    }

    #[test]
    fn a_command_waits_behind_one_that_shares_a_key_and_passes_all_others() {
        let mut queue = HeldQueue::default();
        assert!(!blocks(&queue, &[b"GET", b"a"]));
        assert!(queue.push(held(&[b"MSET", b"a", b"1", b"b", b"2"])).is_ok());
        assert!(blocks(&queue, &[b"GET", b"b"]));
        assert!(blocks(&queue, &[b"DEL", b"x", b"a"]));
        assert!(!blocks(&queue, &[b"SET", b"c", b"a"]), "a value is no key");
        assert!(
            blocks(&queue, &[b"DBSIZE"]),
            "a command without keys sees them all"
        );
    }

    #[test]
    fn everything_waits_behind_a_command_on_the_whole_partition() {
        let mut queue = HeldQueue::default();
        assert!(queue.push(held(&[b"FLUSHDB"])).is_ok());
        assert!(blocks(&queue, &[b"GET", b"a"]));
        assert_eq!(queue.take().len(), 1);
        assert!(
            !blocks(&queue, &[b"GET", b"a"]),
            "what was taken out blocks nothing"
        );
    }

    #[test]
    fn a_full_queue_refuses_and_says_that_it_is_busy() {
        let mut queue = HeldQueue::default();
        let large = vec![0; MOST_BYTES];
        assert!(queue.push(held(&[b"SET", b"a", b"1"])).is_ok());
        let refused = queue.push(held(&[b"SET", b"b", &large]));
        assert!(refused.is_err_and(|refused| matches!(refused.1, Refused::Busy(_))));
        assert!(!blocks(&queue, &[b"GET", b"b"]));
    }
}
