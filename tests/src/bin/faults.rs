//! Does faults to a cluster of real processes for some minutes and says whether clients ever saw what cannot be. See docs/faults.md.

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tests::faults::run::{Settings, run};

/// Kills, stops, cuts off, slows and damages the servers of a cluster while clients record what they see, and judges that.
#[derive(Parser)]
struct Options {
    /// How long.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Draws the cluster and the faults [a new one, which is printed].
    #[arg(long)]
    seed: Option<u64>,
    /// Length of a round, after which everything is healed and judged, in seconds.
    #[arg(long, default_value_t = 40)]
    round: u64,
    /// Clients for each door: gateway, every replica server, client library.
    #[arg(long, default_value_t = 2)]
    clients: usize,
    /// Put all servers on loopback and cut no links.
    #[arg(long)]
    loopback: bool,
    /// Give each replica server a disk of its own (a mounted image), so that disks can be filled. Needs root.
    #[arg(long)]
    disks: bool,
    /// Where histories and logs of a failed round go [faults-SEED].
    #[arg(long)]
    evidence: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let seed = options
        .seed
        .unwrap_or_else(|| u64::from(rand::random::<u32>()));
    println!("seed {seed}: --seed {seed} draws the same cluster and the same faults");
    let settings = Settings {
        seed,
        time: Duration::from_secs(options.minutes * 60),
        round: Duration::from_secs(options.round),
        clients: options.clients,
        namespaces: !options.loopback,
        disks: options.disks,
        evidence: options
            .evidence
            .unwrap_or_else(|| format!("faults-{seed}").into()),
    };
    match run(&settings) {
        Ok(summary) => {
            println!(
                "seed {seed}: {summary:?}; every history is linearizable, every acknowledged write is there, all copies are equal"
            );
            ExitCode::SUCCESS
        }
        Err(violation) => {
            eprintln!("{violation}");
            ExitCode::FAILURE
        }
    }
}
