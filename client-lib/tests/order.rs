//! Requests handed over for one partition take effect in that order, once each, whatever the servers refuse, hand over or drop.
//!
//! A run is drawn from a seed, which a failure prints; `TULPAR_SEED=n` runs that one alone.

mod support;

use proto::data::{Get, Set, refusal::Kind as Refused, request::Operation, response};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;
use std::time::Duration;
use support::{Act, Cluster};
use tulpar_client::{Client, Completion, CompletionQueue, Error, Kind, Outcome};

const PARTITIONS: u32 = 4;
const REQUESTS: u64 = 3_000;

struct Sent {
    partition: u32,
    kind: Kind,
    outcome: Option<Outcome>,
}

fn seeds() -> Vec<u64> {
    match std::env::var("TULPAR_SEED") {
        Ok(seed) => vec![seed.parse().expect("TULPAR_SEED is a number")],
        Err(_) => (0..12).collect(),
    }
}

fn number(bytes: &[u8]) -> u64 {
    std::str::from_utf8(bytes).unwrap().parse().unwrap()
}

/// Submits reads and writes of one key per partition while the servers misbehave; gives all requests and, per partition, the writes that
/// took effect.
async fn run(seed: u64, chance_of_break: f64, chance_of_late: f64) -> (Vec<Sent>, Vec<Vec<u64>>) {
    println!("seed {seed}: replay with TULPAR_SEED={seed}");
    let cluster = Cluster::usual(PARTITIONS);
    cluster.lock().shuffle = Some(seed);
    let mut faults = SmallRng::seed_from_u64(seed ^ 0xFA);
    cluster.script(move |_, request| match faults.random_range(0.0..1.0) {
        _ if matches!(request.operation, Some(Operation::Get(_)))
            && faults.random_bool(chance_of_late) =>
        {
            Act::RefuseLate
        }
        roll if roll < 0.005 => Act::Refuse(Refused::Busy, "reconciling"),
        roll if roll < 0.008 => Act::Refuse(Refused::NotPrimary, "not yet"),
        roll if roll < 0.008 + chance_of_break => Act::DoAndBreak,
        roll if roll < 0.008 + 2.0 * chance_of_break => Act::Break,
        _ => Act::Do,
    });
    let options = cluster
        .options()
        .deadline(Duration::from_mins(1))
        .backoff(Duration::from_millis(1), Duration::from_millis(4));
    let table = Client::connect(options)
        .await
        .unwrap()
        .table("t")
        .await
        .unwrap();
    let mut random = SmallRng::seed_from_u64(seed);
    let queue = CompletionQueue::new();
    let mut requests = Vec::new();
    let mut outcomes = Vec::new();
    for token in 0..REQUESTS {
        let partition = random.random_range(0..PARTITIONS);
        let kind = if random.random_bool(0.5) {
            Kind::Read
        } else {
            Kind::Write
        };
        let operation = match kind {
            Kind::Read => Operation::Get(Get { key: "k".into() }),
            Kind::Write => Operation::Set(Set {
                key: "k".into(),
                value: token.to_string().into(),
                ttl: 0,
            }),
        };
        requests.push(Sent {
            partition,
            kind,
            outcome: None,
        });
        table.submit(
            partition,
            operation,
            kind,
            Completion::Queue {
                token,
                queue: Arc::clone(&queue),
            },
        );
        if random.random_bool(0.02) {
            // let batches of many sizes form
            queue.ready().await;
            queue.drain(&mut outcomes);
        }
        if random.random_bool(0.005) {
            cluster.take_over(
                "t",
                random.random_range(0..PARTITIONS) as usize,
                random.random_range(0..3),
            );
            if random.random_bool(0.5) {
                cluster.announce();
            }
        }
    }
    while outcomes.len() < requests.len() {
        queue.ready().await;
        queue.drain(&mut outcomes);
    }
    for (token, outcome) in outcomes {
        let before = requests[token as usize].outcome.replace(outcome);
        assert!(before.is_none(), "seed {seed}: request {token} ended twice");
    }
    let written = |operation: &Operation| match operation {
        Operation::Set(set) => number(&set.value),
        other => panic!("{other:?}"),
    };
    let mut state = cluster.lock();
    let partitions = state.table("t").partitions.iter();
    let logs = partitions
        .map(|partition| partition.log.iter().map(written).collect())
        .collect();
    drop(state);
    (requests, logs)
}

fn check(seed: u64, requests: &[Sent], logs: &[Vec<u64>]) {
    for (partition, log) in logs.iter().enumerate() {
        assert!(
            log.is_sorted_by(|a, b| a < b),
            "seed {seed}: partition {partition} took effect as {log:?}"
        );
        let mut acknowledged = None;
        for (token, sent) in requests
            .iter()
            .enumerate()
            .filter(|(_, sent)| sent.partition as usize == partition)
        {
            let token = token as u64;
            let took_effect = log.binary_search(&token).is_ok();
            match (sent.kind, sent.outcome.as_ref().expect("all have ended")) {
                (Kind::Write, Ok(_)) => {
                    assert!(
                        took_effect,
                        "seed {seed}: acknowledged write {token} is lost"
                    );
                    acknowledged = Some(token);
                }
                (Kind::Write, Err(Error::OutcomeUnknown(_))) => {}
                (Kind::Write, Err(error)) => assert!(
                    !took_effect,
                    "seed {seed}: write {token} took effect after {error}"
                ),
                (Kind::Read, Ok(response::Result::Value(value))) => {
                    let seen = value.found.then(|| number(&value.value));
                    assert!(
                        seen < Some(token),
                        "seed {seed}: read {token} saw the later write {seen:?}"
                    );
                    assert!(
                        seen >= acknowledged,
                        "seed {seed}: read {token} saw {seen:?}, before {acknowledged:?}"
                    );
                }
                (Kind::Read, Ok(other)) => panic!("seed {seed}: {other:?}"),
                (Kind::Read, Err(error)) => assert!(
                    matches!(error, Error::Unavailable(_)),
                    "seed {seed}: {error}"
                ),
            }
        }
    }
}

#[tokio::test]
async fn order_holds_through_refusals_and_takeovers_and_everything_is_done() {
    for seed in seeds() {
        let (requests, logs) = run(seed, 0.0, 0.0).await;
        check(seed, &requests, &logs);
        for (token, sent) in requests.iter().enumerate() {
            assert!(
                sent.outcome.as_ref().is_some_and(Result::is_ok),
                "seed {seed}: {token} ended as {:?}",
                sent.outcome
            );
        }
    }
}

#[tokio::test]
async fn order_holds_through_lost_connections_and_every_write_is_done_once() {
    for seed in seeds() {
        let (requests, logs) = run(seed, 0.002, 0.0).await;
        check(seed, &requests, &logs);
        for (token, sent) in requests.iter().enumerate() {
            // reads may have to give way to later writes that were lost
            assert!(
                sent.kind == Kind::Read || sent.outcome.as_ref().is_some_and(Result::is_ok),
                "seed {seed}: write {token} ended as {:?}",
                sent.outcome
            );
        }
    }
}

#[tokio::test]
async fn a_read_that_is_refused_after_later_writes_were_done_does_not_see_them() {
    let mut given_up = 0;
    for seed in seeds() {
        let (requests, logs) = run(seed, 0.0, 0.01).await;
        check(seed, &requests, &logs);
        for (token, sent) in requests.iter().enumerate() {
            let done = sent.outcome.as_ref().is_some_and(Result::is_ok);
            given_up += usize::from(!done);
            assert!(
                sent.kind == Kind::Read || done,
                "seed {seed}: write {token} ended as {:?}",
                sent.outcome
            );
        }
    }
    assert!(given_up > 0, "no read was in the way of a later write");
}
