//! From which states of a model a way leads to where one should: a search back from there, which the checker does not make.
//!
//! All states are kept, with all ways between them: it is for the tiny models only.

use foldhash::fast::FixedState;
use stateright::Model;
use std::collections::HashMap;
use std::hash::Hash;

/// How many states are `concerned`, and from how many of them no way leads to the `goal`.
pub fn dead_ends<M>(
    model: &M,
    concerned: impl Fn(&M::State) -> bool,
    goal: impl Fn(&M::State) -> bool,
) -> (usize, usize)
where
    M: Model,
    M::State: Clone + Eq + Hash,
{
    let mut states = model.init_states();
    let mut numbers: HashMap<M::State, usize, FixedState> =
        states.iter().cloned().zip(0..).collect();
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); states.len()];
    let (mut number, mut acts) = (0, Vec::new());
    while let Some(state) = states.get(number).cloned() {
        model.actions(&state, &mut acts);
        for next in acts
            .drain(..)
            .filter_map(|act| model.next_state(&state, act))
        {
            let known = *numbers.entry(next).or_insert_with_key(|next| {
                states.push(next.clone());
                before.push(Vec::new());
                states.len() - 1
            });
            before[known].push(number);
        }
        number += 1;
    }
    let mut leads: Vec<bool> = states.iter().map(goal).collect();
    let mut new: Vec<usize> = (0..states.len()).filter(|&state| leads[state]).collect();
    while let Some(state) = new.pop() {
        for &earlier in &before[state] {
            if !std::mem::replace(&mut leads[earlier], true) {
                new.push(earlier);
            }
        }
    }
    let concerned: Vec<usize> = (0..states.len())
        .filter(|&state| concerned(&states[state]))
        .collect();
    let dead = concerned.iter().filter(|&&state| !leads[state]).count();
    (concerned.len(), dead)
}
