//! Keys as time passes: what has expired is gone at once, replies that depend on it say so (R7), and touching it collects it.

mod support;

use commands::{evaluate_read, lazy_delete, resolve};
use support::{Partition, story};
use types::Timestamp;

#[test]
fn a_key_is_gone_the_moment_its_time_has_come() {
    story(
        &mut Partition::default(),
        "SET k v PX 1000 -> OK
         +999
         GET k -> 'v'
         PTTL k -> 1
         TTL k -> 0
         +1
         GET k -> nil
         EXISTS k k -> 0
         TYPE k -> none
         PTTL k -> -2
         KEYS * -> []
         DBSIZE -> 0
         RANDOMKEY -> nil
         SCAN 0 -> ['0' []]
         DEL k -> 0",
    );
}

#[test]
fn a_write_over_an_expired_key_starts_anew() {
    story(
        &mut Partition::default(),
        "HSET {t}h f 1 -> 1
         PEXPIRE {t}h 10 -> 1
         +10
         HSET {t}h g 2 -> 1
         HGETALL {t}h -> ['g' '2']
         TTL {t}h -> -1
         SET {t}n 5 PX 10 -> OK
         +10
         INCR {t}n -> 1
         TTL {t}n -> -1
         SET {t}n 5 PX 10 -> OK
         +10
         SET {t}n 6 KEEPTTL -> OK
         TTL {t}n -> -1
         SET {t}n 5 PX 10 -> OK
         +10
         SET {t}n 7 XX -> nil
         SETNX {t}n 8 -> 1
         RENAME {t}h {t}n -> OK
         HGETALL {t}n -> ['g' '2']
         PEXPIRE {t}n 10 -> 1
         +10
         RENAME {t}n {t}m -> -ERR no such key
         COPY {t}n {t}m -> 0
         PERSIST {t}n -> 0
         EXPIRE {t}n 100 -> 0
         GETDEL {t}n -> nil",
    );
}

#[test]
fn values_keep_their_expiry_as_redis_documents() {
    story(
        &mut Partition::default(),
        "SET {t}k 1 PX 1000 -> OK
         INCR {t}k -> 2
         APPEND {t}k 0 -> 2
         SETRANGE {t}k 0 9 -> 2
         INCRBYFLOAT {t}k 0.5 -> '90.5'
         PTTL {t}k -> 1000
         RENAME {t}k {t}j -> OK
         PTTL {t}j -> 1000
         COPY {t}j {t}k -> 1
         PTTL {t}k -> 1000
         GETSET {t}k x -> '90.5'
         TTL {t}k -> -1
         GETEX {t}j PERSIST -> '90.5'
         TTL {t}j -> -1
         EXPIRE {t}j 10 XX -> 0
         EXPIRE {t}j 10 GT -> 0
         EXPIRE {t}j 10 LT -> 1
         EXPIRE {t}j 5 GT -> 0
         EXPIRE {t}j 20 GT -> 1
         EXPIRE {t}j 30 NX -> 0
         TTL {t}j -> 20
         EXPIRE {t}j -1 -> 1
         EXISTS {t}j -> 0",
    );
}

#[test]
fn a_reply_that_depends_on_an_expiry_says_so_and_a_lazy_delete_settles_it() {
    let mut partition = Partition::default();
    partition.run("SET k v PX 10");
    partition.run("HSET h f v");
    partition.run("HPEXPIRE h 10 FIELDS 1 f");
    partition.run("HSET h g v");
    let depends = |partition: &mut Partition, command: &str| {
        let args = command.split(' ').map(str::as_bytes).collect::<Vec<_>>();
        let spec = resolve(&args).unwrap();
        evaluate_read(spec, &args, &mut partition.open, &partition.moment)
            .unwrap()
            .depends_on_expiry
    };
    for command in [
        "GET k",
        "EXISTS k",
        "HGET h f",
        "HLEN h",
        "HGETALL h",
        "KEYS *",
    ] {
        assert!(!depends(&mut partition, command), "{command}");
    }
    partition.advance(10);
    for command in [
        "GET k",
        "EXISTS k",
        "TTL k",
        "HGET h f",
        "HLEN h",
        "HGETALL h",
        "KEYS *",
    ] {
        assert!(depends(&mut partition, command), "{command}");
    }
    assert!(!depends(&mut partition, "HGET h g"));
    for key in [&b"k"[..], b"h"] {
        assert_eq!(
            lazy_delete(key, &mut partition.open, &partition.moment),
            Ok(true)
        );
        assert_eq!(
            lazy_delete(key, &mut partition.open, &partition.moment),
            Ok(false)
        );
        partition.cut();
    }
    for command in ["GET k", "HGET h f", "HLEN h", "HGETALL h", "KEYS *"] {
        assert!(!depends(&mut partition, command), "{command}");
    }
    story(&mut partition, "HGETALL h -> ['g' 'v']");
}

#[test]
fn an_error_over_an_expired_key_writes_nothing() {
    let mut partition = Partition::default();
    partition.run("SET {t}k v PX 10");
    partition.advance(10);
    let before = partition.open.rows.clone();
    let evaluated = partition.evaluate(&[b"RENAME", b"{t}k", b"{t}j"]);
    assert!(evaluated.depends_on_expiry && !evaluated.wrote);
    assert_eq!(partition.open.rows, before);
}

#[test]
fn a_flush_is_one_range_delete_that_spares_the_partitions_own_rows() {
    use commands::ViewMut;
    let mut partition = Partition::at(Timestamp(5).0);
    partition.open.put(commands::rows::own::APPLIED, &[b"x"]);
    story(
        &mut partition,
        "MSET a 1 b 2 -> OK
         HSET h f v -> 1
         FLUSHDB SYNC NOW -> -ERR syntax error
         FLUSHDB ASYNC -> OK
         DBSIZE -> 0
         HGETALL h -> []",
    );
    assert_eq!(partition.open.rows.rows().count(), 1);
}
