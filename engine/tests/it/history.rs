//! Random histories against the model: whatever is staged, committed, truncated, applied, flushed, dropped or crashed in whatever
//! order, reads equal the model's, and what a crash leaves is a prefix of the committed mutations.

use crate::harness::{BALLOT, Model, Node, args, id, logical, mutation, small};
use commands::memory::MemoryView;
use commands::{CommandSpec, Direction, Interrupt, resolve};
use engine::{Partition, Written};
use proptest::prelude::*;
use types::{Decree, Timestamp};

#[derive(Clone)]
enum Step {
    /// A mutation of these commands.
    Mutate(Vec<Vec<String>>),
    /// Commands that are never sealed.
    Abandon(Vec<Vec<String>>),
    /// Commits this much of what is in flight, in 256ths.
    Commit(u8),
    /// Drops this much of what is in flight.
    Truncate(u8),
    Read(Vec<String>),
    Compare,
    Apply,
    Drain,
    Flush,
    Relieve,
    /// Down and up again.
    Demote,
    /// All processes end; of what was not synced and not committed, this much survives.
    Crash(u8),
}

fn key() -> impl Strategy<Value = String> {
    (0..12u8).prop_map(|i| format!("k{i}"))
}

fn words(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|&part| part.to_owned()).collect()
}

pub(crate) fn writing() -> impl Strategy<Value = Vec<String>> {
    let value =
        (0..200usize, any::<u8>()).prop_map(|(n, byte)| format!("{byte}").repeat(n / 3 + 1));
    prop_oneof![
        8 => (key(), value.clone()).prop_map(|(k, v)| words(&["SET", &k, &v])),
        2 => key().prop_map(|k| words(&["DEL", &k])),
        4 => key().prop_map(|k| words(&["INCR", &k])),
        2 => (key(), value.clone()).prop_map(|(k, v)| words(&["APPEND", &k, &v])),
        8 => (key(), 0..30u8, value).prop_map(|(k, f, v)| words(&["HSET", &format!("h{k}"), &format!("f{f}"), &v])),
        3 => (key(), 0..30u8).prop_map(|(k, f)| words(&["HDEL", &format!("h{k}"), &format!("f{f}")])),
        2 => key().prop_map(|k| words(&["DEL", &format!("h{k}")])),
        2 => (key(), key()).prop_map(|(a, b)| words(&["RENAME", &format!("h{{x}}{a}"), &format!("h{{x}}{b}")])),
        2 => (key(), 0..30u8).prop_map(|(k, f)| words(&["HSET", &format!("h{{x}}{k}"), &format!("f{f}"), "v"])),
        1 => key().prop_map(|k| words(&["HSET", &k, "f", "v"])),
        1 => Just(words(&["FLUSHDB"])),
    ]
}

pub(crate) fn reading() -> impl Strategy<Value = Vec<String>> {
    prop_oneof![
        key().prop_map(|k| words(&["GET", &k])),
        key().prop_map(|k| words(&["HGETALL", &format!("h{k}")])),
        key().prop_map(|k| words(&["HLEN", &format!("h{{x}}{k}")])),
        (key(), 0..30u8).prop_map(|(k, f)| words(&["HGET", &format!("h{k}"), &format!("f{f}")])),
        Just(words(&["KEYS", "*"])),
        Just(words(&["DBSIZE"])),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => prop::collection::vec(writing(), 1..8).prop_map(Step::Mutate),
        2 => prop::collection::vec(writing(), 1..4).prop_map(Step::Abandon),
        20 => any::<u8>().prop_map(Step::Commit),
        2 => any::<u8>().prop_map(Step::Truncate),
        12 => reading().prop_map(Step::Read),
        3 => Just(Step::Compare),
        3 => Just(Step::Apply),
        2 => Just(Step::Drain),
        2 => Just(Step::Flush),
        2 => Just(Step::Relieve),
        2 => Just(Step::Demote),
        1 => any::<u8>().prop_map(Step::Crash),
    ]
}

/// Short: a failing history is read by a person.
impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let commands = |commands: &[Vec<String>]| {
            let short = |word: &String| word.chars().take(12).collect::<String>();
            let short =
                |command: &Vec<String>| command.iter().map(short).collect::<Vec<_>>().join(" ");
            commands.iter().map(short).collect::<Vec<_>>().join("; ")
        };
        match self {
            Self::Mutate(these) => write!(f, "mutate [{}]", commands(these)),
            Self::Abandon(these) => write!(f, "abandon [{}]", commands(these)),
            Self::Commit(share) => write!(f, "commit {share}"),
            Self::Truncate(share) => write!(f, "truncate {share}"),
            Self::Read(command) => write!(f, "read {}", command.join(" ")),
            Self::Compare => f.write_str("compare"),
            Self::Apply => f.write_str("apply"),
            Self::Drain => f.write_str("drain"),
            Self::Flush => f.write_str("flush"),
            Self::Relieve => f.write_str("relieve"),
            Self::Demote => f.write_str("demote"),
            Self::Crash(survives) => write!(f, "crash {survives}"),
        }
    }
}

struct World {
    dir: tempfile::TempDir,
    node: Node,
    partition: Partition,
    model: Model,
    now: u64,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::open(small(dir.path()));
        let mut partition = node.partition(0);
        partition.promote();
        Self {
            dir,
            node,
            partition,
            model: Model::default(),
            now: 1000,
        }
    }

    fn begin(&mut self) -> MemoryView {
        self.partition
            .begin(BALLOT, self.partition.last().next(), Timestamp(self.now));
        self.model.view.clone()
    }

    fn seal(&mut self) {
        self.model.push(mutation(self.partition.seal().unwrap()));
    }

    /// Evaluates the commands into the open mutation and compares every reply. One that must be alone gets a mutation of its own.
    fn evaluate(&mut self, commands: &[Vec<String>]) {
        self.now += 1;
        let mut scratch = self.begin();
        for command in commands {
            let command: Vec<&str> = command.iter().map(String::as_str).collect();
            let args = args(&command);
            let spec = resolve(&args).unwrap();
            let mut written = self.try_write(spec, &args);
            if written == Err(Interrupt::Full) {
                self.seal();
                scratch = self.begin();
                written = self.try_write(spec, &args);
            }
            let written = written.unwrap();
            let index = self.partition.open_commands();
            let reply = self.model.write(&mut scratch, self.now, index, &command);
            assert_eq!(written.reply, reply, "{command:?}");
            if written.wrote {
                assert_eq!(written.seen, self.partition.last().next());
            }
        }
    }

    fn try_write(&mut self, spec: &CommandSpec, args: &[&[u8]]) -> Result<Written, Interrupt> {
        loop {
            match self.partition.write(spec, args, 0) {
                Err(Interrupt::Cold) => {
                    let ticket = self.partition.fetch().expect("something was cold");
                    self.node.wait_fetched(&mut self.partition, ticket);
                }
                done => return done,
            }
        }
    }

    /// A decree between what is committed and what is last.
    fn between(&self, share: u8) -> Decree {
        let in_flight = self.partition.last().0 - self.partition.committed().0;
        Decree(self.partition.committed().0 + (in_flight * u64::from(share)).div_ceil(256))
    }

    fn compare(&mut self) {
        let expected = logical(self.model.rows());
        let rows = self.node.rows(&mut self.partition, Direction::Forward);
        assert_eq!(logical(rows), expected);
        let mut rows = self.node.rows(&mut self.partition, Direction::Backward);
        rows.reverse();
        assert_eq!(logical(rows), expected);
    }

    fn crash(&mut self, survives: u8) {
        let committed = self.partition.committed();
        let synced = self.node.synced.lock().unwrap().get(&id(0)).copied();
        // the log has what it was asked to sync, and perhaps more
        let surviving = self.between(survives).max(synced.unwrap_or_default());
        let surviving = if survives.is_multiple_of(2) {
            surviving
        } else {
            synced.unwrap_or_default()
        };
        let surviving = surviving.min(self.partition.last());
        self.partition.demote();
        self.node.engine.shutdown();
        self.node = Node::open(small(self.dir.path()));
        // what survived is on disk
        self.node.synced.lock().unwrap().insert(id(0), surviving);
        self.partition = self.node.partition(0);
        let durable = self.partition.durable();
        assert!(
            durable <= committed && durable <= surviving,
            "{durable:?} {surviving:?}"
        );
        self.partition.promote();
        // what is durable alone is a prefix of what was committed
        let rows = self.node.rows(&mut self.partition, Direction::Forward);
        assert_eq!(logical(rows), logical(self.model.up_to(durable).rows()));
        self.model.truncate(surviving);
        for mutation in &self.model.mutations {
            self.partition.stage(mutation).unwrap();
        }
        self.partition.commit(committed.min(surviving));
        assert_eq!(self.partition.last(), surviving);
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Mutate(commands) => {
                self.evaluate(commands);
                self.seal();
            }
            Step::Abandon(commands) => {
                self.evaluate(commands);
                self.partition.truncate(self.partition.last());
            }
            Step::Commit(share) => self.partition.commit(self.between(*share)),
            Step::Truncate(share) => {
                let above = self.between(*share);
                self.partition.truncate(above);
                self.model.truncate(above);
            }
            Step::Read(command) => {
                let command: Vec<&str> = command.iter().map(String::as_str).collect();
                let reply = self.node.read(&mut self.partition, self.now, &command);
                assert_eq!(reply, self.model.read(self.now, &command), "{command:?}");
            }
            Step::Compare => self.compare(),
            Step::Apply => self.partition.apply_now(),
            Step::Drain => self.node.drain(&mut self.partition),
            Step::Flush => self.node.make_durable(&mut self.partition),
            Step::Relieve => self.partition.relieve(),
            Step::Demote => {
                self.partition.demote();
                self.partition.promote();
            }
            Step::Crash(survives) => self.crash(*survives),
        }
        let (last, committed) = (self.partition.last(), self.partition.committed());
        let (applied, durable) = (self.partition.applied(), self.partition.durable());
        assert!(durable <= committed && applied <= committed && committed <= last);
        assert_eq!(last.0, self.model.mutations.len() as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_reads_equal_the_model_and_a_crash_leaves_a_committed_prefix(
        steps in prop::collection::vec(step(), 1..250),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.compare();
    }
}
