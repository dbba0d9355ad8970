//! A replica server's data directory: who the node is (rule C5), which life this is, and what it knew of the cluster.
//!
//! Each of these small files ends with a checksum. Who the node is stands in two of them, so that one may be damaged; what is known
//! of the cluster can be learnt again. The logs and the partitions' RocksDBs live in folders of their own; their crates own those.

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
const SECOND_IDENTITY: &str = "node.copy.json";
const KNOWN: &str = "cluster.json";

impl DataDirectory {
    /// Locks the directory (made if missing) and begins a new life in it.
    pub(crate) fn open(path: &Path, grace: Duration) -> Result<Self, DirectoryError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| DirectoryError::Io { path, source }
        };
        commit_log::create_directory(path).map_err(io(path))?;
        let lock_path = path.join("lock");
        let lock = File::create(&lock_path).map_err(io(&lock_path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| DirectoryError::Locked(path.to_owned()))?;
        let identity_path = path.join(IDENTITY);
        let copies = [read(&identity_path)?, read(&path.join(SECOND_IDENTITY))?];
        let damaged = |reason: &str| DirectoryError::Damaged {
            path: identity_path.clone(),
            reason: reason.to_owned(),
        };
        let in_doubt = !matches!(
            copies,
            [Read::Absent, Read::Absent] | [Read::Whole(_), Read::Whole(_)]
        );
        let has_data = path.join("log").exists() || path.join("data").exists();
        let latest = copies
            .into_iter()
            .filter_map(Read::whole)
            .max_by_key(|copy: &Identity| copy.incarnation);
        let (node, incarnation, longest) = match latest {
            Some(known) => (
                known
                    .node
                    .parse::<NodeId>()
                    .map_err(|error| damaged(&error))?,
                // R4: the copy that cannot be read may have been written one life later.
                known.incarnation + if in_doubt { 2 } else { 1 },
                Duration::from_millis(known.longest_grace_ms),
            ),
            None if has_data => {
                return Err(damaged(
                    "who this node is cannot be read from it, nor from its second copy",
                ));
            }
            None => (NodeId(rand::random::<u64>().max(1)), 1, Duration::ZERO),
        };
        let identity = Identity {
            node: node.to_string(),
            incarnation,
            longest_grace_ms: longest.max(grace).as_millis() as u64,
        };
        for name in [SECOND_IDENTITY, IDENTITY] {
            let copy = path.join(name);
            write(&copy, &identity).map_err(io(&copy))?;
        }
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
        let path = self.path.join(KNOWN);
        let known = read(&path)?;
        if matches!(known, Read::Damaged) {
            tracing::error!(path = %path.display(), "what was known of the cluster is damaged: replicas open when a meta server tells it again");
        }
        Ok(known.whole().unwrap_or_default())
    }

    /// Keeps `known` for the next start.
    pub(crate) fn keep(&self, known: &Known) -> io::Result<()> {
        write(&self.path.join(KNOWN), known)
    }
}

/// What a file was found to hold.
#[derive(Debug)]
pub(crate) enum Read<T> {
    Absent,
    Whole(T),
    Damaged,
}

impl<T> Read<T> {
    pub(crate) fn whole(self) -> Option<T> {
        match self {
            Self::Whole(value) => Some(value),
            Self::Absent | Self::Damaged => None,
        }
    }
}

/// What such a file says.
pub(crate) fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Read<T>, DirectoryError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Read::Absent),
        Err(source) => {
            return Err(DirectoryError::Io {
                path: path.to_owned(),
                source,
            });
        }
    };
    let parts = bytes.strip_suffix(b"\n").and_then(|bytes| {
        let line = bytes.iter().rposition(|&byte| byte == b'\n')?;
        Some((&bytes[..line], &bytes[line + 1..]))
    });
    let whole = parts.filter(|(json, sum)| checksum(json).as_bytes() == *sum);
    let value = whole.and_then(|(json, _)| serde_json::from_slice(json).ok());
    Ok(value.map_or(Read::Damaged, Read::Whole))
}

/// Replaces the file whole, durably: after a crash it holds the old or the new value.
pub(crate) fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let json = serde_json::to_vec_pretty(value)?;
    let mut file = File::create(&fresh)?;
    file.write_all(&json)?;
    file.write_all(format!("\n{}\n", checksum(&json)).as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// The last line of a file.
fn checksum(json: &[u8]) -> String {
    format!("crc32c {:08x}", crc32c::crc32c(json))
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

    #[test]
    fn any_flipped_bit_of_one_copy_of_the_name_is_told_and_mended_and_no_life_is_counted_twice() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDirectory::open(dir.path(), Duration::ZERO).unwrap();
        let (node, mut last) = (first.node, first.incarnation);
        drop(first);
        for name in [IDENTITY, SECOND_IDENTITY] {
            let path = dir.path().join(name);
            let length = fs::read(&path).unwrap().len();
            for at in 0..length {
                let mut bytes = fs::read(&path).unwrap();
                let at = at.min(bytes.len() - 1);
                bytes[at] ^= 1;
                fs::write(&path, bytes).unwrap();
                let next = DataDirectory::open(dir.path(), Duration::ZERO).unwrap();
                assert_eq!(next.node, node);
                assert!(next.incarnation.0 >= last.0 + 2);
                last = next.incarnation;
            }
        }
    }

    #[test]
    fn what_is_known_of_the_cluster_is_forgotten_when_it_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let directory = DataDirectory::open(dir.path(), Duration::ZERO).unwrap();
        let mut known = Known::default();
        let address = crate::cluster::Address {
            name: "replica-1".into(),
            grpc: "127.0.0.1:1".into(),
            redis: "127.0.0.1:2".into(),
        };
        known.nodes.insert(7, address);
        directory.keep(&known).unwrap();
        assert_eq!(directory.known().unwrap(), known);
        let path = dir.path().join(KNOWN);
        let mut bytes = fs::read(&path).unwrap();
        bytes[20] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(directory.known().unwrap(), Known::default());
    }
}
