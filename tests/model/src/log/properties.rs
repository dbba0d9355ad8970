//! What must hold in every state of the log model, and what some state must show so that the others mean something.

use super::act::LogModel;
use super::state::{Base, Replica, Reset, Role, Standing, State};
use crate::node::{Node, nodes};
use stateright::Property;

/// All of them.
pub(super) fn properties(model: &LogModel) -> Vec<Property<LogModel>> {
    let mut properties = vec![
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
    ];
    if model.holes() {
        properties.extend([
            // With a part of a rule left out, it is what follows from the hole that is wanted.
            Property::always("a copy has no hole", |model: &LogModel, state: &State| {
                model.without.is_some() || copies_have_no_hole(state)
            }),
            Property::sometimes(
                "a copy from a checkpoint is a member",
                |_, state: &State| {
                    members(state).any(|node| {
                        let replica = state.at(node);
                        let whole = matches!(replica.standing, Standing::Whole(_));
                        whole && matches!(replica.reset, Reset::Checkpoint(1..))
                    })
                },
            ),
        ]);
    }
    if model.holes() && model.bounds.faults.restarts > 0 && model.bounds.decrees > 1 {
        properties.extend([
            Property::sometimes(
                "a learn is cut off before its checkpoint is in place, with prepares above",
                |_, state: &State| cut_off_below_prepares(state),
            ),
            Property::sometimes(
                "a learn by log is cut off, with a hole",
                |_, state: &State| {
                    let by_log = |replica: &Replica| replica.reset == Reset::Log;
                    cut_off(state).any(|replica| by_log(replica) && replica.disk.has_hole())
                },
            ),
        ]);
    }
    properties
}

fn members(state: &State) -> impl Iterator<Item = Node> {
    let newest = state.stored.last().copied();
    nodes().filter(move |&node| newest.is_some_and(|newest| newest.contains(node)))
}

fn copies_have_no_hole(state: &State) -> bool {
    let whole = |replica: &&Replica| matches!(replica.standing, Standing::Whole(_));
    let mut copies = state.replicas.iter().filter(whole);
    copies.all(|replica| !replica.log.has_hole() && !replica.disk.has_hole())
}

fn cut_off(state: &State) -> impl Iterator<Item = &Replica> {
    let replicas = state.replicas.iter();
    replicas.filter(|replica| matches!(replica.base, Base::CutOff { .. }))
}

fn cut_off_below_prepares(state: &State) -> bool {
    cut_off(state).any(|replica| match replica.reset {
        Reset::Checkpoint(base @ 1..) => {
            let lacks = |decree| replica.disk.value(decree) == 0;
            (1..=base).any(lacks) && replica.disk.highest() > base
        }
        Reset::Checkpoint(0) | Reset::Log => false,
    })
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
