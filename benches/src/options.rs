//! The command line: which rows, how much load, with which program.

use crate::load::{Load, Settling};
use crate::plan::{self, Depth, Row};
use anyhow::{Context, bail};
use clap::Parser;
use std::path::PathBuf;

/// Below that many operations, -P 16 measures what a store with a deferred write path has not yet done.
const OPERATIONS: u64 = 5_000_000;
/// One command at a time takes about that much longer.
const PIPELINE_GAIN: u64 = 16;
const QUICK_OPERATIONS: u64 = 16_000;
const PAIRS: usize = 3;

/// Compares Tulpar with a Redis without persistence, in the same run, by redis-benchmark.
///
/// Prints a table of ratios (higher is better, 1.00 is Redis' speed) beside what each is to reach.
#[derive(Debug, Parser)]
#[command(name = "benches", version)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub(crate) struct Options {
    /// The `tulpar` program to measure [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    tulpar: Option<PathBuf>,

    /// Where the servers keep their data while this runs; it must be on a real disk if durability `sync` is to mean something [default: the system's directory for temporary files]
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,

    /// Measures only this row (see --list); may be given several times
    #[arg(long = "cell", value_name = "NAME")]
    cells: Vec<String>,

    /// Measures every combination of copies, durability, door and command, not only those that have a figure to reach
    #[arg(long)]
    full: bool,

    /// Few operations and one pair: shows that everything works, its figures mean nothing
    #[arg(long, conflicts_with_all = ["operations", "single_operations", "pairs"])]
    quick: bool,

    /// Operations of a run at -P 16 [default: 5000000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(PIPELINE_GAIN..))]
    operations: Option<u64>,

    /// Operations of a run at -P 1 [default: a sixteenth of those at -P 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    single_operations: Option<u64>,

    /// How many pairs of runs the median is taken of [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pairs: Option<u16>,

    /// Measures at this pipeline depth only
    #[arg(long, value_name = "1|16", value_parser = ["1", "16"])]
    depth: Option<String>,

    /// Leaves the servers' data and logs where they are, to look at them afterwards
    #[arg(long)]
    pub(crate) keep: bool,

    /// Prints the rows' names and ends
    #[arg(long)]
    pub(crate) list: bool,
}

impl Options {
    /// The rows to measure, in the order of the table.
    pub(crate) fn rows(&self) -> anyhow::Result<Vec<Row>> {
        if self.cells.is_empty() {
            return Ok(if self.full || self.list {
                plan::every_row()
            } else {
                plan::the_table()
            });
        }
        let every_row = plan::every_row();
        if let Some(unknown) = self
            .cells
            .iter()
            .find(|name| !every_row.iter().any(|row| row.name() == **name))
        {
            bail!("there is no row {unknown}; --list names them");
        }
        Ok(every_row
            .into_iter()
            .filter(|row| self.cells.contains(&row.name()))
            .collect())
    }

    /// How much load each run is.
    pub(crate) fn load(&self) -> Load {
        let operations = if self.quick {
            QUICK_OPERATIONS
        } else {
            self.operations.unwrap_or(OPERATIONS)
        };
        let depths = match self.depth.as_deref() {
            Some("1") => vec![Depth::One],
            Some(_) => vec![Depth::Sixteen],
            None => vec![Depth::One, Depth::Sixteen],
        };
        Load {
            depths,
            operations_at_one: self.single_operations.unwrap_or(operations / PIPELINE_GAIN),
            operations_at_sixteen: operations,
            pairs: if self.quick {
                1
            } else {
                self.pairs.map_or(PAIRS, usize::from)
            },
            settling: if self.quick {
                Settling::Ignored
            } else {
                Settling::Awaited
            },
        }
    }

    /// The program to measure.
    pub(crate) fn tulpar(&self) -> anyhow::Result<PathBuf> {
        if let Some(path) = &self.tulpar {
            if !path.is_file() {
                bail!("there is no program {}", path.display());
            }
            return Ok(path.clone());
        }
        let own = std::env::current_exe().context("cannot find this executable")?;
        let path = own.with_file_name("tulpar");
        if !path.is_file() {
            bail!(
                "there is no program {}: build it (cargo build --release --workspace --bins) or name one by --tulpar PATH",
                path.display()
            );
        }
        Ok(path)
    }
}
