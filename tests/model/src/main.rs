//! Searches the models and prints what came of it: first with all rules kept, then with each part of a rule left out.

use clap::Parser;
use model::Omission;
use model::check::{Find, Outcome, Search, Subject};
use model::log::{Learners, Start};
use model::runs::{Consequence, Length, RUNS, consequence};
use std::process::ExitCode;

/// Checks the rules of replication in small models: with all of them kept, and with each part of one left out.
#[derive(Parser)]
struct Arguments {
    /// Only the runs that the tests make, too.
    #[arg(long)]
    short: bool,
    /// Only runs with this name.
    #[arg(long)]
    run: Option<String>,
    /// Only what is left out of this rule, for example R2.
    #[arg(long)]
    without: Option<String>,
    /// Tell the steps that lead to what breaks. (Nodes keep their names then, which takes up to six times as long.)
    #[arg(long)]
    told: bool,
    /// A search ends unfinished after so many million steps. (100 are up to 22 million states and 7.5 GiB.)
    #[arg(long, default_value_t = 100)]
    million_steps: usize,
}

impl Arguments {
    fn find(&self) -> Find {
        if self.told {
            Find::Readable
        } else {
            Find::Nearest
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let steps = arguments.million_steps * 1_000_000;
    let mut good = true;
    if arguments.without.is_none() {
        good &= keep_all(&arguments, steps);
        println!();
    }
    if arguments.run.is_none() {
        good &= leave_out(&arguments, steps);
    }
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// All rules kept: nothing may be violated, and everything must happen that should.
fn keep_all(arguments: &Arguments, steps: usize) -> bool {
    let mut good = true;
    let find = arguments.find();
    println!("| all rules kept | bounds | states | steps to the farthest | seconds | result |");
    println!("|---|---|---|---|---|---|");
    let named = |name: &str| arguments.run.as_deref().is_none_or(|wanted| wanted == name);
    for run in RUNS
        .iter()
        .filter(|run| named(run.name) && (run.length == Length::Short || !arguments.short))
    {
        let outcome = run.subject.check(None, Search { steps, find });
        let result = match &outcome.violated {
            Some((property, path)) => format!("VIOLATED after {} steps: {property}", path.len()),
            None if !outcome.unseen.is_empty() => {
                format!("never happened: {}", outcome.unseen.join(", "))
            }
            None if outcome.complete => "holds, searched to the end".to_owned(),
            None => "holds as far as was searched".to_owned(),
        };
        good &= outcome.violated.is_none() && outcome.unseen.is_empty();
        let (bounds, Outcome { states, depth, .. }) = (bounds(run.subject), &outcome);
        println!(
            "| {} | {bounds} | {states} | {depth} | {} | {result} |",
            run.name,
            outcome.took.as_secs()
        );
        let path = outcome.violated.iter().flat_map(|(_, path)| path);
        path.filter(|_| arguments.told)
            .for_each(|step| println!("    {step}"));
    }
    good
}

/// Each part left out must break something, or it is told what covers for it.
fn leave_out(arguments: &Arguments, steps: usize) -> bool {
    let mut good = true;
    println!("| rule | left out: | bounds | breaks | after steps |");
    println!("|---|---|---|---|---|");
    let wanted = |rule: &str| {
        arguments
            .without
            .as_deref()
            .is_none_or(|wanted| wanted == rule)
    };
    let find = arguments.find();
    for &omission in Omission::ALL
        .iter()
        .filter(|omission| wanted(omission.rule()))
    {
        let (rule, told) = (omission.rule(), omission.told());
        match consequence(omission) {
            Consequence::Breaks(subjects) => {
                for &subject in subjects {
                    let outcome = subject.check(Some(omission), Search { steps, find });
                    let bounds = bounds(subject);
                    let (breaks, path) = outcome.violated.unwrap_or(("NOTHING", vec![]));
                    good &= breaks != "NOTHING";
                    println!("| {rule} | {told} | {bounds} | {breaks} | {} |", path.len());
                    path.iter()
                        .filter(|_| arguments.told)
                        .for_each(|step| println!("    {step}"));
                }
            }
            Consequence::Stops(subjects) => {
                for &(subject, expected) in subjects {
                    let outcome = subject.check(Some(omission), Search { steps, find });
                    let (bounds, states) = (bounds(subject), outcome.states);
                    let as_told = outcome.complete && outcome.unseen == expected;
                    good &= as_told;
                    let verdict = if as_told { "never" } else { "UNEXPECTEDLY" };
                    let unseen = outcome.unseen.join(", ");
                    println!(
                        "| {rule} | {told} | {bounds} | {verdict}, in {states} states: {unseen} | |"
                    );
                }
            }
            // It takes a large search to say so.
            Consequence::Covered(..) if arguments.short => {}
            Consequence::Covered(subject, why) => {
                let outcome = subject.check(
                    Some(omission),
                    Search {
                        steps,
                        find: Find::Nearest,
                    },
                );
                let (bounds, states) = (bounds(subject), outcome.states);
                good &= outcome.violated.is_none();
                let what = match outcome.violated {
                    None => format!("nothing in {states} states: {why}"),
                    Some((property, path)) => {
                        format!("UNEXPECTEDLY {property} after {}", path.len())
                    }
                };
                println!("| {rule} | {told} | {bounds} | {what} | |");
            }
        }
    }
    good
}

/// The bounds of a model, as a person reads them.
fn bounds(subject: Subject) -> String {
    let mut parts = Vec::new();
    let mut part = |count: u8, one: &str, many: &str| match count {
        0 => {}
        1 => parts.push(format!("1 {one}")),
        _ => parts.push(format!("{count} {many}")),
    };
    match subject {
        Subject::Log(bounds) => {
            part(bounds.members, "member", "members");
            part(bounds.ballots, "ballot", "ballots");
            part(bounds.decrees, "decree", "decrees");
            part(bounds.faults.restarts, "restart", "restarts");
            part(bounds.faults.power_losses, "power loss", "power losses");
            part(bounds.faults.emptied, "emptied disk", "emptied disks");
            part(bounds.faults.learns, "learn", "learns");
            if bounds.start == Start::Deposed {
                parts.push("after a takeover".to_owned());
            }
            if bounds.learners == Learners::WithHoles {
                parts.push("with holes".to_owned());
            }
        }
        Subject::Lease(bounds) => {
            part(bounds.partitions, "partition", "partitions");
            part(bounds.members, "member", "members");
            part(bounds.ballots, "ballot", "ballots");
            part(bounds.lease, "tick of lease", "ticks of lease");
            part(bounds.grace, "tick of grace", "ticks of grace");
            part(bounds.missed, "tick missed", "ticks missed");
            part(bounds.restarts, "restart", "restarts");
            part(bounds.learns, "learn", "learns");
        }
        Subject::Expiry(bounds) => part(bounds.latest, "tick", "ticks"),
        Subject::Hang(bounds) => part(bounds.replicas, "member", "members"),
    }
    parts.join(", ")
}
