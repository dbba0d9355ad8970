//! Files of checkpoints that have arrived in part, as they are on the disk: how far each is, and what becomes of them.
//!
//! Who sends them, and when, is `arrival`'s.

use bytes::Bytes;
use proto::peer::CheckpointFile;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};
use tonic::Status;
use types::PartitionId;

/// How long what is left of a transfer waits for its rest; older ones go when the server starts.
const KEPT: Duration = Duration::from_hours(24);

/// Of which partition what is kept under this name is.
pub(super) fn of_partition(name: &str) -> Option<PartitionId> {
    let (table, index) = name.rsplit_once('-')?.0.split_once('.')?;
    Some(PartitionId::new(table.parse().ok()?, index.parse().ok()?))
}

pub(super) fn remove_of(partial: &Path, partition: PartitionId) -> io::Result<()> {
    for entry in std::fs::read_dir(partial)? {
        let entry = entry?;
        if of_partition(&entry.file_name().to_string_lossy()) == Some(partition) {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

pub(super) fn remove_old(partial: &Path) {
    for entry in std::fs::read_dir(partial).into_iter().flatten().flatten() {
        let modified = entry.metadata().and_then(|about| about.modified());
        let age = modified.map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
        if age.is_ok_and(|age| age > KEPT)
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            tracing::warn!(dir = %entry.path().display(), %error, "what is left of an old transfer was not removed");
        }
    }
}

/// Where a file grows. Another file of the same name is in another place.
pub(super) fn place(partial: &Path, about: &CheckpointFile) -> PathBuf {
    let CheckpointFile { name, bytes, stamp } = about;
    partial.join(format!("{stamp:016x}-{bytes}-{name}"))
}

/// How much of each file is here. What is of no use is removed.
pub(super) fn held(partial: &Path, files: &[CheckpointFile]) -> io::Result<Vec<u64>> {
    std::fs::create_dir_all(partial)?;
    let wanted: BTreeMap<PathBuf, u64> = files
        .iter()
        .map(|about| (place(partial, about), about.bytes))
        .collect();
    for entry in std::fs::read_dir(partial)? {
        let entry = entry?;
        let length = entry.metadata()?.len();
        if wanted
            .get(&entry.path())
            .is_none_or(|&bytes| length > bytes)
        {
            std::fs::remove_file(entry.path())?;
        }
    }
    let length = |about| std::fs::metadata(place(partial, about)).map_or(0, |about| about.len());
    Ok(files.iter().map(length).collect())
}

/// Puts the whole files where their names are their own. Tables, which nobody ever writes to again, stay here too.
pub(super) fn complete(partial: &Path, dir: &Path, files: &[CheckpointFile]) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    for about in files {
        let (from, to) = (place(partial, about), dir.join(&about.name));
        if to.extension().is_some_and(|end| end == "sst") {
            std::fs::hard_link(from, to)?;
        } else {
            std::fs::rename(from, to)?;
        }
    }
    File::open(dir)?.sync_all()
}

/// A file on its way here.
pub(super) struct Growing {
    path: PathBuf,
    file: File,
    length: u64,
    /// As it will be.
    bytes: u64,
    sum: u32,
}

impl Growing {
    /// Reads what is there: only all of it has a checksum.
    pub(super) fn open(path: PathBuf, bytes: u64) -> io::Result<Self> {
        let mut file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)?;
        let (mut length, mut sum) = (0, 0);
        let mut piece = vec![0; 256 << 10];
        loop {
            let read = file.read(&mut piece)?;
            if read == 0 {
                break;
            }
            length += read as u64;
            sum = crc32c::crc32c_append(sum, &piece[..read]);
        }
        Ok(Self {
            path,
            file,
            length,
            bytes,
            sum,
        })
    }

    pub(super) fn grow(mut self, bytes: &Bytes) -> io::Result<Self> {
        self.length += bytes.len() as u64;
        if self.length > self.bytes {
            return Err(io::Error::other("more of a file came than it has"));
        }
        self.sum = crc32c::crc32c_append(self.sum, bytes);
        self.file.write_all(bytes)?;
        Ok(self)
    }

    pub(super) fn end(self, sum: u32) -> io::Result<()> {
        if self.length != self.bytes || self.sum != sum {
            std::fs::remove_file(&self.path)?;
            return Err(io::Error::other(
                "a file did not arrive as it was sent; all of it must be sent again",
            ));
        }
        self.file.sync_all()
    }
}

/// A name that stays in its directory.
pub(super) fn plain(name: &str) -> Result<&str, Status> {
    let mut components = Path::new(name).components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(only)), None) if only == name => Ok(name),
        _ => Err(Status::invalid_argument(format!(
            "'{name}' is no plain file name"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::NodeId;

    fn about(name: &str, bytes: u64, stamp: u64) -> CheckpointFile {
        CheckpointFile {
            name: name.into(),
            bytes,
            stamp,
        }
    }

    #[test]
    fn a_file_goes_on_where_it_was_cut_off_and_counts_only_with_its_checksum() {
        let dir = tempfile::tempdir().unwrap();
        let (partial, whole) = (dir.path().join("partial"), dir.path().join("whole"));
        let files = [about("a.sst", 6, 1), about("b", 3, 2)];
        assert_eq!(held(&partial, &files).unwrap(), [0, 0]);
        let first = Growing::open(place(&partial, &files[0]), 6).unwrap();
        drop(first.grow(&Bytes::from("one")).unwrap());
        assert_eq!(held(&partial, &files).unwrap(), [3, 0]);
        let grown = Growing::open(place(&partial, &files[0]), 6).unwrap();
        let grown = grown.grow(&Bytes::from("two")).unwrap();
        grown.end(crc32c::crc32c(b"onetwo")).unwrap();
        let wrong = Growing::open(place(&partial, &files[1]), 3).unwrap();
        let wrong = wrong.grow(&Bytes::from("xyz")).unwrap();
        assert!(wrong.end(crc32c::crc32c(b"abc")).is_err());
        assert_eq!(held(&partial, &files).unwrap(), [6, 0]);
        let right = Growing::open(place(&partial, &files[1]), 3).unwrap();
        let right = right.grow(&Bytes::from("abc")).unwrap();
        right.end(crc32c::crc32c(b"abc")).unwrap();
        complete(&partial, &whole, &files).unwrap();
        assert_eq!(std::fs::read(whole.join("a.sst")).unwrap(), b"onetwo");
        assert_eq!(std::fs::read(whole.join("b")).unwrap(), b"abc");
        // The next checkpoint may have the table too.
        assert_eq!(held(&partial, &files).unwrap(), [6, 0]);
    }

    #[test]
    fn another_file_of_the_same_name_is_never_taken_for_the_rest_of_one() {
        let dir = tempfile::tempdir().unwrap();
        let old = [about("a", 6, 1)];
        held(dir.path(), &old).unwrap();
        let growing = Growing::open(place(dir.path(), &old[0]), 6).unwrap();
        drop(growing.grow(&Bytes::from("one")).unwrap());
        assert_eq!(held(dir.path(), &[about("a", 6, 2)]).unwrap(), [0]);
        assert_eq!(held(dir.path(), &old).unwrap(), [0]);
        let growing = Growing::open(place(dir.path(), &old[0]), 6).unwrap();
        assert!(growing.grow(&Bytes::from("too much")).is_err());
    }

    #[test]
    fn what_is_kept_of_a_partition_is_found_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (PartitionId::new(7, 1), PartitionId::new(7, 11));
        let kept = |partition: PartitionId, from| {
            let path = dir.path().join(format!("{partition}-{}", NodeId(from)));
            held(&path, &[]).unwrap();
            path
        };
        let (first, second, third) = (kept(one, 1), kept(one, 2), kept(other, 1));
        remove_of(dir.path(), one).unwrap();
        assert!(!first.exists() && !second.exists() && third.exists());
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        for name in ["", "..", "/etc/passwd", "a/b", "./a"] {
            assert!(plain(name).is_err(), "{name}");
        }
        assert_eq!(plain("000012.sst").unwrap(), "000012.sst");
    }
}
