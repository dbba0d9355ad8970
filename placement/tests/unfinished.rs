//! Rebuilding a store in several batches: done when all of it is stored, and to be asked for again when it was cut off.

mod driver;

use driver::*;
use placement::{
    Action, Answered, Cluster, Document, Entry, Event, Key, Refusal, ReplicaReport, Request,
    Settings, Write,
};
use std::collections::BTreeMap;
use types::{PartitionId, TableId};

/// Pages of these are too much for one batch.
const PARTITIONS: u32 = 30_000;

/// A store, and the leader that writes to it.
struct Stored {
    driver: Driver,
    documents: BTreeMap<Key, (u64, Document)>,
    in_flight: Vec<Write>,
}

impl Stored {
    fn lead(documents: BTreeMap<Key, (u64, Document)>) -> Self {
        let entry = |(&key, (version, document)): (&Key, &(u64, Document))| Entry {
            key,
            version: *version,
            document: document.clone(),
        };
        let entries = documents.iter().map(entry).collect();
        let mut driver = Driver::new();
        driver.cluster = Cluster::restore(Settings::default(), EPOCH, entries, driver.now)
            .expect("a leader can begin with what is stored");
        driver.batch = 0;
        let mut stored = Self {
            driver,
            documents,
            in_flight: vec![],
        };
        stored.happens(Event::Tick { wall: wall(0) });
        stored
    }

    fn happens(&mut self, event: Event) -> Vec<Action> {
        let mut actions = self.driver.step(event);
        actions.retain(|action| match action {
            Action::Store { writes, .. } => {
                self.in_flight.clone_from(writes);
                false
            }
            _ => true,
        });
        actions
    }

    /// One batch becomes durable, if there is one.
    fn store(&mut self) -> Option<Vec<Action>> {
        if self.in_flight.is_empty() {
            return None;
        }
        for write in std::mem::take(&mut self.in_flight) {
            let version = self.documents.get(&write.key).map_or(0, |known| known.0);
            assert_eq!(version, write.expected, "{:?}", write.key);
            match write.document {
                Some(document) => self.documents.insert(write.key, (version + 1, document)),
                None => self.documents.remove(&write.key),
            };
        }
        let batch = placement::BatchId(self.driver.batch);
        Some(self.happens(Event::Stored { batch }))
    }

    /// Until nothing is to be stored any more. Whether somebody was told that it is done.
    fn store_all(&mut self) -> bool {
        let mut done = false;
        while let Some(actions) = self.store() {
            done |= is_done(&actions);
        }
        done
    }

    /// Node 1 joins: it alone has a large table.
    fn remembers(&mut self) {
        let has = |index| ReplicaReport {
            configuration: Some(configuration(4, 1, &[])),
            ..replica(PartitionId::new(1, index), 4)
        };
        self.happens(Event::NodeJoined {
            address: address(1),
            incarnation: types::Incarnation(1),
        });
        self.happens(Event::Knows {
            node: node(1),
            tables: vec![table(1, "t", PARTITIONS, 1)],
            nodes: vec![address(1)],
        });
        self.happens(Event::Reported {
            node: node(1),
            replicas: (0..PARTITIONS).map(has).collect(),
            complete: true,
        });
        self.store_all();
    }

    fn rebuild(&mut self, word: Option<String>) -> Option<Result<Answered, Refusal>> {
        let request = Request::Rebuild {
            missing: vec![],
            wall: wall(1),
            word,
        };
        answer_in(&self.ask(request))
    }

    fn ask(&mut self, request: Request) -> Vec<Action> {
        let token = placement::Token(9);
        self.happens(Event::Asked { token, request })
    }

    fn word(&mut self) -> String {
        match self.rebuild(None) {
            Some(Ok(Answered::Rebuild(told))) => told.word,
            other => panic!("{other:?}"),
        }
    }

    fn create(&mut self) -> Option<Result<Answered, Refusal>> {
        answer_in(&self.ask(Request::CreateTable(specification("new", 1, 1))))
    }
}

fn answer_in(actions: &[Action]) -> Option<Result<Answered, Refusal>> {
    actions.iter().find_map(|action| match action {
        Action::Answer { answer, .. } => Some(answer.clone()),
        _ => None,
    })
}

fn is_done(actions: &[Action]) -> bool {
    matches!(answer_in(actions), Some(Ok(Answered::Done)))
}

fn rebuilding() -> Stored {
    let mut store = Stored::lead(BTreeMap::new());
    store.remembers();
    let word = store.word();
    assert_eq!(store.rebuild(Some(word)), None, "it is not stored yet");
    store
}

fn check_whole(store: &Stored) {
    let routes = store.driver.cluster.routes(TableId(1)).expect("the table");
    let found = routes.configurations().flatten().count();
    assert_eq!(found, PARTITIONS as usize);
    let restored = Stored::lead(store.documents.clone());
    let tables: Vec<u32> = restored
        .driver
        .cluster
        .tables()
        .map(|one| one.id.0)
        .collect();
    assert_eq!(tables, [1]);
}

#[test]
fn a_rebuild_is_done_and_its_table_in_service_when_the_last_batch_is_stored() {
    let mut store = rebuilding();
    let mut batches = 0;
    loop {
        assert_eq!(store.driver.cluster.routes(TableId(1)).map(|_| ()), None);
        let refusal = store.create().expect("an answer").unwrap_err();
        assert!(refusal.to_string().contains("being stored"), "{refusal}");
        batches += 1;
        if is_done(&store.store().expect("there is more to store")) {
            break;
        }
    }
    assert!(batches >= 3, "{batches}");
    check_whole(&store);
}

#[test]
fn a_rebuild_that_was_cut_off_anywhere_can_be_asked_for_again() {
    for cut in 0.. {
        let mut store = rebuilding();
        let done = (0..cut).any(|_| store.store().is_some_and(|actions| is_done(&actions)));
        if done {
            assert!(cut >= 3, "{cut}");
            return;
        }
        // What is stored of it is removed, which is cut off, too.
        let mut store = Stored::lead(store.documents);
        store.store();
        let mut store = Stored::lead(store.documents);
        assert_eq!(store.driver.cluster.tables().count(), 0);
        assert!(!store.store_all());
        store.remembers();
        let word = store.word();
        assert_eq!(store.rebuild(Some(word)), None);
        assert!(store.store_all(), "cut after {cut} batches");
        check_whole(&store);
    }
}

#[test]
fn what_a_cut_off_rebuild_left_is_removed_before_anything_is_made() {
    let mut store = rebuilding();
    store.store();
    let mut store = Stored::lead(store.documents);
    store.happens(Event::NodeJoined {
        address: address(2),
        incarnation: types::Incarnation(1),
    });
    let refusal = store.create().expect("an answer").unwrap_err();
    assert!(refusal.to_string().contains("ask again"), "{refusal}");
    assert!(
        store
            .rebuild(Some("any".into()))
            .expect("an answer")
            .is_err()
    );
    store.store_all();
    let keys: Vec<Key> = store.documents.keys().copied().collect();
    assert!(
        !keys
            .iter()
            .any(|key| matches!(key, Key::Table(_) | Key::Page { .. })),
        "{keys:?}"
    );
}
