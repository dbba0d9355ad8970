//! Gathers the operations of many clients by key, and judges them.

use super::linearizable::{self, Violation};
use super::operation::{Call, Nanos, Operation, Outcome};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Shared by all clients of a run.
#[derive(Debug)]
pub struct Recorder {
    start: Instant,
    keys: Mutex<BTreeMap<String, Vec<Operation>>>,
}

/// How many operations ended how.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// With an answer.
    pub replied: u64,
    /// With the promise that nothing took effect.
    pub refused: u64,
    /// Without either.
    pub unknown: u64,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            keys: Mutex::default(),
        }
    }
}

impl Recorder {
    /// The time now.
    pub fn now(&self) -> Nanos {
        self.start.elapsed().as_nanos() as Nanos
    }

    /// Asks, and keeps question and outcome with the times around them.
    pub fn record(
        &self,
        client: u32,
        key: &str,
        call: Call,
        ask: impl FnOnce() -> Outcome,
    ) -> Outcome {
        let invoked = self.now();
        let outcome = ask();
        let returned = self.now();
        let operation = Operation {
            client,
            call,
            invoked,
            returned,
            outcome,
        };
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        match keys.get_mut(key) {
            Some(history) => history.push(operation),
            None => drop(keys.insert(key.to_owned(), vec![operation])),
        }
        outcome
    }

    /// Every key that was asked for.
    pub fn keys(&self) -> Vec<String> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.keys().cloned().collect()
    }

    /// How the operations so far ended.
    pub fn counts(&self) -> Counts {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = Counts::default();
        for operation in keys.values().flatten() {
            match operation.outcome {
                Outcome::Replied(_) => counts.replied += 1,
                Outcome::Refused => counts.refused += 1,
                Outcome::Unknown => counts.unknown += 1,
            }
        }
        counts
    }

    /// The keys whose histories nothing explains.
    pub fn violations(&self) -> Vec<(String, Violation)> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let judge = |(key, history): (&String, &Vec<Operation>)| {
            let violation = linearizable::check(history).err()?;
            Some((key.clone(), violation))
        };
        keys.iter().filter_map(judge).collect()
    }

    /// One key's operations, a line of JSON each, in the order in which they were sent.
    pub fn told(&self, key: &str) -> String {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let mut history = keys.get(key).cloned().unwrap_or_default();
        history.sort_by_key(|operation| operation.invoked);
        let mut text = String::new();
        for operation in history {
            let line = serde_json::to_string(&operation).expect("numbers and names are JSON");
            let _ = writeln!(text, "{line}");
        }
        text
    }
}
