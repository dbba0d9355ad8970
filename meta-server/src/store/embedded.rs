//! The store of a cluster with one meta server: a directory with a lock and one file of records.
//!
//! All documents are kept in memory too, to check versions and to write the file anew: at the start of every term, and when what
//! was appended outgrows what is needed. Nothing survives a failed write but what the next term reads.

use super::encoding::{Batch, StoredEntry};
use super::file::{self, RecordFile};
use super::{Led, MetadataStore, OpenError, Term, WriteError};
use placement::{Document, Entry, Key, Write};
use prost::Message;
use rustix::fs::FlockOperation;
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// What may be appended beyond twice the documents' own size before the file is written anew.
const SLACK: u64 = 16 << 20;

/// The documents in a local directory.
#[derive(Debug)]
pub struct EmbeddedStore {
    path: PathBuf,
    /// The term that may write.
    current: Arc<AtomicU64>,
    /// Released by the system with the process, however that ends.
    _lock: File,
}

impl EmbeddedStore {
    /// Takes the directory for this process, making it if there is none.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let unusable = |source| OpenError::Unusable {
            path: directory.into(),
            source,
        };
        create(directory).map_err(unusable)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(directory.join("LOCK"))
            .map_err(unusable)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(OpenError::Locked(directory.into())),
            Err(error) => return Err(unusable(error.into())),
        }
        Ok(Self {
            path: directory.join("cluster"),
            current: Arc::default(),
            _lock: lock,
        })
    }
}

/// Makes the directory if there is none; its name, and those of directories above it that are new, outlive a power loss.
fn create(directory: &Path) -> io::Result<()> {
    let missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let made = directory.ancestors().take_while(missing).count();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    for parent in directory.ancestors().skip(1).take(made) {
        let here = parent.as_os_str().is_empty();
        File::open(if here { Path::new(".") } else { parent })?.sync_all()?;
    }
    Ok(())
}

impl MetadataStore for EmbeddedStore {
    type Term = EmbeddedTerm;

    async fn lead(
        &self,
        _: &watch::Sender<Option<String>>,
    ) -> Result<Led<EmbeddedTerm>, OpenError> {
        let (path, current) = (self.path.clone(), Arc::clone(&self.current));
        let (term, entries) = unblocked(move || begin(path, current)).await?;
        Ok(Led {
            term,
            entries,
            // Nobody else can lead while this process has the directory.
            ended: Box::pin(std::future::pending()),
        })
    }
}

/// A term over a local file.
#[derive(Debug)]
pub struct EmbeddedTerm {
    /// Moves to a thread that may block for each write; gone if such a thread died, and the term with it.
    state: Option<State>,
    epoch: u64,
}

#[derive(Debug)]
struct State {
    epoch: u64,
    path: PathBuf,
    current: Arc<AtomicU64>,
    file: RecordFile,
    documents: BTreeMap<Key, (u64, Document)>,
    /// Length of the file when it was last written anew.
    compact: u64,
    slack: u64,
}

impl Term for EmbeddedTerm {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    async fn write(&mut self, writes: Vec<Write>) -> Result<(), WriteError> {
        let mut state = self.state.take().ok_or(WriteError::Deposed)?;
        let (state, outcome) = unblocked(move || {
            let outcome = state.write(writes);
            (state, outcome)
        })
        .await;
        outcome?;
        self.state = Some(state);
        Ok(())
    }
}

fn begin(path: PathBuf, current: Arc<AtomicU64>) -> Result<(EmbeddedTerm, Vec<Entry>), OpenError> {
    let mut epoch = 0;
    let mut documents = BTreeMap::new();
    if let Some(contents) = file::read(&path)? {
        if contents.torn > 0 {
            tracing::warn!(
                bytes = contents.torn,
                "a crash cut off the last write to {}",
                path.display()
            );
        }
        for (offset, payload) in contents.records {
            let damaged = |what: String| OpenError::Damaged {
                path: path.clone(),
                offset,
                what,
            };
            let batch = Batch::decode(&payload[..]).map_err(|error| damaged(error.to_string()))?;
            epoch = epoch.max(batch.epoch);
            for key in &batch.removed {
                documents.remove(&Key::try_from(key).map_err(|error| damaged(error.to_string()))?);
            }
            for entry in batch.set {
                let entry = entry.read().map_err(|error| damaged(error.to_string()))?;
                documents.insert(entry.key, (entry.version, entry.document));
            }
        }
    }
    epoch += 1;
    let file = RecordFile::replace(&path, &snapshot(epoch, &documents)).map_err(|source| {
        OpenError::Unusable {
            path: path.clone(),
            source,
        }
    })?;
    current.store(epoch, Ordering::Release);
    let entry = |(&key, (version, document)): (&Key, &(u64, Document))| Entry {
        key,
        version: *version,
        document: document.clone(),
    };
    let entries = documents.iter().map(entry).collect();
    let state = State {
        epoch,
        path,
        current,
        compact: file.len(),
        slack: SLACK,
        file,
        documents,
    };
    let term = EmbeddedTerm {
        state: Some(state),
        epoch,
    };
    Ok((term, entries))
}

fn snapshot(epoch: u64, documents: &BTreeMap<Key, (u64, Document)>) -> Vec<u8> {
    let set = documents
        .iter()
        .map(|(&key, (version, document))| StoredEntry::new(key, *version, document))
        .collect();
    Batch {
        epoch,
        set,
        removed: vec![],
    }
    .encode_to_vec()
}

impl State {
    fn write(&mut self, writes: Vec<Write>) -> Result<(), WriteError> {
        if self.current.load(Ordering::Acquire) != self.epoch {
            return Err(WriteError::Deposed);
        }
        let version = |key| self.documents.get(&key).map_or(0, |(version, _)| *version);
        if let Some(write) = writes
            .iter()
            .find(|write| version(write.key) != write.expected)
        {
            return Err(WriteError::Conflict(write.key));
        }
        let mut batch = Batch {
            epoch: self.epoch,
            ..Batch::default()
        };
        for write in &writes {
            match &write.document {
                Some(document) => {
                    batch
                        .set
                        .push(StoredEntry::new(write.key, write.expected + 1, document));
                }
                None => batch.removed.push(write.key.into()),
            }
        }
        self.file.append(&batch.encode_to_vec())?;
        for write in writes {
            match write.document {
                Some(document) => self
                    .documents
                    .insert(write.key, (write.expected + 1, document)),
                None => self.documents.remove(&write.key),
            };
        }
        if self.file.len() > 2 * self.compact + self.slack {
            self.compact().inspect_err(|error| {
                tracing::warn!("cannot write {} anew: {error}", self.path.display());
            })?;
        }
        Ok(())
    }

    fn compact(&mut self) -> io::Result<()> {
        self.file = RecordFile::replace(&self.path, &snapshot(self.epoch, &self.documents))?;
        self.compact = self.file.len();
        Ok(())
    }
}

/// Runs what blocks away from the runtime's own threads.
async fn unblocked<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
        // Only a runtime that is shutting down cancels blocking work; then nobody waits for this any more.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::TableId;

    fn root(expected: u64, next_table: u32) -> Write {
        Write {
            key: Key::Root,
            expected,
            document: Some(Document::Root {
                next_table: TableId(next_table),
                balancing: placement::Balancing::Running,
                rebuilding: false,
            }),
        }
    }

    async fn lead(store: &EmbeddedStore) -> (EmbeddedTerm, Vec<Entry>) {
        let led = store.lead(&watch::Sender::default()).await.unwrap();
        (led.term, led.entries)
    }

    #[tokio::test]
    async fn a_term_writes_by_compare_and_set_and_the_next_one_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(directory.path()).unwrap();
        let (mut first, entries) = lead(&store).await;
        assert_eq!(entries, []);
        first.write(vec![root(0, 1)]).await.unwrap();
        first.write(vec![root(1, 2)]).await.unwrap();
        let (second, entries) = lead(&store).await;
        assert!(second.epoch() > first.epoch());
        assert_eq!(
            entries,
            [Entry {
                key: Key::Root,
                version: 2,
                document: Document::Root {
                    next_table: TableId(2),
                    balancing: placement::Balancing::Running,
                    rebuilding: false,
                }
            }]
        );
    }

    #[tokio::test]
    async fn a_paused_leader_that_wakes_up_can_not_write() {
        let directory = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(directory.path()).unwrap();
        let (mut first, _) = lead(&store).await;
        let (_second, _) = lead(&store).await;
        assert!(matches!(
            first.write(vec![root(0, 1)]).await,
            Err(WriteError::Deposed)
        ));
    }

    #[tokio::test]
    async fn a_write_over_another_version_changes_nothing_and_ends_the_term() {
        let directory = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(directory.path()).unwrap();
        let (mut term, _) = lead(&store).await;
        assert!(matches!(
            term.write(vec![root(3, 9)]).await,
            Err(WriteError::Conflict(Key::Root))
        ));
        assert!(matches!(
            term.write(vec![root(0, 1)]).await,
            Err(WriteError::Deposed)
        ));
        assert_eq!(lead(&store).await.1, []);
    }

    #[tokio::test]
    async fn a_directory_serves_one_process() {
        let directory = tempfile::tempdir().unwrap();
        let _store = EmbeddedStore::open(directory.path()).unwrap();
        assert!(matches!(
            EmbeddedStore::open(directory.path()),
            Err(OpenError::Locked(_))
        ));
    }

    #[tokio::test]
    async fn a_file_that_outgrew_its_documents_is_written_anew() {
        let directory = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(directory.path()).unwrap();
        let (mut term, _) = lead(&store).await;
        term.state.as_mut().unwrap().slack = 1000;
        for version in 0..1000 {
            term.write(vec![root(version, version as u32)])
                .await
                .unwrap();
            assert!(std::fs::metadata(&store.path).unwrap().len() < 1300);
        }
        let (_, entries) = lead(&store).await;
        assert_eq!((entries.len(), entries[0].version), (1, 1000));
    }
}
