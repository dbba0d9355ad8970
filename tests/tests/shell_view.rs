//! What operators see of a cluster in the shell, on terminals of any width and in scripts. Real processes.

use redis::{Connection, RedisResult, Value, cmd};
use tests::cluster::{Cluster, Options};
use tests::doors::redis;
use tests::eventually;
use tests::fleet::cluster::TABLE;
use tests::fleet::{Fleet, FleetOptions};
use tests::program::{self, Ended};
use tests::terminal::{self, Shown};

fn in_terminal(cluster: &Cluster, columns: u16, arguments: &[&str]) -> Shown {
    let shell = program::command(["shell", "--meta", &cluster.meta()].iter().chain(arguments));
    let shown = terminal::run(shell, columns);
    assert!(shown.status.success(), "{arguments:?}: {}", shown.text);
    shown
}

fn in_script(cluster: &Cluster, arguments: &[&str]) -> Ended {
    let ended = program::run(&mut program::command(
        ["shell", "--meta", &cluster.meta()].iter().chain(arguments),
    ));
    assert!(ended.status.success(), "{arguments:?}: {ended:?}");
    ended
}

const LISTS: [&[&str]; 4] = [
    &["nodes"],
    &["table", "list"],
    &["partitions", "default"],
    &["partitions", "default", "--digest"],
];

#[test]
fn lists_fit_the_terminal_and_show_everything() {
    let cluster = Cluster::start(Options::default());
    let nodes = cluster.shell(&["nodes"]);
    for columns in [34, 60, 80, 300] {
        for list in LISTS {
            let shown = in_terminal(&cluster, columns, list).text;
            // What a progress bar drew is gone again when the answer comes.
            let answer = shown.rsplit("\u{1b}[2K").next().unwrap_or(&shown);
            for line in answer.lines() {
                let width = line.trim_end().chars().count();
                assert!(
                    width <= columns.into(),
                    "{width} of {columns} in {list:?}:\n{shown}"
                );
            }
        }
        let shown = in_terminal(&cluster, columns, &["nodes"]).text;
        for node in nodes.as_array().expect("a list") {
            for what in ["name", "node", "grpc", "redis"] {
                let what = node[what].as_str().expect("a text");
                assert!(shown.contains(what), "no {what} in\n{shown}");
            }
        }
    }
    let wide = in_terminal(&cluster, 300, &["nodes"]).text;
    assert_eq!(
        wide.lines().count(),
        2 + 3,
        "a line each, and the head's:\n{wide}"
    );
}

#[test]
fn scripts_get_the_same_columns_in_every_line_and_nothing_else() {
    let cluster = Cluster::start(Options::default());
    for (list, columns, rows) in [(LISTS[0], 11, 3), (LISTS[1], 7, 1), (LISTS[2], 5, 8)] {
        let ended = in_script(&cluster, list);
        assert_eq!(ended.stderr, "", "{list:?}");
        let lines: Vec<Vec<&str>> = ended
            .stdout
            .lines()
            .map(|line| line.split('\t').collect())
            .collect();
        assert_eq!(lines.len(), 1 + rows, "{}", ended.stdout);
        for line in &lines {
            assert_eq!(line.len(), columns, "{}", ended.stdout);
        }
    }
    let digests = in_script(&cluster, LISTS[3]);
    assert_eq!(digests.stderr, "", "no progress without a terminal");
    assert!(!digests.stdout.contains('\u{1b}'), "{}", digests.stdout);
}

#[test]
fn the_busiest_partitions_of_all_servers_are_shown() {
    let cluster = Cluster::start(Options::default());
    cluster.shell(&["table", "create", "other", "--partitions", "4"]);
    let route = cluster.shell(&["route", "hot"]);
    let (partition, primary) = (&route["partition"], &route["primary"]["name"]);
    for number in 0..20 {
        cluster.shell(&["set", "hot", &number.to_string()]);
    }
    cluster.shell(&["get", "hot"]);
    cluster.shell(&["--table", "other", "set", "k", "v"]);
    let hot = cluster.shell(&["hot", "--by", "writes"]);
    let hottest = &hot["replicas"][0];
    assert_eq!(&hottest["partition"], partition, "{hot}");
    assert_eq!(&hottest["server"], primary, "{hot}");
    assert_eq!(
        (&hottest["table"], &hottest["role"]),
        (&"default".into(), &"primary".into())
    );
    for what in ["reads", "writes", "bytes"] {
        assert!(hottest[what].as_f64() > Some(0.0), "{hot}");
    }
    assert_eq!(hot["unanswered"], serde_json::json!([]));

    let other = cluster.shell(&["hot", "other"]);
    let replicas = other["replicas"].as_array().expect("a list");
    assert_eq!(replicas.len(), 1, "one key of one table: {other}");
    assert_eq!(replicas[0]["table"], "other");
    let first = cluster.shell(&["hot", "--by", "bytes", "--limit", "1"]);
    assert_eq!(first["replicas"].as_array().map(Vec::len), Some(1));
    assert!(first["more"].as_u64() >= Some(1), "{first}");

    let killed = cluster.kill("replica-3");
    eventually("the others are still asked", || {
        let hot = cluster.try_shell(&["hot"])?;
        let silent = hot["unanswered"].as_array().expect("a list").len();
        (silent == 1).then_some(()).ok_or_else(|| hot.to_string())
    });
    cluster.restarted("replica-3", killed);
    let refused = cluster.shell_run(&["hot", "nowhere"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains("nowhere"), "{refused:?}");
}

/// What SLOWLOG GET tells: the words of each command, and its client.
fn slow_log(connection: &mut Connection) -> Vec<(Vec<String>, String)> {
    type Entry = (i64, i64, i64, Vec<String>, String, String);
    let told: Vec<Entry> = cmd("SLOWLOG")
        .arg("GET")
        .arg(-1)
        .query(connection)
        .expect("a slow log");
    for (_, seconds, micros, ..) in &told {
        assert!(*seconds > 1_600_000_000 && *micros >= 0, "{told:?}");
    }
    let entry = |(_, _, _, words, client, _): Entry| (words, client);
    told.into_iter().map(entry).collect()
}

#[test]
fn every_server_remembers_its_slow_commands_for_redis_clients_of_their_table_and_for_operators() {
    let options = Options::default()
        .setting("TULPAR__REPLICA__SLOW_LOG__THRESHOLD", "1ns")
        .setting("TULPAR__REPLICA__SLOW_LOG__LENGTH", "20");
    let cluster = Cluster::start(options);
    cluster.shell(&["table", "create", "other", "--password", "pw"]);
    let primary = cluster.shell(&["route", "k"])["primary"].clone();
    let address = primary["redis"].as_str().expect("an address");
    let mut here = redis(address);
    let _: () = cmd("SLOWLOG").arg("RESET").query(&mut here).expect("reset");
    let long = "v".repeat(200);
    let _: () = cmd("SET")
        .arg("k")
        .arg(&long)
        .query(&mut here)
        .expect("set");
    let me: String = cmd("CLIENT").arg("INFO").query(&mut here).expect("info");
    let entries = slow_log(&mut here);
    let shown = format!("{}... (72 more bytes)", "v".repeat(128));
    let (_, client) = entries
        .iter()
        .find(|(words, _)| words[..] == ["SET", "k", &shown])
        .unwrap_or_else(|| panic!("no SET in {entries:?}"));
    assert!(
        me.contains(&format!("addr={client} ")),
        "{client} is not {me}"
    );

    let mut gateway = redis(&cluster.gateway());
    let _: Option<String> = cmd("GET").arg("k").query(&mut gateway).expect("get");
    let entries = slow_log(&mut here);
    assert_eq!(entries[0].0, ["get", "k"], "the newest comes first");
    let refused: RedisResult<Value> = cmd("SLOWLOG").arg("GET").query(&mut gateway);
    assert!(refused.is_err_and(|error| error.to_string().contains("each replica server")));

    for _ in 0..30 {
        let _: Option<String> = cmd("GET").arg("k").query(&mut here).expect("get");
    }
    let length: usize = cmd("SLOWLOG").arg("LEN").query(&mut here).expect("len");
    assert_eq!(length, 20, "the latest are kept");
    let mut other = redis(address);
    let _: () = cmd("AUTH")
        .arg("other")
        .arg("pw")
        .query(&mut other)
        .expect("auth");
    assert_eq!(
        slow_log(&mut other),
        [],
        "another table's are none of its business"
    );
    let _: () = cmd("SLOWLOG")
        .arg("RESET")
        .query(&mut other)
        .expect("reset");
    let length: usize = cmd("SLOWLOG").arg("LEN").query(&mut here).expect("len");
    assert_eq!(length, 20, "nor to be forgotten");

    let name = primary["name"].as_str().expect("a name");
    let told = cluster.shell(&["slowlog", "--node", name, "--limit", "5"]);
    let commands = told["commands"].as_array().expect("a list");
    assert_eq!(commands.len(), 5);
    assert!(told["all"].as_u64() >= Some(20), "{told}");
    for command in commands {
        assert_eq!(
            (&command["server"], &command["table"]),
            (&primary["name"], &"default".into())
        );
        assert_eq!(command["command"], serde_json::json!(["GET", "k"]));
    }
    for number in 0..30 {
        let _: () = cmd("SET")
            .arg(format!("key{number}"))
            .arg("v")
            .query(&mut gateway)
            .expect("set");
    }
    let told = cluster.shell(&["slowlog", "--reset"]);
    let servers: std::collections::BTreeSet<&str> = told["commands"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|command| command["server"].as_str())
        .collect();
    assert_eq!(servers.len(), 3, "all servers are asked: {told}");
    let length: usize = cmd("SLOWLOG").arg("LEN").query(&mut here).expect("len");
    assert_eq!(length, 0);
}

#[test]
fn a_write_that_waits_for_its_commit_is_slow() {
    let mut fleet = Fleet::start(FleetOptions {
        partitions: 1,
        namespaces: false,
        ..FleetOptions::default()
    });
    let shell = fleet.shell();
    let placed = fleet.whole().remove(0);
    shell.json(&["--table", TABLE, "set", "k", "before"]);
    shell.json(&["slowlog", "--reset"]);
    let hanging = placed.secondaries[0].clone();
    fleet.server_mut(&hanging).pause();
    // Through the client library, and at the primary's own port.
    shell.json(&["--table", TABLE, "set", "k", "slow"]);
    fleet.server_mut(&hanging).resume();
    let told = eventually("the server that hung is asked again", || {
        let told = shell.try_json(&["slowlog"])?;
        let silent = told["unanswered"].as_array().map_or(1, Vec::len);
        (silent == 0)
            .then_some(told.clone())
            .ok_or(told.to_string())
    });
    let commands = told["commands"].as_array().expect("a list");
    let slow = commands
        .iter()
        .find(|command| command["command"] == serde_json::json!(["set", "k", "slow"]))
        .unwrap_or_else(|| panic!("not in {told}"));
    assert_eq!(slow["server"], placed.primary.as_str());
}

#[test]
fn a_server_shows_what_it_is_set_to_and_what_it_measures() {
    let options = Options::default()
        .setting("TULPAR__REPLICA__HTTP_SECRET", "nobody may see this")
        .setting("TULPAR__REPLICA__BUDGETS__ROW_CACHE", "64MiB");
    let cluster = Cluster::start(options);
    let all = cluster.shell(&["config", "replica-1"]);
    assert_eq!(all["name"], "replica-1");
    assert_eq!(all["http_secret"], "(set)");
    assert_eq!(all["budgets.row_cache"], "64MiB");
    assert_eq!(all["slow_log.length"], 128);
    assert!(!all.to_string().contains("nobody may see"));
    let some = cluster.shell(&["config", "replica-1", "Budgets"]);
    let keys = some.as_object().expect("an object").keys();
    assert!(keys.clone().count() > 3 && keys.clone().all(|key| key.starts_with("budgets.")));

    let replicas = cluster.shell(&["metrics", "replica-2", "tulpar_replicas{"]);
    let count: f64 = replicas
        .as_array()
        .expect("a list")
        .iter()
        .filter(|sample| {
            sample["labels"]["role"] == "primary" || sample["labels"]["role"] == "secondary"
        })
        .filter_map(|sample| sample["value"].as_f64())
        .sum();
    assert!(
        (count - 8.0).abs() < 0.1,
        "it has a copy of all 8 partitions: {replicas}"
    );
    let has_buckets = |told: serde_json::Value| told.to_string().contains("_bucket");
    assert!(!has_buckets(cluster.shell(&["metrics", "replica-2"])));
    assert!(has_buckets(cluster.shell(&[
        "metrics",
        "replica-2",
        "commit_seconds_bucket"
    ])));
    let refused = cluster.shell_run(&["metrics", "replica-9"]);
    assert!(refused.stderr.contains("replica-9"), "{refused:?}");
}

#[test]
fn what_takes_long_shows_how_far_it_is_where_somebody_looks() {
    let cluster = Cluster::start(Options::default());
    let create = ["table", "create", "many", "--partitions", "300"];
    for (command, what) in [
        (
            &["partitions", "default", "--digest"][..],
            "of 8 partitions compared",
        ),
        (&["count"], "of 8 partitions counted"),
        (&create, "of 300 partitions made"),
        (&["slowlog"], "of 3 servers answered"),
    ] {
        let shown = in_terminal(&cluster, 100, command).text;
        let (_, after) = shown
            .rsplit_once(what)
            .unwrap_or_else(|| panic!("no '{what}' in {shown:?}"));
        assert!(after.contains("\u{1b}[2K"), "it is wiped away: {shown:?}");
    }
    assert_eq!(in_script(&cluster, &["count"]).stderr, "");
}
