//! The small searches: with all rules kept nothing breaks, and each part of a rule that is left out breaks what it is there for.
//!
//! `cargo run --release -p model` makes the large ones.

use model::Omission;
use model::check::{Find, Search};
use model::hang::{Bounds, HangModel, dead_ends};
use model::runs::{Consequence, Length, RUNS, consequence};

/// More than any of the searches here needs.
const SEARCH: Search = Search {
    steps: 20_000_000,
    find: Find::Any,
};

#[test]
fn nothing_breaks_while_all_rules_are_kept() {
    for run in RUNS.iter().filter(|run| run.length == Length::Short) {
        let outcome = run.subject.check(None, SEARCH);
        assert_eq!(outcome.violated, None, "{}", run.name);
        assert!(outcome.complete, "{} was not searched to the end", run.name);
        assert!(
            outcome.unseen.is_empty(),
            "{}: never {:?}",
            run.name,
            outcome.unseen
        );
    }
}

#[test]
fn each_part_of_a_rule_that_is_left_out_breaks_something() {
    for &omission in Omission::ALL {
        match consequence(omission) {
            Consequence::Breaks(subjects) => {
                for subject in subjects {
                    let outcome = subject.check(Some(omission), SEARCH);
                    assert!(outcome.violated.is_some(), "{omission:?}: {subject:?}");
                }
            }
            Consequence::Stops(subjects) => {
                for (subject, expected) in subjects {
                    let outcome = subject.check(Some(omission), SEARCH);
                    assert!(outcome.complete, "{omission:?}: {subject:?}");
                    assert_eq!(outcome.unseen, *expected, "{omission:?}: {subject:?}");
                }
            }
            // What is covered by another rule takes a large search to say so.
            Consequence::Covered(..) => {}
        }
    }
}

#[test]
fn wherever_a_hanging_disk_leaves_a_partition_there_is_a_way_on() {
    for replicas in [2, 3] {
        let bounds = Bounds { replicas };
        let kept = HangModel {
            bounds,
            without: None,
        };
        let (hanging, dead) = dead_ends(&kept);
        assert!(hanging > 0, "no disk hangs, with {replicas} members");
        assert_eq!(dead, 0, "of {hanging} states, with {replicas} members");
        let (_, dead) = dead_ends(&HangModel {
            without: Some(Omission::R6Vouches),
            ..kept
        });
        assert!(dead > 0, "with {replicas} members");
    }
}
