//! Tables: created, changed, listed, shown, dropped and recalled by the shell; each a keyspace of its own with its own durability, password
//! and rules.

use redis::cmd;
use tests::doors::{open, redis, runtime};
use tests::{Cluster, Options};
use tulpar_client::{Client, ClientOptions, Error};

#[test]
fn the_shell_creates_lists_shows_drops_and_recalls_tables() {
    let cluster = Cluster::start(Options::default());
    let create = [
        "table",
        "create",
        "orders",
        "--partitions",
        "3",
        "--replicas",
        "2",
        "--durability",
        "buffered",
    ];
    let created = cluster.shell(&create);
    assert_eq!(created["name"], "orders");
    assert_eq!(created["partition_count"], 3);
    assert_eq!(created["replicas"], 2);
    assert_eq!(created["durability"], "buffered");
    assert_eq!(created["has_password"], false);
    assert!(cluster.try_shell(&create).is_err(), "a name is given once");

    let names = || -> Vec<String> {
        let list = cluster.shell(&["table", "list"]);
        let tables = list.as_array().expect("a list").iter();
        tables
            .filter(|table| table["dropped_at_ms"].is_null())
            .map(|table| table["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    assert_eq!(names(), ["default", "orders"]);
    let shown = cluster.shell(&["table", "show", "orders"]);
    assert_eq!(shown["partitions"].as_array().map(Vec::len), Some(3));
    for partition in cluster.equal_copies("orders", 2) {
        assert_eq!(partition["secondaries"].as_array().map(Vec::len), Some(1));
    }
    assert_eq!(cluster.shell(&["--table", "orders", "set", "k", "v"]), true);
    assert_eq!(cluster.shell(&["--table", "orders", "get", "k"]), "v");
    assert!(
        cluster.shell(&["get", "k"]).is_null(),
        "tables share no keys"
    );
    assert_eq!(cluster.shell(&["nodes"]).as_array().map(Vec::len), Some(3));

    cluster.shell(&["table", "drop", "orders"]);
    assert_eq!(names(), ["default"]);
    assert!(
        cluster
            .try_shell(&["--table", "orders", "get", "k"])
            .is_err(),
        "a dropped table serves nothing"
    );
    cluster.shell(&["table", "recall", "orders"]);
    cluster.equal_copies("orders", 2);
    assert_eq!(cluster.shell(&["--table", "orders", "get", "k"]), "v");
}

#[test]
fn the_shell_says_why_it_could_not_and_ends_with_1() {
    let cluster = Cluster::start(Options::default());
    for command in [
        &["table", "show", "nosuch"][..],
        &["table", "drop", "nosuch"],
        &["table", "create", "many", "--replicas", "9"],
        &["--table", "nosuch", "get", "k"],
        &["partitions", "nosuch", "--digest"],
    ] {
        let reason = cluster.try_shell(command).expect_err("this is refused");
        assert!(!reason.contains('\n'), "one line: {reason}");
    }
    assert_eq!(cluster.shell_run(&["nosuch"]).status.code(), Some(2));
}

#[test]
fn a_table_created_with_a_password_says_that_it_has_one() {
    let cluster = Cluster::start(Options::default());
    let create = [
        "table",
        "create",
        "secret",
        "--partitions",
        "1",
        "--password",
        "open sesame",
    ];
    assert_eq!(cluster.shell(&create)["has_password"], true);
    assert_eq!(
        cluster.shell(&["table", "show", "secret"])["has_password"],
        true
    );
}

#[test]
fn a_table_with_a_password_opens_only_with_it() {
    let cluster = Cluster::start(Options::default());
    cluster.shell(&[
        "table",
        "create",
        "secret",
        "--partitions",
        "2",
        "--password",
        "open sesame",
    ]);
    for port in cluster.redis_ports() {
        let connection = &mut redis(&port);
        for wrong in ["", "open", "open sesame!"] {
            let error = cmd("AUTH")
                .arg("secret")
                .arg(wrong)
                .exec(connection)
                .expect_err("a wrong password");
            assert!(error.to_string().contains("WRONGPASS"), "{error}");
        }
        cmd("SET")
            .arg("where")
            .arg("default")
            .exec(connection)
            .expect("still in the table before");
        cmd("AUTH")
            .arg("secret")
            .arg("open sesame")
            .exec(connection)
            .expect("the right password");
        assert_eq!(
            cmd("GET").arg("where").query(connection),
            Ok(None::<String>)
        );
        cmd("SET")
            .arg("where")
            .arg("secret")
            .exec(connection)
            .expect("the table is open");
        assert_eq!(
            cmd("GET").arg("where").query(connection),
            Ok("secret".to_owned())
        );
        cmd("DEL").arg("where").exec(connection).expect("DEL");
        let resp3 = &mut redis(&port);
        cmd("HELLO")
            .arg(&["3", "AUTH", "secret", "open sesame"])
            .exec(resp3)
            .expect("HELLO with AUTH");
        assert_eq!(cmd("DBSIZE").query(resp3), Ok(0));
    }
    runtime().block_on(async {
        let client = Client::connect(ClientOptions::new([cluster.meta()]))
            .await
            .unwrap();
        for wrong in ["", "open"] {
            let refused = client.table_with_password("secret", wrong).await.err();
            assert!(
                matches!(refused, Some(Error::Unauthorized(_))),
                "{refused:?}"
            );
        }
        let table = client
            .table_with_password("secret", "open sesame")
            .await
            .unwrap();
        table.set("k", "v").await.unwrap();
        let default = open(&cluster.meta(), "default").await;
        assert_eq!(default.get("k").await.unwrap(), None);
    });
    assert!(
        cluster
            .try_shell(&["--table", "secret", "get", "k"])
            .is_err()
    );
    assert_eq!(
        cluster.shell(&["--table", "secret", "--password", "open sesame", "get", "k"]),
        "v"
    );
}

#[test]
fn a_password_is_kept_nowhere_as_it_was_given() {
    let cluster = Cluster::start(Options::default());
    cluster.shell(&["table", "create", "secret", "--password", "open sesame"]);
    let mut files = vec![cluster.data_dir()];
    let mut looked_at = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(path).expect("a directory");
            files.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else if let Ok(bytes) = std::fs::read(&path) {
            looked_at += 1;
            let found = bytes.windows(11).any(|window| window == b"open sesame");
            assert!(!found, "{} has the password", path.display());
        }
    }
    assert!(looked_at > 5, "there is something to look at");
}

#[test]
fn a_changed_password_counts_at_once() {
    let cluster = Cluster::start(Options::default());
    cluster.shell(&["table", "create", "secret", "--password", "old"]);
    let connection = &mut redis(&cluster.redis_ports()[0]);
    let auth = |connection: &mut redis::Connection, password: &str| {
        cmd("AUTH").arg("secret").arg(password).exec(connection)
    };
    auth(connection, "old").expect("the password");
    cluster.shell(&["table", "alter", "secret", "--password", "new"]);
    tests::poll::eventually("the new password counts", || {
        auth(connection, "new").map_err(|error| error.to_string())
    });
    auth(connection, "old").expect_err("the old one counts no more");
    let shown = cluster.shell(&["table", "alter", "secret", "--no-password"]);
    assert_eq!(shown["has_password"], false);
}

#[test]
fn what_is_changed_of_a_table_reaches_its_running_replicas_and_outlives_a_restart() {
    let mut cluster = Cluster::start(Options::default());
    let altered = cluster.shell(&[
        "table",
        "alter",
        "default",
        "--default-ttl",
        "1h",
        "--min-replicas",
        "3",
    ]);
    assert_eq!(altered["default_ttl_ms"], 3_600_000);
    let ttl = |cluster: &Cluster| {
        let connection = &mut redis(&cluster.gateway());
        cmd("SET")
            .arg(&["k", "v"])
            .exec(connection)
            .map_err(|error| error.to_string())?;
        let ttl: i64 = cmd("TTL")
            .arg("k")
            .query(connection)
            .map_err(|error| error.to_string())?;
        (3_500..=3_600)
            .contains(&ttl)
            .then_some(())
            .ok_or_else(|| format!("a TTL of {ttl}"))
    };
    tests::poll::eventually("the default TTL counts", || ttl(&cluster));
    cluster.interrupt();
    cluster.start_again();
    tests::poll::eventually("the default TTL counts after a restart", || ttl(&cluster));
    assert_eq!(
        cluster.shell(&["table", "show", "default"])["min_replicas"],
        3
    );

    cluster.shell(&["table", "alter", "default", "--read-only"]);
    let connection = &mut redis(&cluster.gateway());
    tests::poll::eventually("writes are refused", || {
        match cmd("SET").arg(&["k", "w"]).exec(connection) {
            Err(error) if error.to_string().contains("read-only") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    assert_eq!(cmd("GET").arg("k").query(connection), Ok("v".to_owned()));
    cluster.shell(&[
        "table",
        "alter",
        "default",
        "--read-write",
        "--default-ttl",
        "0s",
    ]);
    tests::poll::eventually("writes are taken again, for ever", || {
        cmd("SET")
            .arg(&["k", "w"])
            .exec(connection)
            .map_err(|error| error.to_string())?;
        match cmd("TTL").arg("k").query(connection) {
            Ok(-1) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn a_throttled_table_refuses_what_is_too_much_and_takes_the_rest() {
    let cluster = Cluster::start(Options::default().partitions(1));
    cluster.shell(&["table", "alter", "default", "--write-operations", "5"]);
    let connection = &mut redis(&cluster.gateway());
    let mut refused = None;
    // Far more than a second allows, in far less than a second would take without the rule; then the next second's.
    tests::poll::eventually("a write is refused", || {
        for number in 0..100 {
            if let Err(error) = cmd("SET").arg("k").arg(number).exec(connection) {
                refused = Some(error.to_string());
                return Ok(());
            }
        }
        Err("a hundred writes were taken".to_owned())
    });
    let refused = refused.expect("a refusal");
    assert!(refused.contains("5 writes a second"), "{refused}");
    for _ in 0..100 {
        cmd("GET")
            .arg("k")
            .exec(connection)
            .expect("reads are not throttled");
    }
    tests::poll::eventually("a write is taken again", || {
        cmd("SET")
            .arg(&["k", "again"])
            .exec(connection)
            .map_err(|error| error.to_string())
    });
    // The client library waits for its turn.
    runtime().block_on(async {
        let table = open(&cluster.meta(), "default").await;
        for number in 0..12 {
            table
                .set("k", number.to_string())
                .await
                .expect("a write, sooner or later");
        }
    });
}

#[test]
fn what_reads_find_counts_in_bytes_whatever_its_kind_and_at_secondaries_too() {
    let cluster = Cluster::start(Options::default().partitions(1));
    let large = "v".repeat(100_000);
    let connection = &mut redis(&cluster.gateway());
    for field in 0..10 {
        let mut set = cmd("HSET");
        set.arg("h").arg(field).arg(&large);
        set.exec(connection).expect("a healthy cluster takes it");
    }
    // Each reading of the hash is ten seconds' share.
    cluster.shell(&["table", "alter", "default", "--read-bytes", "100000"]);
    let read = |connection: &mut ::redis::Connection| cmd("HGETALL").arg("h").exec(connection);
    let told = |connection: &mut ::redis::Connection, field: &str| -> usize {
        let info: String = cmd("INFO").query(connection).expect("it answers");
        let mut lines = info.lines();
        let value = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.expect("it is told").trim().parse().expect("a number")
    };
    let mut secondaries = 0;
    for port in cluster.replica_servers() {
        let connection = &mut redis(&port.redis.expect("it has a port for Redis clients"));
        if told(connection, "primaries") > 0 {
            continue;
        }
        secondaries += 1;
        cmd("READONLY").exec(connection).expect("it knows it");
        tests::poll::eventually("reads are refused where they are answered", || {
            let before = told(connection, "stale_reads_answered");
            read(connection).map_err(|error| error.to_string())?;
            if told(connection, "stale_reads_answered") == before {
                return Err("the primary answered".to_owned());
            }
            match read(connection) {
                Err(error) if error.to_string().contains("bytes of reads") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }
    assert_eq!(secondaries, 2);
    tests::poll::eventually("the primary refuses reads too", || {
        match (read(connection), read(connection)) {
            (_, Err(error)) if error.to_string().contains("bytes of reads") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn a_renamed_table_keeps_its_data_and_who_has_it_open_goes_on() {
    let cluster = Cluster::start(Options::default());
    cluster.shell(&["table", "create", "orders", "--partitions", "2"]);
    runtime().block_on(async {
        let table = open(&cluster.meta(), "orders").await;
        table.set("k", "v").await.unwrap();
        let renamed = cluster.shell(&["table", "rename", "orders", "orders-2026"]);
        assert_eq!(renamed["name"], "orders-2026");
        assert_eq!(table.get("k").await.unwrap().as_deref(), Some(&b"v"[..]));
    });
    assert_eq!(cluster.shell(&["--table", "orders-2026", "get", "k"]), "v");
    assert!(
        cluster
            .try_shell(&["--table", "orders", "get", "k"])
            .is_err()
    );
    assert_eq!(cluster.shell(&["--table", "orders-2026", "count"]), 1);
    assert_eq!(
        cluster.shell(&["--table", "orders-2026", "scan", "--match", "k*"]),
        serde_json::json!(["k"])
    );
}
