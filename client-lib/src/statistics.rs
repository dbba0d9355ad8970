//! What went wrong on the way to the servers, and how old the routes may be: for whoever watches a process that uses the client.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counts since the client was made, and how its tables' routes are now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Attempts that a server refused because another one is the primary: the route was out of date.
    pub misdirected: u64,
    /// Attempts that were refused for any reason that passes, the former included.
    pub refused: u64,
    /// Attempts whose answer was lost with the stream.
    pub lost: u64,
    /// Requests that ended with an unknown outcome.
    pub unknown: u64,
    /// The tables in use.
    pub tables: Vec<Followed>,
}

/// How one table's routes are kept up to date.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Followed {
    /// Its name.
    pub table: String,
    /// How long no meta server has told of changes; nothing: one does.
    pub unfollowed_for: Option<Duration>,
}

/// Counts what is no usual event, so nobody has to share a counter for each request.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    pub(crate) misdirected: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) unknown: AtomicU64,
}

impl Troubles {
    pub(crate) fn statistics(&self, tables: Vec<Followed>) -> Statistics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Statistics {
            misdirected: read(&self.misdirected),
            refused: read(&self.refused),
            lost: read(&self.lost),
            unknown: read(&self.unknown),
            tables,
        }
    }
}

/// One or more of that kind.
pub(crate) fn count(counter: &AtomicU64, more: usize) {
    counter.fetch_add(more as u64, Ordering::Relaxed);
}

/// Since when a table's routes are not followed.
#[derive(Debug)]
pub(crate) struct Following(Mutex<Option<Instant>>);

impl Following {
    pub(crate) fn not_yet() -> Self {
        Self(Mutex::new(Some(Instant::now())))
    }

    pub(crate) fn begins(&self) {
        self.set(None);
    }

    pub(crate) fn ends(&self) {
        self.set(Some(Instant::now()));
    }

    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    pub(crate) fn ended_for(&self) -> Option<Duration> {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.map(|since| since.elapsed())
    }
}
