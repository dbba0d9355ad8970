//! `tulpar gateway`: the RESP gateway over the client library, alone in a process. Keeps nothing; any number of them may run.

use crate::gateway_shown::Shown;
use crate::servers::until_told_to_stop;
use crate::settings::{self, Settings};
use crate::supervised::{Listening, Reporter};
use anyhow::{Context, bail};
use replica_server::remote::RemoteBackend;
use resp_gateway::Limits;
use serde::Deserialize;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use telemetry::{HttpPort, PortOptions};
use tokio::task::LocalSet;
use tulpar_client::{Client, ClientOptions};
use types::ByteSize;

/// Section `[gateway]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct GatewayConfig {
    /// `host:port` for Redis clients; port 0 lets the system choose.
    listen: String,
    /// `host:port` of health, readiness and metrics (HTTP); port 0 lets the system choose. Empty: there is none.
    http: String,
    /// What must be shown to read the metrics. Empty: nothing.
    http_secret: String,
    /// `host:port` of every meta server.
    meta: Vec<String>,
    /// Lets the port listen beyond loopback: whoever reaches it can use every table that has no password.
    allow_unauthenticated: bool,
    /// The table of connections that have named none.
    default_table: String,
    /// How long a command may take, retries included.
    #[serde(with = "humantime_serde")]
    deadline: Duration,
    /// How old the answers of a connection may be that said `READONLY`.
    #[serde(with = "humantime_serde")]
    readonly_staleness: Duration,
    /// Bounds of the port and of each connection.
    limits: GatewayLimits,
}

/// Section `[gateway.limits]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct GatewayLimits {
    /// Connections at once.
    max_clients: usize,
    /// Largest single argument.
    #[serde(deserialize_with = "settings::size")]
    max_bulk: ByteSize,
    /// Most arguments of one command.
    max_args: usize,
    /// Longest inline command.
    #[serde(deserialize_with = "settings::size")]
    max_inline: ByteSize,
    /// Largest command as a whole.
    #[serde(deserialize_with = "settings::size")]
    max_query: ByteSize,
    /// Unanswered commands of one connection at which it is not read further.
    max_in_flight: usize,
    /// Replies not taken by the client, in bytes, at which the connection is not read further.
    #[serde(deserialize_with = "settings::size")]
    output_soft: ByteSize,
    /// Replies not taken by the client, in bytes, beyond which the connection is closed.
    #[serde(deserialize_with = "settings::size")]
    output_hard: ByteSize,
    /// Connections that are silent for so long are closed; absent: never.
    #[serde(with = "humantime_serde")]
    idle_timeout: Option<Duration>,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:6379".to_owned(),
            http: "127.0.0.1:34703".to_owned(),
            http_secret: String::new(),
            meta: vec!["127.0.0.1:34601".to_owned()],
            allow_unauthenticated: false,
            default_table: "default".to_owned(),
            deadline: Duration::from_secs(5),
            readonly_staleness: Duration::from_secs(1),
            limits: GatewayLimits::default(),
        }
    }
}

impl Default for GatewayLimits {
    fn default() -> Self {
        let limits = Limits::default();
        let size = |bytes: usize| ByteSize(bytes as u64);
        Self {
            max_clients: limits.max_clients,
            max_bulk: size(limits.max_bulk),
            max_args: limits.max_args,
            max_inline: size(limits.max_inline),
            max_query: size(limits.max_query),
            max_in_flight: limits.max_in_flight,
            output_soft: size(limits.output_soft),
            output_hard: size(limits.output_hard),
            idle_timeout: limits.idle_timeout,
        }
    }
}

impl GatewayLimits {
    fn limits(&self) -> Limits {
        Limits {
            max_clients: self.max_clients,
            max_bulk: self.max_bulk.bytes(),
            max_args: self.max_args,
            max_inline: self.max_inline.bytes(),
            max_query: self.max_query.bytes(),
            max_in_flight: self.max_in_flight,
            output_soft: self.output_soft.bytes(),
            output_hard: self.output_hard.bytes(),
            idle_timeout: self.idle_timeout,
            ..Limits::default()
        }
    }
}

impl GatewayConfig {
    fn http(&self) -> PortOptions {
        PortOptions {
            listen: self.http.clone(),
            secret: self.http_secret.clone(),
            allow_unauthenticated: self.allow_unauthenticated,
        }
    }
}

/// Serves until told to stop.
pub(crate) fn serve(settings: &Settings, reporter: &Reporter) -> anyhow::Result<()> {
    let config: GatewayConfig = settings.server()?;
    let address = address(&config)?;
    // Reading sockets, forwarding and answering are one thread's work: handing commands over to another cost more than it won.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = LocalSet::new();
    runtime.block_on(local.run_until(async {
        let stop = until_told_to_stop()?;
        let listener = resp_gateway::bind(address)
            .with_context(|| format!("cannot listen on {}", config.listen))?;
        let client = ClientOptions::new(config.meta.clone())
            .deadline(config.deadline)
            .fail_early();
        let client = Client::lazy(client)?;
        let http_options = config.http();
        let http = telemetry::bind(&http_options)?;
        let shown = Arc::new(Shown::new(client.clone()));
        let statistics = shown.resp();
        tokio::task::spawn_local(shown.heart().keep_beating());
        tokio::task::spawn_local(shown.clone().learn_routes(config.default_table.clone()));
        let http = http
            .map(|listener| telemetry::serve(listener, &http_options, shown.clone()))
            .transpose()
            .context("cannot serve HTTP")?;
        let backend = RemoteBackend::new(client, config.readonly_staleness);
        tokio::task::spawn_local(backend.clone().answer());
        reporter.ready(Listening {
            grpc: None,
            redis: Some(listener.local_addr()?),
            http: http.as_ref().map(HttpPort::address),
        });
        let options = resp_gateway::Options {
            statistics,
            default_table: config.default_table.clone(),
            limits: config.limits.limits(),
            ..resp_gateway::Options::default()
        };
        resp_gateway::serve(listener, options, backend, async {
            stop.await;
            shown.leaves();
        })
        .await?;
        anyhow::Ok(())
    }))
}

fn address(config: &GatewayConfig) -> anyhow::Result<SocketAddr> {
    let address = config
        .listen
        .to_socket_addrs()
        .with_context(|| format!("listen = '{}' is no HOST:PORT", config.listen))?
        .next()
        .with_context(|| format!("listen = '{}' names no address", config.listen))?;
    if !address.ip().is_loopback() && !config.allow_unauthenticated {
        bail!(
            "listen = '{}' can be reached from other machines, and tables without a password would be open to all who do: \
             say allow_unauthenticated = true if that is meant",
            config.listen
        );
    }
    Ok(address)
}
