//! The store of a cluster with several meta servers: znodes under one path of a ZooKeeper ensemble.
//!
//! ```text
//! CHROOT/leader/_c_...-latch-N   ephemeral; the lowest N leads, its data is where that meta server is reached
//! CHROOT/term                    its version counts terms
//! CHROOT/root                    a document each; document version = znode version + 1
//! CHROOT/nodes/ID
//! CHROOT/tables/ID
//! CHROOT/pages/TABLE-PAGE
//! ```
//!
//! A term is one session: it begins with the lock of the ephemeral znode, and ends with the session, whichever side ends it. A session that
//! expired is never used again; leading again takes a new one. Every write is one multi that checks the lock's znode too, so that a leader
//! which does not know yet that it was deposed changes nothing.
//!
//! Reading order: [`options`], [`paths`], [`session`] (connecting, the election), [`term`] (writing), [`restore`] (reading everything).

mod options;
mod paths;
mod restore;
mod session;
mod term;

pub use options::{InvalidEnsemble, ZooKeeperOptions};
pub use session::ZooKeeperStore;

use zookeeper_client::Error;

/// Whether nobody knows what became of a request, because the connection broke; the session may go on with another server.
fn is_lost(error: &Error) -> bool {
    matches!(
        error,
        // The second is what the client makes of an error of the socket, and of a server that fell silent.
        Error::ConnectionLoss | Error::Custom(_)
    )
}

/// Asks again for as long as connections break and the session lives: a request that can be repeated.
async fn repeated<T, F>(ask: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    loop {
        match ask().await {
            // Requests wait inside the client until it is connected again, or its session has ended.
            Err(error) if is_lost(&error) => {}
            outcome => return outcome,
        }
    }
}
