//! A table's default TTL: what is written without saying how long it lives lives so long; what says so, or goes on, is left alone.

mod support;

use std::time::Duration;
use support::Partition;

fn story(lines: &str) {
    let mut partition = Partition::at(1_000_000);
    partition.moment.default_ttl = Some(Duration::from_mins(1));
    support::story(&mut partition, lines);
}

#[test]
fn a_string_that_is_written_without_a_ttl_gets_the_default() {
    story(
        "SET a 1 -> OK
         SET b 1 NX -> OK
         SETNX c 1 -> 1
         MSET d 1 e 1 -> OK
         MSETNX {f}1 1 {f}2 1 -> 1
         INCR g -> 1
         INCRBYFLOAT h 1 -> '1'
         APPEND i x -> 1
         SETRANGE j 0 x -> 1
         GETSET k 1 -> nil
         SET l 1 KEEPTTL -> OK
         PTTL a -> 60000
         PTTL b -> 60000
         PTTL c -> 60000
         PTTL d -> 60000
         PTTL e -> 60000
         PTTL {f}1 -> 60000
         PTTL {f}2 -> 60000
         PTTL g -> 60000
         PTTL h -> 60000
         PTTL i -> 60000
         PTTL j -> 60000
         PTTL k -> 60000
         PTTL l -> 60000
         +59999
         GET a -> '1'
         +1
         GET a -> nil",
    );
}

#[test]
fn a_write_that_says_how_long_is_obeyed() {
    story(
        "SET a 1 EX 5 -> OK
         PTTL a -> 5000
         SETEX b 500 1 -> OK
         PTTL b -> 500000
         SET c 1 -> OK
         PERSIST c -> 1
         PTTL c -> -1",
    );
}

#[test]
fn changing_what_is_there_gives_it_no_new_time() {
    story(
        "SET a 1 -> OK
         PERSIST a -> 1
         INCR a -> 2
         APPEND a 0 -> 2
         SET a 7 KEEPTTL -> OK
         PTTL a -> -1
         SET b 1 -> OK
         +30000
         INCR b -> 2
         PTTL b -> 30000
         SET b 1 -> OK
         PTTL b -> 60000
         RENAME b {b}c -> OK
         PTTL {b}c -> 60000",
    );
}

#[test]
fn each_field_of_a_hash_has_its_own_time() {
    story(
        "HSET h old 1 -> 1
         +30000
         HSET h new 1 -> 1
         HINCRBY h number 1 -> 1
         HSETEX h EX 5 FIELDS 1 said 1 -> 1
         HPTTL h FIELDS 4 old new number said -> [30000 60000 60000 5000]
         PTTL h -> -1
         HINCRBY h old 1 -> 2
         HPTTL h FIELDS 1 old -> [30000]
         HSET h old 3 -> 0
         HPTTL h FIELDS 1 old -> [60000]
         HPERSIST h FIELDS 1 old -> [1]
         +60000
         HGETALL h -> ['old' '3']",
    );
}
