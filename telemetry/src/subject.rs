//! What a server answers when its HTTP port is asked.

use crate::Exposition;
use axum::Router;
use std::sync::Arc;

/// Which kind of server a process is, as its metrics say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Keeps the cluster's configuration.
    Meta,
    /// Keeps data.
    Replica,
    /// Answers Redis clients from the whole cluster.
    Gateway,
}

impl Role {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Replica => "replica",
            Self::Gateway => "gateway",
        }
    }
}

/// A server, as its HTTP port sees it. Every answer comes within a second or two, whatever the server is doing.
pub trait Subject: Send + Sync + 'static {
    /// What it is.
    fn role(&self) -> Role;

    /// Whether the process moves. A server that is not healthy should be started again. In one line: why not.
    fn health(&self) -> Result<(), String>;

    /// Whether clients may be sent here. In one line: why not.
    fn ready(&self) -> impl Future<Output = Result<(), String>> + Send;

    /// Its metrics.
    fn describe(&self, exposition: &mut Exposition) -> impl Future<Output = ()> + Send;

    /// What it serves besides, for those who show the secret.
    fn pages(self: Arc<Self>) -> Router {
        Router::new()
    }
}
