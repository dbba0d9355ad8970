//! The Rust SDK against a real cluster, and the same data seen through Redis: one keyspace, two doors.

use bytes::Bytes;
use redis::cmd;
use std::time::Duration;
use tests::doors::{open, redis, runtime};
use tests::poll::until;
use tests::{Cluster, Options};
use tulpar_client::{Error, ScanOptions, SetOptions};

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(Bytes, Bytes)> {
    pairs
        .iter()
        .map(|(key, value)| (bytes(key), bytes(value)))
        .collect()
}

#[test]
fn what_the_sdk_writes_redis_reads_and_the_other_way_round() {
    let cluster = Cluster::start(Options::default());
    let connection = &mut redis(&cluster.gateway());
    runtime().block_on(async {
        let table = open(&cluster.meta(), "default").await;
        table.set("from sdk", "v").await.unwrap();
        assert_eq!(cmd("GET").arg("from sdk").query(connection), Ok("v".to_owned()));
        cmd("SET").arg(&["from redis", "w"]).exec(connection).unwrap();
        assert_eq!(table.get("from redis").await.unwrap(), Some(bytes("w")));
        assert!(table.delete("from redis").await.unwrap());
        assert!(!table.delete("from redis").await.unwrap());
        assert_eq!(cmd("EXISTS").arg("from redis").query(connection), Ok(0));

        let user = table.hash("user:1");
        user.multi_set([("name", "Ada"), ("born", "1815"), ("", "empty")]).await.unwrap();
        assert_eq!(cmd("TYPE").arg("user:1").query(connection), Ok("hash".to_owned()));
        assert_eq!(cmd("HGET").arg("user:1").arg("").query(connection), Ok("empty".to_owned()));
        assert_eq!(cmd("HLEN").arg("user:1").query(connection), Ok(3));
        cmd("HSET").arg(&["user:1", "died", "1852"]).exec(connection).unwrap();
        assert_eq!(
            user.multi_get(["died", "nosuch", "name"]).await.unwrap(),
            [Some(bytes("1852")), None, Some(bytes("Ada"))]
        );
        assert_eq!(user.increment("visits", 5).await.unwrap(), 5);
        assert_eq!(cmd("HINCRBY").arg(&["user:1", "visits", "-7"]).query(connection), Ok(-2));
        assert_eq!(user.get("visits").await.unwrap(), Some(bytes("-2")));
        assert_eq!(user.multi_delete(["died", "nosuch", ""]).await.unwrap(), 2);
        assert_eq!(cmd("HLEN").arg("user:1").query(connection), Ok(3));
        assert!(matches!(table.get("user:1").await, Err(Error::Rejected(text)) if text.starts_with("WRONGTYPE")));
    });
}

#[test]
fn sort_keys_are_scanned_in_the_order_of_their_bytes_in_both_directions() {
    let cluster = Cluster::start(Options::default());
    runtime().block_on(async {
        let table = open(&cluster.meta(), "default").await;
        let days = table.hash("days");
        let names: Vec<String> = (0..2000).map(|day| format!("{day:05}")).collect();
        // Written last to first: the order must come from the keys.
        for names in names.rchunks(300) {
            days.multi_set(
                names
                    .iter()
                    .rev()
                    .map(|name| (name.clone(), format!("v{name}"))),
            )
            .await
            .unwrap();
        }
        let expected: Vec<(Bytes, Bytes)> = names
            .iter()
            .map(|name| (Bytes::from(name.clone()), Bytes::from(format!("v{name}"))))
            .collect();
        let all = days
            .scan_all(ScanOptions::new().page(128))
            .collect()
            .await
            .unwrap();
        assert_eq!(all, expected);
        let mut back = days
            .scan_all(ScanOptions::new().reverse().page(97))
            .collect()
            .await
            .unwrap();
        back.reverse();
        assert_eq!(back, expected);
        let some = days
            .scan("00010".."00013", ScanOptions::new())
            .collect()
            .await
            .unwrap();
        assert_eq!(
            some,
            pairs(&[
                ("00010", "v00010"),
                ("00011", "v00011"),
                ("00012", "v00012")
            ])
        );
        let last = days
            .scan("00010"..="00020", ScanOptions::new().reverse().limit(2))
            .collect()
            .await
            .unwrap();
        assert_eq!(last, pairs(&[("00020", "v00020"), ("00019", "v00019")]));
    });
}

#[test]
fn values_and_sort_keys_set_with_a_ttl_are_gone_after_it() {
    let cluster = Cluster::start(Options::default());
    let connection = &mut redis(&cluster.gateway());
    let runtime = runtime();
    let table = runtime.block_on(open(&cluster.meta(), "default"));
    let hash = table.hash("hash");
    runtime.block_on(async {
        let soon = || SetOptions::new().ttl(Duration::from_millis(300));
        table.set_with("short", "v", soon()).await.unwrap();
        hash.set_with("short", "v", soon()).await.unwrap();
        hash.set("stays", "v").await.unwrap();
        table
            .set_with(
                "long",
                "v",
                SetOptions::new().ttl(Duration::from_secs(1000)),
            )
            .await
            .unwrap();
    });
    let left: i64 = cmd("TTL").arg("long").query(connection).unwrap();
    assert!((900..=1000).contains(&left), "{left} s left");
    until("the value is gone", || {
        runtime.block_on(table.get("short")).unwrap().is_none()
    });
    until("the sort key is gone", || {
        runtime.block_on(hash.get("short")).unwrap().is_none()
    });
    let all = runtime
        .block_on(hash.scan_all(ScanOptions::new()).collect())
        .unwrap();
    assert_eq!(all, pairs(&[("stays", "v")]));
    assert_eq!(cmd("HLEN").arg("hash").query(connection), Ok(1));
}

#[test]
fn a_value_too_large_is_refused_and_the_connection_goes_on() {
    let cluster = Cluster::start(Options::default().partitions(1));
    runtime().block_on(async {
        let table = open(&cluster.meta(), "default").await;
        let large = Bytes::from(vec![b'x'; 80 << 20]);
        let (refused, beside) = tokio::join!(table.set("large", large), table.set("small", "v"));
        assert!(matches!(refused, Err(Error::Rejected(_))), "{refused:?}");
        beside.unwrap();
        assert_eq!(table.get("large").await.unwrap(), None);
        assert_eq!(table.get("small").await.unwrap(), Some(bytes("v")));
        let long = "k".repeat(70_000);
        assert!(matches!(
            table.set(long, "v").await,
            Err(Error::Rejected(_))
        ));
        // Large, but allowed.
        let value = Bytes::from(vec![b'y'; 8 << 20]);
        table.set("large", value.clone()).await.unwrap();
        assert_eq!(table.get("large").await.unwrap(), Some(value));
    });
    cluster.equal_copies("default", 3);
}
