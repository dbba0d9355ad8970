//! A disk in memory that loses, when its power fails, every byte and every name that was not synced, and whose syncs can fail.
//!
//! Reading order: [`content`] a file's bytes, [`tree`] files and names and what a sync does to them, [`serve`] the kernel's requests,
//! [`mount`] the disk as tests have it.
//!
//! It is a file system in user space (FUSE): servers on it are the real ones, with RocksDB and all, and lose more than any real disk would.

mod content;
mod mount;
mod serve;
#[cfg(test)]
mod tests;
mod tree;

pub use mount::VolatileDisk;
