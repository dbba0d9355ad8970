//! How single requests end when servers die, hang, refuse or forget.

mod support;

use proto::data::{Get, Request, Set, refusal::Kind as Refused, request::Operation, response};
use std::sync::Arc;
use std::time::Duration;
use support::{Act, Cluster};
use tokio::sync::oneshot;
use tulpar_client::{Client, Completion, CompletionQueue, Error, Kind, Outcome, Table};

fn get(key: &'static str) -> Operation {
    Operation::Get(Get { key: key.into() })
}

fn set(key: &'static str, value: &'static str) -> Operation {
    Operation::Set(Set {
        key: key.into(),
        value: value.into(),
        ttl: 0,
    })
}

fn submit(table: &Table, partition: u32, operation: Operation) -> oneshot::Receiver<Outcome> {
    let kind = if matches!(operation, Operation::Get(_)) {
        Kind::Read
    } else {
        Kind::Write
    };
    let (sender, receiver) = oneshot::channel();
    table.submit(partition, operation, kind, Completion::Oneshot(sender));
    receiver
}

fn value(outcome: Outcome) -> Option<String> {
    match outcome {
        Ok(response::Result::Value(value)) => value
            .found
            .then(|| String::from_utf8(value.value.to_vec()).unwrap()),
        other => panic!("{other:?}"),
    }
}

fn is_write(request: &Request) -> bool {
    !matches!(request.operation, Some(Operation::Get(_)))
}

async fn impatient(cluster: &Cluster) -> Table {
    let options = cluster.options().deadline(Duration::from_millis(500));
    Client::connect(options)
        .await
        .unwrap()
        .table("t")
        .await
        .unwrap()
}

#[tokio::test]
async fn a_write_in_flight_on_a_lost_connection_is_never_sent_again() {
    let cluster = Cluster::usual(1);
    let table = cluster.client().await.table("t").await.unwrap();
    cluster.script(|_, request| {
        if is_write(request) {
            Act::DoAndBreak
        } else {
            Act::Do
        }
    });
    assert!(matches!(
        table.set("k", "v").await,
        Err(Error::OutcomeUnknown(_))
    ));
    cluster.script(|_, request| {
        if is_write(request) {
            Act::Break
        } else {
            Act::Do
        }
    });
    assert!(matches!(
        table.set("k", "w").await,
        Err(Error::OutcomeUnknown(_))
    ));
    // the same client goes on, and finds out what became of them
    assert_eq!(table.get("k").await.unwrap().unwrap(), "v");
    assert_eq!(
        cluster
            .lock()
            .received
            .iter()
            .filter(|request| is_write(request))
            .count(),
        2
    );
}

#[tokio::test]
async fn a_read_in_flight_on_a_lost_connection_is_sent_again() {
    let cluster = Cluster::usual(1);
    let table = cluster.client().await.table("t").await.unwrap();
    table.set("k", "v").await.unwrap();
    let mut breaks = 3;
    cluster.script(move |_, _| {
        breaks -= 1;
        if breaks >= 0 { Act::Break } else { Act::Do }
    });
    assert_eq!(table.get("k").await.unwrap().unwrap(), "v");
}

#[tokio::test]
async fn a_read_is_not_moved_behind_a_later_write_that_was_lost() {
    let cluster = Cluster::usual(1);
    let table = cluster.client().await.table("t").await.unwrap();
    table.set("k", "old").await.unwrap();
    table.set("other", "old").await.unwrap();
    let mut broken = false;
    cluster.script(move |_, request| match (broken, is_write(request)) {
        (true, _) => Act::Do,
        (false, false) => Act::Swallow,
        (false, true) => {
            broken = true;
            Act::DoAndBreak
        }
    });
    let before = submit(&table, 0, get("k"));
    let elsewhere = submit(&table, 0, get("other"));
    let write = submit(&table, 0, set("k", "new"));
    let after = submit(&table, 0, get("k"));
    assert!(matches!(before.await.unwrap(), Err(Error::Unavailable(_))));
    assert_eq!(value(elsewhere.await.unwrap()).unwrap(), "old");
    assert!(matches!(
        write.await.unwrap(),
        Err(Error::OutcomeUnknown(_))
    ));
    assert_eq!(value(after.await.unwrap()).unwrap(), "new");
}

#[tokio::test]
async fn a_refusal_that_lasts_ends_at_the_deadline_with_the_servers_reason_and_no_effect() {
    let cluster = Cluster::usual(1);
    let table = impatient(&cluster).await;
    table.get("k").await.unwrap();
    cluster.script(|_, _| Act::Refuse(Refused::Busy, "1 of 2 members alive"));
    assert_eq!(
        table.set("k", "v").await,
        Err(Error::Timeout("1 of 2 members alive".into()))
    );
    assert_eq!(
        table.get("k").await,
        Err(Error::Timeout("1 of 2 members alive".into()))
    );
    assert!(cluster.lock().table("t").partitions[0].log.is_empty());
    cluster.script(|_, _| Act::Do);
    table.set("k", "v").await.unwrap();
}

#[tokio::test]
async fn without_an_answer_a_write_is_of_unknown_outcome_and_a_read_timed_out() {
    let cluster = Cluster::usual(1);
    let table = impatient(&cluster).await;
    table.get("k").await.unwrap();
    cluster.script(|_, _| Act::Swallow);
    assert!(matches!(
        table.set("k", "v").await,
        Err(Error::OutcomeUnknown(_))
    ));
    assert!(matches!(table.get("k").await, Err(Error::Timeout(_))));
    cluster.script(|_, _| Act::Do);
    assert_eq!(table.get("k").await.unwrap().unwrap(), "v");
}

#[tokio::test]
async fn what_a_server_says_for_good_reaches_the_caller_at_once() {
    let cluster = Cluster::usual(1);
    let table = cluster.client().await.table("t").await.unwrap();
    let mut answers = [
        Act::Refuse(Refused::Rejected, "WRONGTYPE Operation against a key"),
        Act::Refuse(Refused::OutcomeUnknown, "deposed"),
        Act::Refuse(Refused::Unknown, "from a newer version"),
        Act::Refuse(Refused::NoSuchTable, "t"),
    ]
    .into_iter();
    cluster.script(move |_, _| answers.next().unwrap_or(Act::Do));
    assert_eq!(
        table.set("k", "v").await,
        Err(Error::Rejected("WRONGTYPE Operation against a key".into()))
    );
    assert_eq!(
        table.set("k", "v").await,
        Err(Error::OutcomeUnknown("deposed".into()))
    );
    assert_eq!(
        table.set("k", "v").await,
        Err(Error::OutcomeUnknown("from a newer version".into()))
    );
    assert_eq!(
        table.set("k", "v").await,
        Err(Error::NoSuchTable("t".into()))
    );
    assert_eq!(table.set("k", "v").await, Ok(()));
}

#[tokio::test]
async fn a_killed_primary_is_replaced_by_what_a_secondary_knows_with_no_meta_server() {
    let mut cluster = Cluster::usual(1);
    let table = cluster.client().await.table("t").await.unwrap();
    table.set("k", "v").await.unwrap();
    cluster.kill_meta(0);
    cluster.kill_server(0);
    cluster.take_over("t", 0, 2);
    assert_eq!(table.get("k").await.unwrap().unwrap(), "v");
    table.set("k", "w").await.unwrap();
    let route = table.route_of(0).unwrap();
    assert_eq!((route.ballot.0, route.primary.0), (2, support::node(2)));
}

#[tokio::test]
async fn a_primary_that_hangs_does_not_hold_up_what_comes_after_its_successor() {
    let cluster = Cluster::usual(1);
    let table = cluster.client().await.table("t").await.unwrap();
    cluster.script(|server, request| match server {
        0 if is_write(request) => Act::Hold,
        0 => Act::Swallow,
        _ => Act::Do,
    });
    let write = submit(&table, 0, set("k", "first"));
    let read = submit(&table, 0, get("k"));
    let other = submit(&table, 0, get("other"));
    cluster
        .until("the old primary has them", |state| {
            state.received.len() == 3
        })
        .await;
    cluster.take_over("t", 0, 1);
    cluster.announce();
    table.set("k", "second").await.unwrap();
    // reads went over, in their order
    assert_eq!(value(read.await.unwrap()).unwrap(), "first");
    assert_eq!(value(other.await.unwrap()), None);
    // and the old primary may still say how its write ended
    cluster.release();
    assert!(write.await.unwrap().is_ok());
    assert_eq!(cluster.lock().table("t").partitions[0].log.len(), 2);
}

#[tokio::test]
async fn a_server_that_comes_back_elsewhere_is_found_again() {
    let mut cluster = Cluster::usual(3);
    let table = cluster.client().await.table("t").await.unwrap();
    for server in 0..3 {
        cluster.restart_server(server);
        cluster.announce();
        for partition in 0..3 {
            assert_eq!(
                submit(&table, partition, set("k", "v"))
                    .await
                    .unwrap()
                    .map(drop),
                Ok(())
            );
        }
    }
}

#[tokio::test]
async fn what_is_in_flight_is_bounded_and_calls_beyond_wait_their_turn() {
    let cluster = Cluster::usual(1);
    let client = Client::connect(cluster.options().max_in_flight(10, 1 << 20))
        .await
        .unwrap();
    let table = client.table("t").await.unwrap();
    cluster.script(|_, _| Act::Hold);
    let queue = CompletionQueue::new();
    for token in 0..25 {
        table.submit(
            0,
            set("k", "v"),
            Kind::Write,
            Completion::Queue {
                token,
                queue: Arc::clone(&queue),
            },
        );
    }
    let mut outcomes = Vec::new();
    queue.ready().await;
    queue.drain(&mut outcomes);
    assert_eq!(
        outcomes.iter().map(|(token, _)| *token).collect::<Vec<_>>(),
        (10..25).collect::<Vec<_>>()
    );
    assert!(
        outcomes
            .iter()
            .all(|(_, outcome)| matches!(outcome, Err(Error::Unavailable(_))))
    );
    let waiting = tokio::spawn(async move { table.set("k", "waited").await });
    cluster
        .until("ten were received", |state| state.received.len() == 10)
        .await;
    cluster.script(|_, _| Act::Do);
    cluster.release();
    assert_eq!(waiting.await.unwrap(), Ok(()));
    outcomes.clear();
    while outcomes.len() < 10 {
        queue.ready().await;
        queue.drain(&mut outcomes);
    }
    assert!(outcomes.iter().all(|(_, outcome)| outcome.is_ok()));
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_nothing_behind() {
    let cluster = Cluster::usual(1);
    let client = Client::connect(cluster.options().max_in_flight(1, 1 << 20))
        .await
        .unwrap();
    let table = client.table("t").await.unwrap();
    cluster.script(|_, _| Act::Hold);
    let dropped = table.clone();
    let call = tokio::spawn(async move { dropped.set("k", "v").await });
    cluster
        .until("it was received", |state| state.received.len() == 1)
        .await;
    call.abort();
    cluster.script(|_, _| Act::Do);
    cluster.release();
    // there is room again only when the answer was taken in
    assert_eq!(table.get("k").await.unwrap().unwrap(), "v");
}
