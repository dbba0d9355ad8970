//! Does a retried increment count once? Each key has one client, which knows what the next reply must be.

use crate::outages::progress;
use crate::report::line;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tests::doors::try_redis;
use tests::fleet::proxy::Behaviour;
use tests::fleet::{Fleet, FleetOptions};
use tests::poll::eventually;

const KEYS: usize = 1000;
const CLIENTS: usize = 20;

/// What happened to one key.
#[derive(Clone, Copy, Debug, Default)]
struct Key {
    acknowledged: i64,
    unknown: i64,
}

struct Shared {
    stop: AtomicBool,
    acknowledged: AtomicU64,
    unknown: AtomicU64,
    wrong: AtomicU64,
}

pub(crate) fn run(
    durability: &str,
    seed: u64,
    count: u64,
    least: Duration,
    takeovers: usize,
) -> bool {
    let mut fleet = Fleet::start(FleetOptions {
        durability: durability.to_owned(),
        namespaces: false,
        proxied: (1..=3).map(|number| format!("replica-{number}")).collect(),
        ..FleetOptions::default()
    });
    let gateway = fleet
        .server("gateway-1")
        .redis
        .expect("a gateway has a port")
        .reached
        .to_string();
    let shared = Shared {
        stop: AtomicBool::new(false),
        acknowledged: AtomicU64::new(0),
        unknown: AtomicU64::new(0),
        wrong: AtomicU64::new(0),
    };
    let start = Instant::now();
    let keys: Vec<Key> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (gateway, shared) = (&gateway, &shared);
                scope.spawn(move || client(number, gateway, shared))
            })
            .collect();
        disturb(&mut fleet, seed, takeovers, || {
            let acknowledged = shared.acknowledged.load(Ordering::Relaxed);
            progress(&format!("{acknowledged} increments"));
            let share = start.elapsed().as_secs_f64() / least.as_secs_f64().max(1.0);
            share.min(acknowledged as f64 / count.max(1) as f64)
        });
        shared.stop.store(true, Ordering::Relaxed);
        let ended = clients
            .into_iter()
            .flat_map(|client| client.join().expect("clients take every answer"));
        ended.collect()
    });
    let wrong = shared.wrong.load(Ordering::Relaxed) + final_counts(&gateway, &keys);
    line(
        "INCR and HINCRBY over 1,000 keys, replies lost, primaries killed",
        &format!(
            "{} acknowledged in {:.0} s, {takeovers} kills: {} of unknown outcome, {wrong} wrong counts",
            shared.acknowledged.load(Ordering::Relaxed),
            start.elapsed().as_secs_f64(),
            shared.unknown.load(Ordering::Relaxed),
        ),
    );
    wrong == 0
}

/// Loses replies all the time, and kills a server whenever its share of the work is done, until all is.
fn disturb(fleet: &mut Fleet, seed: u64, takeovers: usize, share: impl Fn() -> f64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let names: Vec<String> = fleet
        .replica_servers()
        .map(|server| server.name.clone())
        .collect();
    let mut killed = 0;
    while share() < 1.0 || killed < takeovers {
        let name = names
            .choose(&mut random)
            .expect("there are servers")
            .clone();
        if share() * (takeovers + 1) as f64 > (killed + 1) as f64 && killed < takeovers {
            killed += 1;
            fleet.server_mut(&name).kill();
            std::thread::sleep(Duration::from_secs(1));
            let started = fleet.server_mut(&name).start();
            started.unwrap_or_else(|error| panic!("{error}"));
            fleet.whole();
        }
        let behave = |behaviour| {
            for proxy in &fleet.server(&name).proxies {
                proxy.behave(behaviour);
            }
        };
        behave(Behaviour::LoseReplies);
        std::thread::sleep(Duration::from_millis(random.random_range(1..50)));
        behave(Behaviour::Pass);
        std::thread::sleep(Duration::from_millis(random.random_range(200..2000)));
    }
}

/// Every second key is a hash's field.
fn increment(key: usize) -> redis::Cmd {
    let mut command = redis::cmd(if key.is_multiple_of(2) {
        "INCR"
    } else {
        "HINCRBY"
    });
    command.arg(format!("increments:{key}"));
    if !key.is_multiple_of(2) {
        command.arg(&["field", "1"]);
    }
    command
}

/// All keys of one client in a pipeline, again and again.
fn client(number: usize, gateway: &str, shared: &Shared) -> Vec<Key> {
    let own = number * KEYS / CLIENTS..(number + 1) * KEYS / CLIENTS;
    let mut keys = vec![Key::default(); own.len()];
    let mut connection = None;
    while !shared.stop.load(Ordering::Relaxed) {
        let Some(connected) = connection.as_mut() else {
            connection = try_redis(gateway).ok();
            continue;
        };
        let mut pipe = redis::pipe();
        // Errors are answers here: some of a pipeline's commands may fail while others do not.
        pipe.ignore_errors();
        for key in own.clone() {
            pipe.add_command(increment(key));
        }
        let answers: redis::RedisResult<Vec<redis::RedisResult<i64>>> = pipe.query(connected);
        let Ok(answers) = answers else {
            connection = None;
            for key in &mut keys {
                key.unknown += 1;
            }
            shared
                .unknown
                .fetch_add(keys.len() as u64, Ordering::Relaxed);
            continue;
        };
        for (key, answer) in keys.iter_mut().zip(answers) {
            match answer {
                Ok(value) => {
                    key.acknowledged += 1;
                    shared.acknowledged.fetch_add(1, Ordering::Relaxed);
                    if !(key.acknowledged..=key.acknowledged + key.unknown).contains(&value) {
                        shared.wrong.fetch_add(1, Ordering::Relaxed);
                        eprintln!("{value} was answered after {key:?}");
                    }
                }
                Err(error)
                    if error
                        .code()
                        .is_some_and(|code| code == "TRYAGAIN" || code == "NOREPLICAS") => {}
                Err(_) => {
                    key.unknown += 1;
                    shared.unknown.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
    keys
}

/// How many keys do not have what was counted.
fn final_counts(gateway: &str, keys: &[Key]) -> u64 {
    let mut wrong = 0;
    for (number, key) in keys.iter().enumerate() {
        let value: i64 = eventually("a healed cluster answers", || {
            let mut connection = try_redis(gateway).map_err(|error| error.to_string())?;
            let mut get = redis::cmd(if number.is_multiple_of(2) {
                "GET"
            } else {
                "HGET"
            });
            get.arg(format!("increments:{number}"));
            if !number.is_multiple_of(2) {
                get.arg("field");
            }
            let value: Option<i64> = get
                .query(&mut connection)
                .map_err(|error| error.to_string())?;
            Ok(value.unwrap_or(0))
        });
        if !(key.acknowledged..=key.acknowledged + key.unknown).contains(&value) {
            wrong += 1;
            eprintln!("increments:{number} is {value}: {key:?}");
        }
    }
    wrong
}
