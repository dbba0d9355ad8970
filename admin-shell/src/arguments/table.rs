//! What can be asked about tables.

use super::{DROPPED, TABLE, duration};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use std::time::Duration;
use types::Durability;

/// What can be done with tables.
#[derive(Subcommand, Debug)]
pub(crate) enum TableCommand {
    /// table create orders --partitions 16 --replicas 3 --durability buffered
    Create {
        /// Its name: letters, digits, `_`, `.`, `-`.
        name: String,
        /// Parts that it is divided into; fixed once it exists.
        #[arg(long, default_value_t = 8)]
        partitions: u32,
        /// Copies of each part.
        #[arg(long, default_value_t = 3)]
        replicas: u32,
        /// When a write is acknowledged.
        #[arg(long, default_value_t = Durability::Sync, value_parser = durability())]
        durability: Durability,
        /// Clients must give it.
        #[arg(long, value_name = "PASSWORD")]
        password: Option<String>,
        /// Writes are refused below so many copies [half of the copies, rounded down, plus one].
        #[arg(long, value_name = "N")]
        min_replicas: Option<u32>,
        #[command(flatten)]
        rules: RuleOptions,
    },
    /// Change a table in service; what is not named stays: table alter orders --replicas 5 --default-ttl 7d
    Alter {
        /// Its name.
        #[arg(value_name = TABLE)]
        name: String,
        /// Copies of each part. Those there are have to be enough for writes until more are made: from 1 to 3, say, --min-replicas 1 has to go
        /// with it, and --min-replicas 0 after it.
        #[arg(long)]
        replicas: Option<u32>,
        /// Writes are refused below so many copies; 0: half of the copies, rounded down, plus one.
        #[arg(long, value_name = "N")]
        min_replicas: Option<u32>,
        /// When a write is acknowledged: `sync` or `buffered`. Copies go over one by one, each when it can; the servers' metric
        /// `tulpar_replicas_changing_durability` says how many have yet to.
        #[arg(long, value_parser = durability())]
        durability: Option<Durability>,
        /// Clients must give it from now on.
        #[arg(long, value_name = "PASSWORD")]
        password: Option<String>,
        /// Clients need none from now on.
        #[arg(long, conflicts_with = "password")]
        no_password: bool,
        #[command(flatten)]
        rules: RuleOptions,
    },
    /// Call a table something else; programs that have it open go on with it: table rename orders orders-2026
    Rename {
        /// Its name.
        #[arg(value_name = TABLE)]
        name: String,
        /// Its new name.
        to: String,
    },
    /// Drop a table; it can be recalled for a while: table drop orders
    Drop {
        /// Its name.
        #[arg(value_name = TABLE)]
        name: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Bring a dropped table back: table recall orders
    Recall {
        /// Its name.
        #[arg(value_name = DROPPED)]
        name: String,
    },
    /// All tables: table list --all
    List {
        /// Dropped ones too.
        #[arg(long)]
        all: bool,
    },
    /// One table: table show orders
    Show {
        /// Its name.
        #[arg(value_name = TABLE)]
        name: String,
    },
}

/// What commands on a table must obey. What is not named stays, or is no rule of a new table.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct RuleOptions {
    /// What is written without a TTL of its own lives so long: 30min, 7d. 0s: for ever.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) default_ttl: Option<Duration>,
    /// Refuse all writes.
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Take writes (again).
    #[arg(long, conflicts_with = "read_only")]
    pub(crate) read_write: bool,
    /// The whole table takes so many reading commands a second at most; 0: any number.
    #[arg(long, value_name = "N")]
    pub(crate) read_operations: Option<u64>,
    /// The same for writing commands.
    #[arg(long, value_name = "N")]
    pub(crate) write_operations: Option<u64>,
    /// The whole table gives so many bytes a second at most to reading commands; 0: any number.
    #[arg(long, value_name = "BYTES")]
    pub(crate) read_bytes: Option<u64>,
    /// The same for bytes of writing commands.
    #[arg(long, value_name = "BYTES")]
    pub(crate) write_bytes: Option<u64>,
}

impl RuleOptions {
    /// Whether writes are refused, if that was said.
    pub(crate) fn access(&self) -> Option<bool> {
        (self.read_only || self.read_write).then_some(self.read_only)
    }

    /// The default TTL in milliseconds, if it was said.
    pub(crate) fn default_ttl_ms(&self) -> Option<u64> {
        let ttl = self.default_ttl?;
        Some(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))
    }
}

/// Durabilities by their names.
fn durability() -> impl TypedValueParser<Value = Durability> {
    PossibleValuesParser::new(["sync", "buffered"]).try_map(|name| name.parse::<Durability>())
}
