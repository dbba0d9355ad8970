//! Fields that expire: the examples of Redis' documentation, its error texts, and random histories against a plain model.

mod support;

use proptest::prelude::*;
use std::collections::BTreeMap;
use support::{Partition, shown, story};

#[test]
fn the_documented_examples_of_the_family_hold() {
    story(
        &mut Partition::at(1_715_704_971_000),
        "HEXPIRE no-key 20 NX FIELDS 2 field1 field2 -> [-2 -2]
         HSET mykey field1 hello field2 world -> 2
         HEXPIRE mykey 10 FIELDS 3 field1 field2 field3 -> [1 1 -2]
         HGETALL mykey -> ['field1' 'hello' 'field2' 'world']
         HTTL mykey FIELDS 3 field1 field2 field3 -> [10 10 -2]
         HPTTL mykey FIELDS 1 field1 -> [10000]
         HEXPIRETIME mykey FIELDS 2 field1 field3 -> [1715704981 -2]
         HPEXPIRETIME mykey FIELDS 1 field2 -> [1715704981000]
         HPERSIST mykey FIELDS 2 field1 field3 -> [1 -2]
         HPERSIST mykey FIELDS 1 field1 -> [-1]
         HTTL mykey FIELDS 1 field1 -> [-1]
         +10000
         HGETALL mykey -> ['field1' 'hello']
         HLEN mykey -> 1
         HEXPIREAT mykey 1715704971 FIELDS 1 field1 -> [2]
         EXISTS mykey -> 0
         HTTL mykey FIELDS 1 field1 -> [-2]
         HPERSIST mykey FIELDS 1 field1 -> [-2]",
    );
}

#[test]
fn conditions_are_judged_per_field() {
    story(
        &mut Partition::default(),
        "HSET h a 1 b 2 -> 2
         HPEXPIRE h 100 XX FIELDS 1 a -> [0]
         HPEXPIRE h 100 GT FIELDS 1 a -> [0]
         HPEXPIRE h 100 nx FIELDS 1 a -> [1]
         HPEXPIRE h 200 NX FIELDS 2 a b -> [0 1]
         HPEXPIRE h 150 GT FIELDS 2 a b -> [1 0]
         HPEXPIRE h 180 LT FIELDS 2 a b -> [0 1]
         HPTTL h FIELDS 2 a b -> [150 180]
         HPEXPIRE h 0 FIELDS 1 a -> [2]
         HGETALL h -> ['b' '2']",
    );
}

#[test]
fn wrong_arguments_get_the_texts_of_redis() {
    story(
        &mut Partition::default(),
        "SET s v -> OK
         HSET h f v -> 1
         HEXPIRE s x FIELDS 1 f -> -WRONGTYPE Operation against a key holding the wrong kind of value
         HTTL s FIELDS 1 f -> -WRONGTYPE Operation against a key holding the wrong kind of value
         HEXPIRE h x FIELDS 1 f -> -ERR value is not an integer or out of range
         HEXPIRE h -1 FIELDS 1 f -> -ERR invalid expire time, must be >= 0
         HEXPIRE h 9223372036854775807 FIELDS 1 f -> -ERR invalid expire time in 'hexpire' command
         HPEXPIREAT h 70368744177665 FIELDS 1 f -> -ERR invalid expire time in 'hpexpireat' command
         HEXPIRE h 100 BAD FIELDS 1 f -> -ERR Mandatory argument FIELDS is missing or not at the right position
         HTTL h BAD 1 f -> -ERR Mandatory argument FIELDS is missing or not at the right position
         HEXPIRE h 100 FIELDS 0 f -> -ERR Parameter `numFields` should be greater than 0
         HTTL h FIELDS x f -> -ERR Number of fields must be a positive integer
         HEXPIRE h 100 FIELDS 2 f -> -ERR The `numfields` parameter must match the number of arguments
         HTTL h FIELDS 1 f g -> -ERR The `numfields` parameter must match the number of arguments
         HEXPIRE h 100 NX FIELDS 1 -> -ERR The `numfields` parameter must match the number of arguments
         HEXPIRE h 100 FIELDS -> -ERR wrong number of arguments for 'hexpire' command",
    );
}

#[test]
fn setting_a_field_ends_its_expiry_and_counting_keeps_it() {
    story(
        &mut Partition::default(),
        "HSET h f 1 g 1 -> 2
         HPEXPIRE h 100 FIELDS 2 f g -> [1 1]
         HINCRBY h f 1 -> 2
         HINCRBYFLOAT h f 0.5 -> '2.5'
         HSET h g 2 -> 0
         HPTTL h FIELDS 2 f g -> [100 -1]
         +100
         HGETALL h -> ['g' '2']
         HSETNX h f x -> 1
         HPTTL h FIELDS 1 f -> [-1]",
    );
}

#[test]
fn fields_are_read_and_set_together_with_their_expiry() {
    story(
        &mut Partition::default(),
        "HSETEX h PX 100 FIELDS 2 a 1 b 2 -> 1
         HPTTL h FIELDS 2 a b -> [100 100]
         HSETEX h FNX FIELDS 2 b 3 c 3 -> 0
         HSETEX h FXX FIELDS 2 b 3 c 3 -> 0
         HSETEX h FXX KEEPTTL FIELDS 1 b 3 -> 1
         HSETEX h FIELDS 1 a 9 -> 1
         HPTTL h FIELDS 2 a b -> [-1 100]
         HGETEX h PX 500 FIELDS 3 a b c -> ['9' '3' nil]
         HPTTL h FIELDS 2 a b -> [500 500]
         HGETEX h PERSIST FIELDS 1 a -> ['9']
         HGETEX h FIELDS 1 b -> ['3']
         HGETDEL h FIELDS 2 b c -> ['3' nil]
         HGETALL h -> ['a' '9']
         HGETEX h PX 0 FIELDS 1 a -> ['9']
         EXISTS h -> 0
         HGETDEL h FIELDS 1 a -> [nil]
         HSETEX h PX 0 FIELDS 1 a 1 -> 1
         EXISTS h -> 0
         HSETEX h EX 1 PX 1 FIELDS 1 a 1 -> -ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
    );
}

#[test]
fn a_hash_whose_fields_have_all_expired_is_no_key() {
    story(
        &mut Partition::default(),
        "HSETEX h PX 100 FIELDS 2 a 1 b 2 -> 1
         HPEXPIRE h 200 FIELDS 1 b -> [1]
         +150
         EXISTS h -> 1
         HLEN h -> 1
         KEYS * -> ['h']
         +50
         EXISTS h -> 0
         KEYS * -> []
         DBSIZE -> 0
         TYPE h -> none
         SET x 1 -> OK
         SETNX h x -> 1
         GET h -> 'x'",
    );
}

#[test]
fn many_fields_that_expired_together_are_collected_in_steps_and_counted_right_meanwhile() {
    let mut partition = Partition::default();
    for field in 0..300 {
        partition.run(&format!("HSETEX h PX 10 FIELDS 1 f{field} v"));
    }
    partition.run("HSET h kept v");
    partition.advance(10);
    let rows = partition.open.rows.rows().count();
    story(
        &mut partition,
        "HLEN h -> 1
         HSET h f7 again -> 1
         HLEN h -> 2
         HGETALL h -> ['f7' 'again' 'kept' 'v']
         HEXISTS h f8 -> 0",
    );
    assert!(partition.open.rows.rows().count() > rows / 2);
    for _ in 0..10 {
        story(&mut partition, "HSET h kept v -> 0\n HLEN h -> 2");
    }
    // Metadata, identity and two fields.
    assert_eq!(partition.open.rows.rows().count(), 4);
}

/// A hash as one would write it down.
type Model = BTreeMap<String, (String, Option<u64>)>;

#[derive(Clone, Debug)]
enum Step {
    Set(u8, u16),
    SetWithExpiry(u8, u16, u64),
    Delete(u8),
    Add(u8, i64),
    Expire(u8, u64),
    Persist(u8),
    Pass(u64),
    Compact,
}

fn step() -> impl Strategy<Value = Step> {
    let field = 0u8..6;
    prop_oneof![
        (field.clone(), any::<u16>()).prop_map(|(f, v)| Step::Set(f, v)),
        (field.clone(), any::<u16>(), 1u64..100).prop_map(|(f, v, t)| Step::SetWithExpiry(f, v, t)),
        field.clone().prop_map(Step::Delete),
        (field.clone(), -5i64..5).prop_map(|(f, n)| Step::Add(f, n)),
        (field.clone(), 0u64..100).prop_map(|(f, t)| Step::Expire(f, t)),
        field.prop_map(Step::Persist),
        (1u64..60).prop_map(Step::Pass),
        Just(Step::Compact),
    ]
}

proptest! {
    #![proptest_config(support::config(2000))]

    #[test]
    fn a_hash_with_expiring_fields_is_what_the_model_says_even_if_compacted_at_any_time(steps in prop::collection::vec(step(), 1..80)) {
        let mut partition = Partition::default();
        let mut model = Model::new();
        for step in steps {
            let now = partition.moment.now.0;
            match step {
                Step::Set(f, v) => {
                    let added = u8::from(model.insert(format!("f{f}"), (v.to_string(), None)).is_none());
                    prop_assert_eq!(shown(&partition.run(&format!("HSET h f{f} {v}"))), added.to_string());
                }
                Step::SetWithExpiry(f, v, t) => {
                    model.insert(format!("f{f}"), (v.to_string(), Some(now + t)));
                    partition.run(&format!("HSETEX h PX {t} FIELDS 1 f{f} {v}"));
                }
                Step::Delete(f) => {
                    let removed = u8::from(model.remove(&format!("f{f}")).is_some());
                    prop_assert_eq!(shown(&partition.run(&format!("HDEL h f{f}"))), removed.to_string());
                }
                Step::Add(f, n) => {
                    let (value, _) = model.entry(format!("f{f}")).or_insert_with(|| ("0".into(), None));
                    *value = (value.parse::<i64>().unwrap() + n).to_string();
                    prop_assert_eq!(shown(&partition.run(&format!("HINCRBY h f{f} {n}"))), value.clone());
                }
                Step::Expire(f, t) => {
                    let name = format!("f{f}");
                    let expected = match model.get_mut(&name) {
                        None => -2,
                        Some(_) if t == 0 => {
                            model.remove(&name);
                            2
                        }
                        Some((_, expiry)) => {
                            *expiry = Some(now + t);
                            1
                        }
                    };
                    prop_assert_eq!(shown(&partition.run(&format!("HPEXPIRE h {t} FIELDS 1 {name}"))), format!("[{expected}]"));
                }
                Step::Persist(f) => {
                    let expected = match model.get_mut(&format!("f{f}")) {
                        None => -2,
                        Some((_, None)) => -1,
                        Some((_, expiry)) => {
                            *expiry = None;
                            1
                        }
                    };
                    prop_assert_eq!(shown(&partition.run(&format!("HPERSIST h FIELDS 1 f{f}"))), format!("[{expected}]"));
                }
                Step::Pass(milliseconds) => partition.advance(milliseconds),
                Step::Compact => partition.compact(),
            }
            let now = partition.moment.now.0;
            model.retain(|_, (_, expiry)| expiry.is_none_or(|expiry| expiry > now));
            let all = model.iter().map(|(field, (value, _))| format!("'{field}' '{value}'")).collect::<Vec<_>>();
            prop_assert_eq!(shown(&partition.run("HGETALL h")), format!("[{}]", all.join(" ")));
            prop_assert_eq!(shown(&partition.run("HLEN h")), model.len().to_string());
            prop_assert_eq!(shown(&partition.run("EXISTS h")), u8::from(!model.is_empty()).to_string());
            prop_assert_eq!(shown(&partition.run("DBSIZE")), u8::from(!model.is_empty()).to_string());
        }
    }
}
