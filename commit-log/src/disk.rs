//! What the log asks of a disk: a flat directory of files. [`crate::Directory`] is the real one, [`crate::SimulatedDisk`] one
//! that loses power. Names, formats and the order of operations are not decided here.

use std::io;
use std::sync::Arc;

/// A directory.
pub trait Disk: Send + Sync {
    /// The names in it, in any order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// A new file of `size` zero bytes, its name and size durable on return.
    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn DiskFile>>;
    /// An existing file.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Takes the file's name away; who holds it open goes on reading.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// An open file of fixed size.
pub trait DiskFile: Send + Sync {
    /// Its size in bytes.
    fn size(&self) -> u64;
    /// Fills `buffer` from `offset`, or up to the end of the file; says how much that was.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Where the next bytes may be that are not zero, at `offset` or behind it; none if all behind it are zero. Who cannot tell says `offset`.
    fn next_data(&self, offset: u64) -> Option<u64> {
        Some(offset)
    }
    /// Hands bytes to the operating system.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Writes bytes that are durable on return. Offset, length and address are multiples of [`BLOCK`].
    fn write_durably_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything written by [`DiskFile::write_at`] before the call durable.
    fn sync(&self) -> io::Result<()>;
    /// Makes all bytes zero as cheaply as can be, so that small writes need not read the old ones first. Not durable by itself.
    fn clear(&self) -> io::Result<()>;
}

/// What durable writes are aligned to.
pub const BLOCK: usize = 4096;
