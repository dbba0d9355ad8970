//! What must hold in every state of the log model, and what some state must show so that the others mean something.

use super::act::LogModel;
use super::state::{Role, Standing, State};
use crate::node::nodes;
use stateright::Property;

/// All of them.
pub(super) fn properties() -> Vec<Property<LogModel>> {
    vec![
        Property::always(
            "every member has every acknowledged write",
            every_member_has_all,
        ),
        Property::always(
            "a decree is committed with one value",
            |_, state: &State| !state.diverged,
        ),
        Property::always(
            "a write follows the one it was evaluated over",
            |_, state: &State| !state.ungrounded,
        ),
        Property::always(
            "a serving primary shows every acknowledged write",
            serving_shows_all,
        ),
        Property::sometimes("a write is acknowledged", |_, state: &State| {
            state.acknowledged() > 0
        }),
        Property::sometimes(
            "the last ballot's primary acknowledges a write",
            |model: &LogModel, state: &State| {
                let last = model.bounds.ballots;
                state.acknowledged.iter().any(|&value| value >> 1 == last)
            },
        ),
    ]
}

/// One surviving member is enough: each whose disk was not lost has, as a whole copy, all that clients were told of.
fn every_member_has_all(model: &LogModel, state: &State) -> bool {
    let Some(newest) = state.stored.last() else {
        return true;
    };
    nodes().filter(|&node| newest.contains(node)).all(|node| {
        let replica = state.at(node);
        // What survives a crash of the process.
        let log = if model.buffered() {
            replica.log
        } else {
            replica.disk
        };
        let other_learn = replica.standing.learn() != newest.learns[usize::from(node)];
        let emptied = state.emptied & 1 << node != 0 && other_learn;
        let lost = emptied || matches!(replica.standing, Standing::Unsynced(_));
        let has_all = || {
            (1..=state.acknowledged())
                .all(|decree| log.value(decree) == state.acknowledged[usize::from(decree) - 1])
        };
        lost || state.is_member_of(node, *newest) && has_all()
    })
}

/// Reads are answered from what is committed. (Of lower ballots, the lease keeps them from being answered at all.)
fn serving_shows_all(model: &LogModel, state: &State) -> bool {
    nodes()
        .filter(|&node| state.at(node).known == state.newest())
        .filter(|&node| {
            matches!(state.at(node).role, Role::Primary { .. }) && model.serves(state, node)
        })
        .all(|node| {
            let replica = state.at(node);
            let shows = |decree: u8| {
                replica.log.value(decree) == state.acknowledged[usize::from(decree) - 1]
            };
            replica.committed >= state.acknowledged() && (1..=state.acknowledged()).all(shows)
        })
}
