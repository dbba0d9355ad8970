//! The apply thread: committed mutations become rows of `RocksDB`, some megabytes at a time, sorted, each row once, together with the
//! applied row. So a `RocksDB` always holds a prefix of the committed mutations.
//!
//! It waits for no partition: one whose `RocksDB` stalls, is being flushed or cannot be opened yet keeps its jobs in order and is tried
//! again while the others go on.

use crate::batch;
use crate::event::{EngineEvent, Haste};
use crate::node::{Node, NotOpen, Patience};
use crate::overlay::Held;
use crate::store::Store;
use crate::{checkpoint, collect, digest};
use commands::effects::Effects;
use commands::rows::own::{self, APPLIED, Applied, FORMAT, LAYOUT};
use rocksdb::{ErrorKind, WriteBatch};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, TryLockError};
use std::time::Duration;
use types::{Decree, PartitionId};

/// Mutations to apply, in decree order.
pub(crate) struct Job {
    pub(crate) store: Arc<Store>,
    /// The store's life when it was made.
    pub(crate) life: u64,
    pub(crate) mutations: VecDeque<(Decree, Held)>,
    pub(crate) then: Vec<Then>,
}

/// What happens once the mutations are applied, before any later one is.
pub(crate) enum Then {
    Flush,
    Digest(crate::Ticket, Decree, Haste),
    Checkpoint(crate::Ticket, PathBuf),
}

pub(crate) enum Message {
    Job(Job),
    Stop,
}

/// How often stalled partitions are tried again.
const AGAIN: Duration = Duration::from_millis(5);

/// What a row costs in a memtable beside its bytes.
const MEMTABLE_ROW: usize = 48;

pub(crate) fn run(node: &Arc<Node>, jobs: &Receiver<Message>) {
    let mut stalled: BTreeMap<PartitionId, VecDeque<Job>> = BTreeMap::new();
    loop {
        let message = if stalled.is_empty() {
            jobs.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            jobs.recv_timeout(AGAIN)
        };
        let mut arrived = match message {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        while let Some(message) = arrived {
            let Message::Job(mut job) = message else {
                return;
            };
            let id = job.store.id;
            match stalled.get_mut(&id) {
                Some(queue) => queue.push_back(job),
                None => {
                    if apply(node, &mut job) == Outcome::Stalled {
                        stalled.entry(id).or_default().push_back(job);
                    }
                }
            }
            arrived = match jobs.try_recv() {
                Ok(message) => Some(message),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => return,
            };
        }
        stalled.retain(|_, queue| {
            while let Some(job) = queue.front_mut() {
                if apply(node, job) == Outcome::Stalled {
                    return true;
                }
                queue.pop_front();
            }
            false
        });
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Done,
    Stalled,
}

fn apply(node: &Arc<Node>, job: &mut Job) -> Outcome {
    match try_apply(node, job) {
        Ok(outcome) => outcome,
        Err(reason) => {
            for then in job.then.drain(..) {
                refuse(node, job.store.id, &then, &reason);
            }
            if job.life == job.store.life()
                && job.store.failure().is_none()
                && !job.store.slot().gone
            {
                node.fail(&job.store, reason);
            }
            Outcome::Done
        }
    }
}

fn try_apply(node: &Arc<Node>, job: &mut Job) -> Result<Outcome, String> {
    let store = Arc::clone(&job.store);
    if let Some(reason) = store.failure() {
        return Err(reason);
    }
    let database = match node.open(&store, Patience::Never) {
        Ok(database) => database,
        Err(NotOpen::Busy) => return Ok(Outcome::Stalled),
        Err(NotOpen::Gone) => return Err("the partition was removed".to_owned()),
        Err(NotOpen::Broken(reason)) => return Err(reason),
    };
    let gate = match store.gate.try_lock() {
        Ok(gate) => gate,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return Ok(Outcome::Stalled),
    };
    // under the gate nobody replaces the contents
    if job.life != store.life() {
        return Err("the partition's contents were replaced".to_owned());
    }
    let mut noted = false;
    while let Some((state, count)) = next_part(&store, job) {
        if store.compacting.load(Ordering::Acquire)
            && !(node.hooks.log_is_synced)(store.id, state.decree)
        {
            return Ok(Outcome::Stalled);
        }
        let batch = part(job, count, state)?;
        let rows = batch.count() as usize;
        let batch = batch.freeze();
        store.will_have_rows();
        match database
            .db
            .write_opt(WriteBatch::from_data(&batch), &node.rocks.write)
        {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Incomplete => return Ok(Outcome::Stalled),
            Err(error) => return Err(error.to_string()),
        }
        let cleared = job.mutations.front().is_some_and(|(_, held)| held.clears);
        let garbage = job.mutations.drain(..count).map(|(_, held)| held.garbage);
        let garbage: u64 = garbage.sum();
        if cleared {
            store.garbage.store(garbage, Ordering::Release);
        } else {
            store.garbage.fetch_add(garbage, Ordering::AcqRel);
        }
        noted |= garbage > 0;
        store.raise_applied(state);
        crate::flush::account(node, &store, batch.len() + rows * MEMTABLE_ROW);
    }
    if noted {
        collect::consider(node, &store, &database);
    }
    let decree = store.applied_decree();
    for then in job.then.drain(..) {
        match then {
            Then::Flush => node.ask_flush(&store),
            Then::Digest(ticket, at, haste) => {
                digest::begin(node, &store, &database, ticket, (at, haste));
            }
            Then::Checkpoint(ticket, dir) => checkpoint::begin(node, &store, ticket, dir),
        }
    }
    drop(gate);
    node.tell(EngineEvent::Applied {
        partition: store.id,
        decree,
    });
    Ok(Outcome::Done)
}

/// Drops what `RocksDB` has already, and tells how many mutations go into the next batch and to which state they lead: a clear goes
/// alone, the others up to the next clear.
fn next_part(store: &Store, job: &mut Job) -> Option<(Applied, usize)> {
    let applied = store.applied_decree();
    while job
        .mutations
        .front()
        .is_some_and(|(decree, _)| *decree <= applied)
    {
        job.mutations.pop_front();
    }
    let (_, first) = job.mutations.front()?;
    let count = if first.clears {
        1
    } else {
        job.mutations
            .iter()
            .take_while(|(_, held)| !held.clears)
            .count()
    };
    let (decree, last) = &job.mutations[count - 1];
    let state = Applied {
        decree: *decree,
        ballot: last.ballot,
        timestamp: last.timestamp,
    };
    Some((state, count))
}

fn part(job: &Job, count: usize, state: Applied) -> Result<Effects, String> {
    let mutations = job.mutations.iter().take(count);
    let alone = count == 1 && job.mutations[0].1.clears;
    let mut batch = if alone {
        in_order(&job.mutations[0].1.effects).map(|mut batch| {
            // Nothing is left that the notes were about.
            batch.delete_range(own::GARBAGE, &own::after_garbage());
            batch
        })
    } else {
        batch::merge(mutations.map(|(_, held)| &held.effects[..]))
    }
    .map_err(|error| error.to_string())?;
    batch.put(APPLIED, &[&state.encode()]);
    batch.put(FORMAT, &[&[LAYOUT]]);
    Ok(batch)
}

fn in_order(effects: &[u8]) -> Result<Effects, batch::Malformed> {
    let mut batch = Effects::with_capacity(effects.len());
    let mut records = batch::Records::of(effects);
    while let Some((_, record)) = records.next_record()? {
        match record {
            batch::Record::Put(row, value) => drop(batch.put(row, &[value])),
            batch::Record::Delete(row) => drop(batch.delete(row)),
            batch::Record::DeleteRange(from, to) => batch.delete_range(from, to),
        }
    }
    Ok(batch)
}

fn refuse(node: &Node, partition: PartitionId, then: &Then, reason: &str) {
    match *then {
        Then::Flush => {}
        Then::Digest(ticket, ..) => node.tell(EngineEvent::Digested {
            partition,
            ticket,
            digest: Err(reason.to_owned()),
        }),
        Then::Checkpoint(ticket, _) => node.tell(EngineEvent::Checkpointed {
            partition,
            ticket,
            checkpoint: Err(reason.to_owned()),
        }),
    }
}
