//! The slow log: the latest commands that took long on this server, for operators and for `SLOWLOG` on its RESP port.
//!
//! A command takes from its arrival at the worker to its answer: evaluation, and whatever it waited for: the commit, a lease, rows from the
//! disk, a takeover. What a client waits for besides (the network, the queue before the worker) is not seen here, nor what another server
//! answers. A command that is not slow costs a comparison; only slow ones are copied, shortened as Redis shortens them.

use crate::cluster::Known;
use crate::config::SlowLog;
use crate::worker::Worker;
use crate::worker::reply::{Command, ReplyTo};
use bytes::Bytes;
use proto::inspect::{self, SlowLogRequest, SlowLogResponse};
use resp_gateway::SlowCommand;
use std::cell::RefCell;
use std::collections::VecDeque;
use types::{Instant, PartitionId, TableId};

/// So much of a command is kept: arguments, and bytes of each.
pub(crate) const ARGUMENTS: usize = 32;
pub(crate) const ARGUMENT_BYTES: usize = 128;

/// The ring of slow commands.
pub(crate) struct SlowCommands {
    /// In nanoseconds.
    threshold: u64,
    most: usize,
    ring: RefCell<Ring>,
}

#[derive(Default)]
struct Ring {
    next: u64,
    /// The newest last.
    commands: VecDeque<(PartitionId, SlowCommand)>,
}

impl SlowCommands {
    pub(crate) fn new(config: &SlowLog) -> Self {
        let threshold = config.threshold.as_nanos();
        let off = threshold == 0 || config.length == 0;
        Self {
            threshold: if off {
                u64::MAX
            } else {
                u64::try_from(threshold).unwrap_or(u64::MAX)
            },
            most: config.length,
            ring: RefCell::default(),
        }
    }

    /// Whether any command is kept.
    pub(crate) fn is_on(&self) -> bool {
        self.threshold < u64::MAX
    }

    fn is_slow(&self, came: Instant, answered: Instant) -> bool {
        answered.0.saturating_sub(came.0) >= self.threshold
    }

    fn keep(&self, partition: PartitionId, mut command: SlowCommand) {
        let mut ring = self.ring.borrow_mut();
        command.id = ring.next;
        ring.next += 1;
        if ring.commands.len() >= self.most {
            ring.commands.pop_front();
        }
        ring.commands.push_back((partition, command));
    }

    /// The latest of a table, the newest first.
    pub(crate) fn of_table(&self, table: TableId, most: usize) -> Vec<SlowCommand> {
        let ring = self.ring.borrow();
        let all = ring.commands.iter().rev();
        let of_table = all.filter(|(partition, _)| partition.table == table);
        of_table
            .take(most)
            .map(|(_, command)| command.clone())
            .collect()
    }

    /// Forgets those of a table.
    pub(crate) fn forget_table(&self, table: TableId) {
        let commands = &mut self.ring.borrow_mut().commands;
        commands.retain(|(partition, _)| partition.table != table);
    }

    /// For operators: of all tables; forgets all if that is wanted.
    pub(crate) fn tell(&self, request: SlowLogRequest, known: &Known) -> SlowLogResponse {
        let mut ring = self.ring.borrow_mut();
        let most = match request.limit {
            0 => usize::MAX,
            limit => limit as usize,
        };
        let told = |(partition, command): &(PartitionId, SlowCommand)| inspect::SlowCommand {
            id: command.id,
            at_ms: command.at.0,
            took_us: command.took.as_micros() as u64,
            partition: Some((*partition).into()),
            table: known.table_name(partition.table),
            args: command.args.clone(),
            client: command
                .client
                .map_or_else(String::new, |client| client.to_string()),
        };
        let response = SlowLogResponse {
            commands: ring.commands.iter().rev().take(most).map(told).collect(),
            all: ring.commands.len() as u64,
        };
        if request.reset {
            ring.commands.clear();
        }
        response
    }
}

impl Worker {
    /// A command is answered: if that took long, it is remembered.
    pub(crate) fn answered(
        &self,
        partition: PartitionId,
        (came, answered): (Instant, Instant),
        to: &ReplyTo,
        args: impl FnOnce() -> Vec<Bytes>,
    ) {
        if self.slow_commands.is_slow(came, answered) {
            let command = SlowCommand {
                id: 0,
                at: self.wall.at(came),
                took: answered.since(came),
                args: args(),
                client: to.client(),
            };
            self.slow_commands.keep(partition, command);
        }
    }
}

/// A command as the log shows it.
pub(crate) fn shown(args: &[&[u8]]) -> Vec<Bytes> {
    shortened(args.len(), args.iter().map(|arg| (arg.len(), *arg)))
}

/// The same of one that was kept.
pub(crate) fn shown_command(command: &Command) -> Vec<Bytes> {
    let args = command.args.iter().map(|arg| (arg.len(), &arg[..]));
    shortened(command.args.len(), args)
}

/// Of a command with so many arguments, of each of which the length and at least the beginning is there: what Redis' slow log shows.
pub(crate) fn shortened<'a>(
    count: usize,
    args: impl Iterator<Item = (usize, &'a [u8])>,
) -> Vec<Bytes> {
    let mut shown = Vec::with_capacity(count.min(ARGUMENTS));
    for (place, (length, bytes)) in args.take(ARGUMENTS).enumerate() {
        if place + 1 == ARGUMENTS && count > ARGUMENTS {
            let more = count - place;
            shown.push(format!("... ({more} more arguments)").into());
        } else if length > ARGUMENT_BYTES {
            let more = length - ARGUMENT_BYTES;
            let mut text = bytes[..ARGUMENT_BYTES.min(bytes.len())].to_vec();
            text.extend_from_slice(format!("... ({more} more bytes)").as_bytes());
            shown.push(text.into());
        } else {
            shown.push(Bytes::copy_from_slice(bytes));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn us(micros: u64) -> Instant {
        Instant(1_000_000_000_000) + Duration::from_micros(micros)
    }

    fn log(threshold: Duration, length: usize) -> SlowCommands {
        SlowCommands::new(&SlowLog { threshold, length })
    }

    fn command(name: &'static str) -> SlowCommand {
        SlowCommand {
            id: 0,
            at: types::Timestamp(1),
            took: Duration::from_millis(1),
            args: vec![name.into()],
            client: None,
        }
    }

    #[test]
    fn a_command_is_slow_from_the_threshold_on_and_never_without_one() {
        let slow = log(Duration::from_micros(100), 4);
        assert!(!slow.is_slow(us(0), us(99)));
        assert!(slow.is_slow(us(0), us(100)));
        for off in [log(Duration::ZERO, 4), log(Duration::from_micros(1), 0)] {
            assert!(!off.is_on() && !off.is_slow(us(0), us(1_000_000_000)));
        }
    }

    #[test]
    fn only_the_latest_are_kept_and_each_table_has_its_own() {
        let slow = log(Duration::from_micros(1), 3);
        for (table, name) in [(1, "a"), (1, "b"), (2, "c"), (1, "d")] {
            slow.keep(PartitionId::new(table, 0), command(name));
        }
        let told = |table| {
            let of_table = slow.of_table(TableId(table), 9).into_iter();
            of_table
                .map(|command| (command.id, command.args[0].clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(told(1), [(3, "d".into()), (1, "b".into())]);
        slow.forget_table(TableId(1));
        assert_eq!((told(1), told(2)), (vec![], vec![(2, "c".into())]));
        let all = SlowLogRequest {
            limit: 0,
            reset: true,
        };
        assert_eq!(slow.tell(all, &Known::default()).commands.len(), 1);
        assert_eq!(slow.tell(all, &Known::default()).all, 0);
        slow.keep(PartitionId::new(1, 0), command("e"));
        assert_eq!(told(1), [(4, "e".into())], "numbers go on");
    }

    #[test]
    fn arguments_are_shortened_as_redis_does() {
        let long = [b'x'; 130];
        let cut = [&long[..128], b"... (2 more bytes)"].concat();
        assert_eq!(shown(&[b"SET", b"k", &long]), [&b"SET"[..], b"k", &cut]);
        let many = [&b"k"[..]; 40];
        let shown = shown(&many);
        assert_eq!(shown.len(), 32);
        assert_eq!(shown[30], "k");
        assert_eq!(shown[31], "... (9 more arguments)");
    }
}
