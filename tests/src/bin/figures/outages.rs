//! Ways in which a server goes away, and what clients see of each.

use crate::probes::{Doing, Probes};
use crate::report::{Spans, line};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tests::faults::clients::Way;
use tests::fleet::cluster::Placement;
use tests::fleet::{Fleet, FleetOptions};

/// How long clients are watched after something happened, and how long they are let alone before the next.
const WATCHED: Duration = Duration::from_secs(2);
const CALM: Duration = Duration::from_millis(500);
/// Shorter than a client waits, so that reads sent to the stopped server are answered by it when it goes on.
const STOPPED: Duration = Duration::from_secs(2);

fn fleet(durability: &str) -> Fleet {
    Fleet::start(FleetOptions {
        durability: durability.to_owned(),
        namespaces: false,
        ..FleetOptions::default()
    })
}

fn sdk(fleet: &Fleet) -> Vec<Way> {
    vec![Way::Sdk(fleet.meta())]
}

/// Who leads most partitions, and which.
fn busiest(placement: &[Placement]) -> (String, Vec<u32>) {
    let mut led: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for partition in placement {
        led.entry(&partition.primary)
            .or_default()
            .push(partition.partition);
    }
    let (name, partitions) = led
        .into_iter()
        .max_by_key(|(_, led)| led.len())
        .expect("there are partitions");
    (name.to_owned(), partitions)
}

pub(crate) fn takeover(durability: &str, count: usize) -> bool {
    let mut fleet = fleet(durability);
    let (mut spans, mut kills, mut wrong) = (Vec::new(), 0, Vec::new());
    while spans.len() < count {
        let (name, led) = busiest(&fleet.whole());
        let probes = Probes::start(&fleet, &sdk(&fleet), 1, kills);
        std::thread::sleep(CALM);
        let moment = Instant::now();
        fleet.server_mut(&name).kill();
        spans.extend(probes.answered_again(Doing::Writing, &led, moment));
        wrong.extend(probes.stop());
        start(&mut fleet, &name);
        kills += 1;
        progress(&format!("kill {kills}: {} takeovers", spans.len()));
    }
    let result = format!("{} takeovers by {kills} kills", Spans::new(spans));
    line(
        "kill -9 of a primary: time to the next acknowledged write",
        &result,
    );
    verdict(&wrong)
}

pub(crate) fn secondary(durability: &str, count: usize) -> bool {
    let mut fleet = fleet(durability);
    let (mut reads, mut writes, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..count {
        let placement = fleet.whole();
        let (leader, _) = busiest(&placement);
        // Anybody else leads least, and is a secondary of most.
        let victims: Vec<String> = fleet
            .replica_servers()
            .map(|server| server.name.clone())
            .filter(|name| *name != leader)
            .collect();
        let name = &victims[round % victims.len()];
        let followed = |partition: &&Placement| partition.secondaries.contains(name);
        let followed: Vec<u32> = placement
            .iter()
            .filter(followed)
            .map(|partition| partition.partition)
            .collect();
        let probes = Probes::start(&fleet, &sdk(&fleet), 1, round);
        std::thread::sleep(CALM);
        let moment = Instant::now();
        fleet.server_mut(name).kill();
        std::thread::sleep(WATCHED);
        probes.all_answered_after(moment);
        let now = Instant::now();
        reads.extend(probes.gaps(Doing::Reading, &followed, moment, now));
        writes.extend(probes.gaps(Doing::Writing, &followed, moment, now));
        wrong.extend(probes.stop());
        start(&mut fleet, name);
        progress(&format!("kill {}", round + 1));
    }
    line(
        "kill -9 of a secondary: gap of reads",
        &Spans::new(reads).to_string(),
    );
    line(
        "kill -9 of a secondary: gap of writes",
        &Spans::new(writes).to_string(),
    );
    verdict(&wrong)
}

pub(crate) fn stop(durability: &str, count: usize) -> bool {
    let mut fleet = fleet(durability);
    let (mut spans, mut wrong) = (Vec::new(), Vec::new());
    for round in 0..count {
        let (name, led) = busiest(&fleet.whole());
        // Reads at every port, the stopped server's too: what it answers when it goes on must be right.
        let mut ways = sdk(&fleet);
        ways.extend(fleet.redis_ports().into_iter().map(Way::Redis));
        let probes = Probes::start(&fleet, &ways, 1, round);
        std::thread::sleep(CALM);
        let moment = Instant::now();
        fleet.server_mut(&name).pause();
        spans.extend(probes.answered_again(Doing::Writing, &led, moment));
        std::thread::sleep(STOPPED.saturating_sub(moment.elapsed()));
        fleet.server_mut(&name).resume();
        probes.all_answered_after(Instant::now());
        wrong.extend(probes.stop());
        progress(&format!("stop {}", round + 1));
    }
    let result = format!("{}, {} keys read wrongly", Spans::new(spans), wrong.len());
    line(
        "SIGSTOP of a primary: time to the next acknowledged write",
        &result,
    );
    verdict(&wrong)
}

pub(crate) fn graceful(durability: &str, count: usize) -> bool {
    let mut fleet = fleet(durability);
    let names: Vec<String> = fleet
        .replica_servers()
        .map(|server| server.name.clone())
        .collect();
    let (mut reads, mut writes, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    let (mut answers, mut errors) = (0, 0);
    let mut kinds = BTreeMap::new();
    for round in 0..count {
        let name = &names[round % names.len()];
        let all: Vec<u32> = fleet
            .whole()
            .iter()
            .map(|partition| partition.partition)
            .collect();
        let mut ways = sdk(&fleet);
        let gateway = fleet
            .server("gateway-1")
            .redis
            .expect("a gateway has a port");
        ways.push(Way::Redis(gateway.reached.to_string()));
        let probes = Probes::start(&fleet, &ways, 2, round);
        std::thread::sleep(CALM);
        let moment = Instant::now();
        fleet.server_mut(name).terminate();
        start(&mut fleet, name);
        fleet.whole();
        probes.all_answered_after(Instant::now());
        let now = Instant::now();
        reads.extend(probes.gaps(Doing::Reading, &all, moment, now));
        writes.extend(probes.gaps(Doing::Writing, &all, moment, now));
        let (answered, failed) = probes.answers_and_errors(moment, now);
        answers += answered;
        errors += failed;
        for (error, times) in probes.errors() {
            *kinds.entry(error).or_insert(0) += times;
        }
        wrong.extend(probes.stop());
        progress(&format!("restart {}: {errors} errors", round + 1));
    }
    line(
        "graceful restart: gap of reads",
        &Spans::new(reads).to_string(),
    );
    line(
        "graceful restart: gap of writes",
        &Spans::new(writes).to_string(),
    );
    for (error, times) in kinds {
        eprintln!("{times} times: {error}");
    }
    line(
        "graceful restart: errors",
        &format!("{errors} beside {answers} answers"),
    );
    verdict(&wrong)
}

pub(crate) fn meta(durability: &str, down: Duration) -> bool {
    let mut fleet = fleet(durability);
    // Connected while there is a meta server, as programs are that run when it dies.
    let mut ways = sdk(&fleet);
    ways.extend(fleet.redis_ports().into_iter().map(Way::Redis));
    let probes = Probes::start(&fleet, &ways, ways.len(), 0);
    let moment = Instant::now();
    fleet.server_mut("meta-1").kill();
    while moment.elapsed() < down {
        std::thread::sleep(Duration::from_secs(1));
        progress(&format!("down for {:.0} s", moment.elapsed().as_secs_f64()));
    }
    let (answers, errors) = probes.answers_and_errors(moment, Instant::now());
    for (error, times) in probes.errors() {
        eprintln!("{times} times: {error}");
    }
    line(
        &format!(
            "meta server down for {:.0} s: errors on the data path",
            down.as_secs_f64()
        ),
        &format!("{errors} beside {answers} answers"),
    );
    verdict(&probes.stop())
}

fn start(fleet: &mut Fleet, name: &str) {
    let started = fleet.server_mut(name).start();
    started.unwrap_or_else(|error| panic!("{error}"));
}

/// For people who wait; the figures are the lines that begin with `|`.
pub(crate) fn progress(text: &str) {
    eprint!("\r{text}   ");
}

fn verdict(wrong: &[String]) -> bool {
    for wrong in wrong {
        eprintln!("not linearizable: {wrong}");
    }
    wrong.is_empty()
}
