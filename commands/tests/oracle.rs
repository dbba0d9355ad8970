//! Commands against a real Redis: random sequences must get equal replies, and what the table says of a command must be what Redis
//! says. Time does not pass here; `expiry` and `hash_expiry` let it.

mod support;

use proptest::prelude::*;
use proptest::strategy::Union;
use proptest::test_runner::TestRunner;
use std::cell::RefCell;
use support::redis::{Plain, Redis};
use support::{Partition, wall_clock};

type Words = Vec<Vec<u8>>;

/// Commands in templates: `K` is a key, `F` a field, `V` a value, `N` an integer, `X` a float, `P` a pattern, `O` an option of any
/// kind, `T` a point in time, `D` a span; what ends in `*` is given up to three times.
const TEMPLATES: &[&str] = &[
    "GET K",
    "SET K V",
    "SET K V",
    "SET K N",
    "SET K V O*",
    "SETNX K V",
    "SETEX K D V",
    "PSETEX K D V",
    "SET K V EXAT 4102444800",
    "GETEX K PXAT 4102444800000",
    "SET K V PXAT 0",
    "GETSET K V",
    "GETDEL K",
    "GETEX K",
    "GETEX K O*",
    "MGET K*",
    "MSET K V",
    "MSET K V K V",
    "MSET K V K",
    "MSETNX K V",
    "MSETNX K V K V",
    "APPEND K V",
    "STRLEN K",
    "GETRANGE K N N",
    "SUBSTR K N N",
    "SETRANGE K S V",
    "INCR K",
    "DECR K",
    "INCRBY K N",
    "DECRBY K N",
    "INCRBYFLOAT K X",
    "INCRBYFLOAT K V",
    "DEL K*",
    "UNLINK K",
    "EXISTS K*",
    "TOUCH K*",
    "TYPE K",
    "EXPIRE K D O",
    "EXPIRE K D",
    "PEXPIRE K D",
    "EXPIREAT K T",
    "PEXPIREAT K T",
    "EXPIRE K D O O",
    "TTL K",
    "PTTL K",
    "PERSIST K",
    "PEXPIRETIME K",
    "EXPIRETIME K",
    "RENAME K K",
    "RENAMENX K K",
    "COPY K K",
    "COPY K K REPLACE",
    "COPY K K DB 0 O",
    "KEYS P",
    "DBSIZE",
    "SCAN 0 COUNT 1000",
    "SCAN 0 COUNT 1000 MATCH P",
    "SCAN 0 O O",
    "SCAN 0 COUNT 1000 TYPE hash",
    "SCAN 0 TYPE string COUNT 1000",
    "OBJECT ENCODING K",
    "OBJECT FREQ K",
    "OBJECT NOTHING K",
    "HSET K F V",
    "HSET K F V",
    "HSET K F V F V",
    "HSET K F N",
    "HSET K F V F",
    "HSETNX K F V",
    "HGET K F",
    "HMSET K F V F V",
    "HMGET K F*",
    "HGETALL K",
    "HDEL K F*",
    "HDEL K F",
    "HEXISTS K F",
    "HLEN K",
    "HKEYS K",
    "HVALS K",
    "HINCRBY K F N",
    "HINCRBYFLOAT K F X",
    "HINCRBYFLOAT K F V",
    "HSTRLEN K F",
    "HSCAN K 0 COUNT 1000",
    "HSCAN K 0 COUNT 1000 MATCH P",
    "HRANDFIELD K 100",
    "HRANDFIELD K 100 WITHVALUES",
    "HRANDFIELD K 0",
    "HRANDFIELD K N O",
    "FLUSHDB",
    "FLUSHALL ASYNC",
    "FLUSHDB O",
    "GET",
    "GET K K",
    "HSET K F",
    "HGET K",
    "NOSUCH K N",
    "DEL",
];

fn word(kind: &str) -> BoxedStrategy<Vec<u8>> {
    let text = |words: &'static [&'static str]| {
        prop::sample::select(words)
            .prop_map(|word| word.as_bytes().to_vec())
            .boxed()
    };
    match kind {
        "K" => text(&["{t}a", "{t}b", "{t}c", "{t}d"]),
        "F" => text(&["f", "g", "h", "field", ""]),
        "V" => prop_oneof![
            4 => text(&["", "v", "value", "10", "-5", "3.25", "1e3", "inf", " 1", "007", "nan"]),
            1 => prop::collection::vec(any::<u8>(), 0..80),
        ]
        .boxed(),
        "N" => prop_oneof![
            3 => (-20i64..200).prop_map(|n| n.to_string().into_bytes()),
            1 => text(&["9223372036854775807", "-9223372036854775808", "9223372036854775806", "x", "1.5", "", "+1", "99999999999999999999"]),
        ]
        .boxed(),
        // Offsets far behind the end make strings of that size.
        "S" => text(&["0", "1", "5", "100", "-1", "x", "536870912", "9223372036854775807"]),
        "X" => prop_oneof![
            2 => (-1_000_000i64..1_000_000, 0u32..8).prop_map(|(n, scale)| format!("{n}e-{scale}").into_bytes()),
            2 => (-1e12f64..1e12).prop_map(|x| x.to_string().into_bytes()),
            1 => text(&["0.1", "-0.1", "3.0e3", "1e17", "1e30", "-1e-18", "1e4932", "inf", "-inf", "nan", "x", "", "1e5000", "5.", ".5", "."]),
        ]
        .boxed(),
        "P" => text(&["*", "{t}*", "?", "f*", "[f-g]", "*a", "[^f]", "\\f", "{t}[ab]", ""]),
        // Far away or long ago, so that no time passes in a test.
        "T" => text(&["100000", "500000000", "4102444800", "4102444800000", "-1", "0", "1", "x", "9223372036854775807", "9223372036854775"]),
        "D" => text(&["100000", "500000000", "-1", "0", "x", "9223372036854775807", "9223372036854775"]),
        "O" => text(&["NX", "XX", "GT", "LT", "GET", "KEEPTTL", "PERSIST", "REPLACE", "EX", "PX", "100000", "100000000", "0", "-1", "COUNT", "MATCH", "nx", "WITHVALUES", "ASYNC", "bad"]),
        other => Just(other.as_bytes().to_vec()).boxed(),
    }
}

fn command() -> impl Strategy<Value = Words> {
    Union::new(TEMPLATES.iter().map(|template| {
        let mut words = Vec::new();
        for kind in template.split(' ') {
            words.push(match kind.strip_suffix('*') {
                Some(kind) => prop::collection::vec(word(kind), 1..4).boxed(),
                None => word(kind).prop_map(|word| vec![word]).boxed(),
            });
        }
        words.prop_map(|words| words.concat()).boxed()
    }))
}

/// Takes out of a reply what may differ: the order of hashes.
fn comparable(command: &[&[u8]], reply: Plain) -> Plain {
    let name = String::from_utf8_lossy(command[0]).to_lowercase();
    match (name.as_str(), reply) {
        ("keys" | "hkeys" | "hvals", reply) => reply.sorted(1),
        ("hgetall", reply) => reply.sorted(2),
        ("hrandfield", reply) => reply.sorted(if command.len() == 4 { 2 } else { 1 }),
        ("scan" | "hscan", Plain::Array(mut parts)) => {
            let items = parts.pop().unwrap();
            parts.push(items.sorted(if name == "scan" { 1 } else { 2 }));
            Plain::Array(parts)
        }
        (_, reply) => reply,
    }
}

/// What is known to differ, and why.
fn is_exempt(command: &[&[u8]], theirs: &Plain) -> bool {
    let name = String::from_utf8_lossy(command[0]).to_lowercase();
    let text = |text: &str| matches!(theirs, Plain::Error(error) if error.contains(text));
    match name.as_str() {
        // Redis remembers how a value came to be; here it is told from what is there.
        "object" => {
            matches!(theirs, Plain::Bulk(name) if name != "int" && name != "listpack")
        }
        // Some are drawn, not all; a repetition has a bound here.
        "hrandfield" => command[2] != b"100",
        // Redis looks for the key before it reads the options.
        "hscan" => text("syntax"),
        _ => false,
    }
}

/// Whether both tell the same time but for what passed between two readings of the clock.
fn is_same_time(command: &[&[u8]], ours: &Plain, theirs: &Plain) -> bool {
    const APART: u64 = 60;
    let name = String::from_utf8_lossy(command[0]).to_lowercase();
    let unit = match name.as_str() {
        "ttl" | "expiretime" => 1,
        "pttl" | "pexpiretime" => 1000,
        _ => return false,
    };
    match (ours, theirs) {
        (Plain::Integer(ours), Plain::Integer(theirs)) if *theirs > 0 => {
            ours.abs_diff(*theirs) <= APART * unit
        }
        _ => false,
    }
}

#[test]
fn random_sequences_get_the_replies_of_redis() {
    let Some(redis) = Redis::start() else {
        panic!("this test compares with redis-server, which is not installed");
    };
    let redis = RefCell::new(redis);
    let sequences = prop::collection::vec(command(), 1..60);
    let outcome = TestRunner::new(support::config(600)).run(&sequences, |sequence| {
        redis.borrow_mut().run(&[b"FLUSHALL"]);
        let mut partition = Partition::at(wall_clock());
        for command in &sequence {
            let command = command.iter().map(Vec::as_slice).collect::<Vec<_>>();
            partition.moment.now.0 = wall_clock();
            let ours = Plain::from(&partition.evaluate(&command).reply);
            let theirs = redis.borrow_mut().run(&command);
            if is_exempt(&command, &theirs) || is_same_time(&command, &ours, &theirs) {
                continue;
            }
            let said = command
                .iter()
                .map(|word| word.escape_ascii().to_string())
                .collect::<Vec<_>>();
            prop_assert_eq!(
                comparable(&command, ours),
                comparable(&command, theirs),
                "{}",
                said.join(" ")
            );
        }
        prop_assert_eq!(&partition.open.rows, &partition.replica);
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn the_table_says_of_commands_what_redis_says() {
    let Some(mut redis) = Redis::start() else {
        panic!("this test compares with redis-server, which is not installed");
    };
    for spec in commands::table::all() {
        let theirs = redis.run(&[b"COMMAND", b"INFO", spec.name.as_bytes()]);
        let Plain::Array(theirs) = theirs else {
            panic!("COMMAND INFO answers an array");
        };
        let [Plain::Array(theirs)] = theirs.as_slice() else {
            // Redis 7.0 does not know the commands on fields' expiry.
            assert!(spec.name.starts_with('h'), "{}", spec.name);
            continue;
        };
        let Plain::Array(ours) = Plain::from(&spec.describe()) else {
            panic!("a description is an array");
        };
        for (part, group) in [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (5, 1)] {
            assert_eq!(
                ours[part].clone().sorted(group),
                theirs[part].clone().sorted(group),
                "part {part} of {}",
                spec.name
            );
        }
        if !matches!(
            spec.name,
            "client" | "config" | "cluster" | "object" | "time" | "info"
        ) {
            assert_eq!(
                ours[6].clone().sorted(1),
                theirs[6].clone().sorted(1),
                "categories of {}",
                spec.name
            );
        }
    }
}
