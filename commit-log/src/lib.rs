//! The segmented commit log that all partitions of a data directory share: group commit, two durabilities, a recovery that tells
//! a torn tail from damage, and reading back for learners.
//!
//! ```text
//!  append ──► queue ──► flow ──► tail ──► disk          queue in `sync` only; in `buffered` an append writes inline
//!                        │        │
//!         Completions ◄──┘        └─► index ◄── recovery ◄── chain ◄── scan
//!                                       ▲ │
//!                          set_durable ─┘ └─► tidy (copies forward, releases), read (learners)
//! ```
//!
//! Reading order: [`options`](LogOptions), `log`, `flow`, `tail`, `batch` and `codec` (the bytes), `partition` and `index` (the
//! memory), `chain` and `recovery`, `tidy` and `carry`, `verify`, `read`, `change`
//! (a partition goes over to another log), `disk`.
//!
//! It does not know what the records mean to replication beyond which of them cancel which (rules L1, L2, L4, C2), it never
//! flushes RocksDB, and it locks no directory.

#![warn(missing_docs)]

mod aligned;
mod batch;
mod carry;
mod chain;
mod change;
mod codec;
mod directory;
mod disk;
mod flow;
mod index;
mod log;
mod options;
mod partition;
mod position;
mod queue;
mod read;
mod recovery;
mod scan;
mod shared;
mod simulated_disk;
mod tail;
mod tidy;
mod verify;

pub use change::{ChangeError, change_log};
pub use directory::{DirectIo, Directory, create_directory};
pub use disk::{BLOCK, Disk, DiskFile};
pub use log::Log;
pub use options::{
    Appended, Completions, Driving, Laggard, LogError, LogOptions, LogStats, OpenError, ReadError,
    Recovery,
};
pub use position::Position;
pub use read::Pin;
pub use simulated_disk::SimulatedDisk;
pub use verify::Verified;
