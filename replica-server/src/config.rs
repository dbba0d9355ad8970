//! The keys of a replica server's configuration, with their defaults and bounds. Reading files and environment is the binary's affair.

use replication::LeaseSettings;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;
use telemetry::PortOptions;
use types::ByteSize;

/// Everything a person may set for one replica server.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReplicaConfig {
    /// The name shown to operators. Empty: the host and port it listens on.
    pub name: String,
    /// `host:port` of the gRPC services; port 0 lets the system choose. Other than loopback, as that of `redis`, needs both secrets, or
    /// `allow_unauthenticated`.
    pub listen: String,
    /// `host:port` of the RESP port; port 0 lets the system choose.
    pub redis: String,
    /// `host:port` of health, readiness and metrics (HTTP); port 0 lets the system choose. Empty: there is none.
    pub http: String,
    /// What must be shown to read the metrics. Empty: nothing.
    pub http_secret: String,
    /// What other servers and clients are told instead of `listen`, when that is not how they reach it.
    pub advertise: Option<String>,
    /// The same for `redis`.
    pub advertise_redis: Option<String>,
    /// Rack or zone: what may fail as one. Copies of a partition are spread over as many as there are. Empty: unknown.
    pub zone: String,
    /// `host:port` of every meta server.
    pub meta: Vec<String>,
    /// Where the node keeps its data. An empty directory makes a new node.
    pub data_dir: PathBuf,
    /// Lets the ports listen beyond loopback without both secrets, and lets whoever reaches them use tables that have no password.
    pub allow_unauthenticated: bool,
    /// Operators need it to look into this server, in the gRPC metadata key `admin-secret`. Empty: none is needed.
    pub admin_secret: String,
    /// What servers of one cluster show each other. Empty: nothing.
    pub cluster_secret: String,
    /// The table that RESP clients use before they say AUTH.
    pub default_table: String,
    /// Memory and disk.
    pub budgets: Budgets,
    /// Failure detection.
    pub leases: Leases,
    /// Copies for other servers.
    pub learn: Learn,
    /// Rewriting files without what was deleted.
    pub garbage: Garbage,
    /// Reading everything again, to find damage before it is needed.
    pub scrub: Scrub,
    /// Comparing the copies of partitions.
    pub digest: Digest,
    /// Limits of the RESP port.
    pub resp: RespLimits,
    /// Remembering slow commands.
    pub slow_log: SlowLog,
}

/// How much of the machine the server may use.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Budgets {
    /// Cached rows of RocksDB.
    #[serde(with = "size")]
    pub row_cache: ByteSize,
    /// Cached blocks of RocksDB's files.
    #[serde(with = "size")]
    pub block_cache: ByteSize,
    /// Committed writes that RocksDB does not have yet.
    #[serde(with = "size")]
    pub overlay: ByteSize,
    /// RocksDB's memtables, all partitions together.
    #[serde(with = "size")]
    pub memtables: ByteSize,
    /// The commit log on disk, for each durability.
    #[serde(with = "size")]
    pub log: ByteSize,
    /// RocksDBs open at once.
    pub open_partitions: usize,
    /// Free space on the disk below which the node takes no new data; zero: never.
    #[serde(with = "size")]
    pub disk_reserve: ByteSize,
}

/// How fast failures are noticed. The same on all nodes of a cluster.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Leases {
    /// How often nodes that share partitions send each other a beacon.
    #[serde(with = "humantime_serde")]
    pub beacon: Duration,
    /// How long a primary may serve reads on a beacon that was granted.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// How long the granting secondary waits before it proposes itself.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
    /// How long the log writer or the worker may stand still before the node stops vouching for itself.
    #[serde(with = "humantime_serde")]
    pub stall_timeout: Duration,
}

/// How whole copies are sent to servers that get one.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Learn {
    /// Bytes sent in a second at most, by all transfers together.
    #[serde(with = "size")]
    pub rate: ByteSize,
    /// How long a copy whose transfer was cut off is kept for the learner's next attempt, with the log after it; zero: not at all.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
}

/// When a partition's files are rewritten without the rows that deleted and overwritten objects left behind. Both must hold.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Garbage {
    /// So many of its rows are garbage, as far as that is known.
    pub rows: u64,
    /// So many of a hundred are.
    pub percent: u32,
}

/// How everything that is kept on the disk is read again and again.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scrub {
    /// How often everything is read; zero: never.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// Bytes read in a second at most, whether or not the interval suffices then; zero: nothing is read.
    #[serde(with = "size")]
    pub rate: ByteSize,
}

/// How the copies of the partitions that this server leads are compared, one partition after the other, and the one that differs
/// from a majority learnt anew.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Digest {
    /// How often each partition has its turn; zero: never.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// How long a partition goes without one that was not written to since its copies were found equal.
    #[serde(with = "humantime_serde")]
    pub idle_interval: Duration,
    /// Bytes read for that in a second at most, by all comparisons together in which this server takes part; zero: as the disk is.
    #[serde(with = "size")]
    pub rate: ByteSize,
}

/// Which commands are remembered for operators because they took long: the latest, in memory.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SlowLog {
    /// From so long on, from the command's arrival to its answer, waiting for the commit included; zero: none is.
    #[serde(with = "humantime_serde")]
    pub threshold: Duration,
    /// So many, 10,000 at most; zero: none. Each takes some 5 KiB at most.
    pub length: usize,
}

/// Limits of the RESP port. Each is per server unless it says otherwise.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RespLimits {
    /// Clients connected at once.
    pub max_clients: usize,
    /// Largest single argument.
    #[serde(with = "size")]
    pub max_bulk: ByteSize,
    /// Longest key.
    #[serde(with = "size")]
    pub max_key: ByteSize,
    /// How old the answers of a connection may be that said `READONLY`.
    #[serde(with = "humantime_serde")]
    pub readonly_staleness: Duration,
}

impl Default for ReplicaConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            listen: "127.0.0.1:34801".into(),
            redis: "127.0.0.1:6380".into(),
            http: "127.0.0.1:34702".into(),
            http_secret: String::new(),
            advertise: None,
            advertise_redis: None,
            zone: String::new(),
            meta: vec!["127.0.0.1:34601".into()],
            data_dir: PathBuf::from("tulpar-replica"),
            allow_unauthenticated: false,
            admin_secret: String::new(),
            cluster_secret: String::new(),
            default_table: "default".into(),
            budgets: Budgets::default(),
            leases: Leases::default(),
            learn: Learn::default(),
            garbage: Garbage::default(),
            scrub: Scrub::default(),
            digest: Digest::default(),
            resp: RespLimits::default(),
            slow_log: SlowLog::default(),
        }
    }
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            row_cache: ByteSize::mib(256),
            block_cache: ByteSize::mib(256),
            overlay: ByteSize::mib(256),
            memtables: ByteSize::mib(256),
            log: ByteSize::gib(2),
            open_partitions: 512,
            disk_reserve: ByteSize::gib(1),
        }
    }
}

impl Default for Leases {
    fn default() -> Self {
        let settings = LeaseSettings::default();
        Self {
            beacon: settings.beacon,
            lease: settings.lease,
            grace: settings.grace,
            stall_timeout: Duration::from_secs(3),
        }
    }
}

impl Default for Learn {
    fn default() -> Self {
        Self {
            rate: ByteSize::mib(128),
            keep: Duration::from_mins(5),
        }
    }
}

impl Default for Garbage {
    fn default() -> Self {
        Self {
            rows: 100_000,
            percent: 20,
        }
    }
}

impl Default for Scrub {
    fn default() -> Self {
        Self {
            interval: WEEK,
            rate: ByteSize::mib(16),
        }
    }
}

impl Default for Digest {
    fn default() -> Self {
        Self {
            interval: WEEK,
            idle_interval: WEEK * 8,
            rate: ByteSize::mib(16),
        }
    }
}

const WEEK: Duration = Duration::from_hours(7 * 24);

/// The longest slow log.
const MOST_SLOW: usize = 10_000;

impl Default for SlowLog {
    fn default() -> Self {
        Self {
            threshold: Duration::from_millis(100),
            length: 128,
        }
    }
}

impl Default for RespLimits {
    fn default() -> Self {
        let limits = resp_gateway::Limits::default();
        Self {
            max_clients: limits.max_clients,
            max_bulk: ByteSize(limits.max_bulk as u64),
            max_key: ByteSize::kib(64),
            readonly_staleness: Duration::from_secs(1),
        }
    }
}

impl Leases {
    /// As the protocol's core takes them.
    pub(crate) fn settings(&self) -> LeaseSettings {
        LeaseSettings {
            beacon: self.beacon,
            lease: self.lease,
            grace: self.grace,
            ..LeaseSettings::default()
        }
    }
}

impl ReplicaConfig {
    /// The HTTP port.
    pub(crate) fn http(&self) -> PortOptions {
        PortOptions {
            listen: self.http.clone(),
            secret: self.http_secret.clone(),
            allow_unauthenticated: self.allow_unauthenticated,
        }
    }

    /// What is wrong with it, in one line.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.leases
            .settings()
            .check()
            .map_err(|wrong| format!("leases: {wrong}"))?;
        if self.meta.is_empty() {
            return Err("meta: name at least one meta server".into());
        }
        if self.budgets.log.0 < 4 * self.budgets.memtables.0 {
            return Err(format!(
                "budgets.log is {}, but must be at least four times budgets.memtables ({})",
                self.budgets.log, self.budgets.memtables
            ));
        }
        if self.learn.rate.0 == 0 {
            return Err(
                "learn.rate must be more than nothing: learners would wait for ever".into(),
            );
        }
        if self.budgets.open_partitions == 0 {
            return Err("budgets.open_partitions must be at least 1".into());
        }
        if self.slow_log.length > MOST_SLOW {
            return Err(format!(
                "slow_log.length is {}, but may be at most {MOST_SLOW}",
                self.slow_log.length
            ));
        }
        Ok(())
    }
}

/// Reads and writes `64MiB` and its like.
mod size {
    use serde::de::{self, Deserialize, Deserializer};
    use serde::ser::Serializer;
    use types::ByteSize;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ByteSize, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(de::Error::custom)
    }

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde gives it by reference"
    )]
    pub(super) fn serialize<S: Serializer>(size: &ByteSize, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(size)
    }
}
