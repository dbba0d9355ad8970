//! What is seen before it is committed, what a truncation takes back, and what stands alone.

use crate::harness::{BALLOT, Model, Node, args, bulk, mutation, small};
use commands::{Direction, Interrupt, Reply, resolve};
use engine::StageError;
use types::{Decree, Mutation, Timestamp};

#[test]
fn an_answer_names_the_highest_uncommitted_decree_that_it_saw() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(small(dir.path()));
    let mut partition = node.partition(0);
    partition.promote();
    node.mutate(&mut partition, 1, &[&["SET", "a", "1"]]);
    node.mutate(&mut partition, 2, &[&["SET", "b", "1"]]);
    let seen = |partition: &mut engine::Partition, command: &[&str]| {
        let args = args(command);
        partition
            .read(resolve(&args).unwrap(), &args, Timestamp(2), 0)
            .unwrap()
            .seen
    };
    assert_eq!(seen(&mut partition, &["GET", "a"]), Decree(1));
    assert_eq!(seen(&mut partition, &["GET", "c"]), Decree::ZERO);
    assert_eq!(seen(&mut partition, &["KEYS", "*"]), Decree(2));
    partition.commit(Decree(1));
    assert_eq!(seen(&mut partition, &["GET", "a"]), Decree::ZERO);
    assert_eq!(seen(&mut partition, &["GET", "b"]), Decree(2));
    // a removal is seen as well
    node.mutate(&mut partition, 3, &[&["DEL", "a"]]);
    assert_eq!(seen(&mut partition, &["GET", "a"]), Decree(3));
    // and so is a write that does nothing because of another one in flight
    partition.begin(BALLOT, Decree(4), Timestamp(4));
    let args = args(&["DEL", "a"]);
    let written = partition.write(resolve(&args).unwrap(), &args, 0).unwrap();
    assert_eq!(
        (written.reply, written.wrote, written.seen),
        (Reply::Integer(0), false, Decree(3))
    );
}

#[test]
fn a_refused_command_leaves_nothing_and_the_others_of_its_mutation_stay() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(small(dir.path()));
    let mut partition = node.partition(0);
    partition.promote();
    partition.begin(BALLOT, Decree(1), Timestamp(1));
    node.write(&mut partition, &["SET", "a", "text"]);
    let bytes = partition.open_bytes();
    assert!(node.write(&mut partition, &["INCR", "a"]).is_error());
    assert_eq!(partition.open_bytes(), bytes);
    node.write(&mut partition, &["SET", "b", "2"]);
    partition.seal().unwrap();
    assert_eq!(node.read(&mut partition, 1, &["GET", "a"]), bulk("text"));
    assert_eq!(node.read(&mut partition, 1, &["GET", "b"]), bulk("2"));
}

#[test]
fn a_mutation_that_would_grow_too_large_says_full_and_keeps_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = small(dir.path());
    options.limits.mutation = 4096;
    let mut node = Node::open(options);
    let mut partition = node.partition(0);
    partition.promote();
    partition.begin(BALLOT, Decree(1), Timestamp(1));
    let value = "x".repeat(3000);
    node.write(&mut partition, &["SET", "a", &value]);
    let second = ["SET", "b", &value];
    let second = args(&second);
    let refused = partition.write(resolve(&second).unwrap(), &second, 0);
    assert_eq!(refused, Err(Interrupt::Full));
    partition.seal().unwrap();
    partition.begin(BALLOT, Decree(2), Timestamp(2));
    node.write(&mut partition, &["SET", "b", &value]);
    partition.seal().unwrap();
    assert_eq!(node.read(&mut partition, 2, &["DBSIZE"]), Reply::Integer(2));
}

#[test]
fn a_clear_is_alone_and_hides_everything_below_it_until_it_is_truncated() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(small(dir.path()));
    let mut partition = node.partition(0);
    partition.promote();
    node.mutate(&mut partition, 1, &[&["SET", "disk", "1"]]);
    partition.commit(Decree(1));
    node.make_durable(&mut partition);
    partition.relieve();
    node.mutate(&mut partition, 2, &[&["SET", "memory", "1"]]);
    assert_eq!(node.read(&mut partition, 2, &["GET", "disk"]), bulk("1"));
    let clear = args(&["FLUSHDB"]);
    partition.begin(BALLOT, Decree(3), Timestamp(3));
    node.write(&mut partition, &["SET", "other", "1"]);
    assert_eq!(
        partition.write(resolve(&clear).unwrap(), &clear, 0),
        Err(Interrupt::Full)
    );
    partition.seal().unwrap();
    partition.begin(BALLOT, Decree(4), Timestamp(4));
    partition
        .write(resolve(&clear).unwrap(), &clear, 0)
        .unwrap();
    let set = args(&["SET", "new", "1"]);
    assert_eq!(
        partition.write(resolve(&set).unwrap(), &set, 0),
        Err(Interrupt::Full)
    );
    partition.seal().unwrap();
    node.mutate(&mut partition, 5, &[&["SET", "new", "1"]]);
    for key in ["disk", "memory", "other"] {
        assert_eq!(node.read(&mut partition, 5, &["GET", key]), Reply::Nil);
    }
    assert_eq!(
        node.read(&mut partition, 5, &["KEYS", "*"]),
        Reply::Array(vec![bulk("new")])
    );
    partition.truncate(Decree(3));
    assert_eq!(node.read(&mut partition, 5, &["GET", "disk"]), bulk("1"));
    assert_eq!(node.read(&mut partition, 5, &["DBSIZE"]), Reply::Integer(3));
    // again, and this time it is committed and reaches the disk
    partition.begin(BALLOT, Decree(4), Timestamp(4));
    partition
        .write(resolve(&clear).unwrap(), &clear, 0)
        .unwrap();
    partition.seal().unwrap();
    node.mutate(&mut partition, 6, &[&["SET", "after", "1"]]);
    partition.commit(Decree(5));
    node.make_durable(&mut partition);
    partition.relieve();
    assert_eq!(node.read(&mut partition, 6, &["GET", "disk"]), Reply::Nil);
    assert_eq!(
        node.read(&mut partition, 6, &["KEYS", "*"]),
        Reply::Array(vec![bulk("after")])
    );
}

#[test]
fn a_secondary_takes_what_it_is_sent_and_a_replaced_decree_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let mut primary = Node::open(small(dir.path()));
    let mut evaluated = primary.partition(0);
    evaluated.promote();
    let one = primary.mutate(&mut evaluated, 1, &[&["SET", "a", "1"]]);
    let two = primary.mutate(
        &mut evaluated,
        2,
        &[&["SET", "b", "old"], &["SET", "c", "old"]],
    );
    evaluated.truncate(Decree(1));
    let replaced = primary.mutate(&mut evaluated, 3, &[&["SET", "b", "new"]]);

    let mut node = Node::open(small(other.path()));
    let mut partition = node.partition(0);
    assert_eq!(
        partition.stage(&two),
        Err(StageError::Gap {
            expected: Decree(1),
            found: Decree(2)
        })
    );
    for mutation in [&one, &two, &two, &replaced, &one] {
        partition.stage(mutation).unwrap();
    }
    let malformed = Mutation {
        decree: Decree(3),
        effects: vec![1; 40].into(),
        ..one.clone()
    };
    assert!(matches!(
        partition.stage(&malformed),
        Err(StageError::Malformed(_))
    ));
    partition.commit(Decree(9));
    assert_eq!(partition.committed(), Decree(2));
    // a committed decree never changes
    partition.stage(&two).unwrap();
    partition.promote();
    let mut model = Model::default();
    model.push(one);
    model.push(replaced);
    assert_eq!(node.rows(&mut partition, Direction::Forward), model.rows());
}

#[test]
fn a_hash_read_after_every_write_of_a_field_is_always_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(small(dir.path()));
    let mut partition = node.partition(0);
    partition.promote();
    let mut model = Model::default();
    for i in 0..600u64 {
        let field = format!("f{}", i * 7919 % 1000);
        partition.begin(BALLOT, Decree(i + 1), Timestamp(i));
        node.write(&mut partition, &["HSET", "h", &field, "v"]);
        model.push(mutation(partition.seal().unwrap()));
        partition.commit(Decree(i));
        assert_eq!(
            node.read(&mut partition, i, &["HGETALL", "h"]),
            model.read(i, &["HGETALL", "h"])
        );
    }
}
