//! A table in service is given another durability: nothing is lost on the way, wherever it is interrupted.

use tests::doors::{Redis, Sdk, Sending};
use tests::http::{Metrics, try_get};
use tests::poll::until;
use tests::writers::{Writers, check, seed};
use tests::{Cluster, Door, Options};

fn doors(cluster: &Cluster) -> Vec<(String, Box<dyn Door>)> {
    let redis = Redis::new(&cluster.gateway(), Sending::Pipelined);
    let sdk = Sdk::new(&cluster.meta(), "default");
    vec![
        ("redis".into(), Box::new(redis)),
        ("sdk".into(), Box::new(sdk)),
    ]
}

fn alter(cluster: &Cluster, durability: &str) {
    let altered = cluster.shell(&["table", "alter", "default", "--durability", durability]);
    assert_eq!(altered["durability"], durability, "{altered}");
}

/// All replicas of all servers are in the log of that durability.
fn wait_until_all_are(cluster: &Cluster, durability: &str) {
    let others = if durability == "sync" {
        "buffered"
    } else {
        "sync"
    };
    until(
        &format!("all replicas are in the log of durability {durability}"),
        || {
            cluster.replica_servers().into_iter().all(|server| {
                let Some(address) = server.http.filter(|http| try_get(http, "/metrics").is_ok())
                else {
                    return false;
                };
                let metrics = Metrics::of(&address);
                let in_log =
                    |of| metrics.sum("tulpar_replicas_in_log", &format!("durability=\"{of}\""));
                in_log(durability) > 0.0
                    && in_log(others) == 0.0
                    && metrics.sum("tulpar_replicas_changing_durability", "") == 0.0
            })
        },
    );
}

fn changes_under_writes(first: &str, second: &str) {
    let mut cluster = Cluster::start(Options::default().durability(first));
    let writers = Writers::start(seed(), doors(&cluster));
    writers.go_on(300);
    alter(&cluster, second);
    wait_until_all_are(&cluster, second);
    writers.go_on(300);
    alter(&cluster, first);
    let killed = cluster.kill(&cluster.replica_servers()[0].name);
    cluster.restarted(&cluster.replica_servers()[0].name, killed);
    wait_until_all_are(&cluster, first);
    writers.go_on(300);
    for durability in [second, first, second] {
        alter(&cluster, durability);
        cluster.kill_everything();
        cluster.start_again();
        writers.go_on(100);
    }
    wait_until_all_are(&cluster, second);
    let record = writers.stop();
    cluster.kill_everything();
    cluster.start_again();
    check(
        &record,
        &mut Redis::new(&cluster.gateway(), Sending::Pipelined),
    );
    cluster.equal_copies("default", 3);
    let logs = cluster.logs();
    assert!(!logs.contains("learns anew"), "{logs}");
}

#[test]
fn a_table_becomes_buffered_and_sync_again_under_writes_and_kills() {
    changes_under_writes("sync", "buffered");
}

#[test]
fn a_table_becomes_sync_and_buffered_again_under_writes_and_kills() {
    changes_under_writes("buffered", "sync");
}
