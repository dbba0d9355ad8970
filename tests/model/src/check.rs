//! One search through one model, breadth first, and what came of it.

use crate::Omission;
use crate::expiry::{self, ExpiryModel};
use crate::hang::{self, HangModel};
use crate::lease::{self, LeaseModel};
use crate::log::{self, LogModel};
use stateright::{Checker, Expectation, HasDiscoveries, Model};
use std::fmt::Debug;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// A model and its bounds.
#[derive(Clone, Copy, Debug)]
pub enum Subject {
    /// Writes and configurations.
    Log(log::Bounds),
    /// Reads.
    Lease(lease::Bounds),
    /// Expiry.
    Expiry(expiry::Bounds),
    /// Hanging disks.
    Hang(hang::Bounds),
}

/// How to search.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// The search ends, unfinished, after so many steps were taken. About one in seven leads to a new state.
    pub steps: usize,
    /// Which violation it looks for.
    pub find: Find,
}

/// Which violation to look for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Find {
    /// Any.
    Any,
    /// One of the fewest steps.
    Nearest,
    /// One of the fewest steps, in which nodes keep their names: this takes longer.
    Readable,
}

/// What came of a search.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Different states reached.
    pub states: usize,
    /// The longest way to one, in steps.
    pub depth: usize,
    /// Whether these are all there are.
    pub complete: bool,
    /// What was violated, and the way there.
    pub violated: Option<(&'static str, Vec<String>)>,
    /// What should have happened in some state, and did in none.
    pub unseen: Vec<&'static str>,
    /// How long it took.
    pub took: Duration,
}

impl Subject {
    /// Searches for a violation, with a part of a rule left out or with all kept.
    pub fn check(self, without: Option<Omission>, search: Search) -> Outcome {
        let symmetry = search.find != Find::Readable;
        match self {
            Self::Log(bounds) => run(
                &LogModel {
                    bounds,
                    without,
                    symmetry,
                },
                search,
            ),
            Self::Lease(bounds) => run(
                &LeaseModel {
                    bounds,
                    without,
                    symmetry,
                },
                search,
            ),
            Self::Expiry(bounds) => run(&ExpiryModel { bounds, without }, search),
            Self::Hang(bounds) => run(&HangModel { bounds, without }, search),
        }
    }
}

fn run<M>(model: &M, search: Search) -> Outcome
where
    M: Model + Clone + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    let began = Instant::now();
    let mut outcome = once(model, search.steps, None);
    // The checker does not report the nearest violation it came by: look for one that is nearer, until there is none.
    while search.find != Find::Any
        && let Some((_, path)) = &outcome.violated
        && let nearer = once(model, search.steps, Some(path.len()))
        && nearer.violated.is_some()
    {
        outcome = nearer;
    }
    outcome.took = began.elapsed();
    outcome
}

/// One search, through the states that are fewer steps away than `nearer` if that is given.
fn once<M>(model: &M, steps: usize, nearer: Option<usize>) -> Outcome
where
    M: Model + Clone + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    let mut builder = model
        .clone()
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .target_state_count(steps);
    if let Some(nearer) = nearer {
        // The checker counts states, and stops short of this one.
        builder = builder.target_max_depth(nearer + 1);
    }
    let checker = builder.spawn_bfs().join();
    let discoveries = checker.discoveries();
    let mut unseen = Vec::new();
    let mut violated: Option<(&'static str, Vec<String>)> = None;
    for property in model.properties() {
        let path = discoveries.get(property.name);
        match (property.expectation, path) {
            (Expectation::Sometimes, None) => unseen.push(property.name),
            (Expectation::Always, Some(path)) => {
                let acts = path.clone().into_actions();
                let path: Vec<_> = acts.iter().map(|act| format!("{act:?}")).collect();
                if violated
                    .as_ref()
                    .is_none_or(|(_, other)| path.len() < other.len())
                {
                    violated = Some((property.name, path));
                }
            }
            (Expectation::Sometimes | Expectation::Eventually, _) | (Expectation::Always, None) => {
            }
        }
    }
    Outcome {
        states: checker.unique_state_count(),
        depth: checker.max_depth() - 1,
        complete: violated.is_none() && nearer.is_none() && checker.state_count() < steps,
        violated,
        unseen,
        took: Duration::ZERO,
    }
}
