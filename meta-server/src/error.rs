//! Why a meta server does not start, or ended: one clear line each.

use crate::store::{InvalidEnsemble, OpenError};
use std::io;

/// Why a meta server did not start. The person who starts it mends it; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address can not be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// As configured.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// Safety wants secrets.
    #[error(
        "cannot listen on {address}, which others can reach, without admin_secret and cluster_secret (or allow_unauthenticated = true)"
    )]
    Unauthenticated {
        /// As configured.
        address: String,
    },
    /// The keys about ZooKeeper can not be right.
    #[error(transparent)]
    Ensemble(#[from] InvalidEnsemble),
    /// The HTTP port can not be had, or must not.
    #[error(transparent)]
    Http(#[from] telemetry::PortError),
    /// Its thread can not be started.
    #[error("cannot serve HTTP: {0}")]
    HttpThread(io::Error),
    /// The store can not be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The store's content makes no cluster.
    #[error(transparent)]
    Restore(#[from] placement::RestoreError),
}
