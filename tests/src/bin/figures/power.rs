//! The power of all machines fails at once, again and again: what is asked for, and its line.

use crate::outages::progress;
use crate::report::line;
use tests::faults::power::{Disks, Settings, run as lose_power};

pub(crate) fn run(durability: &str, seed: u64, rounds: usize, disks: Disks) -> bool {
    let settings = Settings {
        durability: durability.to_owned(),
        seed,
        rounds,
        disks,
    };
    let seen = lose_power(&settings, |round, seen| {
        progress(&format!(
            "round {round}: {} answers, {} wrong keys",
            seen.answers, seen.wrong
        ));
    });
    let loss = match disks {
        Disks::Volatile => "losing all unsynced bytes",
        Disks::Torn => "losing any unsynced bytes",
        Disks::Lying => "losing what disks said they had synced",
        Disks::Ext4 => "stopping ext4",
    };
    line(
        &format!("{rounds} rounds of {loss} on all nodes at once, durability {durability}"),
        &format!(
            "{} answers, {} of {} keys with less than was acknowledged",
            seen.answers, seen.wrong, seen.keys
        ),
    );
    // Buffered promises less when all members lose power at once.
    let promised = disks != Disks::Lying && durability == "sync";
    seen.wrong == 0 || !promised
}
