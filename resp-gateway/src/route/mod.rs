//! Which partitions a command concerns: one (nearly always), those of its keys, or all.
//!
//! `gather` puts the replies of several partitions together, `any_one` asks one after the other for RANDOMKEY, `cursor` walks them
//! for SCAN.

mod any_one;
mod cursor;
mod gather;

pub(crate) use cursor::Cursors;

use crate::backend::{Backend, Intent, Request};
use crate::server::{Gateway, Mode};
use crate::sink::Sink;
use commands::table::{Gather, Group};
use commands::{CommandSpec, Reply};
use smallvec::SmallVec;
use std::rc::Rc;
use types::Slot;

/// Starts a command on the partitions it concerns; the reply goes to `sink`.
pub(crate) fn start<B: Backend>(
    gateway: &Rc<Gateway<B>>,
    table: &B::Table,
    spec: &'static CommandSpec,
    args: &[&[u8]],
    intent: Intent,
    sink: Sink,
) {
    match spec.group {
        Group::Keyed => start_keyed(gateway, table, spec, args, intent, sink),
        Group::Scatter(gather) => start_scattered(gateway, table, spec, args, gather, intent, sink),
        Group::Partitions(Gather::Cursor) => cursor::scan(gateway, table, spec, args, sink),
        Group::Partitions(Gather::AnyOne) => any_one::ask(gateway, table, spec, args, sink),
        Group::Partitions(gather) => {
            let partitions = here(gateway, table);
            let sinks = gather::gather(gather, spec.is_write(), &partitions, Vec::new(), sink);
            for (partition, sink) in partitions.into_iter().zip(sinks) {
                start_at(gateway, table, partition, spec, args, intent, sink);
            }
        }
        Group::Session => sink.reply(Reply::error("ERR not a command of partitions")),
    }
}

/// Starts a command on one partition.
pub(crate) fn start_at<B: Backend>(
    gateway: &Gateway<B>,
    table: &B::Table,
    partition: u32,
    spec: &'static CommandSpec,
    args: &[&[u8]],
    intent: Intent,
    sink: Sink,
) {
    let request = Request {
        partition,
        spec,
        args,
        intent,
    };
    gateway.backend.execute(table, request, sink);
}

fn start_keyed<B: Backend>(
    gateway: &Rc<Gateway<B>>,
    table: &B::Table,
    spec: &'static CommandSpec,
    args: &[&[u8]],
    intent: Intent,
    sink: Sink,
) {
    let Some(key) = args.get(spec.first_key as usize) else {
        return sink.reply(commands::table::wrong_number_of_arguments(spec.name));
    };
    let slot = Slot::of(key);
    if spec.last_key != spec.first_key {
        let mut others = spec.key_positions(args.len()).skip(1);
        if others.any(|other| Slot::of(args[other]) != slot) {
            return sink.reply(Reply::cross_slot());
        }
    }
    let partition = slot.partition(gateway.backend.partitions(table));
    if let Some(moved) = moved(gateway, table, slot, partition, intent) {
        return sink.reply(moved);
    }
    if spec.name == "hscan" {
        return cursor::scan_key(gateway, table, partition, spec, args, sink);
    }
    start_at(gateway, table, partition, spec, args, intent, sink);
}

/// In mode `cluster`: where the client should go instead.
fn moved<B: Backend>(
    gateway: &Gateway<B>,
    table: &B::Table,
    slot: Slot,
    partition: u32,
    intent: Intent,
) -> Option<Reply> {
    if gateway.options.mode == Mode::Forward {
        return None;
    }
    let address = gateway.backend.redirect(table, partition, intent)?;
    Some(Reply::error(format!(
        "MOVED {slot} {}:{}",
        address.host, address.port
    )))
}

/// The partitions that a command without keys means. A client of a cluster sends it to every server and adds up, so each answers for
/// its own.
fn here<B: Backend>(gateway: &Gateway<B>, table: &B::Table) -> Vec<u32> {
    let all = 0..gateway.backend.partitions(table);
    match gateway.options.mode {
        Mode::Forward => all.collect(),
        Mode::Cluster => all
            .filter(|&partition| {
                gateway
                    .backend
                    .redirect(table, partition, Intent::Read)
                    .is_none()
            })
            .collect(),
    }
}

/// One partition's share of a scattered command.
struct Share<'a> {
    partition: u32,
    args: Vec<&'a [u8]>,
    /// Which of the command's keys these are.
    places: Vec<usize>,
}

/// Splits a command by the partitions of its keys and gathers the replies. Not atomic over partitions: those that fail say so.
fn start_scattered<B: Backend>(
    gateway: &Rc<Gateway<B>>,
    table: &B::Table,
    spec: &'static CommandSpec,
    args: &[&[u8]],
    gather: Gather,
    intent: Intent,
    sink: Sink,
) {
    let partitions = gateway.backend.partitions(table);
    let step = spec.step.max(1) as usize;
    // MSET with a value missing is told so by whoever gets it whole.
    let whole = (args.len() - spec.first_key as usize).is_multiple_of(step);
    let slots: SmallVec<[Slot; 16]> = spec
        .key_positions(args.len())
        .map(|position| Slot::of(args[position]))
        .collect();
    let first = slots.first().copied().unwrap_or_default();
    if slots.iter().all(|&slot| slot == first)
        && let Some(moved) = moved(gateway, table, first, first.partition(partitions), intent)
    {
        return sink.reply(moved);
    }
    let home = first.partition(partitions);
    if !whole || slots.iter().all(|slot| slot.partition(partitions) == home) {
        return start_at(gateway, table, home, spec, args, intent, sink);
    }
    let shares = split(spec, args, step, &slots, partitions);
    let members: Vec<u32> = shares.iter().map(|share| share.partition).collect();
    let (shares, places): (Vec<_>, Vec<_>) = shares
        .into_iter()
        .map(|share| ((share.partition, share.args), share.places))
        .unzip();
    let sinks = gather::gather(gather, spec.is_write(), &members, places, sink);
    for ((partition, args), sink) in shares.into_iter().zip(sinks) {
        start_at(gateway, table, partition, spec, &args, intent, sink);
    }
}

fn split<'a>(
    spec: &CommandSpec,
    args: &[&'a [u8]],
    step: usize,
    slots: &[Slot],
    partitions: u32,
) -> Vec<Share<'a>> {
    let mut shares: Vec<Share<'a>> = Vec::new();
    let mut of_partition: hashbrown::HashMap<u32, usize, foldhash::fast::RandomState> =
        hashbrown::HashMap::default();
    for (place, (position, slot)) in spec.key_positions(args.len()).zip(slots).enumerate() {
        let partition = slot.partition(partitions);
        let index = *of_partition.entry(partition).or_insert_with(|| {
            shares.push(Share {
                partition,
                args: args[..spec.first_key as usize].to_vec(),
                places: Vec::new(),
            });
            shares.len() - 1
        });
        let share = &mut shares[index];
        share.args.extend(&args[position..position + step]);
        share.places.push(place);
    }
    shares
}
