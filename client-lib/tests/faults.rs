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

/// Breaks the stream at the first so many writes, done or not in turn.
fn breaking_writes(mut breaks: u32) -> impl FnMut(usize, &Request) -> Act + Send {
    move |_, request| {
        if !is_write(request) || breaks == 0 {
            return Act::Do;
        }
        breaks -= 1;
        if breaks.is_multiple_of(2) {
            Act::DoAndBreak
        } else {
            Act::Break
        }
    }
}

fn writes_received(cluster: &Cluster) -> Vec<Request> {
    let state = cluster.lock();
    let writes = state.received.iter().filter(|request| is_write(request));
    writes.cloned().collect()
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_sent_again_under_its_id_and_takes_effect_once() {
    let cluster = Cluster::usual(1);
    let table = cluster.client().await.table("t").await.unwrap();
    let counter = table.hash("h");
    cluster.script(breaking_writes(5));
    assert_eq!(counter.increment("n", 3).await.unwrap(), 3);
    assert_eq!(cluster.lock().table("t").partitions[0].log.len(), 1);
    let received = writes_received(&cluster);
    let ids: Vec<_> = received
        .iter()
        .map(|request| request.request_id.unwrap())
        .collect();
    assert_eq!(ids.len(), 6);
    assert_eq!(
        ids.iter().map(|id| id.again).collect::<Vec<_>>(),
        [false, true, true, true, true, true]
    );
    assert!(ids.iter().all(|id| {
        (id.client, id.sequence, id.sent) == (ids[0].client, ids[0].sequence, ids[0].sent)
    }));
    // and it is given up when it is answered
    assert_eq!(counter.increment("n", 1).await.unwrap(), 4);
    let next = writes_received(&cluster)[6].request_id.unwrap();
    assert_eq!((next.sequence, next.behind), (ids[0].sequence + 1, 0));
}

#[tokio::test]
async fn a_write_that_is_not_to_be_sent_again_is_of_unknown_outcome_when_its_connection_is_lost() {
    let cluster = Cluster::usual(1);
    let table = cluster.client().await.table("t").await.unwrap();
    let once = table.without_retries();
    cluster.script(breaking_writes(2));
    for value in ["v", "w"] {
        assert!(matches!(
            once.set("k", value).await,
            Err(Error::OutcomeUnknown(_))
        ));
    }
    // the same client goes on, and finds out what became of them: the second was done
    assert_eq!(table.get("k").await.unwrap().unwrap(), "w");
    let received = writes_received(&cluster);
    assert_eq!(received.len(), 2);
    assert!(received.iter().all(|request| request.request_id.is_none()));
}

#[tokio::test]
async fn a_write_that_is_lost_until_its_deadline_is_of_unknown_outcome() {
    let cluster = Cluster::usual(1);
    let table = impatient(&cluster).await;
    cluster.script(breaking_writes(u32::MAX));
    assert!(matches!(
        table.set("k", "v").await,
        Err(Error::OutcomeUnknown(_))
    ));
    // what is refused from then on says nothing of the attempt that was lost
    let mut broken = false;
    cluster.script(move |_, request| match (is_write(request), broken) {
        (false, _) => Act::Do,
        (true, false) => {
            broken = true;
            Act::Break
        }
        (true, true) => Act::Refuse(Refused::Busy, "too busy"),
    });
    assert_eq!(
        table.set("k", "w").await.map_err(|error| error.to_string()),
        Err("the outcome is unknown: not done before the deadline: too busy".into())
    );
}

#[tokio::test]
async fn a_write_of_an_applications_own_id_takes_effect_once_however_often_it_is_asked() {
    let cluster = Cluster::usual(1);
    let table = cluster.client().await.table("t").await.unwrap();
    let mut id = tulpar_client::RequestId::new(99, 5);
    id.made = support::CLOCK;
    let other = cluster.client().await.table("t").await.unwrap();
    let first = table.command_as(id, ["INCR", "n"]).await.unwrap();
    assert_eq!(other.command_as(id, ["INCR", "n"]).await.unwrap(), first);
    assert_eq!(cluster.lock().table("t").partitions[0].log.len(), 1);
    id.sequence = 4;
    assert!(matches!(
        table.command_as(id, ["INCR", "n"]).await,
        Err(Error::OutcomeUnknown(_))
    ));
}

#[tokio::test]
async fn a_refused_write_of_an_applications_own_id_may_have_been_done_by_an_earlier_attempt() {
    let cluster = Cluster::usual(1);
    let table = impatient(&cluster).await;
    let mut id = tulpar_client::RequestId::new(99, 5);
    id.made = support::CLOCK;
    cluster.script(|_, _| Act::Refuse(Refused::Busy, "too busy"));
    assert!(matches!(
        table.command_as(id, ["INCR", "n"]).await,
        Err(Error::OutcomeUnknown(_))
    ));
    assert!(matches!(
        table.command(["INCR", "n"]).await,
        Err(Error::Timeout(_))
    ));
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
    assert!(write.await.unwrap().is_ok());
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
async fn a_primary_that_is_deposed_with_a_write_in_flight_has_it_asked_for_again() {
    let cluster = Cluster::usual(1);
    let table = cluster.client().await.table("t").await.unwrap();
    let mut refusals = 2;
    cluster.script(move |_, request| {
        if is_write(request) && refusals > 0 {
            refusals -= 1;
            return Act::Refuse(Refused::OutcomeUnknown, "deposed");
        }
        Act::Do
    });
    assert_eq!(table.set("k", "v").await, Ok(()));
    assert!(writes_received(&cluster)[2].request_id.unwrap().again);
}

#[tokio::test]
async fn whoever_has_learnt_of_a_new_primary_asks_nobody_else() {
    let cluster = Cluster::usual(1);
    let table = cluster.client().await.table("t").await.unwrap();
    table.set("k", "v").await.unwrap();
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    cluster.script(move |server, _| {
        seen.lock().unwrap().push(server);
        Act::Do
    });
    cluster.take_over("t", 0, 1);
    // the first refusal tells of the new primary, the others of nothing new
    let reads: Vec<_> = (0..5).map(|_| submit(&table, 0, get("k"))).collect();
    for read in reads {
        assert_eq!(value(read.await.unwrap()).unwrap(), "v");
    }
    let asked = asked.lock().unwrap();
    let first_at_the_new = asked.iter().position(|&server| server == 1).unwrap();
    assert!(
        asked[..first_at_the_new].len() <= 5 && asked[first_at_the_new..] == [1; 5],
        "{asked:?}"
    );
}

/// Writes cannot be done for now; counts them.
fn unable(message: &'static str) -> impl FnMut(usize, &Request) -> Act + Send {
    move |_, request| {
        if is_write(request) {
            Act::Refuse(Refused::Unable, message)
        } else {
            Act::Do
        }
    }
}

#[tokio::test]
async fn reads_go_on_while_a_write_can_not_be_done() {
    let cluster = Cluster::usual(1);
    let table = cluster.client().await.table("t").await.unwrap();
    table.set("k", "v").await.unwrap();
    cluster.script(unable("NOREPLICAS 1 of the 2 members"));
    let mut write = std::pin::pin!(table.set("k", "w"));
    let reads = async {
        cluster
            .until("the write is refused", |state| state.received.len() > 1)
            .await;
        for _ in 0..100 {
            assert_eq!(table.get("k").await.unwrap().unwrap(), "v");
        }
    };
    tokio::select! {
        biased;
        outcome = &mut write => panic!("it ended before the reads: {outcome:?}"),
        () = reads => {}
    }
    cluster.script(|_, _| Act::Do);
    write.await.unwrap();
    assert_eq!(table.get("k").await.unwrap().unwrap(), "w");
}

#[tokio::test]
async fn writes_that_can_not_be_done_end_early_and_cost_one_request_each() {
    let cluster = Cluster::usual(1);
    let client = Client::connect(cluster.options().fail_early())
        .await
        .unwrap();
    let table = client.table("t").await.unwrap();
    cluster.script(unable("THROTTLED 5 writes a second"));
    let writes: Vec<_> = (0..200).map(|_| submit(&table, 0, set("k", "v"))).collect();
    let read = submit(&table, 0, get("k"));
    for write in writes {
        let refused = write.await.unwrap();
        assert_eq!(
            refused,
            Err(Error::Unavailable("THROTTLED 5 writes a second".into()))
        );
    }
    assert_eq!(value(read.await.unwrap()), None);
    assert_eq!(cluster.lock().received.len(), 201);
}

#[tokio::test]
async fn what_was_handed_over_in_an_order_keeps_it_when_it_can_not_be_done_at_first() {
    let cluster = Cluster::usual(1);
    let table = cluster.client().await.table("t").await.unwrap();
    let mut refusals = 3;
    cluster.script(move |_, request| {
        if is_write(request) && refusals > 0 {
            refusals -= 1;
            return Act::Refuse(Refused::Unable, "NOREPLICAS");
        }
        Act::Do
    });
    let operations = [set("k", "first"), get("k"), set("k", "second"), get("k")];
    let [first, one, second, two] = operations.map(|operation| submit(&table, 0, operation));
    assert!(first.await.unwrap().is_ok() && second.await.unwrap().is_ok());
    assert_eq!(value(one.await.unwrap()).unwrap(), "first");
    assert_eq!(value(two.await.unwrap()).unwrap(), "second");
}

#[tokio::test]
async fn what_a_server_says_for_good_reaches_the_caller_at_once() {
    let cluster = Cluster::usual(1);
    let table = cluster.client().await.table("t").await.unwrap();
    let mut answers = [
        Act::Refuse(Refused::Rejected, "WRONGTYPE Operation against a key"),
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
    let once = submit(&table.without_retries(), 0, set("once", "first"));
    let read = submit(&table, 0, get("k"));
    let other = submit(&table, 0, get("other"));
    cluster
        .until("the old primary has them", |state| {
            state.received.len() == 4
        })
        .await;
    cluster.take_over("t", 0, 1);
    cluster.announce();
    table.set("k", "second").await.unwrap();
    // what can be asked again went over, in its order
    assert!(write.await.unwrap().is_ok());
    assert_eq!(value(read.await.unwrap()).unwrap(), "first");
    assert_eq!(value(other.await.unwrap()), None);
    // and the old primary may still say how the other write ended
    cluster.release();
    assert!(once.await.unwrap().is_ok());
    assert_eq!(cluster.lock().table("t").partitions[0].log.len(), 3);
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
