//! What must hold in every state of the lease model, and what some state must show so that the others mean something.

use super::act::LeaseModel;
use super::state::State;
use crate::node::{Node, nodes};
use stateright::Property;

/// All of them.
pub(super) fn properties() -> Vec<Property<LeaseModel>> {
    vec![
        Property::always("a read shows every acknowledged write", reads_show_all),
        Property::always("one node at most may answer reads", one_reads),
        Property::sometimes("the last ballot's primary may answer reads", last_reads),
        Property::sometimes("a deposed primary reads on in its lease", deposed_reads),
    ]
}

fn readers<'a>(
    model: &'a LeaseModel,
    state: &'a State,
    index: usize,
) -> impl Iterator<Item = Node> + 'a {
    nodes().filter(move |&node| model.may_read(state, index, node))
}

fn reads_show_all(model: &LeaseModel, state: &State) -> bool {
    let mut partitions = state.partitions.iter().enumerate();
    partitions.all(|(index, partition)| {
        readers(model, state, index).all(|reader| partition.current & 1 << reader != 0)
    })
}

fn one_reads(model: &LeaseModel, state: &State) -> bool {
    (0..state.partitions.len()).all(|index| readers(model, state, index).count() <= 1)
}

fn last_reads(model: &LeaseModel, state: &State) -> bool {
    let last = model.bounds.ballots;
    let mut partitions = state.partitions.iter().enumerate();
    partitions.any(|(index, partition)| {
        readers(model, state, index).any(|reader| partition.known[usize::from(reader)] == last)
    })
}

fn deposed_reads(model: &LeaseModel, state: &State) -> bool {
    let mut partitions = state.partitions.iter().enumerate();
    partitions.any(|(index, partition)| {
        let newest = partition.newest();
        let led = partition
            .stored
            .last()
            .is_some_and(|stored| partition.leads(stored.primary));
        led && readers(model, state, index)
            .any(|reader| partition.known[usize::from(reader)] < newest)
    })
}
