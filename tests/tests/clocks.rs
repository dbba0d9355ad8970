//! A server whose clock is far from the others' when it starts: it holds copies and leads nothing.

use tests::fleet::{Fleet, FleetOptions};
use tests::poll::eventually;

/// An hour before the others.
const AHEAD_MS: i64 = 3_600_000;

#[test]
fn a_server_whose_clock_is_off_leads_nothing() {
    let mut fleet = Fleet::start(FleetOptions {
        clocks: true,
        namespaces: false,
        ..FleetOptions::default()
    });
    let name = fleet.whole()[0].primary.clone();
    fleet.server_mut(&name).terminate();
    let clock = fleet.server(&name).clock.as_ref();
    let clock = clock.expect("the tests' machine has a C compiler");
    clock.step(AHEAD_MS).expect("a file can be written");
    let started = fleet.server_mut(&name).start();
    started.unwrap_or_else(|error| panic!("{error}"));
    fleet.whole();

    // What the others led falls to it, among others, when they are killed one after the other.
    let others: Vec<String> = fleet
        .replica_servers()
        .map(|server| server.name.clone())
        .filter(|other| *other != name)
        .collect();
    for other in &others {
        fleet.server_mut(other).kill();
        let started = fleet.server_mut(other).start();
        started.unwrap_or_else(|error| panic!("{error}"));
        fleet.whole();
    }
    eventually("the server whose clock is off leads nothing", || {
        let placement = fleet.placement()?;
        let led = placement
            .iter()
            .filter(|partition| partition.primary == name);
        match led.count() {
            0 => Ok(()),
            led => Err(format!("it leads {led}")),
        }
    });
    let logged = fleet.server(&name).last_words(usize::MAX);
    assert!(logged.contains("far from the median"), "{logged}");
}
