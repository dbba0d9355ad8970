//! The clients that people have: redis-cli, redis-benchmark, and the redis crate.

use crate::harness::Gateway;
use redis::Commands;
use std::process::Command;

fn redis_cli(gateway: &Gateway, args: &[&str]) -> String {
    let output = Command::new("redis-cli")
        .args(["-p", &gateway.address.port().to_string()])
        .args(args)
        .output()
        .expect("redis-cli is needed for this test (Debian: redis-tools)");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn redis_cli_reads_writes_scans_and_authenticates() {
    let gateway = Gateway::start();
    assert_eq!(
        redis_cli(&gateway, &["SET", "greeting", "hello world"]),
        "OK\n"
    );
    assert_eq!(redis_cli(&gateway, &["GET", "greeting"]), "hello world\n");
    assert_eq!(
        redis_cli(&gateway, &["-3", "HSET", "hash", "f", "v"]),
        "1\n"
    );
    assert_eq!(
        redis_cli(&gateway, &["-3", "--json", "HGETALL", "hash"]),
        "{\"f\":\"v\"}\n"
    );
    let mut scanned: Vec<String> = redis_cli(&gateway, &["--scan"])
        .lines()
        .map(str::to_owned)
        .collect();
    scanned.sort();
    assert_eq!(scanned, ["greeting", "hash"]);
    let unlocked = [
        "--user",
        "locked",
        "--pass",
        "secret",
        "--no-auth-warning",
        "DBSIZE",
    ];
    assert_eq!(redis_cli(&gateway, &unlocked), "0\n");
}

#[test]
fn redis_benchmark_finishes_without_an_error() {
    let gateway = Gateway::start();
    for pipeline in ["1", "16"] {
        let output = Command::new("redis-benchmark")
            .args(["-p", &gateway.address.port().to_string()])
            .args(["-n", "2000", "-r", "1000", "-P", pipeline, "--csv"])
            .args(["-t", "ping,set,get,incr,hset,mset"])
            .output()
            .expect("redis-benchmark is needed for this test (Debian: redis-tools)");
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "{stdout}{stderr}");
        assert!(
            !stderr.contains("Error") && !stderr.contains("WARN"),
            "{stderr}"
        );
        for test in [
            "PING_INLINE",
            "PING_MBULK",
            "SET",
            "GET",
            "INCR",
            "HSET",
            "MSET (10 keys)",
        ] {
            assert!(
                stdout.contains(&format!("\"{test}\"")),
                "{test} is missing in {stdout}"
            );
        }
    }
}

#[test]
fn the_redis_crate_speaks_resp2_and_resp3() {
    let gateway = Gateway::start();
    for protocol in ["resp2", "resp3"] {
        let url = format!(
            "redis://locked:secret@{}/?protocol={protocol}",
            gateway.address
        );
        let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
        let _: () = connection.set("key", protocol).unwrap();
        assert_eq!(connection.get::<_, String>("key").unwrap(), protocol);
        let _: () = connection
            .hset_multiple("hash", &[("a", 1), ("b", 2)])
            .unwrap();
        let hash: std::collections::BTreeMap<String, i64> = connection.hgetall("hash").unwrap();
        assert_eq!(
            hash.into_iter().collect::<Vec<_>>(),
            [("a".into(), 1), ("b".into(), 2)]
        );
        let mut pipeline = redis::pipe();
        for n in 0..1000 {
            pipeline.set(format!("key{n}"), n);
        }
        let _: () = pipeline.query(&mut connection).unwrap();
        let keys: Vec<String> = (0..1000).map(|n| format!("key{n}")).collect();
        let values: Vec<i64> = connection.mget(&keys).unwrap();
        assert_eq!(values, (0..1000).collect::<Vec<_>>());
        let mut scanned = 0;
        for key in connection.scan_match::<_, String>("key?*").unwrap() {
            assert!(key.unwrap().starts_with("key"));
            scanned += 1;
        }
        assert_eq!(scanned, 1000);
    }
}
