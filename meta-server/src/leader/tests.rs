//! The leader over a store that fails.

use super::terms::{Terms, lead};
use super::*;
use crate::store::{EmbeddedStore, Led, MetadataStore, OpenError};
use placement::{Settings, TableSpecification};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::watch;

/// A store whose first write of a table fails, before or after it was made.
struct Flaky {
    store: EmbeddedStore,
    failure: Arc<AtomicU32>,
}

struct FlakyTerm<T> {
    term: T,
    failure: Arc<AtomicU32>,
}

const FAIL_BEFORE: u32 = 1;
const FAIL_AFTER: u32 = 2;

impl MetadataStore for Flaky {
    type Term = FlakyTerm<<EmbeddedStore as MetadataStore>::Term>;

    async fn lead(
        &self,
        leader: &watch::Sender<Option<String>>,
    ) -> Result<Led<Self::Term>, OpenError> {
        let led = self.store.lead(leader).await?;
        let failure = Arc::clone(&self.failure);
        Ok(Led {
            term: FlakyTerm {
                term: led.term,
                failure,
            },
            entries: led.entries,
            ended: led.ended,
        })
    }
}

impl<T: Term> Term for FlakyTerm<T> {
    fn epoch(&self) -> u64 {
        self.term.epoch()
    }

    async fn write(&mut self, writes: Vec<Write>) -> Result<(), WriteError> {
        let table = |write: &Write| matches!(write.key, placement::Key::Table(_));
        let failure = if writes.iter().any(table) {
            self.failure.swap(0, Ordering::SeqCst)
        } else {
            0
        };
        if failure != FAIL_BEFORE {
            self.term.write(writes).await?;
        }
        match failure {
            0 => Ok(()),
            _ => Err(WriteError::Failed(std::io::Error::other(
                "the disk is on fire",
            ))),
        }
    }
}

async fn ask<T>(
    commands: &mpsc::Sender<Command>,
    command: impl FnOnce(Reply<T>) -> Command,
) -> Option<Result<T, Status>> {
    let (reply, answer) = oneshot::channel();
    commands.send(command(reply)).await.unwrap();
    answer.await.ok()
}

/// A node joins; returns its stream's end of the queue.
async fn join(commands: &mpsc::Sender<Command>) -> mpsc::Receiver<Result<meta::ToNode, Status>> {
    let node = NodeId(1);
    let (feed, heard) = mpsc::channel(crate::streams::NODE_QUEUE);
    let (ends, _ended) = oneshot::channel();
    let address = NodeAddress {
        node,
        name: String::new(),
        grpc: String::new(),
        redis: String::new(),
        zone: String::new(),
    };
    let joined = ask(commands, |reply| Command::Join {
        address,
        incarnation: Incarnation(1),
        feed,
        ends,
        reply,
    });
    let session = joined.await.unwrap().unwrap();
    let event = Event::Reported {
        node,
        replicas: vec![],
        complete: true,
    };
    commands
        .send(Command::FromNode { session, event })
        .await
        .unwrap();
    heard
}

#[tokio::test]
async fn a_failed_write_ends_the_term_and_the_next_one_knows_what_is_stored() {
    for (failure, known) in [(FAIL_BEFORE, 0), (FAIL_AFTER, 1)] {
        let directory = tempfile::tempdir().unwrap();
        let flaky = Flaky {
            store: EmbeddedStore::open(directory.path()).unwrap(),
            failure: Arc::new(AtomicU32::new(failure)),
        };
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (stop, stops) = oneshot::channel();
        let terms = Terms {
            store: flaky,
            settings: Settings::default(),
            leader: watch::Sender::default(),
            commands: inbox,
            stop: stops,
        };
        let first = lead(&terms.store, &terms.settings, &terms.leader);
        let first = first.await.unwrap();
        let leader = tokio::spawn(terms.run(Some(first)));
        let mut heard = join(&commands).await;
        let request = Request::CreateTable(TableSpecification {
            name: "t".into(),
            partitions: 1,
            replicas: 1,
            durability: types::Durability::Sync,
            min_replicas: 0,
            password: String::new(),
            rules: types::TableRules::default(),
        });
        let answer = ask(&commands, |reply| Command::Change { request, reply }).await;
        assert!(
            answer.is_none(),
            "nobody knows whether it was done: {answer:?}"
        );
        while let Some(message) = heard.recv().await {
            message.unwrap();
        }
        let tables = loop {
            if let Some(tables) = ask(&commands, |reply| Command::Tables { reply }).await {
                break tables.unwrap();
            }
        };
        assert_eq!(tables.len(), known);
        join(&commands).await;
        drop(stop);
        leader.await.unwrap().unwrap();
    }
}
