//! Walks by position: nothing that stays is missed, pages are small, elements and expired keys are passed over.

mod support;

use bytes::Bytes;
use commands::hash::range::{Range, range};
use commands::scan::{ScanRequest, count_keys, keys_in_slot, scan_fields, scan_keys};
use commands::{
    Direction::{Backward, Forward},
    Reply,
};
use std::collections::BTreeSet;
use std::ops::Bound::{self, Excluded, Included, Unbounded};
use support::Partition;
use types::{Slot, SlotRange};

fn request(count: usize) -> ScanRequest<'static> {
    ScanRequest {
        cursor: 0,
        pattern: None,
        count,
        kind: None,
        with_values: true,
    }
}

fn text(reply: &Reply) -> String {
    match reply {
        Reply::Bulk(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        other => panic!("{other:?} is no string"),
    }
}

fn filled() -> Partition {
    let mut partition = Partition::default();
    for number in 0..200 {
        partition.run(&format!("SET string{number} v"));
        partition.run(&format!("HSET hash{number} f v g w"));
        partition.run(&format!("SET {{one}}{number} v"));
        partition.run(&format!("SET gone{number} v PX 1"));
    }
    partition.advance(1);
    partition
}

#[test]
fn pages_of_keys_are_bounded_and_together_show_every_key_once() {
    let mut partition = filled();
    for count in [1, 7, 1000] {
        let mut seen = Vec::new();
        let mut position = None::<Bytes>;
        loop {
            let at = position.as_deref();
            let page =
                scan_keys(at, &request(count), &mut partition.open, &partition.moment).unwrap();
            assert!(page.items.len() <= count);
            seen.extend(page.items.iter().map(text));
            position = page.next;
            if position.is_none() {
                break;
            }
        }
        assert_eq!(seen.len(), 600);
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 600);
    }
}

#[test]
fn a_walk_goes_on_although_its_position_was_deleted() {
    let mut partition = filled();
    let page = scan_keys(None, &request(10), &mut partition.open, &partition.moment).unwrap();
    let position = page.next.unwrap();
    let Reply::Integer(deleted) = partition.evaluate(&[b"DEL", &position[3..]]).reply else {
        panic!("DEL answers a number");
    };
    let rest = scan_keys(
        Some(&position),
        &request(1000),
        &mut partition.open,
        &partition.moment,
    )
    .unwrap();
    assert_eq!(rest.items.len(), 600 - page.items.len() - deleted as usize);
    assert_eq!(rest.next, None);
}

#[test]
fn a_partition_shows_keys_of_its_own_slots_only() {
    let mut partition = filled();
    let slot = Slot::of(b"{one}");
    partition.moment.slots = SlotRange {
        first: slot,
        last: slot,
    };
    let page = scan_keys(None, &request(1000), &mut partition.open, &partition.moment).unwrap();
    let inside = page.items.len();
    assert!((200..250).contains(&inside), "{inside}");
    assert_eq!(partition.run("DBSIZE"), Reply::Integer(inside as i64));
    let keys = keys_in_slot(slot, 1000, &mut partition.open, &partition.moment).unwrap();
    assert_eq!(keys.len(), inside);
    let few = keys_in_slot(slot, 3, &mut partition.open, &partition.moment).unwrap();
    assert_eq!(few, keys[..3]);
    let count = count_keys(
        partition.moment.slots,
        &mut partition.open,
        &partition.moment,
    )
    .unwrap();
    assert_eq!((count.keys, count.exact), (inside as u64, true));
}

#[test]
fn pages_of_fields_are_bounded_and_go_on_by_name() {
    let mut partition = Partition::default();
    for number in 0..100 {
        partition.run(&format!("HSET h field{number:03} {number}"));
    }
    partition.run("HPEXPIRE h 1 FIELDS 2 field050 field051");
    partition.advance(1);
    let mut seen = Vec::new();
    let mut position = None::<Bytes>;
    loop {
        let at = position.as_deref();
        let page = scan_fields(
            b"h",
            at,
            &request(9),
            &mut partition.open,
            &partition.moment,
        )
        .unwrap()
        .unwrap();
        assert!(page.items.len() <= 18);
        seen.extend(page.items.iter().map(text));
        position = page.next;
        if position.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 2 * 98);
    partition.run("SET s v");
    let refused = scan_fields(
        b"s",
        None,
        &request(9),
        &mut partition.open,
        &partition.moment,
    )
    .unwrap();
    assert_eq!(refused, Err(Reply::wrong_type()));
}

#[test]
fn ranges_are_ordered_by_bytes_from_either_end_and_go_on_behind_the_last_field() {
    let mut partition = Partition::default();
    partition.run("HSET h '' 0 a 1 b 2 ba 3 c 4");
    let mut read = |from: Bound<&str>, to: Bound<&str>, direction, limit| {
        let asked = Range {
            from: from.map(str::as_bytes),
            to: to.map(str::as_bytes),
            direction,
            limit,
        };
        let page = range(b"h", &asked, &mut partition.open, &partition.moment)
            .unwrap()
            .unwrap();
        let names = page
            .items
            .iter()
            .map(|item| String::from_utf8(item.field.to_vec()).unwrap());
        (
            names.collect::<Vec<_>>(),
            page.next
                .map(|next| String::from_utf8(next.to_vec()).unwrap()),
        )
    };
    let names = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        read(Unbounded, Unbounded, Forward, 9),
        (names(&["", "a", "b", "ba", "c"]), None)
    );
    assert_eq!(
        read(Unbounded, Unbounded, Forward, 2),
        (names(&["", "a"]), Some("a".into()))
    );
    assert_eq!(
        read(Excluded("a"), Unbounded, Forward, 2),
        (names(&["b", "ba"]), Some("ba".into()))
    );
    assert_eq!(
        read(Included("a"), Excluded("ba"), Forward, 9),
        (names(&["a", "b"]), None)
    );
    assert_eq!(
        read(Included("a"), Included("ba"), Backward, 2),
        (names(&["ba", "b"]), Some("b".into()))
    );
    assert_eq!(
        read(Included("a"), Excluded("b"), Backward, 2),
        (names(&["a"]), None)
    );
    assert_eq!(
        read(Included("c"), Included("a"), Forward, 2),
        (names(&[]), None)
    );
    assert_eq!(read(Unbounded, Unbounded, Forward, 0), (names(&[]), None));
}

#[test]
fn random_draws_reach_every_key_and_field() {
    let mut partition = Partition::default();
    for number in 0..20 {
        partition.run(&format!("SET key{number} v"));
        partition.run(&format!("HSET {{h}} f{number} v"));
    }
    let mut keys = BTreeSet::new();
    let mut fields = BTreeSet::new();
    for seed in 0..2000 {
        partition.moment.random = seed;
        keys.insert(text(&partition.run("RANDOMKEY")));
        fields.insert(text(&partition.run("HRANDFIELD {h}")));
        let Reply::Array(three) = partition.run("HRANDFIELD {h} 3") else {
            panic!("HRANDFIELD with a count answers an array");
        };
        assert_eq!(three.iter().map(text).collect::<BTreeSet<_>>().len(), 3);
    }
    assert_eq!((keys.len(), fields.len()), (21, 20));
    let Reply::Pairs(pairs) = partition.run("HRANDFIELD {h} -50 WITHVALUES") else {
        panic!("HRANDFIELD with values answers pairs");
    };
    assert_eq!(pairs.len(), 50);
}

#[test]
fn malformed_scans_get_the_texts_of_redis() {
    let mut partition = Partition::default();
    for (command, expected) in [
        ("SCAN x", "ERR invalid cursor"),
        ("SCAN 0 COUNT 0", "ERR syntax error"),
        (
            "SCAN 0 COUNT x",
            "ERR value is not an integer or out of range",
        ),
        ("SCAN 0 MATCH", "ERR syntax error"),
        ("HSCAN h 0 TYPE string", "ERR syntax error"),
        (
            "HSCAN h",
            "ERR wrong number of arguments for 'hscan' command",
        ),
    ] {
        assert_eq!(partition.run(command), Reply::error(expected), "{command}");
    }
}
