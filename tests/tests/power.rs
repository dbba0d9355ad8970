//! The power of all servers fails at once, on disks in memory that lose everything that was not synced. The long run is
//! `cargo run --release -p tests --bin figures -- power`; docs/faults.md tells what it does.
//!
//! The disks need root; the tests run as root anyway (see `tests/tests/faults.rs`).

use tests::faults::power::{Disks, Seen, Settings, run};
use tests::writers::seed;

fn rounds(durability: &str, disks: Disks, rounds: usize) -> Seen {
    let settings = Settings {
        durability: durability.to_owned(),
        seed: seed(),
        rounds,
        disks,
    };
    let seen = run(&settings, |_, _| {});
    println!("{seen:?}");
    assert!(seen.answers > 0 && seen.keys > 0);
    seen
}

#[test]
fn nothing_acknowledged_is_missing_when_all_nodes_lose_what_they_have_not_synced() {
    assert_eq!(rounds("sync", Disks::Volatile, 3).wrong, 0);
}

#[test]
fn nothing_acknowledged_is_missing_when_any_part_of_what_was_not_synced_is_left() {
    assert_eq!(rounds("sync", Disks::Torn, 3).wrong, 0);
}

#[test]
fn a_disk_that_says_it_has_synced_and_has_not_is_found_out() {
    assert_ne!(rounds("sync", Disks::Lying, 1).wrong, 0);
}
