//! One short round of faults to real processes, with its verdict. The long run is `cargo run --release -p tests --bin faults`, and
//! docs/faults.md tells what it does.

use std::path::Path;
use std::time::Duration;
use tests::faults::run::{Settings, run};
use tests::writers::seed;

#[test]
fn clients_see_nothing_impossible_while_servers_are_killed_stopped_cut_off_slowed_and_damaged() {
    let settings = Settings {
        seed: seed(),
        // One round: it is begun before this is over, and ends by itself.
        time: Duration::from_millis(1),
        round: Duration::from_secs(15),
        clients: 1,
        namespaces: true,
        disks: false,
        evidence: Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults"),
    };
    let summary = run(&settings).unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!(summary.rounds, 1);
    assert!(summary.faults > 0 && summary.replied > 0, "{summary:?}");
}
