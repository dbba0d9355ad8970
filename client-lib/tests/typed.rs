//! The typed surface, from a call to a server's answer.

mod support;

use futures::TryStreamExt;
use proto::data::request::Operation;
use std::time::Duration;
use support::Cluster;
use tulpar_client::{Error, Kind, ScanOptions, SetOptions};

#[tokio::test]
async fn strings_are_set_read_and_deleted_on_the_partitions_of_their_keys() {
    let cluster = Cluster::usual(8);
    let table = cluster.client().await.table("t").await.unwrap();
    for i in 0..200 {
        table
            .set(format!("key{i}"), format!("value{i}"))
            .await
            .unwrap();
    }
    for i in 0..200 {
        assert_eq!(
            table.get(format!("key{i}")).await.unwrap().unwrap(),
            format!("value{i}")
        );
    }
    assert!(table.delete("key7").await.unwrap());
    assert!(!table.delete("key7").await.unwrap());
    assert_eq!(table.get("key7").await.unwrap(), None);
    assert!(
        cluster
            .lock()
            .table("t")
            .partitions
            .iter()
            .all(|partition| !partition.log.is_empty())
    );
    // one stream per server, however many partitions
    assert_eq!(cluster.lock().streams, 3);
}

#[tokio::test]
async fn entries_of_a_hash_key_are_written_read_counted_and_deleted() {
    let cluster = Cluster::usual(4);
    let hash = cluster
        .client()
        .await
        .table("t")
        .await
        .unwrap()
        .hash("user:1");
    hash.set("name", "Umay").await.unwrap();
    hash.multi_set([("a", "1"), ("b", "2")]).await.unwrap();
    assert_eq!(hash.get("name").await.unwrap().unwrap(), "Umay");
    assert_eq!(
        hash.multi_get(["b", "none", "a"]).await.unwrap(),
        [Some("2".into()), None, Some("1".into())]
    );
    assert_eq!(hash.increment("a", 41).await, Ok(42));
    assert_eq!(hash.increment("fresh", -1).await, Ok(-1));
    assert_eq!(
        hash.increment("name", 1).await,
        Err(Error::Rejected("ERR hash value is not an integer".into()))
    );
    assert_eq!(hash.multi_delete(["a", "b", "none"]).await, Ok(2));
    assert_eq!(hash.delete("a").await, Ok(false));
    assert_eq!(hash.multi_get([] as [&str; 0]).await, Ok(vec![]));
    hash.multi_set([] as [(&str, &str); 0]).await.unwrap();
}

#[tokio::test]
async fn a_time_to_live_travels_in_milliseconds_and_is_never_rounded_to_for_ever() {
    let cluster = Cluster::usual(1);
    let table = cluster.client().await.table("t").await.unwrap();
    table
        .set_with("k", "v", SetOptions::new().ttl(Duration::from_secs(2)))
        .await
        .unwrap();
    table
        .set_with("k", "v", SetOptions::new().ttl(Duration::from_nanos(1)))
        .await
        .unwrap();
    table.set("k", "v").await.unwrap();
    let ttls: Vec<_> = cluster.lock().table("t").partitions[0]
        .log
        .iter()
        .map(|operation| match operation {
            Operation::Set(set) => set.ttl,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ttls, [2000, 1, 0]);
}

#[tokio::test]
async fn a_scan_gives_each_entry_of_its_range_once_in_order_and_backwards() {
    let cluster = Cluster::usual(1);
    let hash = cluster.client().await.table("t").await.unwrap().hash("h");
    let keys: Vec<String> = (0..100).map(|i| format!("{i:03}")).collect();
    hash.multi_set(keys.iter().map(|key| (key, key.clone())))
        .await
        .unwrap();
    let names = |entries: Vec<(bytes::Bytes, bytes::Bytes)>| -> Vec<String> {
        entries
            .into_iter()
            .map(|(key, _)| String::from_utf8(key.to_vec()).unwrap())
            .collect()
    };
    assert_eq!(
        names(hash.scan_all(ScanOptions::new()).collect().await.unwrap()),
        keys
    );
    assert_eq!(
        names(
            hash.scan("010".."020", ScanOptions::new())
                .collect()
                .await
                .unwrap()
        ),
        keys[10..20]
    );
    assert_eq!(
        names(
            hash.scan("010"..="020", ScanOptions::new().page(3))
                .collect()
                .await
                .unwrap()
        ),
        keys[10..=20]
    );
    let backwards: Vec<_> = keys[50..].iter().rev().cloned().collect();
    assert_eq!(
        names(
            hash.scan("050".., ScanOptions::new().reverse().page(4))
                .collect()
                .await
                .unwrap()
        ),
        backwards
    );
    assert_eq!(
        names(
            hash.scan("050".., ScanOptions::new().reverse().limit(9))
                .collect()
                .await
                .unwrap()
        ),
        backwards[..9]
    );
    assert_eq!(
        hash.scan("b".."a", ScanOptions::new()).collect().await,
        Ok(vec![])
    );
    assert_eq!(
        hash.scan_all(ScanOptions::new().limit(0)).collect().await,
        Ok(vec![])
    );
    let streamed: Vec<_> = hash
        .scan(.."030", ScanOptions::new())
        .into_stream()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(names(streamed), keys[..30]);
}

#[tokio::test]
async fn a_generic_command_goes_to_the_partition_of_its_first_argument() {
    let cluster = Cluster::usual(8);
    let table = cluster.client().await.table("t").await.unwrap();
    assert_eq!(
        table.command(["APPEND", "k", "v"]).await.unwrap(),
        "*3\r\n$6\r\nAPPEND\r\n$1\r\nk\r\n$1\r\nv\r\n"
    );
    let at = table.partition_of("k") as usize;
    assert_eq!(cluster.lock().table("t").partitions[at].log.len(), 1);
    assert_eq!(
        table.command_on(5, Kind::Read, ["DBSIZE"]).await.unwrap(),
        "*1\r\n$6\r\nDBSIZE\r\n"
    );
    assert!(matches!(
        table.command(["DBSIZE"]).await,
        Err(Error::Rejected(_))
    ));
    assert!(matches!(
        table.command_on(8, Kind::Read, ["DBSIZE"]).await,
        Err(Error::Rejected(_))
    ));
}

#[tokio::test]
async fn a_password_opens_its_table_and_no_other_does() {
    let cluster = Cluster::usual(2);
    cluster.create("secret", 9, 2, Some("open"));
    let client = cluster.client().await;
    assert!(matches!(
        client.table("secret").await,
        Err(Error::Unauthorized(_))
    ));
    assert!(matches!(
        client.table_with_password("secret", "wrong").await,
        Err(Error::Unauthorized(_))
    ));
    let table = client.table_with_password("secret", "open").await.unwrap();
    table.set("k", "v").await.unwrap();
    // what one handle unlocked stays locked for a handle without the password
    assert!(matches!(
        client.table_with_password("secret", "wrong").await,
        Err(Error::Unauthorized(_))
    ));
    assert!(matches!(
        client.table("secret").await,
        Err(Error::Unauthorized(_))
    ));
    let with_option = tulpar_client::Client::connect(cluster.options().password("secret", "open"))
        .await
        .unwrap();
    assert_eq!(
        with_option
            .table("secret")
            .await
            .unwrap()
            .get("k")
            .await
            .unwrap()
            .unwrap(),
        "v"
    );
    // a table without one takes any, and is then the same table
    client
        .table_with_password("t", "any")
        .await
        .unwrap()
        .set("k", "v")
        .await
        .unwrap();
    assert_eq!(
        client
            .table("t")
            .await
            .unwrap()
            .get("k")
            .await
            .unwrap()
            .unwrap(),
        "v"
    );
}

#[tokio::test]
async fn a_value_of_ten_megabytes_passes_and_one_beyond_the_limit_is_rejected() {
    let cluster = Cluster::usual(1);
    let table = cluster.client().await.table("t").await.unwrap();
    let large = vec![b'x'; 10 << 20];
    table.set("large", large.clone()).await.unwrap();
    assert_eq!(table.get("large").await.unwrap().unwrap(), large);
    assert!(matches!(
        table.set("larger", vec![0; 73 << 20]).await,
        Err(Error::Rejected(_))
    ));
    assert_eq!(table.get("larger").await, Ok(None));
}

#[test]
fn the_client_works_on_a_single_threaded_runtime_and_from_other_threads() {
    let cluster = Cluster::usual(4);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let table = cluster.client().await.table("t").await.unwrap();
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let table = table.clone();
                tokio::task::spawn_blocking(move || {
                    tokio::runtime::Builder::new_current_thread()
                        .build()
                        .unwrap()
                        .block_on(async {
                            for i in 0..100 {
                                table.set(format!("{thread}:{i}"), "v").await?;
                            }
                            Ok::<_, Error>(())
                        })
                })
            })
            .collect();
        for thread in threads {
            thread.await.unwrap().unwrap();
        }
    });
    let applied: usize = cluster
        .lock()
        .table("t")
        .partitions
        .iter()
        .map(|partition| partition.log.len())
        .sum();
    assert_eq!(applied, 400);
}
