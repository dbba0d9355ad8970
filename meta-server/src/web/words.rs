//! Numbers, conditions and cures as people read them.

use placement::{Condition, Cure};
use std::fmt::Write;
use std::time::Duration;
use types::NodeId;

/// Three digits and a unit of thousands.
pub(super) fn count(number: f64) -> String {
    scaled(number, 1000.0, &["", "k", "M", "G"])
}

/// Bytes in binary units.
pub(super) fn bytes(number: f64) -> String {
    scaled(number, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB"])
}

fn scaled(number: f64, step: f64, units: &[&str]) -> String {
    let mut number = number;
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while number >= step
        && let Some(next) = units.next()
    {
        number /= step;
        unit = next;
    }
    if number >= 100.0 || number.fract() < 0.05 {
        format!("{number:.0}{unit}")
    } else {
        format!("{number:.1}{unit}")
    }
}

/// A latency.
pub(super) fn milliseconds(number: f64) -> String {
    if number >= 1000.0 {
        format!("{:.1} s", number / 1000.0)
    } else if number >= 10.0 {
        format!("{number:.0} ms")
    } else {
        format!("{number:.2} ms")
    }
}

/// What is wrong, and what that means.
pub(super) fn condition(condition: Condition) -> (&'static str, &'static str) {
    match condition {
        Condition::LostQuorum => (
            "lost quorum",
            "no member has a whole copy: it does not serve",
        ),
        Condition::PrimaryAway => (
            "primary away",
            "its primary's server is not connected to this meta server",
        ),
        Condition::Unborn => ("not created", "it has no replicas yet"),
        Condition::SecondaryAway => (
            "secondary away",
            "a secondary's server is not connected to this meta server",
        ),
        Condition::Short => (
            "short of copies",
            "it has fewer copies than its table wants",
        ),
    }
}

/// What is being done. `name` tells how a node is called.
pub(super) fn cure(cure: &Cure, name: impl Fn(NodeId) -> String) -> String {
    let names = |nodes: &[NodeId]| {
        let names: Vec<String> = nodes.iter().map(|&node| name(node)).collect();
        names.join(", ")
    };
    match cure {
        Cure::Operator { damaged, unsynced } => {
            let mut text = "waits for an operator's decision:".to_owned();
            if !damaged.is_empty() {
                let _ = write!(text, " damaged on {}", names(damaged));
            }
            if !unsynced.is_empty() {
                let _ = write!(text, " without its last writes on {}", names(unsynced));
            }
            text
        }
        Cure::Takeover => "a secondary takes over, unless the primary still serves".into(),
        Cure::Removal => "the primary goes on without it, unless it still answers".into(),
        Cure::Return => "waits for one of its servers to return".into(),
        Cure::Opening => "replicas are being created".into(),
        Cure::MoreNodes => "waits for a server that can take a copy".into(),
        Cure::Learning(node) => format!("{} is getting a copy", name(*node)),
        Cure::Waiting(left) => format!(
            "waits {} for a server that had a copy, then another gets one",
            span(*left)
        ),
    }
}

/// In whole minutes or seconds.
fn span(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..120 => format!("{} s", seconds.max(1)),
        seconds => format!("{} min", seconds / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0.0, 7.0, 7.25, 12_345.0, 2e6].map(count),
            ["0", "7", "7.2", "12.3k", "2M"]
        );
        assert_eq!(
            [100.0, 1536.0, 3e12].map(bytes),
            ["100 B", "1.5 KiB", "2.7 TiB"]
        );
        assert_eq!(
            [0.1, 42.3, 2500.0].map(milliseconds),
            ["0.10 ms", "42 ms", "2.5 s"]
        );
    }

    #[test]
    fn a_lost_quorum_names_the_copies_that_are_left() {
        let lost = Cure::Operator {
            damaged: vec![NodeId(1)],
            unsynced: vec![NodeId(2), NodeId(3)],
        };
        assert_eq!(
            cure(&lost, |node| format!("n{}", node.0)),
            "waits for an operator's decision: damaged on n1 without its last writes on n2, n3"
        );
        let waiting = Cure::Waiting(Duration::from_secs(150));
        assert!(cure(&waiting, |_| String::new()).starts_with("waits 2 min"));
    }
}
