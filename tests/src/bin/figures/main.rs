//! What an outage costs, each figure by one command: see docs/faults.md.
//!
//! Reading order: [`probes`] ask all partitions all the time, [`outages`] are the ways in which a server goes away, [`increments`] counts
//! what must be counted exactly, [`leaders`] loses meta servers and ZooKeeper, [`scale`] has many nodes (which [`simulated`] pretends to be, each with its [`outstanding`] proposals; a [`ledger`] counts), [`power`] and [`flips`] what disks must not lose, [`price`] what all this costs while nothing fails, [`report`] prints.
//!
//! Nothing is asserted about times: they depend on the machine. What must never be (a wrong read, a lost write) ends the program with 1.

mod flips;
mod increments;
mod leaders;
mod ledger;
mod outages;
mod outstanding;
mod power;
mod price;
mod probes;
mod report;
mod scale;
mod simulated;

use clap::{Parser, Subcommand, ValueEnum};
use std::process::ExitCode;
use std::time::Duration;
use tests::faults::power::Disks;

#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    figure: Figure,
    /// `sync` or `buffered`.
    #[arg(long, global = true, default_value = "sync")]
    durability: String,
    /// Draws what is random [a new one, which is printed].
    #[arg(long, global = true)]
    seed: Option<u64>,
}

#[derive(Subcommand)]
enum Figure {
    /// kill -9 of the server that leads most partitions: time to the next acknowledged write of each.
    Takeover {
        /// Takeovers, of which one kill makes several.
        #[arg(long, default_value_t = 1000)]
        count: usize,
    },
    /// kill -9 of a server: gaps in reads and writes of the partitions of which it was a secondary.
    Secondary {
        /// Kills.
        #[arg(long, default_value_t = 200)]
        count: usize,
    },
    /// SIGSTOP of the server that leads most partitions, and SIGCONT: the same, and whether any read was stale.
    Stop {
        /// Stops.
        #[arg(long, default_value_t = 200)]
        count: usize,
    },
    /// SIGTERM and a new start: gaps and errors on all partitions.
    Graceful {
        /// Restarts.
        #[arg(long, default_value_t = 100)]
        count: usize,
    },
    /// The meta server is dead: errors on the data path.
    Meta {
        /// How long.
        #[arg(long, default_value_t = 10)]
        minutes: u64,
    },
    /// kill -9 of the meta server that leads three, under load and while tables are created.
    Leader {
        /// Kills.
        #[arg(long, default_value_t = 100)]
        count: usize,
        /// ZooKeeper's session timeout.
        #[arg(long, default_value = "2s")]
        session: String,
    },
    /// ZooKeeper's leader is killed, then the whole ensemble is down: errors on the data path.
    Ensemble {
        /// How long.
        #[arg(long, default_value_t = 5)]
        minutes: u64,
        /// ZooKeeper's session timeout.
        #[arg(long, default_value = "2s")]
        session: String,
    },
    /// A meta leader with many nodes and partitions, all of them simulated.
    Scale {
        /// Replica servers.
        #[arg(long, default_value_t = 1000)]
        nodes: u32,
        /// Partitions, of three copies each.
        #[arg(long, default_value_t = 100_000)]
        partitions: u32,
        /// ZooKeeper's session timeout.
        #[arg(long, default_value = "1s")]
        session: String,
    },
    /// The balancer, from everything on ten replica servers to even on all; they are simulated.
    Spread {
        /// Replica servers.
        #[arg(long, default_value_t = 1000)]
        nodes: u32,
        /// Partitions, of three copies each.
        #[arg(long, default_value_t = 100_000)]
        partitions: u32,
    },
    /// INCR and HINCRBY over 1,000 keys while replies are lost and primaries are killed: exact counts.
    Increments {
        /// Increments, at least.
        #[arg(long, default_value_t = 1_000_000)]
        count: u64,
        /// How long, at least.
        #[arg(long, default_value_t = 10)]
        minutes: u64,
        /// Servers killed meanwhile.
        #[arg(long, default_value_t = 20)]
        takeovers: usize,
    },
    /// The power of all machines fails at once: what was acknowledged must be there. Needs root.
    Power {
        /// How often.
        #[arg(long, default_value_t = 200)]
        rounds: usize,
        /// What servers store on.
        #[arg(long, value_enum, default_value_t = Storage::Volatile)]
        disks: Storage,
    },
    /// SET -P 16 with request ids and without, in turns, and the processor time of the leases.
    Price {
        /// Pairs of runs, each of some seconds.
        #[arg(long, default_value_t = 9)]
        pairs: usize,
    },
    /// Bits of one replica's files flip and ends are cut off: no read may be wrong, and all must be repaired.
    Flips {
        /// Damages, many at a time.
        #[arg(long, default_value_t = 10_000)]
        count: usize,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Storage {
    /// Disks in memory that lose everything unsynced.
    Volatile,
    /// The same, but that any unsynced block or name may be left.
    Torn,
    /// The same, and syncs do nothing: what was acknowledged must be missing.
    Lying,
    /// ext4, stopped without its journal.
    Ext4,
}

impl From<Storage> for Disks {
    fn from(storage: Storage) -> Self {
        match storage {
            Storage::Volatile => Self::Volatile,
            Storage::Torn => Self::Torn,
            Storage::Lying => Self::Lying,
            Storage::Ext4 => Self::Ext4,
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let durability = &options.durability;
    let seed = options.seed.unwrap_or_else(|| rand::random::<u32>().into());
    println!("seed {seed}");
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let right = match options.figure {
        Figure::Takeover { count } => outages::takeover(durability, count),
        Figure::Secondary { count } => outages::secondary(durability, count),
        Figure::Stop { count } => outages::stop(durability, count),
        Figure::Graceful { count } => outages::graceful(durability, count),
        Figure::Meta { minutes: down } => outages::meta(durability, minutes(down)),
        Figure::Leader { count, session } => leaders::kill(durability, seed, count, &session),
        Figure::Ensemble {
            minutes: down,
            session,
        } => leaders::ensemble(durability, seed, minutes(down), &session),
        Figure::Scale {
            nodes,
            partitions,
            session,
        } => scale::run(nodes, partitions, &session),
        Figure::Spread { nodes, partitions } => scale::spread(nodes, partitions),
        Figure::Increments {
            count,
            minutes: least,
            takeovers,
        } => increments::run(durability, seed, count, minutes(least), takeovers),
        Figure::Power { rounds, disks } => power::run(durability, seed, rounds, disks.into()),
        Figure::Price { pairs } => price::run(durability, pairs.max(1)),
        Figure::Flips { count } => flips::run(durability, seed, count),
    };
    if right {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
