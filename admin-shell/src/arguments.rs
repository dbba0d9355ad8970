//! What can be asked of the shell: the same words on the command line and at the prompt.

mod cluster;
mod table;

pub(crate) use cluster::{
    BalanceCommand, HotBy, MetaCommand, MoveCommand, NodeCommand, PartitionCommand,
};
pub(crate) use table::TableCommand;

use clap::{Args, Parser, Subcommand};
use std::time::Duration;

/// A value that is called so is the name of a table in service.
pub(crate) const TABLE: &str = "TABLE";
/// The name of a dropped one.
pub(crate) const DROPPED: &str = "DROPPED TABLE";
/// The name or id of a replica server.
pub(crate) const NODE: &str = "SERVER";

/// `tulpar shell`: without a command the prompt opens.
#[derive(Args, Debug)]
pub struct Options {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Print one JSON value and nothing else.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Which cluster and which table.
#[derive(Args, Debug, Clone)]
pub(crate) struct Connection {
    /// Meta servers; any one of them will do.
    #[arg(
        long,
        value_name = "HOST:PORT,...",
        value_delimiter = ',',
        default_value = "127.0.0.1:34601",
        env = "TULPAR_META",
        global = true
    )]
    pub(crate) meta: Vec<String>,
    /// The table whose data is meant.
    #[arg(long, value_name = "NAME", default_value = "default", global = true)]
    pub(crate) table: String,
    /// The table's password.
    #[arg(
        long,
        value_name = "PASSWORD",
        env = "TULPAR_PASSWORD",
        hide_env_values = true,
        global = true
    )]
    pub(crate) password: Option<String>,
    /// The cluster's admin secret.
    #[arg(
        long,
        value_name = "SECRET",
        env = "TULPAR_ADMIN_SECRET",
        hide_env_values = true,
        global = true
    )]
    pub(crate) admin_secret: Option<String>,
}

/// One line at the prompt.
#[derive(Parser, Debug)]
#[command(name = "", multicall = true, disable_version_flag = true, about = None)]
pub(crate) struct Line {
    #[command(subcommand)]
    pub(crate) command: LineCommand,
}

/// What the prompt understands beyond the commands.
#[derive(Subcommand, Debug)]
pub(crate) enum LineCommand {
    #[command(flatten)]
    Command(Command),
    /// Go on with another table: use orders
    Use {
        /// Its name.
        #[arg(value_name = TABLE)]
        name: String,
        /// Its password, if it has one.
        password: Option<String>,
    },
    /// Leave the shell.
    #[command(alias = "quit")]
    Exit,
}

/// Everything that can be asked.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Create, change, drop, recall and look at tables: table create orders --partitions 16
    #[command(subcommand)]
    Table(TableCommand),
    /// The replica servers, how they are and what they hold.
    Nodes,
    /// Empty a replica server, give it its share again, or forget it: node drain rack7-b --wait
    #[command(subcommand)]
    Node(NodeCommand),
    /// How replicas and primaries are spread over the servers: balance plan
    #[command(subcommand)]
    Balance(BalanceCommand),
    /// Move one replica or one lead by hand: move primary orders 3 --to rack7-b
    #[command(subcommand)]
    Move(MoveCommand),
    /// Partitions that are not as they should be, and what is done about it: health orders
    Health {
        /// Only of this table.
        #[arg(value_name = TABLE)]
        name: Option<String>,
    },
    /// The replicas with the most traffic in the last 10 to 20 seconds: hot orders --by writes
    Hot {
        /// Only of this table.
        #[arg(value_name = TABLE)]
        name: Option<String>,
        /// What counts.
        #[arg(long, value_enum, default_value_t = HotBy::Commands)]
        by: HotBy,
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// The latest commands that took long (`slow_log.threshold`, waiting for the commit included): slowlog --node rack7-b
    Slowlog {
        /// Only of this server, by name or id.
        #[arg(long, value_name = NODE)]
        node: Option<String>,
        /// At most so many, the newest.
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        /// Forget all that there are.
        #[arg(long)]
        reset: bool,
    },
    /// What a replica server is set to, secrets left out: config rack7-b budgets
    Config {
        /// Its name or id.
        #[arg(value_name = NODE)]
        node: String,
        /// Only keys that have this in them.
        filter: Option<String>,
    },
    /// What a replica server measures, as it shows Prometheus: metrics rack7-b replication
    Metrics {
        /// Its name or id.
        #[arg(value_name = NODE)]
        node: String,
        /// Only those that have this in their name or labels; with `bucket` in it the buckets of histograms too.
        filter: Option<String>,
    },
    /// Decide about a partition that lost all its members: partition rescue orders 3
    #[command(subcommand)]
    Partition(PartitionCommand),
    /// Decide about a metadata store that was lost: meta rebuild
    #[command(subcommand)]
    Meta(MetaCommand),
    /// Where the copies of a table's partitions are: partitions orders --digest
    Partitions {
        /// The table.
        #[arg(value_name = TABLE)]
        name: String,
        /// Ask every copy for its committed decree and a digest of its state; reads the whole table.
        #[arg(long)]
        digest: bool,
        /// Have a copy learn anew that is not what a majority of its partition's copies is.
        #[arg(long, requires = "digest")]
        repair: bool,
    },
    /// Slot, partition and servers of a key: route user:1
    Route {
        /// The key (or hash key).
        key: String,
    },
    /// The value of a key: get user:1
    Get {
        /// The key.
        key: String,
    },
    /// Set a key: set user:1 Ada --ttl 1h
    Set {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// How long it lives: 500ms, 2s, 10min, 1h.
        #[arg(long, value_parser = duration)]
        ttl: Option<Duration>,
    },
    /// Delete keys: del user:1 user:2
    Del {
        /// The keys.
        #[arg(required = true)]
        keys: Vec<String>,
    },
    /// How many keys the table has; above a million in a partition an estimate.
    Count,
    /// Keys of the table, in no order: scan --match 'user:*' --limit 20
    Scan {
        /// Only those that fit: `*`, `?` and `[a-z]` as in Redis.
        #[arg(long = "match", value_name = "PATTERN", default_value = "*")]
        pattern: String,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// The value of a sort key (a Redis hash field): hget user:1 name
    Hget {
        /// The hash key.
        hash_key: String,
        /// The sort key.
        sort_key: String,
    },
    /// Set a sort key: hset user:1 name Ada
    Hset {
        /// The hash key.
        hash_key: String,
        /// The sort key.
        sort_key: String,
        /// Its value.
        value: String,
        /// How long it lives: 500ms, 2s, 10min, 1h.
        #[arg(long, value_parser = duration)]
        ttl: Option<Duration>,
    },
    /// Delete sort keys: hdel user:1 name mail
    Hdel {
        /// The hash key.
        hash_key: String,
        /// The sort keys.
        #[arg(required = true)]
        sort_keys: Vec<String>,
    },
    /// Sort keys and values in order: hscan user:1 --from a --to m --limit 10
    Hscan {
        /// The hash key.
        hash_key: String,
        /// From this sort key on.
        #[arg(long)]
        from: Option<String>,
        /// Up to this sort key, it excluded.
        #[arg(long)]
        to: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// From the last to the first.
        #[arg(long)]
        reverse: bool,
    },
    /// Any Redis command whose keys are in one slot: redis incrby counter 5
    Redis {
        /// The command and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
}

/// A span of time as people write it.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let refused = || format!("'{text}' is no duration such as 500ms, 2s, 10min, 1h or 7d");
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit())
        .ok_or_else(refused)?;
    let (number, unit) = text.split_at(unit_at);
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(refused()),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(milliseconds))
        .map(Duration::from_millis)
        .ok_or_else(refused)
}
