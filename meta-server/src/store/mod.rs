//! Where the cluster's configuration is kept: documents with versions, changed by compare-and-set in the term of one leader.
//!
//! [`embedded`] keeps them in a local file, for one meta server. The trait is shaped by what an ensemble needs as well: leading may
//! wait for an election, and every write is fenced by the term in which it was decided. A term whose write failed is over;
//! what the store then holds is found out by leading anew.

mod embedded;
mod encoding;
mod file;

pub use embedded::EmbeddedStore;

use placement::{Entry, Key, Write};
use std::io;
use std::path::PathBuf;

/// A store of the cluster's documents.
pub trait MetadataStore: Send + Sync + 'static {
    /// A term of leadership.
    type Term: Term;

    /// Becomes the leader, alone, and reads everything. May wait for as long as another leads.
    fn lead(&self) -> impl Future<Output = Result<(Self::Term, Vec<Entry>), OpenError>> + Send;
}

/// The right to write, until another leads.
pub trait Term: Send + 'static {
    /// Its number; higher than every earlier one.
    fn epoch(&self) -> u64;

    /// Writes all or nothing, durably, if each document has its expected version and the term is not over.
    fn write(&mut self, writes: Vec<Write>) -> impl Future<Output = Result<(), WriteError>> + Send;
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
