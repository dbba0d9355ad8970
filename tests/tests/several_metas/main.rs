//! Clusters with several meta servers, of separate processes: what stands between each of them and ZooKeeper is ours.
//!
//! Reading order: [`cluster`] all servers, [`sessions`] what ZooKeeper does to whoever leads.

mod cluster;
mod sessions;
