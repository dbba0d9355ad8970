//! One search through one model, breadth first, and what came of it.

use crate::Omission;
use crate::expiry::{self, ExpiryModel};
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
}

/// How to search.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// The search ends, unfinished, after so many steps were taken. About one in seven leads to a new state.
    pub steps: usize,
    /// Whether a counterexample is to be told: then nodes keep their names, which takes longer.
    pub trace: bool,
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
    /// What was violated first, and the shortest way there.
    pub violated: Option<(&'static str, Vec<String>)>,
    /// What should have happened in some state, and did in none.
    pub unseen: Vec<&'static str>,
    /// How long it took.
    pub took: Duration,
}

impl Subject {
    /// Searches for a violation, with a part of a rule left out or with all kept.
    pub fn check(self, without: Option<Omission>, search: Search) -> Outcome {
        let symmetry = !search.trace;
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
    let mut shortest: Option<(&'static str, Vec<String>)> = None;
    loop {
        let mut builder = model
            .clone()
            .checker()
            .finish_when(HasDiscoveries::AnyFailures)
            .target_state_count(search.steps);
        if let Some((_, steps)) = &shortest {
            // The checker reports a violation that is not always the nearest: look for one that is nearer.
            builder = builder.target_max_depth(steps.len() + 1);
        }
        let checker = builder.spawn_bfs().join();
        let properties = model.properties();
        let fails = |name| {
            let property = properties.iter().find(|property| property.name == name);
            property.is_some_and(|property| property.expectation == Expectation::Always)
        };
        let discoveries = checker.discoveries();
        let nearest = discoveries
            .iter()
            .filter(|(name, _)| fails(**name))
            .map(|(name, path)| {
                let steps = path.clone().into_actions();
                let told = steps
                    .iter()
                    .map(|step| format!("{step:?}"))
                    .collect::<Vec<_>>();
                (*name, told)
            })
            .min_by_key(|(name, steps)| (steps.len(), *name));
        if nearest.is_some() && search.steps > 0 {
            shortest = nearest;
            continue;
        }
        let unseen = properties.iter().map(|property| property.name);
        return Outcome {
            states: checker.unique_state_count(),
            depth: checker.max_depth() - 1,
            complete: shortest.is_none() && checker.state_count() < search.steps,
            unseen: unseen
                .filter(|name| !fails(name) && !discoveries.contains_key(name))
                .collect(),
            violated: shortest,
            took: began.elapsed(),
        };
    }
}
