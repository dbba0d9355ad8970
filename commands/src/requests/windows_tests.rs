//! Windows told as stories, and held against a naive model that forgets nothing.

use super::*;
use crate::memory::MemoryView;
use crate::requests::Attempt;
use proptest::prelude::*;
use std::ops::Range;

const START: Timestamp = Timestamp(1_000_000);

fn at(seconds: u64) -> Timestamp {
    Timestamp(START.0 + seconds * 1000)
}

fn id(client: u64, sequence: u64, first_incomplete: u64) -> RequestId {
    RequestId {
        client,
        sequence,
        first_incomplete,
        sent: START,
        attempt: Attempt::First,
    }
}

fn done(decree: u64, reply: Reply) -> Verdict {
    Verdict::Done {
        decree: Decree(decree),
        reply: Some(reply),
    }
}

fn fresh() -> Windows {
    Windows::new(&Budget::new(MOST))
}

fn restored(rows: &MemoryView, now: Timestamp) -> Windows {
    Windows::restore(&mut rows.clone(), now, &Budget::new(MOST)).unwrap()
}

#[test]
fn a_request_that_is_done_is_answered_and_not_repeated_before_and_after_its_mutation_is_closed() {
    let (mut windows, mut rows) = (fresh(), MemoryView::new());
    assert_eq!(windows.judge(&id(1, 5, 1), START), Verdict::New);
    windows.record(&id(1, 5, 1), Decree(9), &Reply::Integer(42));
    let first = done(9, Reply::Integer(42));
    assert_eq!(windows.judge(&id(1, 5, 1), START), first);
    windows.close(START, &mut rows);
    assert_eq!(windows.judge(&id(1, 5, 1), START), first);
    assert_eq!(windows.judge(&id(1, 4, 1), START), Verdict::New);
    assert_eq!(windows.judge(&id(2, 5, 1), START), Verdict::New);
}

#[test]
fn a_new_primary_knows_from_the_rows_what_was_done() {
    let (mut windows, mut rows) = (fresh(), MemoryView::new());
    windows.record(&id(1, 5, 1), Decree(9), &Reply::Integer(42));
    windows.record(&id(1, 6, 1), Decree(9), &Reply::Ok);
    windows.close(START, &mut rows);
    let mut windows = restored(&rows, START);
    assert_eq!(
        windows.judge(&id(1, 5, 1), START),
        done(0, Reply::Integer(42))
    );
    assert_eq!(windows.judge(&id(1, 6, 1), START), done(0, Reply::Ok));
    assert_eq!(windows.judge(&id(1, 7, 1), START), Verdict::New);
}

#[test]
fn what_an_open_mutation_did_is_not_done_if_it_never_comes_to_be() {
    let (mut windows, mut rows) = (fresh(), MemoryView::new());
    windows.record(&id(1, 1, 1), Decree(9), &Reply::Integer(1));
    windows.close(START, &mut rows);
    let before = windows.share.bytes();
    windows.record(&id(1, 2, 1), Decree(10), &Reply::Integer(2));
    windows.forget_open();
    assert!(!windows.is_open());
    assert_eq!(windows.share.bytes(), before);
    assert_eq!(windows.judge(&id(1, 2, 1), START), Verdict::New);
    assert_eq!(
        windows.judge(&id(1, 1, 1), START),
        done(9, Reply::Integer(1))
    );
    windows.record(&id(1, 3, 1), Decree(10), &Reply::Ok);
    windows.close(START, &mut rows);
    let mut again = restored(&rows, START);
    assert_eq!(again.judge(&id(1, 2, 1), START), Verdict::New);
    assert_eq!(again.judge(&id(1, 3, 1), START), done(0, Reply::Ok));
}

#[test]
fn a_hundred_plain_writes_of_one_client_cost_one_row_of_a_few_bytes() {
    let (mut windows, mut rows) = (fresh(), MemoryView::new());
    for sequence in 1..=100 {
        windows.record(&id(1, sequence, 1), Decree(9), &Reply::Ok);
    }
    windows.close(START, &mut rows);
    let sizes: Vec<usize> = rows
        .rows()
        .map(|(row, value)| row.len() + value.len())
        .collect();
    assert_eq!(sizes, [28]);
}

#[test]
fn a_steady_client_overwrites_its_rows_instead_of_leaving_tombstones() {
    #[derive(Default)]
    struct Counting(MemoryView, u32);
    impl View for Counting {
        fn get(&mut self, row: &[u8]) -> Result<Option<bytes::Bytes>, Interrupt> {
            self.0.get(row)
        }
        fn scan(
            &mut self,
            from: &[u8],
            to: &[u8],
            direction: Direction,
            visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
        ) -> Result<(), Interrupt> {
            self.0.scan(from, to, direction, visit)
        }
    }
    impl ViewMut for Counting {
        fn put(&mut self, row: &[u8], value: &[&[u8]]) {
            self.0.put(row, value);
        }
        fn delete(&mut self, row: &[u8]) {
            self.1 += 1;
            self.0.delete(row);
        }
        fn clear(&mut self) {
            self.0.clear();
        }
    }
    let (mut windows, mut rows) = (fresh(), Counting::default());
    for mutation in 0..1000u64 {
        for sequence in mutation * 10..mutation * 10 + 10 {
            // two mutations' worth of requests are in flight
            windows.record(
                &id(1, sequence, sequence.saturating_sub(20)),
                Decree(mutation),
                &Reply::Ok,
            );
        }
        windows.close(START, &mut rows);
    }
    assert!(rows.0.rows().count() <= 4, "{}", rows.0.rows().count());
    assert_eq!(rows.1, 0);
}

#[test]
fn what_the_sender_gave_up_is_refused_also_by_a_new_primary() {
    let (mut windows, mut rows) = (fresh(), MemoryView::new());
    windows.record(&id(1, 5, 1), Decree(9), &Reply::Ok);
    windows.record(&id(1, 8, 8), Decree(9), &Reply::Ok);
    windows.close(START, &mut rows);
    for mut windows in [restored(&rows, START), windows] {
        assert_eq!(windows.judge(&id(1, 5, 1), START), Verdict::TooLate);
        assert_eq!(windows.judge(&id(1, 7, 1), START), Verdict::TooLate);
        assert_eq!(windows.judge(&id(1, 9, 1), START), Verdict::New);
    }
}

#[test]
fn a_request_older_than_the_retry_window_is_refused_done_or_not() {
    let mut windows = fresh();
    windows.record(&id(1, 5, 1), Decree(9), &Reply::Ok);
    assert_eq!(windows.judge(&id(1, 5, 1), at(60)), done(9, Reply::Ok));
    assert_eq!(windows.judge(&id(1, 5, 1), at(61)), Verdict::TooLate);
    assert_eq!(windows.judge(&id(1, 6, 1), at(61)), Verdict::TooLate);
}

#[test]
fn windows_are_forgotten_after_their_life_and_their_rows_removed() {
    let (mut windows, mut rows) = (fresh(), MemoryView::new());
    windows.record(&id(1, 5, 1), Decree(9), &Reply::Ok);
    windows.close(START, &mut rows);
    windows.record(&id(2, 1, 1), Decree(10), &Reply::Ok);
    windows.close(at(601), &mut rows);
    windows.record(&id(2, 2, 2), Decree(11), &Reply::Ok);
    windows.close(at(602), &mut rows);
    assert!(!windows.clients.contains_key(&1));
    let of_client_1 = row::key(1, 0);
    assert!(rows.rows().all(|(row, _)| row[..] != of_client_1[..]));
    // and a primary that finds such rows on disk takes no notice but removes them
    rows.put(
        &of_client_1,
        &[&row::head(START, 1, &mut row::Done::default())],
    );
    let mut windows = restored(&rows, at(700));
    assert!(!windows.clients.contains_key(&1));
    windows.close(at(700), &mut rows);
    assert!(rows.rows().all(|(row, _)| row[..] != of_client_1[..]));
}

#[test]
fn a_client_that_comes_back_after_it_was_forgotten_keeps_its_new_rows() {
    let (mut windows, mut rows) = (fresh(), MemoryView::new());
    windows.record(&id(1, 5, 1), Decree(9), &Reply::Ok);
    windows.close(START, &mut rows);
    windows.sweep(8, LIFE, at(601));
    let again = RequestId {
        sent: at(601),
        ..id(1, 6, 6)
    };
    windows.record(&again, Decree(10), &Reply::Integer(7));
    windows.close(at(601), &mut rows);
    let mut windows = restored(&rows, at(601));
    assert_eq!(windows.judge(&again, at(601)), done(0, Reply::Integer(7)));
}

#[test]
fn a_new_primary_that_finds_dead_rows_beside_living_ones_keeps_what_it_writes_in_their_place() {
    let (mut windows, mut rows) = (fresh(), MemoryView::new());
    let request = |sequence, seconds| RequestId {
        sent: at(seconds),
        ..id(1, sequence, 1)
    };
    for (sequence, seconds) in [(5, 0), (6, 600)] {
        windows.record(&request(sequence, seconds), Decree(9), &Reply::Ok);
        windows.close(at(seconds), &mut rows);
    }
    let mut windows = restored(&rows, at(601));
    windows.record(&request(7, 601), Decree(11), &Reply::Ok);
    windows.close(at(601), &mut rows);
    let mut windows = restored(&rows, at(601));
    assert_eq!(windows.judge(&request(7, 601), at(601)), done(0, Reply::Ok));
}

#[test]
fn memory_is_bounded_and_quiet_clients_make_room() {
    let mut rows = MemoryView::new();
    let mut windows = Windows::with_most(10_000);
    let mut client = 0;
    while windows.judge(&id(client, 1, 1), START) == Verdict::New {
        windows.record(&id(client, 1, 1), Decree(9), &Reply::Ok);
        client += 1;
        windows.close(START, &mut rows);
    }
    assert!((10..100).contains(&client), "{client}");
    assert_eq!(windows.judge(&id(client, 1, 1), at(30)), Verdict::NoRoom);
    assert_eq!(
        windows.judge(&id(0, 1, 1), at(30)),
        done(9, Reply::Ok),
        "what is known is still told"
    );
    let later = RequestId {
        sent: at(130),
        ..id(client, 1, 1)
    };
    assert_eq!(windows.judge(&later, at(130)), Verdict::New);
    assert!(windows.share.bytes() < 1000);
}

/// How many more clients' requests these windows take.
fn fill(windows: &mut Windows, rows: &mut MemoryView, clients: Range<u64>) -> u64 {
    let mut taken = 0;
    for client in clients {
        if windows.judge(&id(client, 1, 1), START) == Verdict::NoRoom {
            break;
        }
        windows.record(&id(client, 1, 1), Decree(9), &Reply::Ok);
        windows.close(START, rows);
        taken += 1;
    }
    taken
}

#[test]
fn the_memory_of_a_node_is_bounded_and_who_has_little_is_not_refused_for_who_has_much() {
    let budget = Budget::new(100_000);
    let mut rows = MemoryView::new();
    let (mut much, mut little) = (Windows::new(&budget), Windows::new(&budget));
    let all = fill(&mut much, &mut rows, 0..1000);
    assert!((100..1000).contains(&all), "{all}");
    assert!(budget.taken() >= 100_000);
    assert_eq!(fill(&mut much, &mut rows, 1000..1001), 0);
    let part = fill(&mut little, &mut rows, 0..1000);
    assert!((all / 3..all * 2 / 3).contains(&part), "{part} of {all}");
    assert!(budget.taken() < 200_000);
    assert!(budget.is_short());
    for _ in 0..10 {
        much.relieve(at(130));
    }
    assert_eq!(budget.taken(), little.share.bytes());
    drop(much);
    assert_eq!(budget.taken(), little.share.bytes());
    assert!(fill(&mut little, &mut rows, 1000..2000) > 0);
    drop(little);
    assert_eq!(budget.taken(), 0);
}

#[test]
fn a_long_reply_is_not_kept_and_the_sender_is_told_that_it_was_done() {
    let (mut windows, mut rows) = (fresh(), MemoryView::new());
    windows.record(&id(1, 5, 1), Decree(9), &Reply::bulk(&vec![7; 1 << 20]));
    windows.close(START, &mut rows);
    let known = Verdict::Done {
        decree: Decree(9),
        reply: None,
    };
    assert_eq!(windows.judge(&id(1, 5, 1), START), known);
    assert!(windows.share.bytes() < 1000);
}

#[derive(Clone, Debug)]
enum Step {
    /// Of a client, this far from its newest sequence.
    Request {
        client: u64,
        back: u64,
    },
    /// The client gives up all but its newest so many.
    GiveUp {
        client: u64,
        keeps: u64,
    },
    Close,
    /// What was not closed is lost.
    Takeover,
    Pass {
        seconds: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0u64..3, 0u64..12).prop_map(|(client, back)| Step::Request { client, back }),
        3 => (0u64..3, 0u64..12).prop_map(|(client, keeps)| Step::GiveUp { client, keeps }),
        4 => Just(Step::Close),
        1 => Just(Step::Takeover),
        1 => (0u64..400).prop_map(|seconds| Step::Pass { seconds }),
    ];
    prop::collection::vec(step, 0..120)
}

/// What the naive model has of a request: everything.
#[derive(Clone)]
struct Known {
    reply: Reply,
    sent: Timestamp,
    closed: bool,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn each_request_takes_effect_once_and_is_answered_the_same_as_long_as_its_sender_may_ask(steps in steps()) {
        let (mut windows, mut rows) = (fresh(), MemoryView::new());
        let mut model: BTreeMap<(u64, u64), Known> = BTreeMap::new();
        let mut sent: BTreeMap<(u64, u64), Timestamp> = BTreeMap::new();
        let mut next = [10u64; 3];
        let mut first = [0u64; 3];
        let mut now = START;
        let mut effects = 0;
        for step in steps {
            match step {
                Step::Request { client, back } => {
                    let i = client as usize;
                    let sequence = next[i] - back.min(10);
                    next[i] = next[i].max(sequence + 1);
                    let request = RequestId {
                        client,
                        sequence,
                        first_incomplete: first[i].min(sequence),
                        sent: *sent.entry((client, sequence)).or_insert(now),
                        attempt: Attempt::Again,
                    };
                    let known = model.get(&(client, sequence));
                    let late = now.0 - request.sent.0 > 60_000;
                    match windows.judge(&request, now) {
                        Verdict::New => {
                            prop_assert!(known.is_none(), "it would take effect twice");
                            prop_assert!(!late);
                            effects += 1;
                            let reply = if sequence % 3 == 0 { Reply::Ok } else { Reply::Integer(effects) };
                            windows.record(&request, Decree(effects as u64), &reply);
                            model.insert((client, sequence), Known { reply, sent: request.sent, closed: false });
                        }
                        Verdict::Done { reply, .. } => {
                            prop_assert!(!late);
                            prop_assert_eq!(reply.as_ref(), known.map(|known| &known.reply));
                        }
                        Verdict::TooLate => prop_assert!(late || sequence < first[i]),
                        Verdict::NoRoom => prop_assert!(false, "there is room for three clients"),
                    }
                }
                Step::GiveUp { client, keeps } => {
                    let i = client as usize;
                    first[i] = first[i].max(next[i].saturating_sub(keeps));
                }
                Step::Close => {
                    windows.close(now, &mut rows);
                    for known in model.values_mut() {
                        known.closed = true;
                    }
                }
                Step::Takeover => {
                    windows = restored(&rows, now);
                    model.retain(|_, known| known.closed);
                }
                Step::Pass { seconds } => now = Timestamp(now.0 + seconds * 1000),
            }
            // what is asked again in time is answered as it was the first time
            for (&(client, sequence), known) in &model {
                let asked = RequestId { client, sequence, first_incomplete: 0, sent: known.sent, attempt: Attempt::Again };
                if sequence >= first[client as usize] && now.0 - known.sent.0 <= 60_000 {
                    match windows.judge(&asked, now) {
                        Verdict::Done { reply, .. } => prop_assert_eq!(reply.as_ref(), Some(&known.reply)),
                        other => prop_assert!(false, "{:?} for what is done", other),
                    }
                }
            }
            let cost: usize = windows.clients.values().map(Window::bytes).sum();
            prop_assert_eq!(windows.share.bytes(), cost);
        }
    }
}
