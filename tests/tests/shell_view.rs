//! What operators see of a cluster in the shell, on terminals of any width and in scripts. Real processes.

use tests::cluster::{Cluster, Options};
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
    let partial = tests::eventually("the others are still asked", || {
        let hot = cluster.try_shell(&["hot"])?;
        let silent = hot["unanswered"].as_array().expect("a list").len();
        (silent == 1).then_some(()).ok_or_else(|| hot.to_string())
    });
    let () = partial;
    cluster.restarted("replica-3", killed);
    let refused = cluster.shell_run(&["hot", "nowhere"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains("nowhere"), "{refused:?}");
}
