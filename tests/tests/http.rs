//! Health, readiness and metrics of a whole cluster, and that documents, alerts and dashboard speak of metrics that exist.

use redis::cmd;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tests::doors::redis;
use tests::http::{Metrics, get, try_get};
use tests::program::{command, run};
use tests::{Cluster, Options, Server, eventually, process};

fn http(server: &Server) -> String {
    server.http.clone().expect("every server speaks HTTP")
}

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).expect("it is in the repository")
}

/// Waits until a server answers like that.
fn until_status(server: &Server, path: &str, expected: u16) -> String {
    let address = http(server);
    eventually(
        &format!("{} says {expected} at {path}", server.name),
        || match try_get(&address, path)? {
            (status, text) if status == expected => Ok(text),
            (status, text) => Err(format!("{status} {text}")),
        },
    )
}

/// The metrics that docs/metrics.md names: what is in backticks in the first columns of its tables.
fn documented() -> BTreeSet<String> {
    let text = read("docs/metrics.md");
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let names = rows.flat_map(|row| {
        let first = row.split('|').nth(1).unwrap_or_default();
        first.split('`').skip(1).step_by(2)
    });
    names
        .filter(|name| !name.starts_with('/'))
        .map(str::to_owned)
        .collect()
}

/// Words in a text that look like one of our metrics.
fn mentioned(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "_:".contains(c)));
    // What rules record has colons.
    let ours = words.filter(|word| {
        !word.contains(':') && (word.starts_with("tulpar_") || word.starts_with("process_"))
    });
    let base = |word: &str| {
        let endings = ["_bucket", "_sum", "_count"];
        let base = endings.iter().find_map(|end| word.strip_suffix(end));
        base.unwrap_or(word).to_owned()
    };
    ours.map(base).collect()
}

#[test]
fn a_cluster_that_serves_is_healthy_and_ready_and_stays_so_without_its_meta_server() {
    let cluster = Cluster::start(Options::default());
    for server in cluster.servers() {
        assert_eq!(get(&http(&server), "/health"), (200, "ok\n".into()));
        until_status(&server, "/ready", 200);
    }
    let meta = cluster.server("meta-1");
    process::stop(meta.process());
    for server in cluster
        .servers()
        .iter()
        .filter(|server| server.role != "meta")
    {
        assert_eq!(get(&http(server), "/ready").0, 200, "{}", server.name);
    }
    process::go_on(meta.process());
    until_status(&meta, "/ready", 200);
}

/// A process that ends with the test.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_replica_server_that_never_reached_a_meta_leader_is_healthy_and_not_ready() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("replica.toml");
    let text = format!(
        "[replica]\nlisten = \"127.0.0.1:0\"\nredis = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\nhttp_secret = \"wolf\"\nmeta = [\"127.0.0.1:1\"]\ndata_dir = {:?}\n",
        directory.path().join("data").to_string_lossy()
    );
    std::fs::write(&config, text).expect("a configuration");
    let started = command(["replica", "--config"])
        .arg(&config)
        .stdout(Stdio::piped())
        .spawn();
    let mut server = Started(started.expect("tulpar starts"));
    let stdout = server.0.stdout.take().expect("its stdout is a pipe");
    let mut line = String::new();
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("it says that it is ready");
    let address = line
        .trim_end()
        .rsplit_once("http ")
        .expect("it says where")
        .1;
    let (status, why) = get(address, "/ready");
    assert_eq!(status, 503);
    assert!(why.contains("no meta leader"), "{why}");
    assert_eq!(get(address, "/health"), (200, "ok\n".into()));
    assert_eq!(get(address, "/metrics").0, 401, "the secret is wanted");
}

#[test]
fn metrics_count_what_was_done() {
    let cluster = Cluster::start(Options::default());
    let mut client = redis(&cluster.gateway());
    for number in 0..200 {
        let key = format!("k{number}");
        cmd("SET")
            .arg(&key)
            .arg("v")
            .exec(&mut client)
            .expect("SET");
        let value: String = cmd("GET").arg(&key).query(&mut client).expect("GET");
        assert_eq!(value, "v");
    }
    cmd("INCR")
        .arg("k1")
        .exec(&mut client)
        .expect_err("it is no number");
    let all: Vec<Metrics> = cluster
        .replica_servers()
        .iter()
        .map(|server| Metrics::of(&http(server)))
        .collect();
    let sum = |name, labels| {
        all.iter()
            .map(|metrics| metrics.sum(name, labels))
            .sum::<f64>()
    };
    let table = "table=\"default\"";
    assert!(sum("tulpar_table_writes_total", table) >= 200.0);
    assert!(sum("tulpar_table_reads_total", table) >= 200.0);
    assert!(sum("tulpar_table_written_bytes_total", table) > 1000.0);
    assert!(sum("tulpar_command_errors_total", "") >= 1.0);
    assert!(sum("tulpar_commit_seconds_count", "") >= 200.0);
    assert!(sum("tulpar_log_disk_seconds_count", "sync") >= 200.0);
    let partitions = sum("tulpar_replicas", "primary");
    assert!((sum("tulpar_replicas", "secondary") - 2.0 * partitions).abs() < 0.5);
    for (metrics, server) in all.iter().zip(cluster.replica_servers()) {
        assert!(
            metrics.sum("tulpar_lease_margin_seconds", "") > 0.0,
            "{}",
            server.name
        );
        assert!((metrics.sum("tulpar_meta_connected", "") - 1.0).abs() < 0.5);
    }
    let gateway = Metrics::of(&http(&cluster.server("gateway-1")));
    assert!(gateway.sum("tulpar_resp_commands_total", "") >= 401.0);
    assert!(gateway.sum("tulpar_resp_connections", "") >= 1.0);
    let meta = Metrics::of(&http(&cluster.server("meta-1")));
    assert!((meta.sum("tulpar_meta_partitions", "") - partitions).abs() < 0.5);
    assert!(meta.sum("tulpar_meta_partitions_unwell", "") < 0.5);
}

#[test]
fn every_metric_is_documented_and_every_documented_one_exists() {
    let cluster = Cluster::start(Options::default());
    let exported: BTreeSet<String> = cluster
        .servers()
        .iter()
        .flat_map(|server| Metrics::of(&http(server)).names())
        .collect();
    assert_eq!(documented(), exported);
}

#[test]
fn alerts_and_dashboard_speak_of_metrics_that_exist() {
    let documented = documented();
    for path in [
        "deploy/prometheus/rules.yml",
        "deploy/prometheus/rules.test.yml",
        "deploy/grafana/tulpar.json",
    ] {
        let mentioned = mentioned(&read(path));
        assert!(!mentioned.is_empty(), "{path} mentions metrics");
        let unknown: Vec<_> = mentioned.difference(&documented).collect();
        assert!(unknown.is_empty(), "{path} mentions {unknown:?}");
    }
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("deploy/grafana/tulpar.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let expressions = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    for target in expressions {
        let expression = target["expr"].as_str().expect("an expression");
        assert!(!mentioned(expression).is_empty(), "{expression}");
    }
}

#[test]
fn prometheus_takes_the_rules_and_they_fire_as_they_should() {
    let promtool = |arguments: &[&str]| {
        let ended = run(Command::new("promtool")
            .args(arguments)
            .current_dir(file("deploy/prometheus")));
        assert!(ended.status.success(), "{arguments:?}: {ended:?}");
    };
    promtool(&["check", "rules", "rules.yml"]);
    promtool(&["check", "config", "prometheus.yml"]);
    promtool(&["test", "rules", "rules.test.yml"]);
}

#[test]
fn prometheus_takes_the_metrics_as_they_are() {
    let cluster = Cluster::start(Options::default());
    for server in cluster.servers() {
        let (_, text) = get(&http(&server), "/metrics");
        let saved = cluster.scratch(&server.name);
        std::fs::write(&saved, text).expect("a file");
        let input = std::fs::File::open(&saved).expect("the file");
        let output = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(input)
            .output()
            .expect("promtool");
        // 3: it has advice about names. 1: it cannot read them.
        let read = matches!(output.status.code(), Some(0 | 3));
        assert!(read, "{}: {output:?}", server.name);
    }
}
