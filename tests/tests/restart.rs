//! A cluster that was stopped, or killed whole, is started again on the same directory: the data is there.

use tests::doors::{Redis, Sdk, Sending};
use tests::writers::{Writers, check, seed};
use tests::{Cluster, Door, Options};

fn doors(cluster: &Cluster) -> Vec<(String, Box<dyn Door>)> {
    vec![
        (
            "single".into(),
            Box::new(Redis::new(&cluster.gateway(), Sending::Single)),
        ),
        (
            "pipelined".into(),
            Box::new(Redis::new(&cluster.gateway(), Sending::Pipelined)),
        ),
        ("sdk".into(), Box::new(Sdk::new(&cluster.meta(), "default"))),
    ]
}

fn stopped_and_started(durability: &str) {
    let mut cluster = Cluster::start(Options::default().durability(durability));
    let writers = Writers::start(seed(), doors(&cluster));
    writers.go_on(300);
    let record = writers.stop();
    cluster.interrupt();
    cluster.start_again();
    check(
        &record,
        &mut Redis::new(&cluster.gateway(), Sending::Pipelined),
    );
    cluster.equal_copies("default", 3);
}

fn killed_whole_and_started(durability: &str) {
    let mut cluster = Cluster::start(Options::default().durability(durability));
    let writers = Writers::start(seed(), doors(&cluster));
    for _ in 0..2 {
        writers.go_on(200);
        cluster.kill_everything();
        cluster.start_again();
    }
    writers.go_on(200);
    let record = writers.stop();
    check(
        &record,
        &mut Redis::new(&cluster.gateway(), Sending::Pipelined),
    );
    check(&record, &mut Sdk::new(&cluster.meta(), "default"));
    cluster.equal_copies("default", 3);
}

#[test]
fn a_cluster_stopped_by_ctrl_c_comes_back_with_its_data_in_durability_sync() {
    stopped_and_started("sync");
}

#[test]
fn a_cluster_stopped_by_ctrl_c_comes_back_with_its_data_in_durability_buffered() {
    stopped_and_started("buffered");
}

#[test]
fn every_acknowledged_write_is_there_after_all_processes_were_killed_in_durability_sync() {
    killed_whole_and_started("sync");
}

#[test]
fn every_acknowledged_write_is_there_after_all_processes_were_killed_in_durability_buffered() {
    killed_whole_and_started("buffered");
}
