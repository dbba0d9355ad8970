//! How fast Tulpar is, as ratios to a Redis without persistence that runs in the same minutes on the same machine under the same load.
//!
//! In reading order: `plan` (which cells, and what each is to reach), `redis_server` and `onebox` (the peers), `load` (redis-benchmark),
//! `processor` (who used the processor), `measure` (pairs and medians), `report` (the tables). Absolute figures stand beside the ratios
//! only so that one can see what the machine did. Nothing here asserts a time, and nothing here tests that answers are right.

#![warn(missing_docs)]

mod child;
mod load;
mod measure;
mod onebox;
mod options;
mod plan;
mod processor;
mod redis_server;
mod report;

use anyhow::Context;
use clap::Parser;
use measure::Data;
use options::Options;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("benches: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let rows = options.rows()?;
    if options.list {
        let names: Vec<String> = rows
            .iter()
            .map(|row| format!("{:30} {row}\n", row.name()))
            .collect();
        print(&names.concat())?;
        return Ok(ExitCode::SUCCESS);
    }
    let tulpar = options.tulpar()?;
    let mut directory = directory_under(options.directory.as_deref())?;
    let data = if options.keep {
        Data::Kept
    } else {
        Data::Removed
    };
    directory.disable_cleanup(options.keep);
    let machine = report::Machine::look(&tulpar, directory.path())?;
    let load = options.load();
    eprint!("{machine}");

    let results = measure::all(&rows, &load, &tulpar, directory.path(), data)?;
    if data == Data::Kept {
        eprintln!(
            "the servers' data and logs are in {}",
            directory.path().display()
        );
    }
    print(&report::Report::new(&machine, &load, &results).to_string())?;
    Ok(if results.iter().all(measure::Cell::is_flawless) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A reader who has seen enough and closes the pipe is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("cannot write to stdout"),
    }
}

fn directory_under(parent: Option<&Path>) -> anyhow::Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("tulpar-benches-");
    let directory = match parent {
        Some(parent) => builder.tempdir_in(parent),
        None => builder.tempdir(),
    };
    directory.context("cannot make a directory for the servers' data")
}
