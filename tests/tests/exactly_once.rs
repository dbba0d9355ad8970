//! A write that is sent again takes effect once: counters are exact whatever is killed, stopped or started again under them, through
//! every door that retries by itself.
//!
//! Lost and repeated messages of single streams are the client library's tests' affair.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use tests::doors::{open, redis, runtime};
use tests::poll::{PATIENCE, until};
use tests::{Cluster, Options, process};
use tulpar_client::RequestId;

/// Counters of one door.
const KEYS: usize = 16;

/// What a door knows of a counter: increments that were answered, and such of which nobody knows.
#[derive(Clone, Copy, Default, Debug)]
struct Counted {
    acknowledged: i64,
    unknown: i64,
}

impl Counted {
    fn check(self, name: &str, value: i64) {
        let most = self.acknowledged + self.unknown;
        assert!(
            (self.acknowledged..=most).contains(&value),
            "{name} is {value}, not {self:?}"
        );
    }
}

/// Counters that go up until they are told to stop.
struct Counting<'scope> {
    name: String,
    done: &'scope AtomicU64,
    thread: ScopedJoinHandle<'scope, Vec<Counted>>,
}

impl Counting<'_> {
    fn goes_on(&self, more: u64) {
        let before = self.done.load(Ordering::Relaxed);
        until(&format!("{} counts on", self.name), || {
            assert!(!self.thread.is_finished(), "{} has ended", self.name);
            self.done.load(Ordering::Relaxed) >= before + more
        });
    }
}

/// What all counters of a test share.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    done: [AtomicU64; 8],
}

impl Shared {
    fn ended(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// INCR at a RESP port. Its patience with one command is the server's, so a few outcomes may be unknown on a slow machine.
fn over_redis<'scope>(
    scope: &'scope Scope<'scope, '_>,
    shared: &'scope Shared,
    number: usize,
    port: String,
) -> Counting<'scope> {
    let done = &shared.done[number];
    let thread = scope.spawn(move || {
        let mut counted = vec![Counted::default(); KEYS];
        let mut connection = redis(&port);
        while !shared.ended() {
            for (key, counted) in counted.iter_mut().enumerate() {
                let name = format!("redis:{number}:{key}");
                match redis::cmd("INCR").arg(&name).query(&mut connection) {
                    Ok(value) => {
                        counted.acknowledged += 1;
                        counted.check(&name, value);
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(error) => {
                        println!("{name}: {error}");
                        counted.unknown += 1;
                        connection = redis(&port);
                    }
                }
            }
        }
        counted
    });
    Counting {
        name: format!("redis:{number}"),
        done,
        thread,
    }
}

/// HINCRBY through the client library, which asks until it knows: every reply must be the next number.
fn over_sdk<'scope>(
    scope: &'scope Scope<'scope, '_>,
    shared: &'scope Shared,
    number: usize,
    meta: String,
) -> Counting<'scope> {
    let done = &shared.done[number];
    let thread = scope.spawn(move || {
        let mut counted = vec![Counted::default(); KEYS];
        runtime().block_on(async {
            let table = open(&meta, "default").await;
            while !shared.ended() {
                let all = counted.iter().enumerate().map(|(key, counted)| {
                    let hash = table.hash(format!("sdk:{number}:{key}"));
                    let next = counted.acknowledged + 1;
                    async move {
                        let value = hash
                            .increment("n", 1)
                            .await
                            .expect("it asks until it knows");
                        assert_eq!(value, next, "sdk:{number}:{key}");
                    }
                });
                futures::future::join_all(all).await;
                for counted in &mut counted {
                    counted.acknowledged += 1;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        counted
    });
    Counting {
        name: format!("sdk:{number}"),
        done,
        thread,
    }
}

/// Ends the counting and compares what is stored with what was answered.
fn check(cluster: &Cluster, shared: &Shared, counting: Vec<Counting<'_>>) {
    shared.stop.store(true, Ordering::Relaxed);
    let mut connection = redis(&cluster.gateway());
    for Counting { name, thread, .. } in counting {
        let counted = thread.join().expect("every reply was possible");
        let unknown: i64 = counted.iter().map(|counted| counted.unknown).sum();
        let acknowledged: i64 = counted.iter().map(|counted| counted.acknowledged).sum();
        println!("{name}: {acknowledged} increments, {unknown} of unknown outcome");
        for (key, counted) in counted.into_iter().enumerate() {
            let name = format!("{name}:{key}");
            let value: i64 = if name.starts_with("sdk") {
                redis::cmd("HGET")
                    .arg(&name)
                    .arg("n")
                    .query(&mut connection)
            } else {
                redis::cmd("GET").arg(&name).query(&mut connection)
            }
            .expect("it answers");
            counted.check(&name, value);
        }
    }
}

#[test]
fn counters_are_exact_when_replica_servers_are_killed_again_and_again() {
    let cluster = Cluster::start(Options::default().durability("buffered").partitions(4));
    let shared = Shared::default();
    std::thread::scope(|scope| {
        let counting = vec![
            over_redis(scope, &shared, 0, cluster.gateway()),
            over_redis(scope, &shared, 1, cluster.gateway()),
            over_sdk(scope, &shared, 2, cluster.meta()),
        ];
        for name in ["replica-1", "replica-2", "replica-3", "replica-1"] {
            for each in &counting {
                each.goes_on(500);
            }
            let killed = cluster.kill(name);
            for each in &counting {
                each.goes_on(500);
            }
            cluster.restarted(name, killed);
            cluster.equal_copies("default", 3);
        }
        check(&cluster, &shared, counting);
    });
    // request ids are part of what is compared
    cluster.equal_copies("default", 3);
}

#[test]
fn counters_are_exact_at_the_ports_of_servers_that_are_deposed_while_they_are_stopped() {
    let cluster = Cluster::start(Options::default().durability("buffered").partitions(6));
    let shared = Shared::default();
    std::thread::scope(|scope| {
        let servers = cluster.replica_servers();
        let mut counting = Vec::new();
        for (number, server) in servers.iter().enumerate() {
            let port = server.redis.clone().expect("it has a RESP port");
            counting.push(over_redis(scope, &shared, number, port));
        }
        for (number, server) in servers.iter().enumerate() {
            let others = || (0..3).filter(|&other| other != number);
            for each in &counting {
                each.goes_on(300);
            }
            process::stop(server.process());
            // what it led is led by others from here on
            for other in others() {
                counting[other].goes_on(300);
            }
            process::go_on(server.process());
            for each in &counting {
                each.goes_on(300);
            }
            cluster.equal_copies("default", 3);
        }
        check(&cluster, &shared, counting);
    });
}

#[test]
fn what_was_done_is_known_after_every_process_was_killed_and_started_again() {
    let mut cluster = Cluster::start(Options::default().partitions(2));
    let runtime = runtime();
    let ask = |cluster: &Cluster, id, key: String| {
        let meta = cluster.meta();
        runtime.block_on(async move {
            let table = open(&meta, "default").await;
            table.command_as(id, ["INCR", &key]).await
        })
    };
    let begun = std::time::Instant::now();
    let ids: Vec<RequestId> = (1..=20)
        .map(|number| RequestId {
            first_incomplete: 1,
            ..RequestId::new(7, number)
        })
        .collect();
    let key = |id: &RequestId| format!("asked:{}", id.sequence);
    for id in &ids {
        assert_eq!(ask(&cluster, *id, key(id)).unwrap(), ":1\r\n");
    }
    cluster.kill_everything();
    cluster.start_again();
    for id in &ids {
        match ask(&cluster, *id, key(id)) {
            Ok(reply) => assert_eq!(reply, ":1\r\n", "the reply of the first time"),
            // on a machine so slow that the minute in which one may ask has passed
            Err(error) => assert!(begun.elapsed() > PATIENCE, "{error}"),
        }
    }
    let mut connection = redis(&cluster.gateway());
    for id in &ids {
        let value: i64 = redis::cmd("GET")
            .arg(key(id))
            .query(&mut connection)
            .unwrap();
        assert_eq!(value, 1);
    }
}

#[test]
fn who_asks_again_is_answered_though_the_table_has_had_its_share_of_writes() {
    let cluster = Cluster::start(Options::default().partitions(1));
    let ids: Vec<RequestId> = (1..=20)
        .map(|number| RequestId {
            first_incomplete: 1,
            ..RequestId::new(7, number)
        })
        .collect();
    runtime().block_on(async {
        let table = open(&cluster.meta(), "default").await;
        for id in &ids {
            let first = table.command_as(*id, ["INCR", "asked"]).await.unwrap();
            assert_eq!(first, format!(":{}\r\n", id.sequence).as_str());
        }
        cluster.shell(&["table", "alter", "default", "--write-operations", "1"]);
        // Each server hears of that in its own time: until this one has, and has had its share.
        until("writes are refused", || {
            let refused: redis::RedisResult<i64> = redis::cmd("INCR")
                .arg("other")
                .query(&mut redis(&cluster.gateway()));
            refused.is_err_and(|error| error.to_string().contains("THROTTLED"))
        });
        for id in &ids {
            let again = table.command_as(*id, ["INCR", "asked"]).await.unwrap();
            assert_eq!(again, format!(":{}\r\n", id.sequence).as_str());
        }
    });
}
