//! Debian's redis-cli and redis-benchmark, and a Redis library, against every RESP port: commands, many keys, scans, expiry.
//!
//! What each command answers in every case is compared with a real Redis in `commands` and `resp-gateway`; here it is that the
//! whole way works, across partitions.

use redis::{Connection, RedisResult, cmd};
use std::collections::BTreeSet;
use tests::doors::redis;
use tests::poll::until;
use tests::tools::{redis_benchmark, redis_cli};
use tests::{Cluster, Options};

#[test]
fn redis_cli_and_redis_benchmark_work_against_every_port() {
    let cluster = Cluster::start(Options::default());
    for port in cluster.redis_ports() {
        let cli = |arguments: &[&str]| redis_cli(&port, arguments);
        assert_eq!(cli(&["PING"]), "PONG");
        assert_eq!(cli(&["SET", "greeting", "hello"]), "OK");
        assert_eq!(cli(&["GET", "greeting"]), "hello");
        assert_eq!(
            cli(&["-3", "HSET", "user:1", "name", "Ada", "born", "1815"]),
            "2"
        );
        assert_eq!(cli(&["HGET", "user:1", "name"]), "Ada");
        // Tulpar keeps fields in the order of their bytes; Redis promises none.
        assert_eq!(cli(&["-3", "HGETALL", "user:1"]), "born 1815\nname Ada");
        assert_eq!(cli(&["DEL", "greeting", "user:1"]), "2");
        assert!(cli(&["NOSUCHCOMMAND"]).starts_with("ERR unknown command 'NOSUCHCOMMAND'"));
        assert!(cli(&["GET"]).starts_with("ERR wrong number of arguments for 'get' command"));
        assert!(cli(&["INFO", "server"]).contains("redis_version:"));
        for pipeline in ["1", "16"] {
            let kinds = "ping,set,get,incr,hset,mset";
            let report = redis_benchmark(
                &port,
                &[
                    "-n", "2000", "-c", "10", "-P", pipeline, "-r", "10000", "-d", "100", "-t",
                    kinds,
                ],
            );
            let rates = report.matches("requests per second").count();
            assert_eq!(rates, 7, "PING in both forms and five commands: {report}");
            assert!(!report.to_lowercase().contains("error"), "{report}");
        }
        assert_eq!(cli(&["FLUSHALL"]), "OK");
        assert_eq!(cli(&["DBSIZE"]), "0");
    }
}

fn scanned(connection: &mut Connection, options: &[&str]) -> Vec<String> {
    let mut keys = Vec::new();
    let mut cursor = "0".to_owned();
    loop {
        let page: (String, Vec<String>) = cmd("SCAN")
            .arg(&cursor)
            .arg(options)
            .query(connection)
            .expect("SCAN answers");
        keys.extend(page.1);
        cursor = page.0;
        if cursor == "0" {
            return keys;
        }
    }
}

#[test]
fn scans_and_commands_of_many_keys_reach_all_partitions() {
    let cluster = Cluster::start(Options::default());
    let keys: Vec<String> = (0..3000).map(|number| format!("key:{number}")).collect();
    for (port, writer) in cluster
        .redis_ports()
        .iter()
        .zip(["gateway", "one", "two", "three"])
    {
        let connection = &mut redis(port);
        for keys in keys.chunks(500) {
            let mut mset = cmd("MSET");
            for key in keys {
                mset.arg(key).arg(format!("{writer}:{key}"));
            }
            mset.exec(connection).expect("MSET is done");
        }
        let values: Vec<Option<String>> = cmd("MGET")
            .arg(&keys)
            .arg("nosuch")
            .query(connection)
            .expect("MGET");
        let expected = keys
            .iter()
            .map(|key| Some(format!("{writer}:{key}")))
            .chain([None]);
        assert_eq!(values, expected.collect::<Vec<_>>());
        assert_eq!(cmd("DBSIZE").query(connection), Ok(keys.len()));

        // An element may come twice, none may be missing.
        let all: BTreeSet<String> = keys.iter().cloned().collect();
        for options in [
            &[][..],
            &["COUNT", "1000"],
            &["MATCH", "key:*", "COUNT", "100"],
            &["TYPE", "string"],
        ] {
            let found: BTreeSet<String> = scanned(connection, options).into_iter().collect();
            assert_eq!(found, all, "SCAN {options:?} at {port}");
        }
        assert!(scanned(connection, &["TYPE", "hash"]).is_empty());
        assert_eq!(
            redis_cli(port, &["--scan", "--pattern", "key:29*"])
                .lines()
                .collect::<BTreeSet<_>>()
                .len(),
            111
        );
        assert_eq!(
            cmd("EXISTS").arg(&keys).arg("nosuch").query(connection),
            Ok(keys.len())
        );
        assert_eq!(
            cmd("DEL")
                .arg(&keys[..1000])
                .arg("nosuch")
                .query(connection),
            Ok(1000)
        );
        assert_eq!(cmd("UNLINK").arg(&keys).query(connection), Ok(2000));
        assert_eq!(cmd("DBSIZE").query(connection), Ok(0));
    }
}

fn refusal<T: redis::FromRedisValue + std::fmt::Debug>(answer: RedisResult<T>) -> String {
    answer.expect_err("this is refused").to_string()
}

#[test]
fn commands_whose_keys_must_share_a_slot_say_crossslot() {
    let cluster = Cluster::start(Options::default());
    for port in cluster.redis_ports() {
        let connection = &mut redis(&port);
        for command in [
            &["RENAME", "a", "b"][..],
            &["COPY", "a", "b"],
            &["MSETNX", "a", "1", "b", "2"],
        ] {
            let error = refusal(cmd(command[0]).arg(&command[1..]).query::<()>(connection));
            assert!(
                error.to_uppercase().contains("CROSSSLOT"),
                "{command:?}: {error}"
            );
        }
        cmd("SET")
            .arg("{tag}a")
            .arg("1")
            .exec(connection)
            .expect("SET");
        cmd("RENAME")
            .arg("{tag}a")
            .arg("{tag}b")
            .exec(connection)
            .expect("one slot by its tag");
        assert_eq!(
            cmd("GET").arg("{tag}b").query(connection),
            Ok("1".to_owned())
        );
        assert_eq!(
            cmd("MSETNX")
                .arg(&["{tag}b", "2", "{tag}c", "2"])
                .query(connection),
            Ok(0)
        );
        assert_eq!(cmd("DEL").arg("{tag}b").query(connection), Ok(1));
    }
}

#[test]
fn keys_and_fields_expire_and_their_times_can_be_read_and_taken_back() {
    let cluster = Cluster::start(Options::default());
    let ports = cluster.redis_ports();
    let (writer, reader) = (&mut redis(&ports[0]), &mut redis(&ports[1]));
    cmd("SET")
        .arg(&["short", "v", "PX", "300"])
        .exec(writer)
        .expect("SET PX");
    cmd("SET")
        .arg(&["long", "v", "EX", "1000"])
        .exec(writer)
        .expect("SET EX");
    cmd("HSET")
        .arg(&["hash", "stays", "1", "goes", "2"])
        .exec(writer)
        .expect("HSET");
    assert_eq!(
        cmd("HPEXPIRE")
            .arg(&["hash", "300", "FIELDS", "1", "goes"])
            .query(writer),
        Ok(vec![1])
    );
    let left: i64 = cmd("TTL").arg("long").query(reader).expect("TTL");
    assert!((900..=1000).contains(&left), "{left} s left");
    until("the short key has expired", || {
        cmd("EXISTS").arg("short").query(reader) == Ok(0)
    });
    assert_eq!(cmd("PTTL").arg("short").query(reader), Ok(-2));
    until("the field has expired", || {
        cmd("HEXISTS").arg("hash").arg("goes").query(reader) == Ok(0)
    });
    assert_eq!(
        cmd("HGETALL").arg("hash").query(reader),
        Ok(vec!["stays".to_owned(), "1".to_owned()])
    );
    assert_eq!(cmd("PERSIST").arg("long").query(writer), Ok(1));
    assert_eq!(cmd("TTL").arg("long").query(reader), Ok(-1));
    // Every copy agrees on what is gone.
    cluster.equal_copies("default", 3);
}
