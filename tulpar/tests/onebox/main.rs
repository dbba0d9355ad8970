//! `tulpar onebox` as a user meets it: the built program, real servers, real kills. Ports are the system's choice.

mod harness;

use harness::{Client, Onebox, Scratch, refused, wait_for};
use rustix::process::Signal;
use std::net::TcpListener;

#[test]
fn what_was_written_is_there_after_a_stop_and_a_start_on_the_same_directory() {
    let scratch = Scratch::new();
    let onebox = Onebox::start(&scratch, &["--replica-servers", "1", "--partitions", "4"]);
    let before = onebox.published();
    let mut redis = onebox.redis();
    assert_eq!(redis.say("SET greeting hello"), "+OK");
    assert_eq!(redis.say("HSET user:1 name Ada"), ":1");
    assert_eq!(
        onebox.shell(&["get", "greeting"]),
        serde_json::json!("hello")
    );
    assert_eq!(
        onebox.shell(&["hget", "user:1", "name"]),
        serde_json::json!("Ada")
    );
    assert_eq!(
        onebox.shell(&["hset", "user:1", "mail", "a@b"]),
        serde_json::json!(true)
    );
    assert_eq!(redis.say("HGET user:1 mail"), "a@b");
    onebox.stop();

    let onebox = Onebox::start(&scratch, &[]);
    let after = onebox.published();
    assert_eq!(
        after["redis"], before["redis"],
        "clients find it where it was"
    );
    assert_eq!(after["meta"], before["meta"]);
    let mut redis = onebox.redis();
    assert_eq!(redis.say("GET greeting"), "hello");
    assert_eq!(redis.say("HGET user:1 name"), "Ada");
    onebox.stop();
}

#[test]
fn every_acknowledged_write_is_there_after_kill_9_of_everything() {
    for durability in ["sync", "buffered"] {
        let scratch = Scratch::new();
        let onebox = Onebox::start(&scratch, &["--durability", durability]);
        let mut redis = onebox.redis();
        let sets: Vec<String> = (0..500).map(|n| format!("SET key:{n} {n}")).collect();
        assert_eq!(redis.say_all(&sets), vec!["+OK"; sets.len()]);
        onebox.kill();

        let onebox = Onebox::start(&scratch, &[]);
        let mut redis = onebox.redis();
        let gets: Vec<String> = (0..500).map(|n| format!("GET key:{n}")).collect();
        let written: Vec<String> = (0..500).map(|n| n.to_string()).collect();
        assert_eq!(redis.say_all(&gets), written, "{durability}");
        onebox.stop();
    }
}

#[test]
fn writes_go_on_when_a_replica_server_is_killed_and_in_the_end_all_copies_are_equal() {
    let scratch = Scratch::new();
    let onebox = Onebox::start(&scratch, &[]);
    let mut redis = onebox.redis();
    let mut acknowledged = Vec::new();
    let mut written = 0;
    let mut write = |count: usize, acknowledged: &mut Vec<u32>| {
        let wanted = acknowledged.len() + count;
        while acknowledged.len() < wanted {
            written += 1;
            match redis.say(&format!("SET key:{written} {written}")).as_str() {
                "+OK" => acknowledged.push(written),
                // In flight to the server that was killed.
                unknown if unknown.starts_with("-ERR the outcome is unknown") => {}
                refused => panic!("key:{written}: {refused}"),
            }
        }
    };
    write(50, &mut acknowledged);
    let killed = onebox.server("replica-2");
    harness::signal(&killed, Signal::KILL);
    write(150, &mut acknowledged);

    // It is started again, on its old ports, and catches up.
    wait_for("replica-2 to run again", || {
        let now = onebox.server("replica-2");
        now["pid"].is_u64() && now["pid"] != killed["pid"] && now["redis"] == killed["redis"]
    });
    wait_for("three equal copies of everything", || {
        let answer = onebox.shell(&["partitions", "default", "--digest"]);
        let partitions = answer["partitions"].as_array().unwrap();
        let whole = |partition: &serde_json::Value| {
            partition["equal"] == true && partition["copies"].as_array().unwrap().len() == 3
        };
        partitions.len() == 8 && partitions.iter().all(whole)
    });
    // Also through the port of the server that was killed.
    let mut there = Client::connect(killed["redis"].as_str().unwrap());
    let gets: Vec<String> = acknowledged
        .iter()
        .map(|n| format!("GET key:{n}"))
        .collect();
    let written: Vec<String> = acknowledged.iter().map(ToString::to_string).collect();
    assert_eq!(there.say_all(&gets), written);
    onebox.stop();
}

#[test]
fn data_is_served_while_the_meta_server_does_not_answer() {
    let scratch = Scratch::new();
    let onebox = Onebox::start(&scratch, &[]);
    let mut before = onebox.redis();
    assert_eq!(before.say("SET k 1"), "+OK");
    let meta = onebox.server("meta-1");
    harness::signal(&meta, Signal::STOP);
    for number in 0..50 {
        assert_eq!(before.say(&format!("SET k:{number} {number}")), "+OK");
        assert_eq!(before.say(&format!("GET k:{number}")), number.to_string());
    }
    assert_eq!(onebox.redis().say("GET k"), "1", "a new connection");
    harness::signal(&meta, Signal::CONT);
    onebox.stop();
}

#[test]
fn tables_are_made_dropped_and_recalled_from_the_shell() {
    let scratch = Scratch::new();
    let onebox = Onebox::start(&scratch, &["--replica-servers", "1", "--partitions", "1"]);
    let made = onebox.shell(&[
        "table",
        "create",
        "orders",
        "--partitions",
        "2",
        "--replicas",
        "1",
        "--durability",
        "buffered",
        "--password",
        "secret",
    ]);
    assert_eq!(made["durability"], "buffered");
    assert_eq!(made["has_password"], true);
    let mut redis = onebox.redis();
    assert!(redis.say("AUTH orders wrong").starts_with("-WRONGPASS"));
    assert_eq!(redis.say("AUTH orders secret"), "+OK");
    assert_eq!(redis.say("SET k v"), "+OK");
    assert_eq!(onebox.redis().say("GET k"), "(nil)", "another table");

    assert_eq!(
        onebox.shell_refuses(&["table", "create", "orders", "--replicas", "1"]),
        1
    );
    assert_eq!(
        onebox.shell_refuses(&["table", "create", "more", "--replicas", "2"]),
        1
    );
    assert_eq!(onebox.shell_refuses(&["table", "drop", "unknown"]), 1);
    assert_eq!(onebox.shell_refuses(&["tabel", "list"]), 2);
    assert_eq!(
        onebox.shell_refuses(&["--table", "orders", "get", "k"]),
        1,
        "no password"
    );

    onebox.shell(&["table", "drop", "orders"]);
    assert_eq!(
        onebox.shell(&["table", "list"]).as_array().unwrap().len(),
        1
    );
    onebox.shell(&["table", "recall", "orders"]);
    let value = onebox.shell(&["--table", "orders", "--password", "secret", "get", "k"]);
    assert_eq!(value, serde_json::json!("v"));
    onebox.stop();
}

#[test]
fn a_start_that_cannot_be_says_why_in_one_line_with_exit_code_2() {
    let scratch = Scratch::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let one_server = ["--replica-servers", "1", "--base-port", "0"];

    let mut arguments = vec!["onebox", "--data-dir", scratch.path(), "--port", &port];
    arguments.extend(one_server);
    assert!(refused(&arguments, &[]).contains("gateway-1: cannot listen on 127.0.0.1"));

    let file = format!("{}/file", scratch.path());
    std::fs::write(&file, "").unwrap();
    let why = refused(&["onebox", "--data-dir", &file], &[]);
    assert!(why.contains("cannot use directory"), "{why}");

    let mut arguments = vec!["onebox", "--data-dir", scratch.path()];
    arguments.extend(one_server);
    let why = refused(&arguments, &[("TULPAR__REPLICA__LISEN", "127.0.0.1:0")]);
    assert!(why.contains("replica-1") && why.contains("lisen"), "{why}");

    let wrong = format!("{}/wrong.toml", scratch.path());
    std::fs::write(&wrong, "[meta]\nlisten = 127.0.0.1:0\n").unwrap();
    let why = refused(&["meta", "--config", &wrong], &[]);
    assert!(
        why.contains("wrong.toml") && why.contains("line 2"),
        "{why}"
    );
    std::fs::write(&wrong, "[gateway]\nlisten = \"0.0.0.0:0\"\n").unwrap();
    let why = refused(&["gateway", "--config", &wrong], &[]);
    assert!(why.contains("allow_unauthenticated"), "{why}");
}

#[test]
fn one_directory_has_one_onebox() {
    let scratch = Scratch::new();
    let options = ["--replica-servers", "1", "--partitions", "1"];
    let onebox = Onebox::start(&scratch, &options);
    let why = refused(
        &[
            "onebox",
            "--data-dir",
            &onebox.directory(),
            "--base-port",
            "0",
        ],
        &[],
    );
    assert!(why.contains("another onebox runs on"), "{why}");
    assert_eq!(onebox.redis().say("PING"), "+PONG");
    onebox.stop();
}
