//! What is left when the engine's own files were damaged between two lives: nothing is forgotten in silence.

use crate::harness::{Node, bulk, id, small};
use commands::Interrupt;
use engine::{EngineEvent, Memory};
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
    let wanted = partition.digest(Decree(1));
    let failed = node.wait_for_failure();
    assert_eq!(failed, id(0));
    let digest = node.wait_for(|event| match event {
        EngineEvent::Digested { ticket, digest, .. } if *ticket == wanted => Some(digest.clone()),
        _ => None,
    });
    assert!(digest.is_err());
}
