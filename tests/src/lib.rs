//! Whole clusters for tests: real processes of the built `tulpar`, started, killed and asked from outside, as a user would.
//!
//! Reading order: [`program`] finds and runs the binary, [`cluster`] is a onebox in a directory of its own, [`shell`] asks it
//! what `tulpar shell --json` knows, [`doors`] are the ways to its data, [`writers`] write through them and remember what was
//! acknowledged, [`ensemble`] is a ZooKeeper of its own, [`metas`] says which
//! meta server leads, [`poll`] waits for what must come true, [`http`] fetches what servers show, [`containers`] are a cluster of another kind.
//!
//! Nothing here links the servers: what is not visible from outside is tested in the crate that has it.

#![warn(missing_docs)]

pub mod cluster;
pub mod containers;
pub mod doors;
pub mod ensemble;
pub mod faults;
pub mod fleet;
pub mod history;
pub mod http;
pub mod http2;
pub mod metas;
pub mod poll;
pub mod process;
pub mod program;
pub mod shell;
pub mod terminal;
pub mod tools;
pub mod writers;

pub use cluster::{Cluster, Options, Server};
pub use doors::Door;
pub use poll::eventually;
