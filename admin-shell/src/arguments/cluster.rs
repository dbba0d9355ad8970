//! What can be asked about the cluster as a whole: its nodes, how evenly they bear, what is wrong, and what to do when much is lost.

use super::{NODE, TABLE};
use clap::{Subcommand, ValueEnum};

/// What can be done with a replica server.
#[derive(Subcommand, Debug)]
pub(crate) enum NodeCommand {
    /// Move everything that it has elsewhere, and give it no more: node drain rack7-b --wait
    Drain {
        /// Its name or id.
        #[arg(value_name = NODE)]
        node: String,
        /// Wait until it has nothing any more.
        #[arg(long)]
        wait: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Show it no more, once it is stopped for good and has nothing: node forget rack7-b
    Forget {
        /// Its name or id.
        #[arg(value_name = NODE)]
        node: String,
    },
    /// Give it its share again: node undrain rack7-b
    Undrain {
        /// Its name or id.
        #[arg(value_name = NODE)]
        node: String,
    },
}

/// What can be done with the balancer.
#[derive(Subcommand, Debug)]
pub(crate) enum BalanceCommand {
    /// What it does at the moment.
    Status,
    /// What it would do next, if nothing else happens: balance plan --steps 20
    Plan {
        /// So many steps at most.
        #[arg(long, default_value_t = 50)]
        steps: u32,
    },
    /// Let it begin nothing any more by itself; what is under way is finished, drained nodes are emptied.
    Pause,
    /// Let it work again.
    Resume,
}

/// What can be moved by hand.
#[derive(Subcommand, Debug)]
pub(crate) enum MoveCommand {
    /// Make a replica on one server, then remove that on another: move replica orders 3 --from a --to d --wait
    Replica {
        /// The table.
        #[arg(value_name = TABLE)]
        name: String,
        /// Which of its partitions.
        partition: u32,
        /// The server that gives it away, by name or id.
        #[arg(long, value_name = NODE)]
        from: String,
        /// The server that gets it.
        #[arg(long, value_name = NODE)]
        to: String,
        /// Wait until it has it.
        #[arg(long)]
        wait: bool,
    },
    /// Let a secondary lead: move primary orders 3 --to b
    Primary {
        /// The table.
        #[arg(value_name = TABLE)]
        name: String,
        /// Which of its partitions.
        partition: u32,
        /// The server of the secondary, by name or id.
        #[arg(long, value_name = NODE)]
        to: String,
        /// Wait until it leads.
        #[arg(long)]
        wait: bool,
    },
}

/// What can be done with one partition.
#[derive(Subcommand, Debug)]
pub(crate) enum PartitionCommand {
    /// Go on with less than was acknowledged, when all members with a whole copy are gone for good. Asked without a word, it says what
    /// there is to choose and what each choice costs: partition rescue orders 3
    Rescue {
        /// The table.
        #[arg(value_name = TABLE)]
        name: String,
        /// Which of its partitions.
        partition: u32,
        /// Go on with the copy on this server, by name or id.
        #[arg(long, value_name = NODE, requires = "word")]
        copy: Option<String>,
        /// Go on with nothing.
        #[arg(long, conflicts_with = "copy", requires = "word")]
        nothing: bool,
        /// The word that was given with the choice.
        #[arg(long)]
        word: Option<String>,
    },
}

/// What can be done with the metadata store.
#[derive(Subcommand, Debug)]
pub(crate) enum MetaCommand {
    /// Make an empty store again from what the replica servers have. Asked without a word, it says what would come of it: meta rebuild
    Rebuild {
        /// Servers that will never answer, by id.
        #[arg(long, value_name = "ID,...", value_delimiter = ',')]
        missing: Vec<String>,
        /// The word that was given.
        #[arg(long)]
        word: Option<String>,
    },
}

/// By what replicas are called hot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum HotBy {
    /// Reads and writes together.
    Commands,
    /// Commands that only read.
    Reads,
    /// Commands that may write.
    Writes,
    /// What reads found and writes replicated.
    Bytes,
}
