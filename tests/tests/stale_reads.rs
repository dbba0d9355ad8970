//! Reads at secondaries, by `READONLY` and by the client library: answered by the copies, and never older than their bound, whatever
//! happens to the primary.
//!
//! Nothing here asserts how fast anything is. A writer counts upwards and remembers when each number was acknowledged; a read that
//! began later than that by more than the bound must see the number, or a higher one.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::Scope;
use std::time::{Duration, Instant};
use tests::doors::{redis, runtime, try_redis};
use tests::fleet::cluster::TABLE;
use tests::fleet::server::Server;
use tests::fleet::{Fleet, FleetOptions};
use tests::poll::{eventually, until};
use tests::program::shows_nothing;
use tests::{Cluster, Options, process};
use tulpar_client::{Client, ClientOptions};

const BOUND: Duration = Duration::from_millis(200);
/// `CLOCK_BOOTTIME` here and there is the same clock; the wall clock, by which things expire, is slewed by 5 ms in a second at most.
const SLEW: Duration = Duration::from_millis(50);

fn cluster() -> Cluster {
    let bound = format!("{}ms", BOUND.as_millis());
    Cluster::start(
        Options::default()
            .partitions(1)
            .setting("TULPAR__REPLICA__RESP__READONLY_STALENESS", &bound)
            .setting("TULPAR__GATEWAY__READONLY_STALENESS", &bound),
    )
}

fn readonly(port: &str) -> Option<redis::Connection> {
    let mut connection = try_redis(port).ok()?;
    redis::cmd("READONLY").exec(&mut connection).ok()?;
    Some(connection)
}

/// A field of `INFO replication`; nothing while the server does not answer.
fn told(port: &str, field: &str) -> Option<u64> {
    let mut connection = try_redis(port).ok()?;
    let info: String = redis::cmd("INFO")
        .arg("replication")
        .query(&mut connection)
        .ok()?;
    let value = info
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    value.trim().parse().ok()
}

/// What was acknowledged, and when.
#[derive(Default)]
struct Acknowledged(Mutex<Vec<(Instant, u64)>>);

impl Acknowledged {
    fn push(&self, number: u64) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((Instant::now(), number));
    }

    fn last(&self) -> u64 {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.last().map_or(0, |(_, number)| *number)
    }

    /// What a read that began then must see.
    fn owed(&self, began: Instant) -> u64 {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let old = all.partition_point(|(at, _)| *at + BOUND < began);
        old.checked_sub(1).map_or(0, |last| all[last].1)
    }
}

/// A writer and readers of one key.
struct Clients {
    acknowledged: Acknowledged,
    stop: AtomicBool,
    reads: AtomicU64,
}

/// Stops them, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Clients {
    fn runs(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn write<'a>(&'a self, scope: &'a Scope<'a, '_>, gateway: &'a str) {
        scope.spawn(move || {
            let mut connection = redis(gateway);
            for number in 1.. {
                if !self.runs() {
                    return;
                }
                let mut set = redis::cmd("SET");
                // What is not acknowledged may or may not be seen: a higher number follows in any case.
                match set.arg("number").arg(number).exec(&mut connection) {
                    Ok(()) => self.acknowledged.push(number),
                    Err(_) => connection = redis(gateway),
                }
            }
        });
    }

    fn check(&self, began: Instant, seen: u64, at: &str) {
        let owed = self.acknowledged.owed(began);
        if seen < owed {
            self.stop.store(true, Ordering::Relaxed);
            panic!(
                "{at} answered {seen}; {owed} was acknowledged more than {BOUND:?} before it was asked"
            );
        }
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    fn read_readonly<'a>(&'a self, scope: &'a Scope<'a, '_>, port: String) {
        scope.spawn(move || {
            let mut connection = readonly(&port);
            while self.runs() {
                let Some(open) = &mut connection else {
                    connection = readonly(&port);
                    continue;
                };
                let began = Instant::now();
                match redis::cmd("GET").arg("number").query::<Option<u64>>(open) {
                    Ok(seen) => self.check(began, seen.unwrap_or(0), &port),
                    Err(error) if error.is_io_error() => connection = None,
                    Err(_) => {}
                }
            }
        });
    }

    fn read_by_client<'a>(&'a self, scope: &'a Scope<'a, '_>, meta: &'a str, table: &'a str) {
        scope.spawn(move || {
            runtime().block_on(async {
                let client = Client::connect(ClientOptions::new([meta])).await.unwrap();
                let table = client.table(table).await.unwrap().with_staleness(BOUND);
                while self.runs() {
                    let began = Instant::now();
                    if let Ok(value) = table.get("number").await {
                        let text = value.map(|value| String::from_utf8(value.to_vec()).unwrap());
                        let seen = text.map_or(0, |text| text.parse().unwrap());
                        self.check(began, seen, "the client library");
                    }
                }
            });
        });
    }

    fn go_on(&self, more: u64) {
        let (reads, last) = (self.reads.load(Ordering::Relaxed), self.acknowledged.last());
        until("reads and writes go on", || {
            let reads_now = self.reads.load(Ordering::Relaxed);
            !self.runs() || reads_now >= reads + more && self.acknowledged.last() >= last + 20
        });
    }
}

/// Where clients connect.
struct Addresses {
    gateway: String,
    readonly: Vec<String>,
    meta: String,
    table: &'static str,
}

impl Addresses {
    fn of(cluster: &Cluster) -> Self {
        Self {
            gateway: cluster.gateway(),
            readonly: cluster.redis_ports(),
            meta: cluster.meta(),
            table: "default",
        }
    }
}

/// Clients write and read while `disturb` does what it does.
fn under(addresses: &Addresses, disturb: impl FnOnce(&Clients)) {
    let clients = Clients {
        acknowledged: Acknowledged::default(),
        stop: AtomicBool::new(false),
        reads: AtomicU64::new(0),
    };
    std::thread::scope(|scope| {
        let _at_the_end = Stop(&clients.stop);
        clients.write(scope, &addresses.gateway);
        for port in &addresses.readonly {
            clients.read_readonly(scope, port.clone());
        }
        clients.read_by_client(scope, &addresses.meta, addresses.table);
        clients.go_on(500);
        disturb(&clients);
    });
}

/// The ports of replica servers, the primary's first, by what they say of themselves.
fn ports(cluster: &Cluster) -> Vec<(String, u32)> {
    let mut servers = cluster.replica_servers();
    let leads = |port: &str| {
        eventually("a server tells its role", || {
            told(port, "primaries").ok_or_else(|| "no answer".to_owned())
        })
    };
    servers.sort_by_key(|server| std::cmp::Reverse(leads(server.redis.as_deref().unwrap())));
    let port = |server: &tests::Server| (server.redis.clone().unwrap(), server.process());
    servers.iter().map(port).collect()
}

#[test]
fn secondaries_answer_and_no_answer_is_older_than_its_bound() {
    let cluster = cluster();
    under(&Addresses::of(&cluster), |clients| {
        let ports = ports(&cluster);
        for (secondary, _) in &ports[1..] {
            until("the secondary answers", || {
                told(secondary, "stale_reads_answered").is_some_and(|answered| answered > 100)
            });
        }
        assert_eq!(told(&ports[0].0, "stale_reads_answered"), Some(0));
        clients.go_on(1000);
    });
}

#[test]
fn a_secondary_stops_answering_when_its_primary_stands_still_and_goes_on_with_the_next() {
    let cluster = cluster();
    under(&Addresses::of(&cluster), |clients| {
        let ports = ports(&cluster);
        let passed_on = || -> u64 {
            let told = |(port, _): &(String, u32)| told(port, "stale_reads_passed_on");
            ports[1..].iter().filter_map(told).sum()
        };
        let before = passed_on();
        let (_, primary) = ports[0];
        process::stop(primary);
        until("a secondary leaves reads to the primary", || {
            !clients.runs() || passed_on() > before
        });
        clients.go_on(500);
        process::go_on(primary);
        clients.go_on(1000);
    });
}

#[test]
fn no_answer_is_older_than_its_bound_when_servers_are_killed_in_turn() {
    let cluster = cluster();
    under(&Addresses::of(&cluster), |clients| {
        for server in cluster.replica_servers() {
            let killed = cluster.kill(&server.name);
            clients.go_on(300);
            cluster.restarted(&server.name, killed);
            cluster.equal_copies("default", 3);
            clients.go_on(300);
        }
    });
}

#[test]
fn a_secondary_that_is_cut_off_answers_no_longer_than_its_bound_and_again_when_it_is_back() {
    let fleet = Fleet::start(FleetOptions {
        partitions: 1,
        settings: format!("resp.readonly_staleness = \"{}ms\"", BOUND.as_millis()),
        ..FleetOptions::default()
    });
    if !fleet.network.has_links() {
        return shows_nothing(
            "secondaries that are cut off",
            "it wants namespaces and nft, and root makes namespaces",
        );
    }
    let alone = fleet.server(&fleet.placement().unwrap()[0].secondaries[0]);
    let port = |server: &Server| server.redis.expect("it speaks RESP").reached.to_string();
    let addresses = Addresses {
        gateway: port(fleet.server("gateway-1")),
        readonly: fleet.replica_servers().map(port).collect(),
        meta: fleet.meta(),
        table: TABLE,
    };
    let told = |field| told(&port(alone), field).unwrap_or(0);
    under(&addresses, |clients| {
        until("it answers", || told("stale_reads_answered") > 100);
        for other in fleet
            .servers
            .iter()
            .filter(|other| other.name != alone.name)
        {
            other.host.deafen(&alone.host);
            alone.host.deafen(&other.host);
        }
        let passed_on = told("stale_reads_passed_on");
        // More than one, because one may have waited when the link was cut, and its answer come still.
        until("it leaves reads to the primary", || {
            !clients.runs() || told("stale_reads_passed_on") >= passed_on + 3
        });
        let answered = told("stale_reads_answered");
        clients.go_on(500);
        assert_eq!(
            told("stale_reads_answered"),
            answered,
            "it hears of nothing"
        );
        for server in &fleet.servers {
            server.host.listen();
        }
        until("it answers again", || {
            !clients.runs() || told("stale_reads_answered") > answered + 100
        });
        clients.go_on(500);
    });
}

#[test]
fn what_expired_longer_ago_than_the_bound_is_gone_at_every_port() {
    let cluster = cluster();
    let mut gateway = redis(&cluster.gateway());
    let mut ports: Vec<_> = cluster.redis_ports();
    ports.retain(|port| readonly(port).is_some());
    for round in 0..5 {
        let (key, life) = (format!("brief:{round}"), Duration::from_millis(300));
        let mut set = redis::cmd("SET");
        set.arg(&key)
            .arg("v")
            .arg("PX")
            .arg(life.as_millis() as u64);
        set.exec(&mut gateway).unwrap();
        let acknowledged = Instant::now();
        for port in &ports {
            let mut connection = readonly(port).unwrap();
            until("it has expired", || {
                let began = Instant::now();
                let seen: Option<String> =
                    redis::cmd("GET").arg(&key).query(&mut connection).unwrap();
                let over = began > acknowledged + life + BOUND + SLEW;
                assert!(seen.is_none() || !over, "{port} answered with {key}");
                over
            });
        }
    }
}
