//! What the module promises: order and bounds of replies.

use super::*;
use proptest::prelude::*;

fn sent(outbox: &Outbox) -> String {
    let mut bytes = Vec::new();
    let _ = outbox.send(|ready| {
        bytes.extend_from_slice(ready);
        Poll::Ready(Ok(ready.len()))
    });
    String::from_utf8(bytes).unwrap()
}

fn integer(number: u64) -> Answer {
    Answer::Reply(Reply::Integer(number as i64))
}

proptest! {
    #[test]
    fn replies_leave_in_order_whatever_order_they_come_in(order in Just((0..50u64).collect::<Vec<_>>()).prop_shuffle()) {
        let outbox = Outbox::new(&Limits::default());
        for number in 0..50 {
            prop_assert_eq!(outbox.start(100), Some(number));
        }
        let mut out = String::new();
        for number in order {
            outbox.answer(number, integer(number), Style::default());
            out += &sent(&outbox);
        }
        let expected: Vec<String> = (0..50).map(|number| format!(":{number}\r\n")).collect();
        prop_assert_eq!(out, expected.concat());
        prop_assert!(outbox.is_idle() && outbox.backlog() == 0);
    }
}

#[test]
fn few_commands_are_started_while_their_replies_are_large() {
    let limits = Limits::default();
    let outbox = Outbox::new(&limits);
    let started = |outbox: &Outbox| std::iter::from_fn(|| outbox.start(100)).count();
    assert_eq!(started(&outbox), limits.output_soft / FIRST_REPLIES);
    let large = Reply::bulk(&vec![0; limits.output_soft]);
    outbox.answer(0, Answer::Reply(large), Style::default());
    assert_eq!(started(&outbox), 0);
    sent_bytes(&outbox);
    assert_eq!(started(&outbox), 0);
    for number in 1..64 {
        outbox.answer(number, integer(number), Style::default());
    }
    sent_bytes(&outbox);
    assert!(started(&outbox) > 500);
}

fn sent_bytes(outbox: &Outbox) {
    let _ = outbox.send(|ready| Poll::Ready(Ok(ready.len())));
}

#[test]
fn replies_that_nobody_takes_end_the_connection_and_leave_no_memory() {
    let outbox = Outbox::new(&Limits {
        output_hard: 1000,
        ..Limits::default()
    });
    let first = outbox.start(100).unwrap();
    let second = outbox.start(100).unwrap();
    outbox.answer(
        second,
        Answer::Reply(Reply::bulk(&[0; 2000])),
        Style::default(),
    );
    assert!(outbox.is_overflowed());
    assert_eq!(outbox.backlog(), 0);
    outbox.answer(first, integer(1), Style::default());
    assert_eq!(outbox.backlog(), 0);
}

#[test]
fn malformed_bytes_from_another_server_become_an_error() {
    let outbox = Outbox::new(&Limits::default());
    let number = outbox.start(100).unwrap();
    outbox.answer(number, Answer::Encoded("$5\r\nab".into()), Style::default());
    assert_eq!(
        sent(&outbox),
        "-ERR another server sent a malformed reply\r\n"
    );
}

#[test]
fn large_commands_in_flight_are_bounded_by_their_bytes() {
    let outbox = Outbox::new(&Limits {
        max_in_flight_bytes: 100_000,
        ..Limits::default()
    });
    assert_eq!(outbox.start(1_000_000), Some(0));
    assert_eq!(outbox.start(10_000), None);
    assert_eq!(outbox.start(100), Some(1));
    outbox.answer(0, integer(0), Style::default());
    assert_eq!(outbox.start(90_000), Some(2));
    assert_eq!(outbox.start(20_000), None);
    outbox.unstart();
    assert_eq!(outbox.start(20_000), Some(2));
}
