//! One replica server, from its configuration to its end: has its parts opened, starts the threads, serves, stops.

use crate::cluster::Known;
use crate::config::ReplicaConfig;
use crate::directory::{DataDirectory, DirectoryError};
use crate::ending::{self, Ending};
use crate::hand_over::hand_over;
use crate::inbox::Input;
use crate::meta_link::{self, About, MetaLink};
use crate::metrics::{self, Report, Shown, Timings};
use crate::peers::beacons::{self, Pulse};
use crate::peers::checkpoint::Pace;
use crate::peers::clocks::Clocks;
use crate::peers::incoming::{self, PeersService};
use crate::peers::kept::KeptCheckpoints;
use crate::peers::{Arrivals, Introduction, Peers};
use crate::ports::{self, Listening, Ports};
use crate::remote::RemoteBackend;
use crate::room;
use crate::services::data::{self, DataService};
use crate::services::inspect::{self, InspectService};
use crate::services::resp::LocalBackend;
use crate::slow_log::SlowCommands;
use crate::worker::{Found, Logs, Parts, SharedLeases, Worker};
use crate::{clock, clock_watch, compare, disk_use, scrub, storage};
use engine::Engine;
use proto::common::NodeAddress;
use proto::data::data_server::DataServer;
use proto::inspect::ConfigResponse;
use proto::inspect::inspect_server::InspectServer;
use proto::peer::peers_server::PeersServer;
use proto::secret::AdminGuard;
use replication::{Afterwards, Leases};
use rustix::process::{Resource, getrlimit};
use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};
use tonic::transport::server::TcpIncoming;
use tulpar_client::{Client, ClientOptions, MetaServers};

/// Why a replica server did not start, or ended: one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A key of the configuration has a value that cannot be.
    #[error("configuration: {0}")]
    Config(String),
    /// A port cannot be had.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// Where.
        address: String,
        /// Why not.
        reason: String,
    },
    /// The HTTP port cannot be had, or must not.
    #[error(transparent)]
    Http(#[from] telemetry::PortError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The log or the storage cannot be opened.
    #[error("cannot open {part} in {path}: {reason}")]
    Open {
        /// What.
        part: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The operating system grants too little.
    #[error("{0}")]
    System(String),
    /// The server ran, and had to stop.
    #[error("stopped: {0}")]
    Failed(String),
}

/// Runs a replica server on this thread and some of its own, until `shutdown` says how (dropped: at once) or it must stop.
///
/// `ready` is called once, when the directory is open and both ports accept; the meta server may not have been reached by then.
pub fn run(
    config: ReplicaConfig,
    ready: impl FnOnce(Listening),
    shutdown: oneshot::Receiver<Ending>,
) -> Result<(), StartError> {
    config.check().map_err(StartError::Config)?;
    check_open_files(config.budgets.open_partitions)?;
    let directory = DataDirectory::open(&config.data_dir, config.leases.grace)?;
    let mut ports = ports::bind(&config)?;
    let shown = Arc::new(Shown::default());
    let http = ports.http.take();
    let _http = http
        .map(|listener| telemetry::serve(listener, &config.http(), shown.clone()))
        .transpose()
        .map_err(|error| StartError::System(format!("cannot serve HTTP: {error}")))?;
    let (inbox, inputs) = mpsc::unbounded_channel();
    let known = directory.known()?;
    let timings = Arc::new(Timings::default());
    let (engine, logs, found) = storage::open(&config, &directory, &inbox, &timings)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| StartError::System(format!("cannot start the worker: {error}")))?;
    let serving = serve(
        config,
        directory,
        ports,
        known,
        engine,
        logs,
        found,
        (inbox, inputs),
        (shown, timings),
        ready,
        shutdown,
    );
    LocalSet::new().block_on(&runtime, serving)
}

/// A partition's RocksDB may hold some files open, a client one socket.
fn check_open_files(partitions: usize) -> Result<(), StartError> {
    const AT_LEAST: u64 = 1024;
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if limit < AT_LEAST {
        let text = format!(
            "the limit of open files is {limit}; {partitions} open partitions and their clients need at least {AT_LEAST} (ulimit -n)"
        );
        return Err(StartError::System(text));
    }
    Ok(())
}

#[allow(
    clippy::too_many_arguments,
    reason = "everything that was opened, once"
)]
async fn serve(
    config: ReplicaConfig,
    directory: DataDirectory,
    ports: Ports,
    known: Known,
    engine: Engine,
    logs: Logs,
    found: Vec<Found>,
    (inbox, inputs): (mpsc::UnboundedSender<Input>, mpsc::UnboundedReceiver<Input>),
    (shown, timings): (Arc<Shown>, Arc<Timings>),
    ready: impl FnOnce(Listening),
    shutdown: oneshot::Receiver<Ending>,
) -> Result<(), StartError> {
    let system = |error: &dyn std::fmt::Display| StartError::System(error.to_string());
    let listening = ports.listening;
    let address = NodeAddress {
        node: directory.node.0,
        name: if config.name.is_empty() {
            listening.grpc.to_string()
        } else {
            config.name.clone()
        },
        grpc: config
            .advertise
            .clone()
            .unwrap_or_else(|| listening.grpc.to_string()),
        redis: config
            .advertise_redis
            .clone()
            .unwrap_or_else(|| listening.redis.to_string()),
        zone: config.zone.clone(),
    };
    // Beacons are reached where the gRPC services are, on a port of their own.
    let beacons_port = ports
        .beacons
        .local_addr()
        .map_err(|error| system(&error))?
        .port();
    let host = address
        .grpc
        .rsplit_once(':')
        .map_or("127.0.0.1", |(host, _)| host);
    let introduction = Introduction {
        node: directory.node,
        incarnation: directory.incarnation,
        beacons: format!("{host}:{beacons_port}"),
        cluster_secret: config.cluster_secret.clone(),
    };
    let leases = Leases::new(
        config.leases.settings(),
        directory.incarnation,
        clock::now(),
        directory.longest_grace,
    );
    let leases = SharedLeases(Arc::new(Mutex::new(leases)));
    let heart = Arc::new(AtomicU64::new(clock::now().0));
    let pulse = Pulse {
        worker: heart.clone(),
        log_busy_since: {
            let (sync, buffered) = (logs.sync.clone(), logs.buffered.clone());
            Arc::new(move || {
                [sync.busy_since(), buffered.busy_since()]
                    .into_iter()
                    .flatten()
                    .min()
            })
        },
        stall_timeout: config.leases.stall_timeout,
    };
    let wall = Arc::new(clock::WallClock::start());
    let clocks = Arc::new(Clocks::default());
    let beacons = beacons::start(
        ports.beacons,
        beacons::Parts {
            introduction: introduction.clone(),
            leases: leases.clone(),
            inbox: inbox.clone(),
            pulse: pulse.clone(),
            wall: wall.clone(),
            clocks: clocks.clone(),
            interval: config.leases.beacon,
        },
    )
    .map_err(|error| system(&error))?;
    let peers = Peers::new(
        introduction.clone(),
        inbox.clone(),
        leases.clone(),
        beacons.clone(),
    );
    peers.addresses(&known);
    let meta = MetaLink::new();
    let arrivals = Arrivals::new(
        directory.part("data").join("incoming"),
        engine.scratch("incoming"),
    );
    let learn_pace = Rc::new(Pace::new(config.learn.rate));
    let kept_checkpoints = KeptCheckpoints::new(config.learn.keep);
    let scrubbed_logs = vec![logs.sync.clone(), logs.buffered.clone()];
    let scrub_place = directory.part("scrub.json");
    let (all_leases, sync_log, buffered_log) =
        (leases.clone(), logs.sync.clone(), logs.buffered.clone());
    let worker = Worker::new(Parts {
        directory,
        engine: engine.clone(),
        logs,
        leases,
        known,
        peers,
        beacons,
        wall,
        meta: meta.clone(),
        inbox: inbox.clone(),
        learn_pace,
        arrivals: arrivals.clone(),
        kept_checkpoints,
        timings: timings.clone(),
        slow_commands: SlowCommands::new(&config.slow_log),
        reach: ports.reach,
    });
    worker.recover(found);
    let scrubber = scrub::start(&config.scrub, engine.clone(), scrubbed_logs, scrub_place)
        .map_err(|error| system(&error))?;

    let (streams, mut arrived_streams) = mpsc::unbounded_channel();
    let (peer_streams, mut arrived_peers) = mpsc::unbounded_channel();
    let (questions, asked) = mpsc::unbounded_channel();
    let incoming = tokio::net::TcpListener::from_std(ports.grpc).map_err(|error| system(&error))?;
    let grpc = tonic::transport::Server::builder()
        .initial_stream_window_size(16 << 20)
        .initial_connection_window_size(64 << 20)
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .add_service(
            DataServer::new(DataService(streams))
                .max_decoding_message_size(proto::MAX_MESSAGE)
                .max_encoding_message_size(usize::MAX),
        )
        .add_service(
            PeersServer::new(PeersService {
                introduction: introduction.clone(),
                arrived: peer_streams,
                inbox: inbox.clone(),
                arrivals,
            })
            .max_decoding_message_size(proto::MAX_MESSAGE)
            .max_encoding_message_size(proto::MAX_MESSAGE),
        )
        .add_service(
            AdminGuard::new(&config.admin_secret).before(InspectServer::new(InspectService {
                questions,
                config: ConfigResponse {
                    settings: config.settings(),
                },
                shown: shown.clone(),
            })),
        )
        .serve_with_incoming(TcpIncoming::from(incoming).with_nodelay(Some(true)));
    spawn_local(async move {
        if let Err(error) = grpc.await {
            tracing::error!(%error, "the gRPC port is no longer served");
        }
    });
    let on = worker.clone();
    spawn_local(async move {
        while let Some(stream) = arrived_streams.recv().await {
            spawn_local(data::serve(on.clone(), stream));
        }
    });
    let on = worker.clone();
    spawn_local(async move {
        while let Some(stream) = arrived_peers.recv().await {
            spawn_local(incoming::serve(on.clone(), stream));
        }
    });
    spawn_local(inspect::answer(worker.clone(), asked));
    spawn_local(worker.clone().take_inputs(inputs));
    spawn_local(worker.clone().seal_gathered());
    spawn_local(worker.clone().change_logs());
    spawn_local(worker.clone().call_when_due());
    spawn_local(Peers::connect_all(worker.clone()));
    spawn_local(housekeeping(worker.clone(), heart));
    spawn_local(disk_use::watch(worker.clone()));
    spawn_local(clock_watch::watch(worker.clone(), clocks));
    spawn_local(compare::compare_all(worker.clone(), config.digest.clone()));
    spawn_local(room::watch(
        worker.clone(),
        config.data_dir.clone(),
        config.budgets.disk_reserve,
    ));
    let about = About {
        introduction,
        address,
        metas: MetaServers::new(config.meta.clone()),
        disk_bytes: {
            let worker = worker.clone();
            Box::new(move || {
                let logs = [&worker.logs.sync, &worker.logs.buffered];
                let logs: u64 = logs.iter().map(|log| log.stats().bytes).sum();
                logs + worker.disk_use.total()
            })
        },
        load: RefCell::new(Report::new(worker.clone(), timings.clone())),
    };
    let joined = meta.joined();
    spawn_local(meta_link::run(meta, about, inbox));

    let client = Client::lazy(ClientOptions::new(config.meta.clone()).fail_early())
        .map_err(|error| StartError::Config(error.to_string()))?;
    let (ask_worker, asked) = mpsc::channel(16);
    spawn_local(metrics::answer(worker.clone(), asked));
    let resp = Arc::<resp_gateway::Statistics>::default();
    shown.recovered(metrics::Parts {
        pulse,
        joined,
        snapshots: ask_worker,
        last: Mutex::default(),
        timings,
        leases: all_leases,
        engine,
        sync_log,
        buffered_log,
        resp: resp.clone(),
        client: client.clone(),
    });
    let remote = RemoteBackend::new(client, config.resp.readonly_staleness);
    spawn_local(remote.clone().answer());
    let backend = LocalBackend::new(worker.clone(), remote, config.resp.readonly_staleness);
    let options = resp_gateway::Options {
        default_table: config.default_table.clone(),
        limits: resp_gateway::Limits {
            max_clients: config.resp.max_clients,
            max_bulk: config.resp.max_bulk.bytes(),
            ..resp_gateway::Limits::default()
        },
        statistics: resp,
        ..resp_gateway::Options::default()
    };
    ready(listening);
    let stop = async {
        tokio::select! {
            told = shutdown => {
                shown.leaves();
                if told == Ok(Ending::HandOver) {
                    hand_over(&worker, Afterwards::Leave, |_| true).await;
                    ending::farewell(&worker).await;
                    ending::flush(&worker).await;
                }
            }
            () = worker.stop.notified() => {}
        }
    };
    resp_gateway::serve(ports.redis, options, backend, stop)
        .await
        .map_err(|error| system(&error))?;
    let _ = tokio::task::spawn_blocking(move || drop(scrubber)).await;
    ending::end(&worker).await;
    match worker.failure() {
        Some(reason) => Err(StartError::Failed(reason)),
        None => Ok(()),
    }
}

/// Shows that the worker moves (R6), has logs kept within their budget, and gives up what nobody came back for.
async fn housekeeping(worker: Rc<Worker>, heart: Arc<AtomicU64>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    loop {
        ticks.tick().await;
        let now = clock::now();
        heart.store(now.0, Ordering::Relaxed);
        worker.relieve_logs();
        worker.kept_checkpoints.expire(now);
        worker.relieve_requests(now);
    }
}
