//! Where the cluster's configuration is kept: documents with versions, changed by compare-and-set in the term of one leader.
//!
//! [`zookeeper`] keeps them in an ensemble, for several meta servers of which one leads; [`embedded`] in a local file, for one meta server.
//! Leading may wait for an election, and every write is fenced by the term in which it was decided. A term whose write failed is over;
//! what the store then holds is found out by leading anew.

mod embedded;
mod encoding;
mod file;
mod zookeeper;

pub use embedded::EmbeddedStore;
pub use zookeeper::{InvalidEnsemble, ZooKeeperOptions, ZooKeeperStore};

use placement::{Entry, Key, Write};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use tokio::sync::watch;

/// A store of the cluster's documents.
pub trait MetadataStore: Send + Sync + 'static {
    /// A term of leadership.
    type Term: Term;

    /// Becomes the leader, alone, and reads everything. May wait for as long as another leads, and says in `leader` where that one is
    /// reached.
    fn lead(
        &self,
        leader: &watch::Sender<Option<String>>,
    ) -> impl Future<Output = Result<Led<Self::Term>, OpenError>> + Send;
}

/// A term just begun.
pub struct Led<T> {
    /// The right to write.
    pub term: T,
    /// Everything stored.
    pub entries: Vec<Entry>,
    /// Ends when the term does by itself: another may lead from then on.
    pub ended: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl<T: fmt::Debug> fmt::Debug for Led<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Led")
            .field("term", &self.term)
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

/// The right to write, until another leads.
pub trait Term: Send + 'static {
    /// Its number; higher than every earlier one.
    fn epoch(&self) -> u64;

    /// Writes all or nothing, durably, if each document has its expected version and the term is not over.
    fn write(&mut self, writes: Vec<Write>) -> impl Future<Output = Result<(), WriteError>> + Send;

    /// Gives the right up, so that another need not wait until its loss is noticed.
    fn resign(self) -> impl Future<Output = ()> + Send
    where
        Self: Sized,
    {
        std::future::ready(())
    }
}

/// Why a store can not be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses it.
    #[error("data directory {0} is in use by another meta server")]
    Locked(PathBuf),
    /// The system does not let us; it may later.
    #[error("cannot use {path}: {source}")]
    Unusable {
        /// What.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The ensemble does not let us, or not yet; it may later.
    #[error("ZooKeeper at {ensemble}: {reason}")]
    Ensemble {
        /// Its servers.
        ensemble: String,
        /// What the client says.
        reason: String,
    },
    /// A znode's content is none of ours, or of a later version. Only a person can decide what to do.
    #[error("{path} in ZooKeeper is no document that this version understands: {what}")]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        what: String,
    },
    /// What was once durable is not readable any more. Only a person can decide what to do.
    #[error("{path} is damaged at byte {offset}: {what}; restore it from a copy")]
    Damaged {
        /// What.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// How.
        what: String,
    },
}

/// Why a write was not made, or nobody knows whether it was. Either way the term is over.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Another leader has begun its term.
    #[error("another term has begun")]
    Deposed,
    /// A document does not have the version that this leader knows.
    #[error("{0:?} has another version than expected")]
    Conflict(Key),
    /// The system failed; the write may be there or not.
    #[error(transparent)]
    Failed(#[from] io::Error),
}
