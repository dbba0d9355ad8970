//! Rows of request ids: they travel with the effects of their mutation, survive everything that keys do, and FLUSHDB besides.

use crate::harness::{BALLOT, Node, mutation, small};
use commands::Reply;
use commands::requests::{Attempt, Budget, RequestId, Verdict, Windows};
use engine::Partition;
use types::{Decree, Mutation, Timestamp};

fn request(sequence: u64) -> RequestId {
    RequestId {
        client: 7,
        sequence,
        first_incomplete: 1,
        sent: Timestamp(1),
        attempt: Attempt::First,
    }
}

/// One mutation of a command that has an id.
fn named(
    node: &mut Node,
    partition: &mut Partition,
    windows: &mut Windows,
    sequence: u64,
    command: &[&str],
) -> Mutation {
    let decree = partition.last().next();
    partition.begin(BALLOT, decree, Timestamp(1));
    let reply = node.write(partition, command);
    windows.record(&request(sequence), decree, &reply);
    partition
        .write_own(|rows| windows.close(Timestamp(1), rows))
        .unwrap();
    mutation(partition.seal().unwrap())
}

fn restored(node: &mut Node, partition: &mut Partition) -> Windows {
    node.warmly(partition, |partition| {
        partition
            .view(Timestamp(1), 0, |view, moment| {
                Windows::restore(view, moment.now, &Budget::new(1 << 20))
            })
            .map(|(windows, _)| windows)
    })
}

fn is_done(windows: &mut Windows, sequence: u64, reply: Reply) {
    let known = Verdict::Done {
        decree: Decree::ZERO,
        reply: Some(reply),
    };
    assert_eq!(windows.judge(&request(sequence), Timestamp(1)), known);
}

#[test]
fn what_was_done_is_known_to_a_secondary_that_takes_over_and_after_a_restart_and_a_flush() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(small(dir.path()));
    let (mut primary, mut secondary) = (node.partition(0), node.partition(1));
    primary.promote();
    let mut windows = Windows::new(&Budget::new(1 << 20));
    let commands: [&[&str]; 3] = [&["INCR", "n"], &["FLUSHDB"], &["INCR", "n"]];
    for (sequence, command) in (1..).zip(commands) {
        let mutation = named(&mut node, &mut primary, &mut windows, sequence, command);
        secondary.stage(&mutation).unwrap();
    }
    primary.commit(Decree(3));
    secondary.commit(Decree(3));
    secondary.promote();
    for partition in [&mut primary, &mut secondary] {
        let mut windows = restored(&mut node, partition);
        is_done(&mut windows, 1, Reply::Integer(1));
        is_done(&mut windows, 2, Reply::Ok);
        is_done(&mut windows, 3, Reply::Integer(1));
        assert_eq!(windows.judge(&request(4), Timestamp(1)), Verdict::New);
    }
    node.make_durable(&mut primary);
    drop((primary, secondary, node));
    let mut node = Node::open(small(dir.path()));
    let mut partition = node.partition(0);
    partition.promote();
    let mut windows = restored(&mut node, &mut partition);
    is_done(&mut windows, 2, Reply::Ok);
    // one that forgets its keys does not forget its requests
    named(&mut node, &mut partition, &mut windows, 4, &["FLUSHDB"]);
    partition.commit(Decree(4));
    node.drain(&mut partition);
    let mut windows = restored(&mut node, &mut partition);
    is_done(&mut windows, 3, Reply::Integer(1));
    is_done(&mut windows, 4, Reply::Ok);
}
