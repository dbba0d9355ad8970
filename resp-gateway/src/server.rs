//! Listening: accepts connections within their bound, gives each its task, and ends them when asked to stop.

use crate::backend::Backend;
use crate::clients::Clients;
use crate::connection::Connection;
use crate::limits::Limits;
use crate::route::Cursors;
use bytes::BytesMut;
use socket2::{SockRef, TcpKeepalive};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// As Redis' `tcp-keepalive`.
const KEEPALIVE: Duration = Duration::from_mins(5);

/// How a listener treats keys of other servers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// Any key is served here; the backend forwards.
    #[default]
    Forward,
    /// Redis Cluster: clients are told where the key's primary is.
    Cluster,
}

/// What a listener is told once.
#[derive(Clone, Debug)]
pub struct Options {
    /// See [`Mode`].
    pub mode: Mode,
    /// The table of connections that have named none.
    pub default_table: String,
    /// See [`Limits`].
    pub limits: Limits,
    /// Where it counts, for whoever wants to look.
    pub statistics: Arc<Statistics>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            default_table: "default".into(),
            limits: Limits::default(),
            statistics: Arc::default(),
        }
    }
}

/// A listening socket for [`serve`]; port 0 lets the system choose. It may be told to others before anything is served: clients wait.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    // A server that is started again must not wait for its old connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

/// What the connections of a listener share.
pub(crate) struct Gateway<B> {
    pub(crate) backend: Rc<B>,
    pub(crate) options: Options,
    pub(crate) address: SocketAddr,
    pub(crate) started: Instant,
    pub(crate) clients: Clients,
    pub(crate) cursors: Cursors,
    /// Connections end once they have answered what they have started.
    pub(crate) stopping: Cell<bool>,
    /// What is read from a socket goes here first: a connection owns a buffer only while it has half a command.
    pub(crate) scratch: RefCell<BytesMut>,
}

impl<B> Gateway<B> {
    /// Somebody came or went.
    pub(crate) fn count_clients(&self) {
        let connected = self.clients.len() as u64;
        let counted = &self.options.statistics.connected;
        counted.store(connected, Ordering::Relaxed);
    }
}

/// What a listener counted since its start. It alone writes here; any thread may read.
#[derive(Debug, Default)]
pub struct Statistics {
    connected: AtomicU64,
    connections: AtomicU64,
    rejected: AtomicU64,
    commands: AtomicU64,
}

impl Statistics {
    /// Clients connected now.
    pub fn connected(&self) -> u64 {
        self.connected.load(Ordering::Relaxed)
    }

    /// Connections taken.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Connections refused, because there were too many.
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Commands begun.
    pub fn commands(&self) -> u64 {
        self.commands.load(Ordering::Relaxed)
    }

    /// Begins again, as CONFIG RESETSTAT wants.
    pub(crate) fn reset(&self) {
        for counter in [&self.connections, &self.rejected, &self.commands] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn command(&self) {
        count(&self.commands);
    }
}

/// With one writer nothing is lost between reading and writing, and it costs no more than a plain addition.
fn count(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// Serves clients until `shutdown` is done, then lets them finish what they wait for. Runs inside a `LocalSet` of a single-threaded
/// runtime. Fails only if the listener is unusable from the start.
pub async fn serve<B: Backend>(
    listener: std::net::TcpListener,
    options: Options,
    backend: Rc<B>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let gateway = Rc::new(Gateway {
        backend,
        address: listener.local_addr()?,
        started: Instant::now(),
        clients: Clients::default(),
        cursors: Cursors::default(),
        stopping: Cell::new(false),
        scratch: RefCell::new(BytesMut::new()),
        options,
    });
    let grace = gateway.options.limits.shutdown_grace;
    let mut tasks = JoinSet::new();
    if let Some(longest) = gateway.options.limits.idle_timeout {
        tasks.spawn_local(close_idle(Rc::clone(&gateway), longest));
    }
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => welcome(&gateway, stream, peer, &mut tasks),
                Err(error) => {
                    // Out of file descriptors, mostly: those that end make room.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            () = &mut shutdown => break,
        }
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "a connection's task failed");
            }
        }
    }
    drop(listener);
    gateway.stopping.set(true);
    for client in gateway.clients.all() {
        client.outbox.wake();
    }
    let finished =
        async { while gateway.clients.len() > 0 && tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(grace, finished).await.is_err() {
        tracing::info!(
            connections = gateway.clients.len(),
            "closing connections that did not finish"
        );
    }
    tasks.shutdown().await;
    Ok(())
}

fn welcome<B: Backend>(
    gateway: &Rc<Gateway<B>>,
    stream: TcpStream,
    peer: SocketAddr,
    tasks: &mut JoinSet<()>,
) {
    if gateway.clients.len() >= gateway.options.limits.max_clients {
        count(&gateway.options.statistics.rejected);
        // A fresh socket takes so few bytes at once, or the client learns it from the end of the connection.
        let _ = stream.try_write(b"-ERR max number of clients reached\r\n");
        return;
    }
    count(&gateway.options.statistics.connections);
    // Replies are written whole; waiting for more to send only delays them.
    let _ = stream.set_nodelay(true);
    // A client whose machine is gone says nothing, not even that.
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
    let connection = Connection::new(Rc::clone(gateway), stream, peer);
    tasks.spawn_local(connection.run());
}

async fn close_idle<B: Backend>(gateway: Rc<Gateway<B>>, longest: Duration) {
    let pause = (longest / 4).max(Duration::from_millis(10));
    loop {
        tokio::time::sleep(pause).await;
        gateway.clients.close_idle(Instant::now(), longest);
    }
}
