//! Busy processes beside the servers, twice as many as there are cores: nobody takes them for dead. The threads that keep leases need little
//! and wait for it less than a lease lasts, as long as the scheduler is fair.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::thread::available_parallelism;
use tests::doors::redis;
use tests::fleet::{Fleet, FleetOptions};

/// What each server's beacon thread must have woken for: with two peers and a beacon to each every 100 ms this is many of them.
const WAKE_UPS: u64 = 600;

/// Processes that do nothing but take processor time. They end with this value.
struct Spinners(Vec<Child>);

impl Spinners {
    fn start(count: usize) -> Self {
        // They must not outlive the test, however it ends.
        let spin = format!("while kill -0 {}; do :; done", std::process::id());
        let spin = |_| {
            Command::new("sh")
                .args(["-c", &spin])
                .stdin(Stdio::null())
                .spawn()
                .expect("there is a shell")
        };
        Self((0..count).map(spin).collect())
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// How often the beacon thread of each replica server has waited for something and got it.
fn wake_ups(fleet: &Fleet) -> BTreeMap<String, u64> {
    let of = |process: u32| {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("it lives");
        let text = |task: &std::path::Path, file| {
            std::fs::read_to_string(task.join(file)).unwrap_or_default()
        };
        let tasks = tasks.flatten().map(|task| task.path());
        let thread = tasks.filter(|task| text(task, "comm").trim_end() == "beacons");
        let status: String = thread.map(|task| text(&task, "status")).collect();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        let count = line.and_then(|count| count.trim().parse().ok());
        count.expect("the beacon thread is there")
    };
    let servers = fleet.replica_servers();
    servers
        .map(|server| (server.name.clone(), of(server.pid().expect("it runs"))))
        .collect()
}

#[test]
fn no_lease_lapses_and_no_configuration_changes_while_every_core_is_busy() {
    let fleet = Fleet::start(FleetOptions {
        partitions: 4,
        namespaces: false,
        ..FleetOptions::default()
    });
    let gateway = fleet.redis_ports().pop().expect("there is a gateway");
    let mut connection = redis(&gateway);
    let keys: Vec<String> = (0..50).map(|key| format!("key:{key}")).collect();
    for key in &keys {
        redis::cmd("SET")
            .arg(key)
            .arg("value")
            .exec(&mut connection)
            .expect("a healthy cluster takes writes");
    }
    let before = fleet.whole();
    let cores = available_parallelism().expect("there are some").get();
    let spinners = Spinners::start(2 * cores);
    let woken = wake_ups(&fleet);
    let mut reads = 0;
    loop {
        for key in &keys {
            let read: Option<String> = redis::cmd("GET")
                .arg(key)
                .query(&mut connection)
                .unwrap_or_else(|error| panic!("read {reads}: {error}"));
            assert_eq!(read.as_deref(), Some("value"));
            reads += 1;
        }
        let now = wake_ups(&fleet);
        if woken
            .iter()
            .all(|(name, before)| now[name] >= before + WAKE_UPS)
        {
            break;
        }
    }
    println!("{reads} reads, {woken:?} to {:?}", wake_ups(&fleet));
    assert_eq!(fleet.whole(), before);
    drop(spinners);
}
