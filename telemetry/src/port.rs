//! Where the port is, and the rule about who may reach it.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

/// Where a server's HTTP port is and who may read there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortOptions {
    /// `host:port`; port 0 lets the system choose. Empty: there is no HTTP port.
    pub listen: String,
    /// What must be shown to read metrics and pages: as a bearer token, or as the password of HTTP's Basic scheme with any name. Empty:
    /// nothing. Health and readiness need none.
    pub secret: String,
    /// Lets the port listen beyond loopback without a secret.
    pub allow_unauthenticated: bool,
}

/// Why there is no port.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// It cannot be had.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// As configured.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// Others would see the cluster's inside.
    #[error(
        "cannot listen on {0}, which others can reach, without http_secret (or allow_unauthenticated = true)"
    )]
    Unauthenticated(String),
}

/// Takes the port, so that it is known before anything is served. Nothing if the options want none.
pub fn bind(options: &PortOptions) -> Result<Option<TcpListener>, PortError> {
    let address = &options.listen;
    if address.is_empty() {
        return Ok(None);
    }
    let refused = |reason: String| PortError::Listen {
        address: address.clone(),
        reason,
    };
    let addresses: Vec<SocketAddr> = address
        .to_socket_addrs()
        .map_err(|error| refused(error.to_string()))?
        .collect();
    let local = addresses.iter().all(|address| address.ip().is_loopback());
    if !local && options.secret.is_empty() && !options.allow_unauthenticated {
        return Err(PortError::Unauthenticated(address.clone()));
    }
    TcpListener::bind(&addresses[..])
        .map(Some)
        .map_err(|error| refused(error.to_string()))
}
