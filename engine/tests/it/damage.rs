//! What is left when the engine's own files were damaged between two lives: nothing is forgotten in silence.

use crate::harness::{Node, bulk, id, small};
use commands::Interrupt;
use engine::{EngineEvent, Haste, Memory, Scrubbed};
use std::path::{Path, PathBuf};
use types::Decree;

/// Two partitions with a row each, both on disk.
fn two_durable_partitions(dir: &Path) {
    let mut node = Node::open(small(dir));
    assert_eq!(node.engine.memory(), Memory::None);
    for index in 0..2 {
        let mut partition = node.partition(index);
        partition.promote();
        node.mutate(&mut partition, 1, &[&["SET", "key", "value"]]);
        partition.commit(Decree(1));
        node.make_durable(&mut partition);
    }
    node.engine.shutdown();
}

fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_str().unwrap().ends_with(ending) {
            found.push(path);
        }
    }
    found
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 4;
    std::fs::write(file, bytes).unwrap();
}

fn both_are_there(dir: &Path, memory: Memory) {
    let mut node = Node::open(small(dir));
    assert_eq!(node.engine.memory(), memory);
    for index in 0..2 {
        let mut partition = node.partition(index);
        partition.promote();
        assert_eq!(partition.durable(), Decree(1));
        let value = node.read(&mut partition, 1, &["GET", "key"]);
        assert_eq!(value, bulk("value"));
    }
    node.engine.shutdown();
}

#[test]
fn partitions_are_found_by_their_files_when_the_catalogue_is_gone_or_cut_short() {
    let dir = tempfile::tempdir().unwrap();
    two_durable_partitions(dir.path());
    let catalogue = dir.path().join("catalogue");
    let whole = std::fs::read(&catalogue).unwrap();
    std::fs::remove_file(&catalogue).unwrap();
    both_are_there(dir.path(), Memory::None);
    std::fs::write(&catalogue, &whole[..whole.len() / 2]).unwrap();
    both_are_there(dir.path(), Memory::Whole);
    std::fs::write(&catalogue, &whole).unwrap();
    flip(&catalogue, whole.len() - 20);
    both_are_there(dir.path(), Memory::Partial);
}

#[test]
fn a_partition_whose_files_are_gone_is_not_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    two_durable_partitions(dir.path());
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("scratch") {
            std::fs::remove_dir_all(path).unwrap();
        }
    }
    let mut node = Node::open(small(dir.path()));
    let mut partition = node.partition(0);
    partition.promote();
    let args = [&b"GET"[..], b"key"];
    let cold = partition.read(
        commands::resolve(&args).unwrap(),
        &args,
        types::Timestamp(1),
        0,
    );
    assert!(matches!(cold, Err(Interrupt::Cold)), "{cold:?}");
    assert!(partition.fetch().is_some());
    let failed = node.wait_for_failure();
    assert_eq!(failed, id(0));
}

#[test]
fn a_digest_over_a_damaged_table_says_that_the_partition_failed() {
    let dir = tempfile::tempdir().unwrap();
    two_durable_partitions(dir.path());
    for table in files(dir.path(), ".sst") {
        flip(&table, 10);
    }
    let mut node = Node::open(small(dir.path()));
    let mut partition = node.partition(0);
    let wanted = partition.digest(Decree(1), Haste::Now);
    let failed = node.wait_for_failure();
    assert_eq!(failed, id(0));
    let digest = node.wait_for(|event| match event {
        EngineEvent::Digested { ticket, digest, .. } if *ticket == wanted => Some(digest.clone()),
        _ => None,
    });
    assert!(digest.is_err());
}

/// Scrubs without a pause.
fn scrub(node: &Node, index: u32) -> Scrubbed {
    node.engine.scrub(id(index), &mut |_| true)
}

#[test]
fn a_scrub_finds_a_flipped_bit_under_an_open_partition_that_has_every_row_in_its_caches() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(small(dir.path()));
    let mut partition = node.partition(0);
    partition.promote();
    for decree in 1..=300u64 {
        let (key, value) = (format!("key {decree}"), "v".repeat(100));
        node.mutate(&mut partition, decree, &[&["SET", &key, &value]]);
        partition.commit(Decree(decree));
    }
    node.make_durable(&mut partition);
    for decree in 1..=300u64 {
        node.read(&mut partition, 400, &["GET", &format!("key {decree}")]);
    }
    let whole = scrub(&node, 0);
    assert!(
        matches!(whole, Scrubbed::Whole { bytes } if bytes > 1000),
        "{whole:?}"
    );
    let stopped = node.engine.scrub(id(0), &mut |_| false);
    assert_eq!(stopped, Scrubbed::Stopped);
    let tables = files(dir.path(), ".sst");
    assert!(!tables.is_empty());
    for table in &tables {
        flip_in_place(table, 1000);
    }
    let damaged = scrub(&node, 0);
    assert!(matches!(damaged, Scrubbed::Damaged { .. }), "{damaged:?}");
    assert_eq!(node.wait_for_failure(), id(0));
    assert_eq!(scrub(&node, 0), Scrubbed::Nothing);
    assert_eq!(scrub(&node, 7), Scrubbed::Nothing);
}

#[test]
fn an_idle_partition_is_opened_for_its_scrub_only() {
    let dir = tempfile::tempdir().unwrap();
    two_durable_partitions(dir.path());
    let node = Node::open(small(dir.path()));
    let _partitions = [node.partition(0), node.partition(1)];
    assert_eq!(node.engine.stats().open, 0);
    for index in 0..2 {
        assert!(matches!(scrub(&node, index), Scrubbed::Whole { .. }));
        assert_eq!(node.engine.stats().open, 0);
    }
    let scratch = dir.path().join("scratch");
    assert_eq!(std::fs::read_dir(scratch).unwrap().count(), 0);
}

/// The same file, not another of the same name.
fn flip_in_place(file: &Path, at: u64) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(file)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
}
