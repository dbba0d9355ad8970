//! The port's thread: connections within their bounds, for as long as the port is wanted.

use crate::{PortOptions, Subject, routes};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};

/// Connections at once; the next one is closed unheard.
const CONNECTIONS: usize = 256;
/// A request's line and headers: how many headers, how many bytes in all, how long they may take. Bodies are not read.
const HEADERS: usize = 64;
const HEAD_BYTES: usize = 16 << 10;
const HEAD_TIME: Duration = Duration::from_secs(5);
/// How long a connection lives, and then how long it may take to end.
const LIFE: Duration = Duration::from_mins(2);
const FAREWELL: Duration = Duration::from_secs(5);

/// A served port. Dropping it ends its thread.
#[derive(Debug)]
pub struct HttpPort {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl HttpPort {
    /// Where it really listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves what the subject says on a listener of [`bind`](crate::bind), on a thread of its own.
pub fn serve<S: Subject>(
    listener: TcpListener,
    options: &PortOptions,
    subject: Arc<S>,
) -> io::Result<HttpPort> {
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let started = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64());
    let router = routes::router(subject, &options.secret, started);
    let (stop, stopped) = oneshot::channel::<()>();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("http".into())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, router) => {}
                    // Dropped means stop.
                    _ = stopped => {}
                }
            });
        })?;
    Ok(HttpPort {
        address,
        _stop: stop,
    })
}

async fn accept(listener: TcpListener, router: Router) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the HTTP port cannot be served"),
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Ok(place) = places.clone().try_acquire_owned() {
                    let router = router.clone();
                    tokio::spawn(async move {
                        converse(stream, peer, router).await;
                        drop(place);
                    });
                } else {
                    tracing::debug!(%peer, "too many connections to the HTTP port");
                }
            }
            Err(error) => {
                // Out of file descriptors, mostly: those that end make room.
                tracing::warn!(%error, "cannot accept a connection to the HTTP port");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_headers(HEADERS)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = tokio::time::sleep(LIFE) => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(FAREWELL, connection).await.ok()
        }
    };
    if let Some(Err(error)) = ended {
        tracing::debug!(%peer, %error, "a connection to the HTTP port broke");
    }
}
