//! A node with one engine, and a worker's way of using a partition of it: events are taken from a channel, cold rows are fetched and
//! evaluated again. Beside it a model: the same commands over an ordered map.

use bytes::Bytes;
use commands::logical::LogicalRows;
use commands::memory::MemoryView;
use commands::{
    Direction, Interrupt, Limits, Moment, Reply, View, evaluate_read, evaluate_write, resolve,
};
use engine::{Engine, EngineEvent, EngineOptions, Fetched, Hooks, Partition, Sealed, Ticket};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use types::{Ballot, Decree, Mutation, PartitionId, SlotRange, Timestamp};

pub(crate) const BALLOT: Ballot = Ballot(3);

/// Far beyond what anything takes: a test that waits so long has failed.
const FOREVER: Duration = Duration::from_mins(2);

pub(crate) fn id(index: u32) -> PartitionId {
    PartitionId::new(1, index)
}

/// Rows and their values.
pub(crate) type Dump = Vec<(Vec<u8>, Vec<u8>)>;

/// The logical ones of all rows: compaction may have collected the others already, or not.
pub(crate) fn logical(rows: Dump) -> Dump {
    let mut logical = LogicalRows::new(Timestamp(0));
    rows.into_iter()
        .filter(|(row, value)| logical.contains(row, value))
        .collect()
}

/// Everything small, so that all of it happens.
pub(crate) fn small(dir: &Path) -> EngineOptions {
    EngineOptions {
        block_cache: 4 << 20,
        row_cache: 64 << 10,
        overlay_budget: 64 << 10,
        memtable_budget: 256 << 10,
        memtable_limit: 64 << 10,
        generation: 4 << 10,
        ..EngineOptions::at(dir)
    }
}

pub(crate) struct Node {
    pub(crate) engine: Engine,
    events: Receiver<EngineEvent>,
    /// Up to where the log is synced, per partition.
    pub(crate) synced: Arc<Mutex<HashMap<PartitionId, Decree>>>,
    fetched: Vec<Fetched>,
    others: Vec<EngineEvent>,
}

impl Node {
    pub(crate) fn open(options: EngineOptions) -> Self {
        let (sender, events) = channel();
        let synced: Arc<Mutex<HashMap<PartitionId, Decree>>> = Arc::default();
        let (log, looked_at) = (Arc::clone(&synced), Arc::clone(&synced));
        let hooks = Hooks {
            events: Box::new(move |event| drop(sender.send(event))),
            sync_log: Box::new(move |partition, decree| {
                let mut log = log.lock().unwrap();
                let known = log.entry(partition).or_default();
                *known = decree.max(*known);
                Ok(())
            }),
            log_is_synced: Box::new(move |partition, decree| {
                let log = looked_at.lock().unwrap();
                log.get(&partition).is_some_and(|&known| known >= decree)
            }),
        };
        Self {
            engine: Engine::open(options, hooks).unwrap(),
            events,
            synced,
            fetched: Vec::new(),
            others: Vec::new(),
        }
    }

    pub(crate) fn partition(&self, index: u32) -> Partition {
        self.engine.partition(id(index), SlotRange::ALL)
    }

    fn next(&mut self) {
        match self
            .events
            .recv_timeout(FOREVER)
            .expect("the engine is silent")
        {
            EngineEvent::Failed { partition, reason } => panic!("{partition} failed: {reason}"),
            EngineEvent::Fetched(fetched) => self.fetched.push(fetched),
            other => self.others.push(other),
        }
    }

    /// Events that are neither fetches nor applications, as they have come so far and up to one that is wanted.
    pub(crate) fn wait_for<T>(&mut self, mut wanted: impl FnMut(&EngineEvent) -> Option<T>) -> T {
        loop {
            if let Some(i) = self.others.iter().position(|event| wanted(event).is_some()) {
                let found = wanted(&self.others[i]).unwrap();
                self.others.remove(i);
                return found;
            }
            self.next();
        }
    }

    /// The next partition whose storage fails.
    pub(crate) fn wait_for_failure(&mut self) -> PartitionId {
        loop {
            match self
                .events
                .recv_timeout(FOREVER)
                .expect("the engine is silent")
            {
                EngineEvent::Failed { partition, .. } => return partition,
                EngineEvent::Fetched(fetched) => self.fetched.push(fetched),
                other => self.others.push(other),
            }
        }
    }

    /// Hands the answer to that fetch to the partition.
    pub(crate) fn wait_fetched(&mut self, partition: &mut Partition, ticket: Ticket) {
        let fetched = self.take_fetched(ticket);
        partition.install(fetched);
    }

    pub(crate) fn take_fetched(&mut self, ticket: Ticket) -> Fetched {
        loop {
            if let Some(i) = self
                .fetched
                .iter()
                .position(|fetched| fetched.ticket == ticket)
            {
                return self.fetched.remove(i);
            }
            self.next();
        }
    }

    /// Waits until everything committed is applied.
    pub(crate) fn drain(&mut self, partition: &mut Partition) {
        partition.apply_now();
        let (id, goal) = (partition.id(), partition.committed());
        partition.settle();
        while partition.applied() < goal {
            self.wait_for(|event| match event {
                EngineEvent::Applied { partition, .. } if *partition == id => Some(()),
                _ => None,
            });
            partition.settle();
        }
    }

    /// Waits until everything committed is on disk.
    pub(crate) fn make_durable(&mut self, partition: &mut Partition) {
        partition.flush();
        let (id, goal) = (partition.id(), partition.committed());
        while partition.durable() < goal {
            self.wait_for(|event| match event {
                EngineEvent::Durable { partition, .. } if *partition == id => Some(()),
                _ => None,
            });
        }
        partition.settle();
    }

    /// Evaluates again and again until nothing is cold.
    pub(crate) fn warmly<T>(
        &mut self,
        partition: &mut Partition,
        mut evaluate: impl FnMut(&mut Partition) -> Result<T, Interrupt>,
    ) -> T {
        for _ in 0..100 {
            match evaluate(partition) {
                Ok(value) => return value,
                Err(Interrupt::Cold) => {
                    let ticket = partition.fetch().expect("something was cold");
                    self.wait_fetched(partition, ticket);
                }
                Err(other) => panic!("{other}"),
            }
        }
        panic!("still cold after a hundred fetches");
    }

    pub(crate) fn read(&mut self, partition: &mut Partition, now: u64, command: &[&str]) -> Reply {
        let args = args(command);
        let spec = resolve(&args).unwrap();
        self.warmly(partition, |partition| {
            partition.read(spec, &args, Timestamp(now), 0)
        })
        .reply
    }

    /// Evaluates into the open mutation.
    pub(crate) fn write(&mut self, partition: &mut Partition, command: &[&str]) -> Reply {
        let args = args(command);
        let spec = resolve(&args).unwrap();
        self.warmly(partition, |partition| partition.write(spec, &args, 0))
            .reply
    }

    /// One mutation of these commands, sealed.
    pub(crate) fn mutate(
        &mut self,
        partition: &mut Partition,
        now: u64,
        commands: &[&[&str]],
    ) -> Mutation {
        partition.begin(BALLOT, partition.last().next(), Timestamp(now));
        for command in commands {
            let reply = self.write(partition, command);
            assert!(!reply.is_error(), "{command:?}: {reply:?}");
        }
        mutation(partition.seal().unwrap())
    }

    /// All rows but the partition's own, as evaluation sees them.
    pub(crate) fn rows(&mut self, partition: &mut Partition, direction: Direction) -> Dump {
        self.warmly(partition, |partition| {
            partition
                .view(Timestamp(0), 0, |view, _| all_rows(view, direction))
                .map(|(rows, _)| rows)
        })
    }
}

pub(crate) fn all_rows(view: &mut dyn View, direction: Direction) -> Result<Dump, Interrupt> {
    let mut rows = Vec::new();
    view.scan(&[0], &[0xFF, 0xFF], direction, &mut |row, value| {
        rows.push((row.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })?;
    Ok(rows)
}

pub(crate) fn args<'a>(command: &'a [&str]) -> Vec<&'a [u8]> {
    command.iter().map(|part| part.as_bytes()).collect()
}

pub(crate) fn mutation(sealed: Sealed) -> Mutation {
    Mutation {
        ballot: sealed.ballot,
        decree: sealed.decree,
        timestamp: sealed.timestamp,
        effects: sealed.effects,
    }
}

/// The truth: the mutations in order, and the rows that they make.
#[derive(Clone, Default)]
pub(crate) struct Model {
    pub(crate) mutations: Vec<Mutation>,
    pub(crate) view: MemoryView,
}

impl Model {
    pub(crate) fn push(&mut self, mutation: Mutation) {
        self.view.apply(&mutation.effects).unwrap();
        self.mutations.push(mutation);
    }

    pub(crate) fn truncate(&mut self, decree: Decree) {
        let mutations = std::mem::take(&mut self.mutations);
        *self = Self::default();
        for mutation in mutations.into_iter().take(decree.0 as usize) {
            self.push(mutation);
        }
    }

    pub(crate) fn up_to(&self, decree: Decree) -> Self {
        let mut model = self.clone();
        model.truncate(decree);
        model
    }

    pub(crate) fn rows(&self) -> Dump {
        self.view
            .rows()
            .map(|(row, value)| (row.to_vec(), value.to_vec()))
            .collect()
    }

    pub(crate) fn read(&mut self, now: u64, command: &[&str]) -> Reply {
        let args = args(command);
        let moment = self.moment(now, 0);
        evaluate_read(resolve(&args).unwrap(), &args, &mut self.view, &moment)
            .unwrap()
            .reply
    }

    /// What the command answers when it is evaluated `index`th into the next mutation; its effects stay in `scratch`.
    pub(crate) fn write(
        &self,
        scratch: &mut MemoryView,
        now: u64,
        index: u32,
        command: &[&str],
    ) -> Reply {
        let args = args(command);
        let before = scratch.clone();
        let evaluated = evaluate_write(
            resolve(&args).unwrap(),
            &args,
            scratch,
            &self.moment(now, index),
        )
        .unwrap();
        if evaluated.reply.is_error() {
            *scratch = before;
        }
        evaluated.reply
    }

    fn moment(&self, now: u64, index: u32) -> Moment {
        Moment {
            now: Timestamp(now),
            decree: Decree(self.mutations.len() as u64 + 1),
            index,
            random: 0,
            slots: SlotRange::ALL,
            default_ttl: None,
            limits: Limits::default(),
        }
    }
}

pub(crate) fn bulk(text: &'static str) -> Reply {
    Reply::Bulk(Bytes::from_static(text.as_bytes()))
}
