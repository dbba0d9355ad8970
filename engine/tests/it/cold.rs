//! Rows that are on disk only: found by fetching, never stale.

use crate::harness::{Model, Node, args, bulk, small};
use commands::{Direction, Interrupt, Reply, resolve};
use engine::Partition;
use types::{Decree, Timestamp};

/// A node started anew over a partition of `keys` keys, none of which is in memory.
fn cold(dir: &std::path::Path, keys: usize) -> (Node, Partition, Model) {
    let mut model = Model::default();
    let mut node = Node::open(small(dir));
    let mut partition = node.partition(0);
    partition.promote();
    for i in 0..keys {
        let key = format!("key{i:05}");
        model.push(node.mutate(&mut partition, 1, &[&["SET", &key, "old"]]));
    }
    partition.commit(Decree(keys as u64));
    node.make_durable(&mut partition);
    drop(partition);
    node.engine.shutdown();
    let node = Node::open(small(dir));
    let mut partition = node.partition(0);
    partition.promote();
    (node, partition, model)
}

fn get(partition: &mut Partition, key: &str) -> Result<Reply, Interrupt> {
    let command = ["GET", key];
    let args = args(&command);
    partition
        .read(resolve(&args).unwrap(), &args, Timestamp(1), 0)
        .map(|read| read.reply)
}

#[test]
fn a_cold_row_is_asked_for_once_and_then_at_hand() {
    let dir = tempfile::tempdir().unwrap();
    let (mut node, mut partition, _) = cold(dir.path(), 10);
    assert_eq!(get(&mut partition, "key00003"), Err(Interrupt::Cold));
    let ticket = partition.fetch().unwrap();
    assert!(partition.fetch().is_none());
    node.wait_fetched(&mut partition, ticket);
    assert_eq!(get(&mut partition, "key00003"), Ok(bulk("old")));
    assert!(node.engine.stats().row_cache > 0);
}

#[test]
fn all_cold_rows_of_a_command_come_with_one_fetch() {
    let dir = tempfile::tempdir().unwrap();
    let (mut node, mut partition, _) = cold(dir.path(), 50);
    let args = args(&["MGET", "key00001", "key00020", "key00049", "absent"]);
    let spec = resolve(&args).unwrap();
    assert_eq!(
        partition.read(spec, &args, Timestamp(1), 0).unwrap_err(),
        Interrupt::Cold
    );
    let ticket = partition.fetch().unwrap();
    node.wait_fetched(&mut partition, ticket);
    let reply = partition.read(spec, &args, Timestamp(1), 0).unwrap().reply;
    assert_eq!(
        reply,
        Reply::Array(vec![bulk("old"), bulk("old"), bulk("old"), Reply::Nil])
    );
}

#[test]
fn a_fetched_row_that_was_written_meanwhile_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (mut node, mut partition, _) = cold(dir.path(), 10);
    // written, and still in the overlay when the answer comes
    assert_eq!(get(&mut partition, "key00001"), Err(Interrupt::Cold));
    let ticket = partition.fetch().unwrap();
    let fetched = node.take_fetched(ticket);
    node.mutate(&mut partition, 2, &[&["SET", "key00001", "new"]]);
    partition.install(fetched);
    assert_eq!(get(&mut partition, "key00001"), Ok(bulk("new")));
    // written, applied and gone from the overlay when the answer comes
    let dir = tempfile::tempdir().unwrap();
    let (mut node, mut partition, _) = cold(dir.path(), 10);
    assert_eq!(get(&mut partition, "key00002"), Err(Interrupt::Cold));
    let ticket = partition.fetch().unwrap();
    let fetched = node.take_fetched(ticket);
    node.mutate(&mut partition, 3, &[&["SET", "key00002", "new"]]);
    partition.commit(partition.last());
    node.drain(&mut partition);
    partition.relieve();
    assert_eq!(partition.overlay_bytes(), 0);
    partition.install(fetched);
    let reply = node.read(&mut partition, 3, &["GET", "key00002"]);
    assert_eq!(reply, bulk("new"));
    // written and taken back
    let dir = tempfile::tempdir().unwrap();
    let (mut node, mut partition, _) = cold(dir.path(), 10);
    assert_eq!(get(&mut partition, "key00003"), Err(Interrupt::Cold));
    let ticket = partition.fetch().unwrap();
    node.mutate(&mut partition, 4, &[&["SET", "key00003", "never"]]);
    node.wait_fetched(&mut partition, ticket);
    partition.truncate(partition.committed());
    assert_eq!(
        node.read(&mut partition, 4, &["GET", "key00003"]),
        bulk("old")
    );
}

#[test]
fn cached_rows_follow_writes_applications_and_changes_of_role() {
    let dir = tempfile::tempdir().unwrap();
    let (mut node, mut partition, _) = cold(dir.path(), 5);
    for round in 0..20u64 {
        let value: &'static str = Box::leak(round.to_string().into_boxed_str());
        node.mutate(&mut partition, round, &[&["SET", "key00001", value]]);
        assert_eq!(
            node.read(&mut partition, round, &["GET", "key00001"]),
            bulk(value)
        );
        partition.commit(partition.last());
        node.drain(&mut partition);
        partition.relieve();
        for _ in 0..2 {
            assert_eq!(
                node.read(&mut partition, round, &["GET", "key00001"]),
                bulk(value)
            );
        }
        if round % 3 == 0 {
            // as a secondary it takes a write that no cache hears of
            partition.demote();
            let other = tempfile::tempdir().unwrap();
            let mut elsewhere = Node::open(small(other.path()));
            let mut primary = elsewhere.partition(0);
            primary.promote();
            let mut written =
                elsewhere.mutate(&mut primary, round, &[&["SET", "key00001", "taken"]]);
            written.decree = partition.last().next();
            partition.stage(&written).unwrap();
            partition.commit(partition.last());
            node.drain(&mut partition);
            partition.promote();
            assert_eq!(
                node.read(&mut partition, round, &["GET", "key00001"]),
                bulk("taken")
            );
        }
    }
}

#[test]
fn a_cold_range_is_read_whole_in_both_directions() {
    let dir = tempfile::tempdir().unwrap();
    let (mut node, mut partition, mut model) = cold(dir.path(), 2000);
    model.push(node.mutate(
        &mut partition,
        2,
        &[
            &["SET", "key00500", "new"],
            &["DEL", "key00700"],
            &["SET", "more", "1"],
        ],
    ));
    let mut expected = model.rows();
    assert_eq!(node.rows(&mut partition, Direction::Forward), expected);
    expected.reverse();
    assert_eq!(node.rows(&mut partition, Direction::Backward), expected);
}

#[test]
fn a_partition_that_was_never_flushed_opens_nothing_to_find_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(small(dir.path()));
    let mut partitions: Vec<_> = (0..50).map(|index| node.partition(index)).collect();
    for partition in &mut partitions {
        partition.promote();
        node.mutate(partition, 1, &[&["SET", "a", "1"]]);
        partition.commit(Decree(1));
        assert_eq!(get(partition, "a"), Ok(bulk("1")));
        assert_eq!(get(partition, "b"), Ok(Reply::Nil));
    }
    assert_eq!(node.engine.stats().open, 0);
}
