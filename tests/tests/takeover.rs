//! `kill -9` of replica servers while clients of every kind write: writes go on, nothing acknowledged is lost, the killed server
//! comes back and its copies become equal to the others.
//!
//! Pauses, cut links and clocks are the simulator's affair.

use redis::{ConnectionLike, Value, from_redis_value};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;
use tests::doors::{Redis, Sdk, Sending, redis};
use tests::poll::until;
use tests::writers::{Writers, check, seed};
use tests::{Cluster, Door, Options};

fn doors(cluster: &Cluster) -> Vec<(String, Box<dyn Door>)> {
    let (gateway, meta) = (cluster.gateway(), cluster.meta());
    let mut doors: Vec<(String, Box<dyn Door>)> = Vec::new();
    for number in 1..=2 {
        doors.push((
            format!("single-{number}"),
            Box::new(Redis::new(&gateway, Sending::Single)),
        ));
        doors.push((
            format!("pipelined-{number}"),
            Box::new(Redis::new(&gateway, Sending::Pipelined)),
        ));
        doors.push((
            format!("sdk-{number}"),
            Box::new(Sdk::new(&meta, "default")),
        ));
    }
    doors
}

#[test]
fn every_acknowledged_write_survives_the_kill_of_each_replica_server_in_turn() {
    let cluster = Cluster::start(Options::default());
    let writers = Writers::start(seed(), doors(&cluster));
    writers.go_on(200);
    for server in cluster.replica_servers() {
        let killed = cluster.kill(&server.name);
        println!("killed {}", server.name);
        writers.go_on(200);
        cluster.restarted(&server.name, killed);
        cluster.equal_copies("default", 3);
        writers.go_on(200);
    }
    let record = writers.stop();
    let partitions = cluster.equal_copies("default", 3);
    for partition in &partitions {
        assert!(
            partition["ballot"].as_u64() > Some(1),
            "each partition lost each member once: {partition}"
        );
    }
    check(&record, &mut Sdk::new(&cluster.meta(), "default"));
    for port in cluster.redis_ports() {
        check(&record, &mut Redis::new(&port, Sending::Pipelined));
    }
}

#[test]
fn no_client_sees_an_error_when_the_replica_servers_are_stopped_in_turn() {
    let cluster = Cluster::start(Options::default());
    let writers = Writers::start(seed(), doors(&cluster));
    writers.go_on(200);
    for server in cluster.replica_servers() {
        let stopped = cluster.terminate(&server.name);
        println!("stopped {}", server.name);
        writers.go_on(200);
        cluster.restarted(&server.name, stopped);
        cluster.equal_copies("default", 3);
        writers.go_on(200);
    }
    assert_eq!(
        writers.errors(),
        0,
        "a stop that was announced costs no write"
    );
    let record = writers.stop();
    check(&record, &mut Sdk::new(&cluster.meta(), "default"));
}

#[test]
fn an_increment_is_neither_lost_nor_counted_twice_when_primaries_are_killed() {
    let cluster = Cluster::start(Options::default().durability("buffered"));
    let (gateway, keys) = (cluster.gateway(), 32);
    let stop = AtomicBool::new(false);
    let done = AtomicU64::new(0);
    let counted = std::thread::scope(|scope| {
        let counting = scope.spawn(|| {
            let mut counted = vec![(0i64, 0i64); keys];
            let mut connection = redis(&gateway);
            while !stop.load(Ordering::Relaxed) {
                for (key, (acknowledged, unknown)) in counted.iter_mut().enumerate() {
                    let answer = redis::cmd("INCR")
                        .arg(format!("counter:{key}"))
                        .query::<i64>(&mut connection);
                    if let Ok(value) = answer {
                        *acknowledged += 1;
                        done.fetch_add(1, Ordering::Relaxed);
                        let most = *acknowledged + *unknown;
                        assert!(
                            (*acknowledged..=most).contains(&value),
                            "{value} of {acknowledged} to {most}"
                        );
                    } else {
                        *unknown += 1;
                        connection = redis(&gateway);
                    }
                }
            }
            counted
        });
        let goes_on = |more: u64| {
            let before = done.load(Ordering::Relaxed);
            until("increments go on", || {
                counting.is_finished() || done.load(Ordering::Relaxed) >= before + more
            });
        };
        for name in ["replica-2", "replica-3"] {
            goes_on(300);
            let killed = cluster.kill(name);
            goes_on(300);
            cluster.restarted(name, killed);
            cluster.equal_copies("default", 3);
        }
        stop.store(true, Ordering::Relaxed);
        counting.join().expect("every reply was possible")
    });
    let mut connection = redis(&gateway);
    for (key, (acknowledged, unknown)) in counted.into_iter().enumerate() {
        let value: i64 = redis::cmd("GET")
            .arg(format!("counter:{key}"))
            .query(&mut connection)
            .expect("it answers");
        let most = acknowledged + unknown;
        assert!(
            (acknowledged..=most).contains(&value),
            "counter:{key} is {value}, of {acknowledged} to {most}"
        );
    }
}

#[test]
fn writers_go_on_when_the_meta_server_and_the_gateway_are_killed() {
    let cluster = Cluster::start(Options::default().partitions(4));
    let doors: Vec<(String, Box<dyn Door>)> = vec![
        ("sdk".into(), Box::new(Sdk::new(&cluster.meta(), "default"))),
        (
            "gateway".into(),
            Box::new(Redis::new(&cluster.gateway(), Sending::Pipelined)),
        ),
    ];
    let writers = Writers::start(seed(), doors);
    writers.go_on(200);
    for name in ["meta-1", "gateway-1"] {
        let killed = cluster.kill(name);
        cluster.restarted(name, killed);
        writers.go_on(200);
    }
    let record = writers.stop();
    cluster.equal_copies("default", 3);
    check(
        &record,
        &mut Redis::new(&cluster.gateway(), Sending::Pipelined),
    );
}

/// Writes and reads of a few keys in pipelines, all of one connection: a read sees the write before it, and never the one behind it,
/// whatever became of primaries and leases meanwhile.
fn pipelines_in_order(address: &str, stop: &AtomicBool, done: &AtomicU64) -> Result<(), String> {
    const DEPTH: i64 = 64;
    let keys: Vec<String> = (0..4).map(|key| format!("{address}:{key}")).collect();
    let mut connection = redis(address);
    // The newest value of a key that was acknowledged.
    let mut acknowledged = vec![0i64; keys.len()];
    let mut number = 0i64;
    while !stop.load(Ordering::Relaxed) {
        let mut pipe = redis::pipe();
        let first = number + 1;
        for _ in 0..DEPTH {
            number += 1;
            let key = &keys[number as usize % keys.len()];
            pipe.cmd("SET").arg(key).arg(number);
            pipe.cmd("GET").arg(key);
        }
        let answers =
            connection.req_packed_commands(&pipe.get_packed_pipeline(), 0, 2 * DEPTH as usize);
        let answers = answers.map_err(|error| error.to_string())?;
        for (number, answers) in (first..).zip(answers.chunks(2)) {
            let newest = &mut acknowledged[number as usize % keys.len()];
            if answers[0] == Value::Okay {
                *newest = number;
            }
            let seen = match &answers[1] {
                Value::ServerError(_) => continue,
                value => from_redis_value::<i64>(value.clone()).map_err(|e| e.to_string())?,
            };
            if !(*newest..=number).contains(&seen) {
                return Err(format!(
                    "a read behind {number} saw {seen}; {newest} was acknowledged"
                ));
            }
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

#[test]
fn a_pipelined_read_never_sees_what_its_own_connection_wrote_behind_it() {
    let cluster = Cluster::start(Options::default().durability("buffered"));
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let port = cluster.redis_ports().remove(1);
    let doors = [cluster.gateway(), port];
    std::thread::scope(|scope| {
        let pipelines: Vec<_> = doors
            .iter()
            .map(|address| scope.spawn(|| pipelines_in_order(address, &stop, &done)))
            .collect();
        let goes_on = || {
            let before = done.load(Ordering::Relaxed);
            until("reads go on", || {
                pipelines.iter().any(ScopedJoinHandle::is_finished)
                    || done.load(Ordering::Relaxed) >= before + 5_000
            });
        };
        for name in ["replica-2", "replica-3", "replica-2"] {
            goes_on();
            let killed = cluster.kill(name);
            goes_on();
            cluster.restarted(name, killed);
            cluster.equal_copies("default", 3);
        }
        stop.store(true, Ordering::Relaxed);
        for pipeline in pipelines {
            let outcome = pipeline.join().expect("it answers");
            assert_eq!(outcome, Ok(()));
        }
    });
}
