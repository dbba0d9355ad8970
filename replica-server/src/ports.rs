//! The ports of a replica server: bound before anything is told of them. Where other machines reach them they are guarded by secrets and the
//! tables' passwords, unless the configuration allows more.
//!
//! What is spoken there is `services`' and `peers`'.

use crate::config::ReplicaConfig;
use crate::run::StartError;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

/// What was really bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listening {
    /// The gRPC services.
    pub grpc: SocketAddr,
    /// The RESP port.
    pub redis: SocketAddr,
    /// Health, readiness and metrics.
    pub http: Option<SocketAddr>,
}

/// Who may do what at them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reach {
    /// Only this machine reaches them, or whoever does is welcome.
    Open,
    /// Other machines reach them: nobody may use what has no password.
    Guarded,
}

/// All of them, accepting already.
pub(crate) struct Ports {
    pub(crate) grpc: TcpListener,
    pub(crate) redis: TcpListener,
    /// Where this node's beacons arrive, beside the gRPC services: the system chooses.
    pub(crate) beacons: TcpListener,
    pub(crate) http: Option<TcpListener>,
    pub(crate) listening: Listening,
    pub(crate) reach: Reach,
}

pub(crate) fn bind(config: &ReplicaConfig) -> Result<Ports, StartError> {
    let refused = |address: &str, reason: String| StartError::Listen {
        address: address.to_owned(),
        reason,
    };
    let resolve = |address: &str| -> Result<SocketAddr, StartError> {
        let found = address
            .to_socket_addrs()
            .map_err(|error| refused(address, error.to_string()))?
            .next();
        let found = found.ok_or_else(|| refused(address, "it names no address".into()))?;
        let guarded = !config.admin_secret.is_empty() && !config.cluster_secret.is_empty();
        if !found.ip().is_loopback() && !guarded && !config.allow_unauthenticated {
            let text = "others can reach it, and that needs admin_secret and cluster_secret (or allow_unauthenticated = true)";
            return Err(refused(address, text.into()));
        }
        Ok(found)
    };
    let bound = |address: &str| -> Result<TcpListener, StartError> {
        resp_gateway::bind(resolve(address)?).map_err(|error| refused(address, error.to_string()))
    };
    let (grpc, redis) = (bound(&config.listen)?, bound(&config.redis)?);
    let local = |listener: &TcpListener| {
        listener
            .local_addr()
            .map_err(|error| StartError::System(error.to_string()))
    };
    let http = telemetry::bind(&config.http())?;
    let listening = Listening {
        grpc: local(&grpc)?,
        redis: local(&redis)?,
        http: http.as_ref().map(local).transpose()?,
    };
    let local_only = [listening.grpc, listening.redis]
        .iter()
        .all(|address| address.ip().is_loopback());
    let reach = if local_only || config.allow_unauthenticated {
        Reach::Open
    } else {
        Reach::Guarded
    };
    let beacons = bound(&SocketAddr::new(listening.grpc.ip(), 0).to_string())?;
    Ok(Ports {
        grpc,
        redis,
        beacons,
        http,
        listening,
        reach,
    })
}
