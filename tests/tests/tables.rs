//! Tables: created, listed, shown, dropped and recalled by the shell; each a keyspace of its own with its own durability and password.

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
