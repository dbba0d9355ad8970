//! What partitions take on the disk, counted by their files. Blocks on the disk: not for a thread that serves.

use crate::engine::partition_dirs;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use types::PartitionId;

/// Bytes of each partition's files, those of an installation under way included.
pub(crate) fn disk_use(dir: &Path) -> io::Result<BTreeMap<PartitionId, u64>> {
    let mut bytes = BTreeMap::new();
    for (id, _, path) in partition_dirs(dir)? {
        *bytes.entry(id).or_default() += of_files(&path)?;
    }
    Ok(bytes)
}

/// What was removed meanwhile takes nothing.
fn of_files(dir: &Path) -> io::Result<u64> {
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let entries = match std::fs::read_dir(dir) {
        Err(error) if gone(&error) => return Ok(0),
        entries => entries?,
    };
    let mut bytes = 0;
    for entry in entries {
        match entry.and_then(|entry| entry.metadata()) {
            Ok(file) if file.is_file() => bytes += file.len(),
            Ok(_) => {}
            Err(error) if gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}
