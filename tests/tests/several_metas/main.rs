//! Clusters with several meta servers, of separate processes: what stands between each of them and ZooKeeper is ours, and so is where
//! names lead.
//!
//! Reading order: [`cluster`] all servers, [`sessions`] what ZooKeeper does to whoever leads, [`names`] how the others find who does.

mod cluster;
mod names;
mod sessions;
