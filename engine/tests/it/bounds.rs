//! Bounds: instances open at once, memory of overlays and memtables; and one broken partition among whole ones.

use crate::harness::{Node, args, bulk, id, small};
use commands::{Interrupt, resolve};
use engine::{Engine, EngineEvent, Hooks, Partition};
use std::sync::mpsc::channel;
use types::{Decree, SlotRange, Timestamp};

#[test]
fn many_partitions_are_served_by_few_open_instances() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = small(dir.path());
    options.max_open = 4;
    let mut node = Node::open(options.clone());
    let mut partitions: Vec<_> = (0..40).map(|index| node.partition(index)).collect();
    for partition in &mut partitions {
        partition.promote();
        let own = partition.id().to_string();
        node.mutate(partition, 1, &[&["SET", "own", &own]]);
        partition.commit(Decree(1));
        partition.relieve();
    }
    for partition in &mut partitions {
        node.drain(partition);
        assert!(node.engine.stats().open <= 4);
    }
    for _ in 0..2 {
        for partition in &mut partitions {
            partition.relieve();
            let own: &'static str = Box::leak(partition.id().to_string().into_boxed_str());
            assert_eq!(node.read(partition, 1, &["GET", "own"]), bulk(own));
            assert!(node.engine.stats().open <= 4);
        }
    }
}

#[test]
fn the_overlay_and_the_memtables_stay_within_their_budgets() {
    let dir = tempfile::tempdir().unwrap();
    let options = small(dir.path());
    let mut node = Node::open(options.clone());
    let mut partition = node.partition(0);
    partition.promote();
    let value = "v".repeat(1000);
    for i in 0..2000u64 {
        node.mutate(
            &mut partition,
            i,
            &[&["SET", &format!("key{}", i % 300), &value]],
        );
        partition.commit(Decree(i + 1));
        while node.engine.overloaded() {
            node.wait_for(|event| matches!(event, EngineEvent::Applied { .. }).then_some(()));
            partition.settle();
        }
        assert!(node.engine.stats().overlay <= options.overlay_budget + 8 * options.generation);
    }
    node.drain(&mut partition);
    node.make_durable(&mut partition);
    assert!(node.engine.stats().memtables <= options.memtable_limit);
}

#[test]
fn idle_partitions_are_asked_to_give_up_their_overlay() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(small(dir.path()));
    let mut idle = node.partition(0);
    idle.promote();
    let value = "v".repeat(600);
    for i in 0..50u64 {
        node.mutate(&mut idle, i, &[&["SET", &i.to_string(), &value]]);
    }
    let mut busy = node.partition(1);
    busy.promote();
    for i in 0..60u64 {
        node.mutate(&mut busy, i, &[&["SET", &i.to_string(), &value]]);
    }
    let asked = node.wait_for(|event| match event {
        EngineEvent::Relieve { partition } => Some(*partition),
        _ => None,
    });
    assert!([idle.id(), busy.id()].contains(&asked));
    idle.commit(idle.last());
    idle.relieve();
    node.drain(&mut idle);
    assert_eq!(idle.overlay_bytes(), 0);
    assert!(!node.read(&mut idle, 99, &["GET", "7"]).is_error());
}

#[test]
fn overlays_that_had_all_in_flight_when_they_were_asked_are_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = small(dir.path());
    // What is committed goes to disk by itself only when it is this much.
    options.generation = 4 * options.overlay_budget;
    let mut node = Node::open(options.clone());
    let mut partition = node.partition(0);
    partition.promote();
    let value = "v".repeat(options.overlay_budget / 8);
    let asked = |node: &mut Node, partition: &mut Partition| {
        node.wait_for(|event| matches!(event, EngineEvent::Relieve { .. }).then_some(()));
        partition.relieve();
    };
    for i in 0..9u64 {
        node.mutate(&mut partition, i, &[&["SET", &i.to_string(), &value]]);
        if i >= 6 {
            asked(&mut node, &mut partition);
        }
    }
    partition.commit(partition.last());
    // From here on writes are held back, and nothing grows.
    while node.engine.overloaded() {
        asked(&mut node, &mut partition);
    }
}

#[test]
fn a_broken_instance_fails_its_partition_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(small(dir.path()));
    for index in 0..2 {
        let mut partition = node.partition(index);
        partition.promote();
        node.mutate(&mut partition, 1, &[&["SET", "a", "1"]]);
        partition.commit(Decree(1));
        node.make_durable(&mut partition);
    }
    node.engine.shutdown();
    drop(node);
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("1.0-")
        {
            std::fs::write(path.join("CURRENT"), "MANIFEST-999999\n").unwrap();
        }
    }
    let (sender, events) = channel();
    let hooks = Hooks {
        events: Box::new(move |event| drop(sender.send(event))),
        sync_log: Box::new(|_, _| Ok(())),
        log_is_synced: Box::new(|_, _| true),
    };
    let engine = Engine::open(small(dir.path()), hooks).unwrap();
    let get = args(&["GET", "a"]);
    let spec = resolve(&get).unwrap();
    for index in 0..2 {
        let mut partition = engine.partition(id(index), SlotRange::ALL);
        partition.promote();
        assert_eq!(
            partition.read(spec, &get, Timestamp(1), 0).unwrap_err(),
            Interrupt::Cold
        );
        partition.fetch().unwrap();
        loop {
            match events.recv().unwrap() {
                EngineEvent::Failed { partition, .. } => assert_eq!(partition, id(0)),
                EngineEvent::Fetched(fetched) => break partition.install(fetched),
                _ => {}
            }
        }
        let read = partition.read(spec, &get, Timestamp(1), 0);
        if index == 0 {
            assert!(matches!(read, Err(Interrupt::Failed(_))));
        } else {
            assert_eq!(read.unwrap().reply, bulk("1"));
        }
    }
}
