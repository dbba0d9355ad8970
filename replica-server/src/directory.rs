//! A replica server's data directory: who the node is (rule C5), which life this is, and what it knew of the cluster.
//!
//! The logs and the partitions' RocksDBs live in folders of their own beside these small files; their crates own those.

use crate::cluster::Known;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use types::{BootId, Incarnation, NodeId};

/// Why a directory cannot be used. Each is one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Another process has it.
    #[error("data directory {0} is locked by another server")]
    Locked(PathBuf),
    /// The operating system says no.
    #[error("cannot use {path}: {source}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A file is there but does not say what it must.
    #[error(
        "{path} is damaged ({reason}); restore it, or move the whole data directory away to start as a new node"
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// The directory, locked for as long as this lives.
pub(crate) struct DataDirectory {
    path: PathBuf,
    _lock: File,
    /// The node that this directory is.
    pub(crate) node: NodeId,
    /// This life's number, already on disk.
    pub(crate) incarnation: Incarnation,
    /// The machine's boot.
    pub(crate) boot: BootId,
    /// The longest grace of any life of this node (rule R4), zero in its first.
    pub(crate) longest_grace: Duration,
}

#[derive(Serialize, Deserialize)]
struct Identity {
    node: String,
    incarnation: u64,
    longest_grace_ms: u64,
}

const IDENTITY: &str = "node.json";
const KNOWN: &str = "cluster.json";

impl DataDirectory {
    /// Locks the directory (made if missing) and begins a new life in it.
    pub(crate) fn open(path: &Path, grace: Duration) -> Result<Self, DirectoryError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| DirectoryError::Io { path, source }
        };
        fs::create_dir_all(path).map_err(io(path))?;
        let lock_path = path.join("lock");
        let lock = File::create(&lock_path).map_err(io(&lock_path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| DirectoryError::Locked(path.to_owned()))?;
        let identity_path = path.join(IDENTITY);
        let known: Option<Identity> = read_json(&identity_path)?;
        let damaged = |reason: String| DirectoryError::Damaged {
            path: identity_path.clone(),
            reason,
        };
        let (node, incarnation, longest) = match known {
            Some(known) => (
                known.node.parse::<NodeId>().map_err(damaged)?,
                known.incarnation + 1,
                Duration::from_millis(known.longest_grace_ms),
            ),
            None if path.join("log").exists() || path.join("data").exists() => {
                return Err(damaged("it is missing beside the node's data".into()));
            }
            None => (NodeId(rand::random::<u64>().max(1)), 1, Duration::ZERO),
        };
        let identity = Identity {
            node: node.to_string(),
            incarnation,
            longest_grace_ms: longest.max(grace).as_millis() as u64,
        };
        write_json(&identity_path, &identity).map_err(io(&identity_path))?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
            node,
            incarnation: Incarnation(incarnation),
            boot: boot_id(),
            longest_grace: if longest.is_zero() {
                Duration::ZERO
            } else {
                longest.max(grace)
            },
        })
    }

    /// Where one part of the server keeps its files.
    pub(crate) fn part(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The tables and nodes as they were last known: a restart needs no meta server to open its replicas.
    pub(crate) fn known(&self) -> Result<Known, DirectoryError> {
        Ok(read_json(&self.path.join(KNOWN))?.unwrap_or_default())
    }

    /// Keeps `known` for the next start.
    pub(crate) fn keep(&self, known: &Known) -> io::Result<()> {
        write_json(&self.path.join(KNOWN), known)
    }
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, DirectoryError> {
    match fs::read(path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| DirectoryError::Damaged {
                    path: path.to_owned(),
                    reason: error.to_string(),
                })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DirectoryError::Io {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Replaces the file whole, durably: after a crash it holds the old or the new value.
fn write_json<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(&serde_json::to_vec_pretty(value)?)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// The kernel's name of this boot. Where there is none, every start counts as a new boot, which is safe.
fn boot_id() -> BootId {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .ok()
        .and_then(|text| u128::from_str_radix(&text.trim().replace('-', ""), 16).ok())
        .map_or_else(|| BootId(rand::random()), BootId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_one_node_with_a_new_life_at_every_start() {
        let dir = tempfile::tempdir().unwrap();
        let grace = Duration::from_millis(650);
        let first = DataDirectory::open(dir.path(), grace).unwrap();
        assert_eq!(
            (first.incarnation, first.longest_grace),
            (Incarnation(1), Duration::ZERO)
        );
        let node = first.node;
        assert!(matches!(
            DataDirectory::open(dir.path(), grace),
            Err(DirectoryError::Locked(_))
        ));
        drop(first);
        let second = DataDirectory::open(dir.path(), Duration::from_millis(100)).unwrap();
        assert_eq!(second.node, node);
        assert_eq!(
            (second.incarnation, second.longest_grace),
            (Incarnation(2), grace)
        );
    }

    #[test]
    fn a_node_that_has_data_but_no_name_does_not_start() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("log")).unwrap();
        let opened = DataDirectory::open(dir.path(), Duration::ZERO);
        assert!(matches!(opened, Err(DirectoryError::Damaged { .. })));
        fs::write(dir.path().join(IDENTITY), "{").unwrap();
        let opened = DataDirectory::open(dir.path(), Duration::ZERO);
        assert!(matches!(opened, Err(DirectoryError::Damaged { .. })));
    }
}
