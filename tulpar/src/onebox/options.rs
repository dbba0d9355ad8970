//! What a user may ask of `tulpar onebox`.

use std::path::PathBuf;
use types::Durability;

/// The command line. Numbers that are not given are those of the directory, or of a new one.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct Options {
    /// Where everything is kept; starting again on the same directory brings the data back.
    #[arg(long, value_name = "DIR", default_value = "onebox")]
    pub(crate) data_dir: PathBuf,
    /// How many replica servers [new directory: 3].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) replica_servers: Option<u32>,
    /// How many gateways.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=64))]
    pub(crate) gateways: u32,
    /// How many meta servers; more than one needs --zookeeper [new directory: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=9))]
    pub(crate) meta_servers: Option<u32>,
    /// The ensemble that keeps the cluster's configuration, and the cluster's path in it [none: the one meta server keeps it].
    #[arg(long, value_name = "HOST:PORT,.../PATH")]
    pub(crate) zookeeper: Option<String>,
    /// Partitions of the table `default`, which a new cluster begins with.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=16384))]
    pub(crate) partitions: u32,
    /// Copies of each partition of the table `default` [3, or the number of replica servers if that is lower].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) replicas: Option<u32>,
    /// When a write to the table `default` is acknowledged: `sync` (on the disks of all copies) or `buffered` (handed to their
    /// operating systems, which sync every second).
    #[arg(long, value_name = "sync|buffered", default_value_t = Durability::Sync)]
    pub(crate) durability: Durability,
    /// Port of the (first) gateway for Redis clients; 0: the system chooses [6379].
    #[arg(long, value_name = "P")]
    pub(crate) port: Option<u16>,
    /// Gives the servers the ports P, P+1, ...; 0: the system chooses, once per directory [6379, 6380.., 34601, 34701.., 34801..].
    #[arg(long, value_name = "P")]
    pub(crate) base_port: Option<u16>,
}
