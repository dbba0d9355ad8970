//! Reads of a copy that another node writes to: what is committed is seen, whatever is in flight, and nothing older.

use crate::harness::{BALLOT, Dump, Model, Node, all_rows, args, bulk, logical, mutation, small};
use crate::history::{reading, writing};
use commands::{Direction, Reply, resolve};
use engine::Partition;
use proptest::prelude::*;
use types::{Decree, Timestamp};

#[test]
fn what_is_in_flight_is_not_seen_and_hides_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(small(dir.path()));
    let (mut primary, mut followed) = (node.partition(0), node.partition(1));
    primary.promote();
    let one = node.mutate(&mut primary, 1, &[&["SET", "a", "1"]]);
    let two = node.mutate(&mut primary, 2, &[&["SET", "a", "2"], &["SET", "b", "2"]]);
    assert!(!followed.is_readable());
    followed.stage(&one).unwrap();
    followed.commit(Decree(1));
    followed.read_committed();
    followed.stage(&two).unwrap();
    assert_eq!(node.read(&mut followed, 2, &["GET", "a"]), bulk("1"));
    assert_eq!(node.read(&mut followed, 2, &["GET", "b"]), Reply::Nil);
    followed.commit(Decree(2));
    assert_eq!(node.read(&mut followed, 2, &["GET", "a"]), bulk("2"));
    followed.demote();
    assert!(!followed.is_readable());
}

#[test]
fn a_copy_that_is_written_to_is_open_before_anybody_reads_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(small(dir.path()));
    let (mut primary, mut idle, mut busy) =
        (node.partition(0), node.partition(1), node.partition(2));
    primary.promote();
    let mutations: Vec<_> = (1..=100)
        .map(|decree| node.mutate(&mut primary, decree, &[&["SET", "a", "1"]]))
        .collect();
    for mutation in &mutations {
        idle.stage(mutation).unwrap();
        busy.stage(mutation).unwrap();
    }
    // as a start repeats them
    idle.commit(Decree(100));
    assert_eq!(node.engine.stats().open, 0);
    for decree in 1..=100 {
        busy.commit(Decree(decree));
    }
    let begun = std::time::Instant::now();
    while node.engine.stats().open == 0 {
        assert!(begun.elapsed().as_secs() < 60, "the busy one is never open");
        std::thread::yield_now();
    }
    // and it is the busy one: nothing was asked of the other
    assert_eq!(node.engine.stats().open, 1);
}

#[test]
fn a_row_in_the_cache_is_not_found_any_more_when_it_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(small(dir.path()));
    let (mut primary, mut followed) = (node.partition(0), node.partition(1));
    primary.promote();
    followed.read_committed();
    for (decree, value) in [(1, "old"), (2, "new")] {
        let mutation = node.mutate(&mut primary, decree, &[&["SET", "a", value]]);
        followed.stage(&mutation).unwrap();
        followed.commit(Decree(decree));
        // the overlay lets go of it, so that the row comes from RocksDB, and into the cache
        node.make_durable(&mut followed);
        followed.relieve();
        assert_eq!(
            node.read(&mut followed, decree, &["GET", "a"]),
            Reply::Bulk(value.into())
        );
    }
}

#[test]
fn who_reads_while_everything_is_being_deleted_is_told_to_wait_for_that() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(small(dir.path()));
    let (mut primary, mut followed) = (node.partition(0), node.partition(1));
    primary.promote();
    let one = node.mutate(&mut primary, 1, &[&["SET", "a", "1"]]);
    let clear = node.mutate(&mut primary, 2, &[&["FLUSHDB"]]);
    followed.read_committed();
    followed.stage(&one).unwrap();
    followed.commit(Decree(1));
    followed.stage(&clear).unwrap();
    let get = args(&["GET", "a"]);
    let read = followed.read(resolve(&get).unwrap(), &get, Timestamp(2), 0);
    assert_eq!(read.unwrap().seen, Decree(2));
    followed.truncate(Decree(1));
    assert_eq!(node.read(&mut followed, 2, &["GET", "a"]), bulk("1"));
    followed.stage(&clear).unwrap();
    followed.commit(Decree(2));
    assert_eq!(node.read(&mut followed, 2, &["GET", "a"]), Reply::Nil);
}

#[derive(Clone, Debug)]
enum Step {
    /// The primary makes a mutation of these commands.
    Mutate(Vec<Vec<String>>),
    /// This much of what the follower lacks comes to it, in 256ths, and this much of what it has is committed.
    Follow(u8, u8),
    /// What the follower has and is not committed is taken back, on both sides.
    Truncate,
    Read(Vec<String>),
    Compare,
    Drain,
    Flush,
    Relieve,
    /// Nobody reads any more, and then somebody does.
    Again,
    /// It becomes the primary for a moment: all is seen.
    Promote,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => prop::collection::vec(writing(), 1..6).prop_map(Step::Mutate),
        25 => any::<(u8, u8)>().prop_map(|(staged, committed)| Step::Follow(staged, committed)),
        2 => Just(Step::Truncate),
        25 => reading().prop_map(Step::Read),
        4 => Just(Step::Compare),
        3 => Just(Step::Drain),
        3 => Just(Step::Flush),
        3 => Just(Step::Relieve),
        1 => Just(Step::Again),
        1 => Just(Step::Promote),
    ]
}

struct Pair {
    node: Node,
    primary: Partition,
    followed: Partition,
    model: Model,
}

fn share(of: u64, part: u8) -> u64 {
    of * u64::from(part) / 255
}

impl Pair {
    fn mutate(&mut self, commands: &[Vec<String>]) {
        let time = Timestamp(self.model.mutations.len() as u64);
        let next = self.primary.last().next();
        self.primary.begin(BALLOT, next, time);
        for command in commands {
            let words: Vec<&str> = command.iter().map(String::as_str).collect();
            let (args, primary) = (args(&words), &mut self.primary);
            // what does not fit beside a clear, or is refused, is left out
            let _ = primary.write(resolve(&args).unwrap(), &args, 0);
        }
        let sealed = self.primary.seal().unwrap();
        self.model.push(mutation(sealed));
    }

    /// The model at what the follower has committed.
    fn committed(&self) -> Model {
        self.model.up_to(self.followed.committed())
    }

    /// All rows of the follower and how far it looked.
    fn rows(&mut self, direction: Direction) -> (Dump, Decree) {
        let (mut rows, seen) = self.node.warmly(&mut self.followed, |partition| {
            partition.view(Timestamp(0), 0, |view, _| all_rows(view, direction))
        });
        rows.sort();
        (logical(rows), seen)
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Mutate(commands) => self.mutate(&commands),
            Step::Follow(staged, committed) => {
                let (have, all) = (self.followed.last().0, self.primary.last().0);
                let to = have + share(all - have, staged);
                for mutation in &self.model.mutations[have as usize..to as usize] {
                    self.followed.stage(mutation).unwrap();
                }
                let done = self.followed.committed().0;
                let decree = Decree(done + share(to - done, committed));
                self.followed.commit(decree);
            }
            Step::Truncate => {
                let committed = self.followed.committed();
                self.followed.truncate(committed);
                self.primary.truncate(committed);
                self.model.truncate(committed);
            }
            Step::Read(command) => {
                let words: Vec<&str> = command.iter().map(String::as_str).collect();
                let now = self.model.mutations.len() as u64;
                let args = args(&words);
                let read = self.node.warmly(&mut self.followed, |partition| {
                    partition.read(resolve(&args).unwrap(), &args, Timestamp(now), 0)
                });
                // else it is told to wait
                if read.seen <= self.followed.committed() {
                    assert_eq!(read.reply, self.committed().read(now, &words), "{words:?}");
                }
            }
            Step::Compare => {
                for direction in [Direction::Forward, Direction::Backward] {
                    let (rows, seen) = self.rows(direction);
                    if seen <= self.followed.committed() {
                        assert_eq!(rows, logical(self.committed().rows()));
                    }
                }
            }
            Step::Drain => self.node.drain(&mut self.followed),
            Step::Flush => self.node.make_durable(&mut self.followed),
            Step::Relieve => self.followed.relieve(),
            Step::Again => {
                self.followed.demote();
                self.followed.read_committed();
            }
            Step::Promote => {
                self.followed.promote();
                let have = self.followed.last();
                let (rows, _) = self.rows(Direction::Forward);
                assert_eq!(rows, logical(self.model.up_to(have).rows()));
                self.followed.demote();
                self.followed.read_committed();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_followed_copy_reads_as_what_is_committed(steps in prop::collection::vec(step(), 1..120)) {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::open(small(dir.path()));
        let (mut primary, mut followed) = (node.partition(0), node.partition(1));
        primary.promote();
        followed.read_committed();
        let mut pair = Pair { node, primary, followed, model: Model::default() };
        for step in steps {
            pair.step(step);
        }
    }
}
