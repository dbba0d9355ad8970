//! Starting and stopping a meta server.

use crate::leader::{self, COMMANDS, LeaderError};
use crate::services::Services;
use crate::store::EmbeddedStore;
use crate::{MAX_MESSAGE, MetaConfig, StartError};
use proto::meta::{
    admin_server::AdminServer, nodes_server::NodesServer, routes_server::RoutesServer,
};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

/// How often an idle connection is asked whether it lives, and how long it may take to say so.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Requests and streams of one connection at a time.
const STREAMS_PER_CONNECTION: u32 = 1024;

/// How long open requests may take to end when the server stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// The meta server.
#[derive(Debug)]
pub struct MetaServer;

/// A started meta server. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    stop_leader: Option<oneshot::Sender<()>>,
    stop_server: Option<oneshot::Sender<()>>,
    leader: JoinHandle<Result<(), LeaderError>>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl MetaServer {
    /// Opens the store, restores the cluster, and listens. All services answer when this returns. Runs on the caller's tokio runtime.
    pub async fn start(config: MetaConfig) -> Result<Running, StartError> {
        let listener = listen(&config).await?;
        let address = listener.local_addr().map_err(|source| StartError::Listen {
            address: config.listen.clone(),
            source,
        })?;
        let store = EmbeddedStore::open(&config.data_dir)?;
        let settings = config.settings();
        let first = leader::lead(&store, &settings)
            .await
            .map_err(|error| match error {
                LeaderError::Open(error) => StartError::Store(error),
                LeaderError::Restore(error) => StartError::Restore(error),
            })?;
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (stop_leader, leader_stops) = oneshot::channel();
        let (stop_server, server_stops) = oneshot::channel();
        let leader = tokio::spawn(leader::run(store, settings, first, inbox, leader_stops));
        let services = Services::new(Arc::new(config), commands);
        let serving = Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .max_concurrent_streams(STREAMS_PER_CONNECTION)
            .add_service(RoutesServer::new(services.clone()).max_decoding_message_size(MAX_MESSAGE))
            .add_service(AdminServer::new(services.clone()).max_decoding_message_size(MAX_MESSAGE))
            .add_service(NodesServer::new(services).max_decoding_message_size(MAX_MESSAGE))
            .serve_with_incoming_shutdown(
                TcpIncoming::from(listener).with_nodelay(Some(true)),
                async {
                    // Dropped means stop as well.
                    drop(server_stops.await);
                },
            );
        Ok(Running {
            address,
            stop_leader: Some(stop_leader),
            stop_server: Some(stop_server),
            leader,
            server: tokio::spawn(serving),
        })
    }
}

impl Running {
    /// Where it really listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the server ends by itself, which it does only when a person is needed, and says why.
    pub async fn failed(&mut self) -> String {
        tokio::select! {
            ended = &mut self.leader => match ended {
                Ok(Ok(())) => "the leader ended".into(),
                Ok(Err(error)) => error.to_string(),
                Err(died) => format!("the leader died: {died}"),
            },
            ended = &mut self.server => match ended {
                Ok(Ok(())) => "the port was closed".into(),
                Ok(Err(error)) => error.to_string(),
                Err(died) => format!("the gRPC server died: {died}"),
            },
        }
    }

    /// Ends all streams, finishes the write under way, closes the port.
    pub async fn shutdown(mut self) {
        drop(self.stop_leader.take());
        if !self.leader.is_finished() {
            drop((&mut self.leader).await);
        }
        drop(self.stop_server.take());
        if !self.server.is_finished()
            && tokio::time::timeout(FAREWELL, &mut self.server)
                .await
                .is_err()
        {
            self.server.abort();
        }
    }
}

async fn listen(config: &MetaConfig) -> Result<TcpListener, StartError> {
    let failed = |source: io::Error| StartError::Listen {
        address: config.listen.clone(),
        source,
    };
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host(&config.listen)
        .await
        .map_err(failed)?
        .collect();
    let guarded = !config.admin_secret.is_empty() && !config.cluster_secret.is_empty();
    if !guarded
        && !config.allow_unauthenticated
        && !addresses.iter().all(|address| address.ip().is_loopback())
    {
        return Err(StartError::Unauthenticated {
            address: config.listen.clone(),
        });
    }
    TcpListener::bind(&addresses[..]).await.map_err(failed)
}
