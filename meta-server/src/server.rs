//! Starting and stopping a meta server.

use crate::leader::terms::{self, LeaderError, Terms};
use crate::leader::{COMMANDS, Command};
use crate::services::{Loads, Services};
use crate::store::{EmbeddedStore, MetadataStore, ZooKeeperStore};
use crate::web::Shown;
use crate::{MAX_MESSAGE, MetaConfig, StartError};
use proto::meta::{
    admin_server::AdminServer, nodes_server::NodesServer, routes_server::RoutesServer,
};
use proto::secret::AdminGuard;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use telemetry::{Heart, HttpPort};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
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
    http: Option<HttpPort>,
    _heart: AbortOnDrop,
    stop_leader: Option<oneshot::Sender<()>>,
    stop_server: Option<oneshot::Sender<()>>,
    leader: JoinHandle<Result<(), LeaderError>>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl MetaServer {
    /// Listens, and opens the store. With a local store all services answer when this returns; with an ensemble, when this server has won
    /// its election, and until then they name who has. Runs on the caller's tokio runtime.
    pub async fn start(config: MetaConfig) -> Result<Running, StartError> {
        let ensemble = config.ensemble()?;
        let listener = listen(&config).await?;
        let address = listener.local_addr().map_err(|source| StartError::Listen {
            address: config.listen.clone(),
            source,
        })?;
        let http_options = config.http();
        let http = telemetry::bind(&http_options)?;
        let heart = Heart::new();
        let beating = tokio::spawn(heart.clone().keep_beating());
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (stop_leader, leader_stops) = oneshot::channel();
        let (stop_server, server_stops) = oneshot::channel();
        let leader = watch::Sender::new(None);
        let loads = Loads {
            beginning: Instant::now(),
            history: Arc::default(),
        };
        let shown = Shown::new(
            heart,
            commands.clone(),
            loads.beginning,
            loads.history.clone(),
            leader.subscribe(),
        );
        let services = Services::new(
            Arc::new(config.clone()),
            commands,
            leader.subscribe(),
            loads,
        );
        let leader = if let Some(options) = ensemble {
            tracing::info!("the cluster's configuration is in ZooKeeper: {options:?}");
            let reached = config
                .advertise
                .clone()
                .unwrap_or_else(|| address.to_string());
            let store = ZooKeeperStore::new(options, reached);
            let terms = with(store, &config, leader, inbox, leader_stops);
            tokio::spawn(terms.run(None))
        } else {
            let store = EmbeddedStore::open(&config.data_dir)?;
            let terms = with(store, &config, leader, inbox, leader_stops);
            let first = terms::lead(&terms.store, &terms.settings, &terms.leader).await;
            let first = first.map_err(|error| match error {
                LeaderError::Open(error) => StartError::Store(error),
                LeaderError::Restore(error) => StartError::Restore(error),
            })?;
            tokio::spawn(terms.run(Some(first)))
        };
        let shown = Arc::new(shown);
        let http = http
            .map(|listener| telemetry::serve(listener, &http_options, shown))
            .transpose()
            .map_err(StartError::HttpThread)?;
        let admin = AdminServer::new(services.clone()).max_decoding_message_size(MAX_MESSAGE);
        let serving = Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .max_concurrent_streams(STREAMS_PER_CONNECTION)
            .add_service(RoutesServer::new(services.clone()).max_decoding_message_size(MAX_MESSAGE))
            .add_service(AdminGuard::new(&config.admin_secret).before(admin))
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
            http,
            _heart: AbortOnDrop(beating),
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

    /// Where health, metrics and the page of the cluster are, if anywhere.
    pub fn http(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(HttpPort::address)
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

fn with<S: MetadataStore>(
    store: S,
    config: &MetaConfig,
    leader: watch::Sender<Option<String>>,
    commands: mpsc::Receiver<Command>,
    stop: oneshot::Receiver<()>,
) -> Terms<S> {
    Terms {
        store,
        settings: config.settings(),
        leader,
        commands,
        stop,
    }
}

/// A task that ends with its owner.
#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
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
