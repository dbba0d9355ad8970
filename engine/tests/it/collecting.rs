//! Garbage is collected without being asked for, where it was made and where it was only applied.

use crate::harness::{Node, small};
use commands::{Direction, Reply};
use engine::{EngineEvent, EngineOptions, Partition};
use std::path::Path;
use types::{Decree, PartitionId};

/// A hundred rows are worth a collection if they are a fifth of all.
fn options(dir: &Path) -> EngineOptions {
    EngineOptions {
        garbage_rows: 100,
        garbage_percent: 20,
        ..small(dir)
    }
}

fn wait_until_collected(node: &mut Node, wanted: PartitionId) {
    node.wait_for(|event| match event {
        EngineEvent::Compacted { partition } if *partition == wanted => Some(()),
        _ => None,
    });
}

/// A partition that leads and one that follows, with two hashes of 200 fields each.
fn two_hashes(node: &mut Node) -> (Partition, Partition) {
    let (mut primary, mut followed) = (node.partition(0), node.partition(1));
    primary.promote();
    for i in 0..200u64 {
        let field = format!("f{i}");
        let commands: &[&[&str]] = &[
            &["HSET", "dead", &field, "v"],
            &["HSET", "alive", &field, "v"],
        ];
        mutate(node, &mut primary, &mut followed, i, commands);
    }
    (primary, followed)
}

fn mutate(
    node: &mut Node,
    primary: &mut Partition,
    followed: &mut Partition,
    now: u64,
    commands: &[&[&str]],
) {
    let mutation = node.mutate(primary, now, commands);
    primary.commit(mutation.decree);
    followed.stage(&mutation).unwrap();
    followed.commit(mutation.decree);
}

/// Only what is on disk is read from here on.
fn forget_what_is_in_memory(node: &mut Node, partition: &mut Partition) {
    node.drain(partition);
    partition.relieve();
    partition.demote();
    partition.promote();
}

/// How many rows of keys are left.
fn rows(node: &mut Node, partition: &mut Partition) -> usize {
    forget_what_is_in_memory(node, partition);
    node.rows(partition, Direction::Forward).len()
}

#[test]
fn what_a_deleted_hash_leaves_behind_is_collected_at_every_copy() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(options(dir.path()));
    let (mut primary, mut followed) = two_hashes(&mut node);
    mutate(
        &mut node,
        &mut primary,
        &mut followed,
        300,
        &[&["DEL", "dead"]],
    );
    assert_eq!(primary.stats().garbage, 201);
    for partition in [&mut primary, &mut followed] {
        node.drain(partition);
        wait_until_collected(&mut node, partition.id());
        // The living hash, its fields and its identity.
        assert_eq!(rows(&mut node, partition), 202);
        let length = node.read(partition, 301, &["HLEN", "alive"]);
        assert_eq!(length, Reply::Integer(200));
    }
}

#[test]
fn garbage_that_was_noted_before_a_restart_counts_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let more = EngineOptions {
        garbage_rows: 300,
        ..options(dir.path())
    };
    {
        let mut node = Node::open(more.clone());
        let (mut primary, mut followed) = two_hashes(&mut node);
        let deleted: &[&[&str]] = &[&["DEL", "dead"]];
        mutate(&mut node, &mut primary, &mut followed, 300, deleted);
        node.make_durable(&mut primary);
    }
    let mut node = Node::open(more);
    let mut primary = node.partition(0);
    primary.promote();
    let last = node.mutate(&mut primary, 301, &[&["DEL", "alive"]]);
    primary.commit(last.decree);
    node.drain(&mut primary);
    wait_until_collected(&mut node, primary.id());
    assert_eq!(rows(&mut node, &mut primary), 0);
}

#[test]
fn after_everything_was_deleted_nothing_is_garbage() {
    let dir = tempfile::tempdir().unwrap();
    let more = EngineOptions {
        garbage_rows: 300,
        ..options(dir.path())
    };
    let mut node = Node::open(more);
    let (mut primary, mut followed) = two_hashes(&mut node);
    let both = (&mut primary, &mut followed);
    mutate(&mut node, both.0, both.1, 300, &[&["DEL", "dead"]]);
    mutate(&mut node, both.0, both.1, 301, &[&["FLUSHDB"]]);
    assert_eq!(both.0.committed(), Decree(202));
    forget_what_is_in_memory(&mut node, both.0);
    let garbage: Vec<Vec<u8>> = node.warmly(both.0, |partition| {
        let notes = partition.view(types::Timestamp(302), 0, |view, _| {
            let mut found = Vec::new();
            let from = commands::rows::own::GARBAGE;
            let to = commands::rows::own::after_garbage();
            view.scan(from, &to, Direction::Forward, &mut |row, _| {
                found.push(row.to_vec());
                std::ops::ControlFlow::Continue(())
            })?;
            Ok(found)
        });
        notes.map(|(found, _)| found)
    });
    assert_eq!(garbage, Vec::<Vec<u8>>::new());
}
