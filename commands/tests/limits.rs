//! What is too large is refused before it is built, and what cannot be evaluated now says so.

mod support;

use bytes::Bytes;
use commands::{Direction, Interrupt, Reply, View, ViewMut, evaluate_write, lookup, resolve};
use std::ops::ControlFlow;
use support::{Partition, shown};

#[test]
fn keys_fields_and_values_over_the_limit_are_refused() {
    let mut partition = Partition::default();
    partition.moment.limits.key = 4;
    partition.moment.limits.value = 6;
    for command in [
        "SET abcde v",
        "HSET abcde f v",
        "HSET h abcde v",
        "RENAME x{k} {k}xxx",
        "MSET a v abcde v",
    ] {
        partition.run("SET x{k} v");
        assert!(
            shown(&partition.run(command)).starts_with("-ERR key or field is longer"),
            "{command}"
        );
    }
    for command in [
        "SET k 1234567",
        "HSET h f 1234567",
        "SETRANGE k 6 v",
        "SETRANGE k 9223372036854775807 v",
    ] {
        assert!(
            shown(&partition.run(command)).starts_with("-ERR string exceeds"),
            "{command}"
        );
    }
    partition.run("SET k 12345");
    assert!(shown(&partition.run("APPEND k 67")).starts_with("-ERR string exceeds"));
    assert_eq!(shown(&partition.run("APPEND k 6")), "6");
    assert_eq!(shown(&partition.run("GET abcde")), "nil");
    assert_eq!(partition.open.rows, partition.replica);
}

#[test]
fn effects_beyond_the_mutations_room_interrupt_before_they_are_built() {
    let mut partition = Partition::default();
    let value = vec![b'v'; 600];
    partition.moment.limits.mutation = 1000;
    partition.evaluate(&[b"HSET", b"{t}h", b"f", &value]);
    let before = partition.open.rows.clone();
    let large = [b"MSET".as_slice(), b"a", &value, b"b", &value];
    assert_eq!(partition.try_evaluate(&large), Err(Interrupt::Full));
    let far = [b"SETRANGE".as_slice(), b"a", b"400000000", b"v"];
    assert_eq!(partition.try_evaluate(&far), Err(Interrupt::Full));
    partition.moment.limits.mutation = 500;
    let copied = [b"COPY".as_slice(), b"{t}h", b"{t}j"];
    assert_eq!(partition.try_evaluate(&copied), Err(Interrupt::Full));
    assert_eq!(partition.open.rows, before);
    // Whatever its size, an object is renamed and deleted.
    assert_eq!(partition.run("RENAME {t}h {t}j"), Reply::Ok);
    assert_eq!(partition.run("DEL {t}j"), Reply::Integer(1));
}

/// Everything is on disk.
struct Cold;

impl View for Cold {
    fn get(&mut self, _: &[u8]) -> Result<Option<Bytes>, Interrupt> {
        Err(Interrupt::Cold)
    }

    fn scan(
        &mut self,
        _: &[u8],
        _: &[u8],
        _: Direction,
        _: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Interrupt> {
        Err(Interrupt::Cold)
    }
}

impl ViewMut for Cold {
    fn put(&mut self, _: &[u8], _: &[&[u8]]) {}
    fn delete(&mut self, _: &[u8]) {}
    fn clear(&mut self) {}
}

#[test]
fn cold_rows_interrupt_every_command_that_reads_and_no_plain_set() {
    let moment = Partition::default().moment;
    let evaluate = |command: &str| {
        let args = command.split(' ').map(str::as_bytes).collect::<Vec<_>>();
        let spec = resolve(&args).unwrap();
        evaluate_write(spec, &args, &mut Cold, &moment).map(|evaluated| evaluated.reply)
    };
    for command in [
        "SET k v",
        "SET k v EX 10",
        "SETEX k 10 v",
        "MSET a v b v",
        "FLUSHDB",
    ] {
        assert_eq!(evaluate(command), Ok(Reply::Ok), "{command}");
    }
    for command in [
        "GET k",
        "SET k v NX",
        "SET k v GET",
        "SET k v KEEPTTL",
        "INCR k",
        "DEL k",
        "HSET k f v",
        "KEYS *",
        "DBSIZE",
    ] {
        assert_eq!(evaluate(command), Err(Interrupt::Cold), "{command}");
    }
}

/// It is known which keys there are, none; everything else is on disk.
struct NoKeys;

impl View for NoKeys {
    fn get(&mut self, row: &[u8]) -> Result<Option<Bytes>, Interrupt> {
        if row[2] == commands::rows::Kind::Metadata as u8 {
            Ok(None)
        } else {
            Err(Interrupt::Cold)
        }
    }

    fn scan(
        &mut self,
        _: &[u8],
        _: &[u8],
        _: Direction,
        _: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Interrupt> {
        Err(Interrupt::Cold)
    }
}

impl ViewMut for NoKeys {
    fn put(&mut self, _: &[u8], _: &[&[u8]]) {}
    fn delete(&mut self, _: &[u8]) {}
    fn clear(&mut self) {}
}

#[test]
fn a_new_hash_is_written_without_looking_for_its_fields() {
    let moment = Partition::default().moment;
    for (command, reply) in [
        ("HSET h a 1 b 2 c 3", 3),
        ("HSETNX h a 1", 1),
        ("HINCRBY h a 7", 7),
        ("HSETEX h FNX PX 10 FIELDS 2 a 1 b 2", 1),
    ] {
        let args = command.split(' ').map(str::as_bytes).collect::<Vec<_>>();
        let spec = resolve(&args).unwrap();
        let evaluated = evaluate_write(spec, &args, &mut NoKeys, &moment).unwrap();
        assert_eq!(evaluated.reply, Reply::Integer(reply), "{command}");
    }
}

#[test]
fn a_value_of_an_unknown_format_is_storages_trouble_not_a_panic() {
    let mut partition = Partition::default();
    let row = commands::rows::metadata_row(b"k");
    for value in [&b""[..], b"\x77", b"\x19", b"\x11short"] {
        partition.open.put(&row, &[value]);
        for command in [
            &[b"GET".as_slice(), b"k"][..],
            &[b"INCR", b"k"],
            &[b"KEYS", b"*"],
            &[b"DBSIZE"],
            &[b"HSET", b"k", b"f", b"v"],
        ] {
            let failed = partition.try_evaluate(command);
            assert!(matches!(failed, Err(Interrupt::Failed(_))), "{failed:?}");
        }
    }
}

#[test]
fn commands_are_found_in_any_case_and_nothing_else_is() {
    for spec in commands::table::all() {
        assert_eq!(
            lookup(spec.name.as_bytes()).map(|found| found.name),
            Some(spec.name)
        );
        let upper = spec.name.to_uppercase();
        assert_eq!(
            lookup(upper.as_bytes()).map(|found| found.name),
            Some(spec.name)
        );
        assert!(lookup(&upper.as_bytes()[1..]).is_none_or(|found| found.name != spec.name));
    }
    for name in [&b""[..], b"nosuch", b"get ", b"\xFF\xFF", &[b'a'; 1000]] {
        assert!(lookup(name).is_none());
    }
    assert!(resolve(&[]).is_err());
}

#[test]
fn keys_are_where_the_table_says() {
    let positions = |name: &str, count| {
        lookup(name.as_bytes())
            .unwrap()
            .key_positions(count)
            .collect::<Vec<_>>()
    };
    assert_eq!(positions("get", 2), [1]);
    assert_eq!(positions("mset", 5), [1, 3]);
    assert_eq!(positions("del", 4), [1, 2, 3]);
    assert_eq!(positions("rename", 3), [1, 2]);
    assert_eq!(positions("keys", 2), [0; 0]);
    assert_eq!(positions("ping", 1), [0; 0]);
}

#[test]
fn a_draw_with_repetition_is_bounded_in_fields_and_in_bytes() {
    let mut partition = Partition::default();
    let value = vec![b'v'; 1 << 20];
    partition.evaluate(&[b"HSET", b"h", b"f", &value]);
    let error = "-ERR value is out of range";
    assert!(shown(&partition.run("HRANDFIELD h -1048577")).starts_with(error));
    assert!(shown(&partition.run("HRANDFIELD h -9223372036854775807")).starts_with(error));
    for command in ["HRANDFIELD h -1048576", "HRANDFIELD h -63 WITHVALUES"] {
        let reply = partition.run(command);
        assert!(!reply.is_error(), "{command}");
    }
    let refused = shown(&partition.run("HRANDFIELD h -64 WITHVALUES"));
    let error = "-ERR the reply would be larger than 64 MiB";
    assert!(refused.starts_with(error), "{refused}");
}
