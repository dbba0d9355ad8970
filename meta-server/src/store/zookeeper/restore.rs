//! Reading all documents, many requests at a time.
//!
//! Nothing older than the term's first write is read: the session has seen that write, and ZooKeeper never shows a session less than it saw.

use super::paths::{self, DIRECTORIES};
use super::repeated;
use crate::store::OpenError;
use crate::store::encoding::StoredEntry;
use futures::stream::{self, StreamExt, TryStreamExt};
use placement::{Entry, Key};
use prost::Message;
use zookeeper_client::{Client, Error, Stat};

/// Requests under way. More gain nothing: a server answers those of one session one after the other.
const AT_ONCE: usize = 128;

/// What was stored, in the order of keys.
pub(super) async fn all(client: &Client) -> Result<Vec<Entry>, RestoreError> {
    let mut keys = vec![Key::Root];
    for directory in DIRECTORIES {
        let names = repeated(|| client.list_children(directory)).await?;
        let key = |name: String| paths::child(directory, &name);
        keys.extend(names.into_iter().filter_map(key));
    }
    let read = |key| async move {
        match repeated(|| client.get_data(&paths::path(key))).await {
            Ok((bytes, stat)) => entry(key, &bytes, &stat).map(Some),
            // A new cluster has none, and nothing but a leader removes others.
            Err(Error::NoNode) if key == Key::Root => Ok(None),
            Err(error) => Err(error.into()),
        }
    };
    let mut entries: Vec<Entry> = stream::iter(keys)
        .map(read)
        .buffer_unordered(AT_ONCE)
        .try_filter_map(|entry| std::future::ready(Ok(entry)))
        .try_collect()
        .await?;
    entries.sort_by_key(|entry| entry.key);
    Ok(entries)
}

fn entry(key: Key, bytes: &[u8], stat: &Stat) -> Result<Entry, RestoreError> {
    let unreadable = |what: String| RestoreError::Unreadable {
        path: paths::path(key),
        what,
    };
    let stored = StoredEntry::decode(bytes).map_err(|error| unreadable(error.to_string()))?;
    let entry = stored
        .read()
        .map_err(|error| unreadable(error.to_string()))?;
    if entry.key != key {
        return Err(unreadable("it is another document".into()));
    }
    Ok(Entry {
        version: version(stat),
        ..entry
    })
}

/// A document's version, by its znode.
pub(super) fn version(stat: &Stat) -> u64 {
    u64::from(stat.version as u32) + 1
}

/// Why not everything could be read.
pub(super) enum RestoreError {
    /// Try again with another session.
    Session(Error),
    /// A person is needed.
    Unreadable { path: String, what: String },
}

impl From<Error> for RestoreError {
    fn from(error: Error) -> Self {
        Self::Session(error)
    }
}

impl RestoreError {
    /// What it means for whoever wants to lead.
    pub(super) fn at(self, ensemble: &str, chroot: &str) -> OpenError {
        match self {
            Self::Session(error) => OpenError::Ensemble {
                ensemble: ensemble.into(),
                reason: error.to_string(),
            },
            Self::Unreadable { path, what } => OpenError::Unreadable {
                path: format!("{chroot}{path}"),
                what,
            },
        }
    }
}
