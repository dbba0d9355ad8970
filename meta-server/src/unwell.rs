//! What is wrong and what is being done about it, in the words that the cluster's page and the shell share.

use placement::{Condition, Cure, Loss};
use std::fmt::Write;
use std::time::Duration;
use types::NodeId;

/// What a node is called: by its name, or by what else is known of it.
pub(crate) fn named(address: Option<&proto::common::NodeAddress>) -> String {
    let Some(address) = address else {
        return "unknown".into();
    };
    match (&*address.name, &*address.grpc) {
        ("", "") => NodeId(address.node).to_string(),
        ("", grpc) => grpc.to_owned(),
        (name, _) => name.to_owned(),
    }
}

/// What is wrong, and what that means.
pub(crate) fn condition(condition: Condition) -> (&'static str, &'static str) {
    match condition {
        Condition::LostQuorum => (
            "lost quorum",
            "no member with a whole copy is there: it does not serve",
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
        Condition::Diverged => (
            "copies differ",
            "its copies differ, and no majority says which is right",
        ),
        Condition::Surplus => (
            "surplus of copies",
            "it has more copies than its table wants",
        ),
        Condition::Drained => ("on a drained server", "it has a copy on a drained server"),
    }
}

/// What is being done. `name` tells how a node is called.
pub(crate) fn cure(cure: &Cure, name: impl Fn(NodeId) -> String) -> String {
    match cure {
        Cure::Operator(lost) => format!(
            "waits for a member with a whole copy, or for an operator's decision ('partition rescue'): {}",
            loss(lost, name)
        ),
        Cure::Takeover(node) => format!(
            "a secondary takes over, unless the primary, {}, still serves",
            name(*node)
        ),
        Cure::Removal(nodes) => format!(
            "the primary goes on without {}, unless it still gets answers",
            names(nodes, name)
        ),
        Cure::Opening => "replicas are being created".into(),
        Cure::MoreNodes => "waits for a server that can take a copy".into(),
        Cure::Learning(node) => format!("{} is getting a copy", name(*node)),
        Cure::Waiting(left) => format!(
            "waits {} for a server that had a copy, then another gets one",
            span(*left)
        ),
        Cure::Choice(None) => "stays as it is until an operator decides whose copy goes".into(),
        Cure::Choice(Some(drained)) => format!(
            "stays as it is, on {} too, which is drained, until an operator decides whose copy goes",
            name(*drained)
        ),
        Cure::Shedding => "one copy goes".into(),
        Cure::Moving(node) => format!("the copy on {} is moved elsewhere", name(*node)),
    }
}

/// What became of the members of a partition none of which can go on.
pub(crate) fn loss(loss: &Loss, name: impl Fn(NodeId) -> String) -> String {
    let mut text = String::new();
    for (what, nodes) in [
        ("damaged on", &loss.damaged),
        ("not learnt to the end on", &loss.unfinished),
        ("without its last writes on", &loss.unsynced),
        ("not connected:", &loss.absent),
    ] {
        if !nodes.is_empty() {
            let before = if text.is_empty() { "" } else { "; " };
            let _ = write!(text, "{before}{what} {}", names(nodes, &name));
        }
    }
    text
}

fn names(nodes: &[NodeId], name: impl Fn(NodeId) -> String) -> String {
    let names: Vec<String> = nodes.iter().map(|&node| name(node)).collect();
    names.join(", ")
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
    fn a_lost_quorum_names_the_copies_that_are_left() {
        let lost = Loss {
            damaged: vec![NodeId(1)],
            unfinished: vec![NodeId(5)],
            unsynced: vec![NodeId(2), NodeId(3)],
            absent: vec![],
        };
        let name = |node: NodeId| format!("n{}", node.0);
        assert_eq!(
            loss(&lost, name),
            "damaged on n1; not learnt to the end on n5; without its last writes on n2, n3"
        );
        assert!(cure(&Cure::Operator(lost), name).ends_with("on n2, n3"));
        let absent = vec![NodeId(4)];
        let away = Loss {
            absent,
            ..Loss::default()
        };
        assert_eq!(loss(&away, name), "not connected: n4");
        let waiting = Cure::Waiting(Duration::from_secs(150));
        assert!(cure(&waiting, |_| String::new()).starts_with("waits 2 min"));
    }
}
